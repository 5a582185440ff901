"""Points of the still scene, carried from one frame into others by depth and cameras: what flicker is measured on.

Pure functions on the arrays of single frames, in the conventions of the contract.
"""

from __future__ import annotations

import numpy as np

from ..contract import Distortion
from ..geometry import invert_rigid, project
from ..lens import distorted, undistorted
from ..shutter import RowCamera
from ..solution import TRUSTED

OTHER_SURFACE = 0.15
"""A depth that differs from its neighbor in time by more, relatively, is another surface: an occlusion."""


def static_grid(confidence: np.ndarray, motion_mask: np.ndarray, step_px: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns (n,) of the trusted static pixels of a grid. confidence, motion_mask: (H,W)."""
    start = step_px // 2
    grid = (slice(start, None, step_px),) * 2
    rows, cols = np.nonzero((confidence[grid] > TRUSTED) & (motion_mask[grid] == 0))
    return rows * step_px + start, cols * step_px + start


def world_points(depth: np.ndarray, rows: np.ndarray, cols: np.ndarray, camera_to_world: np.ndarray,
                 intrinsics: np.ndarray, distortion: Distortion | None = None,
                 row_camera: RowCamera | None = None) -> np.ndarray:
    """Where the pixels (rows, cols) of an (H,W) depth lie in the world, (n,3) float64; each sees along the ray of its
    undistorted place. row_camera: the same camera, if its rows are not read at once."""
    fx, fy, cx, cy = intrinsics
    z = depth[rows, cols].astype(np.float64)
    places = np.stack([(cols + 0.5 - cx) / fx, (rows + 0.5 - cy) / fy], axis=-1)
    if distortion is not None:
        places = undistorted(places, distortion)
    if row_camera is not None:
        return row_camera.to_world(*(places * (fx, fy) + (cx, cy)).T, z)
    points = np.column_stack([places, np.ones(len(z))]) * z[:, None]
    return points @ camera_to_world[:3, :3].T + camera_to_world[:3, 3]


def log_error(depth: np.ndarray, motion_mask: np.ndarray, points: np.ndarray, camera_to_world: np.ndarray,
              intrinsics: np.ndarray, distortion: Distortion | None = None,
              row_camera: RowCamera | None = None) -> np.ndarray:
    """ln(found / expected) z-depth of world points (n,3) in one frame, (n,); infinite where it does not show them."""
    pose = invert_rigid(camera_to_world)
    local = points @ pose[:3, :3].T + pose[:3, 3] if row_camera is None else row_camera.shown(points)
    error = np.full(len(points), np.inf)
    front = local[:, 2] > 1e-6
    if distortion is not None:
        fold = distortion.ideal_fold_radius()
        front &= np.hypot(local[:, 0], local[:, 1]) < fold * np.abs(local[:, 2])
    found = _lookup(depth, motion_mask, _shown_at(local[front], intrinsics, distortion))
    seen = found > 0
    error[np.flatnonzero(front)[seen]] = np.log(found[seen] / local[front][seen, 2])
    return error


def _shown_at(local: np.ndarray, intrinsics: np.ndarray, distortion: Distortion | None) -> np.ndarray:
    """(n,2) pixels of points (n,3) in the camera's axes, in front of it and within the lens's fold."""
    pixels = project(local, intrinsics)
    if distortion is None:
        return pixels
    return distorted((pixels - intrinsics[2:]) / intrinsics[:2], distortion) * intrinsics[:2] + intrinsics[2:]


def _lookup(depth: np.ndarray, motion_mask: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Depth at (n,2) pixels, interpolated in disparity, in which a plane is linear; 0 where the picture does not tell:
    outside, on something that moves, where depth is 0, and between two surfaces, where the mean of both is neither."""
    height, width = depth.shape
    x, y = pixels[:, 0] - 0.5, pixels[:, 1] - 0.5
    inside = (x >= 0) & (y >= 0) & (x < width - 1) & (y < height - 1)
    col, row = np.floor(x[inside]).astype(int), np.floor(y[inside]).astype(int)
    a, b = x[inside] - col, y[inside] - row
    corners = [(row + down, col + right) for down in (0, 1) for right in (0, 1)]
    weights = ((1 - b) * (1 - a), (1 - b) * a, b * (1 - a), b * a)
    with np.errstate(divide="ignore"):  # where nothing was measured: no corner is of one surface with that
        disparities = np.stack([1.0 / depth[corner].astype(np.float64) for corner in corners])
    is_still = ~np.any([motion_mask[corner] > 0 for corner in corners], axis=0)
    is_one_surface = disparities.max(axis=0) < disparities.min(axis=0) * (1 + OTHER_SURFACE)
    found = np.zeros(len(pixels))
    usable = is_still & is_one_surface
    told = np.where(usable, disparities, 1.0)
    mean = sum(weight * disparity for weight, disparity in zip(weights, told, strict=True))
    found[inside] = np.where(usable, 1.0 / mean, 0.0)
    return found
