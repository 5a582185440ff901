"""The boards of camera_scenes.py on a small raster, with their true depth and true cameras: no solve needed."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from camera_scenes import BOARDS, camera_path, render_boards

from stereodiff_blender.engine.geometry import camera_matrix, project, unproject
from stereodiff_blender.engine.solution import CameraSolution

WIDTH, HEIGHT, FOCAL_PX = 192, 108, 180.0


@dataclass(frozen=True)
class KnownShot:
    """frames (T,H,W,3) uint8, their true depth (T,H,W) and cameras."""

    frames: np.ndarray
    depth: np.ndarray
    cameras: CameraSolution


def boards_shot(count: int, *, travel: float = 1.0, width: int = WIDTH, height: int = HEIGHT, moving=None) -> KnownShot:
    """The camera slides past the boards; mover as in render_boards."""
    poses = camera_path(count, travel=travel)
    frames = render_boards(poses, focal_px=FOCAL_PX, width=width, height=height, moving=moving, noise=0.5)
    intrinsics = np.tile((FOCAL_PX, FOCAL_PX, width / 2, height / 2), (count, 1))
    depth = np.stack([boards_depth(pose, intrinsics[0], height, width) for pose in poses])
    return KnownShot(frames, depth, known_cameras(poses, intrinsics, depth))


def boards_depth(pose: np.ndarray, intrinsics, height: int, width: int) -> np.ndarray:
    """True z-depth (H,W): each pixel's ray meets the board that was painted last."""
    rays = unproject(np.ones((height, width)), intrinsics) @ pose[:3, :3].T
    depth = np.full((height, width), np.nan)
    for origin, across, down in BOARDS:
        # origin + a * across + b * down = camera + depth * ray, three equations for a, b and depth.
        system = np.stack([np.broadcast_to(across, rays.shape), np.broadcast_to(down, rays.shape), -rays], axis=-1)
        a, b, z = np.moveaxis(np.linalg.solve(system, (pose[:3, 3] - origin)[None, None, :, None])[..., 0], -1, 0)
        hit = (a >= 0) & (a <= 1) & (b >= 0) & (b <= 1) & (z > 0)
        depth[hit] = z[hit]
    return depth


def known_cameras(poses: np.ndarray, intrinsics: np.ndarray, depth: np.ndarray, *, step: int = 6) -> CameraSolution:
    """A solve without error, whose points are every step-th pixel of every frame; pixels without depth have none."""
    points, observations, first = [], [], 0
    for pose, lens, z in zip(poses, intrinsics, depth, strict=True):
        rows, columns = np.nonzero(np.isfinite(z))
        chosen = (rows % step == step // 2) & (columns % step == step // 2)
        rows, columns = rows[chosen], columns[chosen]
        seen = unproject(z, lens)[rows, columns]
        points.append(seen @ pose[:3, :3].T + pose[:3, 3])
        observations.append((np.arange(first, first + len(seen)), np.stack([columns, rows], axis=1) + 0.5))
        first += len(seen)
    count = len(poses)
    return CameraSolution("moving", poses, np.asarray(intrinsics, float), np.ones(count, bool), np.zeros(count),
                          np.concatenate(points), np.full(first, 5.0), observations)


def without_points(poses: np.ndarray, intrinsics: np.ndarray) -> CameraSolution:
    count = len(poses)
    return CameraSolution("moving", poses, np.asarray(intrinsics, float), np.ones(count, bool), np.zeros(count),
                          np.empty((0, 3)), np.empty(0), [])


def exact_flow(depth: np.ndarray, cameras: CameraSolution, i: int, j: int) -> np.ndarray:
    """Flow (H,W,2) from frame i, with this z-depth (H,W), to frame j, through points in space."""
    pose_i, pose_j = cameras.camera_to_world[i], cameras.camera_to_world[j]
    world = unproject(depth, cameras.intrinsics[i]) @ pose_i[:3, :3].T + pose_i[:3, 3]
    seen = (world - pose_j[:3, 3]) @ pose_j[:3, :3]
    start = project(unproject(np.ones_like(depth), cameras.intrinsics[i]), cameras.intrinsics[i])
    return (project(seen, cameras.intrinsics[j]) - start).astype(np.float32)


def epipolar_normal(cameras: CameraSolution, i: int, j: int) -> np.ndarray:
    """Unit vector (2,) across the epipolar lines of two cameras that look the same way, side by side."""
    shift = camera_matrix(cameras.intrinsics[j]) @ (cameras.camera_to_world[i] - cameras.camera_to_world[j])[:3, 3]
    return np.array([-shift[1], shift[0]]) / np.hypot(*shift[:2])


def blurred(frames: np.ndarray, lengths_px: dict[int, int], angle_deg: float = 20.0) -> np.ndarray:
    """A copy of frames, of which some are blurred by a motion of the camera: frame index to the odd length of it."""
    result = frames.copy()
    for index, length in lengths_px.items():
        reach = length // 2 * np.array([np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))])
        start, end = (np.rint(length // 2 + sign * reach).astype(int).tolist() for sign in (-1, 1))
        path = cv2.line(np.zeros((length, length), np.float32), start, end, (1.0,))
        result[index] = cv2.filter2D(frames[index], -1, path / path.sum())
    return result
