"""Whether the lens of a camera that only turns, and perhaps zooms, bends the picture. Held-out tracks decide, as for
one that travels.

A turn carries a point across the picture without any parallax, so how its way is bent tells the lens (cf. Stein 1995,
"Accurate internal camera calibration using rotation, with analysis of sources of error").
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...contract import distortion_fault
from ..mapping import BundleOptions, BundleState, Observations, bundle_adjust
from ..tracking import Tracks
from .lens_choice import FISHEYE_BEND, LEAST_BEND_PX, MOST_DEVIATIONS, bend_px, bend_share, is_odd
from .lens_trial import (
    GATE_PX,
    ITERATIONS,
    LOSS_PX,
    MIN_OBSERVATIONS,
    MOST_PULL,
    TOLERANCE,
    as_fisheye,
    prefer,
    robust_costs,
)
from .rotation import RotationFit, fit_rotations_like, seen_directions, state_of, ways_of_zoom

TRIAL_GATE_PX, TRIAL_SHARE = 4.0, 0.6
"""Of a turn under a pinhole, and the share of the observations that are to be so near for a lens to be tried: most
cameras that travel are further off."""
MOST_COEFFICIENTS = 2


def with_distortion(tracks: Tracks, frames: np.ndarray, turn: RotationFit, focal: float | None) -> RotationFit:
    """The turn under a lens with k1, with k1 and k2, or a fisheye, where held-out tracks ask for it; else the turn.

    frames: that it was fitted to. focal: where it is known.
    """
    if turn.share_within(TRIAL_GATE_PX) < TRIAL_SHARE or len(turn.residual_px) < MIN_OBSERVATIONS:
        return turn
    taken, bent, is_free = turn, turn, focal is None
    for radial in range(1, MOST_COEFFICIENTS + 1):
        bent = fit_rotations_like(tracks, frames, replace(bent, radial=radial), free_focal=is_free)
        if not _is_told(bent, tracks.size):
            return taken
        if not _is_usual(bent, tracks.size):
            continue  # k1 alone folds a wide picture's corners
        if _is_better(bent, taken, is_free) and _keeps_focal(tracks, frames, bent, focal):
            taken = bent
    if bend_share(_at_widest(bent), tracks.size) > FISHEYE_BEND:
        return taken
    fisheye = fit_rotations_like(tracks, frames, _as_fisheye(bent), free_focal=is_free)
    is_told = _is_usual(fisheye, tracks.size) and _is_better(fisheye, bent, is_free)
    return fisheye if is_told and _keeps_focal(tracks, frames, fisheye, focal) else taken


def _as_fisheye(bent: RotationFit) -> RotationFit:
    """The turn under the fisheye that bends the picture most alike."""
    state = as_fisheye(state_of(bent), float(np.hypot(*bent.observations.pixels.T).max()))
    return replace(bent, radial=MOST_COEFFICIENTS, k1=state.k1, k2=state.k2, is_fisheye=True)


def _at_widest(turn: RotationFit) -> BundleState:
    """The unknowns where the lens shows most."""
    return replace(state_of(turn), focal=turn.widest_focal, zoom=None)


def _is_told(bent: RotationFit, size: tuple[float, float]) -> bool:
    """Whether anybody sees what the lens does, and the turn tells it. size: (width, height) of the picture."""
    is_seen = bend_px(_at_widest(bent), size) > LEAST_BEND_PX
    return is_seen and (bent.radial > 1 or abs(bent.k1) > MOST_DEVIATIONS * bent.radial_std[0])


def _is_usual(bent: RotationFit, size: tuple[float, float]) -> bool:
    """Whether the lens is one that shots are made with, and could have shown the whole picture."""
    state, (width, height) = _at_widest(bent), size
    intrinsics = (state.focal, state.focal, 0.5 * width, 0.5 * height)
    return not is_odd(state, size) and not distortion_fault(state.distortion, width, height, intrinsics)


def _is_better(rival: RotationFit, simple: RotationFit, free_focal: bool) -> bool:
    """Whether held-out tracks prefer the rival, clearly and most of them alike. Both are of the same observations."""
    point, (before, after) = _held_out_costs((simple, rival), free_focal)
    return prefer(point, before, after)


def _held_out_costs(turns: tuple[RotationFit, ...], free_focal: bool) -> tuple[np.ndarray, list[np.ndarray]]:
    """Robust costs, under each turn fitted to the even points alone, of observations of the odd ones; and those points.

    turns: of the same observations.
    """
    near = np.min([turn.residual_px for turn in turns], axis=0) < GATE_PX
    observations = turns[0].observations
    is_even = observations.point % 2 == 0
    fitted, held_out = observations.select(near & is_even), observations.select(near & ~is_even)
    return held_out.point, [_cost(turn, fitted, held_out, free_focal) for turn in turns]


def _cost(turn: RotationFit, fitted: Observations, held_out: Observations, free_focal: bool) -> np.ndarray:
    start = state_of(turn)
    used, point = np.unique(fitted.point, return_inverse=True)
    compact = replace(fitted, point=point.reshape(-1))
    state, _ = bundle_adjust(replace(start, points=start.points[used]), compact, loss_px=LOSS_PX,
                             iterations=ITERATIONS, tolerance=TOLERANCE,
                             free=BundleOptions(focal=free_focal, radial=turn.radial, positions=False,
                                                zoom=None if turn.zoom is None else ways_of_zoom(len(turn.zoom))))
    points = seen_directions(state.rotations, held_out, state.focals(held_out.camera), state.distortion)
    return robust_costs(replace(state, points=points), held_out)


def _keeps_focal(tracks: Tracks, frames: np.ndarray, bent: RotationFit, focal: float | None) -> bool:
    """Whether a focal length that is known stays about where it is when it is let go under the lens."""
    free = None if focal is None else fit_rotations_like(tracks, frames, bent, free_focal=True)
    return free is None or focal is None or max(free.focal, focal) < MOST_PULL * min(free.focal, focal)
