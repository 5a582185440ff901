"""Which part of an EXR's picture is there: its data window against its display window, over a whole sequence.

Blender shows the data window, whatever its place. Compositing programs lay it into the display window, which stands
still while the data window follows what is not empty. On the command line we do as those, so that a data window that
moves does no harm; what is larger than the display window all around (overscan) stays whole, as in Blender.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ..contract import StereoDiffError
from ..contract.picture_size import refuse_too_large
from .still_files import Window


class Framing:
    """How the pictures of one sequence are framed.

    data, display: windows of its first picture. in_display: laid into the display window, black outside the data; else
    the data window is the picture, and has to stay where it is in the first one.
    """

    def __init__(self, data: Window, display: Window, *, in_display: bool):
        self.in_display = in_display
        self._data, self._display = data, display

    @classmethod
    def like_compositing(cls, data: Window, display: Window,
                         others: Iterable[tuple[Window, Window] | None]) -> Framing:
        """Of the command line. others: windows of all other pictures; looked at only where the first has overscan."""
        if data != display and data.contains(display):
            return cls(data, display, in_display=any(windows != (data, display) for windows in others))
        return cls(data, display, in_display=True)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the pictures."""
        return (self._display if self.in_display else self._data).size

    def apply(self, picture: np.ndarray, data: Window, display: Window, path: Path, max_pixels: int) -> np.ndarray:
        """picture: (h,w,3) of the data window. Returns (H,W,3). Raises StereoDiffError "clip_window_moves" or
        "picture_too_large"."""
        if self.in_display:
            refuse_too_large(display.size, max_pixels, path)
            return picture if data == display else _laid_into(picture, data, display)
        if data != self._data:
            raise StereoDiffError("clip_window_moves", f"The data window of {path.name} is {_words(data)}; that of the "
                                                       f"clip's first picture is {_words(self._data)}.")
        return picture


def _laid_into(picture: np.ndarray, data: Window, display: Window) -> np.ndarray:
    """As much of the data as lies in the display window, in its place."""
    whole = np.zeros((display.height, display.width, 3), picture.dtype)
    left, top = data.left - display.left, data.top - display.top
    rows = slice(max(top, 0), min(top + data.height, display.height))
    cols = slice(max(left, 0), min(left + data.width, display.width))
    if rows.start < rows.stop and cols.start < cols.stop:
        whole[rows, cols] = picture[rows.start - top:rows.stop - top, cols.start - left:cols.stop - left]
    return whole


def _words(window: Window) -> str:
    return f"{window.width} x {window.height} at ({window.left}, {window.top})"
