"""What an artist's matte cuts out, apart from what stands beside it: depth of each, up to the outline and beyond.

Depth of the working size knows the outline to its own pixels only. So what lies within it is carried outward, and what
lies around it inward, and whoever knows the outline better takes one or the other.
"""

from __future__ import annotations

import cv2
import numpy as np

_AROUND = np.ones((3, 3), np.uint8)
"""A pixel at the outline may show either: its depth is lent to neither side."""


def depth_beside(depth: np.ndarray, matte: np.ndarray) -> np.ndarray:
    """Depth without what a matte marks: there it is that of the nearest pixel beside it.

    Parameters
    ----------
    depth : ndarray
        (h,w) float32, any unit.
    matte : ndarray
        (h,w) bool, True where the artist says that something moves.

    Returns
    -------
    ndarray
        (h,w) float32; depth itself where the matte marks nothing, or all.
    """
    marked = matte.astype(np.uint8)
    return _carried(depth, cv2.dilate(marked, _AROUND) == 0, marked > 0)


def depth_within(depth: np.ndarray, matte: np.ndarray) -> np.ndarray:
    """Depth of what a matte marks: elsewhere it is that of the nearest such pixel.

    Parameters
    ----------
    depth : ndarray
        (h,w) float32, any unit.
    matte : ndarray
        (h,w) bool, True where the artist says that something moves.

    Returns
    -------
    ndarray
        (h,w) float32; depth itself where the matte marks nothing.
    """
    marked = matte.astype(np.uint8)
    core = cv2.erode(marked, _AROUND)
    is_thin = (marked > 0) & (cv2.dilate(core, _AROUND) == 0)  # it has no pixel but those of its outline
    lends = (core > 0) | is_thin
    return _carried(depth, lends, ~lends)


def _carried(depth: np.ndarray, lends: np.ndarray, takes: np.ndarray) -> np.ndarray:
    """Depth (h,w) where the pixels that take have that of the nearest one that lends; itself if none does."""
    if not takes.any() or not lends.any():
        return depth
    _, nearest = cv2.distanceTransformWithLabels((~lends).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5,
                                                 labelType=cv2.DIST_LABEL_PIXEL)
    lent = np.zeros(int(nearest.max()) + 1, depth.dtype)
    lent[nearest[lends]] = depth[lends]
    return np.where(takes, lent[nearest], depth)
