"""Cameras that are known before a solve: what cameras.json of a job folder holds. Part of the contract.

Standard library only, because both programs import it. They stand in a world of their own, such as COLMAP's or that of
a Blender scene; what is measured with them is given back in its units, and says where its first camera stands there.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from ..errors import StereoDiffError
from ..guarded_files import GuardedFolder
from ..lens import Distortion, distortion_fault
from ..strict_json import as_json, from_dict, to_dict

MAX_CAMERAS = 100_000
MAX_CAMERAS_BYTES = 64_000_000
MAX_GAP = 4
"""Frames in a row that may be without a camera between two that have one; theirs is interpolated."""
MAX_PROPORTION_ERROR = 0.01
"""Share of a picture's proportions by which that of the cameras may differ, for the rounding of its size."""
MAX_PLACE, MIN_FOCAL_PX = 1e9, 1e-3
RIGID = 1e-4

Row = tuple[float, float, float, float]


@dataclass(frozen=True)
class GivenCamera:
    """One frame's camera. fx, fy, cx, cy: in pixels. camera_to_world: OpenCV axes, four rows of four."""

    frame: int
    fx: float
    fy: float
    cx: float
    cy: float
    camera_to_world: tuple[Row, Row, Row, Row]

    def validate(self) -> None:
        """Raises StereoDiffError "cameras_invalid"."""
        name = f"frame {self.frame}"
        if not all(MIN_FOCAL_PX <= focal <= MAX_PLACE for focal in (self.fx, self.fy)):
            raise invalid_cameras(f"{name} has no focal length above 0")
        matrix = self.camera_to_world
        places = (self.cx, self.cy, *(row[3] for row in matrix[:3]))
        if not all(abs(place) <= MAX_PLACE for place in places):
            raise invalid_cameras(f"{name} stands or looks beyond all measure")
        if tuple(matrix[3]) != (0.0, 0.0, 0.0, 1.0) or not _is_rotation([row[:3] for row in matrix[:3]]):
            raise invalid_cameras(f"{name} is scaled, sheared or mirrored")


@dataclass(frozen=True)
class GivenCameras:
    """Cameras of some frames of a clip. width, height: of the pictures that their pixels count, of any size.

    cameras: frames ascend; they are the ideal ones. distortion: of the lens that the clip was shot with through all of
    them; None of a pinhole.
    """

    width: int
    height: int
    cameras: tuple[GivenCamera, ...]
    schema_version: int = 1
    distortion: Distortion | None = None

    def validate(self) -> None:
        """Raises StereoDiffError "cameras_invalid"."""
        if min(self.width, self.height) < 1 or max(self.width, self.height) > 1_000_000:
            raise invalid_cameras(f"they are of pictures of {self.width} x {self.height} pixels")
        if not 1 <= len(self.cameras) <= MAX_CAMERAS:
            raise invalid_cameras(f"there are {len(self.cameras)} of them")
        frames = [camera.frame for camera in self.cameras]
        if any(later <= earlier for earlier, later in zip(frames, frames[1:], strict=False)):
            raise invalid_cameras("their frames do not ascend")
        for camera in self.cameras:
            camera.validate()
        if self.distortion is not None:
            self._refuse_fold(self.distortion)

    def _refuse_fold(self, distortion: Distortion) -> None:
        widest = min(self.cameras, key=lambda camera: camera.fx)
        fault = distortion_fault(distortion, self.width, self.height, (widest.fx, widest.fy, widest.cx, widest.cy))
        if fault:
            raise StereoDiffError("cameras_invalid", fault)

    def of_frames(self, frames: range, told_later: int = 0) -> list[GivenCamera | None]:
        """The camera of every frame; None where it can be interpolated between two that are near.

        Parameters
        ----------
        frames : range
            Clip frames that are solved.
        told_later : int
            What is added to a clip frame where people read it: the plate's own numbers.

        Returns
        -------
        list of GivenCamera or None
            One for each frame; the first and the last have one.

        Raises
        ------
        StereoDiffError
            "cameras_incomplete": the first or last frame has none, or more than MAX_GAP in a row have none.
        """
        by_frame = {camera.frame: camera for camera in self.cameras}
        missing = [frame for frame in frames if frame not in by_frame]
        ends = [frame for frame in (frames[0], frames[-1]) if frame not in by_frame]
        runs = [(first + told_later, last + told_later) for first, last in _runs(missing)]
        if ends or any(last - first >= MAX_GAP for first, last in runs):
            first, last = frames[0] + told_later, frames[-1] + told_later
            raise StereoDiffError("cameras_incomplete", f"Frames {first} to {last} are solved, and {_in_words(runs)} "
                                                        "without a camera.")
        return [by_frame.get(frame) for frame in frames]

    def refuse_other_picture(self, width: float, height: float) -> None:
        """Raises StereoDiffError "cameras_wrong_size" unless a picture of this size has the cameras' proportions."""
        own, other = self.width / self.height, width / height
        if abs(own / other - 1.0) > MAX_PROPORTION_ERROR:
            raise StereoDiffError("cameras_wrong_size", f"The cameras are of pictures of {self.width} x {self.height} "
                                                        f"pixels, the clip's have {width:g} x {height:g}.")


def _is_rotation(rows: list[tuple[float, ...]]) -> bool:
    products = [sum(a * b for a, b in zip(one, other, strict=True)) for one in rows for other in rows]
    is_orthonormal = all(abs(product - (place % 4 == 0)) <= RIGID for place, product in enumerate(products))
    (a, b, c), (d, e, f), (g, h, i) = rows
    return is_orthonormal and a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g) > 0


def _runs(frames: list[int]) -> list[tuple[int, int]]:
    """First and last of every run of neighbors."""
    runs: list[tuple[int, int]] = []
    for frame in frames:
        if runs and runs[-1][1] == frame - 1:
            runs[-1] = (runs[-1][0], frame)
        else:
            runs.append((frame, frame))
    return runs


def _in_words(runs: list[tuple[int, int]]) -> str:
    names = [str(first) if first == last else f"{first}-{last}" for first, last in runs]
    listed = ", ".join(names[:10]) + (" and others" if len(names) > 10 else "")
    return f"{listed} {'is' if len(runs) == 1 and runs[0][0] == runs[0][1] else 'are'}"


def invalid_cameras(reason: str) -> StereoDiffError:
    return StereoDiffError("cameras_invalid", f"The cameras cannot be used: {reason}.")


def write_cameras(path: Path, cameras: GivenCameras) -> None:
    """Write cameras.json, whole or not at all.

    Parameters
    ----------
    path : Path
        Of cameras.json in a job folder.
    cameras : GivenCameras
        Validated before anything is written.

    Raises
    ------
    StereoDiffError
        "cameras_invalid": they do not validate.
    OSError
        The file cannot be written.
    """
    cameras.validate()
    GuardedFolder(path.parent).replace(path.name, as_json(to_dict(cameras), indent=None))


def read_cameras(path: str | os.PathLike) -> GivenCameras:
    """Read cameras.json, validated.

    Parameters
    ----------
    path : str or os.PathLike
        Of cameras.json in a job folder.

    Returns
    -------
    GivenCameras
        Frames as the clip counts.

    Raises
    ------
    StereoDiffError
        "cameras_missing": there is no such file. "cameras_invalid": it cannot be read, is of another schema, or does
        not validate.
    """
    path = Path(path)
    try:
        data = json.loads(GuardedFolder(path.parent).read_text(path.name, MAX_CAMERAS_BYTES))
        cameras = from_dict(GivenCameras, data)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StereoDiffError("cameras_missing", f"{path} does not exist.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise invalid_cameras(f"{path.name} is not what was written: {error}") from error
    if cameras.schema_version != 1:
        raise invalid_cameras(f"{path.name} has schema {cameras.schema_version}, this version reads 1")
    cameras.validate()
    return cameras
