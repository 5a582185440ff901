"""Surfaces that keep their place from frame to frame.

Each frame is measured for itself, so that a surface lies a little nearer in one frame and a little farther in the next.
What the frames around have found at the same point is as good: their mean is nearer to the truth than each of them, and
hardly changes from frame to frame.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ...imaging import Cameras
from .evidence import Warps, looked_up

SAME_SURFACE = 0.05
"""Relative difference of disparity up to which another frame shows the same surface."""


def steadied(disparity: np.ndarray, fixed: np.ndarray, still: Sequence[np.ndarray], cameras: Cameras, index: int,
             sources: Sequence[int]) -> np.ndarray:
    """Disparity (h,w) float32 of one frame, the mean of what it and the frames around have found at the same point.

    disparity: (h,w) float32 > 0. fixed: (h,w) bool, True where pixels keep what they have. still: (h,w) float32 of each
    source, 0 where it says nothing.
    """
    rows, cols = np.nonzero(~fixed)
    own = disparity[rows, cols]
    warps, tolerance = Warps(cameras, index, sources, rows, cols), np.float32(SAME_SURFACE) * own
    total, count = own.copy(), np.ones_like(own)
    for k, known in enumerate(still):
        columns, lines, depth_ratio = warps.places(k, own)
        found = looked_up(known, columns, lines, len(own), cv2.INTER_LINEAR) * depth_ratio
        agrees = np.abs(found - own) < tolerance
        total += np.where(agrees, found, np.float32(0.0))
        count += agrees
    steady = disparity.copy()
    steady[rows, cols] = total / count
    return steady
