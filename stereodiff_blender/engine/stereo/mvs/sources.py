"""Which other frames each frame is matched with, and what the solved points say about depth and flow beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...geometry import invert_rigid
from ...imaging import (
    FrameWindow,
    OpticalFlow,
    Warp,
    induced_flow,
    pull_push,
    round_trip,
    warp_between,
    warp_pixels,
)
from ...solution import CameraSolution
from .sharpness import BLURRED

PARALLAX_TARGETS = (3.0 / 480, 7.0 / 480, 15.0 / 480, 28.0 / 480)
"""Wanted median parallax of the sources, as shares of the picture's width: short ones for few occlusions, long
ones for precision."""
NEAR_PARALLAX = 20.0 / 480
"""Parallax up to which a source judges whether something moves: beyond, outlines have grown too far out of shape."""
BLUR_HANDICAP = 6.0
"""How much a frame without any sharpness left lags behind a sharp one, in natural logarithms of the parallax's ratio to
the target: at two thirds of BLURRED's sharpness, a sharp frame may be off by a factor of seven."""
MAX_FLOW = 0.3
MIN_VISIBLE = 0.45
MAX_OFFSET = 40
"""Frames apart that two matched frames may be: bounds the search and the flows that must be kept."""
MIN_POINTS = 8
PROBES = 240
GUESSES = 16
"""Frames whose expected disparity is at hand."""


@dataclass(frozen=True)
class DepthLimits:
    """Depths of the solved points over the whole clip: 1st, 50th and 99th percentile, scene units."""

    near: float
    middle: float
    far: float

    @property
    def disparity(self) -> tuple[float, float]:
        """Least and greatest disparity taken for real: a margin of three beyond the solved points."""
        return 0.3 / self.far, 3.0 / self.near


def depth_limits(cameras: CameraSolution) -> DepthLimits:
    """Depth percentiles over all observations; order 1, the gauge's, if nothing was observed."""
    depths = [point_depths(cameras, k)[1] for k in range(len(cameras.camera_to_world))]
    depths = np.concatenate(depths) if depths else np.empty(0)
    if len(depths) == 0:
        return DepthLimits(0.1, 1.0, 10.0)
    return DepthLimits(*(float(p) for p in np.percentile(depths, (1, 50, 99))))


def point_depths(cameras: CameraSolution, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (n,2) and z-depths (n,) of the solved points seen in a frame, in front of the camera only."""
    if not cameras.observations:
        return np.empty((0, 2)), np.empty(0)
    which, pixels = cameras.observations[index]
    row_camera = cameras.row_camera(index)
    if row_camera is None:
        pose = invert_rigid(cameras.camera_to_world[index])
        depth = cameras.points[which] @ pose[2, :3] + pose[2, 3]
    else:
        depth = row_camera.seen(cameras.points[which], *pixels.T)[:, 2]
    front = np.isfinite(depth) & (depth > 1e-9)
    return pixels[front], depth[front]


def interpolated_disparity(cameras: CameraSolution, index: int, height: int, width: int,
                           limits: DepthLimits) -> np.ndarray:
    """A first guess, (H,W) float32: the solved points' disparity spread over the picture."""
    pixels, depth = point_depths(cameras, index)
    column, row = np.floor(pixels).astype(int).T
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    if not inside.any():
        return np.full((height, width), 1.0 / limits.middle, np.float32)
    values, weights = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
    values[row[inside], column[inside]] = np.clip(1.0 / depth[inside], *limits.disparity)
    weights[row[inside], column[inside]] = 1.0
    return pull_push(values, weights)


class ExpectantFlow:
    """Optical flow that begins at what a static scene would do.

    Every field is begun so, whoever asks for it first: so it does not depend on where a run began, or on what was
    let go for want of memory.
    """

    def __init__(self, flow: OpticalFlow, cameras: CameraSolution, limits: DepthLimits, size: tuple[int, int]):
        self._flow, self._cameras, self._limits, self._size = flow, cameras, limits, size
        self._guesses: FrameWindow[int, np.ndarray] = FrameWindow(GUESSES)

    def between(self, i: int, j: int) -> np.ndarray:
        """As OpticalFlow.between."""
        return self._flow.between(i, j, lambda: self._expected(i, j))

    def consistency(self, i: int, j: int) -> np.ndarray:
        """As OpticalFlow.consistency."""
        return round_trip(self.between(i, j), self.between(j, i))

    def _expected(self, i: int, j: int) -> np.ndarray:
        guess = self._guesses.get(i, lambda: interpolated_disparity(self._cameras, i, *self._size, self._limits))
        return _expected_flow(guess, warp_between(self._cameras, i, j))

    def forget_before(self, index: int) -> None:
        """As OpticalFlow.forget_before."""
        self._flow.forget_before(index)


def _expected_flow(disparity, warp) -> np.ndarray:
    """What a static scene of this disparity would do, kept to lengths the matcher can work with."""
    reach = 0.6 * disparity.shape[1]
    return np.clip(induced_flow(disparity, warp), -reach, reach)


def select_sources(cameras: CameraSolution, height: int, width: int,
                   sharpness: np.ndarray | None = None) -> list[tuple[int, ...]]:
    """Source frames of each of the T frames.

    Every frame picks later frames whose rotation-compensated parallax is nearest the targets; a frame's sources are
    those it picked and those that picked it, so that each pair's two flows serve both frames. A frame that would be
    left without earlier sources picks some itself. Blurred frames are passed over where a sharp one will do.

    Parameters
    ----------
    cameras : CameraSolution
        Of the T frames, with the points that each one sees.
    height, width : int
        Of the raster, in pixels.
    sharpness : ndarray or None
        (T,) as of relative_sharpness. None: all are taken for sharp.

    Returns
    -------
    list of tuple of int
        T times indices, ascending; never empty for T >= 2.
    """
    count = len(cameras.camera_to_world)
    sharpness = np.ones(count) if sharpness is None else sharpness
    chosen = [set() for _ in range(count)]
    for i in range(count):
        for j in _pick(cameras, i, 1, height, width, sharpness):
            chosen[i].add(j)
            if sharpness[i] >= BLURRED:
                chosen[j].add(i)
    for i in range(1, count):
        if min(chosen[i], default=i) >= i:
            chosen[i].update(_pick(cameras, i, -1, height, width, sharpness))
    for i, sources in enumerate(chosen):
        if not sources:
            sources.update(j for j in (i - 1, i + 1) if 0 <= j < count)
    return [tuple(sorted(sources)) for sources in chosen]


def near_sources(cameras: CameraSolution, index: int, sources: Sequence[int], height: int, width: int) -> list[bool]:
    """Which of a frame's sources have little parallax to it; all of them if no points tell."""
    pixels, depth = _probes(cameras, index)
    if len(depth) < MIN_POINTS:
        return [True] * len(sources)
    shifts = (_shift(warp_between(cameras, index, j), pixels, depth, height, width) for j in sources)
    return [parallax < NEAR_PARALLAX * width for parallax, _, _ in shifts]


def _pick(cameras: CameraSolution, index: int, step: int, height: int, width: int, sharpness: np.ndarray) -> set[int]:
    """Frames in one direction of time whose parallax is nearest each target, sharp ones before blurred ones."""
    pixels, depth = _probes(cameras, index)
    if len(depth) < MIN_POINTS:
        return set()
    candidates, parallaxes = [], []
    for j in _frames_from(index, step, len(cameras.camera_to_world)):
        parallax, visible, flow = _shift(warp_between(cameras, index, j), pixels, depth, height, width)
        if visible < MIN_VISIBLE or flow > MAX_FLOW * width:
            break
        candidates.append(j)
        parallaxes.append(np.log(max(parallax / width, 1e-9)))
    if not candidates:
        return set()
    handicap = BLUR_HANDICAP * (1.0 - np.minimum(sharpness[candidates] / BLURRED, 1.0))
    return {candidates[int(np.argmin(np.abs(np.array(parallaxes) - np.log(t)) + handicap))] for t in PARALLAX_TARGETS}


def _probes(cameras: CameraSolution, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Some of a frame's solved points: pixels (n,2) and z-depths (n,)."""
    pixels, depth = point_depths(cameras, index)
    stride = max(1, len(depth) // PROBES)
    return pixels[::stride], depth[::stride]


def _frames_from(index: int, step: int, count: int) -> range:
    last = min(index + MAX_OFFSET, count - 1) if step > 0 else max(index - MAX_OFFSET, 0)
    return range(index + step, last + step, step)


def _shift(warp: Warp, pixels, depth, height, width) -> tuple[float, float, float]:
    """Median parallax (pixels), share that stays in the picture, and 80th percentile of flow (pixels)."""
    x, y = np.asarray(pixels, np.float64).T
    turned, moved = (warp_pixels(warp, x, y, disparity) for disparity in (np.zeros(len(depth)), 1.0 / depth))
    front = turned.in_front & moved.in_front
    if front.sum() < MIN_POINTS:
        return 0.0, 0.0, np.inf
    turned, moved = (np.stack([place.columns, place.rows], axis=1)[front] for place in (turned, moved))
    inside = ((moved > 0) & (moved < (width, height))).all(axis=1)
    parallax = np.linalg.norm(moved - turned, axis=1)
    flow = np.linalg.norm(moved - pixels[front], axis=1)
    return float(np.median(parallax)), inside.sum() / len(pixels), float(np.percentile(flow, 80))
