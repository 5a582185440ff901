"""Depth of blurred frames, taken from the sharp ones around them.

In a blurred frame matches lie, and edges are pulled to and fro; what stands still has the same depth as in the frames
before and after, which saw it sharp. So their measured surfaces are carried over, pixel by pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from ...imaging import lower_median, warp_between, warp_pixels
from ...solution import CameraSolution
from .sharpness import BLURRED

REACH = 6
"""Frames away that are borrowed from."""
MOST_LENDERS, MIN_LENDERS = 4, 2
AGREEING_SHARE = 0.04
"""Relative difference of lenders' disparities up to which they speak of the same surface."""

Measured = Callable[[int], tuple[np.ndarray, np.ndarray]]
"""Of a frame: disparity (H,W), and where a static surface was surely measured, bool."""


def lenders_of(index: int, sharpness: np.ndarray) -> list[int]:
    """The sharp frames nearest to a blurred one, nearest first; none for a frame that is not blurred.

    sharpness: (T,) as of relative_sharpness.
    """
    if sharpness[index] >= BLURRED:
        return []
    near = [j for j in range(max(index - REACH, 0), min(index + REACH + 1, len(sharpness))) if sharpness[j] >= BLURRED]
    return sorted(near, key=lambda j: (abs(j - index), j))[:MOST_LENDERS]


def borrow_disparity(index: int, lenders: Sequence[int], measured: Measured,
                     cameras: CameraSolution) -> tuple[np.ndarray, np.ndarray]:
    """Disparity (H,W) float32 that other frames' surfaces have in a frame, 0 where too few of them agree; and where any
    of them shows one, bool."""
    projected = np.stack([_project(lender, index, *measured(lender), cameras) for lender in lenders])
    shows = projected > 0
    count = shows.sum(axis=0)
    median = lower_median(np.where(shows, projected, np.float32(np.inf)), count)
    agreeing = (shows & (np.abs(projected - median) < AGREEING_SHARE * median)).sum(axis=0)
    agreed = (agreeing >= MIN_LENDERS) & (2 * agreeing >= count)
    return np.where(agreed, median, np.float32(0)), count > 0


def _project(source: int, target: int, disparity: np.ndarray, sure: np.ndarray, cameras: CameraSolution) -> np.ndarray:
    """Disparity (H,W) float32 of one frame's static surfaces in another's pixels, 0 where none lies."""
    rows, columns = np.nonzero(sure)
    value = disparity[rows, columns]
    half = np.float32(0.5)
    warped = warp_pixels(warp_between(cameras, source, target), columns.astype(np.float32) + half,
                         rows.astype(np.float32) + half, value)
    column, row = (np.floor(each).astype(np.intp) for each in (warped.columns, warped.rows))
    inside = warped.in_front & (column >= 0) & (column < sure.shape[1]) & (row >= 0) & (row < sure.shape[0])
    projected = np.zeros(sure.shape, np.float32)
    np.maximum.at(projected, (row[inside], column[inside]), (value / warped.depth_ratio)[inside].astype(np.float32))
    # A closing: where a surface comes nearer, its pixels come to lie apart.
    return cv2.erode(cv2.dilate(projected, np.ones((3, 3))), np.ones((3, 3)))
