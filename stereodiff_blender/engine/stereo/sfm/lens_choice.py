"""What the lens does beside the pinhole: bends the picture, zooms, is read out row by row. Held-out tracks decide.

A lens that can do more explains any tracks better that it was fitted to. So each is fitted to half of the points, and
judged by how well its cameras and its lens explain the other half, whose points have no say in it (cross-validation;
Stone 1974, "Cross-validatory choice and assessment of statistical predictions"). Both lenses are judged by the same
points, so what counts is each point's own difference.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace

import numpy as np

from ...contract import distortion_fault
from ...geometry import exp_so3
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
from .shot import TrackedShot, square_tracks
from .warnings import LONG_LENS, SHORT_LENS

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
LEAST_BEND_PX = 0.15
"""In the picture's corners: less is nothing that anybody sees, and noise bends as much."""
DOUBTFUL_BEND_PX = 2.0
"""In the corners, from which a distortion that was given does not fit: coefficients are measured with some error."""
DOUBTFUL_AXIS, AXIS_GAIN = 0.01, 1.03
"""Share of the picture's width by which another principal point has to be off the one that was given, and how much the
cost of the held-out tracks has to fall under it: a lens that is measured is never quite that of the shot."""
LEAST_ZOOM, MUCH_ZOOM = 0.004, 0.15
"""Longest over shortest focal length, less 1: breathing of less is nothing that anybody sees; what zooms more may have
been bent out of shape by a solve under one focal length."""
LEAST_READOUT, DOUBTFUL_READOUT = 0.05, 0.1
"""In frames: less is no rolling shutter; and how far the shot's may be off the one that was given."""
MOST_PULL = 1.1
"""Ratio to which a known focal length may be drawn: data sheets and crops are off by 7 %. One that is wrong by more is
explained by whatever else a lens may do."""
MOST_STEPS = 3
MOST_BARREL, MOST_PINCUSHION = -0.35, 0.05
"""How far the corners move, of their distance from the middle: what lenses for filming do."""
FISHEYE_BEND = -0.08
"""As that of a barrel, from which the lens may as well be a fisheye."""
MOST_DEVIATIONS = 5.0
"""What is free has to be that many standard deviations off 0: these suppose independent errors, and are too small."""


@dataclass(frozen=True)
class _Model:
    """radial: how many of k1, k2 are free, is_fisheye: and what they mean. zooms: the focal length changes; rolls: rows
    are read out in turn; holds: the time of that is known."""

    radial: int
    zooms: bool
    rolls: bool
    is_fisheye: bool = False
    holds: bool = False


@dataclass(frozen=True)
class _Fit:
    """costs: robust, px^2, of the held-out observations under the state."""

    model: _Model
    state: BundleState
    costs: np.ndarray


@dataclass(frozen=True)
class _Trial:
    """What lenses are tried on: frames (C,) of a solve, and what they see, fitted to and held out."""

    found: Reconstruction
    frames: np.ndarray
    fitted: Observations
    held_out: Observations

    def fit(self, model: _Model, *, lets_focal_go: bool = False) -> _Fit:
        """lets_focal_go: even one that is known."""
        used, point = np.unique(self.fitted.point, return_inverse=True)
        start = replace(self.found.state(self.frames), points=self.found.triangulated(self.frames, self.fitted)[used],
                        shutter=self.found.shutter(self.frames) if model.rolls else None)
        if start.zoom is not None and not model.zooms:
            start = replace(start, focal=start.focal * float(np.exp(start.zoom.mean())), zoom=None)
        if model.is_fisheye and not start.is_fisheye:
            start = _as_fisheye(start, float(np.hypot(*self.fitted.pixels.T).max()))
        state, _ = bundle_adjust(start, self._compact(point), loss_px=LOSS_PX, iterations=ITERATIONS,
                                 tolerance=TOLERANCE, free=self._free(model, lets_focal_go))
        return _Fit(model, state, self._costs(state))

    def covariance(self, fit: _Fit) -> np.ndarray:
        """(S,S) as of lens_covariance."""
        _, point = np.unique(self.fitted.point, return_inverse=True)
        return lens_covariance(fit.state, self._compact(point), loss_px=LOSS_PX, free=self._free(fit.model))

    def with_pixels_of(self, tracks: Tracks) -> _Trial:
        """The same observations where other tracks of the same points have them."""
        keys = tracks.frame * tracks.points + tracks.point

        def moved(observations: Observations) -> Observations:
            row = np.searchsorted(keys, self.frames[observations.camera] * tracks.points + observations.point)
            return replace(observations, pixels=tracks.pixels[row])

        return replace(self, fitted=moved(self.fitted), held_out=moved(self.held_out))

    def is_better(self, rival: _Fit, simple: _Fit, least_gain: float = LEAST_GAIN) -> bool:
        """Whether the held-out points prefer the rival, clearly and most of them alike."""
        gains = np.bincount(self.held_out.point, simple.costs - rival.costs)
        gains = gains[np.bincount(self.held_out.point) > 0]
        error = float(np.std(gains)) / np.sqrt(len(gains))
        return bool(gains.mean() > MOST_ERRORS * error and simple.costs.mean() > least_gain * rival.costs.mean())

    def keeps_focal(self, rival: _Fit) -> bool:
        """Whether a focal length that is known stays about where it is when it is let go under the rival."""
        if self.found.free_focal:
            return True
        focal = self.fit(rival.model, lets_focal_go=True).state.focal
        return max(focal, self.found.focal) < MOST_PULL * min(focal, self.found.focal)

    def ways_of_zoom(self) -> np.ndarray:
        return zoom_ways(self.frames, self.found.tracks.frame_count)

    def _compact(self, point: np.ndarray) -> Observations:
        return Observations(self.fitted.camera, point.reshape(-1), self.fitted.pixels)

    def _free(self, model: _Model, lets_focal_go: bool = False) -> BundleOptions:
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
        residual = np.minimum(replace(state, points=points).residual_px(self.held_out), GATE_PX)
        return LOSS_PX**2 * np.log1p((residual / LOSS_PX) ** 2)


# --- Keyframes: distortion and zoom --------------------------------------------------------------------------------

def choose_lens(found: Reconstruction) -> bool:
    """Let the lens bend the picture, by k1 or by k1 and k2, or zoom, where held-out tracks ask for it.

    Returns whether something is odd: it zooms much, or one lens explains the shot better, but none that shots are made
    with.
    """
    is_odd_better = False
    for _ in range(MOST_STEPS):
        trial = _trial(found)
        if trial is None:
            break
        simple = trial.fit(_model(found), lets_focal_go=True)
        better = [rival for rival in _rivals(trial, simple) if trial.is_better(rival, simple)]
        usual = [rival for rival in better if not _is_odd(rival.state, found.tracks.size)]
        is_odd_better |= len(usual) < len(better)
        usual = [rival for rival in usual if _is_determined(trial, rival) and trial.keeps_focal(rival)]
        if not usual:
            break
        taken = min(usual, key=lambda rival: rival.costs.mean())
        is_odd_better &= not taken.model.is_fisheye  # what bends like one explains it half
        _take(found, trial.frames, taken)
    _forget_zoom_of_distortion(found)
    zooms_much = float(np.ptp(found.zoom)) > MUCH_ZOOM
    return is_odd_better or zooms_much or _is_odd(found.state(np.zeros(0, np.int64)), found.tracks.size)


def contradicts_distortion(found: Reconstruction) -> bool:
    """Whether held-out tracks, without the distortion that was given for the lens, ask for one of another kind."""
    trial = _trial(found)
    if trial is None or found.radial:
        return False
    simple, rival = (trial.fit(replace(_model(found), radial=radial)) for radial in (0, 1))
    is_seen = _bend_px(rival.state, found.tracks.size) > DOUBTFUL_BEND_PX
    return is_seen and trial.is_better(rival, simple) and _is_determined(trial, rival)


def contradicts_axis(found: Reconstruction, shot: TrackedShot) -> tuple[float, float] | None:
    """Where held-out tracks clearly put the principal point, in place of the one that was given, in raster pixels: at
    the picture's center, or as high above it as it was given below. None if they do not."""
    trial, (width, height), (x, y) = _trial(found), shot.tracks.size, shot.principal_point
    rivals = [axis for axis in ((0.5 * width, 0.5 * height), (x, height - y))
              if np.hypot(axis[0] - x, axis[1] - y) > DOUBTFUL_AXIS * width]
    if trial is None or shot.focal is None or not rivals:
        return None
    given = trial.fit(_model(found))
    fits = [_under_axis(trial, shot, axis) for axis in rivals]
    best = int(np.argmin([fit.costs.mean() for fit in fits]))
    return rivals[best] if trial.is_better(fits[best], given, AXIS_GAIN) else None


def _under_axis(trial: _Trial, shot: TrackedShot, axis: tuple[float, float]) -> _Fit:
    """With cameras that look elsewhere by the angle between both axes: nearly the same, to begin from."""
    square = square_tracks(shot.tracks, axis, shot.pixel_aspect, shot.focal, shot.distortion)
    x, y = np.subtract(shot.principal_point, axis) * (shot.pixel_aspect, 1.0) / trial.found.focal
    turn, found = exp_so3(np.array([-y, x, 0.0])), copy(trial.found)
    found.rotations, found.translations = turn @ found.rotations, found.translations @ turn.T
    found.middle_row = 0.5 * shot.tracks.size[1] - axis[1]
    return replace(trial.with_pixels_of(square), found=found).fit(_model(found))


def explains_better(one: Reconstruction, other: Reconstruction) -> bool:
    """Whether held-out tracks prefer the first solve with its lens, and it is one that shots are made with."""
    trials = [trial for trial in map(_trial, (one, other)) if trial is not None]
    if len(trials) < 2 or _is_odd(one.state(np.zeros(0, np.int64)), one.tracks.size):
        return False
    costs = [trial.fit(_model(trial.found)).costs.mean() for trial in trials]
    return bool(costs[0] < costs[1])


def _model(found: Reconstruction) -> _Model:
    return _Model(found.radial, found.zooms, found.rolls, found.is_fisheye, found.holds_readout)


def _next(found: Reconstruction) -> list[_Model]:
    """The lenses that may do one thing more."""
    model = _model(found)
    more = [] if found.radial > 1 else [replace(model, radial=found.radial + 1)]
    return more if found.zooms or not found.free_focal else [*more, replace(model, zooms=True)]


def _rivals(trial: _Trial, simple: _Fit) -> list[_Fit]:
    """The lenses that may do one thing more. Where the picture is a strong barrel's, also one with k1 and k2, because
    k1 alone folds a wide picture's corners, and a fisheye, if it explains more than that one."""
    rivals = [trial.fit(model) for model in _next(trial.found)]
    bends = [_bend(one.state, trial.found.tracks.size) for one in (simple, *rivals)]
    if trial.found.is_fisheye or min(bends) > FISHEYE_BEND:
        return rivals
    wide = replace(_model(trial.found), radial=2, zooms=False)
    barrel = next((one for one in (simple, *rivals) if one.model == wide), None) or trial.fit(wide)
    fisheye = trial.fit(replace(wide, is_fisheye=True))
    return [*rivals, barrel, *([fisheye] if trial.is_better(fisheye, barrel) else [])]


def _as_fisheye(state: BundleState, reach_px: float) -> BundleState:
    """The fisheye that bends the picture most alike, up to so far from its middle."""
    plate = np.linspace(0.05, 1.0, 20) * reach_px / state.focal
    ideal = undistorted(np.stack([plate, np.zeros_like(plate)], axis=-1), state.distortion)[:, 0]
    angle = np.arctan(ideal)
    k1, k2 = np.linalg.lstsq(np.stack([angle**3, angle**5], axis=-1), plate - angle, rcond=None)[0]
    return replace(state, k1=float(k1), k2=float(k2), is_fisheye=True)


def _trial(found: Reconstruction) -> _Trial | None:
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
    return _Trial(found, frames, observations.select(is_even), observations.select(~is_even))


def _is_odd(state: BundleState, size: tuple[float, float]) -> bool:
    """Whether few shots are made with such a lens, and it may be made up. size: (width, height) of the picture."""
    is_usual = SHORT_LENS < state.focal / size[0] < LONG_LENS
    return not is_usual or not (state.is_fisheye or MOST_BARREL < _bend(state, size) < MOST_PINCUSHION)


def _bend(state: BundleState, size: tuple[float, float]) -> float:
    """How far the picture's corners are moved, of their distance from the middle."""
    corner = 0.5 * float(np.hypot(*size)) / state.focal
    return state.distortion.radius(corner) / corner - 1.0


def _is_determined(trial: _Trial, rival: _Fit) -> bool:
    """Whether the shot tells what the rival's lens does more, and it is one that could have shown the whole picture."""
    state, size, before = rival.state, trial.found.tracks.size, _model(trial.found)
    if distortion_fault(state.distortion, *size, (state.focal, state.focal, 0.5 * size[0], 0.5 * size[1])):
        return False
    if rival.model.zooms and not before.zooms:
        return _tells_zoom(trial, rival)
    if _bend_px(state, size) < LEAST_BEND_PX:
        return False
    if rival.model.radial > 1:
        return True
    return bool(abs(state.k1) > MOST_DEVIATIONS * np.sqrt(trial.covariance(rival)[1, 1]))


def _forget_zoom_of_distortion(found: Reconstruction) -> None:
    """A picture that is bent seems to zoom while the camera goes on, before the distortion is known."""
    trial = _trial(found) if found.zooms and found.radial else None
    if trial is None:
        return
    zooming, still = (trial.fit(replace(_model(found), zooms=zooms)) for zooms in (True, False))
    if not (trial.is_better(zooming, still) and _tells_zoom(trial, zooming)):
        _take(found, trial.frames, still)


def _tells_zoom(trial: _Trial, rival: _Fit) -> bool:
    zoom = np.zeros(len(trial.frames)) if rival.state.zoom is None else rival.state.zoom
    knots = np.linalg.lstsq(trial.ways_of_zoom(), zoom, rcond=None)[0]
    longest, shortest = int(knots.argmax()), int(knots.argmin())
    covariance = trial.covariance(rival)[-len(knots):, -len(knots):]
    variance = covariance[longest, longest] + covariance[shortest, shortest] - 2.0 * covariance[longest, shortest]
    return bool(np.ptp(knots) > max(LEAST_ZOOM, MOST_DEVIATIONS * np.sqrt(variance)))


def _bend_px(state: BundleState, size: tuple[float, float]) -> float:
    """How far the lens moves the picture's corners."""
    corner = 0.5 * float(np.hypot(*size)) / state.focal
    return abs(state.distortion.radius(corner) - corner) * state.focal


def _take(found: Reconstruction, frames: np.ndarray, lens: _Fit) -> None:
    state = lens.state
    found.radial, found.focal, found.k1, found.k2 = lens.model.radial, state.focal, state.k1, state.k2
    found.zooms, found.is_fisheye = lens.model.zooms, lens.model.is_fisheye
    if state.zoom is None:
        found.zoom[:] = 0.0
    else:
        found.zoom = np.interp(np.arange(len(found.zoom)), frames, state.zoom)
    found.rotations[frames], found.translations[frames] = state.rotations, state.translations
    registered = found.registered
    found.registered = np.isin(np.arange(len(registered)), frames)
    found.refine(iterations=ITERATIONS)
    for index in np.flatnonzero(registered & ~found.registered):
        found.resect(int(index))


# --- All frames: the shutter ---------------------------------------------------------------------------------------

def choose_shutter(found: Reconstruction) -> bool:
    """Let the rows be read out one after the other, where held-out tracks ask for it; whether they do.

    Only a frame's neighbors tell how its camera moves while its rows are taken: all frames have to be solved. What the
    keyframes took for a zoom may have been the shutter; it is given up where it explains nothing more.
    """
    trial = _trial(found)
    if trial is None:
        return False
    simple = trial.fit(_model(found), lets_focal_go=True)
    rival = trial.fit(replace(_model(found), rolls=True))
    readout = 0.0 if rival.state.shutter is None else rival.state.shutter.readout
    if not trial.is_better(rival, simple) or abs(readout) < LEAST_READOUT:
        return False
    if abs(readout) < MOST_DEVIATIONS * np.sqrt(trial.covariance(rival)[3, 3]) or not trial.keeps_focal(rival):
        return False
    found.rolls, found.readout = True, readout
    if found.zooms:
        _forget_zoom_of_shutter(trial, rival)
    return True


def hold_shutter(found: Reconstruction, readout: float) -> bool:
    """Let the rows be read out in a time that is known, in frames; whether that changes anything."""
    found.rolls, found.readout, found.holds_readout = readout != 0.0, readout, True
    trial = _trial(found) if found.rolls and found.zooms else None
    if trial is not None:
        _forget_zoom_of_shutter(trial, trial.fit(_model(found)))
    return found.rolls


def contradicts_readout(found: Reconstruction) -> float | None:
    """The readout, in frames, that held-out tracks clearly prefer to the one that was given; None if they do not."""
    trial = _trial(found)
    if trial is None or not found.holds_readout:
        return None
    simple = trial.fit(_model(found), lets_focal_go=True)
    rival = trial.fit(replace(_model(found), rolls=True, holds=False))
    readout = 0.0 if rival.state.shutter is None else rival.state.shutter.readout
    deviation = np.sqrt(trial.covariance(rival)[3, 3])
    is_off = abs(readout - found.readout) > max(DOUBTFUL_READOUT, MOST_DEVIATIONS * deviation)
    return readout if is_off and trial.is_better(rival, simple) and trial.keeps_focal(rival) else None


def _forget_zoom_of_shutter(trial: _Trial, rolling: _Fit) -> None:
    """Rows that are read out in turn make the picture grow and shrink with the camera's speed, which is taken for a
    zoom before the shutter is known."""
    still = trial.fit(replace(rolling.model, zooms=False))
    if trial.is_better(rolling, still) and _tells_zoom(trial, rolling):
        return
    found = trial.found
    found.zooms, found.focal = False, still.state.focal
    found.zoom[:] = 0.0
