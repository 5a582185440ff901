"""How near a clip's depth is to the truth, by the measures and the protocol that video depth is published with.

One scale and one shift of disparity for the whole clip, never one per frame: a frame's own fit would hide that its
scale wanders. Every figure is a mean over the frames that have a truth.
"""

from __future__ import annotations

from collections.abc import Iterator
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


def score_disparity(disparity: np.ndarray, truth: np.ndarray, *, farthest: float) -> Scores:
    """Scores of relative disparity against true depth.

    disparity: (T,h,w), near is large, any scale and shift; of another size than the truth it is looked up between
    pixels. truth: (T,H,W) depth; at most LEAST, or from `farthest` on, is no truth. farthest: depth counts up to here.
    Frames that either has more of are left out. Raises ValueError if no frame has a truth, or one value only.
    """
    used = list(_pairs(disparity, truth, farthest))
    if not used:
        raise ValueError("no frame has a truth")
    scale, shift = _least_squares(used)
    rows = [_frame_scores(np.clip(1.0 / np.maximum(scale * found + shift, LEAST), LEAST, farthest), true)
            for found, true in used]
    return Scores(*(float(value) for value in np.mean(rows, axis=0)), len(rows))


def _pairs(disparity: np.ndarray, truth: np.ndarray, farthest: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Disparity and true depth (n,) of the valid pixels of every frame that has any."""
    for found, true in zip(disparity, truth, strict=False):
        is_valid = (true > LEAST) & (true < farthest)
        if is_valid.any():
            size = true.shape[::-1]
            resized = found if found.shape == true.shape else cv2.resize(found, size, interpolation=cv2.INTER_LINEAR)
            yield np.maximum(resized[is_valid].astype(np.float64), LEAST), true[is_valid].astype(np.float64)


def _least_squares(used: list[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float]:
    """Scale and shift of disparity that fit the whole clip's truth best, every pixel counting the same."""
    found = np.concatenate([values for values, _ in used])
    wanted = 1.0 / np.concatenate([true for _, true in used])
    spread = found - found.mean()
    if not (spread**2).sum() > 0:
        raise ValueError("the disparity is the same everywhere")
    scale = float((spread * (wanted - wanted.mean())).sum() / (spread**2).sum())
    return scale, float(wanted.mean() - scale * found.mean())


def _frame_scores(depth: np.ndarray, truth: np.ndarray) -> tuple[float, float, float, float]:
    factor = np.maximum(depth / truth, truth / depth)
    return (float(np.mean(np.abs(depth - truth) / truth)), float(np.sqrt(np.mean((depth - truth) ** 2))),
            float(np.mean(factor < RATIO)), float(np.mean(factor < RATIO**2)))
