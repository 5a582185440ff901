"""Our coefficients for a lens that is known in another form: by points, or by an ST map. NumPy only.

Places are counted as in lens.py, from the principal point in focal lengths. Distortion is linear in its coefficients,
so the best ones for given ideal places and their places on the plate are those of a linear least-squares problem.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .contract import Distortion, StereoDiffError, invalid_lens_file
from .lens import distorted, radial_scale

__all__ = ["fit_distortion", "lens_of_map"]

MOST_MAP_ERROR_PX = 0.1
"""Of the plate, that a fitted lens may be off an ST map."""
_EXACT_PX = 0.01
"""Of the plate, up to which the simpler lens is the one: more is not told apart from rounding."""
_SAMPLES = 96
"""Across and down a map."""
_SLOPE_REACH, _LEAST_REACH_PX, _SLOPE_DEGREE = 0.15, 8, 5
"""Share of the picture at both sides of the principal point that tells the map's scale there, by a polynomial."""
_WHOLE = 0.1
"""Pixels of overscan are whole numbers, if they come so near."""


def fit_distortion(ideal: np.ndarray, plate: np.ndarray, focal_px: np.ndarray) -> tuple[Distortion, float]:
    """The coefficients that come nearest to showing ideal places where a plate shows them.

    Of no distortion, K1 to K3 with P1 and P2, and a fisheye, the first that is exact counts, else the best.

    Parameters
    ----------
    ideal, plate : ndarray
        (N,2) float64, in focal lengths from the principal point.
    focal_px : ndarray
        (2,) fx and fy in pixels of the plate.

    Returns
    -------
    tuple of Distortion and float
        The lens, and how far it is off at worst, in pixels of the plate.
    """
    best, best_px = Distortion(), np.inf
    for fit in (lambda *_: Distortion(), _brown, _fisheye):
        lens = fit(ideal, plate)
        worst_px = float(np.abs((distorted(ideal, lens) - plate) * focal_px).max(initial=0.0))
        if worst_px < best_px:
            best, best_px = lens, worst_px
        if best_px < _EXACT_PX:
            break
    return best, best_px


def _brown(ideal: np.ndarray, plate: np.ndarray) -> Distortion:
    x, y = ideal.T
    squared = x * x + y * y
    columns = [np.concatenate([x * squared**power, y * squared**power]) for power in (1, 2, 3)]
    columns.append(np.concatenate([2.0 * x * y, squared + 2.0 * y * y]))
    columns.append(np.concatenate([squared + 2.0 * x * x, 2.0 * x * y]))
    return Distortion(*_least_squares(columns, plate - ideal))


def _fisheye(ideal: np.ndarray, plate: np.ndarray) -> Distortion:
    squared = (ideal * ideal).sum(axis=1)
    equidistant = ideal * radial_scale(squared, Distortion(is_fisheye=True))[:, None]
    angle = np.arctan(np.sqrt(squared))
    columns = [(equidistant * angle[:, None] ** power).T.ravel() for power in (2, 4, 6, 8)]
    k1, k2, k3, k4 = _least_squares(columns, plate - equidistant)
    return Distortion(k1, k2, k3, k4=k4, is_fisheye=True)


def _least_squares(columns: list[np.ndarray], wanted: np.ndarray) -> list[float]:
    found, *_ = np.linalg.lstsq(np.stack(columns, axis=1), wanted.T.ravel(), rcond=None)
    return found.tolist()


def lens_of_map(u: np.ndarray, v: np.ndarray, size: tuple[int, int], intrinsics: tuple[float, ...],
                path: Path) -> Distortion:
    """The lens of a redistort ST map: of the plate's size, it says where the ideal picture shows each pixel.

    The ideal picture may have overscan, which the map's scale at the principal point tells: there a lens changes
    nothing.

    Parameters
    ----------
    u, v : ndarray
        (H,W) float, row 0 at the top; u from the left edge, v from the bottom edge, 0 to 1.
    size : tuple of int
        Width and height of the clip.
    intrinsics : tuple of float
        fx, fy, cx, cy in pixels of the clip.
    path : Path
        Of the file, for words.

    Returns
    -------
    Distortion
        Within MOST_MAP_ERROR_PX of the map.

    Raises
    ------
    StereoDiffError
        "lens_file_wrong_size", "lens_file_invalid" for a map with a hole, "lens_not_followed" for a lens that ours
        cannot be.
    """
    width, height = size
    if u.shape != (height, width) or v.shape != u.shape:
        raise StereoDiffError("lens_file_wrong_size", f"The ST map {path.name} has {u.shape[1]} x {u.shape[0]} pixels, "
                                                      f"the clip {width} x {height}.")
    if not (np.isfinite(u).all() and np.isfinite(v).all()):
        raise invalid_lens_file(path, "some of its pixels hold no number")
    focal, center = np.asarray(intrinsics[:2]), np.asarray(intrinsics[2:])
    columns, rows = (np.unique(np.linspace(0, side - 1, _SAMPLES).round().astype(int)) for side in size)
    plate = np.stack(np.meshgrid(columns + 0.5, rows + 0.5), axis=-1)
    shown = np.stack([u[np.ix_(rows, columns)] * np.float64(width),
                      (1.0 - v[np.ix_(rows, columns)].astype(np.float64)) * height], axis=-1)
    row, column = (int(np.clip(place, 0, side - 1)) for place, side in zip(center[::-1], (height, width), strict=True))
    axes = (_at_center(u[row] * np.float64(width), center[0], path),
            _at_center((1.0 - v[:, column].astype(np.float64)) * height, center[1], path))
    offset, scale = np.transpose(axes)
    lens, worst_px = fit_distortion(((shown - offset) / (scale * focal)).reshape(-1, 2),
                                    ((plate - center) / focal).reshape(-1, 2), focal)
    if not worst_px <= MOST_MAP_ERROR_PX:
        raise StereoDiffError("lens_not_followed", f"K1 to K3, P1 and P2, or K1 to K4 of a fisheye, come within "
                                                   f"{worst_px:.3g} pixels of the ST map {path.name} at best; "
                                                   f"{MOST_MAP_ERROR_PX} are allowed.")
    return lens


def _at_center(shown: np.ndarray, center: float, path: Path) -> tuple[float, float]:
    """Where a line of a map through the principal point, (N,) in pixels, shows that point, and its scale there."""
    places = np.arange(len(shown)) + 0.5 - center
    near = np.abs(places) < max(_SLOPE_REACH * len(shown), _LEAST_REACH_PX)
    if near.sum() <= 2 * _SLOPE_DEGREE:
        raise invalid_lens_file(path, "the principal point is at the picture's edge")
    *_, scale, offset = np.polyfit(places[near], shown[near], _SLOPE_DEGREE)
    if not scale > 0.0:
        raise invalid_lens_file(path, "it is no ST map of a lens")
    overscan = np.array([offset / scale - center, len(shown) / scale - len(shown)])  # before the plate, and in all
    if np.abs(overscan - overscan.round()).max() < _WHOLE:
        before, both = overscan.round()
        scale = len(shown) / (len(shown) + both)
        offset = scale * (center + before)
    return float(offset), float(scale)
