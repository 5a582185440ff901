"""One look at every frame of a clip, at a reduced size: what changes from each frame to the next, and what never does.

inspection.py judges what is measured here.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..imaging import sample

SIDE_PX = 160
"""Longest side at which neighbors are matched."""
GRID = (16, 9)
EVIDENCE_FRAMES = 48
"""At most about so many frames are asked what stands still in the picture."""
TEXTURED_LEVELS = 12.0
MIN_TEXTURED_SHARE = 0.02
CONSISTENT_PX, CONSISTENT_SHARE = 0.5, 0.05
OUTSIDE = 1e4
ALIKE = 0.6
CORRELATION_WINDOW_PX = 9
STILL_PX = 0.1
MEASURABLE_LEVELS = (16, 240)
MIN_GAIN_PIXELS = 100
NEIGHBORHOOD_PX = 45
NOISE_LEVELS = 2.0


@dataclass(frozen=True)
class Pair:
    """How a frame goes on in a later one. Lengths are shares of the picture's longest side.

    matched: share of the textured pixels that flow takes there and back again, to what looks the same; nan where
    neither frame has texture.
    motion: 75th percentile of flow length. change: mean difference in place, in gray levels at equal contrast.
    flow: (9,16,2), coarse. log_gain: natural logarithm of how much brighter the same things are; nan if unknown.
    is_blank: whether one of the two shows hardly anything, as black and white frames do.
    """

    matched: float
    motion: float
    change: float
    flow: np.ndarray
    log_gain: float
    is_blank: bool


@dataclass(frozen=True)
class Evidence:
    """What every pixel (H,W) did over the clip.

    darkest, brightest: uint8 gray levels. edge: strength of the mean gradient, in gray levels per pixel.
    steadiness: that strength over the gradient's deviation in time, so that what is drawn onto the picture is far
    above 1. corner: how much the steady edges around a pixel run in two directions (smaller eigenvalue of their
    structure tensor). surroundings_px: how far what surrounds a pixel has moved in all.
    """

    darkest: np.ndarray
    brightest: np.ndarray
    edge: np.ndarray
    steadiness: np.ndarray
    corner: np.ndarray
    surroundings_px: np.ndarray


@dataclass(frozen=True)
class Scan:
    """pairs: of each frame with the next, T - 1 of them."""

    pairs: list[Pair]
    evidence: Evidence


class Scanner:
    """Looks at frames (T,H,W,3) uint8, which may be memory-mapped; reads them one at a time."""

    def __init__(self, frames: np.ndarray):
        self._frames = frames
        height, width = frames.shape[1:3]
        self.scale = min(1.0, SIDE_PX / max(height, width))
        self._size = max(16, round(width * self.scale)), max(16, round(height * self.scale))
        self._matcher = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._matcher.setFinestScale(1)

    def scan(self) -> Scan:
        """Look at every frame once."""
        gathering = _Gathering(self._frames.shape[1:3], self._size)
        step = -(-len(self._frames) // EVIDENCE_FRAMES)
        pairs, before = [], None
        for index in range(len(self._frames)):
            frame = np.ascontiguousarray(self._frames[index])
            now = self._digest(frame)
            if before is not None:
                pair, flow = self._match(before, now)
                pairs.append(pair)
                gathering.moved(flow)
            gathering.add(frame, is_sampled=index % step == 0)
            before = now
        return Scan(pairs, gathering.evidence(self.scale))

    def match(self, index_i: int, index_j: int) -> Pair:
        """Any frame with any other."""
        digests = [self._digest(np.ascontiguousarray(self._frames[index])) for index in (index_i, index_j)]
        return self._match(*digests)[0]

    def _digest(self, frame: np.ndarray) -> _Digest:
        gray = cv2.cvtColor(cv2.resize(frame, self._size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
        return _Digest(gray, _at_equal_contrast(gray))

    def _flow(self, digest_i: _Digest, digest_j: _Digest) -> np.ndarray:
        # OpenCV's stub has no None, by which the function itself means: without a guess.
        return self._matcher.calc(
            digest_i.normalized, digest_j.normalized, None)  # pyright: ignore[reportArgumentType, reportCallIssue]

    def _match(self, digest_i: _Digest, digest_j: _Digest) -> tuple[Pair, np.ndarray]:
        forward, backward = self._flow(digest_i, digest_j), self._flow(digest_j, digest_i)
        length = cv2.magnitude(forward[..., 0], forward[..., 1])
        gap = sample(backward, forward, outside=OUTSIDE) + forward
        miss = cv2.magnitude(gap[..., 0], gap[..., 1])
        agrees = miss < CONSISTENT_PX + CONSISTENT_SHARE * length
        by_frame = [_is_textured(digest.normalized) for digest in (digest_i, digest_j)]
        textured = by_frame[0] | by_frame[1]
        enough = textured.mean() >= MIN_TEXTURED_SHARE
        alike = agrees & (_correlation(digest_i.normalized, sample(digest_j.normalized, forward)) > ALIKE)
        side = max(self._size)
        return Pair(
            matched=_share(alike[textured & (miss < 0.5 * OUTSIDE)]) if enough else float("nan"),
            motion=float(np.percentile(length[textured], 75)) / side if enough else 0.0,
            change=float(cv2.absdiff(digest_i.normalized, digest_j.normalized).mean()),
            flow=cv2.resize(forward, GRID, interpolation=cv2.INTER_AREA) / side,
            log_gain=_log_gain(digest_i.gray, digest_j.gray, forward, agrees),
            is_blank=min(frame.mean() for frame in by_frame) < MIN_TEXTURED_SHARE), length


@dataclass(frozen=True)
class _Digest:
    """A small frame, (h,w) uint8 each: gray; and even, with the same mean and contrast as all others."""

    gray: np.ndarray
    normalized: np.ndarray


def _at_equal_contrast(gray: np.ndarray) -> np.ndarray:
    mean, deviation = (float(value[0, 0]) for value in cv2.meanStdDev(gray))
    gain = 45.0 / max(deviation, 2.0)
    return np.clip(gray.astype(np.float32) * gain + (128.0 - gain * mean), 0, 255).astype(np.uint8)


def _is_textured(gray: np.ndarray) -> np.ndarray:
    across, down = (cv2.Sobel(gray, cv2.CV_32F, *order, scale=0.25) for order in ((1, 0), (0, 1)))
    return cv2.magnitude(across, down) > TEXTURED_LEVELS


def _correlation(gray_i: np.ndarray, gray_j: np.ndarray) -> np.ndarray:
    """Correlation of the windows around each pixel, (h,w) in -1..1."""
    a, b = gray_i.astype(np.float32), gray_j.astype(np.float32)
    mean_a, mean_b, square_a, square_b, product = (cv2.blur(image, (CORRELATION_WINDOW_PX,) * 2)
                                                   for image in (a, b, a * a, b * b, a * b))
    spread = (square_a - mean_a**2) * (square_b - mean_b**2)
    return (product - mean_a * mean_b) / np.sqrt(np.maximum(spread, 1.0))


def _share(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else 0.0


def _log_gain(gray_i, gray_j, flow, agrees) -> float:
    found = sample(gray_j, flow)
    low, high = MEASURABLE_LEVELS
    good = agrees & (gray_i > low) & (gray_i < high) & (found > low) & (found < high)
    if good.sum() < MIN_GAIN_PIXELS:
        return float("nan")
    return float(np.median(np.log(found[good].astype(np.float32) / gray_i[good])))


class _Gathering:
    """Sums over the clip that become its evidence."""

    def __init__(self, shape: tuple[int, int], small_size: tuple[int, int]):
        self._darkest, self._brightest = np.full(shape, 255, np.uint8), np.zeros(shape, np.uint8)
        self._across, self._down, self._square = (np.zeros(shape, np.float32) for _ in range(3))
        self._path = np.zeros(small_size[::-1], np.float32)
        self._sampled = 0

    def moved(self, length: np.ndarray) -> None:
        """length: (h,w) of small pixels that a frame's flow goes; what is below its noise is no motion."""
        self._path += np.where(length > STILL_PX, length, 0.0)

    def add(self, frame: np.ndarray, *, is_sampled: bool) -> None:
        gray = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        cv2.min(self._darkest, gray, dst=self._darkest)
        cv2.max(self._brightest, gray, dst=self._brightest)
        if not is_sampled:
            return
        across, down = (cv2.Sobel(gray, cv2.CV_32F, *order, scale=0.25) for order in ((1, 0), (0, 1)))
        self._across += across
        self._down += down
        self._square += across * across + down * down
        self._sampled += 1

    def evidence(self, scale: float) -> Evidence:
        across, down = self._across / self._sampled, self._down / self._sampled
        squared = across * across + down * down
        deviation = np.sqrt(np.maximum(self._square / self._sampled - squared, 0.0) + NOISE_LEVELS**2)
        edge = np.sqrt(squared)
        steadiness = edge / deviation
        return Evidence(self._darkest, self._brightest, edge, steadiness,
                        _corner_strength(across, down, steadiness > 1.0), self._surroundings_px(scale))

    def _surroundings_px(self, scale: float) -> np.ndarray:
        """The median, so that lettering does not vouch for itself; in quarters of small pixels, to fit a byte."""
        quarters = np.minimum(4.0 * self._path, 255.0).astype(np.uint8)
        typical = cv2.medianBlur(quarters, NEIGHBORHOOD_PX).astype(np.float32) / (4.0 * scale)
        return cv2.resize(typical, self._darkest.shape[::-1], interpolation=cv2.INTER_LINEAR)


def _corner_strength(across: np.ndarray, down: np.ndarray, where: np.ndarray) -> np.ndarray:
    across, down = np.where(where, across, 0.0), np.where(where, down, 0.0)
    a, b, c = (cv2.boxFilter(product, -1, (7, 7)) for product in (across * across, across * down, down * down))
    return 0.5 * (a + c) - np.sqrt(0.25 * (a - c) ** 2 + b * b)
