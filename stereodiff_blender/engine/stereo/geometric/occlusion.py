"""Things that seem farther away than what they hide: they cannot be static.

What moves along with the camera matches well from frame to frame, at a depth far behind its own. But then the static
surfaces behind it, which other frames see beside it, would have to stand before it. So every frame's measured surfaces
are carried into the others, on a coarse grid; where several frames expect something nearer than what is there, what is
there moves.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from .. import CameraSolution
from .triangulation import transfer_between

OFFSETS = (-32, -26, -20, -14, -9, -5, 5, 9, 14, 20, 26, 32)
STEP = 4
"""Pixels between the surface points that are carried over, and the size of the cells they fall into."""
NEARER = 1.12
"""Disparity of what is expected, as a share of what is measured, that is a contradiction."""
SIGMAS = 2.5
MIN_VOTES, MIN_SHARE = 3, 0.7
"""Frames that must contradict, and their share of those that expect anything at all."""
REACH_CELLS = 5
"""Width of the neighbourhood, in cells, in which single pixels are compared once a cell is found out."""

GRID = slice(STEP // 2, None, STEP)
Measured = Callable[[int, slice], tuple[np.ndarray, np.ndarray, np.ndarray]]
"""Of a frame's rows and columns in a slice: disparity and its standard deviation (h,w), infinite where nothing is to
be judged, and where a static surface was surely measured, bool."""


def find_impossible(index: int, measured: Measured, count: int, cameras: CameraSolution) -> np.ndarray:
    """Pixels (H,W) bool of one of `count` frames that hide what is nearer than they seem.

    measured: asked for this frame and those OFFSETS away.
    """
    disparity, sigma, _ = measured(index, slice(None))
    allowed = NEARER * disparity + SIGMAS * sigma
    # Where the ground recedes, a cell's neighbours above and below differ a lot: no contradiction.
    cells = cv2.dilate(allowed[GRID, GRID], np.ones((3, 1), np.uint8))
    votes, seen = np.zeros(cells.shape, np.uint8), np.zeros(cells.shape, np.uint8)
    nearest = np.zeros(cells.shape, np.float32)
    for other in (index + offset for offset in OFFSETS if 0 <= index + offset < count):
        expected = _expected(other, index, measured(other, GRID), cells.shape, cameras)
        votes += expected > cells
        seen += expected > 0
        nearest = np.maximum(nearest, expected)
    found = ((votes >= MIN_VOTES) & (votes >= MIN_SHARE * seen)).astype(np.uint8)
    found = cv2.morphologyEx(found, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    if not found.any():
        return np.zeros(disparity.shape, bool)
    near = cv2.dilate(found, np.ones((REACH_CELLS, REACH_CELLS), np.uint8))
    return (_fine(near, disparity.shape) > 0) & (_fine(cv2.dilate(nearest, np.ones((3, 3))), disparity.shape) > allowed)


def _fine(cells: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Cells (h,w) as pixels (H,W)."""
    rows, columns = (np.minimum(np.arange(size) // STEP, cell_count - 1)
                     for size, cell_count in zip(shape, cells.shape, strict=True))
    return cells[rows[:, None], columns]


def _expected(source: int, target: int, measured, shape, cameras: CameraSolution) -> np.ndarray:
    """Disparity (h,w) float32 that one frame's static surfaces would have in another's cells, 0 where none lies."""
    disparity, _, sure = measured
    rows, columns = np.nonzero(sure)
    value = disparity[rows, columns]
    place = STEP * np.stack([columns, rows]) + STEP // 2 + 0.5
    transfer = transfer_between(cameras, source, target)
    u, v, w = (transfer.homography[:, :2] @ place + transfer.homography[:, 2:] + transfer.parallax[:, None] * value)
    front = w > 1e-4
    column, row = (np.floor(each[front] / (STEP * w[front])).astype(np.intp) for each in (u, v))
    inside = (column >= 0) & (column < shape[1]) & (row >= 0) & (row < shape[0])
    expected = np.zeros(shape, np.float32)
    np.maximum.at(expected, (row[inside], column[inside]), (value[front] / w[front])[inside].astype(np.float32))
    # A closing: points spread apart leave gaps, which are no lack of surface.
    return cv2.erode(cv2.dilate(expected, np.ones((3, 3))), np.ones((3, 3)))
