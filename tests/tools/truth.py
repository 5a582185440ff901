"""The truth of a clip, and a finished job brought to its raster: what accuracy.py and contact_sheet.py measure with.

A truth is one of
    an npz file, or a folder with gt.npz or truth.npz, as tests/scenes/make_test_scenes.py writes it:
        depth (T,h,w) z-depth, inf or 0 where nothing is; h, w a fraction of the clip's size
        dynamic (T,h,w) True where a moving thing is seen
        camera_to_world (T,4,4) OpenCV axes; K (3,3) and size (width, height) of the clip
        focal_px (T,) pixels of the clip, only where the lens zooms
        dist k1 k2 (p1 p2 k3), or fisheye k1 k2 k3 k4, as OpenCV orders them: of the lens that bends the picture, on
            which depth and dynamic lie as it was shot
        readout of a rolling shutter, in frames: depth is along the axis that the camera has when a pixel's row is read
    a folder as RGB-D data sets have it: poses.txt ("stamp x y z qx qy qz qw", camera to world), intrinsics.txt
        ("name=value" lines: width, height, fx, fy, cx, cy, depth_scale, k1 to p2 where the lens bends the picture) and,
        where depth is known, depth/*.png
Its first frame is frame 1 of the clip.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import OpenEXR

from stereodiff_blender.engine.contract import Distortion, LensResult, Result, StereoDiffError
from stereodiff_blender.engine.shutter import RollingShutter

FARTHEST = 1000.0
"""Depth from here on is sky, and is not compared."""


@dataclass(frozen=True)
class Truth:
    """camera_to_world (T,4,4). intrinsics (T,4): fx, fy, cx, cy in pixels of the clip. size: (width, height) of it.
    distortion: of the lens; None of a pinhole. readout: of a rolling shutter, in frames.

    depth(index): (h,w) float64, inf for sky, 0 where unknown; dynamic(index): (h,w) bool. None: not known.
    """

    camera_to_world: np.ndarray
    intrinsics: np.ndarray
    size: tuple[int, int]
    depth: Callable[[int], np.ndarray] | None
    dynamic: Callable[[int], np.ndarray] | None
    distortion: Distortion | None = None
    readout: float = 0.0

    @cached_property
    def shutter(self) -> RollingShutter | None:
        """None if all rows of a frame are read at once."""
        everywhere = np.ones(len(self.camera_to_world), bool)
        return RollingShutter.of_cameras(self.camera_to_world, self.intrinsics, everywhere,
                                         LensResult(distortion=self.distortion, readout=self.readout), self.size)

    @property
    def path_length(self) -> float:
        return float(np.linalg.norm(np.diff(self.camera_to_world[:, :3, 3], axis=0), axis=1).sum())

    def intrinsics_on(self, index: int, shape: tuple[int, int]) -> np.ndarray:
        """fx, fy, cx, cy of one frame, in pixels of a raster of shape (h, w)."""
        across, down = shape[1] / self.size[0], shape[0] / self.size[1]
        return self.intrinsics[index] * (across, down, across, down)


def read_truth(path: Path) -> Truth:
    """Raises StereoDiffError "job_missing" if there is no truth at path."""
    path = Path(path)
    arrays = next((file for file in (path, path / "gt.npz", path / "truth.npz") if file.is_file()), None)
    if arrays:
        return _rendered(arrays)
    if (path / "poses.txt").is_file():
        return _recorded(path)
    raise StereoDiffError("job_missing", f"no truth in {path}")


def _rendered(file: Path) -> Truth:
    with np.load(file) as stored:
        arrays = dict(stored)
    count = len(arrays["camera_to_world"])
    focal = arrays.get("focal_px", np.full(count, arrays["K"][0, 0]))
    middle = np.tile(arrays["K"][:2, 2], (count, 1))
    intrinsics = np.column_stack([focal, focal * arrays["K"][1, 1] / arrays["K"][0, 0], middle])
    return Truth(arrays["camera_to_world"], intrinsics, tuple(int(n) for n in arrays["size"]),
                 lambda index: arrays["depth"][index].astype(np.float64), lambda index: arrays["dynamic"][index],
                 _distortion(arrays), float(arrays.get("readout", 0.0)))


def _distortion(arrays: dict[str, np.ndarray]) -> Distortion | None:
    if "fisheye" in arrays:
        k1, k2, k3, k4 = map(float, arrays["fisheye"])
        return Distortion(k1, k2, k3, k4=k4, is_fisheye=True)
    in_order = dict(zip(("k1", "k2", "p1", "p2", "k3"), map(float, arrays.get("dist", ())), strict=False))
    return Distortion(**in_order) if any(in_order.values()) else None


def _recorded(folder: Path) -> Truth:
    lines = (line.split("#")[0] for line in (folder / "intrinsics.txt").read_text().splitlines())
    named = {name.strip(): float(value) for name, value in (line.split("=") for line in lines if "=" in line)}
    poses = np.array([_pose(numbers) for numbers in np.loadtxt(folder / "poses.txt", comments="#", ndmin=2)[:, 1:8]])
    files, scale = sorted((folder / "depth").glob("*.png")), named.get("depth_scale", 1.0)
    intrinsics = np.tile([named[name] for name in ("fx", "fy", "cx", "cy")], (len(poses), 1))
    distortion = Distortion(*(named.get(name, 0.0) for name in ("k1", "k2", "k3", "p1", "p2")))
    return Truth(poses, intrinsics, (int(named["width"]), int(named["height"])),
                 (lambda index: cv2.imread(str(files[index]), cv2.IMREAD_UNCHANGED) / scale) if files else None, None,
                 distortion if distortion.bends else None)


def _pose(numbers: np.ndarray) -> np.ndarray:
    """(4,4) of a position and a quaternion x, y, z, w."""
    x, y, z, w = numbers[3:] / np.linalg.norm(numbers[3:])
    pose = np.eye(4)
    pose[:3, :3] = [[1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                    [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                    [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)]]
    pose[:3, 3] = numbers[:3]
    return pose


# --- A job beside it -------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Compared:
    """One frame on the truth's raster (h,w). depth: of the job, in the truth's unit of length, 0 where it has none.

    exists: the truth knows a depth here that is not sky. dynamic: all False where the truth does not tell.
    """

    depth: np.ndarray
    true: np.ndarray
    exists: np.ndarray
    dynamic: np.ndarray
    confidence: np.ndarray
    motion_mask: np.ndarray

    @property
    def both(self) -> np.ndarray:
        return self.exists & (self.depth > 0)

    @property
    def error(self) -> np.ndarray:
        """|depth - true| / true; 0 where one of them is missing."""
        return np.where(self.both, np.abs(self.depth - self.true) / np.where(self.both, self.true, 1), 0.0)


def compare(folder: Path, result: Result, truth: Truth) -> tuple[list[Compared], float]:
    """The frames that both have, and the one scale from the job's unit of length to the truth's: the median ratio."""
    frames = [_beside(folder, frame, truth) for frame in result.frames if frame.frame <= len(truth.camera_to_world)]
    scale = float(np.median(np.concatenate([f.true[f.both] / f.depth[f.both] for f in frames])))
    return [Compared(f.depth * scale, f.true, f.exists, f.dynamic, f.confidence, f.motion_mask) for f in frames], scale


def _beside(folder: Path, frame, truth: Truth) -> Compared:
    true = truth.depth(frame.frame - 1)
    exists = np.isfinite(true) & (true > 0) & (true < FARTHEST)
    dynamic = truth.dynamic(frame.frame - 1) if truth.dynamic else np.zeros(true.shape, bool)
    depth, confidence, mask = (sampled(read_channel(folder / name), true.shape)
                               for name in (frame.depth, frame.confidence, frame.motion_mask))
    return Compared(depth, true, exists, dynamic, confidence, mask > 0)


def sampled(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The image's values at the pixel centers of a raster of another size."""
    rows, columns = (((np.arange(n) + 0.5) * full / n).astype(int) for n, full in zip(shape, image.shape, strict=True))
    return image[rows][:, columns]


def read_channel(path: Path) -> np.ndarray:
    with OpenEXR.File(str(path), separate_channels=True) as file:
        (channel,) = file.channels().values()
        return np.asarray(channel.pixels, dtype=np.float64)


def newest_finished(folder: Path) -> Path:
    """folder itself if it is a job, else the newest finished job in it."""
    if (folder / "job.json").exists():
        return folder
    finished = sorted(folder.glob("*/result.json"), key=lambda path: path.stat().st_mtime)
    if not finished:
        raise StereoDiffError("job_missing", f"no finished job in {folder}")
    return finished[-1].parent
