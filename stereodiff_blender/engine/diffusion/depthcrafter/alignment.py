"""Back into stage 1's scale: disparity = scale * relative disparity + shift.

One pair for the whole clip, because the clip was normalized as a whole: it can neither step where a window ends nor
follow the flicker of stage 1. One pair for each window only where windows came back with different bias, told by the
steps that one pair would leave at their borders.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .windows import Window, first_window_of, shares

MODES = ("auto", "huber_clip", "lstsq_clip", "lstsq_window", "lstsq_frame", "denorm")
DEGENERATE = 1e-12
HUBER_ROUNDS, HUBER_WIDTH = 5, 1.345 * 1.4826
"""Residuals beyond 1.345 standard deviations count less; 1.4826 medians of a normal residual are one."""
MAX_STEP = 0.01
LEAST_DISPARITY = 1e-9

Pair = tuple[float, float]


@dataclass(frozen=True)
class Samples:
    """The same pixels in both stages, (N,) each: their frame (0-based, rising), relative disparity after stage 2,
    disparity after stage 1, and weight >= 0. Where the weight is 0 the disparities may be anything."""

    frame: np.ndarray
    refined: np.ndarray
    stereo: np.ndarray
    weight: np.ndarray

    def counting(self) -> Samples:
        """Those with a weight."""
        counts = self.weight > 0
        return Samples(self.frame[counts], self.refined[counts], self.stereo[counts], self.weight[counts])

    def within(self, start: int, end: int) -> Samples:
        part = slice(*np.searchsorted(self.frame, (start, end)))
        return Samples(self.frame[part], self.refined[part], self.stereo[part], self.weight[part])


@dataclass(frozen=True)
class Alignment:
    """scale, shift: (T,) of every frame. mode: what was done, "clip", "windows", "frames" or "inverse" (nothing could
    be fitted, so that the normalization was undone).

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


def align(samples: Samples, windows: tuple[Window, ...], count: int, mode: str, low_high: Pair,
          merged: str = "crossfade") -> Alignment:
    """The scale and shift of every frame.

    windows: of the clip of `count` frames. mode: one of MODES; "auto" fits the clip robustly, and each window by itself
    if a border step exceeds MAX_STEP. low_high: the normalization that is undone where nothing can be fitted. merged:
    how the windows were put together, as windows.merge has it.
    """
    samples, inverse = samples.counting(), (low_high[1] - low_high[0], low_high[0])
    if mode == "denorm":
        return _with_residual(_everywhere(inverse, count, "inverse"), samples)
    if mode == "lstsq_frame":
        return _with_residual(_per_frame(samples, count, inverse), samples)
    if mode == "lstsq_window":
        parts = [samples.within(*window) for window in windows]
        pairs = np.array([fit_affine(part.refined, part.stereo, part.weight) or inverse for part in parts])
        return _with_residual(Alignment(*pairs[first_window_of(windows, count)].T, "windows", 0.0), samples)
    pair = (fit_affine if mode == "lstsq_clip" else fit_affine_huber)(samples.refined, samples.stereo, samples.weight)
    if pair is None:
        return _with_residual(_everywhere(inverse, count, "inverse"), samples)
    whole = _everywhere(pair, count, "clip")
    if mode == "auto" and len(windows) > 1:
        whole = _judged(whole, samples, windows, shares(windows, count, merged), pair)
    return _with_residual(whole, samples)


def _everywhere(pair: Pair, count: int, mode: str) -> Alignment:
    return Alignment(np.full(count, pair[0]), np.full(count, pair[1]), mode, 0.0)


def _per_frame(samples: Samples, count: int, otherwise: Pair) -> Alignment:
    """Only to look at: it brings stage 1's flicker back."""
    frames = [samples.within(index, index + 1) for index in range(count)]
    pairs = [fit_affine(frame.refined, frame.stereo, frame.weight) or otherwise for frame in frames]
    return Alignment(*np.array(pairs).T, "frames", 0.0)


def _with_residual(alignment: Alignment, samples: Samples) -> Alignment:
    if not len(samples.frame):
        return replace(alignment, residual=float("nan"))
    fitted = alignment.scale[samples.frame] * samples.refined + alignment.shift[samples.frame]
    return replace(alignment, residual=float(np.median(np.abs(fitted - samples.stereo) / samples.stereo)))


# --- One pair, or one for each window ---------------------------------------------------------------------------

def _judged(whole: Alignment, samples: Samples, windows: tuple[Window, ...], share: np.ndarray,
            pair: Pair) -> Alignment:
    """The alignment of the clip with its border steps measured, or that of the windows if those are too large.

    share: (T,K). A frame takes its windows' pairs by the shares its latents have of them, so that the pairs change
    where, and only where, the picture does.
    """
    pairs = _per_window(samples, windows, share, pair)
    measured = replace(whole, border_steps=border_steps(samples, share, pair),
                       window_spread=float(np.abs(np.log(pairs[:, 0] / pair[0])).max()))
    if max(measured.border_steps) <= MAX_STEP:
        return measured
    scale, shift = (share @ pairs).T
    return replace(measured, scale=scale, shift=shift, mode="windows")


def _per_window(samples: Samples, windows: tuple[Window, ...], share: np.ndarray, otherwise: Pair) -> np.ndarray:
    """(K,2) scale and shift of each window, where a frame counts by as much of it as comes from that window."""
    parts = [samples.within(*window) for window in windows]
    return np.array([fit_affine_huber(part.refined, part.stereo, part.weight * share[part.frame, k]) or otherwise
                     for k, part in enumerate(parts)])


def border_steps(samples: Samples, share: np.ndarray, pair: Pair) -> tuple[float, ...]:
    """|step of ln disparity| from each window to the next, beyond what stage 1 does there.

    share: (T,K), of each window in each frame. What is compared is each frame's median of ln(refined / stereo) where
    samples count, over all frames that come for the most part from the one or the other window: what moves in the
    picture is in both stages, and goes out. Stage 1's own flicker is averaged away, and as much of the difference as
    it can still explain, two standard errors, is not counted.
    """
    ratio = _median_log_ratio(samples, len(share), pair)
    held = [ratio[mostly] for mostly in (share > 0.5).T]
    return tuple(_step_between(before, after) for before, after in zip(held, held[1:], strict=False))


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
