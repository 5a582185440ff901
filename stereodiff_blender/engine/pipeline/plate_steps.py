"""Depth at the plate's size: the last step, made frame by frame as it is asked for, because no disk holds it twice.

Provenance covers what is imported here, and below: worker/provenance.py.
"""

from __future__ import annotations

import math

import numpy as np

from ..footage import PlateRaster, PreparedFootage
from ..imaging import FrameWindow
from ..parallel import ONE_CORE, Cores
from ..solution import CameraSolution, StereoResult
from ..stereo.plate import PlateDepth, depth_beside, depth_within, nearer_share

AT_ONCE_MB, BYTES_PER_PIXEL = 1100.0, 60.0
"""Memory for the frames that are worked on at once, and what a pixel of one more takes of it: measured, 40 at 3840
pixels across and 55 to 65 at 1920."""


class ClipPlateDepth:
    """Depth of a clip's T frames at the plate's size, in the gauge of the cameras.

    size: (H,W) of a frame. edges: as of _Edges. cores: how many frames are best asked for at once.
    """

    def __init__(self, prepared: PreparedFootage, plates: np.ndarray, cameras: CameraSolution, measured: StereoResult,
                 shown: np.ndarray, matte: np.ndarray | None = None, cores: Cores = ONE_CORE):
        """plates: (T,H,W) uint8 gray. cameras: of all T frames. measured: of the scene's D frames, with the depth to
        use (D,h,w). shown: the same depth as the clip's frames show it at the working size. matte: (T,H,W), not 0
        where the artist says that something moves, whose outline then holds to the pixel. cores: how many frames may
        be asked for at once; fewer where the plates are large."""
        fit = int(AT_ONCE_MB * 1e6 / (BYTES_PER_PIXEL * math.prod(plates.shape[1:])))
        self.cores = cores.fewer(fit)
        raster = PlateRaster(prepared, cameras, plates, measured.depth.shape[1:])
        self._prepared, self._raster, self._shown = prepared, raster, shown
        self._matte, self._depth = matte, measured.depth
        still = measured.depth if matte is None else _BesideMatte(prepared, measured.depth)
        self._measured = PlateDepth(raster, still, _Fixed(prepared, measured.motion_mask), measured.cameras,
                                    self.cores.count)
        self.size: tuple[int, int] = plates.shape[1:]
        self.edges = _Edges(self, plates)
        self._latest: FrameWindow[int, np.ndarray] = FrameWindow(self.cores.count)

    def __getitem__(self, index: int) -> np.ndarray:
        """(H,W) float32 of one frame, scene units; 0 is invalid. The same whatever was asked for before."""
        return self._latest.get(index, lambda: self._made(index))

    def _made(self, index: int) -> np.ndarray:
        prepared = self._prepared
        measured_in = int(prepared.measured_in[index])
        if measured_in != prepared.footage.shown_in[index]:
            return self._raster.enlarged(self._shown[index])  # carried over from the frame beside it
        place = int(np.searchsorted(prepared.measurable, measured_in))
        depth = self._raster.shown(self._measured[place], index)
        return depth if self._matte is None else self._with_movers(depth, place, index)

    def _with_movers(self, depth: np.ndarray, place: int, index: int) -> np.ndarray:
        """Depth (H,W) of a frame with what its matte marks put in."""
        assert self._matte is not None
        marked, matte = np.asarray(self._matte[index]) > 0, self._prepared.measured_matte(place)
        if not (marked.any() and matte.any()):
            return depth
        within = self._raster.refined(depth_within(np.asarray(self._depth[place], np.float32), matte))
        return np.where(marked & (depth > 0), self._raster.shown(within, index), depth)


class _Edges:
    """(T,H,W) float32, read frame by frame: the share of the nearer surface in pixels near an edge, 1 elsewhere."""

    def __init__(self, depth: ClipPlateDepth, plates: np.ndarray):
        self._depth, self._plates = depth, plates

    def __getitem__(self, index: int) -> np.ndarray:
        return nearer_share(self._depth[index], np.asarray(self._plates[index]))


class _BesideMatte:
    """(D,h,w) depth, read frame by frame: of what stands beside what the artist's matte marks."""

    def __init__(self, prepared: PreparedFootage, depth: np.ndarray):
        self._prepared, self._depth, self.shape = prepared, depth, depth.shape

    def __getitem__(self, place: int) -> np.ndarray:
        return depth_beside(np.asarray(self._depth[place], np.float32), self._prepared.measured_matte(place))


class _Fixed:
    """(D,h,w) bool, read frame by frame: what the pictures cannot decide, because it moves or lettering hides it."""

    def __init__(self, prepared: PreparedFootage, motion_mask: np.ndarray):
        self._prepared, self._motion_mask, self.shape = prepared, motion_mask, motion_mask.shape

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, place: int) -> np.ndarray:
        moves = np.asarray(self._motion_mask[place]) > 0
        return moves | self._prepared.measured_overlay(place) if self._prepared.footage.overlays else moves
