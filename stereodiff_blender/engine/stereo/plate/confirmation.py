"""Which of the surfaces that a frame has grown other frames have grown, too.

Among many disparities that are tried one agrees better by chance, in each frame another one. What is truly there is
found again and again: so what too few of the frames around show is given back.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ...imaging import Cameras
from .evidence import Warps, looked_up

GROWN = 0.05
"""Relative change of disparity from which it is another surface."""
AGREEING = 0.03
"""Relative difference of disparity up to which another frame shows the same."""
LEAST_SHARE = 0.2
"""Of the frames that show the place, or what lies behind it: one of five, which chance hardly gives twice."""


def confirmed(grown: np.ndarray, before: np.ndarray, still: Sequence[np.ndarray], cameras: Cameras, index: int,
              sources: Sequence[int]) -> np.ndarray:
    """Disparity (H,W) float32 of one frame, as it was before where too few other frames have grown the same.

    grown, before: (H,W) float32 > 0. still: (H,W) of each source, grown as well, 0 where it says nothing.
    """
    rows, cols = np.nonzero(np.abs(grown - before) > np.float32(GROWN) * before)
    if len(rows) == 0 or not sources:
        return grown
    own, warps = grown[rows, cols], Warps(cameras, index, sources, rows, cols)
    tolerance = np.float32(AGREEING) * own
    agreeing, showing = np.zeros((2, len(rows)), np.float32)
    for k, known in enumerate(still):
        columns, lines, depth_ratio = warps.places(k, own)
        found = looked_up(known, columns, lines, len(own), cv2.INTER_NEAREST) * depth_ratio
        showing += (found > 0) & (found < own + tolerance)  # what stands before it hides the place
        agreeing += np.abs(found - own) < tolerance
    lone = agreeing < np.float32(LEAST_SHARE) * np.maximum(showing, np.float32(1.0))
    kept = grown.copy()
    kept[rows[lone], cols[lone]] = before[rows[lone], cols[lone]]
    return kept
