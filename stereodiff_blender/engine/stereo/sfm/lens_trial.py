"""Lenses on trial: each is fitted to half of the points of a solve, and judged by the other half.

A lens that can do more explains any tracks better that it was fitted to. So what counts is how well its cameras and it
explain points that had no say in the fit (cross-validation; Stone 1974, "Cross-validatory choice and assessment of
statistical predictions"). All lenses are judged by the same points, so each point's own difference tells.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

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
from ..tracking import Tracks
from .focal_stability import spread_frames

MOST_FRAMES = 16
GATE_PX = 8.0
"""Of the observations that are looked at: a barrel's corners are off by some pixels under a pinhole."""
MIN_PARALLAX_DEG = 1.0
LOSS_PX = 0.5
ITERATIONS, TOLERANCE = 40, 1e-4
MIN_OBSERVATIONS = 400
LEAST_GAIN, MOST_ERRORS = 1.003, 4.0
"""Cost of the held-out tracks under the simpler lens over that under the other, from which the other is taken; and in
standard errors of the mean of the points' differences."""
MOST_PULL = 1.1
"""Ratio to which a known focal length may be drawn: data sheets and crops are off by 7 %. One that is wrong by more is
explained by whatever else a lens may do."""


@dataclass(frozen=True)
class LensModel:
    """radial: how many of k1, k2 are free, is_fisheye: and what they mean. zooms: the focal length changes; rolls: rows
    are read out in turn; holds: the time of that is known."""

    radial: int
    zooms: bool
    rolls: bool
    is_fisheye: bool = False
    holds: bool = False


@dataclass(frozen=True)
class LensFit:
    """costs: robust, px^2, of the held-out observations under the state."""

    model: LensModel
    state: BundleState
    costs: np.ndarray


@dataclass(frozen=True)
class LensTrial:
    """What lenses are tried on: frames (C,) of a solve, and what they see, fitted to and held out."""

    found: Reconstruction
    frames: np.ndarray
    fitted: Observations
    held_out: Observations

    def fit(self, model: LensModel, *, lets_focal_go: bool = False) -> LensFit:
        """lets_focal_go: even one that is known."""
        used, point = np.unique(self.fitted.point, return_inverse=True)
        start = replace(self.found.state(self.frames), points=self.found.triangulated(self.frames, self.fitted)[used],
                        shutter=self.found.shutter(self.frames) if model.rolls else None)
        if start.zoom is not None and not model.zooms:
            start = replace(start, focal=start.focal * float(np.exp(start.zoom.mean())), zoom=None)
        if model.is_fisheye and not start.is_fisheye:
            start = as_fisheye(start, float(np.hypot(*self.fitted.pixels.T).max()))
        state, _ = bundle_adjust(start, self._compact(point), loss_px=LOSS_PX, iterations=ITERATIONS,
                                 tolerance=TOLERANCE, free=self._free(model, lets_focal_go))
        return LensFit(model, state, self._costs(state))

    def covariance(self, fit: LensFit) -> np.ndarray:
        """(S,S) as of lens_covariance."""
        _, point = np.unique(self.fitted.point, return_inverse=True)
        return lens_covariance(fit.state, self._compact(point), loss_px=LOSS_PX, free=self._free(fit.model))

    def with_pixels_of(self, tracks: Tracks) -> LensTrial:
        """The same observations where other tracks of the same points have them."""
        keys = tracks.frame * tracks.points + tracks.point

        def moved(observations: Observations) -> Observations:
            row = np.searchsorted(keys, self.frames[observations.camera] * tracks.points + observations.point)
            return replace(observations, pixels=tracks.pixels[row])

        return replace(self, fitted=moved(self.fitted), held_out=moved(self.held_out))

    def is_better(self, rival: LensFit, simple: LensFit, least_gain: float = LEAST_GAIN) -> bool:
        """Whether the held-out points prefer the rival, clearly and most of them alike."""
        return prefer(self.held_out.point, simple.costs, rival.costs, least_gain)

    def keeps_focal(self, rival: LensFit) -> bool:
        """Whether a focal length that is known stays about where it is when it is let go under the rival."""
        if self.found.free_focal:
            return True
        focal = self.fit(rival.model, lets_focal_go=True).state.focal
        return max(focal, self.found.focal) < MOST_PULL * min(focal, self.found.focal)

    def ways_of_zoom(self) -> np.ndarray:
        return zoom_ways(self.frames, self.found.tracks.frame_count)

    def _compact(self, point: np.ndarray) -> Observations:
        return Observations(self.fitted.camera, point.reshape(-1), self.fitted.pixels)

    def _free(self, model: LensModel, lets_focal_go: bool = False) -> BundleOptions:
        free_focal = self.found.free_focal or lets_focal_go
        return BundleOptions(focal=free_focal and not model.zooms, radial=model.radial,
                             zoom=self.ways_of_zoom() if model.zooms else None,
                             readout=model.rolls and not model.holds)

    def _costs(self, state: BundleState) -> np.ndarray:
        """Of the held-out observations, whose points are triangulated under the state's cameras and lens."""
        camera, pixels = self.held_out.camera, self.held_out.pixels
        places = undistorted(pixels / state.focals(camera), state.distortion)
        matrices = np.concatenate([state.rotations, state.translations[:, :, None]], axis=2)
        if state.shutter is not None:
            matrices, camera = state.shutter.matrices(matrices, self.held_out), np.arange(len(camera))
        observed = Observations(camera, self.held_out.point, state.focal * places)
        points = triangulate_points(matrices[:, :, :3], matrices[:, :, 3], state.focal, observed,
                                    self.found.tracks.points)
        return robust_costs(replace(state, points=points), self.held_out)


def prefer(point: np.ndarray, simple_costs: np.ndarray, rival_costs: np.ndarray, least_gain: float = LEAST_GAIN
           ) -> bool:
    """Whether the held-out points of these observations, (N,) each, prefer the rival, clearly and most of them alike.
    """
    gains = np.bincount(point, simple_costs - rival_costs)[np.bincount(point) > 0]
    error = float(np.std(gains)) / np.sqrt(len(gains))
    return bool(gains.mean() > MOST_ERRORS * error and simple_costs.mean() > least_gain * rival_costs.mean())


def robust_costs(state: BundleState, observations: Observations) -> np.ndarray:
    """(N,) in px^2."""
    residual = np.minimum(state.residual_px(observations), GATE_PX)
    return LOSS_PX**2 * np.log1p((residual / LOSS_PX) ** 2)


def model_of(found: Reconstruction) -> LensModel:
    return LensModel(found.radial, found.zooms, found.rolls, found.is_fisheye, found.holds_readout)


def trial_on(found: Reconstruction) -> LensTrial | None:
    """On some of the registered frames; half of the points are held out. None if too little is seen."""
    chosen = np.zeros(len(found.registered), bool)
    chosen[spread_frames(np.flatnonzero(found.registered), MOST_FRAMES)] = True
    chosen[found.anchor] = True
    frames, observations = found.observations(chosen & found.registered)
    if not len(observations.point):
        return None
    points = found.points
    found.points = found.triangulated(frames, observations)
    fits = found.inliers(frames, observations, gate_px=GATE_PX, min_parallax_deg=MIN_PARALLAX_DEG)
    found.points = points
    observations = observations.select(fits)
    if len(observations.point) < MIN_OBSERVATIONS:
        return None
    is_even = observations.point % 2 == 0
    return LensTrial(found, frames, observations.select(is_even), observations.select(~is_even))


def as_fisheye(state: BundleState, reach_px: float) -> BundleState:
    """The fisheye that bends the picture most alike, up to so far from its middle."""
    plate = np.linspace(0.05, 1.0, 20) * reach_px / state.focal
    ideal = undistorted(np.stack([plate, np.zeros_like(plate)], axis=-1), state.distortion)[:, 0]
    angle = np.arctan(ideal)
    k1, k2 = np.linalg.lstsq(np.stack([angle**3, angle**5], axis=-1), plate - angle, rcond=None)[0]
    return replace(state, k1=float(k1), k2=float(k2), is_fisheye=True)
