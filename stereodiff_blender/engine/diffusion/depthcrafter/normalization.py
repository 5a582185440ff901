"""Stage 1's depth as the network knows it: disparity in 0..1, by one range for the whole clip."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from .options import Options

MAX_SAMPLES = 4_000_000
LEAST_SPREAD = 1e-12


@dataclass(frozen=True)
class DisparityRange:
    """low, high: disparities that become 0 and 1. least, most: of the clip; within them all of its disparity lies.

    One range, never one per window or frame: else a window's scale would follow what happens to be in it.
    """

    low: float
    high: float
    least: float
    most: float

    @property
    def is_flat(self) -> bool:
        """Whether everything is equally far, so that there is nothing to refine."""
        return self.high - self.low < LEAST_SPREAD

    def normalized(self, disparity: np.ndarray, fill: float) -> np.ndarray:
        """(H,W) disparity, 0 where there is none, to float32 in 0..1; fill where there is none."""
        inside = np.clip((disparity - self.low) / (self.high - self.low), 0.0, 1.0)
        return np.where(disparity > 0, inside, fill).astype(np.float32)


def disparity_of(depth: np.ndarray) -> np.ndarray:
    """(H,W) depth to float64 disparity; 0 where depth is no positive number."""
    is_valid = np.isfinite(depth) & (depth > 0)
    return np.divide(1.0, depth, out=np.zeros(depth.shape, np.float64), where=is_valid)


def find_range(disparity: Callable[[int], np.ndarray], count: int, options: Options,
               each: Callable[[Callable, Iterable[int]], Iterable] = map) -> DisparityRange | None:
    """The range of a clip of `count` frames; None if no pixel has a depth. disparity: (H,W) of one frame, 0 = none.
    each: applies a function to all frames, in order; map, or that of several cores.

    Quantiles of long clips are those of an even sample.
    """
    def range_and_sample(index: int) -> tuple[float, float, np.ndarray] | None:
        frame = disparity(index)
        valid = frame[frame > 0]
        return (float(valid.min()), float(valid.max()), valid[::_stride(frame.size * count)]) if valid.size else None

    found = [of_frame for of_frame in each(range_and_sample, range(count)) if of_frame is not None]
    if not found:
        return None
    lows, highs, samples = zip(*found, strict=True)
    least, most = min(lows), max(highs)
    if options.norm == "minmax":
        return DisparityRange(least, most, least, most)
    low, high = np.quantile(np.concatenate(samples), options.quantiles)
    return DisparityRange(float(low), float(high), least, most)


def _stride(pixels: int) -> int:
    """Odd, so that a sample does not walk down one column of rows of even length."""
    return -(-pixels // MAX_SAMPLES) | 1
