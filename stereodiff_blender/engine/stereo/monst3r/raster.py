"""From the plate to the network's raster, and from there back to the whole plate, with the intrinsics.

The network was trained on pictures whose longest side is 512 pixels; both sides are multiples of 16. A plate is
enlarged or reduced to that length and what stands over is cropped evenly from its sides, so up to 7 pixels at each
edge of the picture are not matched; on the way back they take the nearest depth and no confidence. Resampling is
Pillow's, on 8 bits, as in training. Pixel centers are at +0.5, as everywhere (the contract).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ...contract import StereoDiffError
from ...geometry import depth_from_disparity, disparity_from_depth
from .config import PATCH_PX

LONG_SIDE_PX = 512
SMOOTH_RANGE = 0.05
"""Relative range of disparity between neighbors up to which they are one surface, and interpolated."""


@dataclass(frozen=True)
class NetworkRaster:
    """How one size of plate is brought to the network's raster.

    plate, resized, shape: (height, width) of the plate, after the first resize, and of the network's raster.
    crop: (top, left) of that raster in the resized picture; None if the picture is squeezed into it instead.
    """

    plate: tuple[int, int]
    resized: tuple[int, int]
    shape: tuple[int, int]
    crop: tuple[int, int] | None

    # --- To the network ------------------------------------------------------------------------------------------

    def prepare(self, frame: np.ndarray) -> np.ndarray:
        """frame: (H,W,3) uint8 of the plate. Returns (height,width,3) uint8."""
        shrinks = max(self.plate) > max(self.resized)
        picture = Image.fromarray(np.ascontiguousarray(frame))
        picture = picture.resize(self.resized[::-1], Image.Resampling.LANCZOS if shrinks else Image.Resampling.BICUBIC)
        height, width = self.shape
        if self.crop is None:
            return np.asarray(picture.resize((width, height), Image.Resampling.LANCZOS))
        top, left = self.crop
        return np.asarray(picture)[top:top + height, left:left + width]

    def intrinsics_to_network(self, intrinsics: np.ndarray) -> np.ndarray:
        """(...,4) fx, fy, cx, cy of the plate -> of the network's raster."""
        return intrinsics * self._scale - self._offset

    # --- Back to the plate -----------------------------------------------------------------------------------

    def intrinsics_to_plate(self, intrinsics: np.ndarray) -> np.ndarray:
        """(...,4) fx, fy, cx, cy of the network's raster -> of the plate."""
        return (intrinsics + self._offset) / self._scale

    def pixels_to_plate(self, pixels: np.ndarray) -> np.ndarray:
        """(...,2) x, y on the network's raster -> on the plate."""
        return (pixels + self._offset[2:]) / self._scale[:2]

    def depth_to_plate(self, depth: np.ndarray) -> np.ndarray:
        """(height,width) z-depth -> (H,W) float32. 0 = invalid stays so.

        Disparity is interpolated, in which a plane is exact, but not across a depth edge: there, and beside invalid
        pixels, the nearest pixel counts (as everywhere in the paper), so that no surface grows between two others.
        """
        (row, row_share), (col, col_share) = self._sample_positions()
        disparity = disparity_from_depth(depth.astype(np.float64))
        corners = np.stack([disparity[row[:, None] + down, col[None] + right] for down in (0, 1) for right in (0, 1)])
        down, right = row_share[:, None], col_share[None]
        weights = np.stack([(1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right])
        lowest, highest = corners.min(axis=0), corners.max(axis=0)
        is_one_surface = (lowest > 0) & (highest - lowest <= SMOOTH_RANGE * highest)
        smooth = (corners * weights).sum(axis=0)
        return depth_from_disparity(np.where(is_one_surface, smooth, self._nearest(disparity))).astype(np.float32)

    def mask_to_plate(self, mask: np.ndarray) -> np.ndarray:
        """(height,width) of any type -> (H,W), the nearest pixel's value."""
        return self._nearest(mask)

    def confidence_to_plate(self, confidence: np.ndarray) -> np.ndarray:
        """(height,width) -> (H,W), the nearest pixel's value; 0 where the plate was cropped."""
        rows, cols = self._centers()
        height, width = self.shape
        is_seen = ((rows > 0) & (rows < height))[:, None] & ((cols > 0) & (cols < width))[None]
        return np.where(is_seen, self._nearest(confidence), np.zeros((), confidence.dtype))

    @property
    def _scale(self) -> np.ndarray:
        (height, width), (plate_height, plate_width) = self.shape if self.crop is None else self.resized, self.plate
        return np.array([width / plate_width, height / plate_height] * 2)

    @property
    def _offset(self) -> np.ndarray:
        top, left = self.crop or (0, 0)
        return np.array([0.0, 0.0, left, top])

    def _centers(self) -> tuple[np.ndarray, np.ndarray]:
        """Where the plate's pixel centers lie on the network's raster: y (H,) and x (W,), beyond its ends too."""
        scale_x, scale_y = self._scale[:2]
        left, top = self._offset[2:]
        height, width = self.plate
        return (np.arange(height) + 0.5) * scale_y - top, (np.arange(width) + 0.5) * scale_x - left

    def _sample_positions(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Per axis: the lower of the two pixels around each center, and the share 0..1 of the upper."""
        positions = []
        for centers, size in zip(self._centers(), self.shape, strict=True):
            place = np.clip(centers - 0.5, 0, size - 1)
            lower = np.minimum(place.astype(int), size - 2)
            positions.append((lower, place - lower))
        return positions

    def _nearest(self, values: np.ndarray) -> np.ndarray:
        rows, cols = (np.clip(centers.astype(int), 0, size - 1)
                      for centers, size in zip(self._centers(), self.shape, strict=True))
        return values[rows[:, None], cols[None]]


def network_raster(plate: tuple[int, int], *, long_side_px: int = LONG_SIDE_PX, crops: bool = True,
                   keeps_square: bool = False) -> NetworkRaster:
    """The raster for plates of (height, width).

    crops: cut what stands over multiples of 16; otherwise squeeze it in, by which the aspect changes slightly.
    keeps_square: a square picture stays square, instead of being cropped to the 4:3 that the network knows.
    Raises StereoDiffError "clip_too_small" for a picture so narrow that nothing is left of it.
    """
    resized_height, resized_width = resized = tuple(round(side * long_side_px / max(plate)) for side in plate)
    half_height, half_width = (2 * (side // 2) // PATCH_PX * (PATCH_PX // 2) for side in resized)
    if resized_height == resized_width and crops and not keeps_square:
        half_height = 3 * half_width // 4 // (PATCH_PX // 2) * (PATCH_PX // 2)
    if min(half_height, half_width) < 1:
        raise StereoDiffError("clip_too_small", f"A picture of {plate[1]} x {plate[0]} pixels is too narrow.")
    crop = (resized_height // 2 - half_height, resized_width // 2 - half_width) if crops else None
    return NetworkRaster(tuple(plate), resized, (2 * half_height, 2 * half_width), crop)


def normalized(frame: np.ndarray) -> np.ndarray:
    """(h,w,3) uint8 -> (3,h,w) float32 in [-1,1], as the network takes it."""
    return np.ascontiguousarray(frame.transpose(2, 0, 1)).astype(np.float32) / np.float32(127.5) - np.float32(1)


class NetworkFrames(Sequence):
    """The frames of a clip on the network's raster, each made when it is asked for. frames: (T,H,W,3) uint8."""

    def __init__(self, frames: Sequence[np.ndarray], raster: NetworkRaster):
        self._frames = frames
        self.raster = raster

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.raster.prepare(self._frames[index])
