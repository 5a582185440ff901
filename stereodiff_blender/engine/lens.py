"""Through the lens and back: ideal places and the distorted ones on the plate. NumPy only.

Places are counted from the principal point in focal lengths: x = (X - cx) / fx, y = (Y - cy) / fy, y down.
"""

from __future__ import annotations

import numpy as np

from .contract import Distortion

__all__ = ["distorted", "radial_scale", "undistorted"]

RADIUS_ROUNDS, PLANE_ROUNDS = 12, 6


def radial_scale(squared: np.ndarray, distortion: Distortion) -> np.ndarray:
    """What an ideal place is multiplied with by the radial part, for squared ideal radii of any shape."""
    return 1.0 + squared * (distortion.k1 + squared * (distortion.k2 + squared * distortion.k3))


def distorted(places: np.ndarray, distortion: Distortion) -> np.ndarray:
    """Where the plate shows ideal places.

    Parameters
    ----------
    places : ndarray
        (...,2) float64, ideal, in focal lengths from the principal point.
    distortion : Distortion
        Of the lens.

    Returns
    -------
    ndarray
        (...,2) float64, in the same unit. Beyond the fold of a barrel they mean nothing.
    """
    x, y = places[..., 0], places[..., 1]
    squared = x * x + y * y
    scale = radial_scale(squared, distortion)
    return np.stack([
        x * scale + 2.0 * distortion.p1 * x * y + distortion.p2 * (squared + 2.0 * x * x),
        y * scale + distortion.p1 * (squared + 2.0 * y * y) + 2.0 * distortion.p2 * x * y], axis=-1)


def undistorted(places: np.ndarray, distortion: Distortion) -> np.ndarray:
    """Ideal places of those on the plate: the inverse of distorted, by Newton's method.

    Parameters
    ----------
    places : ndarray
        (...,2) float64, on the plate, in focal lengths from the principal point.
    distortion : Distortion
        Of the lens.

    Returns
    -------
    ndarray
        (...,2) float64, in the same unit; exact to 1e-12 inside the fold of a barrel.
    """
    places = np.asarray(places, np.float64)
    ideal = _on_the_radius(places, distortion)
    return ideal if distortion.is_radial else _in_the_plane(places, ideal, distortion)


def _on_the_radius(places: np.ndarray, distortion: Distortion) -> np.ndarray:
    """By the radial part alone, which keeps every direction."""
    wanted = np.hypot(places[..., 0], places[..., 1])
    radius = wanted.copy()
    k1, k2, k3 = distortion.k1, distortion.k2, distortion.k3
    for _ in range(RADIUS_ROUNDS):
        squared = radius * radius
        slope = 1.0 + squared * (3.0 * k1 + squared * (5.0 * k2 + squared * 7.0 * k3))
        step = (radius * radial_scale(squared, distortion) - wanted) / np.where(slope > 0.05, slope, 0.05)
        radius = np.maximum(radius - step, 0.0)
    return places * (radius / np.where(wanted > 0, wanted, 1.0))[..., None]


def _in_the_plane(places: np.ndarray, ideal: np.ndarray, distortion: Distortion) -> np.ndarray:
    for _ in range(PLANE_ROUNDS):
        jacobian = _jacobian(ideal, distortion)
        miss = distorted(ideal, distortion) - places
        ideal = ideal - np.linalg.solve(jacobian, miss[..., None])[..., 0]
    return ideal


def _jacobian(ideal: np.ndarray, distortion: Distortion) -> np.ndarray:
    """(...,2,2): of distorted at ideal places."""
    x, y = ideal[..., 0], ideal[..., 1]
    squared = x * x + y * y
    scale = radial_scale(squared, distortion)
    slope = 2.0 * (distortion.k1 + squared * (2.0 * distortion.k2 + squared * 3.0 * distortion.k3))
    p1, p2 = distortion.p1, distortion.p2
    across = slope * x * y + 2.0 * p1 * x + 2.0 * p2 * y
    rows = [[scale + slope * x * x + 2.0 * p1 * y + 6.0 * p2 * x, across],
            [across, scale + slope * y * y + 6.0 * p1 * y + 2.0 * p2 * x]]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)
