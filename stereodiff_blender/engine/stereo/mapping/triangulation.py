"""Points from known cameras: linear triangulation, viewing angles, and which points to believe."""

from __future__ import annotations

import numpy as np

from .bundle_state import Observations


def triangulate_points(rotations, translations, focal: float, observations: Observations, points: int) -> np.ndarray:
    """Points from all their observations.

    Homogeneous linear least squares (DLT) on normalized pixels: the eigenvector of smallest eigenvalue per point.

    Parameters
    ----------
    rotations : ndarray
        (C,3,3), world to camera.
    translations : ndarray
        (C,3), world to camera.
    focal : float
        In square pixels, of all cameras.
    observations : Observations
        Square pixels from the principal point.
    points : int
        P, how many points there are.

    Returns
    -------
    ndarray
        (P,3) in the axes of the world; nan for those seen fewer than twice.

    References
    ----------
    Hartley and Zisserman 2004, "Multiple view geometry", 12.2.
    """
    poses = np.concatenate([rotations, translations[:, :, None]], axis=2)[observations.camera]
    direction = observations.pixels / focal
    equations = direction[:, :, None] * poses[:, 2:3] - poses[:, :2]
    equations /= np.linalg.norm(equations, axis=2, keepdims=True)
    products = np.einsum("nai,naj->nij", equations, equations).reshape(-1, 16)
    normal = scatter_add(observations.point, products, points).reshape(points, 4, 4)
    _, vectors = np.linalg.eigh(normal)
    homogeneous = vectors[:, :, 0]
    far = np.abs(homogeneous[:, 3]) < 1e-9
    scale = np.where(far, np.where(homogeneous[:, 3] < 0, -1e-9, 1e-9), homogeneous[:, 3])
    result = homogeneous[:, :3] / scale[:, None]
    result[np.bincount(observations.point, minlength=points) < 2] = np.nan
    return result


def scatter_add(index: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    """Rows of values summed by index.

    Parameters
    ----------
    index : ndarray
        (N,) int in 0..size-1, of the row that each is added to.
    values : ndarray
        (N,K).
    size : int
        How many rows there are in the end.

    Returns
    -------
    ndarray
        (size,K) float64; zero where nothing was added.
    """
    # Without a single row, bincount answers in integers.
    return np.stack([np.bincount(index, column, size) for column in values.T], axis=1).astype(np.float64, copy=False)


def parallax_deg(rotations, translations, points, observations: Observations) -> np.ndarray:
    """About the largest angle between two rays to each point: twice the largest from their mean direction.

    Parameters
    ----------
    rotations : ndarray
        (C,3,3), world to camera.
    translations : ndarray
        (C,3), world to camera.
    points : ndarray
        (P,3) in the axes of the world; nan where unknown.
    observations : Observations
        Which camera sees which point.

    Returns
    -------
    ndarray
        (P,) in degrees; 0 for points that no camera sees, without meaning for those that are nan.
    """
    centers = -np.einsum("nji,nj->ni", rotations, translations)
    rays = np.nan_to_num(points)[observations.point] - centers[observations.camera]
    rays /= np.linalg.norm(rays, axis=1, keepdims=True) + 1e-12
    mean = scatter_add(observations.point, rays, len(points))
    mean /= np.linalg.norm(mean, axis=1, keepdims=True) + 1e-12
    # The chord keeps small angles exact where the cosine would not.
    chord = np.linalg.norm(rays - mean[observations.point], axis=1)
    widest = np.zeros(len(points))
    np.maximum.at(widest, observations.point, 2.0 * np.arcsin(np.clip(0.5 * chord, 0.0, 1.0)))
    return np.degrees(2.0 * widest)
