"""What was measured on the working raster, on the plate at its own size: pictures of it, and the way back onto it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from ..imaging import FrameWindow, Rectification, finer_rectification
from ..solution import CameraSolution
from .plate import PreparedFootage


@dataclass(frozen=True)
class PlateRaster:
    """The scene's D frames as finely as the plates show them, in the picture that was measured.

    prepared: what was measured. cameras: of all T frames, in the working raster's pixels. plates: (T,H,W) uint8 gray.
    measured: (height, width) of the raster that was measured.
    """

    prepared: PreparedFootage
    cameras: CameraSolution
    plates: np.ndarray
    measured: tuple[int, int]

    def __len__(self) -> int:
        return len(self.prepared.measurable)

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """(D,h,w)."""
        return len(self), *self._rectification(0).size

    def __getitem__(self, place: int) -> np.ndarray:
        """(h,w) uint8 gray of one of the scene's frames, with the light that all have."""
        index = int(self.prepared.measurable[place])
        plate, gain = np.asarray(self.plates[index]), float(self.prepared.footage.gain[index])
        if gain != 1.0:
            plate = cv2.convertScaleAbs(plate, alpha=1.0 / gain)
        return self._rectification(index).rectified(plate) if self._is_another else plate

    def shown(self, depth: np.ndarray, index: int) -> np.ndarray:
        """Depth (h,w) of what a frame of the clip shows, on its plate (H,W), 0 in bars."""
        if not self._is_another:
            return depth
        on_plate = self._rectification(index).shown_depth(depth)
        top, bottom, left, right = self._picture
        in_picture = np.zeros_like(on_plate)
        in_picture[top:bottom, left:right] = on_plate[top:bottom, left:right]
        return in_picture

    def refined(self, depth: np.ndarray) -> np.ndarray:
        """Depth > 0 of what was measured, on its raster, as finely as this one has it (h,w)."""
        return 1.0 / cv2.resize(np.float32(1.0) / depth, self.shape[:0:-1], interpolation=cv2.INTER_LINEAR)

    def enlarged(self, depth: np.ndarray) -> np.ndarray:
        """Depth (h,w) of a frame of the clip as large as its plate (H,W): the nearest pixel's."""
        return cv2.resize(np.asarray(depth, np.float32), self.plates.shape[:0:-1], interpolation=cv2.INTER_NEAREST)

    @property
    def _is_another(self) -> bool:
        """Whether what was measured is not simply the plate: inside bars, or without distortion."""
        return self.cameras.lens.distortion is not None or self.prepared.footage.has_bars

    @property
    def _picture(self) -> tuple[int, int, int, int]:
        """Top, bottom, left and right of what is inside the bars, in pixels of the plate."""
        top, bottom, left, right = self.prepared.footage.picture
        down, across = np.divide(self.plates.shape[1:], self.prepared.footage.size)
        return round(top * down), round(bottom * down), round(left * across), round(right * across)

    def _rectification(self, index: int) -> Rectification:
        lens = tuple(self.cameras.intrinsics[index].tolist())
        return self._kept.get(lens, lambda: finer_rectification(
            self.prepared.footage.size, (self.measured, self.prepared.corner), self.plates.shape[1:], lens,
            self.cameras.lens.distortion))

    @cached_property
    def _kept(self) -> FrameWindow[tuple[float, ...], Rectification]:
        return FrameWindow(2)
