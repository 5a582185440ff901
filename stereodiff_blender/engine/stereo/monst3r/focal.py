"""Focal length from a pointmap."""

from __future__ import annotations

import numpy as np

WEISZFELD_ROUNDS = 10
NEAREST_PX = 1e-8


def weiszfeld_focal(points: np.ndarray, principal_point: tuple[float, float]) -> float:
    """Focal length, pixels, under which a pointmap projects nearest to its own pixel grid.

    points: (H,W,3) in the axes of the camera whose pixels they are. principal_point: (cx, cy), pixel centers at +0.5.
    Least sum of distances (not squared) by Weiszfeld's reweighting: 10 rounds from the least squares (paper,
    section 3.2, and DUSt3R, section 3.3). Pixels without a direction (z = 0) say nothing.
    """
    height, width = points.shape[:2]
    x = np.arange(width) + 0.5 - principal_point[0]
    y = np.arange(height)[:, None] + 0.5 - principal_point[1]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        direction = points[..., :2].astype(np.float64) / points[..., 2:]
    direction[~np.isfinite(direction)] = 0.0
    along = (direction[..., 0] * x + direction[..., 1] * y).ravel()
    squared = (direction**2).sum(-1).ravel()
    distance = np.broadcast_to(x**2 + y**2, (height, width)).ravel()
    focal = along.sum() / squared.sum()
    for _ in range(WEISZFELD_ROUNDS):
        miss = distance + focal * (focal * squared - 2.0 * along)
        weights = 1.0 / np.sqrt(np.maximum(miss, NEAREST_PX**2))
        focal = (weights @ along) / (weights @ squared)
    return float(focal)
