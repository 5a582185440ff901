"""ScanNetV2 as its own extractor writes it.

    ROOT/<scene>/color/#.jpg      ROOT/<scene>/depth/#.png     16 bits, 1000 = 1 m
    ROOT/<scene>/pose/#.txt       camera to world, 4x4; infinite where tracking was lost
    ROOT/<scene>/intrinsic/intrinsic_color.txt                 4x4

Depth and color cover the same picture in different sizes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...media.stills import read_still
from .clips import TruthClip
from .layout import (
    check_clip_name,
    check_rigid,
    clip_names,
    folder_of,
    lens_of,
    missing,
    numbered_files,
    read_depth_png,
    read_matrix,
)

LAYOUT = "<scene>/color, depth, pose and intrinsic"
PER_METER = 1000.0


def list_scannet(root: Path) -> list[str]:
    return clip_names(folder_of(root, LAYOUT), lambda folder: (folder / "color").is_dir())


def open_scannet(root: Path, name: str) -> TruthClip:
    """Raises StereoDiffError "dataset_missing" or "dataset_invalid"."""
    check_clip_name(name, root)
    scene = folder_of(root / name, LAYOUT)
    colors = numbered_files(folder_of(scene / "color", LAYOUT), (".jpg", ".jpeg", ".png"))
    depths = numbered_files(folder_of(scene / "depth", LAYOUT), (".png",))
    if not colors or not set(colors) & set(depths):
        raise missing(f"There are no frames with depth in {scene}.")
    numbers = list(colors)

    def depth(index: int) -> np.ndarray | None:
        path = depths.get(numbers[index])
        return read_depth_png(path, PER_METER) if path else None

    return TruthClip(name, len(numbers), lambda index: read_still(colors[numbers[index]]), depth,
                     camera_to_world=_poses(scene / "pose", numbers), intrinsics=_lenses(scene, len(numbers)))


def _poses(folder: Path, numbers: list[int]) -> np.ndarray | None:
    files = numbered_files(folder, (".txt",))
    if not files:
        return None
    return np.stack([_pose(files[number]) if number in files else np.full((4, 4), np.nan) for number in numbers])


def _pose(path: Path) -> np.ndarray:
    pose = read_matrix(path, 4, 4)
    return check_rigid(pose, path) if np.isfinite(pose).all() else np.full((4, 4), np.nan)


def _lenses(scene: Path, count: int) -> np.ndarray | None:
    path = scene / "intrinsic" / "intrinsic_color.txt"
    if not path.is_file():
        return None
    matrix = read_matrix(path, 4, 4)
    return np.tile(lens_of(matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2], path), (count, 1))
