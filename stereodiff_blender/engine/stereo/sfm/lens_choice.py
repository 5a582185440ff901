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
from ..mapping import (
    BundleOptions,
    BundleState,
    Observations,
    Reconstruction,
    bundle_adjust,
    lens_covariance,
    triangulate_points,
    zoom_ways,
)
from .focal_stability import spread_frames
from .warnings import LONG_LENS, SHORT_LENS

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
LEAST_ZOOM = 0.004
"""Longest over shortest focal length, less 1: breathing of less is nothing that anybody sees."""
MOST_STEPS = 3
MOST_BARREL, MOST_PINCUSHION = -0.35, 0.05
"""How far the corners move, of their distance from the middle: what lenses for filming do."""
MOST_DEVIATIONS = 5.0
"""k1, or the zoom, has to be that many standard deviations off 0: these suppose independent errors, and are too small.
"""


@dataclass(frozen=True)
class _Candidate:
    """radial: how many of k1, k2 are free. zooms: whether the focal length is. cost: mean of the held-out tracks, px^2.
    """

    radial: int
    zooms: bool
    state: BundleState
    cost: float


def choose_lens(found: Reconstruction) -> bool:
    """Let the lens bend the picture, by k1 or by k1 and k2, or zoom, where held-out tracks ask for it.

    Returns whether something is odd: one lens explains the shot better, but none that shots are made with.
    """
    is_odd_better = False
    for _ in range(MOST_STEPS):
        frames, observations = _looked_at(found)
        if len(observations.point) < MIN_OBSERVATIONS:
            break
        simple = _fitted(found, frames, observations, found.radial, found.zooms)
        rivals = [_fitted(found, frames, observations, radial, zooms) for radial, zooms in _next(found)]
        better = [rival for rival in rivals if rival.cost * LEAST_GAIN < simple.cost]
        usual = [rival for rival in better if not _is_odd(rival.state, found.tracks.size)]
        is_odd_better |= len(usual) < len(better)
        usual = [rival for rival in usual if _is_determined(found, frames, rival, observations)]
        if not usual:
            break
        _take(found, frames, min(usual, key=lambda rival: rival.cost))
    return is_odd_better or found.zooms or _is_odd(found.state(np.zeros(0, np.int64)), found.tracks.size)


def _is_odd(state: BundleState, size: tuple[float, float]) -> bool:
    """Whether few shots are made with such a lens, and it may be made up. size: (width, height) of the picture."""
    corner = 0.5 * float(np.hypot(*size)) / state.focal
    bend = Distortion(state.k1, state.k2).radius(corner) / corner - 1.0
    return not SHORT_LENS < state.focal / size[0] < LONG_LENS or not MOST_BARREL < bend < MOST_PINCUSHION


def explains_better(one: Reconstruction, other: Reconstruction) -> bool:
    """Whether held-out tracks prefer the first solve with its lens, and it is one that shots are made with."""
    costs = []
    for found in (one, other):
        frames, observations = _looked_at(found)
        costs.append(_fitted(found, frames, observations, found.radial, found.zooms).cost)
    return costs[0] < costs[1] and not _is_odd(one.state(np.zeros(0, np.int64)), one.tracks.size)


def _next(found: Reconstruction) -> list[tuple[int, bool]]:
    """Radial coefficients and zoom of the lenses that may do one thing more."""
    more = [] if found.radial > 1 else [(found.radial + 1, found.zooms)]
    return more if found.zooms or not found.free_focal else [*more, (found.radial, True)]


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


def _fitted(found: Reconstruction, frames: np.ndarray, observations: Observations, radial: int,
            zooms: bool) -> _Candidate:
    """The lens as the even points have it, judged by the odd ones."""
    is_even = observations.point % 2 == 0
    even = observations.select(is_even)
    used, point = np.unique(even.point, return_inverse=True)
    start = replace(found.state(frames), points=found.triangulated(frames, even)[used])
    state, _ = bundle_adjust(start, Observations(even.camera, point.reshape(-1), even.pixels), loss_px=LOSS_PX,
                             iterations=ITERATIONS, tolerance=TOLERANCE, free=_free(found, frames, radial, zooms))
    return _Candidate(radial, zooms, state, _cost(state, observations.select(~is_even), found.tracks.points))


def _free(found: Reconstruction, frames: np.ndarray, radial: int, zooms: bool) -> BundleOptions:
    zoom = zoom_ways(frames, found.tracks.frame_count) if zooms else None
    return BundleOptions(focal=found.free_focal and not zooms, radial=radial, zoom=zoom)


def _cost(state: BundleState, held_out: Observations, points: int) -> float:
    """Mean robust cost, px^2, of observations whose points are triangulated under the state's cameras and lens."""
    places = undistorted(held_out.pixels / state.focals(held_out.camera), Distortion(state.k1, state.k2))
    seen = Observations(held_out.camera, held_out.point, state.focal * places)
    placed = replace(state, points=triangulate_points(state.rotations, state.translations, state.focal, seen, points))
    residual = np.minimum(placed.residual_px(held_out), GATE_PX)
    return float((LOSS_PX**2 * np.log1p((residual / LOSS_PX) ** 2)).mean())


def _is_determined(found: Reconstruction, frames: np.ndarray, rival: _Candidate, observations: Observations) -> bool:
    """Whether the shot tells what the rival's lens does more, and it is one that could have shown the whole picture."""
    state, size = rival.state, found.tracks.size
    distortion = Distortion(state.k1, state.k2)
    if distortion_fault(distortion, *size, (state.focal, state.focal, 0.5 * size[0], 0.5 * size[1])):
        return False
    if rival.radial > 1 and rival.zooms == found.zooms:
        return _bend_px(found, state) > LEAST_BEND_PX
    even = observations.select(observations.point % 2 == 0)
    _, point = np.unique(even.point, return_inverse=True)
    free = _free(found, frames, rival.radial, rival.zooms)
    covariance = lens_covariance(state, Observations(even.camera, point.reshape(-1), even.pixels), loss_px=LOSS_PX,
                                 free=free)
    if rival.zooms == found.zooms:
        sure = abs(state.k1) > MOST_DEVIATIONS * np.sqrt(covariance[1, 1])
        return bool(sure and _bend_px(found, state) > LEAST_BEND_PX)
    knots = np.linalg.lstsq(free.zoom, state.zoom, rcond=None)[0]
    longest, shortest = 3 + int(knots.argmax()), 3 + int(knots.argmin())
    contrast = covariance[longest, longest] + covariance[shortest, shortest] - 2.0 * covariance[longest, shortest]
    return bool(np.ptp(knots) > max(LEAST_ZOOM, MOST_DEVIATIONS * np.sqrt(contrast)))


def _bend_px(found: Reconstruction, state: BundleState) -> float:
    """How far the lens moves the picture's corners."""
    corner = 0.5 * float(np.hypot(*found.tracks.size)) / state.focal
    return abs(Distortion(state.k1, state.k2).radius(corner) - corner) * state.focal


def _take(found: Reconstruction, frames: np.ndarray, lens: _Candidate) -> None:
    found.radial, found.focal, found.k1, found.k2 = lens.radial, lens.state.focal, lens.state.k1, lens.state.k2
    found.zooms = lens.zooms
    if lens.state.zoom is not None:
        found.zoom = np.interp(np.arange(len(found.zoom)), frames, lens.state.zoom)
    found.rotations[frames], found.translations[frames] = lens.state.rotations, lens.state.translations
    registered = found.registered
    found.registered = np.isin(np.arange(len(registered)), frames)
    found.refine(iterations=ITERATIONS)
    for index in np.flatnonzero(registered & ~found.registered):
        found.resect(int(index))
