"""COLMAP's sparse model of a solve: as text, or in its binary form where a picture's name has a space.

COLMAP reads the lines of images.txt word by word, so that a name with a space is cut there; the binary form ends a name
with a zero byte. Of both in one folder COLMAP takes the binary one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...engine.contract import Distortion, StereoDiffError, write_refusal
from ...engine.contract.numbered_files import file_further_on
from ..camera import CameraSamples, quaternions
from ..result import ImportedResult

PARTS = ("cameras", "images", "points3D")
MODEL_IDS = {"PINHOLE": 1, "OPENCV": 4, "OPENCV_FISHEYE": 5, "FULL_OPENCV": 6}
"""COLMAP's numbers of its models."""
_PARAMETERS = {"PINHOLE": "fx fy cx cy", "OPENCV": "fx fy cx cy k1 k2 p1 p2",
               "OPENCV_FISHEYE": "fx fy cx cy k1 k2 k3 k4", "FULL_OPENCV": "fx fy cx cy k1 k2 p1 p2 k3 k4 k5 k6"}
_AXES = "# World: Blender's scene, z up, scene units. Camera: x right, y down, z forward"


def write_colmap(folder: Path, samples: CameraSamples, shot: ImportedResult, points: np.ndarray,
                 colors: np.ndarray) -> None:
    """COLMAP's model in a folder: cameras, images and points3D, .txt or .bin.

    One camera, or one for each frame if the lens moves, PINHOLE or, where the lens bends the picture, OPENCV, for the
    plate as shot; with k3 it is FULL_OPENCV, a fisheye OPENCV_FISHEYE. A picture's left top corner is (0, 0) there as
    here.
    Pictures are named as plate_names() says. points (N,3): world space, may be empty; colors (N,3) uint8. Which
    picture sees which point is not kept by a solve, so those lists are empty. Raises StereoDiffError
    "output_not_writable", "disk_full", or "output_in_use" where a binary model would be read in place of this one.
    """
    model = _Model.from_samples(samples, shot.distortion, plate_names(shot), points, colors)
    is_binary = any(character.isspace() for name in model.names for character in name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if is_binary:
            for part, content in zip(PARTS, _binary(model), strict=True):
                (folder / f"{part}.bin").write_bytes(content)
            return
        if (folder / "images.bin").exists():
            raise StereoDiffError("output_in_use", f"{folder} holds images.bin, which COLMAP would read instead.")
        for part, lines in zip(PARTS, _text(model), strict=True):
            (folder / f"{part}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as error:
        raise write_refusal(error, folder) from error


def plate_names(shot: ImportedResult) -> list[str]:
    """A picture's file name for every solved frame: of the sequence, or STEM_0001.png by clip frame for a movie."""
    first = Path(shot.result.clip.path)
    frames = [frame.frame for frame in shot.result.frames]
    if shot.result.clip.kind == "movie":
        return [f"{first.stem}_{frame:04d}.png" for frame in frames]
    return [file_further_on(first, frame - 1)[0].name for frame in frames]


@dataclass(frozen=True)
class _Model:
    """size: (width, height). kind: of MODEL_IDS. lenses: (C,P) parameters, fx, fy, cx, cy first. camera: (T,) which of
    them, from 1. turns: (T,4) w, x, y, z and shifts: (T,3), world to camera. names: of the pictures. points (N,3),
    colors (N,3)."""

    size: tuple[int, int]
    kind: str
    lenses: np.ndarray
    camera: list[int]
    turns: np.ndarray
    shifts: np.ndarray
    names: list[str]
    points: np.ndarray
    colors: np.ndarray

    @classmethod
    def from_samples(cls, samples: CameraSamples, distortion: Distortion | None, names: list[str], points: np.ndarray,
                     colors: np.ndarray) -> _Model:
        kind, coefficients = _kind_and_coefficients(distortion)
        lenses = samples.intrinsics[:1] if samples.is_lens_constant else samples.intrinsics
        lenses = np.column_stack([lenses, np.tile(coefficients, (len(lenses), 1))])
        to_camera = np.linalg.inv(samples.camera_to_world)
        camera = [min(index, len(lenses) - 1) + 1 for index in range(len(names))]
        turns, shifts = quaternions(to_camera), to_camera[:, :3, 3]
        return cls(samples.size, kind, lenses, camera, turns, shifts, names, points, colors)

    def images(self) -> Iterator[tuple[int, np.ndarray, np.ndarray, int, str]]:
        """Number from 1, turn, shift, camera and name of every picture."""
        yield from zip(range(1, len(self.names) + 1), self.turns, self.shifts, self.camera, self.names, strict=True)


def _kind_and_coefficients(distortion: Distortion | None) -> tuple[str, tuple[float, ...]]:
    """COLMAP's model of a lens, and its parameters after fx, fy, cx, cy: k1 k2 p1 p2, then k3 k4 k5 k6; a fisheye's
    are k1 k2 k3 k4."""
    if distortion is None:
        return "PINHOLE", ()
    if distortion.is_fisheye:
        return "OPENCV_FISHEYE", (distortion.k1, distortion.k2, distortion.k3, distortion.k4)
    first = (distortion.k1, distortion.k2, distortion.p1, distortion.p2)
    return ("FULL_OPENCV", (*first, distortion.k3, 0.0, 0.0, 0.0)) if distortion.k3 else ("OPENCV", first)


# --- Text ------------------------------------------------------------------------------------------------------

def _text(model: _Model) -> tuple[list[str], list[str], list[str]]:
    size = f"{model.size[0]} {model.size[1]}"
    cameras = [f"# CAMERA_ID MODEL WIDTH HEIGHT {_PARAMETERS[model.kind]}, in pixels of the plate", _AXES,
               *(f"{i + 1} {model.kind} {size} {_row(*lens)}" for i, lens in enumerate(model.lenses))]
    images = ["# IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME, world to camera; each followed by an empty line", _AXES]
    for number, turn, shift, camera, name in model.images():
        images += [f"{number} {_row(*turn, *shift)} {camera} {name}", ""]
    points = ["# POINT3D_ID X Y Z R G B ERROR, without the pictures that see it", _AXES,
              *(f"{i + 1} {_row(*point)} {r} {g} {b} 0"
                for i, (point, (r, g, b)) in enumerate(zip(model.points, model.colors, strict=True)))]
    return cameras, images, points


def _row(*values: float) -> str:
    return " ".join(f"{value:.9g}" for value in values)


# --- Binary: little-endian, counted, without gaps --------------------------------------------------------------

def _binary(model: _Model) -> tuple[bytes, bytes, bytes]:
    cameras = [struct.pack(f"<IiQQ{len(lens)}d", i + 1, MODEL_IDS[model.kind], *model.size, *lens)
               for i, lens in enumerate(model.lenses)]
    images = [struct.pack("<I7dI", number, *turn, *shift, camera) + name.encode("utf-8") + b"\0" + struct.pack("<Q", 0)
              for number, turn, shift, camera, name in model.images()]
    points = [struct.pack("<Q3d3BdQ", i + 1, *point, *map(int, color), 0.0, 0)
              for i, (point, color) in enumerate(zip(model.points, model.colors, strict=True))]
    return _counted(cameras), _counted(images), _counted(points)


def _counted(entries: list[bytes]) -> bytes:
    return struct.pack("<Q", len(entries)) + b"".join(entries)
