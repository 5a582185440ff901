"""Medians over a stack of pictures, of which not every one shows every pixel."""

from __future__ import annotations

import numpy as np


def lower_median(values: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Lower median of the `count` smallest of a stack: what some pictures do not show is to be larger than the rest.

    Parameters
    ----------
    values : ndarray
        (S,H,W) or (S,H,W,C), sorted in place.
    count : ndarray
        (H,W) integer, pictures that show a pixel; where none does, the smallest value is found.

    Returns
    -------
    ndarray
        (H,W) or (H,W,C), of the stack's dtype; zeros for an empty stack.
    """
    size = len(values)
    if size == 0:
        return np.zeros(values.shape[1:], values.dtype)
    # Odd-even transposition: with so few pictures a sorting network of whole planes beats sorting each pixel.
    for turn in range(size):
        for s in range(turn % 2, size - 1, 2):
            low = np.minimum(values[s], values[s + 1])
            np.maximum(values[s], values[s + 1], out=values[s + 1])
            values[s] = low
    middle = (np.maximum(count, 1).astype(np.intp) - 1) // 2
    middle = middle.reshape(1, *middle.shape, *(1,) * (values.ndim - 1 - middle.ndim))
    return np.take_along_axis(values, middle, axis=0)[0]
