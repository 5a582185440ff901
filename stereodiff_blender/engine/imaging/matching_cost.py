"""Does a pixel look like itself in another frame, if its depth is this? The evidence behind borders and outlines."""

from __future__ import annotations

import cv2
import numpy as np

from .lookup import look_up
from .warp import Transfer

COLOUR_SHARE, GRADIENT_SHARE = 0.29, 0.35
TRUNCATION = 16.5
"""Grey levels of summed difference that count as entirely unlike."""
ROW = 256
"""Pixels are laid out in rows of this length: OpenCV looks up no longer ones than 32766."""


def features_of(frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Colour (H,W,3) and gradient (H,W,2) float32 of a frame (H,W,3) uint8, weighted; in grey levels."""
    colour = np.asarray(frame, np.float32)
    grey = cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY)
    gradient = cv2.merge([cv2.Sobel(grey, cv2.CV_32F, 1, 0, ksize=1), cv2.Sobel(grey, cv2.CV_32F, 0, 1, ksize=1)])
    return colour * np.float32(COLOUR_SHARE), gradient * np.float32(GRADIENT_SHARE)


def carry(transfer: Transfer, x: np.ndarray, y: np.ndarray, disparity: np.ndarray,
          size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where pixels (n,) of these disparities lie in another frame of size (H,W).

    x, y: (n,) float32, the centre of the first pixel is 0.5. Returns columns and rows (n,) from the centre of the
    first pixel, as remap counts them, and whether they lie within the picture, (n,) bool.
    """
    (a, b, c), parallax = transfer.homography.astype(np.float32), transfer.parallax.astype(np.float32)
    u, v, w = (row[0] * x + row[1] * y + row[2] + shift * disparity for row, shift in zip((a, b, c), parallax,
                                                                                       strict=True))
    in_front = w > 1e-6
    w = np.where(in_front, w, np.float32(1.0))
    column, row = u / w - np.float32(0.5), v / w - np.float32(0.5)
    return column, row, in_front & (column > 0) & (row > 0) & (column < size[1] - 1) & (row < size[0] - 1)


def unlikeness(own: list[np.ndarray], features: tuple[np.ndarray, np.ndarray], column: np.ndarray,
               row: np.ndarray) -> np.ndarray:
    """(n,) in [0,1]: truncated difference between the pixels' own features and those found at (column, row)."""
    count, shape = len(column), (-(-len(column) // ROW), ROW)
    column, row = np.resize(column, shape), np.resize(row, shape)
    difference = sum(np.abs(look_up(there, column, row).reshape(-1, there.shape[-1])[:count] - here).sum(axis=-1)
                     for here, there in zip(own, features, strict=True))
    return np.minimum(difference / np.float32(TRUNCATION), np.float32(1.0))


def mean_of_better_half(costs: list[np.ndarray]) -> np.ndarray:
    """Mean of the lower half of the sources' costs, (n,): a pixel is hidden in some of them."""
    return np.sort(np.array(costs, np.float32), axis=0)[:(len(costs) + 1) // 2].mean(axis=0)
