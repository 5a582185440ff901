"""Cameras of a COLMAP model, text or binary, as cameras of a clip. Standard library only.

The format is the one that COLMAP documents ("Output format"). Points are passed over. Nothing that a file says of its
own length is believed: what it has not got cannot be read.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..errors import StereoDiffError
from ..job import ClipSource
from ..lens import Distortion
from .colmap_lenses import MODEL_NUMBERS, colmap_lens, parameters_of
from .given import MAX_CAMERAS, MAX_PROPORTION_ERROR, GivenCamera, GivenCameras, invalid_cameras
from .picture_frames import frames_of_pictures

__all__ = ["is_colmap_model", "read_colmap_cameras"]

MAX_LINE, MAX_NAME_BYTES = 65_536, 4096
BYTES_OF_A_POINT = 24
MAX_QUATERNION_ERROR = 0.01


@dataclass(frozen=True)
class _Lens:
    """Size of the picture, and fx, fy, cx, cy in its pixels."""

    width: int
    height: int
    focal_x: float
    focal_y: float
    center_x: float
    center_y: float
    distortion: Distortion


@dataclass(frozen=True)
class _Picture:
    """turn: quaternion w, x, y, z, and shift, world to camera."""

    name: str
    turn: tuple[float, ...]
    shift: tuple[float, ...]
    camera: int


def is_colmap_model(folder: Path) -> bool:
    """Whether a folder holds the two files that are needed of a model, text or binary.

    Parameters
    ----------
    folder : Path
        It need not exist.

    Returns
    -------
    bool
        True also for files that are damaged.
    """
    return any(all((folder / f"{part}.{ending}").is_file() for part in ("cameras", "images"))
               for ending in ("bin", "txt"))


def read_colmap_cameras(folder: Path, clip: ClipSource, frames: range) -> GivenCameras:
    """The cameras of a model, for the frames whose pictures they are.

    Parameters
    ----------
    folder : Path
        With cameras and images, .bin or .txt; of both, the binary ones count, as for COLMAP.
    clip : ClipSource
        Whose pictures the model is of; its own, or ones with their numbers.
    frames : range
        Clip frames that are wanted.

    Returns
    -------
    GivenCameras
        In COLMAP's world, whose units they keep.

    Raises
    ------
    StereoDiffError
        "cameras_missing": there is no model in the folder. "cameras_invalid": it is damaged, or its pictures cannot be
        told apart. "cameras_distorted": its lenses have distortion that ours cannot have, or several.
        "cameras_incomplete": frames are without a camera.
    """
    if not is_colmap_model(folder):
        raise StereoDiffError("cameras_missing", f"There is no cameras.bin and images.bin (or .txt) in {folder}.")
    is_binary = all((folder / f"{part}.bin").is_file() for part in ("cameras", "images"))
    try:
        lenses, pictures = (_read_binary if is_binary else _read_text)(folder)
    except (OSError, ValueError, struct.error, EOFError) as error:
        raise invalid_cameras(f"the model in {folder} is damaged: {error}") from error
    if not pictures:
        raise invalid_cameras(f"the model in {folder} has no picture")
    given = _given(lenses, pictures, frames_of_pictures([picture.name for picture in pictures], clip, frames), frames)
    given.validate()
    given.of_frames(frames, clip.number_of(0))
    return given


def _given(lenses: dict[int, _Lens], pictures: list[_Picture], numbers: list[int], frames: range) -> GivenCameras:
    wanted = sorted((frame, picture) for frame, picture in zip(numbers, pictures, strict=True) if frame in frames)
    if not wanted:
        raise StereoDiffError("cameras_incomplete", f"None of the {len(pictures)} pictures of the model is one of the "
                                                    f"frames {frames[0]} to {frames[-1]}.")
    first = _lens_of(lenses, wanted[0][1])
    cameras = tuple(_camera(frame, picture, _lens_of(lenses, picture), first) for frame, picture in wanted)
    distortion = _one_distortion({_lens_of(lenses, picture).distortion for _, picture in wanted})
    return GivenCameras(first.width, first.height, cameras, distortion=distortion)


def _one_distortion(distortions: set[Distortion]) -> Distortion | None:
    if len(distortions) > 1:
        raise StereoDiffError("cameras_distorted", f"The pictures of the model have {len(distortions)} lenses of "
                                                   "different distortion.")
    (distortion,) = distortions
    return distortion if distortion.bends else None


def _lens_of(lenses: dict[int, _Lens], picture: _Picture) -> _Lens:
    if picture.camera not in lenses:
        raise invalid_cameras(f"the picture {picture.name[:80]!r} has a camera that is not there")
    return lenses[picture.camera]


def _camera(frame: int, picture: _Picture, lens: _Lens, first: _Lens) -> GivenCamera:
    """In pixels of the first picture."""
    across, down = first.width / lens.width, first.height / lens.height
    if abs(across / down - 1.0) > MAX_PROPORTION_ERROR:
        raise invalid_cameras("their pictures have different proportions")
    rows = _camera_to_world(picture)
    return GivenCamera(frame, lens.focal_x * across, lens.focal_y * down, lens.center_x * across,
                       lens.center_y * down, rows)


def _camera_to_world(picture: _Picture):
    """COLMAP keeps world to camera: x_camera = turn x_world + shift."""
    length = math.hypot(*picture.turn)
    if not abs(length - 1.0) <= MAX_QUATERNION_ERROR:
        raise invalid_cameras(f"the rotation of {picture.name[:80]!r} is none")
    w, x, y, z = (part / length for part in picture.turn)
    to_camera = ((1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
                 (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
                 (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)))
    columns = tuple(zip(*to_camera, strict=True))
    places = (-sum(part * shift for part, shift in zip(column, picture.shift, strict=True)) for column in columns)
    (a, b, c) = ((*column, place) for column, place in zip(columns, places, strict=True))
    return a, b, c, (0.0, 0.0, 0.0, 1.0)


def _lens(model: str, width: int, height: int, parameters: list[float]) -> _Lens:
    """Raises StereoDiffError "cameras_distorted" for one that ours cannot be."""
    intrinsics, distortion = colmap_lens(model, parameters, code="cameras_distorted")
    if min(width, height) < 1:
        raise ValueError("a picture has no size")
    return _Lens(width, height, *intrinsics, distortion)


# --- Text --------------------------------------------------------------------------------------------------------

def _read_text(folder: Path) -> tuple[dict[int, _Lens], list[_Picture]]:
    lenses = {}
    with open(folder / "cameras.txt", "rb") as stream:
        for line in _told_lines(stream):
            number, model, width, height, *parameters = line.split()
            lenses[int(number)] = _lens(model, int(width), int(height), [float(value) for value in parameters])
            _refuse_too_many(lenses)
    pictures: list[_Picture] = []
    with open(folder / "images.txt", "rb") as stream:
        for line in _told_lines(stream):
            _, *numbers, camera, name = line.split(None, 9)
            values = [float(value) for value in numbers]
            pictures.append(_Picture(name.strip(), tuple(values[:4]), tuple(values[4:]), int(camera)))
            _refuse_too_many(pictures)
            _skip_line(stream)  # of the points it sees
    return lenses, pictures


def _told_lines(stream: BinaryIO) -> Iterator[str]:
    """Lines that are neither empty nor comments. Raises ValueError for one that is too long."""
    while data := stream.readline(MAX_LINE):
        if len(data) == MAX_LINE:
            raise ValueError("a line is too long")
        line = data.decode("utf-8").strip()
        if line and not line.startswith("#"):
            yield line


def _skip_line(stream: BinaryIO) -> None:
    while (data := stream.readline(MAX_LINE)) and not data.endswith(b"\n"):
        pass


# --- Binary: little-endian, counted, without gaps ----------------------------------------------------------------

def _read_binary(folder: Path) -> tuple[dict[int, _Lens], list[_Picture]]:
    lenses = {}
    with open(folder / "cameras.bin", "rb") as stream:
        for _ in range(_count(stream)):
            number, model, width, height = _unpack(stream, "<IiQQ")
            name = MODEL_NUMBERS.get(model, f"number {model}")
            parameters = _unpack(stream, f"<{parameters_of(name)}d")
            lenses[number] = _lens(name, width, height, list(parameters))
    pictures: list[_Picture] = []
    with open(folder / "images.bin", "rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(0)
        for _ in range(_count(stream)):
            _, *values, camera = _unpack(stream, "<I7dI")
            pictures.append(_Picture(_name(stream), tuple(values[:4]), tuple(values[4:]), camera))
            behind = stream.tell() + 8 + BYTES_OF_A_POINT * _unpack(stream, "<Q")[0]
            if behind > size:
                raise EOFError("images.bin ends too early")
            stream.seek(behind)
    return lenses, pictures


def _count(stream: BinaryIO) -> int:
    count = _unpack(stream, "<Q")[0]
    _refuse_too_many(range(min(count, MAX_CAMERAS + 1)))
    return count


def _unpack(stream: BinaryIO, form: str) -> tuple:
    size = struct.calcsize(form)
    data = stream.read(size)
    if len(data) < size:
        raise EOFError("it ends too early")
    return struct.unpack(form, data)


def _name(stream: BinaryIO) -> str:
    """Up to its zero."""
    begin = stream.tell()
    data, zero, _ = stream.read(MAX_NAME_BYTES).partition(b"\0")
    if not zero:
        raise ValueError("a name does not end")
    stream.seek(begin + len(data) + 1)
    return data.decode("utf-8")


def _refuse_too_many(found) -> None:
    if len(found) > MAX_CAMERAS:
        raise ValueError(f"it has more than {MAX_CAMERAS} cameras or pictures")
