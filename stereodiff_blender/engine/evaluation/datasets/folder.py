"""Clips of your own, in plain folders.

    ROOT/<clip>/frames/####.png         any still that a solve reads, without gaps in the numbers
    ROOT/<clip>/depth/####.exr          float z-depth, 0 or infinite where it is not known; or
    ROOT/<clip>/depth/####.png          16 bits, with depth/scale.txt: what they store for one unit of length
    ROOT/<clip>/motion/####.png         not black where the thing itself moves
    ROOT/<clip>/cameras.json            {"frames": [{"number", "camera_to_world", "fx", "fy", "cx", "cy"}, ...]}; or
    ROOT/<clip>/poses.txt               "number x y z qx qy qz qw", camera to world, with intrinsics.txt: fx fy cx cy

Only frames/ has to be there. What belongs to a frame has its number. ROOT may also be one such clip itself. Cameras
look along z with y down; lenses count pixels of the frames from the picture's corner, so that cx of a centered one is
half the width.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...contract.strict_json import from_dict
from ...media.exr import read_exr
from ...media.stills import read_still
from .clips import TruthClip
from .layout import (
    check_clip_name,
    check_rigid,
    clip_names,
    folder_of,
    invalid,
    lens_of,
    missing,
    numbered_files,
    poses_from_quaternions,
    read_bytes,
    read_depth_png,
    read_png,
    read_table,
)

LAYOUT = "<clip>/frames, and depth/, motion/, cameras.json or poses.txt beside it"
STILLS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".exr", ".bmp", ".webp")


@dataclass(frozen=True)
class CameraEntry:
    """One frame of cameras.json."""

    number: int
    camera_to_world: tuple[tuple[float, float, float, float], ...]
    fx: float
    fy: float
    cx: float
    cy: float


@dataclass(frozen=True)
class CameraFile:
    frames: tuple[CameraEntry, ...]


def list_folder(root: Path) -> list[str]:
    folder_of(root, LAYOUT)
    if (root / "frames").is_dir():
        check_clip_name(root.resolve().name, root)
        return [root.resolve().name]
    return clip_names(root, lambda folder: (folder / "frames").is_dir())


def open_folder(root: Path, name: str) -> TruthClip:
    """Raises StereoDiffError "dataset_missing" or "dataset_invalid"."""
    check_clip_name(name, root)
    folder = root if (root / "frames").is_dir() and name == root.resolve().name else root / name
    frames = numbered_files(folder_of(folder / "frames", LAYOUT), STILLS)
    if not frames:
        raise missing(f"There are no numbered pictures in {folder / 'frames'}.")
    numbers = list(frames)
    gap = next((n for n, after in zip(numbers, numbers[1:], strict=False) if after != n + 1), None)
    if gap is not None:
        raise invalid(folder / "frames", f"picture {gap + 1} is missing")
    poses, lenses = _cameras(folder, numbers)
    return TruthClip(name, len(numbers), lambda index: read_still(frames[numbers[index]]),
                     _depths(folder / "depth", numbers), _masks(folder / "motion", numbers), poses, lenses)


# --- Depth and motion --------------------------------------------------------------------------------------------

def _depths(folder: Path, numbers: list[int]):
    """What TruthClip.depth is; None if there is no such folder."""
    if not folder.is_dir():
        return None
    files = numbered_files(folder, (".exr", ".png"))
    if not set(files) & set(numbers):
        raise missing(f"None of the files in {folder} has the number of a frame.")
    per_unit = _scale(folder) if any(path.suffix.lower() == ".png" for path in files.values()) else 1.0

    def depth(index: int) -> np.ndarray | None:
        path = files.get(numbers[index])
        if path is None:
            return None
        return read_depth_png(path, per_unit) if path.suffix.lower() == ".png" else _exr_depth(path)

    return depth


def _scale(folder: Path) -> float:
    value = float(read_table(folder / "scale.txt", 1)[0, 0])
    if not (np.isfinite(value) and value > 0):
        raise invalid(folder / "scale.txt", "the scale has to be a number above 0")
    return value


def _exr_depth(path: Path) -> np.ndarray:
    try:
        channels = read_exr(path)
    except FileNotFoundError as error:
        raise missing(f"There is no {path}.") from error
    except (OSError, ValueError) as error:
        raise invalid(path, error) from error
    if len(channels) != 1:
        raise invalid(path, f"depth has to be one channel, these are {', '.join(sorted(channels))}")
    depth = next(iter(channels.values()))
    return np.where(np.isfinite(depth) & (depth > 0), depth, 0.0).astype(np.float32)


def _masks(folder: Path, numbers: list[int]):
    """What TruthClip.motion_mask is; None if there is no such folder."""
    if not folder.is_dir():
        return None
    files = numbered_files(folder, (".png",))

    def motion_mask(index: int) -> np.ndarray | None:
        path = files.get(numbers[index])
        return None if path is None else _is_white(read_png(path))

    return motion_mask


def _is_white(image: np.ndarray) -> np.ndarray:
    return image > 0 if image.ndim == 2 else (image[..., :3] > 0).any(axis=-1)


# --- Cameras -----------------------------------------------------------------------------------------------------

def _cameras(folder: Path, numbers: list[int]) -> tuple[np.ndarray | None, np.ndarray | None]:
    """camera_to_world (T,4,4) and intrinsics (T,4), each None if nothing tells."""
    if (folder / "cameras.json").is_file():
        return _from_json(folder / "cameras.json", numbers)
    lens = folder / "intrinsics.txt"
    lenses = None
    if lens.is_file():
        row = read_table(lens, 4)[0]
        lenses = np.tile(lens_of(*row, lens, from_first_center=False), (len(numbers), 1))
    return _from_table(folder / "poses.txt", numbers), lenses


def _from_table(path: Path, numbers: list[int]) -> np.ndarray | None:
    if not path.is_file():
        return None
    table = read_table(path, 8)
    found = dict(zip(table[:, 0].tolist(), poses_from_quaternions(table[:, 1:], path), strict=True))
    return _in_order(found, numbers, path)


def _from_json(path: Path, numbers: list[int]) -> tuple[np.ndarray, np.ndarray | None]:
    try:
        entries = from_dict(CameraFile, json.loads(read_bytes(path))).frames
    except (ValueError, RecursionError) as error:
        raise invalid(path, error) from error
    if any(len(entry.camera_to_world) != 4 for entry in entries):
        raise invalid(path, "camera_to_world has to be four rows of four numbers")
    poses = {entry.number: check_rigid(np.array(entry.camera_to_world), path) for entry in entries}
    lenses = {entry.number: lens_of(entry.fx, entry.fy, entry.cx, entry.cy, path, from_first_center=False)
              for entry in entries}
    has_all = all(number in lenses for number in numbers)
    return _in_order(poses, numbers, path), np.stack([lenses[n] for n in numbers]) if has_all else None


def _in_order(found: dict, numbers: list[int], path: Path) -> np.ndarray:
    if not any(number in found for number in numbers):
        raise invalid(path, "none of its numbers is that of a frame")
    return np.stack([found.get(number, np.full((4, 4), np.nan)) for number in numbers])
