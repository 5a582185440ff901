"""One still picture of a sequence, as the display-referred picture that is matched.

EXR comes through the OpenEXR package, DPX and TGA through ffmpeg's decoders, the rest through OpenCV, which reads
16-bit and float files and refuses truncated ones. Pictures have the orientation and size that Blender gives them: EXIF
rotation is not applied, and an EXR shows its data window. How large a picture is its header says, and one that is too
large is refused before it is decoded.
"""

from __future__ import annotations

import struct
from functools import cache
from pathlib import Path
from typing import BinaryIO

import av
import cv2
import numpy as np

from ..contract import MAX_FPS, MAX_PIXELS, StereoDiffError
from ..contract.failures import is_memory_error
from ..contract.picture_size import refuse_too_large, stated_size, stated_tga_size
from . import exr, movies
from .footage_file import read_file

__all__ = ["read_still"]

_BY_FFMPEG = {".dpx": "dpx", ".tga": "targa"}
MOST_BYTES_PER_PIXEL, OTHER_BYTES = 32, 64_000_000
"""Four doubles; and what a file may hold besides its pixels."""
HEADER_BYTES = (65_536, 16_000_000)
"""One after the other, until they say how large the picture is."""
DPX_RATES = (1724, 1940)
"""Where a DPX has its frame rate, 32 bits: of film and of television (SMPTE ST 268-1)."""
SLOWEST_FPS = 0.01
"""Less is what other bytes look like."""
EXR_CHANNELS = 8
"""Numbers for each pixel of the largest picture that the layers of an EXR may hold together."""


def read_still(path: Path, *, exposure_ev: float = 0.0, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """One still picture, display-referred.

    8- and 16-bit files are taken as display-referred; EXR and float TIFF as scene-linear with sRGB primaries,
    exposed by exposure_ev. Straight alpha is flattened over black; EXR's is premultiplied, which is the same
    picture, so it is dropped.

    Parameters
    ----------
    path : Path
        The file; its suffix says what kind it is.
    exposure_ev : float
        Stops added to scene-linear pictures.
    max_pixels : int
        Of the picture; a larger one is not decoded.

    Returns
    -------
    ndarray
        (H,W,3) uint8 sRGB.

    Raises
    ------
    StereoDiffError
        "clip_missing", "clip_empty" (no bytes), "picture_too_large" or "clip_unreadable".
    """
    data, suffix = _bytes(path, max_pixels), path.suffix.lower()
    if suffix == ".exr":
        return expose(_exr_color(data, path, max_pixels), exposure_ev)
    _refuse_too_large(data, suffix, max_pixels, path)
    if suffix in _BY_FFMPEG:
        return _ffmpeg_picture(data, path, max_pixels)[0]
    return _display_picture(_opencv_picture(data, path), exposure_ev, path)


def still_pixel_aspect(path: Path, *, max_pixels: int = MAX_PIXELS) -> float:
    """Width / height of a pixel. Only EXR and DPX say so in a way that means it; elsewhere pixels are square."""
    suffix = path.suffix.lower()
    if suffix == ".exr":
        try:
            return exr.pixel_aspect_of(_bytes(path, max_pixels), path)
        except ValueError as error:
            raise _unreadable(path, error) from error
    return _ffmpeg_picture(_bytes(path, max_pixels), path, max_pixels)[1] if suffix in _BY_FFMPEG else 1.0


def still_fps(path: Path, *, max_pixels: int = MAX_PIXELS) -> float:
    """Frames per second that a picture says it belongs to; 0 where it does not. EXR and DPX can say so."""
    suffix = path.suffix.lower()
    if suffix not in (".dpx", ".exr"):
        return 0.0
    data = _bytes(path, max_pixels)
    try:
        rates = _dpx_rates(data) if suffix == ".dpx" else [exr.fps_of(data, path)]
    except ValueError as error:
        raise _unreadable(path, error) from error
    return next((rate for rate in rates if SLOWEST_FPS <= rate <= MAX_FPS), 0.0)


def _dpx_rates(data: bytes) -> list[float]:
    """Of the film's header, and of the television's. What is not known has all bits set, and is no number."""
    order = "<" if data.startswith(b"XPDS") else ">"
    return [struct.unpack_from(f"{order}f", data, offset)[0] for offset in DPX_RATES if len(data) >= offset + 4]


def expose(linear: np.ndarray, exposure_ev: float = 0.0) -> np.ndarray:
    """Scene-linear light (H,W,3) to display: times 2**exposure_ev, clipped, sRGB transfer (IEC 61966-2-1), uint8.

    nan becomes black. Done by a table of 65536 entries, whose steps are under a tenth of a gray level everywhere.
    """
    light = np.nan_to_num(linear.astype(np.float32) * np.float32(2.0**exposure_ev), nan=0.0)
    return _srgb_table()[np.rint(np.clip(light, 0.0, 1.0) * 65535.0).astype(np.uint16)]


@cache
def _srgb_table() -> np.ndarray:
    light = np.arange(65536) / 65535.0
    encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(encoded * 255.0).astype(np.uint8)


def _bytes(path: Path, max_pixels: int) -> bytes:
    return read_file(path, lambda stream: _most_bytes(stream, path, max_pixels))


def _most_bytes(stream: BinaryIO, path: Path, max_pixels: int) -> int:
    """What a picture of the size that its header states may take. Raises StereoDiffError as read_still does."""
    for count in HEADER_BYTES:
        stream.seek(0)
        try:
            pixels = _stated_pixels(stream.read(count), stream, path, max_pixels)
            return OTHER_BYTES + MOST_BYTES_PER_PIXEL * min(pixels, max_pixels)
        except ValueError as error:
            reason = error
    raise _unreadable(path, reason)


def _stated_pixels(head: bytes, stream: BinaryIO, path: Path, max_pixels: int) -> int:
    """Of an EXR, all its numbers by four. Raises ValueError where its first bytes do not tell."""
    suffix = path.suffix.lower()
    if suffix == ".exr":
        return -(-_exr_numbers(head, path, max_pixels) // 4)
    size = stated_tga_size(head) if suffix == ".tga" else stated_size(head, stream)
    if size is None:
        raise ValueError("its header is missing or damaged")
    refuse_too_large(size, max_pixels, path)
    return size[0] * size[1]


def _exr_numbers(data: bytes, path: Path, max_pixels: int) -> int:
    """In all layers; by the file's first bytes, or all. Raises ValueError or StereoDiffError "picture_too_large"."""
    size, numbers = exr.stated_size(data, path)
    refuse_too_large(size, max_pixels, path)
    if numbers > EXR_CHANNELS * max_pixels:
        raise StereoDiffError("picture_too_large", f"{path} holds {numbers / 1e6:.0f} million numbers in all its "
                                                   f"layers; the limit is {EXR_CHANNELS * max_pixels / 1e6:.0f} "
                                                   "million.")
    return numbers


def _refuse_too_large(data: bytes, suffix: str, max_pixels: int, path: Path) -> None:
    size = stated_tga_size(data) if suffix == ".tga" else stated_size(data)
    if size is None:
        raise _unreadable(path)
    refuse_too_large(size, max_pixels, path)


def _exr_color(data: bytes, path: Path, max_pixels: int) -> np.ndarray:
    """(H,W,3) float32: R, G, B of the file or of its first layer that has them; else its luminance or only channel."""
    try:
        _exr_numbers(data, path, max_pixels)
        channels = exr.channels_of(data, path, max_pixels)
    except ValueError as error:
        raise _unreadable(path, error) from error
    for layer in sorted(name.removesuffix("R") for name in channels if name == "R" or name.endswith(".R")):
        if all(layer + color in channels for color in "GB"):
            return np.stack([channels[layer + color] for color in "RGB"], axis=-1)
    for name in ("Y", "V", *(channels if len(channels) == 1 else ())):
        if name in channels:
            return np.repeat(channels[name][..., None], 3, axis=-1)
    raise StereoDiffError("clip_unreadable", f"{path} has no color channels, only {', '.join(sorted(channels))}.")


def _ffmpeg_picture(data: bytes, path: Path, max_pixels: int) -> tuple[np.ndarray, float]:
    """By the decoder that the name asks for: what else the bytes might be is not looked for."""
    decoder = av.CodecContext.create(_BY_FFMPEG[path.suffix.lower()], "r")
    decoder.options = movies.decoder_limit(max_pixels)
    try:
        picture = (decoder.decode(av.Packet(data)) or decoder.decode(None))[0]
    except av.error.MemoryError:
        raise
    except (av.error.FFmpegError, IndexError) as error:
        raise _unreadable(path, error) from error
    return movies.PictureConverter()(picture), float(decoder.sample_aspect_ratio or 1)


def _opencv_picture(data: bytes, path: Path) -> np.ndarray:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        if is_memory_error(error):
            raise
        raise _unreadable(path) from error
    if image is None:
        raise _unreadable(path)
    return image


def _display_picture(image: np.ndarray, exposure_ev: float, path: Path) -> np.ndarray:
    """OpenCV's (H,W), (H,W,3) BGR or (H,W,4) BGRA of any depth to (H,W,3) uint8 RGB."""
    image = image[..., None] if image.ndim == 2 else image
    color = np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image[..., 2::-1]
    if np.issubdtype(image.dtype, np.floating):
        return expose(color, exposure_ev)
    if image.dtype not in (np.uint8, np.uint16):
        raise _unreadable(path, f"pixels of type {image.dtype}")
    if image.dtype == np.uint16:
        color = _eight_bit(color)
    if image.shape[-1] == 4:
        return movies.over_black(color, _eight_bit(image[..., 3]))
    return np.ascontiguousarray(color)


def _eight_bit(image: np.ndarray) -> np.ndarray:
    return image if image.dtype == np.uint8 else ((image.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


def _unreadable(path: Path, reason: object = "") -> StereoDiffError:
    why = f": {reason}" if reason else ""
    return StereoDiffError("clip_unreadable", f"{path} cannot be read as a picture{why}.")
