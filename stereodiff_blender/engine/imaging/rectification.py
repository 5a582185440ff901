"""Pictures without their lens's distortion, and what was measured in them brought back to the plate as it was shot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from ..contract import Distortion
from ..lens import distorted, undistorted

MOST_MARGIN = 0.3
"""Of the plate's side; what a strong barrel or a fisheye would have beyond is cut off."""
OUTLINE_PLACES = 200
SAME_SURFACE = 0.03
"""Relative difference of depth, interpolated to nearest, from which two surfaces meet there."""

NO_MORE_MAPS: Any = None
"""x and y are in one; OpenCV takes that, but its types do not say so."""


@dataclass(frozen=True)
class Rectification:
    """Between a plate and the ideal raster around it, on which a pinhole camera would have shown the same.

    margins: (left, right, top, bottom) pixels that the ideal raster has beyond the plate's, 0 or more.
    plate: (h,w,2) float32, where the plate shows each ideal pixel; ideal: (H,W,2), where the ideal raster has each of
    the plate's. Both in array coordinates, centers at whole numbers.
    """

    margins: tuple[int, int, int, int]
    plate: np.ndarray
    ideal: np.ndarray

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the ideal raster."""
        height, width = self.plate.shape[:2]
        return height, width

    def in_plate(self) -> np.ndarray:
        """(h,w) bool: ideal pixels that the plate shows; the others hold what is nearest to them."""
        height, width = self.ideal.shape[:2]
        x, y = np.moveaxis(self.plate, -1, 0)
        return (x > -0.5) & (y > -0.5) & (x < width - 0.5) & (y < height - 0.5)

    def in_ideal(self) -> np.ndarray:
        """(H,W) bool: pixels of the plate that the ideal raster has; the others are shown what is nearest to them."""
        height, width = self.size
        x, y = np.moveaxis(self.ideal, -1, 0)
        return (x > -0.5) & (y > -0.5) & (x < width - 0.5) & (y < height - 0.5)

    def rectified(self, picture: np.ndarray) -> np.ndarray:
        """(h,w,3) uint8 of the plate's (H,W,3)."""
        return cv2.remap(np.ascontiguousarray(picture), self.plate, NO_MORE_MAPS, cv2.INTER_CUBIC,
                         borderMode=cv2.BORDER_REPLICATE)

    def rectified_mask(self, mask: np.ndarray) -> np.ndarray:
        """(h,w) of the plate's (H,W), bool, uint8 or float: pixel for pixel."""
        plain = np.ascontiguousarray(mask)
        numbers = plain.view(np.uint8) if plain.dtype == bool else plain
        found = cv2.remap(numbers, self.plate, NO_MORE_MAPS, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
        return found.view(bool) if plain.dtype == bool else found

    def shown(self, measured: np.ndarray) -> np.ndarray:
        """(H,W) on the plate, of what was measured (h,w): the nearest pixel's."""
        return cv2.remap(np.ascontiguousarray(measured), self.ideal, NO_MORE_MAPS, cv2.INTER_NEAREST,
                         borderMode=cv2.BORDER_REPLICATE)

    def shown_depth(self, depth: np.ndarray) -> np.ndarray:
        """(H,W) on the plate, of depth (h,w) > 0: interpolated in disparity, in which a plane is linear, but never
        between two surfaces."""
        nearest = self.shown(depth)
        disparity = cv2.remap(1.0 / np.ascontiguousarray(depth), self.ideal, NO_MORE_MAPS, cv2.INTER_LINEAR,
                              borderMode=cv2.BORDER_REPLICATE)
        interpolated = 1.0 / np.maximum(disparity, np.finfo(np.float32).tiny)
        return np.where(np.abs(interpolated - nearest) < SAME_SURFACE * nearest, interpolated, nearest)


def rectifier(size: tuple[int, int], intrinsics: np.ndarray, distortion: Distortion, *,
              centered: bool = False) -> Callable[[int], Rectification]:
    """The way from the plate's frames to their ideal raster and back.

    Parameters
    ----------
    size : tuple of int
        (height, width) of the plate.
    intrinsics : ndarray
        (T,4) fx, fy, cx, cy of the ideal camera in each frame, in the plate's pixels.
    distortion : Distortion
        Of the lens that the plate was shot through.
    centered : bool
        Whether the ideal raster is made larger so that the first frame's principal point lies in its middle, within
        half a pixel; for a network that knows no other.

    Returns
    -------
    callable
        From the index of a frame to its Rectification. All have one ideal raster, whose pixels are as large as the
        plate's, and which holds all of it, but for MOST_MARGIN.
    """
    lenses, of_frame = np.unique(intrinsics, axis=0, return_inverse=True)
    margins = tuple(np.max([_margins(size, lens, distortion) for lens in lenses], axis=0).tolist())
    if centered:
        margins = _around_axis(size, intrinsics[0, 2:], margins)
    of_frame = of_frame.reshape(-1)
    return lambda index: _rectification(size, tuple(lenses[of_frame[index]].tolist()), distortion, margins)


def finer_rectification(size: tuple[int, int], within: tuple[tuple[int, int], tuple[float, float]],
                        plate: tuple[int, int], intrinsics: tuple[float, ...],
                        distortion: Distortion | None) -> Rectification:
    """The way from a plate to a raster as fine as it is, of what was measured on a coarser one; and back.

    Parameters
    ----------
    size : tuple of int
        (height, width) of the plate as it was worked on.
    within : tuple of tuple
        (height, width) of the ideal raster that was measured, and where in that plate its upper left corner lies, x
        and y, below 0 with an overscan.
    plate : tuple of int
        (height, width) of the plate at its own size; it shows the same, edge to edge.
    intrinsics : tuple of float
        fx, fy, cx, cy of the ideal camera, in pixels of the plate as it was worked on.
    distortion : Distortion or None
        Of the lens that the plate was shot through; None of a pinhole.

    Returns
    -------
    Rectification
        Between the plate at its own size and an ideal raster that shows what the coarse one does, edge to edge.
    """
    (height, width), corner = within
    finer = np.divide(plate[::-1], size[::-1])
    ideal_size = tuple(np.maximum(np.round((width, height) * finer), 1).astype(int).tolist())
    coarser = np.divide((width, height), ideal_size)
    focal, center = np.array(intrinsics[:2]), np.array(intrinsics[2:])
    on_plate = np.stack(_centers(*ideal_size), axis=-1) * coarser + corner
    on_ideal = np.stack(_centers(*plate[::-1]), axis=-1) / finer
    if distortion is not None:
        on_plate = distorted((on_plate - center) / focal, distortion) * focal + center
        on_ideal = undistorted((on_ideal - center) / focal, distortion) * focal + center
    of_plate, of_ideal = on_plate * finer - 0.5, (on_ideal - corner) / coarser - 0.5
    return Rectification((0, 0, 0, 0), of_plate.astype(np.float32), of_ideal.astype(np.float32))


def _around_axis(size: tuple[int, int], center: np.ndarray, margins: tuple[int, int, int, int]
                 ) -> tuple[int, int, int, int]:
    """The least margins, no smaller than these, under which the raster reaches equally far to both sides of it."""
    height, width = size
    left, right, top, bottom = margins
    across, down = (round(2.0 * float(place) - side) for place, side in zip(center, (width, height), strict=True))
    return (max(left, right - across), max(right, left + across), max(top, bottom - down), max(bottom, top + down))


@lru_cache(maxsize=4)
def _rectification(size: tuple[int, int], intrinsics: tuple[float, ...], distortion: Distortion,
                   margins: tuple[int, int, int, int]) -> Rectification:
    height, width = size
    focal, center = np.array(intrinsics[:2]), np.array(intrinsics[2:])
    left, right, top, bottom = margins
    ideal_x, ideal_y = _centers(width + left + right, height + top + bottom)
    places = np.stack([ideal_x - left, ideal_y - top], axis=-1)
    plate = distorted((places - center) / focal, distortion) * focal + center
    pixels = np.stack(_centers(width, height), axis=-1)
    ideal = undistorted((pixels - center) / focal, distortion) * focal + center + (left, top)
    return Rectification(margins, (plate - 0.5).astype(np.float32), (ideal - 0.5).astype(np.float32))


def _centers(width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """(h,w) x and y of the pixels' centers."""
    return np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)


def _margins(size: tuple[int, int], intrinsics: np.ndarray, distortion: Distortion) -> tuple[int, int, int, int]:
    """How far the plate's outline reaches beyond it without distortion, in whole pixels: left, right, top, bottom."""
    (height, width), focal, center = size, intrinsics[:2], intrinsics[2:]
    along, ends = np.linspace(0.0, 1.0, OUTLINE_PLACES), np.array([0.0, 1.0])
    outline = np.concatenate([np.stack(np.meshgrid(along, ends), -1).reshape(-1, 2),
                              np.stack(np.meshgrid(ends, along), -1).reshape(-1, 2)]) * (width, height)
    reached = undistorted((outline - center) / focal, distortion) * focal + center
    beyond = [-reached[:, 0].min(), reached[:, 0].max() - width, -reached[:, 1].min(), reached[:, 1].max() - height]
    most = [MOST_MARGIN * width] * 2 + [MOST_MARGIN * height] * 2
    left, right, top, bottom = (int(np.ceil(np.clip(side, 0.0, limit))) for side, limit in zip(beyond, most,
                                                                                              strict=True))
    return left, right, top, bottom
