"""Clips in the TUM RGB-D layout: the TUM RGB-D benchmark and Bonn RGB-D Dynamic.

    ROOT/<clip>/rgb.txt          "stamp rgb/<stamp>.png"
    ROOT/<clip>/depth.txt        "stamp depth/<stamp>.png", 16 bits, 5000 = 1 m, in register with rgb
    ROOT/<clip>/groundtruth.txt  "stamp x y z qx qy qz qw"

Every color frame takes the depth and the pose nearest in time, at most MAX_APART_S away; a frame without is kept, and
not scored. Pictures are taken as they are: both data sets publish them distorted.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...geometry import invert_rigid, nearest_rotation
from ...media.stills import read_still
from .clips import TruthClip
from .layout import (
    check_clip_name,
    clip_names,
    folder_of,
    invalid,
    lens_of,
    poses_from_quaternions,
    read_depth_png,
    read_stamped_names,
    read_table,
)

LAYOUT = "rgb.txt, depth.txt and groundtruth.txt beside rgb/ and depth/"
PER_METER = 5000.0
MAX_APART_S = 0.02
BONN_PREFIX = "rgbd_bonn_"

# As the data sets' own pages publish them: fx, fy, cx, cy of 640x480, from the first pixel's center.
TUM_LENSES = {"freiburg1": (517.3, 516.5, 318.6, 255.3), "freiburg2": (520.9, 521.0, 325.1, 249.7),
              "freiburg3": (535.4, 539.2, 320.1, 247.6)}
BONN_LENS = (542.822841, 542.576870, 315.593520, 237.756098)

# Bonn's poses are those of the markers on the sensor, in axes of their own; its page publishes what leads to the
# color camera. The fitted matrix is not quite a rotation, so the nearest one is taken.
BONN_AXES = np.array([[-1.0, 0, 0, 0], [0, 0, 1.0, 0], [0, 1.0, 0, 0], [0, 0, 0, 1.0]])
BONN_MARKERS = np.array([[1.0157, 0.1828, -0.2389, 0.0113], [0.0009, -0.8431, -0.6413, -0.0098],
                         [-0.3009, 0.6147, -0.8085, 0.0111], [0, 0, 0, 1.0]])


def list_tum(root: Path) -> list[str]:
    return clip_names(folder_of(root, LAYOUT), lambda folder: (folder / "rgb.txt").is_file())


def list_bonn(root: Path) -> list[str]:
    """By their short names, without "rgbd_bonn_"."""
    return [name.removeprefix(BONN_PREFIX) for name in list_tum(root)]


def open_tum(root: Path, name: str) -> TruthClip:
    """Raises StereoDiffError "dataset_missing" or "dataset_invalid"."""
    check_clip_name(name, root)
    lens = next((numbers for camera, numbers in TUM_LENSES.items() if camera in name), None)
    return _opened(root / name, name, lens)


def open_bonn(root: Path, name: str) -> TruthClip:
    """name: with or without "rgbd_bonn_". Raises StereoDiffError "dataset_missing" or "dataset_invalid"."""
    check_clip_name(name, root)
    short = name.removeprefix(BONN_PREFIX)
    full = root / (BONN_PREFIX + short)
    clip = _opened(full if full.is_dir() else root / short, short, BONN_LENS)
    to_camera = BONN_AXES @ BONN_MARKERS
    to_camera[:3, :3] = nearest_rotation(to_camera[:3, :3])
    poses = invert_rigid(BONN_AXES[None]) @ clip.camera_to_world @ to_camera
    return TruthClip(short, clip.frame_count, clip.frame, clip.depth, None, poses, clip.intrinsics)


def _opened(folder: Path, name: str, lens: tuple[float, ...] | None) -> TruthClip:
    folder_of(folder, LAYOUT)
    times, files = read_stamped_names(folder / "rgb.txt")
    depth_times, depth_files = read_stamped_names(folder / "depth.txt")
    table = read_table(folder / "groundtruth.txt", 8)
    table = table[np.argsort(table[:, 0], kind="stable")]
    every_pose = poses_from_quaternions(table[:, 1:], folder / "groundtruth.txt")
    nearest_depth, nearest_pose = nearest_times(times, depth_times), nearest_times(times, table[:, 0])
    poses = np.where((nearest_pose >= 0)[:, None, None], every_pose[nearest_pose], np.nan)
    if not (nearest_depth >= 0).any():
        raise invalid(folder / "depth.txt", "no depth was taken at the time of any frame")
    intrinsics = None if lens is None else np.tile(lens_of(*lens, folder), (len(times), 1))

    def depth(index: int) -> np.ndarray | None:
        place = nearest_depth[index]
        return read_depth_png(depth_files[place], PER_METER) if place >= 0 else None

    return TruthClip(name, len(files), lambda index: read_still(files[index]), depth, None, poses, intrinsics)


def nearest_times(asked: np.ndarray, known: np.ndarray) -> np.ndarray:
    """For each time asked the place of the nearest known one (ascending), -1 where it is more than MAX_APART_S away."""
    after = np.clip(np.searchsorted(known, asked), 1, max(len(known) - 1, 1))
    before = after - 1
    after = np.minimum(after, len(known) - 1)
    places = np.where(np.abs(known[before] - asked) <= np.abs(known[after] - asked), before, after)
    return np.where(np.abs(known[places] - asked) <= MAX_APART_S, places, -1)
