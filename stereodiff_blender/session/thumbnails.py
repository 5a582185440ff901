"""Previews of jobs as icons. Their pixels come from elsewhere: reading a picture file would keep Blender waiting."""

from __future__ import annotations

import bpy.utils.previews
import numpy as np

ICON_SIDE_PX = 32


class Thumbnails:
    """Pictures that panels can draw, one for each name. pictures: of Blender, by names of their own."""

    def __init__(self) -> None:
        self.pictures = bpy.utils.previews.new()
        self._count = 0
        self._current: dict[str, str] = {}

    def show(self, name: str, picture: np.ndarray) -> int:
        """The icon of a picture, in place of an earlier one of that name.

        picture: (H,W) int32, each four bytes of color, the lowest row first.
        """
        self.forget(name)
        if picture.size == 0:
            return 0
        self._count += 1
        key = self._current[name] = f"{self._count}:{name}"  # Blender may still hold the last one of the same name
        shown, small = self.pictures.new(key), _sampled(picture, ICON_SIDE_PX)
        shown.image_size, shown.icon_size = picture.shape[::-1], small.shape[::-1]
        shown.image_pixels.foreach_set(np.ascontiguousarray(picture).ravel())
        shown.icon_pixels.foreach_set(np.ascontiguousarray(small).ravel())
        return shown.icon_id

    def forget(self, name: str) -> None:
        """No longer keep the picture of that name, if there is one."""
        key = self._current.pop(name, None)
        if key is not None:
            del self.pictures[key]

    def close(self) -> None:
        bpy.utils.previews.remove(self.pictures)


def _sampled(pixels: np.ndarray, side: int) -> np.ndarray:
    """Nearest pixels at (side, side)."""
    rows, columns = (((np.arange(side) + 0.5) * length / side).astype(int) for length in pixels.shape)
    return pixels[rows[:, None], columns]
