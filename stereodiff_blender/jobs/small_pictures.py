"""Previews made small beside Blender, for icons: its own way to a picture file keeps its thread for 50 ms and more.

A PNG of 8-bit colors, as previews are, is decoded here with NumPy. Every value depends on those to its left and above
it, so values are worked out along diagonals, which depend on nothing among themselves. No bpy.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np

from ..engine.contract import JobFolder, StereoDiffError
from ..engine.contract.job_files.result_checks import MAX_SHOWN_BYTES, check_shown
from ..engine.contract.job_files.turns import taking_turns

MAX_SIDE_PX = 256
MAX_PIXELS = 20_000_000
MAX_DIAGONAL_PIXELS = 5 * MAX_PIXELS
"""Of the arrays that a picture is worked out in: the narrower it is, the more of them stays empty."""
_CHANNELS = {2: 3, 6: 4}
"""By the color type of a PNG: RGB, and RGB with alpha."""
_FILTERS = 5
"""Of the lines of a PNG: none, left, above, their mean, and Paeth's."""


def read_small(folder: JobFolder, name: str) -> np.ndarray:
    """A picture of a job folder, (H,W,3) uint8, row 0 at the top, neither side longer than MAX_SIDE_PX.

    Raises StereoDiffError "result_invalid" for what is no PNG of 8-bit colors or too large.
    """
    header = check_shown(folder.files, name)
    try:
        diagonal_pixels = (header.width + header.height) * header.height
        if header.width * header.height > MAX_PIXELS or diagonal_pixels > MAX_DIAGONAL_PIXELS:
            raise ValueError(f"it has {header.width} x {header.height} pixels")
        data = folder.files.read_bytes(name, MAX_SHOWN_BYTES)
        return reduced(decode_png(data))
    except (OSError, ValueError, struct.error, zlib.error) as error:
        raise StereoDiffError("result_invalid", f"{name} was not read: {error}") from error


def reduced(picture: np.ndarray, most_px: int = MAX_SIDE_PX) -> np.ndarray:
    """(H,W,3) uint8 with sides of most_px at most: means of square blocks; a rest at the right and below is left."""
    side = -(-max(picture.shape[:2]) // most_px)
    height, width = (max(length // side, 1) for length in picture.shape[:2])
    if side == 1 or min(picture.shape[:2]) < side:
        return picture[::side, ::side]
    blocks = picture[:height * side, :width * side].reshape(height, side, width, side, 3)
    return np.rint(blocks.mean(axis=(1, 3), dtype=np.float32)).astype(np.uint8)


def decode_png(data: bytes) -> np.ndarray:
    """(H,W,3) uint8. Raises ValueError, struct.error or zlib.error for anything but whole PNGs of 8-bit colors."""
    chunks = _chunks(data)
    width, height, depth, colors, *ways = struct.unpack(">IIBBBBB", next(chunks)[1])
    if depth != 8 or colors not in _CHANNELS or any(ways):
        raise ValueError("it has other colors than 8-bit ones, or is interlaced")
    length = width * _CHANNELS[colors] + 1
    packed = b"".join(content for kind, content in chunks if kind == b"IDAT")
    lines = zlib.decompressobj().decompress(packed, length * height)
    if len(lines) != length * height:
        raise ValueError("it has fewer pixels than it says")
    table = np.frombuffer(lines, np.uint8).reshape(height, length)
    if table[:, 0].max() >= _FILTERS:
        raise ValueError("a line has an unknown filter")
    return _unfiltered(table[:, 1:].reshape(height, width, -1)[..., :3], table[:, 0])


def _chunks(data: bytes):
    """(kind, content) of each. Sums are not looked at: a damaged picture is a damaged picture."""
    at = 8
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        yield kind, data[at + 8:at + 8 + length]
        at += 12 + length


def _unfiltered(lines: np.ndarray, filters: np.ndarray) -> np.ndarray:
    """Values (H,W,3) uint8 from what a PNG stores: differences to what its line's filter expects. filters: (H,)."""
    height, width, channels = lines.shape
    of = [(filters == number)[:, None] for number in range(_FILTERS)]
    # Diagonal d holds the pixels of row r and column d - r; one row and two diagonals of zeros stand before the first.
    stored = np.zeros((height + width - 1, height, channels), np.uint8)
    values = np.zeros((height + width + 1, height + 1, channels), np.uint8)
    for row in range(height):
        stored[row:row + width, row] = lines[row]
    for diagonal in taking_turns(range(height + width - 1)):
        rows = slice(max(0, diagonal - width + 1), min(height, diagonal + 1))
        before = values[diagonal:diagonal + 2, rows.start:rows.stop + 1].astype(np.int16)
        left, up, corner = before[1, 1:], before[1, :-1], before[0, :-1]
        expected = left * of[1][rows] + up * of[2][rows] + ((left + up) >> 1) * of[3][rows]
        expected += _paeth(left, up, corner) * of[4][rows]
        values[diagonal + 2, rows.start + 1:rows.stop + 1] = stored[diagonal, rows] + expected & 255
    return np.stack([values[row + 2:row + 2 + width, row + 1] for row in range(height)])


def _paeth(left: np.ndarray, up: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """Of the three neighbors, the one nearest to left + up - corner."""
    to_left, to_up = np.abs(up - corner), np.abs(left - corner)
    to_corner = np.abs(left + up - 2 * corner)
    nearer = np.where(to_up <= to_corner, up, corner)
    return np.where((to_left <= to_up) & (to_left <= to_corner), left, nearer)
