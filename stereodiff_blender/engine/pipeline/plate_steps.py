"""Depth at the plate's size: the last step, made frame by frame as it is asked for, because no disk holds it twice.

Provenance covers what is imported here, and below: worker/provenance.py.
"""

from __future__ import annotations

import numpy as np

from ..footage import PlateRaster, PreparedFootage
from ..solution import CameraSolution, StereoResult
from ..stereo.plate import PlateDepth


class ClipPlateDepth:
    """Depth of a clip's T frames at the plate's size, in the gauge of the cameras."""

    def __init__(self, prepared: PreparedFootage, plates: np.ndarray, cameras: CameraSolution, measured: StereoResult,
                 shown: np.ndarray):
        """plates: (T,H,W) uint8 gray. cameras: of all T frames. measured: of the scene's D frames, with the depth to
        use (D,h,w). shown: the same depth as the clip's frames show it at the working size."""
        raster = PlateRaster(prepared, cameras, plates, measured.depth.shape[1:])
        self._prepared, self._raster, self._shown = prepared, raster, shown
        self._measured = PlateDepth(raster, measured.depth, _Fixed(prepared, measured.motion_mask), measured.cameras)
        self.size: tuple[int, int] = plates.shape[1:]

    def __getitem__(self, index: int) -> np.ndarray:
        """(H,W) float32 of one frame, scene units; 0 is invalid. The same whatever was asked for before."""
        prepared = self._prepared
        measured_in = int(prepared.measured_in[index])
        if measured_in != prepared.footage.shown_in[index]:
            return self._raster.enlarged(self._shown[index])  # carried over from the frame beside it
        place = int(np.searchsorted(prepared.measurable, measured_in))
        return self._raster.shown(self._measured[place], index)


class _Fixed:
    """(D,h,w) bool, read frame by frame: what the pictures cannot decide, because it moves or lettering hides it."""

    def __init__(self, prepared: PreparedFootage, motion_mask: np.ndarray):
        self._prepared, self._motion_mask, self.shape = prepared, motion_mask, motion_mask.shape

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, place: int) -> np.ndarray:
        moves = np.asarray(self._motion_mask[place]) > 0
        return moves | self._prepared.measured_overlay(place) if self._prepared.footage.overlays else moves
