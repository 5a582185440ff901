"""Depth at the plate's size from depth at the working size: the whole way, frame by frame.

At the working size surfaces grow up to their edges (propagation.py), where other frames find them there, too
(confirmation.py); then from raster to raster, each at most MAX_FACTOR finer, pixels near edges choose their surface
again (choice.py), and on the plate itself the frames beside have a vote. Nothing is kept but of the frames around the
one at hand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import cv2
import numpy as np

from ...imaging import Cameras, FrameWindow, frames_around
from .choice import Choice, enlarged, prepare_choice, votes_of
from .confirmation import confirmed
from .evidence import MAX_OFFSET, Evidence, Refutation, ScaledCameras, choose_sources
from .propagation import complete, project_bands, propagate
from .steadying import steadied
from .stillness import without_still_islands

MAX_FACTOR = 4.0
"""From one raster to the next: beyond, an edge lies farther off than choice.py searches."""
LEAST_FACTOR = 1.5
"""Times that the plate has to be finer than depth: below, its edges are hardly finer, and choosing only unsettles them.
"""
VOTER_OFFSET = 2
"""Frames apart that those may be which vote."""


class Pictures(Protocol):
    """(T,H,W), read frame by frame: an array, a memory map, or what makes them when they are asked for."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, index: int, /) -> np.ndarray: ...


class _Raster:
    """One size at which the clip is worked on: pictures and cameras; more of them kept than one frame asks for."""

    def __init__(self, plates: Pictures, size: tuple[int, int], cameras: Cameras, of_size: tuple[int, int],
                 more: int):
        self.size, self.cameras = size, ScaledCameras.on(cameras, of_size, size)
        self._plates = plates
        self._kept: FrameWindow[int, np.ndarray] = FrameWindow(2 * (MAX_OFFSET + VOTER_OFFSET) + 1 + more)

    def picture(self, index: int) -> np.ndarray:
        """(H,W) uint8 gray."""
        return self._kept.get(index, lambda: self._picture(index))

    def _picture(self, index: int) -> np.ndarray:
        plate = np.ascontiguousarray(self._plates[index])
        return plate if plate.shape == self.size else cv2.resize(plate, self.size[::-1], interpolation=cv2.INTER_AREA)

    def evidence_of(self, index: int, sources: tuple[int, ...],
                    occluders: Callable[[int], np.ndarray] | None = None) -> Callable[..., Evidence]:
        return lambda rows, cols, disparity: Evidence(self.picture, self.cameras, index, sources, (rows, cols),
                                                      disparity, occluders)


class PlateDepth:
    """Depth of a clip at the plate's size, its edges where the plate has them, made frame by frame as it is asked for.

    References
    ----------
    Bleyer et al. 2011, PatchMatch stereo; Rong and Tan 2006, jump flooding; Besag 1986, iterated conditional modes.
    """

    def __init__(self, plates: Pictures, depth: Pictures, motion_mask: Pictures, cameras: Cameras,
                 at_once: int = 1):
        """Look at nothing yet but how far the cameras are apart.

        Parameters
        ----------
        plates : Pictures
            (T,H,W) uint8 gray, of the very picture that depth is of, edge to edge, as a pinhole shows it.
        depth : Pictures
            (T,h,w) float32 > 0, scene units.
        motion_mask : Pictures
            (T,h,w), not 0 where the thing itself moves: there depth is enlarged, and nothing else.
        cameras : Cameras
            Of the T frames; intrinsics in pixels of depth's raster.
        at_once : int
            Frames side by side that are asked for at once, by several threads.

        Raises
        ------
        ValueError
            If the shapes do not fit, or the plates are smaller than depth.
        """
        _check(plates, depth, motion_mask, cameras)
        self._depth, self._motion_mask = depth, motion_mask
        working, plate = depth.shape[1:], plates.shape[1:]
        self._is_finer = min(plate[0] / working[0], plate[1] / working[1]) >= LEAST_FACTOR
        more = at_once - 1
        self._rasters = [_Raster(plates, size, cameras, working, more) for size in (working, *_sizes(working, plate))]
        self._sources = choose_sources(self._rasters[0].cameras, 1.0 / float(np.median(depth[depth.shape[0] // 2])),
                                       working)
        self._kept_grown_alone: FrameWindow[int, np.ndarray] = FrameWindow(
            2 * (VOTER_OFFSET + 2 * MAX_OFFSET) + 2 + more)
        self._kept_grown: FrameWindow[int, np.ndarray] = FrameWindow(2 * (VOTER_OFFSET + MAX_OFFSET) + 2 + more)
        self._choices: FrameWindow[int, Choice] = FrameWindow(2 * VOTER_OFFSET + 2 + more)
        self._settled: FrameWindow[int, np.ndarray] = FrameWindow(2 * VOTER_OFFSET + 2 + more)

    def __getitem__(self, index: int) -> np.ndarray:
        """(H,W) float32 > 0, scene units, of one frame; the same whatever was asked for before."""
        if not self._is_finer:
            return 1.0 / enlarged(1.0 / np.asarray(self._depth[index], np.float32), self._rasters[-1].size)
        voters = [k for k in frames_around(index, VOTER_OFFSET, self._depth.shape[0]) if k != index]
        choice = self._choice(index)
        settled = {k: self._settled_alone(k) for k in voters}
        return 1.0 / choice.settled(votes_of(choice, settled, self._rasters[-1].cameras, voters))

    def _settled_alone(self, index: int) -> np.ndarray:
        return self._settled.get(index, lambda: self._choice(index).settled())

    def _choice(self, index: int) -> Choice:
        return self._choices.get(index, lambda: self._prepared(index))

    def _moves(self, index: int) -> np.ndarray:
        """(h,w) bool."""
        return np.asarray(self._motion_mask[index]) > 0

    def _measured(self, index: int) -> np.ndarray:
        """(h,w) disparity at the working size, as it was handed in."""
        return np.float32(1.0) / np.asarray(self._depth[index], np.float32)

    def _grown_alone(self, index: int) -> np.ndarray:
        """(h,w) disparity at the working size, its surfaces grown up to their edges."""
        return self._kept_grown_alone.get(index, lambda: self._newly_grown(index))

    def _newly_grown(self, index: int) -> np.ndarray:
        if not self._sources[index]:
            return self._measured(index)
        return propagate(self._measured(index), self._moves(index),
                         self._rasters[0].evidence_of(index, self._sources[index]))

    def _grown(self, index: int) -> np.ndarray:
        """The same, where other frames confirm it."""
        return self._kept_grown.get(index, lambda: self._newly_confirmed(index))

    def _newly_confirmed(self, index: int) -> np.ndarray:
        sources = self._sources[index]
        still = [self._without_moving(self._grown_alone(k), k) for k in sources]
        return confirmed(self._grown_alone(index), self._measured(index), still, self._rasters[0].cameras, index,
                         sources)

    def _without_moving(self, disparity: np.ndarray, index: int) -> np.ndarray:
        """(h,w) disparity at the working size, 0 where something moves."""
        return np.where(self._moves(index), np.float32(0), disparity)

    def _still(self, index: int) -> np.ndarray:
        """(h,w) disparity at the working size, 0 where something moves."""
        return self._without_moving(self._grown(index), index)

    def _is_at_end(self, index: int) -> bool:
        """Whether all that a frame is compared with lies on one side in time."""
        sources = self._sources[index]
        return bool(sources) and not min(sources) < index < max(sources)

    def _completed(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """(h,w) disparity at the working size, with what only the frames around have found, and (h,w) bool: what moves
        even if that is known."""
        sources, working, is_at_end = self._sources[index], self._rasters[0], self._is_at_end(index)
        projected = [project_bands(self._grown(k), self._moves(k), working.cameras, k, index) for k in sources]
        still = [self._still(k) for k in sources]
        islands = without_still_islands(self._moves(index), self._grown(index), projected, still, working.cameras,
                                        index, sources, working.evidence_of(index, sources))
        disparity = complete(self._grown(index), [islands.behind, *projected], islands.moves,
                             working.evidence_of(index, sources, self._still if is_at_end else None),
                             lambda *pixels: Refutation(still, working.cameras, index, sources, pixels),
                             is_at_end=is_at_end)
        return steadied(disparity, islands.moves, still, working.cameras, index, sources), islands.moves

    def _prepared(self, index: int) -> Choice:
        """What the pixels of a frame's plate may choose from."""
        finer, sources = self._rasters[1:], self._sources[index]
        disparity, fixed = self._completed(index) if sources else (self._grown(index), self._moves(index))
        occluders = self._still if self._is_at_end(index) else None
        choice = None
        for raster in finer:
            if choice is not None:
                disparity = choice.settled()
            factor = raster.size[0] / disparity.shape[0]
            disparity = enlarged(disparity, raster.size)
            stays = (cv2.resize(fixed.astype(np.uint8), raster.size[::-1], interpolation=cv2.INTER_NEAREST) > 0
                     if sources else np.ones(raster.size, bool))
            choice = prepare_choice(index, raster.picture(index), disparity, stays, factor,
                                    raster.evidence_of(index, sources, occluders))
        assert choice is not None
        return choice


def _check(plates: Pictures, depth: Pictures, motion_mask: Pictures, cameras: Cameras) -> None:
    if not depth.shape == motion_mask.shape or not plates.shape[0] == depth.shape[0] == len(cameras.camera_to_world):
        raise ValueError(f"plates {plates.shape}, depth {depth.shape}, motion mask {motion_mask.shape} and "
                         f"{len(cameras.camera_to_world)} cameras must agree")
    if plates.shape[1] < depth.shape[1] or plates.shape[2] < depth.shape[2]:
        raise ValueError(f"plates of {plates.shape[1:]} are smaller than depth of {depth.shape[1:]}")


def _sizes(working: tuple[int, int], plate: tuple[int, int]) -> list[tuple[int, int]]:
    """(H,W) of the rasters on the way from the working size to the plate's, which is the last."""
    if max(plate[0] / working[0], plate[1] / working[1]) <= MAX_FACTOR:
        return [plate]
    half = (-(-plate[0] // 2), -(-plate[1] // 2))
    return [*_sizes(working, half), plate]
