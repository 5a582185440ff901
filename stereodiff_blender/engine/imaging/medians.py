"""Medians over a stack of pictures."""

from __future__ import annotations

import numpy as np


def lower_median(values, count):
    """Lower median of the `count` (rows,W) smallest of values (S,rows,W), which are sorted in place."""
    size = len(values)
    # Odd-even transposition: with so few sources a sorting network of whole planes beats sorting each pixel.
    for turn in range(size):
        for s in range(turn % 2, size - 1, 2):
            low = np.minimum(values[s], values[s + 1])
            np.maximum(values[s], values[s + 1], out=values[s + 1])
            values[s] = low
    middle = (np.maximum(count, 1).astype(np.intp) - 1) // 2
    return np.take_along_axis(values, middle[None], axis=0)[0]
