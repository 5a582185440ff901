"""Float images in OpenEXR files, in and out.

Files are encoded in memory and written by Python: OpenEXR reports every failed write with the same RuntimeError,
the operating system says whether the disk is full or the folder locked.

A single channel is named "V": Blender's image loader shows "V", "Y" and "R" as grey, and reads zeros or
uninitialised memory from a file whose only channel is "Z" or "depth" (Blender 4.2 to 5.0).
"""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import OpenEXR

from .outputs import Place, write_bytes

GRAY_CHANNEL = "V"
MAX_PIXELS = 2**28  # 16384 x 16384; a header that claims more is damaged or hostile
_MAX_LINES_PER_CHUNK = 256
_CHUNK_OVERHEAD_BYTES = 16  # an entry in the offset table, and the chunk's own line number and size


def write_exr(path: Place, channels: dict[str, np.ndarray],
              attributes: dict[str, str] | None = None) -> None:
    """Write channels {name: (H,W)} as 32-bit float, ZIP compressed, row 0 at the top. Same input, same bytes.

    attributes: texts for the header, for people and other programs.
    Raises ValueError on channels that are no images of one size; StereoDiffError "disk_full" or
    "output_not_writable".
    """
    shapes = {image.shape for image in channels.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 2 or 0 in next(iter(shapes)):
        raise ValueError(f"EXR channels must be images of one size, got shapes {sorted(shapes)}")
    header = {**(attributes or {}), "compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    pixels = {name: np.ascontiguousarray(image, dtype=np.float32) for name, image in channels.items()}
    stream = io.BytesIO()
    with OpenEXR.File(header, pixels) as file:
        file.write(stream)
    write_bytes(path, stream.getbuffer())


def write_gray(path: Place, image: np.ndarray, attributes: dict[str, str] | None = None) -> None:
    """Write one (H,W) image as the channel Blender reads back exactly. Errors as write_exr."""
    write_exr(path, {GRAY_CHANNEL: image}, attributes)


def read_exr(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Every channel {name: (H,W) float32} of the data window of a file's first part.

    Raises ValueError on a damaged file or subsampled channels; OSError if the file cannot be read.
    """
    data = Path(path).read_bytes()
    width, height = _checked_size(_header(data, path), len(data), path)
    try:
        with OpenEXR.File(io.BytesIO(data), separate_channels=True) as file:
            channels = {name: np.array(channel.pixels, dtype=np.float32) for name, channel in file.channels().items()}
    except (RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no readable EXR file: {error}") from error
    for name, image in channels.items():
        if image.shape != (height, width):
            raise ValueError(f"{path}: channel {name!r} does not have one value a pixel")
    return channels


def read_pixel_aspect(path: str | os.PathLike) -> float:
    """Width / height of a pixel by the file's header; 1 if it says nothing usable. Errors as read_exr."""
    aspect = float(_header(Path(path).read_bytes(), path).get("pixelAspectRatio", 1.0))
    return aspect if np.isfinite(aspect) and aspect > 0 else 1.0


def _header(data: bytes, path) -> dict:
    try:
        with OpenEXR.File(io.BytesIO(data), separate_channels=True, header_only=True) as file:
            return dict(file.header())
    except (RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no readable EXR file: {error}") from error


def _checked_size(header: dict, file_bytes: int, path) -> tuple[int, int]:
    """Width and height of the data window, if the file can hold them: damage must not ask for all memory."""
    low, high = header["dataWindow"]
    width, height = (int(b) - int(a) + 1 for a, b in zip(low, high, strict=True))
    least_bytes = -(-height // _MAX_LINES_PER_CHUNK) * _CHUNK_OVERHEAD_BYTES
    if not (width > 0 and height > 0 and width * height <= MAX_PIXELS and file_bytes >= least_bytes):
        raise ValueError(f"{path} claims {width} x {height} pixels, which its {file_bytes} bytes cannot hold")
    return width, height
