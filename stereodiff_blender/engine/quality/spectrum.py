"""How error and depth change over time, by frequency (paper section 3.1): is what is left slow, or does it flicker?

With the truth at hand: one error per frame, its magnitude spectrum, bands F0..F10 and energies below and above f_c.
Without it: flicker of depth at fixed pixels, and the spectrum of what should not change, of points of the still scene.

Pure functions on arrays. (T,H,W) arrays may be memory-mapped and are read frame by frame. Frequencies are in cycles
per frame, from 0 to 0.5. Where nothing tells, a figure is None and an entry of an array NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..geometry import disparity_from_depth
from .static_points import OTHER_SURFACE, log_error, static_grid, world_points

__all__ = [
    "BANDS", "CUTOFF", "band_edges", "band_means", "flicker1", "flicker2", "frequencies", "magnitude_spectrum",
    "mean_disparities", "static_spectrum",
]

CUTOFF = 0.1
"""Cycles per frame: what changes more slowly is low-frequency error, what changes faster is flicker."""
BANDS = 11
MAX_BLOCK, MIN_BLOCK = 64, 16
"""Frames in which a point is followed: at best, and at least."""
BLOCK_POINTS, MIN_BLOCK_POINTS = 3000, 50
SEEN_SHARE = 0.9
"""A point counts if this share of a block's frames shows it."""


# --- Error of each frame, with the truth -----------------------------------------------------------------------

def absrel_per_frame(depth: np.ndarray, truth: np.ndarray, is_valid: np.ndarray | None = None) -> np.ndarray:
    """Mean |depth - truth| / truth of each frame, (T,); NaN for a frame without valid pixels.

    depth, truth: (T,H,W) after one alignment for the whole clip. is_valid: (T,H,W), > 0 where truth is known.
    """
    return _per_frame(lambda found, true: np.mean(np.abs(found - true) / true), depth, truth, is_valid)


def rmse_per_frame(depth: np.ndarray, truth: np.ndarray, is_valid: np.ndarray | None = None) -> np.ndarray:
    """Root mean square error of each frame, (T,), in scene units. Arguments as in absrel_per_frame."""
    return _per_frame(lambda found, true: np.sqrt(np.mean((found - true) ** 2)), depth, truth, is_valid)


def outliers_per_frame(depth: np.ndarray, truth: np.ndarray, is_valid: np.ndarray | None = None, *,
                       ratio: float = 1.25) -> np.ndarray:
    """Share of each frame's pixels that are off by this factor or more, (T,).

    1 - delta1 at a ratio of 1.25, 1 - delta2 at 1.25^2. Other arguments as in absrel_per_frame.
    """
    return _per_frame(lambda found, true: np.mean(np.maximum(found / true, true / found) >= ratio),
                      depth, truth, is_valid)


def _per_frame(measure: Callable, depth, truth, is_valid) -> np.ndarray:
    if depth.shape != truth.shape or depth.ndim != 3:
        raise ValueError(f"depth and truth must both be (T,H,W), got {depth.shape} and {truth.shape}")
    errors = np.full(len(depth), np.nan)
    for index, true in enumerate(truth):
        both = _is_valid(true) & _is_valid(depth[index]) & _counted(is_valid, index)
        if both.any():
            errors[index] = measure(depth[index][both].astype(np.float64), true[both].astype(np.float64))
    return errors


def _is_valid(depth: np.ndarray) -> np.ndarray:
    return np.isfinite(depth) & (depth > 0)


def _counted(mask: np.ndarray | None, index: int) -> np.ndarray | bool:
    return True if mask is None else mask[index] > 0


# --- Spectrum of an error sequence -----------------------------------------------------------------------------

def frequencies(count: int) -> np.ndarray:
    """Frequencies of the one-sided spectrum of count frames.

    Parameters
    ----------
    count : int
        Frames, 1 or more.

    Returns
    -------
    ndarray
        (count // 2 + 1,) cycles per frame, 0 to 0.5.
    """
    return np.fft.rfftfreq(count)


def magnitude_spectrum(per_frame_error: np.ndarray) -> np.ndarray:
    """|F_k| of the un-normalized transform, k = 0 .. T // 2.

    Parameters
    ----------
    per_frame_error : ndarray
        (T,) finite, one error for each frame.

    Returns
    -------
    ndarray
        (T // 2 + 1,) float64, >= 0, at the frequencies that frequencies() gives.

    Raises
    ------
    ValueError
        The error is not (T,) finite numbers, or empty.

    References
    ----------
    StereoDiff (arXiv 2506.20756), equations 1 to 3.
    """
    return np.abs(_transform(per_frame_error))


def amplitude_ratio(error_a: np.ndarray, error_b: np.ndarray) -> np.ndarray:
    """|F_k| of one method over that of another, (T // 2 + 1,); infinite or NaN where the other has none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return magnitude_spectrum(error_a) / magnitude_spectrum(error_b)


def band_edges(count: int) -> np.ndarray:
    """Borders of the bands F0..F10 of count frames.

    F0 is the mean alone. The others grow in width by one factor; in a short clip some of the lower ones are empty.

    Parameters
    ----------
    count : int
        Frames, 1 or more.

    Returns
    -------
    ndarray
        (12,) int: band F_i holds the frequencies k with edges[i] <= k < edges[i + 1].

    References
    ----------
    StereoDiff (arXiv 2506.20756); it publishes no borders but the first.
    """
    last = count // 2 + 1
    edges = np.floor(np.logspace(0.0, np.log10(last), BANDS)).astype(int)
    # The power of a logarithm may fall short of the number by its last digit, and the last frequency out of its band.
    edges[-1] = last
    return np.concatenate([[0], edges])


def band_means(per_frame_error: np.ndarray) -> np.ndarray:
    """F0..F10: each band of an error brought back to time, and its mean magnitude.

    Parameters
    ----------
    per_frame_error : ndarray
        (T,) finite, one error for each frame.

    Returns
    -------
    ndarray
        (11,) float64, in the error's unit; 0 for a band without frequencies.

    Raises
    ------
    ValueError
        The error is not (T,) finite numbers, or empty.

    References
    ----------
    StereoDiff (arXiv 2506.20756), table 2.
    """
    spectrum = _transform(per_frame_error)
    count, edges = len(per_frame_error), band_edges(len(per_frame_error))
    means = np.zeros(BANDS)
    for band, (start, stop) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
        only = np.zeros_like(spectrum)
        only[start:stop] = spectrum[start:stop]
        means[band] = np.abs(np.fft.irfft(only, count)).mean()
    return means


class Energies(NamedTuple):
    """Parts of an error's variance: low (0 < f <= cutoff) and high (f > cutoff). high_share: NaN without variance."""

    low: float
    high: float

    @property
    def high_share(self) -> float:
        total = self.low + self.high
        return self.high / total if total > 0 else np.nan


def energies(per_frame_error: np.ndarray, cutoff: float = CUTOFF) -> Energies:
    """The variance of a (T,) error, split at a frequency in cycles per frame; by Parseval the parts add up to it."""
    count = len(per_frame_error)
    power = _sides(count) * magnitude_spectrum(per_frame_error) ** 2 / count**2
    frequency = frequencies(count)
    is_low = (frequency > 0) & (frequency <= cutoff)
    return Energies(float(power[is_low].sum()), float(power[frequency > cutoff].sum()))


def _transform(per_frame_error: np.ndarray) -> np.ndarray:
    error = np.asarray(per_frame_error, np.float64)
    if error.ndim != 1 or len(error) == 0 or not np.isfinite(error).all():
        raise ValueError(f"an error sequence is (T,) finite numbers, got {error.shape}")
    return np.fft.rfft(error)


def _sides(count: int) -> np.ndarray:
    """How often each one-sided frequency stands in the two-sided spectrum: once for mean and Nyquist, else twice."""
    sides = np.full(count // 2 + 1, 2.0)
    sides[0] = 1.0
    if count % 2 == 0:
        sides[-1] = 1.0
    return sides


# --- Flicker at fixed pixels, without the truth ----------------------------------------------------------------

def flicker1(depth: np.ndarray, mask: np.ndarray | None = None) -> float | None:
    """Mean |change of ln depth| from frame to frame at fixed pixels; blind to a global scale.

    A sample needs valid, counted depth in both frames.

    Parameters
    ----------
    depth : ndarray
        (T,H,W); or what has a length and gives (H,W) by index.
    mask : ndarray or None
        (T,H,W), > 0 where a pixel counts; None: everywhere.

    Returns
    -------
    float or None
        As a share of depth; None without a sample.
    """
    return _mean_difference(depth, mask, (-1.0, 1.0))


def flicker2(depth: np.ndarray, mask: np.ndarray | None = None) -> float | None:
    """Mean |second difference of ln depth| at fixed pixels; blind also to a steady change.

    A sample needs valid, counted depth in three frames in a row.

    Parameters
    ----------
    depth : ndarray
        (T,H,W); or what has a length and gives (H,W) by index.
    mask : ndarray or None
        (T,H,W), > 0 where a pixel counts; None: everywhere.

    Returns
    -------
    float or None
        As a share of depth; None without a sample.
    """
    return _mean_difference(depth, mask, (1.0, -2.0, 1.0))


def scale_ratios(depth: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Median change of ln depth from each frame to the next, (T - 1,). Arguments as in flicker1."""
    return np.array([np.median(change) if len(change) else np.nan
                     for change in _differences(depth, mask, (-1.0, 1.0))])


def scale_flicker(depth: np.ndarray, mask: np.ndarray | None = None) -> float | None:
    """How much the scale of depth breathes: mean |difference of following scale_ratios|. Arguments as in flicker1."""
    changes = np.abs(np.diff(scale_ratios(depth, mask)))
    known = changes[np.isfinite(changes)]
    return float(known.mean()) if len(known) else None


def _mean_difference(depth, mask, taps: tuple[float, ...]) -> float | None:
    total, samples = 0.0, 0
    for difference in _differences(depth, mask, taps):
        total += float(np.abs(difference).sum())
        samples += len(difference)
    return total / samples if samples else None


def _differences(depth, mask, taps: tuple[float, ...]) -> Iterator[np.ndarray]:
    """For each run of frames, the weighted sum of ln depth of the pixels that count in all of them, (n,)."""
    for first in range(len(depth) - len(taps) + 1):
        run = [np.asarray(depth[first + i], np.float64) for i in range(len(taps))]
        both = np.all([_is_valid(frame) & _counted(mask, first + i) for i, frame in enumerate(run)], axis=0)
        yield sum(tap * np.log(frame[both]) for tap, frame in zip(taps, run, strict=True))


# --- Mean disparity over time ----------------------------------------------------------------------------------

def mean_disparities(stereo_depth: np.ndarray, refined_depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean disparity of each frame before and after stage 2, on one scale.

    0 and 1 are the smallest and the largest valid disparity of stage 1 in the whole clip.

    Parameters
    ----------
    stereo_depth, refined_depth : ndarray
        (T,H,W), before and after stage 2.

    Returns
    -------
    stereo, refined : ndarray
        (T,) each; NaN for a frame without valid pixels, all 0 where stage 1 has one disparity or none.

    References
    ----------
    StereoDiff (arXiv 2506.20756), figure 4.
    """
    low, high = disparity_range(stereo_depth)
    return mean_disparity(stereo_depth, low, high), mean_disparity(refined_depth, low, high)


def disparity_range(depth: np.ndarray) -> tuple[float, float]:
    """Smallest and largest valid disparity of a clip's (T,H,W) depth; 0 and 0 if no pixel is valid."""
    low, high = np.inf, 0.0
    for frame in depth:
        valid = frame[_is_valid(frame)]
        if len(valid):
            low, high = min(low, 1.0 / float(valid.max())), max(high, 1.0 / float(valid.min()))
    return (low, high) if high > 0 else (0.0, 0.0)


def mean_disparity(depth: np.ndarray, low: float, high: float) -> np.ndarray:
    """(T,) mean of (disparity - low) / (high - low) over each frame's valid pixels; 0 where high is not above low."""
    means = np.full(len(depth), np.nan)
    for index, frame in enumerate(depth):
        valid = _is_valid(frame)
        if valid.any():
            means[index] = disparity_from_depth(frame[valid].astype(np.float64)).mean()
    return (means - low) / (high - low) if high > low else np.zeros_like(means)


# --- Spectrum of the still scene, without the truth ------------------------------------------------------------

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
                    intrinsics: np.ndarray) -> StaticSpectrum | None:
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

    Returns
    -------
    StaticSpectrum or None
        None for a clip too short, or if too few points can be followed.
    """
    scene = _Scene([stereo_depth] if refined_depth is None else [stereo_depth, refined_depth], confidence, motion_mask,
                   camera_to_world, intrinsics)
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

    def camera(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self.camera_to_world[index], self.intrinsics[index]


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
    window, sides = _hann(length), _sides(length)
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
