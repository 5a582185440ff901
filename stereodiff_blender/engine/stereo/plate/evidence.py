"""What the frames around one frame say about disparities of its pixels.

A pixel keeps its gray level in every frame that shows the same point. What lies behind a depth edge is hidden in the
frames of one side in time, and comes free in those of the other: so the earlier frames and the later ones are heard
apart, and the side counts that agrees better. At an end of the clip there is but one side: there a frame says nothing
about what it has something in front of.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ...imaging import BEHIND_CAMERA, Cameras, RollingParallax, warp_between
from ...shutter import RollingShutter

MAX_DIFFERENCE_LEVELS = 12
"""Gray levels of difference that count as entirely unlike, as does what lies outside the other frame."""
PARALLAX_TARGETS = (0.005, 0.010, 0.021)
"""Wanted parallax of the sources on each side in time, as shares of the picture's width."""
MAX_OFFSET = 8
"""Frames apart that two compared frames may be: bounds what is kept in memory."""
ROW_LENGTH = 256
"""Pixels are laid out in rows of this length: OpenCV looks up no longer ones than 32766."""
MOST_BIAS_LEVELS = 6.0
"""By which two frames' light may differ, as long as that tells from a difference of what they show."""
ENOUGH_FOR_BIAS = 8192
"""Pixels that tell it."""
SEEN_THROUGH = 0.05
"""Relative difference of disparity from which a frame sees through what is claimed, or has something in front of it."""
UNSEEN_LEVELS = 7.0
"""Gray levels of evidence for what no frame can have seen: more than for what is right, less than for what is not. It
counts as one more frame."""


@dataclass(frozen=True)
class ScaledCameras:
    """Cameras of T frames on a raster of another size. camera_to_world: (T,4,4). intrinsics: (T,4), in its pixels.
    shutter: as of Cameras."""

    camera_to_world: np.ndarray
    intrinsics: np.ndarray
    shutter: RollingShutter | None

    @classmethod
    def on(cls, cameras: Cameras, size: tuple[int, int], raster: tuple[int, int]) -> ScaledCameras:
        """Of cameras in pixels of a picture of `size` (H,W): the same on a raster (H,W) of the same picture."""
        down, across = raster[0] / size[0], raster[1] / size[1]
        return cls(cameras.camera_to_world, cameras.intrinsics * (across, down, across, down), cameras.shutter)


def choose_sources(cameras: Cameras, disparity: float, size: tuple[int, int]) -> list[tuple[int, ...]]:
    """Which frames each of the T frames is compared with, ascending: on each side in time those nearest the targets.

    disparity: typical of the clip, 1 / scene unit. size: (H,W) of the raster of the cameras' pixels.
    """
    count = len(cameras.camera_to_world)
    chosen = []
    for index in range(count):
        earlier, later = (range(index - 1, max(index - MAX_OFFSET, 0) - 1, -1),
                          range(index + 1, min(index + MAX_OFFSET, count - 1) + 1))
        chosen.append(tuple(sorted({*_nearest_targets(cameras, index, earlier, disparity, size),
                                    *_nearest_targets(cameras, index, later, disparity, size)})))
    return chosen


def _nearest_targets(cameras: Cameras, index: int, candidates: Sequence[int], disparity: float,
                     size: tuple[int, int]) -> set[int]:
    """One for each target, as far as there are so many."""
    if not candidates:
        return set()
    parallaxes = np.log([max(_parallax(cameras, index, j, disparity, size) / size[1], 1e-9) for j in candidates])
    chosen = set()
    for target in PARALLAX_TARGETS:
        distance = np.abs(parallaxes - np.log(target))
        distance[[candidate in chosen for candidate in candidates]] = np.inf
        if np.isfinite(distance).any():
            chosen.add(candidates[int(distance.argmin())])
    return chosen


def _parallax(cameras: Cameras, i: int, j: int, disparity: float, size: tuple[int, int]) -> float:
    """Median over the picture of how far apart this disparity and none are shown, pixels."""
    warp = warp_between(cameras, i, j)
    x, y = (axis.ravel() for axis in np.meshgrid(*(side * np.linspace(0.1, 0.9, 5) for side in size[::-1])))
    near, far = (np.array(warp.points(x, y, np.full_like(x, each))) for each in (disparity, 0.0))
    ahead = (near[2] > BEHIND_CAMERA) & (far[2] > BEHIND_CAMERA)
    if not ahead.any():
        return 0.0
    near, far = near[:, ahead], far[:, ahead]
    return float(np.median(np.hypot(*(near[:2] / near[2] - far[:2] / far[2]))))


class Warps:
    """Where scattered pixels of one frame lie in others, for one disparity after another."""

    def __init__(self, cameras: Cameras, index: int, others: Sequence[int], rows: np.ndarray, cols: np.ndarray):
        """rows, cols: (n,) of the pixels."""
        x, y = cols.astype(np.float32) + np.float32(0.5), rows.astype(np.float32) + np.float32(0.5)
        self._bases, self._epipoles, self._located = [], [], []
        for other in others:
            warp = warp_between(cameras, index, other)
            if isinstance(warp, RollingParallax):
                self._located.append(warp.located(x, y))
                continue
            matrix, epipole = warp.infinite_homography.copy(), warp.epipole.copy()
            matrix[:2] -= 0.5 * matrix[2]  # the center of the first pixel is at 0, as OpenCV counts
            epipole[:2] -= 0.5 * epipole[2]
            matrix = matrix.astype(np.float32)
            self._bases.append([row[0] * x + (row[1] * y + row[2]) for row in matrix])
            self._epipoles.append(epipole.astype(np.float32))

    def places(self, other: int, disparity: np.ndarray,
               chosen: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Columns and rows in rows of ROW_LENGTH, as OpenCV counts them, and depth there over depth here (n,).

        other: which of the others. disparity: (n,) of all pixels, or of the chosen ones, (n,) int.
        """
        u, v, ratio = self._coordinates(other, disparity, chosen)
        count = len(disparity)
        rows = -(-count // ROW_LENGTH)
        columns, lines = np.zeros((2, rows * ROW_LENGTH), np.float32)
        np.maximum(ratio, np.float32(BEHIND_CAMERA), out=ratio)
        np.divide(u, ratio, out=columns[:count])
        np.divide(v, ratio, out=lines[:count])
        return columns.reshape(rows, ROW_LENGTH), lines.reshape(rows, ROW_LENGTH), ratio

    def _coordinates(self, other: int, disparity: np.ndarray, chosen: np.ndarray | None) -> list[np.ndarray]:
        """Homogeneous, (n,) each; the center of the first pixel is at 0."""
        if self._located:
            u, v, w = self._located[other].at(disparity, chosen)
            return [u - np.float32(0.5) * w, v - np.float32(0.5) * w, w]
        base, epipole = self._bases[other], self._epipoles[other]
        if chosen is not None:
            base = [line.take(chosen) for line in base]
        return [shift * disparity + line for shift, line in zip(epipole, base, strict=True)]


def looked_up(picture: np.ndarray, columns: np.ndarray, lines: np.ndarray, count: int, method: int) -> np.ndarray:
    """(n,) what a picture (H,W) holds at the first n places of Warps.places, 0 outside."""
    if count == 0:
        return np.empty(0, picture.dtype)
    return cv2.remap(picture, columns, lines, method, borderMode=cv2.BORDER_CONSTANT, borderValue=0).ravel()[:count]


class Evidence:
    """How badly disparities of some of a frame's pixels agree with what its sources show."""

    def __init__(self, picture: Callable[[int], np.ndarray], cameras: Cameras, index: int, sources: Sequence[int],
                 pixels: tuple[np.ndarray, np.ndarray], disparity: np.ndarray,
                 occluders: Callable[[int], np.ndarray] | None = None):
        """picture(index): (H,W) uint8 gray of a frame. pixels: rows and columns, (n,) each. disparity: (n,) of them as
        it is believed, which tells how the sources' light differs. occluders(index): (h,w) disparity of what stands
        still in a source, 0 where that is unknown, on any raster of the same picture; a source then says nothing about
        what they hide."""
        self._gray = picture(index)[pixels]
        self._sources = [picture(source) for source in sources]
        self._groups = _groups(index, sources)
        self._occluders = None if occluders is None else [occluders(source) for source in sources]
        self._warps = Warps(cameras, index, sources, *pixels)
        self._expected = [self._gray_with(self._bias_of(k, disparity)) for k in range(len(sources))]

    def cost(self, disparity: np.ndarray, chosen: np.ndarray | None = None) -> np.ndarray:
        """(n,) float32 gray levels, 0 to MAX_DIFFERENCE_LEVELS, of all pixels or of the chosen ones, (n,) int."""
        costs = np.stack([self._source_cost(k, disparity, chosen) for k in range(len(self._sources))])
        if self._occluders is None:
            means = [costs[group].mean(axis=0, dtype=np.float32) for group in self._groups]
        else:
            sees = np.stack([self._sees(k, disparity, chosen) for k in range(len(self._sources))])
            means = [(np.where(sees[group], costs[group], 0).sum(axis=0, dtype=np.float32) + np.float32(UNSEEN_LEVELS))
                     / (sees[group].sum(axis=0, dtype=np.float32) + np.float32(1.0)) for group in self._groups]
        return means[0] if len(means) == 1 else np.minimum(*means)

    def _source_cost(self, k: int, disparity: np.ndarray, chosen: np.ndarray | None) -> np.ndarray:
        found, is_inside = self._found(k, disparity, chosen)
        expected = self._expected[k] if chosen is None else self._expected[k].take(chosen)
        difference = np.maximum(found, expected) - np.minimum(found, expected)  # OpenCV fills up fewer than four
        return np.where(is_inside, np.minimum(difference, MAX_DIFFERENCE_LEVELS), np.uint8(MAX_DIFFERENCE_LEVELS))

    def _sees(self, k: int, disparity: np.ndarray, chosen: np.ndarray | None) -> np.ndarray:
        """(n,) bool: whether this source has nothing in front of that."""
        assert self._occluders is not None
        columns, lines, depth_ratio = self._warps.places(k, disparity, chosen)
        (height, width), occluder = self._sources[k].shape, self._occluders[k]
        down, across = (np.float32(a / b) for a, b in zip(occluder.shape, (height, width), strict=True))
        half = np.float32(0.5)
        shown = looked_up(occluder, (columns + half) * across - half, (lines + half) * down - half, len(disparity),
                          cv2.INTER_NEAREST)
        return shown * depth_ratio <= np.float32(1.0 + SEEN_THROUGH) * disparity

    def _found(self, k: int, disparity: np.ndarray, chosen: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        columns, lines, _ = self._warps.places(k, disparity, chosen)
        count, (height, width) = len(disparity), self._sources[k].shape
        found = looked_up(self._sources[k], columns, lines, count, cv2.INTER_LINEAR)
        column, line = columns.ravel()[:count], lines.ravel()[:count]
        return found, (column >= 0) & (line >= 0) & (column <= width - 1) & (line <= height - 1)

    def _gray_with(self, bias: float) -> np.ndarray:
        """(n,) uint8, this much brighter."""
        return np.clip(self._gray + np.float32(bias), 0, 255).astype(np.uint8)

    def _bias_of(self, k: int, disparity: np.ndarray) -> float:
        """Whole gray levels by which this source is brighter."""
        some = np.arange(0, len(disparity), max(1, len(disparity) // ENOUGH_FOR_BIAS))
        found, is_inside = self._found(k, disparity[some], some)
        if not is_inside.any():
            return 0.0
        bias = np.median(found[is_inside].astype(np.int16) - self._gray[some][is_inside])
        return float(np.rint(np.clip(bias, -MOST_BIAS_LEVELS, MOST_BIAS_LEVELS)))


class Refutation:
    """How far frames whose disparity is known see through what is claimed of some of another frame's pixels.

    What such a frame shows in front of a claim says nothing about it: that is hidden there. What lies behind it says
    that nothing is where it was claimed.
    """

    def __init__(self, disparity: Sequence[np.ndarray], cameras: Cameras, index: int, sources: Sequence[int],
                 pixels: tuple[np.ndarray, np.ndarray]):
        """disparity: (H,W) of each source, not 0 where it says anything. pixels: rows and columns, (n,) each."""
        self._disparity = disparity
        self._warps = Warps(cameras, index, sources, *pixels)

    def count(self, disparity: np.ndarray, chosen: np.ndarray | None = None) -> np.ndarray:
        """(n,) float32: how many see through this disparity of all pixels, or of the chosen ones, (n,) int."""
        total = np.zeros(len(disparity), np.float32)
        for k, known in enumerate(self._disparity):
            columns, lines, depth_ratio = self._warps.places(k, disparity, chosen)
            found = looked_up(known, columns, lines, len(disparity), cv2.INTER_NEAREST) * depth_ratio
            total += (found > 0) & (found < np.float32(1.0 - SEEN_THROUGH) * disparity)
        return total


def _groups(index: int, sources: Sequence[int]) -> list[list[int]]:
    """Positions of the earlier sources and of the later ones. At an end of the clip the nearest one, in which least is
    hidden, is heard apart from the others instead."""
    sides = [[k for k, source in enumerate(sources) if (source < index) == is_earlier] for is_earlier in (True, False)]
    sides = [side for side in sides if side]
    if len(sides) == 1 and len(sides[0]) > 1:
        nearest = min(sides[0], key=lambda k: abs(sources[k] - index))
        return [[nearest], [k for k in sides[0] if k != nearest]]
    return sides
