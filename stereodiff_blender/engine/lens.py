"""Through the lens and back: ideal places and the distorted ones on the plate. NumPy only.

Places are counted from the principal point in focal lengths: x = (X - cx) / fx, y = (Y - cy) / fy, y down.
"""

from __future__ import annotations

import numpy as np

from .contract import Distortion

__all__ = ["distorted", "radial_derivatives", "radial_scale", "undistorted"]

RADIUS_ROUNDS, PLANE_ROUNDS = 12, 6
LEAST_SLOPE = 0.05
NEAR_AXIS = 1e-6
"""Squared radius up to which a fisheye's quotient of two small numbers is taken from its series."""


def radial_scale(squared: np.ndarray, distortion: Distortion) -> np.ndarray:
    """What an ideal place is multiplied with by the radial part.

    Parameters
    ----------
    squared : ndarray
        (...) float64, squared ideal radii, in focal lengths.
    distortion : Distortion
        Of the lens.

    Returns
    -------
    ndarray
        (...) float64, distorted over ideal radius.
    """
    if not distortion.is_fisheye:
        return distortion.scale(squared)
    angle_ratio, squared_angle = _angles(squared)
    return angle_ratio * distortion.scale(squared_angle)


def radial_derivatives(squared: np.ndarray, distortion: Distortion
                       ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """That scale, and how it changes.

    Parameters
    ----------
    squared : ndarray
        (...) float64, squared ideal radii, in focal lengths.
    distortion : Distortion
        Of the lens.

    Returns
    -------
    tuple of ndarray
        (...) float64 each: the scale, twice its derivative by the squared radius, its derivatives by k1 and by k2.
    """
    if not distortion.is_fisheye:
        k1, k2, k3 = distortion.k1, distortion.k2, distortion.k3
        bend = 2.0 * (k1 + squared * (2.0 * k2 + squared * 3.0 * k3))
        return distortion.scale(squared), bend, squared, squared * squared
    angle_ratio, squared_angle = _angles(squared)
    scale = angle_ratio * distortion.scale(squared_angle)
    is_near = squared < NEAR_AXIS
    bend = (distortion.slope(squared_angle) / (1.0 + squared) - scale) / np.where(is_near, 1.0, squared)
    bend = np.where(is_near, 2.0 * (distortion.k1 - 1.0 / 3.0), bend)
    by_k1 = angle_ratio * squared_angle
    return scale, bend, by_k1, by_k1 * squared_angle


def _angles(squared: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The angle off the axis over the ideal radius, and the square of that angle, of squared ideal radii."""
    radius = np.sqrt(squared)
    angle = np.arctan(radius)
    return np.divide(angle, radius, out=np.ones_like(radius), where=radius > 0.0), angle * angle


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
    """By the radial part alone, which keeps every direction. What lies beyond a fold is taken to it."""
    wanted = np.hypot(places[..., 0], places[..., 1])
    fold, radius = distortion.ideal_fold_radius(), wanted.copy()
    if distortion.is_fisheye:
        fold = np.arctan(fold)
    for _ in range(RADIUS_ROUNDS):
        squared = radius * radius
        step = (radius * distortion.scale(squared) - wanted) / np.maximum(distortion.slope(squared), LEAST_SLOPE)
        radius = np.clip(radius - step, 0.0, fold)
    ideal = np.tan(radius) if distortion.is_fisheye else radius
    return places * (ideal / np.where(wanted > 0, wanted, 1.0))[..., None]


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
    scale, slope, _, _ = radial_derivatives(squared, distortion)
    p1, p2 = distortion.p1, distortion.p2
    across = slope * x * y + 2.0 * p1 * x + 2.0 * p2 * y
    rows = [[scale + slope * x * x + 2.0 * p1 * y + 6.0 * p2 * x, across],
            [across, scale + slope * y * y + 6.0 * p1 * y + 2.0 * p2 * x]]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)
