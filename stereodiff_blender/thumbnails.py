"""Previews of jobs as icons. A job's preview shows frame and depth side by side; an icon is square, so here the depth
stands below the frame."""

from __future__ import annotations

from pathlib import Path

import bpy.utils.previews
import numpy as np

ICON_SIDE_PX = 32


class Thumbnails:
    """Pictures that panels can draw."""

    def __init__(self) -> None:
        self._pictures = bpy.utils.previews.new()

    def icon(self, picture: Path, *, is_pair: bool) -> int:
        """The icon of a picture file as it is now; 0 if there is none. is_pair: its halves belong below each other."""
        try:
            name = f"{picture}:{picture.stat().st_mtime_ns}"
        except OSError:
            return 0
        if name not in self._pictures:
            read = self._pictures.load(f"file {name}", str(picture), "IMAGE")
            self._show(name, _pixels(read), is_pair=is_pair)
        return self._pictures[name].icon_id

    def _show(self, name: str, pixels: np.ndarray, *, is_pair: bool) -> None:
        """pixels: (H,W) int32, each four bytes of colour, the lowest row first; empty if Blender cannot read it."""
        shown = self._pictures.new(name)
        if pixels.size == 0:
            return
        if is_pair:
            middle = pixels.shape[1] // 2
            pixels = np.concatenate([pixels[:, middle:2 * middle], pixels[:, :middle]])
        shown.image_size = pixels.shape[::-1]
        shown.image_pixels.foreach_set(np.ascontiguousarray(pixels).ravel())
        small = _sampled(pixels, ICON_SIDE_PX)
        shown.icon_size = small.shape[::-1]
        shown.icon_pixels.foreach_set(np.ascontiguousarray(small).ravel())

    def close(self) -> None:
        bpy.utils.previews.remove(self._pictures)


def _pixels(read: bpy.types.ImagePreview) -> np.ndarray:
    width, height = read.image_size
    pixels = np.zeros(width * height, np.int32)
    read.image_pixels.foreach_get(pixels)
    return pixels.reshape(height, width)


def _sampled(pixels: np.ndarray, side: int) -> np.ndarray:
    """Nearest pixels at (side, side)."""
    rows, columns = (((np.arange(side) + 0.5) * length / side).astype(int) for length in pixels.shape)
    return pixels[rows[:, None], columns]
