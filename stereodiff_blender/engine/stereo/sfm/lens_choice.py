"""Whether the lens bends the picture: held-out tracks decide.

A lens with more coefficients explains any tracks better that it was fitted to. So each is fitted to half of the points,
and judged by how well its cameras and its lens explain the other half, whose points have no say in it
(cross-validation; Stone 1974, "Cross-validatory choice and assessment of statistical predictions").
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...contract import Distortion, distortion_fault
from ...lens import undistorted
from .bundle_adjustment import BundleOptions, BundleState, Observations, bundle_adjust, lens_std
from .focal_stability import spread_frames
from .reconstruction import Reconstruction
from .triangulation import triangulate_points

MOST_FRAMES = 16
GATE_PX = 8.0
"""Of the observations that are looked at: a barrel's corners are off by some pixels under a pinhole."""
MIN_PARALLAX_DEG = 1.0
LOSS_PX = 0.5
ITERATIONS, TOLERANCE = 40, 1e-4
MIN_OBSERVATIONS = 400
LEAST_GAIN = 1.02
"""Cost of the held-out tracks under the simpler lens over that under the other, from which the other is taken."""
LEAST_BEND_PX = 0.15
"""In the picture's corners: less is nothing that anybody sees, and noise bends as much."""
MOST_DEVIATIONS = 5.0
"""k1 has to be that many standard deviations off 0: these suppose independent errors, and are too small."""


@dataclass(frozen=True)
class _Candidate:
    """radial: how many of k1, k2 are free. cost: mean of the held-out tracks, px^2."""

    radial: int
    state: BundleState
    cost: float


def choose_lens(found: Reconstruction) -> None:
    """Let the lens bend the picture, by k1 or by k1 and k2, where held-out tracks ask for it; else leave all as it is.
    """
    for radial in (1, 2):
        frames, observations = _looked_at(found)
        if len(observations.point) < MIN_OBSERVATIONS:
            return
        simpler, rival = (_fitted(found, frames, observations, count) for count in (radial - 1, radial))
        if not (rival.cost * LEAST_GAIN < simpler.cost and _is_determined(found, rival, observations)):
            return
        _take(found, frames, rival)


def _looked_at(found: Reconstruction) -> tuple[np.ndarray, Observations]:
    """At most MOST_FRAMES of the registered frames (C,), and what they see."""
    chosen = np.zeros(len(found.registered), bool)
    chosen[spread_frames(np.flatnonzero(found.registered), MOST_FRAMES)] = True
    frames, observations = found.observations(chosen)
    points = found.points
    found.points = found.triangulated(frames, observations)
    fits = found.inliers(frames, observations, gate_px=GATE_PX, min_parallax_deg=MIN_PARALLAX_DEG)
    found.points = points
    return frames, observations.select(fits)


def _fitted(found: Reconstruction, frames: np.ndarray, observations: Observations, radial: int) -> _Candidate:
    """The lens as the even points have it, judged by the odd ones."""
    is_even = observations.point % 2 == 0
    even = observations.select(is_even)
    used, point = np.unique(even.point, return_inverse=True)
    points = found.triangulated(frames, even)[used]
    start = replace(found.state(frames), points=points)
    state, _ = bundle_adjust(start, Observations(even.camera, point.reshape(-1), even.pixels), loss_px=LOSS_PX,
                             iterations=ITERATIONS, tolerance=TOLERANCE,
                             free=BundleOptions(focal=found.free_focal, radial=radial))
    return _Candidate(radial, state, _cost(state, observations.select(~is_even), found.tracks.points))


def _cost(state: BundleState, held_out: Observations, points: int) -> float:
    """Mean robust cost, px^2, of observations whose points are triangulated under the state's cameras and lens."""
    ideal = state.focal * undistorted(held_out.pixels / state.focal, Distortion(state.k1, state.k2))
    seen = Observations(held_out.camera, held_out.point, ideal)
    placed = replace(state, points=triangulate_points(state.rotations, state.translations, state.focal, seen, points))
    residual = np.minimum(placed.residual_px(held_out), GATE_PX)
    return float((LOSS_PX**2 * np.log1p((residual / LOSS_PX) ** 2)).mean())


def _is_determined(found: Reconstruction, candidate: _Candidate, observations: Observations) -> bool:
    """Whether the shot tells the lens, and it is one that could have shown the whole picture."""
    state, size = candidate.state, found.tracks.size
    distortion = Distortion(state.k1, state.k2)
    corner = 0.5 * float(np.hypot(*size)) / state.focal
    if distortion_fault(distortion, *size, (state.focal, state.focal, 0.5 * size[0], 0.5 * size[1])):
        return False
    bend_px = abs(distortion.radius(corner) - corner) * state.focal
    if candidate.radial > 1:
        return bend_px > LEAST_BEND_PX
    even = observations.select(observations.point % 2 == 0)
    _, point = np.unique(even.point, return_inverse=True)
    deviation = lens_std(state, Observations(even.camera, point.reshape(-1), even.pixels), loss_px=LOSS_PX,
                         free=BundleOptions(focal=found.free_focal, radial=candidate.radial))[1]
    return bend_px > LEAST_BEND_PX and abs(state.k1) > MOST_DEVIATIONS * deviation


def _take(found: Reconstruction, frames: np.ndarray, lens: _Candidate) -> None:
    found.radial, found.focal, found.k1, found.k2 = lens.radial, lens.state.focal, lens.state.k1, lens.state.k2
    found.rotations[frames], found.translations[frames] = lens.state.rotations, lens.state.translations
    registered = found.registered
    found.registered = np.isin(np.arange(len(registered)), frames)
    found.refine(iterations=ITERATIONS)
    for index in np.flatnonzero(registered & ~found.registered):
        found.resect(int(index))
