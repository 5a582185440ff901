"""Cameras, rays and scales, in the conventions of the contract. NumPy only.

Pixel (col, row) has its center at (col + 0.5, row + 0.5); camera axes are OpenCV's (x right, y down, z forward).
A camera matrix K is (3,3); a pose is camera_to_world (4,4) or a stack (T,4,4).
"""

from __future__ import annotations

import numpy as np

__all__ = [
    "align_similarity", "camera_matrix", "depth_from_disparity", "disparity_from_depth", "exp_so3", "fill_unsolved",
    "fit_scale_shift", "interpolate_rotations", "invert_rigid", "nearest_rotation", "project", "rebase",
    "relative_pose", "rescale_gauge", "rotation_angle_deg", "unproject",
]


def camera_matrix(intrinsics) -> np.ndarray:
    """intrinsics: (fx, fy, cx, cy) in pixels. Returns K (3,3)."""
    fx, fy, cx, cy = intrinsics
    return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])


def invert_rigid(pose: np.ndarray) -> np.ndarray:
    """Inverse of rigid (...,4,4) transforms."""
    inverse = np.zeros_like(pose)
    rotation_t = np.swapaxes(pose[..., :3, :3], -1, -2)
    inverse[..., :3, :3] = rotation_t
    inverse[..., :3, 3] = -np.einsum("...ij,...j->...i", rotation_t, pose[..., :3, 3])
    inverse[..., 3, 3] = 1.0
    return inverse


def relative_pose(camera_to_world_i: np.ndarray, camera_to_world_j: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotation (3,3) and translation (3,) that take camera i's coordinates to camera j's."""
    transform = invert_rigid(camera_to_world_j) @ camera_to_world_i
    return transform[:3, :3], transform[:3, 3]


def project(points: np.ndarray, intrinsics) -> np.ndarray:
    """points: (...,3) in camera axes, z > 0. Returns (...,2) pixels."""
    fx, fy, cx, cy = intrinsics
    return np.stack([fx * points[..., 0] / points[..., 2] + cx, fy * points[..., 1] / points[..., 2] + cy], axis=-1)


def unproject(depth: np.ndarray, intrinsics) -> np.ndarray:
    """depth: (H,W) z-depth. Returns (H,W,3) points in camera axes; depth 0 gives the camera center."""
    height, width = depth.shape
    fx, fy, cx, cy = intrinsics
    x = (np.arange(width) + 0.5 - cx) / fx
    y = (np.arange(height) + 0.5 - cy) / fy
    return np.stack([x[None, :] * depth, y[:, None] * depth, depth], axis=-1)


def disparity_from_depth(depth: np.ndarray) -> np.ndarray:
    """1 / depth; invalid depth (0) becomes 0."""
    return np.divide(1.0, depth, out=np.zeros_like(depth), where=depth > 0)


def depth_from_disparity(disparity: np.ndarray) -> np.ndarray:
    """1 / disparity; 0 or less is invalid and becomes 0."""
    return np.divide(1.0, disparity, out=np.zeros_like(disparity), where=disparity > 0)


def rescale_gauge(camera_to_world: np.ndarray, depth_scale: float) -> np.ndarray:
    """Poses (T,4,4) after every length has been multiplied by depth_scale."""
    scaled = camera_to_world.copy()
    scaled[..., :3, 3] *= depth_scale
    return scaled


def rebase(camera_to_world: np.ndarray) -> np.ndarray:
    """Poses (T,4,4) moved so that the first is the identity, exactly."""
    moved = invert_rigid(camera_to_world[0])[None] @ camera_to_world
    moved[0] = np.eye(4)
    return moved


def exp_so3(rotation_vectors: np.ndarray) -> np.ndarray:
    """Rodrigues: rotation vectors (...,3) in radians to matrices (...,3,3)."""
    angle = np.linalg.norm(rotation_vectors, axis=-1)[..., None, None]
    x, y, z = np.moveaxis(rotation_vectors, -1, 0)
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(*x.shape, 3, 3)
    small = angle < 1e-8
    safe = np.where(small, 1.0, angle)
    first = np.where(small, 1.0, np.sin(safe) / safe)
    second = np.where(small, 0.5, (1.0 - np.cos(safe)) / safe**2)
    return np.eye(3) + first * cross + second * (cross @ cross)


def nearest_rotation(matrices: np.ndarray) -> np.ndarray:
    """Closest rotation, in the Frobenius norm, to each of (...,3,3)."""
    u, _, vt = np.linalg.svd(matrices)
    sign = np.linalg.det(u @ vt)
    u[..., :, 2] *= sign[..., None]
    return u @ vt


def rotation_angle_deg(rotations: np.ndarray) -> np.ndarray:
    """Angle of each rotation (...,3,3), degrees in 0..180. Accurate near zero, where the trace is not."""
    sine = np.stack([rotations[..., 2, 1] - rotations[..., 1, 2], rotations[..., 0, 2] - rotations[..., 2, 0],
                     rotations[..., 1, 0] - rotations[..., 0, 1]], axis=-1)
    cosine = np.trace(rotations, axis1=-2, axis2=-1) - 1.0
    return np.degrees(np.arctan2(np.linalg.norm(sine, axis=-1), cosine))


def align_similarity(source: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Least-squares scale, rotation (3,3), translation (3,): target ~ scale * rotation @ source + translation.

    source, target: (N,3), N >= 3 and not all in one place. Umeyama 1991.
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

    source, target: (N,) disparities of the same pixels. Iteratively reweighted least squares with Cauchy weights
    whose width follows the residuals' median. Raises ValueError with fewer than two samples or a constant source.
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
    """Rotations (n,3,3) a share (n,) of the way from i to j along the shortest turn."""
    import cv2
    turns = np.array([cv2.Rodrigues(np.ascontiguousarray(turn))[0].ravel()
                      for turn in np.swapaxes(rotations_i, -1, -2) @ rotations_j]).reshape(-1, 3)
    return rotations_i @ exp_so3(turns * share[:, None])


def fill_unsolved(rotations: np.ndarray, centers: np.ndarray, solved: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Camera-to-world rotations (T,3,3) and centers (T,3) with the unsolved frames put between their solved
    neighbors; before the first and after the last, the camera stands still."""
    known = np.flatnonzero(solved)
    index = np.arange(len(solved))
    before = known[np.maximum(np.searchsorted(known, index, side="right") - 1, 0)]
    after = known[np.minimum(np.searchsorted(known, index), len(known) - 1)]
    share = np.clip((index - before) / np.maximum(after - before, 1), 0.0, 1.0)
    filled = interpolate_rotations(rotations[before], rotations[after], share)
    moved = centers[before] + share[:, None] * (centers[after] - centers[before])
    return np.where(solved[:, None, None], rotations, filled), np.where(solved[:, None], centers, moved)
