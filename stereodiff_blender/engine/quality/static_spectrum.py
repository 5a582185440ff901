"""The spectrum of what should not change: depth of points of the still scene, followed through blocks of frames.

It needs no truth. Frequencies are in cycles per frame; (T,H,W) arrays may be memory-mapped and are read frame by frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..contract import Distortion
from ..geometry import invert_rigid
from ..shutter import RollingShutter, RowCamera
from .spectrum import CUTOFF, band_edges, frequencies, one_sided_weights
from .static_points import OTHER_SURFACE, log_error, static_grid, world_points

__all__ = ["static_spectrum"]

MAX_BLOCK, MIN_BLOCK = 64, 16
"""Frames in which a point is followed: at best, and at least."""
BLOCK_POINTS, MIN_BLOCK_POINTS = 3000, 50
SEEN_SHARE = 0.9
"""A point counts if this share of a block's frames shows it."""


@dataclass(frozen=True)
class StaticSpectrum:
    """What should not change, of points of the still scene, by frequency; before and after (None) stage 2.

    frequency: (F,) cycles per frame, above 0 to 0.5. before, after: (F,) amplitude, as a share of depth: a wave of
    1 % of depth shows as 0.01 at its frequency. bands_before, bands_after: (11,) root mean square of each band
    F0..F10, as a share of depth; F0, the mean, is taken off beforehand and 0. low_kept, high_kept: what stage 2
    left of the root mean square up to CUTOFF and above, 1 = all. block: frames in which a point was followed;
    points: how many points there were.
    """

    frequency: np.ndarray
    before: np.ndarray
    after: np.ndarray | None
    bands_before: np.ndarray
    bands_after: np.ndarray | None
    low_kept: float | None
    high_kept: float | None
    block: int
    points: int


def static_spectrum(stereo_depth: np.ndarray, refined_depth: np.ndarray | None, confidence: np.ndarray,
                    motion_mask: np.ndarray, camera_to_world: np.ndarray,
                    intrinsics: np.ndarray, distortion: Distortion | None = None,
                    shutter: RollingShutter | None = None) -> StaticSpectrum | None:
    """Spectrum over time of depth's error on trusted static points, relative to what cameras and depth predict.

    The clip is cut into half-overlapping blocks. Trusted static pixels of a block's middle frame are carried by their
    depth into all its frames, where ln(found / expected) z-depth is the error: zero on exact depth under any camera
    move. Points that nearly all frames show count, the same before and after stage 2; each loses its linear trend
    and is tapered by a Hann window.

    Parameters
    ----------
    stereo_depth : ndarray
        (T,H,W) > 0.
    refined_depth : ndarray or None
        (T,H,W) > 0; None without stage 2.
    confidence : ndarray
        (T,H,W) in [0,1].
    motion_mask : ndarray
        (T,H,W), > 0 where the thing itself moves.
    camera_to_world : ndarray
        (T,4,4), OpenCV axes.
    intrinsics : ndarray
        (T,4) fx, fy, cx, cy, raster pixels.
    distortion : Distortion or None
        Of the lens on whose plate all this lies; None of a pinhole.
    shutter : RollingShutter or None
        Of the same frames; None if all rows of one are read at once.

    Returns
    -------
    StaticSpectrum or None
        None for a clip too short, or if too few points can be followed.
    """
    scene = _Scene([stereo_depth] if refined_depth is None else [stereo_depth, refined_depth], confidence, motion_mask,
                   camera_to_world, intrinsics, distortion, shutter)
    found, length = None, min(len(stereo_depth), MAX_BLOCK)
    while length >= MIN_BLOCK:
        starts = _block_starts(len(stereo_depth), length)
        counts, power = _mean_power(scene, starts, length)
        if counts:
            found = _as_spectrum(power, length, sum(counts))
        if 2 * len(counts) >= len(starts):
            break
        # A camera that moves fast shows few points for long: follow them for a shorter time.
        length //= 2
    return found


class _Scene(NamedTuple):
    """depths: (T,H,W) of each stage. The rest as static_spectrum takes it."""

    depths: list[np.ndarray]
    confidence: np.ndarray
    motion_mask: np.ndarray
    camera_to_world: np.ndarray
    intrinsics: np.ndarray
    distortion: Distortion | None
    shutter: RollingShutter | None

    def camera(self, index: int) -> tuple[np.ndarray, np.ndarray, Distortion | None, RowCamera | None]:
        pose, intrinsics = self.camera_to_world[index], self.intrinsics[index]
        rows = None if self.shutter is None else self.shutter.camera(index, invert_rigid(pose), intrinsics)
        return pose, intrinsics, self.distortion, rows


def _block_starts(count: int, length: int) -> list[int]:
    """First frames of blocks that cover count frames and overlap by half; the last one ends with the clip."""
    starts = list(range(0, count - length + 1, length // 2))
    return starts if starts[-1] == count - length else [*starts, count - length]


def _mean_power(scene: _Scene, starts: list[int], length: int) -> tuple[list[int], np.ndarray]:
    """Points of each block that has enough of them, and the mean |windowed transform|^2 of all, (stages, F)."""
    counts, total = [], np.zeros((len(scene.depths), length // 2 + 1))
    for start in starts:
        errors = _block_errors(scene, range(start, start + length))
        if errors.shape[1] >= MIN_BLOCK_POINTS:
            counts.append(errors.shape[1])
            total += (np.abs(_windowed_transform(errors)) ** 2).sum(axis=1)
    return counts, total / max(sum(counts), 1)


def _block_errors(scene: _Scene, block: range) -> np.ndarray:
    """ln(found / expected) of the points that every stage shows in nearly all frames, (stages, points, frames)."""
    middle, mask = block[len(block) // 2], scene.motion_mask
    rows, cols = static_grid(scene.confidence[middle], mask[middle], _grid_step(mask.shape[1:]))
    points = [world_points(depth[middle], rows, cols, *scene.camera(middle)) for depth in scene.depths]
    errors = np.empty((len(points), len(rows), len(block)))
    for column, index in enumerate(block):
        for stage, depth in enumerate(scene.depths):
            errors[stage, :, column] = log_error(depth[index], mask[index], points[stage], *scene.camera(index))
    is_seen = np.abs(errors) < OTHER_SURFACE
    followed = (is_seen.mean(axis=2) >= SEEN_SHARE).all(axis=0)
    return _without_gaps(errors[:, followed], is_seen[:, followed])


def _grid_step(shape: tuple[int, int]) -> int:
    """Pixels between the points of a grid of about BLOCK_POINTS."""
    return max(2, round(float(np.sqrt(shape[0] * shape[1] / BLOCK_POINTS))))


def _without_gaps(errors: np.ndarray, is_seen: np.ndarray) -> np.ndarray:
    """errors (...,frames) with linear interpolation over the frames that do not show the point."""
    filled, time = errors.copy(), np.arange(errors.shape[-1])
    for place in zip(*np.nonzero(~is_seen.all(axis=-1)), strict=True):
        known = is_seen[place]
        filled[place] = np.interp(time, time[known], errors[place][known])
    return filled


def _hann(length: int) -> np.ndarray:
    """(length,) periodic, so that a whole number of waves touches no more than the neighboring frequencies."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)


def _windowed_transform(errors: np.ndarray) -> np.ndarray:
    """One-sided transform along the last axis, after the linear trend is removed and the ends are tapered."""
    length = errors.shape[-1]
    time = np.arange(length) - (length - 1) / 2
    slope = (errors @ time) / (time @ time)
    level = errors.mean(axis=-1)
    return np.fft.rfft((errors - level[..., None] - slope[..., None] * time) * _hann(length))


def _as_spectrum(power: np.ndarray, length: int, points: int) -> StaticSpectrum:
    """power: (stages, F) mean |windowed transform|^2."""
    window, sides = _hann(length), one_sided_weights(length)
    amplitude = np.sqrt(power[:, 1:]) * sides[1:] / window.sum()
    variance = power * sides / (length * (window @ window))
    variance[:, 0] = 0.0
    bands = [_band_rms(stage, length) for stage in variance]
    low_kept, high_kept = _kept(variance, frequencies(length)) if len(power) > 1 else (None, None)
    return StaticSpectrum(frequencies(length)[1:], amplitude[0], amplitude[1] if len(power) > 1 else None,
                          bands[0], bands[1] if len(power) > 1 else None, low_kept, high_kept, length, points)


def _band_rms(variance: np.ndarray, length: int) -> np.ndarray:
    edges = band_edges(length)
    return np.sqrt([variance[start:stop].sum() for start, stop in zip(edges[:-1], edges[1:], strict=True)])


def _kept(variance: np.ndarray, frequency: np.ndarray) -> tuple[float | None, float | None]:
    """Root of the ratio of variance after to before, up to CUTOFF and above; None where there was none."""
    parts = variance[:, frequency <= CUTOFF].sum(axis=1), variance[:, frequency > CUTOFF].sum(axis=1)
    return tuple(float(np.sqrt(after / before)) if before > 0 else None for before, after in parts)
