"""A rolling shutter: a picture's rows are read out one after the other, while the camera goes on. NumPy only.

A frame's camera is that of its middle row. A row that is read `time` frames later sees the world by

    world_to_camera + time * velocity + time^2 / 2 * acceleration          (3,4) each,

and what the camera does in between is told by the frames beside it. So each pixel has a camera of its own, and its
depth is measured along that one's axis. Times go by the plate as it was shot, on whatever raster pixels are counted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .contract import Distortion, LensResult
from .lens import radial_scale, undistorted

__all__ = ["RollingShutter", "RowCamera", "RowTimes", "path_derivatives"]

ROW_ROUNDS = 2
"""For the row that shows a point, which is where the row's own camera sees it: each leaves a hundredth of the miss."""
FIT_SAMPLES = 64


def path_derivatives(world_to_camera: np.ndarray, frames: np.ndarray, known: np.ndarray
                     ) -> tuple[np.ndarray, np.ndarray]:
    """How cameras go on, as the frames beside each tell: by central differences, or by one where only one is known.

    Parameters
    ----------
    world_to_camera : ndarray
        (T,3,4).
    frames : ndarray
        (C,) int, those that are asked for; known themselves.
    known : ndarray
        (T,) bool, frames whose camera tells anything.

    Returns
    -------
    velocity, acceleration : ndarray
        (C,3,4) each, first and second derivative by time, in frames.
    """
    before, after = np.maximum(frames - 1, 0), np.minimum(frames + 1, len(world_to_camera) - 1)
    before, after = (np.where(known[beside], beside, frames) for beside in (before, after))
    span = np.maximum(after - before, 1)[:, None, None]
    is_between = ((before < frames) & (after > frames))[:, None, None]
    bent = world_to_camera[after] - 2.0 * world_to_camera[frames] + world_to_camera[before]
    return (world_to_camera[after] - world_to_camera[before]) / span, np.where(is_between, bent, 0.0)


@dataclass(frozen=True)
class RowTimes:
    """When the pixels of one frame are read, in frames after its middle row.

    intrinsics: (4,) of the raster that pixels are counted on, a pinhole's. offset: at the principal point. slope: for a
    focal length down, on the plate. bend: (4,), where the plate shows what a pinhole has at radius r, in focal lengths:
    at r * (bend . (1, r^2, r^4, r^6)); None of a pinhole.
    """

    intrinsics: tuple[float, float, float, float]
    offset: float
    slope: float
    bend: tuple[float, ...] | None = None

    def at(self, x, y, w: np.ndarray | float = 1.0):
        """Of pixels x / w, y / w: arrays of any kind that broadcast; without distortion x takes no part."""
        fx, fy, cx, cy = self.intrinsics
        if self.bend is None:
            return (self.slope / fy) * (y / w) + (self.offset - self.slope * cy / fy)
        right, down = (x / w - cx) / fx, (y / w - cy) / fy
        squared = right * right + down * down
        one, k1, k2, k3 = self.bend
        return self.slope * down * (one + squared * (k1 + squared * (k2 + squared * k3))) + self.offset


@dataclass(frozen=True)
class RowCamera:
    """A camera that goes on while its frame is read.

    world_to_camera, velocity, acceleration: (3,4), of the middle row. times: of the frame's pixels.
    """

    world_to_camera: np.ndarray
    velocity: np.ndarray
    acceleration: np.ndarray
    times: RowTimes

    def at(self, time: np.ndarray) -> np.ndarray:
        """(n,3,4) world to camera at times (n,)."""
        time = np.asarray(time, np.float64)[:, None, None]
        return self.world_to_camera + time * self.velocity + 0.5 * time**2 * self.acceleration

    def to_world(self, x: np.ndarray, y: np.ndarray, depth: np.ndarray) -> np.ndarray:
        """World points (n,3) of pixels (n,) with depth (n,) along the axes of their rows' cameras."""
        fx, fy, cx, cy = self.times.intrinsics
        local = np.stack([(x - cx) / fx, (y - cy) / fy, np.ones(len(depth))], axis=1) * np.asarray(depth)[:, None]
        poses = self.at(self.times.at(x, y))
        return np.linalg.solve(poses[:, :, :3], (local - poses[:, :, 3])[..., None])[..., 0]

    def seen(self, points: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """World points (n,3) in the axes of the rows' cameras that read pixels (n,)."""
        poses = self.at(self.times.at(x, y))
        return np.einsum("nij,nj->ni", poses[:, :, :3], points) + poses[:, :, 3]

    def shown(self, points: np.ndarray) -> np.ndarray:
        """World points (n,3) in the axes of the rows' cameras that show them; of those behind the camera, and far
        outside the picture, in the axes of some row's."""
        local = points @ self.world_to_camera[:, :3].T + self.world_to_camera[:, 3]
        fx, fy, cx, cy = self.times.intrinsics
        for _ in range(ROW_ROUNDS):
            ahead = np.where(local[:, 2] > 1e-9, local[:, 2], np.inf)
            time = self.times.at(fx * local[:, 0] / ahead + cx, fy * local[:, 1] / ahead + cy)
            poses = self.at(np.clip(time, -1.0, 1.0))
            local = np.einsum("nij,nj->ni", poses[:, :, :3], points) + poses[:, :, 3]
        return local


@dataclass(frozen=True)
class RollingShutter:
    """That of T frames. velocity, acceleration: (T,3,4), as of path_derivatives. offset, slope: (T,), and bend: as of
    RowTimes."""

    velocity: np.ndarray
    acceleration: np.ndarray
    offset: np.ndarray
    slope: np.ndarray
    bend: tuple[float, ...] | None = None

    @classmethod
    def of_cameras(cls, camera_to_world: np.ndarray, intrinsics: np.ndarray, solved: np.ndarray, lens: LensResult,
                   size: tuple[int, int]) -> RollingShutter | None:
        """That of a clip's cameras; None where all rows are read at once.

        Parameters
        ----------
        camera_to_world : ndarray
            (T,4,4) of the middle rows.
        intrinsics : ndarray
            (T,4) in pixels of the plate's raster.
        solved : ndarray
            (T,) bool, frames with a camera of their own; others tell nothing of how their neighbors move.
        lens : LensResult
            With the readout.
        size : tuple of int
            (width, height) of that raster.

        Returns
        -------
        RollingShutter or None
        """
        if not lens.readout:
            return None
        matrices = np.linalg.inv(camera_to_world)[:, :3]
        velocity, acceleration = path_derivatives(matrices, np.arange(len(matrices)), solved)
        _, fy, _, cy = intrinsics.T
        return cls(velocity, acceleration, lens.readout * (cy / size[1] - 0.5), lens.readout * fy / size[1],
                   None if lens.distortion is None else _bend(lens.distortion, intrinsics, size))

    def select(self, frames: np.ndarray) -> RollingShutter:
        """That of some frames, (D,) int."""
        return replace(self, velocity=self.velocity[frames], acceleration=self.acceleration[frames],
                       offset=self.offset[frames], slope=self.slope[frames])

    def times(self, index: int, intrinsics: np.ndarray) -> RowTimes:
        """Of a frame, for intrinsics (4,) of any raster of its picture."""
        fx, fy, cx, cy = map(float, intrinsics)
        return RowTimes((fx, fy, cx, cy), float(self.offset[index]), float(self.slope[index]), self.bend)

    def camera(self, index: int, world_to_camera: np.ndarray, intrinsics: np.ndarray) -> RowCamera:
        """Of a frame with this middle row's camera, (3,4) or (4,4), its pixels counted by intrinsics (4,)."""
        return RowCamera(world_to_camera[:3], self.velocity[index], self.acceleration[index],
                         self.times(index, intrinsics))


def _bend(distortion: Distortion, intrinsics: np.ndarray, size: tuple[int, int]) -> tuple[float, ...]:
    """RowTimes.bend: of a fisheye by a fit over the picture. What p1 and p2 do is left out: it moves no row by a share
    of its way that could be measured."""
    if not distortion.is_fisheye:
        return 1.0, distortion.k1, distortion.k2, distortion.k3
    fx, fy, cx, cy = intrinsics[intrinsics[:, 0].argmin()]
    corners = np.array([[(x - cx) / fx, (y - cy) / fy] for x in (0, size[0]) for y in (0, size[1])])
    squared = np.linspace(0.0, (undistorted(corners, distortion) ** 2).sum(axis=1).max(), FIT_SAMPLES)
    return tuple(np.polynomial.polynomial.polyfit(squared, radial_scale(squared, distortion), 3).tolist())
