"""Whether a lens that was given can be that of the shot.

A focal length typed in with the sensor of another camera bends the whole solve, and it still fits somehow. So the lens
is let go, from where the solve ended: if the shot then pulls it away, it is sought anew, as if nothing were known.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..mapping import ADJUSTMENT_ROUNDS, BundleOptions, BundleState, CameraFit, Observations, bundle_adjust
from .focal_stability import spread_frames
from .keyframes import choose_seed_keyframes
from .shot import MIN_FRAMES_FOR_FOCAL, TrackedShot
from .traveling import best_solve, focal_seeds, try_seeds
from .warnings import LONG_LENS, SHORT_LENS

PULL = 1.1
"""Ratio of focal lengths, after a few steps, from which the given lens is worth a second look."""
OTHER_LENS = 1.25
"""Ratio from which the lens that fits is another one; data sheets and crops are off by 7 %."""
COST_GAIN = 1.5
"""Cost under the given lens over that under the one that fits, from which the shot does tell them apart."""
ITERATIONS, TOLERANCE = 25, 1e-4


def lens_that_fits(shot: TrackedShot, keyframes: np.ndarray, fitted: CameraFit) -> float | None:
    """Focal length that fits the shot far better than the given one; None if the given one will do."""
    if shot.focal is None or len(shot.frames) < MIN_FRAMES_FOR_FOCAL:
        return None
    pulled, gain = _pulled(fitted)
    is_usual = SHORT_LENS < shot.focal / shot.square.size[0] < LONG_LENS
    if is_usual and _ratio(pulled, shot.focal) < PULL:
        return None
    found = _sought_anew(shot, keyframes)
    if found is None and gain > COST_GAIN and _ratio(pulled, shot.focal) > OTHER_LENS:
        return pulled
    return found


def _ratio(one: float, other: float) -> float:
    return max(one, other) / min(one, other)


def _sought_anew(shot: TrackedShot, keyframes: np.ndarray) -> float | None:
    """The same, by solves of a few keyframes; from a lens far off, no adjustment leads to the right one."""
    few = choose_seed_keyframes(shot.square, keyframes)
    free = replace(shot, focal=None)
    found, _ = best_solve(try_seeds(free, few, focal_seeds(free)))
    held, _ = best_solve(try_seeds(shot, few, [shot.guessed_focal]))
    if found is None or _ratio(found.focal, shot.guessed_focal) < OTHER_LENS:
        return None
    if held is None or found.registered.sum() > held.registered.sum() + 1:
        return found.focal
    most = max(found.observation_count, held.observation_count)
    return found.focal if held.score(most) > COST_GAIN * found.score(most) else None


def _pulled(fitted: CameraFit) -> tuple[float, float]:
    """Focal length to which the shot pulls the lens that was held, and the cost before over the cost after."""
    frames = spread_frames(np.flatnonzero(fitted.solved))
    position = np.full(len(fitted.solved), -1)
    position[frames] = np.arange(len(frames))
    used = position[fitted.frame] >= 0
    used &= (np.bincount(fitted.point[used], minlength=len(fitted.points)) >= 2)[fitted.point]
    points, point = np.unique(fitted.point[used], return_inverse=True)
    start = BundleState(fitted.rotations[frames], fitted.translations[frames], fitted.points[points], fitted.focal)
    observations = Observations(position[fitted.frame[used]], point.reshape(-1), fitted.pixels[used])
    costs = []
    for is_free in (False, True):
        state, cost = bundle_adjust(start, observations, loss_px=ADJUSTMENT_ROUNDS[-1][1], iterations=ITERATIONS,
                                    tolerance=TOLERANCE, free=BundleOptions(focal=is_free))
        costs.append(cost)
    return state.focal, costs[0] / max(costs[1], 1e-12)
