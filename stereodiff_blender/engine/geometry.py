"""Cameras, rays and scales, in the conventions of the contract. NumPy only.

Pixel (col, row) has its center at (col + 0.5, row + 0.5); camera axes are OpenCV's (x right, y down, z forward).
A camera matrix K is (3,3); a pose is camera_to_world (4,4) or a stack (T,4,4).
"""

from __future__ import annotations

import numpy as np

__all__ = [
    "align_similarity", "camera_matrix", "depth_from_disparity", "disparity_from_depth", "exp_so3", "fill_unsolved",
    "fit_scale_shift", "interpolate_rotations", "invert_rigid", "log_so3", "nearest_rotation", "project", "rebase",
    "relative_pose", "rescale_gauge", "rotation_angle_deg", "unproject",
]


def camera_matrix(intrinsics) -> np.ndarray:
    """The camera matrix of these intrinsics.

    Parameters
    ----------
    intrinsics : sequence of float
        (fx, fy, cx, cy) in pixels.

    Returns
    -------
    ndarray
        K (3,3) float64.
    """
    fx, fy, cx, cy = intrinsics
    return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])


def invert_rigid(pose: np.ndarray) -> np.ndarray:
    """Inverse of rigid transforms.

    Parameters
    ----------
    pose : ndarray
        (...,4,4) float, a rotation and a translation each.

    Returns
    -------
    ndarray
        (...,4,4), of the same dtype.
    """
    inverse = np.zeros_like(pose)
    rotation_t = np.swapaxes(pose[..., :3, :3], -1, -2)
    inverse[..., :3, :3] = rotation_t
    inverse[..., :3, 3] = -np.einsum("...ij,...j->...i", rotation_t, pose[..., :3, 3])
    inverse[..., 3, 3] = 1.0
    return inverse


def relative_pose(camera_to_world_i: np.ndarray, camera_to_world_j: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotation and translation that take camera i's coordinates to camera j's.

    Parameters
    ----------
    camera_to_world_i, camera_to_world_j : ndarray
        (4,4) each, OpenCV axes.

    Returns
    -------
    rotation : ndarray
        (3,3).
    translation : ndarray
        (3,), scene units: point_j = rotation @ point_i + translation.
    """
    transform = invert_rigid(camera_to_world_j) @ camera_to_world_i
    return transform[:3, :3], transform[:3, 3]


def project(points: np.ndarray, intrinsics) -> np.ndarray:
    """Where points are seen in the picture.

    Parameters
    ----------
    points : ndarray
        (...,3) in camera axes (OpenCV), z > 0.
    intrinsics : sequence of float
        (fx, fy, cx, cy) in pixels.

    Returns
    -------
    ndarray
        (...,2) pixels, x and y; the center of the first pixel is 0.5.
    """
    fx, fy, cx, cy = intrinsics
    return np.stack([fx * points[..., 0] / points[..., 2] + cx, fy * points[..., 1] / points[..., 2] + cy], axis=-1)


def unproject(depth: np.ndarray, intrinsics) -> np.ndarray:
    """Points of a depth map, one for each pixel.

    Parameters
    ----------
    depth : ndarray
        (H,W) z-depth, scene units; 0 gives the camera center.
    intrinsics : sequence of float
        (fx, fy, cx, cy) in pixels.

    Returns
    -------
    ndarray
        (H,W,3) points in camera axes (OpenCV), scene units.
    """
    height, width = depth.shape
    fx, fy, cx, cy = intrinsics
    x = (np.arange(width) + 0.5 - cx) / fx
    y = (np.arange(height) + 0.5 - cy) / fy
    return np.stack([x[None, :] * depth, y[:, None] * depth, depth], axis=-1)


def disparity_from_depth(depth: np.ndarray) -> np.ndarray:
    """1 / depth; invalid depth (0) becomes 0.

    Parameters
    ----------
    depth : ndarray
        Any shape, float, scene units; 0 or less is invalid.

    Returns
    -------
    ndarray
        Disparity, of the same shape and dtype, in 1 / scene unit.
    """
    return np.divide(1.0, depth, out=np.zeros_like(depth), where=depth > 0)


def depth_from_disparity(disparity: np.ndarray) -> np.ndarray:
    """1 / disparity; 0 or less is invalid and becomes 0.

    Parameters
    ----------
    disparity : ndarray
        Any shape, float, in 1 / scene unit.

    Returns
    -------
    ndarray
        Depth, of the same shape and dtype, in scene units.
    """
    return np.divide(1.0, disparity, out=np.zeros_like(disparity), where=disparity > 0)


def rescale_gauge(camera_to_world: np.ndarray, depth_scale: float) -> np.ndarray:
    """Poses after every length has been multiplied by depth_scale.

    Parameters
    ----------
    camera_to_world : ndarray
        (T,4,4); left as it is.
    depth_scale : float
        New length over old length, > 0.

    Returns
    -------
    ndarray
        (T,4,4) camera_to_world.
    """
    scaled = camera_to_world.copy()
    scaled[..., :3, 3] *= depth_scale
    return scaled


def rebase(camera_to_world: np.ndarray) -> np.ndarray:
    """Poses moved so that the first is the identity, exactly.

    Parameters
    ----------
    camera_to_world : ndarray
        (T,4,4); left as it is.

    Returns
    -------
    ndarray
        (T,4,4) camera_to_world.
    """
    moved = invert_rigid(camera_to_world[0])[None] @ camera_to_world
    moved[0] = np.eye(4)
    return moved


def exp_so3(rotation_vectors: np.ndarray) -> np.ndarray:
    """Rotation vectors to rotation matrices, by Rodrigues' formula.

    Parameters
    ----------
    rotation_vectors : ndarray
        (...,3): the axis, as long as the angle in radians.

    Returns
    -------
    ndarray
        (...,3,3) rotations.
    """
    angle = np.linalg.norm(rotation_vectors, axis=-1)[..., None, None]
    x, y, z = np.moveaxis(rotation_vectors, -1, 0)
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(*x.shape, 3, 3)
    small = angle < 1e-8
    safe = np.where(small, 1.0, angle)
    first = np.where(small, 1.0, np.sin(safe) / safe)
    second = np.where(small, 0.5, (1.0 - np.cos(safe)) / safe**2)
    return np.eye(3) + first * cross + second * (cross @ cross)


def log_so3(rotations: np.ndarray) -> np.ndarray:
    """Rotation vectors of rotation matrices: the inverse of exp_so3.

    Parameters
    ----------
    rotations : ndarray
        (...,3,3), of turns of less than a half circle.

    Returns
    -------
    ndarray
        (...,3), in radians.
    """
    skew = 0.5 * np.stack([rotations[..., 2, 1] - rotations[..., 1, 2], rotations[..., 0, 2] - rotations[..., 2, 0],
                           rotations[..., 1, 0] - rotations[..., 0, 1]], axis=-1)
    angle = np.radians(rotation_angle_deg(rotations))
    sine = np.sin(angle)
    return skew * np.where(sine > 1e-8, angle / np.maximum(sine, 1e-8), 1.0)[..., None]


def nearest_rotation(matrices: np.ndarray) -> np.ndarray:
    """Closest rotation, in the Frobenius norm, to each matrix.

    Parameters
    ----------
    matrices : ndarray
        (...,3,3) float.

    Returns
    -------
    ndarray
        (...,3,3) rotations.
    """
    u, _, vt = np.linalg.svd(matrices)
    sign = np.linalg.det(u @ vt)
    u[..., :, 2] *= sign[..., None]
    return u @ vt


def rotation_angle_deg(rotations: np.ndarray) -> np.ndarray:
    """Angle of each rotation.

    Accurate near zero, where the trace is not.

    Parameters
    ----------
    rotations : ndarray
        (...,3,3).

    Returns
    -------
    ndarray
        (...), degrees in 0..180.
    """
    sine = np.stack([rotations[..., 2, 1] - rotations[..., 1, 2], rotations[..., 0, 2] - rotations[..., 2, 0],
                     rotations[..., 1, 0] - rotations[..., 0, 1]], axis=-1)
    cosine = np.trace(rotations, axis1=-2, axis2=-1) - 1.0
    return np.degrees(np.arctan2(np.linalg.norm(sine, axis=-1), cosine))


def align_similarity(source: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Least-squares similarity: target ~ scale * rotation @ source + translation.

    Parameters
    ----------
    source, target : ndarray
        (N,3) float, row by row the same points; N >= 3 and not all in one place.

    Returns
    -------
    scale : float
        Target units in a source unit.
    rotation : ndarray
        (3,3).
    translation : ndarray
        (3,), in the target's units.

    References
    ----------
    Umeyama 1991, "Least-squares estimation of transformation parameters between two point patterns".
    """
    mean_source, mean_target = source.mean(0), target.mean(0)
    centered_source, centered_target = source - mean_source, target - mean_target
    u, singular, vt = np.linalg.svd(centered_target.T @ centered_source / len(source))
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = (u * signs) @ vt
    scale = float((singular * signs).sum() / centered_source.var(0).sum())
    return scale, rotation, mean_target - scale * rotation @ mean_source


def fit_scale_shift(source: np.ndarray, target: np.ndarray, *, rounds: int = 20) -> tuple[float, float, float]:
    """Robust scale and shift with target ~ scale * source + shift, and the median absolute residual.

    Iteratively reweighted least squares with Cauchy weights whose width follows the residuals' median.

    Parameters
    ----------
    source, target : ndarray
        (N,) disparities of the same pixels.
    rounds : int
        How often the weights are made anew.

    Returns
    -------
    scale : float
        Of the source.
    shift : float
        In the target's unit.
    residual : float
        Median |target - scale * source - shift|, in the target's unit.

    Raises
    ------
    ValueError
        Fewer than two samples, or a constant source.
    """
    if len(source) < 2 or np.ptp(source) <= 0:
        raise ValueError("scale and shift need two or more different samples")
    source, target = source.astype(np.float64), target.astype(np.float64)
    weights = np.ones_like(source)
    for _ in range(rounds):
        total = weights.sum()
        mean_source, mean_target = (weights * source).sum() / total, (weights * target).sum() / total
        spread = (weights * (source - mean_source) ** 2).sum()
        scale = float((weights * (source - mean_source) * (target - mean_target)).sum() / spread)
        shift = float(mean_target - scale * mean_source)
        residual = np.abs(target - scale * source - shift)
        width = max(1.4826 * float(np.median(residual)), 1e-12)
        weights = 1.0 / (1.0 + (residual / (2.0 * width)) ** 2)
    return scale, shift, float(np.median(residual))


def interpolate_rotations(rotations_i: np.ndarray, rotations_j: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Rotations a share of the way from i to j along the shortest turn.

    Parameters
    ----------
    rotations_i, rotations_j : ndarray
        (n,3,3) float64.
    share : ndarray
        (n,), 0 is i, 1 is j.

    Returns
    -------
    ndarray
        (n,3,3) rotations.
    """
    import cv2
    turns = np.array([cv2.Rodrigues(np.ascontiguousarray(turn))[0].ravel()
                      for turn in np.swapaxes(rotations_i, -1, -2) @ rotations_j]).reshape(-1, 3)
    return rotations_i @ exp_so3(turns * share[:, None])


def fill_unsolved(rotations: np.ndarray, centers: np.ndarray, solved: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cameras with the unsolved frames put between their solved neighbors.

    Before the first solved frame and after the last, the camera stands still.

    Parameters
    ----------
    rotations : ndarray
        (T,3,3) camera-to-world rotations.
    centers : ndarray
        (T,3) camera centers in the world.
    solved : ndarray
        (T,) bool, true at least once; what unsolved frames hold in the others is not used.

    Returns
    -------
    rotations : ndarray
        (T,3,3) camera-to-world rotations.
    centers : ndarray
        (T,3) camera centers.
    """
    known = np.flatnonzero(solved)
    index = np.arange(len(solved))
    before = known[np.maximum(np.searchsorted(known, index, side="right") - 1, 0)]
    after = known[np.minimum(np.searchsorted(known, index), len(known) - 1)]
    share = np.clip((index - before) / np.maximum(after - before, 1), 0.0, 1.0)
    filled = interpolate_rotations(rotations[before], rotations[after], share)
    moved = centers[before] + share[:, None] * (centers[after] - centers[before])
    return np.where(solved[:, None, None], rotations, filled), np.where(solved[:, None], centers, moved)
