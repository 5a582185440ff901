"""Depth of the static pixels that were not measured, from those that were.

Near evidence knows the shape best; far from all of it, the planes of the surfaces go on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...imaging import boundary_confidence, fast_global_smoother, fill_along_planes, pull_push
from .consistency import cells_as_pixels
from .sources import DepthLimits

PRECISION = 0.02
"""Relative standard deviation of disparity that halves a measurement's confidence."""
BORROWED_CERTAINTY, SMOOTH_SHARE = 0.6, 0.08
"""Of background that other frames measured, where it is even: relative change between cells that is still a slope."""
NEAR_SUPPORT = 0.01
"""Evidence that counts as much as the plane of a surface that goes on from afar. Less still leaks across edges."""
LEAST_LINK = 1e-7
"""Across the strongest edges: planes fill what nothing else reaches."""


@dataclass(frozen=True)
class Filled:
    """disparity: (H,W) everywhere. certainty: of what was measured, 0..1. support: evidence that reached each pixel."""

    disparity: np.ndarray
    certainty: np.ndarray
    support: np.ndarray


def fill_static(frame: np.ndarray, measured: np.ndarray, uncertainty: np.ndarray, known: np.ndarray,
                background: np.ndarray, limits: DepthLimits) -> Filled:
    """Disparity for all pixels of a frame.

    frame: (H,W,3) uint8. measured, uncertainty: (H,W) disparity and its relative standard deviation. known: (H,W)
    bool, where they are to be believed. background: (h,w) as of median_background.
    """
    certainty = np.where(known, 1.0 / (1.0 + (uncertainty / PRECISION) ** 2), 0).astype(np.float32)
    certainty *= boundary_confidence(measured, known, radius=4, tolerance=0.08)
    values, weights = _with_background(background, measured, certainty, known)
    # What was measured wrong must not show through where no evidence reaches.
    values = np.where(weights > 0, values, pull_push(values, weights))
    smooth, support = fast_global_smoother(frame, values, weights, strength=120.0, edge_levels=8.0, rounds=3,
                                           least_link=LEAST_LINK)
    near = np.where(known, 1.0, support**2 / (support**2 + np.float32(NEAR_SUPPORT**2)))
    smooth = near * smooth + (1.0 - near) * fill_along_planes(frame, values, weights)
    share = np.minimum(1.5 * certainty, 1.0)
    disparity = share * measured + (1.0 - share) * np.clip(smooth, *limits.disparity)
    return Filled(disparity, certainty, support)


def _with_background(background, measured, certainty, known) -> tuple[np.ndarray, np.ndarray]:
    """What is measured and its certainty, and where nothing is known, the background (h,w) that other frames saw.

    Not where that background is uneven: at its cells' size, near things would be fat.
    """
    textureless = boundary_confidence(background, background > 0, radius=1, tolerance=SMOOTH_SHARE) * (background > 0)
    behind, weight = (cells_as_pixels(cells, known.shape) for cells in (background, BORROWED_CERTAINTY * textureless))
    borrowed = ~known & (behind > 0)
    return np.where(borrowed, behind, measured), np.where(borrowed, weight, certainty)
