"""How many pixels a picture says it has, by the first bytes of its file: known before anything is decoded.

Where a format allows to say it more than once the largest counts. Nothing is believed but the size: whether the rest
of the file is fine is the decoder's to find out.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from .errors import StereoDiffError

__all__ = ["refuse_too_large", "stated_size", "stated_size_of", "stated_tga_size"]

Size = tuple[int, int]
"""Width and height in pixels, as stored."""

_SOF_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE_MARKERS = frozenset((0x01, *range(0xD0, 0xD9)))
_TIFF_SIZES = {256: 0, 257: 1, 322: 2, 323: 3}  # ImageWidth, ImageLength, TileWidth, TileLength
_TIFF_TYPES = {3: "H", 4: "I"}
_HEAD_BYTES = _DIRECTORY_BYTES = 65_536
_BIG_TIFF_TYPES = _TIFF_TYPES | {16: "Q"}


def stated_size(data: bytes, rest: BinaryIO | None = None) -> Size | None:
    """Of a PNG, JPEG, TIFF, BMP, WebP, DPX or Cineon file; None if it is none of these or breaks off before it says so.

    Parameters
    ----------
    data : bytes
        Its first bytes, or all.
    rest : BinaryIO or None
        The whole file, in which a TIFF may have its directory anywhere; its position may change. None: data is all
        there is.

    Returns
    -------
    (int, int) or None
        Width and height in pixels, as stored.
    """
    for magic, reader in _READERS:
        if data.startswith(magic):
            return _read(reader, data if rest is None or reader is not _tiff else _with_directory(data, rest))
    return None


def stated_tga_size(data: bytes) -> Size | None:
    """Of a TGA file, which nothing but its name tells from any other; None if it breaks off before.

    Parameters
    ----------
    data : bytes
        Its first bytes, or all.

    Returns
    -------
    (int, int) or None
        Width and height in pixels, as stored.
    """
    return _read(lambda data: struct.unpack_from("<HH", data, 12), data)


def stated_size_of(path: Path) -> Size | None:
    """As stated_size, of a file; of a TGA by its name. Raises OSError."""
    with open(path, "rb") as stream:
        data = stream.read(_HEAD_BYTES)
        return stated_tga_size(data) if path.suffix.lower() == ".tga" else stated_size(data, stream)


def refuse_too_large(size: Size, max_pixels: int, path: object) -> None:
    """Refuse a picture that has more pixels than are read.

    Parameters
    ----------
    size : (int, int)
        Width and height in pixels.
    max_pixels : int
        The most that it may have, width times height.
    path : object
        Of the file, for the message.

    Raises
    ------
    StereoDiffError
        "picture_too_large".
    """
    width, height = size
    if width * height > max_pixels:
        raise StereoDiffError("picture_too_large", f"{path} has {width} x {height} pixels, {width * height / 1e6:.0f} "
                                                   f"million; the limit is {max_pixels / 1e6:.0f} million.")


def _read(reader: Callable[[bytes], Size | None], data: bytes) -> Size | None:
    try:
        return reader(data)
    except (struct.error, IndexError):
        return None


def _png(data: bytes) -> Size | None:
    return struct.unpack_from(">II", data, 16) if data[12:16] == b"IHDR" else None


def _jpeg(data: bytes) -> Size | None:
    """The first start of a frame. What stands between two markers is passed over, as decoders do."""
    at = 2
    while (at := data.find(b"\xff", at)) >= 0:
        while data[at] == 0xFF:
            at += 1
        marker, at = data[at], at + 1
        if marker in _SOF_MARKERS:
            height, width = struct.unpack_from(">HH", data, at + 3)
            return width, height
        if marker in (0xD9, 0xDA):  # the end, or the picture itself
            return None
        if marker and marker not in _BARE_MARKERS:
            at += max(struct.unpack_from(">H", data, at)[0], 2)
    return None


def _bmp(data: bytes) -> Size | None:
    if struct.unpack_from("<I", data, 14)[0] == 12:
        return struct.unpack_from("<HH", data, 18)
    width, height = struct.unpack_from("<ii", data, 18)
    return abs(width), abs(height)


def _webp(data: bytes) -> Size | None:
    kind = data[12:16]
    if data[8:12] != b"WEBP":
        return None
    if kind == b"VP8X":
        width, height = (int.from_bytes(data[at:at + 3], "little") + 1 for at in (24, 27))
        return (width, height) if len(data) >= 30 else None
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", data, 26)
    return (width & 0x3FFF, height & 0x3FFF) if kind == b"VP8 " else None


def _dpx(data: bytes) -> Size | None:
    return struct.unpack_from((">" if data.startswith(b"SDPX") else "<") + "II", data, 772)


def _cineon(data: bytes) -> Size | None:
    """Of the first channel, as decoders take it."""
    return struct.unpack_from((">" if data.startswith(b"\x80") else "<") + "II", data, 200)


def _tiff(data: bytes) -> Size | None:
    """Of the first picture; that of a tile if it claims to be larger than the picture."""
    sides = [0, 0, 0, 0]
    for place, side in _tiff_sides(data):
        if side is None:
            return None
        sides[place] = max(sides[place], side)
    width, height, tile_width, tile_height = sides
    if not (width and height):
        return None
    return max((width, height), (tile_width, tile_height), key=lambda size: size[0] * size[1])


def _tiff_sides(data: bytes) -> Iterator[tuple[int, int | None]]:
    """Place and value of the sides that the first directory names; None for one in a form that nobody writes.

    Decoders know more forms, some of them with the value elsewhere, and of two entries take the one that comes first.
    """
    order, is_big, place = _directory_of(data)
    (count,) = struct.unpack_from(order + ("Q" if is_big else "H"), data, place)
    first, step, value_at = (place + 8, 20, 12) if is_big else (place + 2, 12, 8)
    types = _BIG_TIFF_TYPES if is_big else _TIFF_TYPES
    for entry in range(first, min(first + count * step, len(data)), step):
        tag, kind = struct.unpack_from(order + "HH", data, entry)
        if tag in _TIFF_SIZES:
            form = types.get(kind)
            side = None if form is None else struct.unpack_from(order + form, data, entry + value_at)[0]
            yield _TIFF_SIZES[tag], side


def _directory_of(data: bytes) -> tuple[str, bool, int]:
    """Order of the bytes of a TIFF, whether it is a big one, and where its first directory is."""
    order = "<" if data.startswith(b"II") else ">"
    is_big = struct.unpack_from(order + "H", data, 2)[0] == 43
    return order, is_big, struct.unpack_from(order + ("Q" if is_big else "I"), data, 8 if is_big else 4)[0]


def _with_directory(data: bytes, rest: BinaryIO) -> bytes:
    """A TIFF's first bytes as if its directory came right after them. Where it is in them already, as they are."""
    try:
        order, is_big, place = _directory_of(data)
    except struct.error:
        return data
    if place + _DIRECTORY_BYTES <= len(data):
        return data
    try:
        rest.seek(place)
    except (OSError, OverflowError):  # beyond what any file can have
        return data
    before, form, start = (8, "Q", 16) if is_big else (4, "I", 8)
    return data[:before] + struct.pack(order + form, start) + rest.read(_DIRECTORY_BYTES)


_READERS = (
    (b"\x89PNG\r\n\x1a\n", _png), (b"\xff\xd8", _jpeg), (b"II*\0", _tiff), (b"MM\0*", _tiff), (b"II+\0", _tiff),
    (b"MM\0+", _tiff), (b"BM", _bmp), (b"RIFF", _webp), (b"SDPX", _dpx), (b"XPDS", _dpx),
    (b"\x80\x2a\x5f\xd7", _cineon), (b"\xd7\x5f\x2a\x80", _cineon),
)
