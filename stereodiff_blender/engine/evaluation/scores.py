"""How near a clip's depth is to the truth, by the measures and the protocol that video depth is published with.

One scale and one shift of disparity for the whole clip, never one per frame: a frame's own fit would hide that its
scale wanders. Every figure is a mean over the frames that have a truth. Frames are looked at one by one, so that memory
does not grow with the clip.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

LEAST = 1e-3
"""Depth and disparity below are this."""
RATIO = 1.25


@dataclass(frozen=True)
class Scores:
    """absrel: mean |depth - truth| / truth. rmse: in the truth's units. delta1, delta2: share of pixels whose depth and
    truth differ by a factor below 1.25, and its square. frames: how many had a truth."""

    absrel: float
    rmse: float
    delta1: float
    delta2: float
    frames: int


@dataclass(frozen=True)
class ScaleShift:
    """What brings a clip's disparity nearest to the truth's: scale * disparity + shift. farthest: depth ends here."""

    scale: float
    shift: float
    farthest: float

    def depth(self, disparity: np.ndarray) -> np.ndarray:
        """Depth in the truth's units, LEAST to farthest; disparity: any shape."""
        return np.clip(1.0 / np.maximum(self.scale * disparity + self.shift, LEAST), LEAST, self.farthest)


def score_disparity(disparity: np.ndarray, truth: np.ndarray, *, farthest: float) -> Scores:
    """Scores of relative disparity against true depth.

    disparity: (T,h,w), near is large, any scale and shift; of another size than the truth it is looked up between
    pixels. truth: (T,H,W) depth; at most LEAST, or from `farthest` on, is no truth. farthest: depth counts up to here.
    Frames that either has more of are left out. Raises ValueError if no frame has a truth, or one value only.
    """
    fitted = fit_scale_shift_of_clip(_pairs(disparity, truth, farthest), farthest=farthest)
    rows = [frame_scores(fitted.depth(found), true) for found, true in _pairs(disparity, truth, farthest)]
    return Scores(*(float(value) for value in np.mean(rows, axis=0)), len(rows))


def has_truth(truth: np.ndarray, farthest: float) -> np.ndarray:
    """Where (H,W) depth is known and counts."""
    return (truth > LEAST) & (truth < farthest)


def _pairs(disparity: np.ndarray, truth: np.ndarray, farthest: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Disparity and true depth (n,) of the valid pixels of every frame that has any."""
    for found, true in zip(disparity, truth, strict=False):
        is_valid = has_truth(true, farthest)
        if is_valid.any():
            size = true.shape[::-1]
            resized = found if found.shape == true.shape else cv2.resize(found, size, interpolation=cv2.INTER_LINEAR)
            yield np.maximum(resized[is_valid].astype(np.float64), LEAST), true[is_valid].astype(np.float64)


def fit_scale_shift_of_clip(pairs: Iterable[tuple[np.ndarray, np.ndarray]], *, farthest: float) -> ScaleShift:
    """Scale and shift of disparity that fit the whole clip's truth best, every pixel counting the same.

    pairs: disparity and true depth (n,) of the pixels of each frame that count. Raises ValueError if there are none,
    or if the disparity is the same everywhere.
    """
    count, mean, moments = 0, np.zeros(2), np.zeros((2, 2))
    for found, true in pairs:
        both = np.stack([found, 1.0 / true])
        own_mean = both.mean(axis=1)
        spread, step = both - own_mean[:, None], own_mean - mean
        total = count + both.shape[1]
        # The frames' moments about their own means, joined (Chan, Golub and LeVeque): sums of squares would cancel.
        moments += spread @ spread.T + np.outer(step, step) * (count * both.shape[1] / total)
        mean += step * (both.shape[1] / total)
        count = total
    if not count:
        raise ValueError("no frame has a truth")
    if not moments[0, 0] > 0:
        raise ValueError("the disparity is the same everywhere")
    scale = float(moments[0, 1] / moments[0, 0])
    return ScaleShift(scale, float(mean[1] - scale * mean[0]), farthest)


def frame_scores(depth: np.ndarray, truth: np.ndarray) -> tuple[float, float, float, float]:
    """AbsRel, RMSE, delta1 and delta2 of pixels (n,), n > 0."""
    factor = np.maximum(depth / truth, truth / depth)
    return (float(np.mean(np.abs(depth - truth) / truth)), float(np.sqrt(np.mean((depth - truth) ** 2))),
            float(np.mean(factor < RATIO)), float(np.mean(factor < RATIO**2)))


def nearest_sampled(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The pixels of an (h,w) or (h,w,c) image that lie nearest to the pixel centers of a raster of another shape."""
    rows, columns = (((np.arange(n) + 0.5) * full / n).astype(int)
                     for n, full in zip(shape, image.shape[:2], strict=True))
    return image if image.shape[:2] == tuple(shape) else image[rows][:, columns]
