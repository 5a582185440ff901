"""Models as COLMAP writes them, text and binary, of cameras that are known; by its documented format."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

NUMBERS = {"SIMPLE_PINHOLE": 0, "PINHOLE": 1, "SIMPLE_RADIAL": 2, "RADIAL": 3, "OPENCV": 4, "OPENCV_FISHEYE": 5,
           "FULL_OPENCV": 6, "FOV": 7, "SIMPLE_RADIAL_FISHEYE": 8, "RADIAL_FISHEYE": 9, "THIN_PRISM_FISHEYE": 10}
SEEN = ((10.5, 20.25, -1), (30.0, 40.0, 7))
"""Points that every picture sees: x, y and the number of the point."""


def quaternion(rotation: np.ndarray) -> np.ndarray:
    """(w, x, y, z) of a rotation matrix (3,3), by its largest eigenvector (Bar-Itzhack)."""
    (a, b, c), (d, e, f), (g, h, i) = rotation
    symmetric = np.array([[a - e - i, b + d, c + g, h - f], [b + d, e - a - i, f + h, c - g],
                          [c + g, f + h, i - a - e, d - b], [h - f, c - g, d - b, a + e + i]]) / 3.0
    x, y, z, w = np.linalg.eigh(symmetric)[1][:, -1]
    return np.array([w, x, y, z])


def write_model(folder: Path, names: Sequence[str], camera_to_world: np.ndarray, *, size: tuple[int, int],
                parameters: Sequence[float], model: str = "PINHOLE", binary: bool = False) -> Path:
    """One lens for all pictures. camera_to_world: (T,4,4), OpenCV axes."""
    folder.mkdir(parents=True, exist_ok=True)
    to_camera = np.linalg.inv(camera_to_world)
    poses = [(*quaternion(pose[:3, :3]), *pose[:3, 3]) for pose in to_camera]
    if binary:
        _write_binary(folder, names, poses, size, parameters, model)
    else:
        _write_text(folder, names, poses, size, parameters, model)
    return folder


def _write_text(folder: Path, names, poses, size, parameters, model: str) -> None:
    lens = " ".join(map(repr, map(float, parameters)))
    (folder / "cameras.txt").write_text(f"# Camera list\n3 {model} {size[0]} {size[1]} {lens}\n")
    seen = " ".join(f"{x} {y} {point}" for x, y, point in SEEN)
    lines = ["# Image list", f"# Number of images: {len(names)}"]
    for number, (name, pose) in enumerate(zip(names, poses, strict=True), 1):
        lines += [f"{number} {' '.join(repr(float(value)) for value in pose)} 3 {name}", seen]
    (folder / "images.txt").write_text("\n".join(lines) + "\n")
    (folder / "points3D.txt").write_text("# 3D point list\n")


def _write_binary(folder: Path, names, poses, size, parameters, model: str) -> None:
    lens = struct.pack(f"<{len(parameters)}d", *parameters)
    (folder / "cameras.bin").write_bytes(struct.pack("<QIiQQ", 1, 3, NUMBERS[model], *size) + lens)
    seen = struct.pack("<Q", len(SEEN)) + b"".join(struct.pack("<2dq", *point) for point in SEEN)
    pictures = [struct.pack("<I7dI", number, *pose, 3) + name.encode() + b"\0" + seen
                for number, (name, pose) in enumerate(zip(names, poses, strict=True), 1)]
    (folder / "images.bin").write_bytes(struct.pack("<Q", len(names)) + b"".join(pictures))
    (folder / "points3D.bin").write_bytes(struct.pack("<Q", 0))
