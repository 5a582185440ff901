"""Looking up an image at many places: none, and more than OpenCV takes at once, included."""

from __future__ import annotations

import cv2
import numpy as np

MOST_ROWS = 32_000
"""OpenCV counts rows and columns of places in 16 bits."""


def look_up(image: np.ndarray, columns: np.ndarray, rows: np.ndarray, method: int = cv2.INTER_LINEAR, *,
            border: int = cv2.BORDER_REPLICATE) -> np.ndarray:
    """What an image (H,W) or (H,W,C) holds at places (n,k), counted from the centre of its first pixel: (n,k[,C]).

    columns, rows: float32, contiguous; n may be anything, 0 too, k less than 32767. method, border: OpenCV's.
    """
    if 0 < len(columns) <= MOST_ROWS:
        return cv2.remap(image, columns, rows, method, borderMode=border)
    found = np.empty((*columns.shape, *image.shape[2:]), image.dtype)
    for start in range(0, len(columns), MOST_ROWS):
        part = slice(start, start + MOST_ROWS)
        found[part] = cv2.remap(image, columns[part], rows[part], method, borderMode=border)
    return found
