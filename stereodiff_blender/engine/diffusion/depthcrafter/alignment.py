"""Back into stage 1's scale: disparity = scale * relative disparity + shift.

One pair for the whole clip, because the clip was normalised as a whole: it can neither step where a window ends nor
follow the flicker of stage 1. One pair for each window only where windows came back with different bias, told by the
steps that one pair would leave at their borders.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .windows import Window, fade_in, first_window_of

MODES = ("auto", "huber_clip", "lstsq_clip", "lstsq_window", "lstsq_frame", "denorm")
DEGENERATE = 1e-12
HUBER_ROUNDS, HUBER_WIDTH = 5, 1.345 * 1.4826
"""Residuals beyond 1.345 standard deviations count less; 1.4826 medians of a normal residual are one."""
MAX_STEP = 0.01
LEAST_DISPARITY = 1e-9

Pair = tuple[float, float]
Fit = Callable[[np.ndarray, np.ndarray, np.ndarray], Pair | None]


@dataclass(frozen=True)
class Samples:
    """The same pixels in both stages, (N,) each: their frame (0-based, rising), relative disparity after stage 2,
    disparity after stage 1, and weight >= 0."""

    frame: np.ndarray
    refined: np.ndarray
    stereo: np.ndarray
    weight: np.ndarray

    def within(self, start: int, end: int) -> Samples:
        part = slice(*np.searchsorted(self.frame, (start, end)))
        return Samples(self.frame[part], self.refined[part], self.stereo[part], self.weight[part])


@dataclass(frozen=True)
class Alignment:
    """scale, shift: (T,) of every frame. mode: what was done, "clip", "windows", "frames" or "inverse" (nothing could
    be fitted, so that the normalisation was undone).

    residual: median relative difference of disparity to stage 1 that is left. border_steps: of one pair for the clip,
    at each border of windows: relative step of depth beyond what stage 1 does there. window_spread: largest
    |ln(scale of a window / scale of the clip)|.
    """

    scale: np.ndarray
    shift: np.ndarray
    mode: str
    residual: float
    border_steps: tuple[float, ...] = ()
    window_spread: float = 0.0


def fit_affine(refined: np.ndarray, stereo: np.ndarray, weight: np.ndarray) -> Pair | None:
    """Weighted least squares, in float64. None if the samples do not tell, or are turned inside out (scale <= 0)."""
    x, y, w = (np.asarray(values, np.float64) for values in (refined, stereo, weight))
    a00, a01, a11 = (w * x * x).sum(), (w * x).sum(), w.sum()
    b0, b1 = (w * x * y).sum(), (w * y).sum()
    determinant = a00 * a11 - a01**2
    if not determinant > DEGENERATE * a00 * a11:
        return None
    scale, shift = (a11 * b0 - a01 * b1) / determinant, (a00 * b1 - a01 * b0) / determinant
    return (float(scale), float(shift)) if scale > 0 else None


def fit_affine_huber(refined: np.ndarray, stereo: np.ndarray, weight: np.ndarray) -> Pair | None:
    """The same, with samples that fit badly counting less (Huber's weights, reweighted)."""
    pair, counted = fit_affine(refined, stereo, weight), np.asarray(weight, np.float64)
    for _ in range(HUBER_ROUNDS if pair is not None else 0):
        residual = np.abs(pair[0] * refined + pair[1] - stereo)
        width = HUBER_WIDTH * float(np.median(residual[counted > 0]))
        limited = np.minimum(1.0, width / np.maximum(residual, np.finfo(np.float64).tiny))
        better = fit_affine(refined, stereo, counted * limited) if width > 0 else None
        if better is None:
            break
        pair = better
    return pair


def align(samples: Samples, windows: Sequence[Window], count: int, mode: str, low_high: Pair) -> Alignment:
    """The scale and shift of every frame.

    windows: of the clip of `count` frames. mode: one of MODES; "auto" fits the clip robustly, and each window by itself
    if a border step exceeds MAX_STEP. low_high: the normalisation that is undone where nothing can be fitted.
    """
    inverse = (low_high[1] - low_high[0], low_high[0])
    if mode == "denorm":
        return _with_residual(_everywhere(inverse, count, "inverse"), samples)
    if mode == "lstsq_frame":
        return _with_residual(_per_frame(samples, count, inverse), samples)
    if mode == "lstsq_window":
        pairs = _per_window(samples, windows, fit_affine, inverse)
        owner = first_window_of(windows, count)
        return _with_residual(Alignment(*pairs[owner].T, "windows", 0.0), samples)
    pair = (fit_affine if mode == "lstsq_clip" else fit_affine_huber)(samples.refined, samples.stereo, samples.weight)
    if pair is None:
        return _with_residual(_everywhere(inverse, count, "inverse"), samples)
    whole = _everywhere(pair, count, "clip")
    return _with_residual(_judged(whole, samples, windows, count, pair) if mode == "auto" else whole, samples)


def _everywhere(pair: Pair, count: int, mode: str) -> Alignment:
    return Alignment(np.full(count, pair[0]), np.full(count, pair[1]), mode, 0.0)


def _per_frame(samples: Samples, count: int, otherwise: Pair) -> Alignment:
    """Only to look at: it brings stage 1's flicker back."""
    frames = [samples.within(index, index + 1) for index in range(count)]
    pairs = [fit_affine(frame.refined, frame.stereo, frame.weight) or otherwise for frame in frames]
    return Alignment(*np.array(pairs).T, "frames", 0.0)


def _per_window(samples: Samples, windows: Sequence[Window], fit: Fit, otherwise: Pair) -> np.ndarray:
    """(K,2) scale and shift of each window."""
    parts = [samples.within(*window) for window in windows]
    return np.array([fit(part.refined, part.stereo, part.weight) or otherwise for part in parts])


def _with_residual(alignment: Alignment, samples: Samples) -> Alignment:
    counts = samples.weight > 0
    if not counts.any():
        return replace(alignment, residual=float("nan"))
    frame, stereo = samples.frame[counts], samples.stereo[counts]
    fitted = alignment.scale[frame] * samples.refined[counts] + alignment.shift[frame]
    return replace(alignment, residual=float(np.median(np.abs(fitted - stereo) / stereo)))


# --- One pair, or one for each window ---------------------------------------------------------------------------

def _judged(whole: Alignment, samples: Samples, windows: Sequence[Window], count: int, pair: Pair) -> Alignment:
    """The alignment of the clip with its border steps measured, or that of the windows if those are too large."""
    if len(windows) == 1:
        return whole
    pairs = _per_window(samples, windows, fit_affine_huber, pair)
    measured = replace(whole, border_steps=border_steps(samples, windows, count, pair),
                       window_spread=float(np.abs(np.log(pairs[:, 0] / pair[0])).max()))
    if max(measured.border_steps) <= MAX_STEP:
        return measured
    scale, shift = _blended(pairs, windows, count).T
    return replace(measured, scale=scale, shift=shift, mode="windows")


def _blended(pairs: np.ndarray, windows: Sequence[Window], count: int) -> np.ndarray:
    """(T,2): each frame's pair, linear from one window's to the next one's over the frames they share."""
    per_frame = pairs[first_window_of(windows, count)]
    for k, (before, after) in enumerate(zip(windows, windows[1:], strict=False)):
        shared = slice(after.start, before.end)
        weight = fade_in(max(before.end - after.start, 0))[:, None]
        per_frame[shared] = (1.0 - weight) * pairs[k] + weight * pairs[k + 1]
    return per_frame


def border_steps(samples: Samples, windows: Sequence[Window], count: int, pair: Pair) -> tuple[float, ...]:
    """|step of ln disparity| across each border of windows, beyond what stage 1 does there.

    What is compared is each frame's median of ln(refined / stereo) where samples count, over all frames that only the
    one or the other window holds: what moves in the picture is in both stages, and goes out. Stage 1's own flicker is
    averaged away, and as much of the difference as it can still explain, two standard errors, is not counted.
    """
    ratio = _median_log_ratio(samples, count, pair)
    return tuple(_step_between(ratio[before.start:min(after.start, before.end)],
                               ratio[max(before.end, after.start):after.end])
                 for before, after in zip(windows, windows[1:], strict=False))


def _median_log_ratio(samples: Samples, count: int, pair: Pair) -> np.ndarray:
    """(T,); nan for a frame without samples that count."""
    ratio = np.full(count, np.nan)
    for index in range(count):
        part = samples.within(index, index + 1)
        counts = part.weight > 0
        if counts.any():
            fitted = np.maximum(pair[0] * part.refined[counts] + pair[1], LEAST_DISPARITY)
            ratio[index] = np.median(np.log(fitted / part.stereo[counts]))
    return ratio


def _step_between(before: np.ndarray, after: np.ndarray) -> float:
    """0 if there are too few frames to tell."""
    before, after = before[np.isfinite(before)], after[np.isfinite(after)]
    if min(len(before), len(after)) < 2:
        return 0.0
    error = np.sqrt(before.var(ddof=1) / len(before) + after.var(ddof=1) / len(after))
    return max(0.0, float(abs(after.mean() - before.mean()) - 2.0 * error))
