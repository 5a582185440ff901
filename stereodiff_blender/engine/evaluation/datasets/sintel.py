"""MPI Sintel, training half: the final pass, with the depth and camera archives unpacked beside it.

    ROOT/training/final/<clip>/frame_####.png
    ROOT/training/depth/<clip>/frame_####.dpt         tag, width, height, float32 values
    ROOT/training/camdata_left/<clip>/frame_####.cam  tag, 3x3 lens, 3x4 world to camera, float64

Binary files are little-endian and begin with the float 202021.25.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from ...geometry import invert_rigid, nearest_rotation
from ...media.stills import read_still
from .clips import TruthClip
from .layout import (
    MAX_PIXELS,
    check_clip_name,
    check_rigid,
    clip_names,
    folder_of,
    invalid,
    lens_of,
    missing,
    numbered_files,
    read_bytes,
)

LAYOUT = "training/final, training/depth and training/camdata_left"
TAG = struct.pack("<f", 202021.25)
CAMERA_BYTES = len(TAG) + (9 + 12) * 8


def list_sintel(root: Path) -> list[str]:
    return clip_names(folder_of(_half(root) / "final", LAYOUT), lambda folder: True)


def open_sintel(root: Path, name: str) -> TruthClip:
    """Raises StereoDiffError "dataset_missing" or "dataset_invalid"."""
    check_clip_name(name, root)
    half = _half(root)
    frames = numbered_files(folder_of(half / "final" / name, LAYOUT), (".png",))
    depths = numbered_files(folder_of(half / "depth" / name, LAYOUT), (".dpt",))
    if not frames or not set(frames) & set(depths):
        raise missing(f"There are no frames with depth of {name} in {half}.")
    numbers = list(frames)
    cameras = _cameras(half / "camdata_left" / name, numbers)

    def depth(index: int) -> np.ndarray | None:
        path = depths.get(numbers[index])
        return read_dpt(path) if path else None

    return TruthClip(name, len(numbers), lambda index: read_still(frames[numbers[index]]), depth,
                     camera_to_world=cameras[0] if cameras else None, intrinsics=cameras[1] if cameras else None)


def _half(root: Path) -> Path:
    return root / "training" if (root / "training").is_dir() else folder_of(root, LAYOUT)


def read_dpt(path: Path) -> np.ndarray:
    """(H,W) float32. Raises "dataset_missing", or "dataset_invalid" unless the file holds just what it says."""
    data = read_bytes(path)
    if data[:4] != TAG or len(data) < 12:
        raise invalid(path, "it does not begin as a .dpt file does")
    width, height = struct.unpack("<ii", data[4:12])
    if width < 1 or height < 1 or width * height > MAX_PIXELS or len(data) != 12 + 4 * width * height:
        raise invalid(path, f"it claims {width} x {height} pixels, which its {len(data)} bytes do not hold")
    depth = np.frombuffer(data, "<f4", offset=12).reshape(height, width)
    return np.where(np.isfinite(depth) & (depth > 0), depth, 0.0).astype(np.float32)


def read_cam(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """camera_to_world (4,4) and intrinsics (4,). Raises "dataset_missing" or "dataset_invalid"."""
    data = read_bytes(path)
    if data[:4] != TAG or len(data) != CAMERA_BYTES:
        raise invalid(path, "it is no .cam file")
    numbers = np.frombuffer(data, "<f8", offset=4)
    lens = numbers[:9].reshape(3, 3)
    world_to_camera = np.vstack([numbers[9:].reshape(3, 4), (0.0, 0.0, 0.0, 1.0)])
    check_rigid(world_to_camera, path)
    # Rigid to six digits only, as stored.
    world_to_camera[:3, :3] = nearest_rotation(world_to_camera[:3, :3])
    return invert_rigid(world_to_camera), lens_of(lens[0, 0], lens[1, 1], lens[0, 2], lens[1, 2], path)


def _cameras(folder: Path, numbers: list[int]) -> tuple[np.ndarray, np.ndarray] | None:
    """camera_to_world (T,4,4) and intrinsics (T,4); None if the camera archive is not there."""
    files = numbered_files(folder, (".cam",))
    if not files:
        return None
    absent = [number for number in numbers if number not in files]
    if absent:
        raise missing(f"There is no camera of frame {absent[0]} in {folder}.")
    poses, lenses = zip(*(read_cam(files[number]) for number in numbers), strict=True)
    return np.stack(poses), np.stack(lenses)
