"""The engine's point files, read as if they came from a stranger: what is not exactly as expected is refused."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ...engine.contract import StereoDiffError
from ...engine.contract.guarded_files import GuardedFolder

MOST_POINTS = 5_000_000  # a hundred times what a solve has; they take half a gigabyte on their way into Blender
FARTHEST = 1e9  # beyond, single precision and Blender's views fail
LONGEST_HEADER = 2048
POINT = np.dtype([("position", "<f4", 3), ("color", "u1", 3)])
PROPERTIES = (*(f"property float {axis}" for axis in "xyz"),
              *(f"property uchar {color}" for color in ("red", "green", "blue")))
END = b"end_header\n"


def read_ply(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Positions (N,3) float64 and colors (N,3) uint8, sRGB, of a binary little-endian PLY of colored points.

    The header must name just these six properties and the very number of points that the file holds, at most
    MOST_POINTS. Raises StereoDiffError "result_invalid" for anything else, and before any of it is read.
    """
    try:
        with GuardedFolder(path.parent).open_for_reading(path.name) as stream:
            start = stream.read(LONGEST_HEADER)
            count = _point_count(start, path)
            begin = start.index(END) + len(END)
            held = os.fstat(stream.fileno()).st_size - begin
            if held != count * POINT.itemsize:
                raise _refused(path, f"its header promises {count} points, which its {held} bytes do not make")
            stream.seek(begin)
            table = np.fromfile(stream, POINT, count)
    except OSError as error:
        raise _refused(path, error.strerror or str(error)) from error
    positions = table["position"].astype(np.float64)
    if not (np.abs(positions) <= FARTHEST).all():  # false for what is not a number, too
        raise _refused(path, "some of its points are nowhere")
    return positions, table["color"]


def _point_count(start: bytes, path: Path) -> int:
    header, end, _ = start.partition(END)
    if not end:
        raise _refused(path, "it has no header of a point file")
    lines = [line for line in header.decode("latin-1").split("\n") if not line.startswith("comment ")]
    words = lines[2].split(" ") if len(lines) > 2 else []
    expected = ["ply", "format binary_little_endian 1.0", lines[2] if words[:2] == ["element", "vertex"] else None,
                *PROPERTIES, ""] if words else []
    if lines != expected or len(words) != 3 or not (words[2].isascii() and words[2].isdigit()):
        raise _refused(path, "it is laid out in another way than the engine writes")
    if len(words[2]) > 12 or int(words[2]) > MOST_POINTS:
        raise _refused(path, f"it claims {words[2][:12]} points, more than {MOST_POINTS}")
    return int(words[2])


def _refused(path: Path, reason: str) -> StereoDiffError:
    return StereoDiffError("result_invalid", f"{path.name} was not read: {reason}.")
