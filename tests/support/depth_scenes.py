"""A shot whose depth is known exactly: a wall, a floor and boards, ray-cast, seen by a moving camera."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from stereodiff_blender.engine.contract import LensResult
from stereodiff_blender.engine.geometry import exp_so3
from stereodiff_blender.engine.shutter import RollingShutter
from stereodiff_blender.engine.solution import CameraSolution

WIDTH, HEIGHT, FOCAL_PX = 160, 112, 150.0


@dataclass(frozen=True)
class RayCastShot:
    """frames (T,H,W,3) uint8; depth (T,H,W) float32; motion_mask (T,H,W) uint8; cameras as the contract has them."""

    frames: np.ndarray
    depth: np.ndarray
    motion_mask: np.ndarray
    camera_to_world: np.ndarray
    intrinsics: np.ndarray

    @property
    def shutter(self) -> RollingShutter | None:
        return self.cameras.shutter

    @property
    def confidence(self) -> np.ndarray:
        return np.ones_like(self.depth)

    @property
    def cameras(self) -> CameraSolution:
        count = len(self.frames)
        return CameraSolution("moving", self.camera_to_world, self.intrinsics, np.ones(count, bool),
                              np.full(count, 0.2), np.zeros((0, 3)), np.zeros(0))


@dataclass(frozen=True)
class RollingShot(RayCastShot):
    """readout: of the rows, in frames; camera_to_world: of the middle ones."""

    readout: float

    @property
    def cameras(self) -> CameraSolution:
        cameras = replace(super().cameras, lens=LensResult(readout=self.readout))
        return replace(cameras, shutter=cameras.rolling_shutter((self.depth.shape[2], self.depth.shape[1])))


@dataclass(frozen=True)
class _Plane:
    """Points with normal . X = level; a board where half_size (x, y) around center is given, without end otherwise."""

    normal: tuple[float, float, float]
    level: float
    tint: tuple[float, float, float]
    center: tuple[float, float] = (0.0, 0.0)
    half_size: tuple[float, float] | None = None
    moves: bool = False


WALL, FLOOR = _Plane((0.15, 0.0, 1.0), 7.0, (150, 110, 90)), _Plane((0.0, 1.0, 0.0), 1.4, (90, 120, 80))
CAMERA_SPEED, BOX_DEPTH = 0.05, 3.5
"""Scene units a frame, to the right; z of the box before the wall."""


def sliding_path(count: int) -> np.ndarray:
    """camera_to_world (T,4,4): right and forward, with a slow pan."""
    poses = np.tile(np.eye(4), (count, 1, 1))
    step = np.arange(count)
    poses[:, 0, 3], poses[:, 2, 3] = 0.05 * step, 0.03 * step
    poses[:, :3, :3] = exp_so3(np.stack([0.002 * step, -0.004 * step, 0.001 * step], axis=1))
    return poses


def shaken_pose(time: np.ndarray) -> np.ndarray:
    """camera_to_world (...,4,4) at any times (...), in frames: sideways, with a hand that pans and nods by pixels."""
    poses = np.tile(np.eye(4), (*time.shape, 1, 1))
    poses[..., 0, 3], poses[..., 1, 3], poses[..., 2, 3] = 0.06 * time, 0.02 * np.sin(0.5 * time), 0.03 * time
    turns = 0.03 * np.sin(0.5 * time + 1.0), 0.05 * np.sin(0.45 * time), 0.02 * np.sin(0.6 * time + 2.0)
    poses[..., :3, :3] = exp_so3(np.stack(turns, axis=-1))
    return poses


def rolling_cast(count: int, readout: float, **more) -> RollingShot:
    """What a shaken camera sees whose rows are read out one after the other, in `readout` of the time from frame to
    frame; depth is along the axis that it has then. more: as of ray_cast."""
    rows = readout * ((np.arange(HEIGHT) + 0.5) / HEIGHT - 0.5)
    shot = ray_cast(poses=shaken_pose(np.arange(count)[:, None] + rows), **more)
    return RollingShot(shot.frames, shot.depth, shot.motion_mask, shaken_pose(np.arange(count, dtype=float)),
                       shot.intrinsics, readout)


def ray_cast(count: int = 12, *, with_object: bool = False, with_post: bool = False,
             poses: np.ndarray | None = None, scale: int = 1) -> RayCastShot:
    """What a camera on the sliding path, or on these poses, sees, on a raster this many times finer. The mover is a
    board that crosses the picture; the post stands to the right of the board. poses: (T,4,4), or one for each row,
    (T,H,4,4)."""
    poses = sliding_path(count) if poses is None else poses
    return _seen(poses, [_planes(index, with_object, with_post) for index in range(len(poses))], scale)


def box_that_seems_far(times: float, count: int = 24) -> RayCastShot:
    """A camera that slides past a box, which stands on the floor before the wall and moves along just so much that it
    looks so many times as far away as the wall."""
    poses = np.tile(np.eye(4), (count, 1, 1))
    step = np.arange(count)
    poses[:, 0, 3], poses[:, 2, 3] = CAMERA_SPEED * step, 0.01 * step
    poses[:, :3, :3] = exp_so3(np.stack([0.001 * step, -0.003 * step, 0.0005 * step], axis=1))
    speed = CAMERA_SPEED * (1.0 - BOX_DEPTH / (times * WALL.level))
    boxes = [_Plane((0.0, 0.0, 1.0), BOX_DEPTH, (190, 170, 60), (-0.5 + speed * index, 0.9), (0.35, 0.5), moves=True)
             for index in range(count)]
    return _seen(poses, [[WALL, FLOOR, box] for box in boxes], 2)


def _seen(poses: np.ndarray, planes: list[list[_Plane]], scale: int) -> RayCastShot:
    pictures = [_noise(seed) for seed in range(5)]
    views = [_view(pose, there, pictures, scale) for pose, there in zip(poses, planes, strict=True)]
    frames, depth, moves = (np.stack(parts) for parts in zip(*views, strict=True))
    intrinsics = scale * np.tile([FOCAL_PX, FOCAL_PX, WIDTH / 2, HEIGHT / 2], (len(poses), 1))
    return RayCastShot(frames, depth, moves, poses, intrinsics)


def _planes(index: int, with_object: bool, with_post: bool) -> list[_Plane]:
    planes = [WALL, FLOOR,
              _Plane((0.0, 0.0, 1.0), 3.5, (80, 100, 170), (0.1, -0.1), (0.6, 0.7))]
    if with_object:
        planes.append(_Plane((0.0, 0.0, 1.0), 3.0, (190, 170, 60), (-0.9 + 0.05 * index, 0.3), (0.3, 0.4), moves=True))
    if with_post:
        planes.append(_Plane((0.0, 0.0, 1.0), 4.5, (170, 90, 90), (1.35, 0.0), (0.045, 1.2)))
    return planes


def _view(pose: np.ndarray, planes: list[_Plane], pictures: list[np.ndarray], scale: int):
    rows, cols = (np.mgrid[0:scale * HEIGHT, 0:scale * WIDTH] + 0.5) / scale
    rays = np.stack([(cols - WIDTH / 2) / FOCAL_PX, (rows - HEIGHT / 2) / FOCAL_PX, np.ones_like(cols)], axis=-1)
    rays, center = rays @ np.swapaxes(pose[..., :3, :3], -1, -2), pose[..., None, :3, 3]
    frame = np.zeros((*rows.shape, 3), np.float32)
    depth, moves = np.full(rows.shape, np.inf), np.zeros(rows.shape, np.uint8)
    for plane, picture in zip(planes, pictures, strict=False):
        distance_per_depth = rays @ np.array(plane.normal)
        distance = (plane.level - center @ np.array(plane.normal)) / np.where(np.abs(distance_per_depth) > 1e-9,
                                                                                   distance_per_depth, 1e-9)
        points = center + distance[..., None] * rays
        hit = (distance > 0) & (distance < depth) & _covers(plane, points)
        depth[hit], moves[hit] = distance[hit], plane.moves
        frame[hit] = _paint(plane, picture, points)[hit]
    return np.clip(frame, 0, 255).astype(np.uint8), depth.astype(np.float32), moves


def _covers(plane: _Plane, points: np.ndarray) -> np.ndarray:
    if plane.half_size is None:
        return np.ones(points.shape[:2], bool)
    return (np.abs(points[..., :2] - plane.center) < plane.half_size).all(axis=-1)


def _paint(plane: _Plane, picture: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The plane's own color and noise that is fixed to it."""
    across = points[..., 0] - plane.center[0]
    down = points[..., 2] if plane.normal[1] else points[..., 1] - plane.center[1]
    place = [np.mod(60.0 * axis, 255.0).astype(np.float32) for axis in (across, down)]
    return np.array(plane.tint, np.float32) + cv2.remap(picture, *place, cv2.INTER_LINEAR)[..., None]


def _noise(seed: int) -> np.ndarray:
    """(256,256) float32 around 0, with detail from 2 cells to 32 cells a side of 256."""
    generator = np.random.default_rng(seed)
    total = np.zeros((256, 256), np.float32)
    for cells in (16, 64, 128):
        total += cv2.resize(generator.uniform(-22, 22, (cells, cells)).astype(np.float32), (256, 256),
                            interpolation=cv2.INTER_CUBIC)
    return total
