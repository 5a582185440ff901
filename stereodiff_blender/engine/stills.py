"""One still picture of a sequence, as the display-referred picture that is matched.

EXR comes through the OpenEXR package, DPX and TGA through ffmpeg, the rest through OpenCV, which reads 16-bit and
float files and refuses truncated ones. Pictures have the orientation and size that Blender gives them: EXIF
rotation is not applied, and an EXR shows its data window.
"""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

import av
import cv2
import numpy as np

from . import exr, movies
from .contract import StereoDiffError

_BY_FFMPEG = frozenset({".dpx", ".tga"})


def read_still(path: Path, *, exposure_ev: float = 0.0) -> np.ndarray:
    """Returns (H,W,3) uint8 sRGB.

    8- and 16-bit files are taken as display-referred; EXR and float TIFF as scene-linear with sRGB primaries,
    exposed by exposure_ev. Straight alpha is flattened over black; EXR's is premultiplied, which is the same
    picture, so it is dropped.
    Raises StereoDiffError "clip_missing", "clip_empty" (no bytes) or "clip_unreadable".
    """
    data = _bytes(path)
    if path.suffix.lower() == ".exr":
        return expose(_exr_colour(path), exposure_ev)
    if path.suffix.lower() in _BY_FFMPEG:
        return _ffmpeg_picture(data, path)[0]
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise _unreadable(path)
    return _display_picture(image, exposure_ev, path)


def still_pixel_aspect(path: Path) -> float:
    """Width / height of a pixel. Only EXR and DPX say so in a way that means it; elsewhere pixels are square."""
    if path.suffix.lower() == ".exr":
        try:
            return exr.read_pixel_aspect(path)
        except (OSError, ValueError) as error:
            raise _unreadable(path, error) from error
    return _ffmpeg_picture(_bytes(path), path)[1] if path.suffix.lower() in _BY_FFMPEG else 1.0


def expose(linear: np.ndarray, exposure_ev: float = 0.0) -> np.ndarray:
    """Scene-linear light (H,W,3) to display: times 2**exposure_ev, clipped, sRGB transfer (IEC 61966-2-1), uint8.

    nan becomes black. Done by a table of 65536 entries, whose steps are under a tenth of a grey level everywhere.
    """
    light = np.nan_to_num(linear.astype(np.float32) * np.float32(2.0**exposure_ev), nan=0.0)
    return _srgb_table()[np.rint(np.clip(light, 0.0, 1.0) * 65535.0).astype(np.uint16)]


@cache
def _srgb_table() -> np.ndarray:
    light = np.arange(65536) / 65535.0
    encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(encoded * 255.0).astype(np.uint8)


def _bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise StereoDiffError("clip_missing", f"{path} does not exist.") from error
    except OSError as error:
        raise _unreadable(path, error) from error
    if not data:
        raise StereoDiffError("clip_empty", f"{path} is an empty file.")
    return data


def _exr_colour(path: Path) -> np.ndarray:
    """(H,W,3) float32: R, G, B of the file or of its first layer that has them; else its luminance or only channel."""
    try:
        channels = exr.read_exr(path)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    for layer in sorted(name.removesuffix("R") for name in channels if name == "R" or name.endswith(".R")):
        if all(layer + colour in channels for colour in "GB"):
            return np.stack([channels[layer + colour] for colour in "RGB"], axis=-1)
    for name in ("Y", "V", *(channels if len(channels) == 1 else ())):
        if name in channels:
            return np.repeat(channels[name][..., None], 3, axis=-1)
    raise StereoDiffError("clip_unreadable", f"{path} has no colour channels, only {', '.join(sorted(channels))}.")


def _ffmpeg_picture(data: bytes, path: Path) -> tuple[np.ndarray, float]:
    try:
        with av.open(io.BytesIO(data)) as container:
            picture = next(container.decode(video=0))
            aspect = container.streams.video[0].sample_aspect_ratio
            return movies.PictureConverter()(picture), float(aspect or 1)
    except (av.error.FFmpegError, StopIteration, IndexError) as error:
        raise _unreadable(path, error) from error


def _display_picture(image: np.ndarray, exposure_ev: float, path: Path) -> np.ndarray:
    """OpenCV's (H,W), (H,W,3) BGR or (H,W,4) BGRA of any depth to (H,W,3) uint8 RGB."""
    image = image[..., None] if image.ndim == 2 else image
    colour = np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image[..., 2::-1]
    if np.issubdtype(image.dtype, np.floating):
        return expose(colour, exposure_ev)
    if image.dtype not in (np.uint8, np.uint16):
        raise _unreadable(path, f"pixels of type {image.dtype}")
    if image.dtype == np.uint16:
        colour = _eight_bit(colour)
    if image.shape[-1] == 4:
        return movies.over_black(colour, _eight_bit(image[..., 3]))
    return np.ascontiguousarray(colour)


def _eight_bit(image: np.ndarray) -> np.ndarray:
    return image if image.dtype == np.uint8 else ((image.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


def _unreadable(path: Path, reason: object = "") -> StereoDiffError:
    why = f": {reason}" if reason else ""
    return StereoDiffError("clip_unreadable", f"{path} cannot be read as a picture{why}.")
