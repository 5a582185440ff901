"""How error and depth change over time, by frequency (paper section 3.1): is what is left slow, or does it flicker?

With the truth at hand: one error per frame, its magnitude spectrum, bands F0..F10 and energies below and above f_c.
Without it: flicker of depth at fixed pixels, and its mean over time. What points of the still scene tell without the
truth is in static_spectrum.py.

Pure functions on arrays. (T,H,W) arrays may be memory-mapped and are read frame by frame. Frequencies are in cycles
per frame, from 0 to 0.5. Where nothing tells, a figure is None and an entry of an array NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from ..geometry import disparity_from_depth

__all__ = [
    "BANDS", "CUTOFF", "band_edges", "band_means", "flicker1", "flicker2", "frequencies", "magnitude_spectrum",
    "mean_disparities",
]

CUTOFF = 0.1
"""Cycles per frame: what changes more slowly is low-frequency error, what changes faster is flicker."""
BANDS = 11


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
    power = one_sided_weights(count) * magnitude_spectrum(per_frame_error) ** 2 / count**2
    frequency = frequencies(count)
    is_low = (frequency > 0) & (frequency <= cutoff)
    return Energies(float(power[is_low].sum()), float(power[frequency > cutoff].sum()))


def _transform(per_frame_error: np.ndarray) -> np.ndarray:
    error = np.asarray(per_frame_error, np.float64)
    if error.ndim != 1 or len(error) == 0 or not np.isfinite(error).all():
        raise ValueError(f"an error sequence is (T,) finite numbers, got {error.shape}")
    return np.fft.rfft(error)


def one_sided_weights(count: int) -> np.ndarray:
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
