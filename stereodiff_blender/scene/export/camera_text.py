"""Cameras as text for other programs: Nuke's .chan and TUM's trajectory. The axes stand in each file.

All positions are world space of the Blender scene, in its units, with the root's transform in them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from mathutils import Matrix

from ...engine.contract import Distortion, write_refusal
from ..camera import CameraSamples, quaternions
from ..result import ImportedResult

Y_UP_FROM_Z_UP = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])


def write_chan(path: Path, samples: CameraSamples, numbers: np.ndarray, distortion: Distortion | None = None) -> None:
    """Nuke's .chan: frame, position, Euler angles in degrees (order ZXY) and vertical field of view in degrees.

    numbers: (T,) of the frames, as the comp has the plate. distortion: of the lens that shot it. World: y up, z towards
    the viewer at Blender's -y; the camera looks along its own -z with y up. Raises StereoDiffError
    "output_not_writable" or "disk_full".
    """
    width, height = samples.size
    _, fy, cx, cy = samples.intrinsics.T
    lines = ["# frame tx ty tz rx ry rz vertical_fov",
             "# World: y up, right-handed (Blender's x, z, -y), scene units",
             "# Camera: looks along its -z, y up. Angles in degrees, rotation order ZXY",
             f"# Picture: {width} x {height} pixels. A .chan holds no lens shift: at the first frame the optical axis "
             f"meets the picture at {cx[0]:.9g} {cy[0]:.9g}, in pixels from its left and top edge",
             *_lens_words(distortion)]
    before = None
    for row, number in enumerate(numbers):
        before = _euler(Y_UP_FROM_Z_UP @ samples.matrices[row, :3, :3], before)
        place = Y_UP_FROM_Z_UP @ samples.matrices[row, :3, 3]
        lines.append(_row(int(number), *place, *np.degrees(before), np.degrees(2 * np.arctan(height / 2 / fy[row]))))
    _write(path, lines)


def _lens_words(distortion: Distortion | None) -> list[str]:
    if distortion is None:
        return []
    names = ("k1", "k2", "k3", "k4") if distortion.is_fisheye else ("k1", "k2", "k3", "p1", "p2")
    values = " ".join(f"{name} {getattr(distortion, name):.9g}" for name in names)
    kind = "a fisheye's " if distortion.is_fisheye else ""
    return [f"# Lens: {kind}{values}, in OpenCV's meaning; this is the ideal camera, for the undistorted plate"]


def write_tum(path: Path, samples: CameraSamples, shot: ImportedResult, fps: float) -> None:
    """TUM's trajectory: seconds since the clip's first frame, position, quaternion x y z w, camera to world.

    Camera: x right, y down, z forward (OpenCV). World: Blender's, z up. Raises StereoDiffError as write_chan.
    """
    lines = ["# timestamp tx ty tz qx qy qz qw, camera to world; seconds since the clip's first frame",
             "# Camera: x right, y down, z forward. World: Blender's scene, z up, scene units"]
    seconds = (np.arange(len(samples.frames)) + shot.first_frame - 1) / fps
    turns = quaternions(samples.camera_to_world)
    lines += [_row(s, *pose[:3, 3], *turn[1:], turn[0])
              for s, pose, turn in zip(seconds, samples.camera_to_world, turns, strict=True)]
    _write(path, lines)


def _euler(turn: np.ndarray, before):
    """Radians about x, y, z for rotation order ZXY, near those before."""
    matrix = Matrix(turn.tolist())
    return matrix.to_euler("ZXY", before) if before is not None else matrix.to_euler("ZXY")


def _row(*values: float) -> str:
    return " ".join(f"{value:.9g}" for value in values)


def _write(path: Path, lines: list[str]) -> None:
    try:
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as error:
        raise write_refusal(error, path) from error
