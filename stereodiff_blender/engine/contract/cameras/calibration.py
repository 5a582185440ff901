"""The lens of a calibration file: OpenCV's (YAML, JSON, XML) or COLMAP's cameras.txt. Standard library only.

The files may come from anywhere, so no more is read of them than the few numbers that are looked for: no tags, anchors,
entities or types of theirs are obeyed. The formats are those that OpenCV's FileStorage and COLMAP ("Output format")
document.
"""

from __future__ import annotations

import json
import math
import os
import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import StereoDiffError
from ..lens import Distortion
from ..settings import Settings
from .colmap_lenses import colmap_lens, refuse_more

__all__ = ["GivenLens", "invalid_lens_file", "is_exr", "read_calibration", "read_lens_bytes"]

MAX_LENS_FILE_BYTES = 1_000_000
_EXR = b"\x76\x2f\x31\x01"
MOST_NUMBERS, MOST_CAMERAS = 64, 1000
MAX_OTHER_ASPECT = 0.01
"""Share by which the proportions of two sizes of one picture differ, for their rounding."""
MAX_SIDE_PX, MAX_FOCAL_PX = 1_000_000, 1e9
_NUMBER = re.compile(r"[^\s,\[\]]+")
_KEYS = {"camera_matrix": ("camera_matrix", "cameramatrix", "k"),
         "distortion": ("distortion_coefficients", "distcoeffs", "dist_coeffs", "dist_coeff", "d"),
         "width": ("image_width", "width"), "height": ("image_height", "height"), "fisheye": ("fisheye_model",),
         "model": ("distortion_model",)}
"""What is looked for, and the names that OpenCV's samples and tutorials write it under, in lower case."""
_WANTED = frozenset(name for names in _KEYS.values() for name in names)
_OPENCV_ORDER, _FISHEYE_ORDER = ("k1", "k2", "p1", "p2", "k3"), ("k1", "k2", "k3", "k4")
_FISHEYE_MODELS = ("equidistant", "fisheye", "kannala_brandt")
"""As ROS, Kalibr and OpenCV's own programs name them, in lower case."""


@dataclass(frozen=True)
class GivenLens:
    """A lens in pixels of the clip, whose edges are whole numbers: the center of the first pixel is at 0.5.

    distortion: all 0 where the picture is known to have none; None where that is not known.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    distortion: Distortion | None

    def in_settings(self, settings: Settings, width: int, sensor_mm: float) -> Settings:
        """The settings with this lens as the known one. width: of the clip, in pixels. sensor_mm: of the sensor."""
        placed = replace(settings, focal_mm=self.fx / width * sensor_mm, sensor_mm=sensor_mm,
                         principal_point_px=(self.cx, self.cy))
        return placed.with_distortion(self.distortion)


@dataclass(frozen=True)
class _Lens:
    """As a file has it, for pictures of its own size; 0 where it does not say."""

    width: int
    height: int
    lens: GivenLens


def read_calibration(path: Path, width: int, height: int, pixel_aspect: float = 1.0) -> GivenLens:
    """The lens that a calibration file gives, for a clip.

    Parameters
    ----------
    path : Path
        An OpenCV calibration (camera_matrix, distortion_coefficients, image_width, image_height) in YAML, JSON or XML,
        or a COLMAP cameras.txt.
    width, height : int
        Of the clip, in stored pixels. A calibration of another size of the same proportions is scaled to it.
    pixel_aspect : float
        True width / height of the clip's pixels, which the two focal lengths have to agree with.

    Returns
    -------
    GivenLens
        In the clip's pixels.

    Raises
    ------
    StereoDiffError
        "lens_file_missing": there is no such file. "lens_file_invalid": it is damaged, or is none of these.
        "lens_file_wrong_size": it is for pictures of another shape. "lens_not_followed": the lens does what ours do
        not (rational coefficients, a thin prism).
    """
    found = _for_size(_lenses(_text(read_lens_bytes(path, MAX_LENS_FILE_BYTES), path), path), path, width, height)
    lens = _scaled(found, path, width, height)
    squeeze = lens.fy / lens.fx / pixel_aspect
    if not abs(squeeze - 1.0) <= 2.0 * MAX_OTHER_ASPECT:
        raise StereoDiffError("lens_file_wrong_size", f"{path.name} is for pixels {lens.fy / lens.fx:.4g} times as "
                                                      f"wide as high; those of the clip are {pixel_aspect:.4g} times.")
    fx = math.sqrt(lens.fx * lens.fy / pixel_aspect)
    return replace(lens, fx=fx, fy=fx * pixel_aspect)


def read_lens_bytes(path: Path, most: int) -> bytes:
    """What a lens file holds.

    Parameters
    ----------
    path : Path
        Of the file.
    most : int
        Bytes that it may have.

    Returns
    -------
    bytes
        All of it.

    Raises
    ------
    StereoDiffError
        "lens_file_missing", or "lens_file_invalid" if it is larger.
    """
    try:
        if not path.is_file():  # to open a pipe would wait for ever
            raise FileNotFoundError("there is no such file")
        with open(path, "rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            data = stream.read(size) if size <= most else b""
    except (OSError, ValueError) as error:
        raise StereoDiffError("lens_file_missing", f"{path} cannot be read: {error}.") from error
    if size > most:
        raise invalid_lens_file(path, f"it has more than {most // 1_000_000} million bytes")
    return data


def is_exr(path: Path) -> bool:
    """Whether a lens file is an EXR, and so an ST map.

    Parameters
    ----------
    path : Path
        Of the file.

    Returns
    -------
    bool
        By its first bytes.

    Raises
    ------
    StereoDiffError
        "lens_file_missing".
    """
    try:
        if not path.is_file():
            raise FileNotFoundError("there is no such file")
        with open(path, "rb") as stream:
            return stream.read(len(_EXR)) == _EXR
    except (OSError, ValueError) as error:
        raise StereoDiffError("lens_file_missing", f"{path} cannot be read: {error}.") from error


def invalid_lens_file(path: Path, reason: str) -> StereoDiffError:
    """The refusal of a file, with the reason as half a sentence.

    Parameters
    ----------
    path : Path
        Of the file.
    reason : str
        What is wrong with it.

    Returns
    -------
    StereoDiffError
        "lens_file_invalid".
    """
    return StereoDiffError("lens_file_invalid", f"No lens can be read from {path.name}: {reason}.")


def _text(data: bytes, path: Path) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise invalid_lens_file(path, "it is no text") from error


def _lenses(text: str, path: Path) -> list[_Lens]:
    begin = text.lstrip()[:1]
    try:
        if begin == "{":
            return [_opencv(_from_json(text))]
        if begin == "<":
            return [_opencv(_from_xml(text))]
        if begin == "%" or re.search(r"(?mi)^\s*(camera_?matrix|k)\s*:", text):
            return [_opencv(_from_yaml(text))]
        return _from_colmap(text)
    except (ValueError, RecursionError, ET.ParseError, OverflowError) as error:
        raise invalid_lens_file(path, str(error)[:200] or "it is damaged") from error


# --- OpenCV: each reader gives texts and lists of numbers by the names of _KEYS -----------------------------------

def _from_json(text: str) -> dict[str, object]:
    data = json.loads(text)
    if not isinstance(data, dict):
        raise ValueError("it holds no names")
    return {name.lower(): _matrix(value) for name, value in data.items() if name.lower() in _WANTED}


def _matrix(value: object) -> object:
    """A matrix's numbers, row by row: one of FileStorage, or lists in lists."""
    if isinstance(value, dict):
        return _matrix(value.get("data"))
    if isinstance(value, list):
        flat = [number for row in value for number in (row if isinstance(row, list) else [row])]
        return [_number(number) for number in flat[:MOST_NUMBERS + 1]]
    return value


def _from_xml(text: str) -> dict[str, object]:
    """A document type could bring entities, which grow without end: it is refused unread."""
    if re.search(r"<!(?!--)", text):
        raise ValueError("its XML declares a document type or entities")
    values: dict[str, object] = {}
    for element in ET.fromstring(re.sub(r"^\s*<\?xml.*?\?>", "", text, count=1, flags=re.DOTALL)):
        if element.tag.lower() not in _WANTED:
            continue
        data = element.find("data")
        values[element.tag.lower()] = (element.text or "").strip() if data is None else _numbers(data.text or "")
    return values


def _from_yaml(text: str) -> dict[str, object]:
    """Names at the left edge, each with the lines that are indented below it."""
    values: dict[str, object] = {}
    for block in re.split(r"(?m)^(?=\w+\s*:)", re.sub(r"(?m)(^|\s)#.*$", "", text)):
        name, _, rest = block.partition(":")
        if name.strip().lower() in _WANTED:
            data = re.search(r"\bdata\s*:\s*\[([^\[\]]*)\]", rest) or re.match(r"\s*\[([\s\S]*)\]\s*$", rest)
            values[name.strip().lower()] = _numbers(data[1]) if data else rest.strip().strip("\"'")
    return values


def _numbers(text: str) -> list[float]:
    return [_number(word) for word in _NUMBER.findall(text[:MAX_LENS_FILE_BYTES])[:MOST_NUMBERS + 1]]


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError("a number is missing")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("a number is not finite")
    return number


def _opencv(values: dict[str, object]) -> _Lens:
    named = {key: next((values[name] for name in names if name in values), None) for key, names in _KEYS.items()}
    matrix, coefficients = named["camera_matrix"], named["distortion"]
    if not isinstance(matrix, list) or len(matrix) != 9:
        raise ValueError("it has no camera_matrix of nine numbers")
    if any(abs(matrix[place]) > 1e-6 * matrix[0] for place in (1, 3, 6, 7)) or abs(matrix[8] - 1.0) > 1e-6:
        raise ValueError("its camera_matrix is that of no lens")
    if coefficients is not None and not isinstance(coefficients, list):
        raise ValueError("its distortion_coefficients are no numbers")
    width, height = (0 if named[side] is None else _side(named[side]) for side in ("width", "height"))
    distortion = _distortion(coefficients, is_fisheye=_is_fisheye(named["fisheye"], named["model"]))
    return _Lens(width, height, GivenLens(matrix[0], matrix[4], matrix[2] + 0.5, matrix[5] + 0.5, distortion))


def _is_fisheye(flag: object, model: object) -> bool:
    if flag is not None and not isinstance(flag, (int, float, str)):
        raise ValueError("its fisheye_model is neither 0 nor 1")
    return str(flag or "0").lower() not in ("0", "0.0", "false") or str(model or "").lower() in _FISHEYE_MODELS


def _side(value: object) -> int:
    side = _number(value)
    if not 1 <= side <= MAX_SIDE_PX or side != int(side):
        raise ValueError("the size of its pictures is none")
    return int(side)


def _distortion(coefficients: list[float] | None, *, is_fisheye: bool) -> Distortion | None:
    """None where the file has no coefficients. Those beyond ours have to be 0."""
    if not coefficients:
        if is_fisheye:
            raise ValueError("it is a fisheye's without distortion_coefficients")
        return None
    order = _FISHEYE_ORDER if is_fisheye else _OPENCV_ORDER
    if is_fisheye and len(coefficients) < len(order):
        raise ValueError(f"a fisheye has four distortion_coefficients, it has {len(coefficients)}")
    refuse_more(coefficients[len(order):], is_fisheye=is_fisheye, code="lens_not_followed")
    return Distortion(**dict(zip(order, coefficients, strict=False)), is_fisheye=is_fisheye)


# --- COLMAP ------------------------------------------------------------------------------------------------------

def _from_colmap(text: str) -> list[_Lens]:
    told = [line.split() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if not told or len(told[0]) < 5:
        raise ValueError("it is neither a calibration of OpenCV's nor a cameras.txt of COLMAP's")
    if len(told) > MOST_CAMERAS:
        raise ValueError(f"it has more than {MOST_CAMERAS} cameras")
    return [_of_colmap(line[1], line[2], line[3], [_number(word) for word in line[4:]])
            for line in told if len(line) > 4]


def _of_colmap(model: str, width: str, height: str, parameters: list[float]) -> _Lens:
    if not re.fullmatch(r"[A-Z_]{3,40}", model):
        raise ValueError("it is neither a calibration of OpenCV's nor a cameras.txt of COLMAP's")
    intrinsics, distortion = colmap_lens(model, parameters, code="lens_not_followed")
    return _Lens(_side(width), _side(height), GivenLens(*intrinsics, distortion))


# --- The clip's size ---------------------------------------------------------------------------------------------

def _for_size(lenses: list[_Lens], path: Path, width: int, height: int) -> _Lens:
    """The only one, or the one that is for pictures of the clip's size."""
    if len(lenses) == 1:
        return lenses[0]
    fitting = [lens for lens in lenses if (lens.width, lens.height) == (width, height)]
    if len(fitting) != 1:
        raise invalid_lens_file(path, f"it has {len(lenses)} cameras, and {len(fitting)} of them are for pictures of "
                                      f"{width} x {height}")
    return fitting[0]


def _scaled(found: _Lens, path: Path, width: int, height: int) -> GivenLens:
    """In pixels of the clip."""
    across, down = (own / other if other else 1.0 for own, other in ((width, found.width), (height, found.height)))
    if abs(across / down - 1.0) > MAX_OTHER_ASPECT:
        raise StereoDiffError("lens_file_wrong_size", f"{path.name} is for pictures of {found.width} x {found.height}, "
                                                      f"the clip's are {width} x {height}.")
    lens = found.lens
    scaled = GivenLens(lens.fx * across, lens.fy * down, lens.cx * across, lens.cy * down, lens.distortion)
    if not all(0.0 < focal < MAX_FOCAL_PX for focal in (scaled.fx, scaled.fy)):
        raise invalid_lens_file(path, "its focal length is none")
    if not (0.0 < scaled.cx < width and 0.0 < scaled.cy < height):
        raise invalid_lens_file(path, "its principal point is outside the picture")
    return scaled
