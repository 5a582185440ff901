"""Float images in OpenEXR files, in and out.

Files are encoded in memory and written by Python: OpenEXR reports every failed write with the same RuntimeError,
the operating system says whether the disk is full or the folder locked.

A single channel is named "V": Blender's image loader shows "V", "Y" and "R" as gray, and reads zeros or
uninitialized memory from a file whose only channel is "Z" or "depth" (Blender 4.2 to 5.0).
"""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import OpenEXR

from ..storage import Target, write_bytes

__all__ = ["GRAY_CHANNEL", "channels_of", "read_exr", "stated_size", "write_exr", "write_gray"]

MAGIC = b"\x76\x2f\x31\x01"
GRAY_CHANNEL = "V"
MAX_PIXELS = 2**28  # 16384 x 16384; a header that claims more is damaged or hostile
_MAX_LINES_PER_CHUNK = 256
_CHUNK_OVERHEAD_BYTES = 16  # an entry in the offset table, and the chunk's own line number and size


def write_exr(path: Target, channels: dict[str, np.ndarray],
              attributes: dict[str, str] | None = None) -> None:
    """Write channels as float, ZIP compressed. Same input, same bytes.

    Parameters
    ----------
    path : Target
        Where to; a file that is there is replaced.
    channels : dict of str to ndarray
        By the channel's name, (H,W), row 0 at the top. float16 is written as half, all else as 32-bit float.
    attributes : dict of str to str, or None
        Texts for the header, for people and other programs.

    Raises
    ------
    ValueError
        Channels that are no images of one size.
    StereoDiffError
        "disk_full", "output_not_writable" or, of a guarded file, "job_folder_unsafe".
    """
    shapes = {image.shape for image in channels.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 2 or 0 in next(iter(shapes)):
        raise ValueError(f"EXR channels must be images of one size, got shapes {sorted(shapes)}")
    header = {**(attributes or {}), "compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    pixels = {name: np.ascontiguousarray(image, np.float16 if image.dtype == np.float16 else np.float32)
              for name, image in channels.items()}
    stream = io.BytesIO()
    with OpenEXR.File(header, pixels) as file:
        file.write(stream)
    write_bytes(path, stream.getbuffer())


def write_gray(path: Target, image: np.ndarray, attributes: dict[str, str] | None = None) -> None:
    """Write one image as the channel Blender reads back exactly.

    Parameters
    ----------
    path : Target
        Where to; a file that is there is replaced.
    image : ndarray
        (H,W), written as 32-bit float, row 0 at the top.
    attributes : dict of str to str, or None
        Texts for the header, for people and other programs.

    Raises
    ------
    ValueError
        The image is not (H,W), or has no pixels.
    StereoDiffError
        "disk_full", "output_not_writable" or, of a guarded file, "job_folder_unsafe".
    """
    write_exr(path, {GRAY_CHANNEL: image}, attributes)


def read_exr(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Every channel of the data window of a file's first part.

    Parameters
    ----------
    path : str or PathLike
        The file.

    Returns
    -------
    dict of str to ndarray
        By the channel's name, (H,W) float32, row 0 at the top.

    Raises
    ------
    ValueError
        A damaged file, or subsampled channels.
    OSError
        The file cannot be read.
    """
    return channels_of(Path(path).read_bytes(), path)


def channels_of(data: bytes, path: str | os.PathLike, max_pixels: int = MAX_PIXELS) -> dict[str, np.ndarray]:
    """As read_exr, of a file's bytes.

    Parameters
    ----------
    data : bytes
        All of the file.
    path : str or PathLike
        Of the file, for words.
    max_pixels : int
        Of a picture; a larger one is not decoded.

    Returns
    -------
    dict of str to ndarray
        By the channel's name, (H,W) float32, row 0 at the top.

    Raises
    ------
    ValueError
        A damaged file, subsampled channels, or more pixels.
    """
    width, height = _checked_size(_headers(data, path)[0], len(data), path, max_pixels)
    try:
        with OpenEXR.File(io.BytesIO(data), separate_channels=True) as file:
            channels = {name: np.array(channel.pixels, dtype=np.float32) for name, channel in file.channels().items()}
    except (ArithmeticError, RuntimeError, TypeError, ValueError) as error:  # arithmetic: a fraction over 0
        raise ValueError(f"{path} is no readable EXR file: {error}") from error
    for name, image in channels.items():
        if image.shape != (height, width):
            raise ValueError(f"{path}: channel {name!r} does not have one value a pixel")
    return channels


def stated_size(data: bytes, path: str | os.PathLike) -> tuple[tuple[int, int], int]:
    """How large a file's pictures are, by its headers.

    Parameters
    ----------
    data : bytes
        All of the file.
    path : str or PathLike
        Of the file, for words.

    Returns
    -------
    tuple of tuple and int
        Width and height of the first part's data window, and how many numbers all parts hold.

    Raises
    ------
    ValueError
        A damaged file.
    """
    headers = _headers(data, path)
    values = sum(width * height * len(header.get("channels", ())) for header in headers
                 for width, height in [_window(header)])
    return _window(headers[0]), values


def read_pixel_aspect(path: str | os.PathLike) -> float:
    """Width / height of a pixel by the file's header; 1 if it says nothing usable. Errors as read_exr."""
    return pixel_aspect_of(Path(path).read_bytes(), path)


def pixel_aspect_of(data: bytes, path: str | os.PathLike) -> float:
    """The same, of a file's bytes."""
    aspect = float(_headers(data, path)[0].get("pixelAspectRatio", 1.0))
    return aspect if np.isfinite(aspect) and aspect > 0 else 1.0


def _headers(data: bytes, path) -> list[dict]:
    """Of all parts; there is at least one."""
    try:
        with OpenEXR.File(io.BytesIO(data), separate_channels=True, header_only=True) as file:
            return [dict(file.header()), *(dict(part.header) for part in file.parts[1:])]
    except (ArithmeticError, RuntimeError, TypeError, ValueError) as error:  # arithmetic: a fraction over 0
        raise ValueError(f"{path} is no readable EXR file: {error}") from error


def _window(header: dict) -> tuple[int, int]:
    low, high = header["dataWindow"]
    width, height = (max(int(b) - int(a) + 1, 0) for a, b in zip(low, high, strict=True))
    return width, height


def _checked_size(header: dict, file_bytes: int, path, max_pixels: int) -> tuple[int, int]:
    """Width and height of the data window, if the file can hold them: damage must not ask for all memory."""
    width, height = _window(header)
    least_bytes = -(-height // _MAX_LINES_PER_CHUNK) * _CHUNK_OVERHEAD_BYTES
    if not (width > 0 and height > 0 and width * height <= max_pixels and file_bytes >= least_bytes):
        raise ValueError(f"{path} claims {width} x {height} pixels, which its {file_bytes} bytes cannot hold")
    return width, height
