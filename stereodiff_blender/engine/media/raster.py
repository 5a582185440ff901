"""What a clip is, and the raster that it is worked on."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..contract import MIN_SIDE_PX, StereoDiffError, plate_scale
from ..contract.sizes import is_finer_plate, plate_size, working_size


@dataclass(frozen=True)
class ClipInfo:
    """width, height: stored pixels as displayed (after rotation metadata). pixel_aspect: width / height of one. fps: 0
    where neither the clip nor its files say.

    frame_count: clip frames 1 to frame_count exist (a sequence may have gaps among them).
    """

    width: int
    height: int
    pixel_aspect: float
    fps: float
    frame_count: int


@dataclass(frozen=True)
class Raster:
    """The working size, and the clip it stands for. Both cover the same picture, edge to edge."""

    width: int
    height: int
    clip_width: int
    clip_height: int
    clip_pixel_aspect: float

    @property
    def pixel_aspect(self) -> float:
        """Width / height of one raster pixel: (clip_width * clip_pixel_aspect / width) / (clip_height / height).

        1 but for the rounding of the sides. A lens of focal length f in horizontal raster pixels has f * pixel_aspect
        in vertical ones.
        """
        return self.clip_width * self.clip_pixel_aspect / self.width / (self.clip_height / self.height)

    @property
    def plate_size(self) -> tuple[int, int]:
        """Width and height of the plate's pictures, as contract.sizes has it."""
        return plate_size((self.clip_width, self.clip_height))

    @property
    def is_finer_plate(self) -> bool:
        """Whether the plate shows clearly more than the raster."""
        return is_finer_plate((self.width, self.height), self.plate_size)

    @property
    def plate_scale(self) -> float:
        """Pixels of the clip in one of the raster, as contract.plate_scale has it."""
        return plate_scale((self.width, self.height), (self.clip_width, self.clip_height))


def plan_raster(info: ClipInfo, max_side_px: int, max_enlargement: float = 1.0) -> Raster:
    """A raster with square pixels up to rounding, its longest side at most max_side_px.

    Parameters
    ----------
    info : ClipInfo
        The clip.
    max_side_px : int
        In pixels of the raster.
    max_enlargement : float
        Of the sides of a clip that is smaller than that; 1 = never.

    Returns
    -------
    Raster
        Of the same picture as the clip, edge to edge.

    Raises
    ------
    StereoDiffError
        "clip_too_small": a side would have fewer than MIN_SIDE_PX pixels.
    """
    width, height = working_size((info.width, info.height), info.pixel_aspect, max_side_px, max_enlargement)
    if min(width, height) < MIN_SIDE_PX:
        raise StereoDiffError("clip_too_small", f"A clip of {info.width} x {info.height} pixels is worked on at "
                                                f"{width} x {height}; each side needs {MIN_SIDE_PX} or more.")
    return Raster(width, height, info.width, info.height, info.pixel_aspect)


def to_raster(picture: np.ndarray, raster: Raster) -> np.ndarray:
    """A picture of the clip on the raster.

    Parameters
    ----------
    picture : ndarray
        (clip_height,clip_width,3) uint8.
    raster : Raster
        That it is brought to.

    Returns
    -------
    ndarray
        (height,width,3) uint8, area-averaged where it shrinks and bicubic where it grows; the picture itself where it
        does neither.
    """
    return _resized(picture, (raster.width, raster.height))


def to_plate(picture: np.ndarray, raster: Raster) -> np.ndarray:
    """A picture of the clip as tracked points are measured in it.

    Parameters
    ----------
    picture : ndarray
        (clip_height,clip_width,3) uint8 sRGB.
    raster : Raster
        Its plate_size is that of the plate.

    Returns
    -------
    ndarray
        (h,w) uint8 gray.
    """
    return _resized(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), raster.plate_size)


def _resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """size: width, height."""
    height, width = picture.shape[:2]
    if (width, height) == size:
        return picture
    grows = size[0] > width or size[1] > height
    return cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC if grows else cv2.INTER_AREA)
