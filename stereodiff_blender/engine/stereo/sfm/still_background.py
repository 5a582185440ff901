"""A camera on a locked tripod behind what fills most of the picture.

Where most tracks move, the majority does not tell that the camera stands. But no camera that moves leaves a part of
the picture exactly where it was while all else goes on: so much stillness is proof enough.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..tracking import Tracks

STEP_FRAMES = 4
STILL_PX = 0.25
"""Shift of a track over STEP_FRAMES up to which it stands still."""
MOVING_PX = 1.0
"""Typical shift of the others, over the same, from which they clearly do not."""
MIN_STILL_SHARE, LEAST_STILL_SHARE = 0.1, 0.05
"""Of the tracks: in the middle step, and in every one. Moving cameras have 0.02 (a car's bonnet, the far horizon)."""
MAX_BETWEEN_SHARE = 0.25
"""Tracks neither still nor moving, over still ones: few, if two things are seen; many, if one stretches away."""
BETWEEN = 0.3
"""Share of the others' typical shift below which a track lies between."""
MAX_DRIFT_PX = 0.5
MIN_STILL, MIN_CELLS, CELLS = 20, 0.08, 8
"""Still tracks in each step, and the share of the picture's CELLS x CELLS cells they are seen in."""


@dataclass(frozen=True)
class StillBackground:
    """moving_share: of the tracks, that move by themselves."""

    moving_share: float


def find_still_background(tracks: Tracks, frames: np.ndarray) -> StillBackground | None:
    """What the tracks, not thinned, of the linked frames tell of a part of the picture that stands still all the time;
    None if there is none."""
    pairs = [tracks.common(i, j)[1:] for i, j in _steps(frames)]
    told = [_Step.from_pixels(*pair, tracks.size) for pair in pairs]
    steps = [step for step in told if step is not None]
    if not steps or len(steps) < len(told):
        return None
    shares = np.array([step.still_share for step in steps])
    if np.median(shares) < MIN_STILL_SHARE or shares.min() < LEAST_STILL_SHARE:
        return None
    between = np.median([step.between_share for step in steps])
    drift = np.linalg.norm(np.sum([step.drift for step in steps], axis=0))
    cells = np.median([step.cells for step in steps])
    if between > MAX_BETWEEN_SHARE * np.median(shares) or drift > MAX_DRIFT_PX or cells < MIN_CELLS:
        return None
    return StillBackground(1.0 - float(np.median(shares)))


def _steps(frames: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of frames STEP_FRAMES apart that follow each other, the last one reaching to the end."""
    ends = np.unique(np.r_[frames[::STEP_FRAMES], frames[-1]])
    return list(zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True))


@dataclass(frozen=True)
class _Step:
    """What the tracks common to two frames do between them. drift (2,): of the still ones, in pixels."""

    still_share: float
    between_share: float
    drift: np.ndarray
    cells: float

    @classmethod
    def from_pixels(cls, pixels_i: np.ndarray, pixels_j: np.ndarray, size: tuple[int, int]) -> _Step | None:
        """None where too few stand still, or the others do not clearly move."""
        shift = np.linalg.norm(pixels_j - pixels_i, axis=1)
        still = shift < STILL_PX
        is_minority = still.sum() < 0.5 * len(still)
        typical = float(np.median(shift[~still])) if is_minority else 0.0
        if still.sum() < MIN_STILL or (is_minority and typical < MOVING_PX):
            return None
        between = ~still & (shift < BETWEEN * typical)
        cells = np.unique((pixels_i[still] * CELLS / size).astype(int), axis=0)
        return cls(float(still.mean()), float(between.mean()), np.median(pixels_j[still] - pixels_i[still], axis=0),
                   len(cells) / CELLS**2)
