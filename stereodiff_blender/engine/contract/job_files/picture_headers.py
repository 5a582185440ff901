"""What picture files say about themselves before anybody decodes them: a header of a few bytes may ask for any memory.

PNG, JPEG and EXR: what results are made of, and what a clip may be that they name. No bpy.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

__all__ = ["PictureHeader", "read_header"]

MAX_PIXELS = 2 ** 28
"""16384 x 16384, as the engine has it for what it reads."""
_READ_BYTES = (1024, 15_000, 1_000_000)
"""One after the other, if what was read is not enough: notes of any length may stand before the size."""
_PNG, _JPEG, _EXR = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"\x76\x2f\x31\x01"
_JPEG_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_EXR_PLAIN = 0x02 | 0x400
"""Version 2, one part, lines; names may be long. Tiles, deep pixels and several parts are none of ours."""


@dataclass(frozen=True)
class PictureHeader:
    """kind: "png", "jpeg" or "exr". width, height: of an EXR whose pixels are a part of its picture, of the larger.
    channels: of an EXR, their number, else 0. length: of an EXR, bytes of its header, else 0. data_window,
    display_window: of an EXR, left, top, right and bottom pixel of what it holds and of the format it is made for.
    """

    kind: str
    width: int
    height: int
    channels: int = 0
    length: int = 0
    data_window: tuple[int, ...] = ()
    display_window: tuple[int, ...] = ()


def read_header(stream: BinaryIO) -> PictureHeader | None:
    """What a picture's header says.

    Parameters
    ----------
    stream : BinaryIO
        At the file's beginning.

    Returns
    -------
    PictureHeader or None
        None if it is of none of these kinds.

    Raises
    ------
    ValueError
        The header is damaged.
    """
    data = stream.read(_READ_BYTES[0])
    readers = {_PNG: _png_header, _JPEG: _jpeg_header, _EXR: _exr_header}
    reader = next((reader for sign, reader in readers.items() if data.startswith(sign)), None)
    if reader is None:
        return None
    for more in (*_READ_BYTES[1:], 0):
        try:
            header = reader(data)
            break
        except (ValueError, struct.error) as error:  # perhaps it is longer than that
            if not more:
                raise ValueError("its header is damaged or of an odd kind") from error
            data += stream.read(more)
    if header.width < 1 or header.height < 1:
        raise ValueError("its header has no size")
    return header


def _png_header(data: bytes) -> PictureHeader:
    if data[12:16] != b"IHDR":
        raise ValueError("IHDR is missing")
    return PictureHeader("png", *struct.unpack_from(">II", data, 16))


def _jpeg_header(data: bytes) -> PictureHeader:
    at = 2
    while True:
        sign, marker, length = struct.unpack_from(">BBH", data, at)
        if sign != 0xFF:
            raise ValueError("a marker is missing")
        if marker in _JPEG_SIZES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return PictureHeader("jpeg", width, height)
        at += 1 if marker == 0xFF else 2 + length


def _exr_header(data: bytes) -> PictureHeader:
    if struct.unpack_from("<I", data, 4)[0] & ~_EXR_PLAIN:
        raise ValueError("tiles, deep pixels or several parts")
    attributes, at = {}, 8
    while data[at:at + 1] != b"\0":
        name, at = _text_at(data, at)
        _, at = _text_at(data, at)
        begin, at = at + 4, at + 4 + struct.unpack_from("<I", data, at)[0]
        attributes[name] = data[begin:at]
    windows = [struct.unpack("<4i", attributes.get(name, b"")) for name in (b"dataWindow", b"displayWindow")]
    width, height = (max(window[i + 2] - window[i] + 1 for window in windows) for i in range(2))
    return PictureHeader("exr", width, height, _channel_count(attributes.get(b"channels", b"")), at + 1, *windows)


def _channel_count(channels: bytes) -> int:
    count, at = 0, 0
    while channels[at:at + 1] != b"\0":
        _, at = _text_at(channels, at)
        if struct.unpack_from("<2i", channels, at + 8) != (1, 1):
            raise ValueError("a channel has not one value a pixel")
        count, at = count + 1, at + 16
    return count


def _text_at(data: bytes, at: int) -> tuple[bytes, int]:
    """A text that ends with a zero, and where the next thing begins. Raises ValueError if it has no end."""
    end = data.index(b"\0", at)
    return data[at:end], end + 1
