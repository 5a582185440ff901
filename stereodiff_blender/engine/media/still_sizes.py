"""How large a picture's file may be, and its picture: asked of its header, before anything of it is decoded."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from ..contract import StereoDiffError
from ..contract.picture_size import refuse_too_large, stated_size, stated_tga_size
from . import exr
from .footage_file import read_file, read_head

MOST_BYTES_PER_PIXEL, OTHER_BYTES = 32, 64_000_000
"""Four doubles; and what a file may hold besides its pixels."""
HEADER_BYTES = (65_536, 16_000_000)
"""One after the other, until they say how large the picture is."""
CINEON_ORDERS = {b"\x80\x2a\x5f\xd7": ">", b"\xd7\x5f\x2a\x80": "<"}
"""How the files begin -> in which order their bytes are."""
EXR_CHANNELS = 8
"""Numbers for each pixel of the largest picture that the layers of an EXR may hold together."""


def checked_head(path: Path, max_pixels: int) -> bytes:
    """The first bytes of a file that may be decoded. Raises StereoDiffError "clip_missing", "clip_empty",
    "picture_too_large" or "clip_unreadable"."""
    head = read_head(path, lambda stream: _most_bytes(stream, path, max_pixels), HEADER_BYTES[0])
    if head[:4] in CINEON_ORDERS:
        _refuse_cut_cineon(path, head)
    return head


def read_whole(path: Path, max_pixels: int) -> bytes:
    """All of it. Errors as checked_head."""
    return read_file(path, lambda stream: _most_bytes(stream, path, max_pixels))


def _refuse_cut_cineon(path: Path, head: bytes) -> None:
    """OpenImageIO reads one that breaks off as if black followed."""
    try:
        order, channels, bits = CINEON_ORDERS[head[:4]], head[193], head[198]
        begin, (width, height) = *struct.unpack_from(f"{order}I", head, 4), struct.unpack_from(f"{order}II", head, 200)
    except (struct.error, IndexError) as error:
        raise unreadable(path, "its header breaks off") from error
    line = -(-width * channels // 3) * 4 if bits == 10 else width * channels * bits // 8
    if path.stat().st_size < begin + line * height:
        raise unreadable(path, "it breaks off before its picture ends")


def _most_bytes(stream: BinaryIO, path: Path, max_pixels: int) -> int:
    """What a picture of the size that its header states may take. Raises StereoDiffError as checked_head does."""
    for count in HEADER_BYTES:
        stream.seek(0)
        try:
            pixels = _stated_pixels(stream.read(count), stream, path, max_pixels)
            return OTHER_BYTES + MOST_BYTES_PER_PIXEL * min(pixels, max_pixels)
        except ValueError as error:
            reason = error
    raise unreadable(path, reason)


def _stated_pixels(head: bytes, stream: BinaryIO, path: Path, max_pixels: int) -> int:
    """Of an EXR, all its numbers by four. Raises ValueError where its first bytes do not tell."""
    if head.startswith(exr.MAGIC):
        return -(-_exr_numbers(head, path, max_pixels) // 4)
    size = stated_size(head, stream)
    if size is None and path.suffix.lower() == ".tga":
        size = stated_tga_size(head)
    if size is None:
        raise ValueError("its header is missing or damaged")
    refuse_too_large(size, max_pixels, path)
    return size[0] * size[1]


def _exr_numbers(data: bytes, path: Path, max_pixels: int) -> int:
    """In all layers, by the file's first bytes. Raises ValueError or StereoDiffError "picture_too_large"."""
    size, numbers = exr.stated_size(data, path)
    refuse_too_large(size, max_pixels, path)
    if numbers > EXR_CHANNELS * max_pixels:
        raise StereoDiffError("picture_too_large", f"{path} holds {numbers / 1e6:.0f} million numbers in all its "
                                                   f"layers; the limit is {EXR_CHANNELS * max_pixels / 1e6:.0f} "
                                                   "million.")
    return numbers


def unreadable(path: Path, reason: object = "") -> StereoDiffError:
    """That a file is no picture, and why."""
    why = f": {str(reason).strip()}" if reason else ""
    return StereoDiffError("clip_unreadable", f"{path} cannot be read as a picture{why}.")
