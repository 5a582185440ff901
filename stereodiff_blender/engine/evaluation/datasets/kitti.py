"""KITTI depth, validation split, with the raw recordings it belongs to.

    ROOT/data_depth_annotated/val/<drive>/proj_depth/groundtruth/image_02/##########.png   16 bits, 256 = 1 m
    ROOT/<date>/<drive>/image_02/data/##########.png (or ROOT/raw/<date>/...)              left color camera
    ROOT/<date>/calib_cam_to_cam.txt                                                       lens; may be missing

ROOT/val/<drive> is understood as well. Pictures and truth are cut to the benchmark's 1216x352, at the bottom and in the
middle, as the paper has them. Frames run from the first that has a truth to the last. Poses are not read.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from ...media.stills import read_still
from .clips import TruthClip
from .layout import (
    check_clip_name,
    clip_names,
    folder_of,
    invalid,
    lens_of,
    missing,
    numbered_files,
    read_depth_png,
    read_lines,
)

LAYOUT = "data_depth_annotated/val/<drive>/proj_depth/groundtruth/image_02"
WIDTH, HEIGHT = 1216, 352
PER_METER = 256.0
TRUTH = Path("proj_depth", "groundtruth", "image_02")
LENS_KEY = "P_rect_02:"
_DRIVE = re.compile(r"(\d{4}_\d{2}_\d{2})_drive_\d{4}_sync")


def list_kitti(root: Path) -> list[str]:
    return clip_names(_split(root), lambda folder: (folder / TRUTH).is_dir())


def open_kitti(root: Path, name: str) -> TruthClip:
    """name: such as 2011_09_26_drive_0002_sync. Raises StereoDiffError "dataset_missing" or "dataset_invalid"."""
    check_clip_name(name, root)
    found = _DRIVE.fullmatch(name)
    if not found:
        raise invalid(root, f"{name!r} is not the name of a drive")
    truths = numbered_files(folder_of(_split(root) / name / TRUTH, LAYOUT), (".png",))
    if not truths:
        raise missing(f"There is no depth in {_split(root) / name / TRUTH}.")
    day = next((folder / found[1] for folder in (root, root / "raw") if (folder / found[1] / name).is_dir()), None)
    if day is None:
        raise missing(f"There are no raw pictures of {name} in {root / found[1]} or {root / 'raw' / found[1]}.")
    frames = _frames(day / name / "image_02" / "data", min(truths), max(truths))
    return TruthClip(name, len(frames), lambda index: cut(read_still(frames[index][1]), frames[index][1]),
                     lambda index: _truth(truths.get(frames[index][0])), intrinsics=_lenses(day, frames))


def _split(root: Path) -> Path:
    nested = root / "data_depth_annotated" / "val"
    return nested if nested.is_dir() else folder_of(root / "val", LAYOUT)


def _frames(folder: Path, first: int, last: int) -> list[tuple[int, Path]]:
    found = numbered_files(folder_of(folder, "the drive's raw pictures"), (".png", ".jpg"))
    absent = [number for number in range(first, last + 1) if number not in found]
    if absent:
        raise missing(f"Picture {absent[0]} of {folder} is missing, and {len(absent) - 1} more of {first} to {last}.")
    return [(number, found[number]) for number in range(first, last + 1)]


def _truth(path: Path | None) -> np.ndarray | None:
    return None if path is None else cut(read_depth_png(path, PER_METER), path)


def cut(image: np.ndarray, path: Path) -> np.ndarray:
    """WIDTH x HEIGHT from the bottom's middle. Raises "dataset_invalid" if the picture is smaller."""
    height, width = image.shape[:2]
    if height < HEIGHT or width < WIDTH:
        raise invalid(path, f"{width} x {height} pixels are fewer than {WIDTH} x {HEIGHT}")
    left = (width - WIDTH) // 2
    return image[height - HEIGHT:, left:left + WIDTH]


def _lenses(day: Path, frames: list[tuple[int, Path]]) -> np.ndarray | None:
    """(T,4) of the rectified pictures after the cut; None if the day's calibration is not there."""
    path = day / "calib_cam_to_cam.txt"
    if not path.is_file():
        return None
    for number, words in read_lines(path):
        if words[0] == LENS_KEY:
            try:
                fx, _, cx, _, _, fy, cy = (float(word) for word in words[1:8])
            except ValueError as error:
                raise invalid(path, f"line {number} holds no projection") from error
            height, width = read_still(frames[0][1]).shape[:2]
            lens = lens_of(fx, fy, cx - (width - WIDTH) // 2, cy - (height - HEIGHT), path)
            return np.tile(lens, (len(frames), 1))
    raise invalid(path, f"it has no {LENS_KEY}")
