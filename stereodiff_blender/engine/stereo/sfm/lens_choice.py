"""What the lens does beside the pinhole: bends the picture, zooms, is read out row by row. Held-out tracks decide."""

from __future__ import annotations

from copy import copy
from dataclasses import replace

import numpy as np

from ...contract import distortion_fault
from ...geometry import exp_so3
from ..mapping import BundleState, Reconstruction
from .lens_trial import ITERATIONS, LEAST_GAIN, LensFit, LensModel, LensTrial, model_of, trial_on
from .shot import TrackedShot, square_tracks
from .warnings import LONG_LENS, SHORT_LENS

LEAST_BEND_PX = 0.15
"""In the picture's corners: less is nothing that anybody sees, and noise bends as much."""
DOUBTFUL_BEND_PX, BEND_SHARES = 2.0, (0.25, 0.5, 0.75, 1.0)
"""From which a distortion that was given does not fit: coefficients are measured with some error. And where that is
looked for, of the way to a corner: a barrel in a fisheye's place is right in the middle and once more further out."""
DOUBTFUL_AXIS, AXIS_GAIN = 0.01, 1.03
"""Share of the picture's width by which another principal point has to be off the one that was given, and how much the
cost of the held-out tracks has to fall under it: a lens that is measured is never quite that of the shot."""
LEAST_ZOOM, MUCH_ZOOM = 0.004, 0.15
"""Longest over shortest focal length, less 1: breathing of less is nothing that anybody sees; what zooms more may have
been bent out of shape by a solve under one focal length."""
LEAST_READOUT, DOUBTFUL_READOUT = 0.05, 0.1
"""In frames: less is no rolling shutter; and how far the shot's may be off the one that was given."""
BENT_GAIN = 1.02
"""How much the cost of the held-out tracks has to fall by a shutter in a solve that is out of shape, a part of which it
explains though there is none: by .1 to .5 %. One of .5 frames takes 2 to 5 % then, one of .25 else 4 %."""
MOST_STEPS = 3
MOST_BARREL, MOST_PINCUSHION = -0.35, 0.05
"""How far the corners move, of their distance from the middle: what lenses for filming do."""
FISHEYE_BEND = -0.08
"""As that of a barrel, from which the lens may as well be a fisheye."""
MOST_DEVIATIONS = 5.0
"""What is free has to be that many standard deviations off 0: these suppose independent errors, and are too small."""


# --- Keyframes: distortion and zoom --------------------------------------------------------------------------------

def choose_lens(found: Reconstruction) -> bool:
    """Let the lens bend the picture, by k1 or by k1 and k2, or zoom, where held-out tracks ask for it.

    Returns whether something is odd: it zooms much, or one lens explains the shot better, but none that shots are made
    with.
    """
    is_odd_better = False
    for _ in range(MOST_STEPS):
        trial = trial_on(found)
        if trial is None:
            break
        simple = trial.fit(model_of(found), lets_focal_go=True)
        better = [rival for rival in _rivals(trial, simple) if trial.is_better(rival, simple)]
        usual = [rival for rival in better if not is_odd(rival.state, found.tracks.size)]
        is_odd_better |= len(usual) < len(better)
        usual = [rival for rival in usual if _is_determined(trial, rival) and trial.keeps_focal(rival)]
        if not usual:
            break
        taken = min(usual, key=lambda rival: rival.costs.mean())
        is_odd_better &= not taken.model.is_fisheye  # what bends like one explains it half
        _take(found, trial.frames, taken)
    _forget_zoom_of_distortion(found)
    zooms_much = float(np.ptp(found.zoom)) > MUCH_ZOOM
    return is_odd_better or zooms_much or is_odd(found.state(np.zeros(0, np.int64)), found.tracks.size)


def contradicts_distortion(found: Reconstruction) -> bool:
    """Whether held-out tracks, without the distortion that was given for the lens, ask for one of another kind."""
    trial = trial_on(found)
    if trial is None or found.radial:
        return False
    simple = trial.fit(replace(model_of(found), radial=0))
    for radial in (1, 2):
        rival = trial.fit(replace(model_of(found), radial=radial))  # it may fold the corners: it is no lens to be taken
        is_seen = max(bend_px(rival.state, found.tracks.size, share) for share in BEND_SHARES) > DOUBTFUL_BEND_PX
        if is_seen and trial.is_better(rival, simple) and _tells_k1(trial, rival):
            return True
    return False


def contradicts_axis(found: Reconstruction, shot: TrackedShot) -> tuple[float, float] | None:
    """Where held-out tracks clearly put the principal point, in place of the one that was given, in raster pixels: at
    the picture's center, or as high above it as it was given below. None if they do not."""
    trial, (width, height), (x, y) = trial_on(found), shot.tracks.size, shot.principal_point
    rivals = [axis for axis in ((0.5 * width, 0.5 * height), (x, height - y))
              if np.hypot(axis[0] - x, axis[1] - y) > DOUBTFUL_AXIS * width]
    if trial is None or shot.focal is None or not rivals:
        return None
    given = trial.fit(model_of(found))
    fits = [_under_axis(trial, shot, axis) for axis in rivals]
    best = int(np.argmin([fit.costs.mean() for fit in fits]))
    return rivals[best] if trial.is_better(fits[best], given, AXIS_GAIN) else None


def _under_axis(trial: LensTrial, shot: TrackedShot, axis: tuple[float, float]) -> LensFit:
    """With cameras that look elsewhere by the angle between both axes: nearly the same, to begin from."""
    square = square_tracks(shot.tracks, axis, shot.pixel_aspect, shot.focal, shot.distortion)
    x, y = np.subtract(shot.principal_point, axis) * (shot.pixel_aspect, 1.0) / trial.found.focal
    turn, found = exp_so3(np.array([-y, x, 0.0])), copy(trial.found)
    found.rotations, found.translations = turn @ found.rotations, found.translations @ turn.T
    found.middle_row = 0.5 * shot.tracks.size[1] - axis[1]
    return replace(trial.with_pixels_of(square), found=found).fit(model_of(found))


def explains_better(one: Reconstruction, other: Reconstruction) -> bool:
    """Whether held-out tracks prefer the first solve with its lens, and it is one that shots are made with."""
    trials = [trial for trial in map(trial_on, (one, other)) if trial is not None]
    if len(trials) < 2 or is_odd(one.state(np.zeros(0, np.int64)), one.tracks.size):
        return False
    costs = [trial.fit(model_of(trial.found)).costs.mean() for trial in trials]
    return bool(costs[0] < costs[1])


def _next(found: Reconstruction) -> list[LensModel]:
    """The lenses that may do one thing more."""
    model = model_of(found)
    more = [] if found.radial > 1 else [replace(model, radial=found.radial + 1)]
    return more if found.zooms or not found.free_focal else [*more, replace(model, zooms=True)]


def _rivals(trial: LensTrial, simple: LensFit) -> list[LensFit]:
    """The lenses that may do one thing more. Where the picture is a strong barrel's, also one with k1 and k2, because
    k1 alone folds a wide picture's corners, and a fisheye, if it explains more than that one."""
    rivals = [trial.fit(model) for model in _next(trial.found)]
    bends = [bend_share(one.state, trial.found.tracks.size) for one in (simple, *rivals)]
    if trial.found.is_fisheye or min(bends) > FISHEYE_BEND:
        return rivals
    wide = replace(model_of(trial.found), radial=2, zooms=False)
    barrel = next((one for one in (simple, *rivals) if one.model == wide), None) or trial.fit(wide)
    fisheye = trial.fit(replace(wide, is_fisheye=True))
    return [*rivals, barrel, *([fisheye] if trial.is_better(fisheye, barrel) else [])]


def is_odd(state: BundleState, size: tuple[float, float]) -> bool:
    """Whether few shots are made with such a lens, and it may be made up. size: (width, height) of the picture."""
    is_usual = SHORT_LENS < state.focal / size[0] < LONG_LENS
    return not is_usual or not (state.is_fisheye or MOST_BARREL < bend_share(state, size) < MOST_PINCUSHION)


def bend_share(state: BundleState, size: tuple[float, float]) -> float:
    """How far the picture's corners are moved, of their distance from the middle."""
    corner = 0.5 * float(np.hypot(*size)) / state.focal
    return state.distortion.radius(corner) / corner - 1.0


def _is_determined(trial: LensTrial, rival: LensFit) -> bool:
    """Whether the shot tells what the rival's lens does more, and it is one that could have shown the whole picture."""
    state, size, before = rival.state, trial.found.tracks.size, model_of(trial.found)
    if distortion_fault(state.distortion, *size, (state.focal, state.focal, 0.5 * size[0], 0.5 * size[1])):
        return False
    if rival.model.zooms and not before.zooms:
        return _tells_zoom(trial, rival)
    if bend_px(state, size) < LEAST_BEND_PX:
        return False
    if rival.model.radial > 1:
        return True
    return _tells_k1(trial, rival)


def _tells_k1(trial: LensTrial, rival: LensFit) -> bool:
    return bool(abs(rival.state.k1) > MOST_DEVIATIONS * np.sqrt(trial.covariance(rival)[1, 1]))


def is_zoom(zoom: np.ndarray | None) -> bool:
    """Whether anybody sees it: a zoom that was taken may be all but gone when everything else is adjusted. zoom: (T,)
    natural logarithm of each frame's focal length; None where the lens does not zoom."""
    return zoom is not None and bool(np.expm1(np.ptp(zoom)) > LEAST_ZOOM)


def _forget_zoom_of_distortion(found: Reconstruction) -> None:
    """A picture that is bent seems to zoom while the camera goes on, before the distortion is known."""
    trial = trial_on(found) if found.zooms and found.radial else None
    if trial is None:
        return
    zooming, still = (trial.fit(replace(model_of(found), zooms=zooms)) for zooms in (True, False))
    if not (trial.is_better(zooming, still) and _tells_zoom(trial, zooming)):
        _take(found, trial.frames, still)


def _tells_zoom(trial: LensTrial, rival: LensFit) -> bool:
    zoom = np.zeros(len(trial.frames)) if rival.state.zoom is None else rival.state.zoom
    knots = np.linalg.lstsq(trial.ways_of_zoom(), zoom, rcond=None)[0]
    longest, shortest = int(knots.argmax()), int(knots.argmin())
    covariance = trial.covariance(rival)[-len(knots):, -len(knots):]
    variance = covariance[longest, longest] + covariance[shortest, shortest] - 2.0 * covariance[longest, shortest]
    return bool(np.ptp(knots) > max(LEAST_ZOOM, MOST_DEVIATIONS * np.sqrt(variance)))


def bend_px(state: BundleState, size: tuple[float, float], share: float = 1.0) -> float:
    """How far the lens moves the picture's corners; or what lies at a share of the way to them."""
    radius = share * 0.5 * float(np.hypot(*size)) / state.focal
    return abs(state.distortion.radius(radius) - radius) * state.focal


def _take(found: Reconstruction, frames: np.ndarray, lens: LensFit) -> None:
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

def choose_shutter(found: Reconstruction, *, is_bent: bool = False) -> bool:
    """Let the rows be read out one after the other, where held-out tracks ask for it; whether they do.

    Only a frame's neighbors tell how its camera moves while its rows are taken: all frames have to be solved. What the
    keyframes took for a zoom may have been the shutter; it is given up where it explains nothing more. is_bent: the
    solve is out of shape, because the shot does not tell how its lens zooms.
    """
    trial = trial_on(found)
    if trial is None:
        return False
    simple = trial.fit(model_of(found), lets_focal_go=True)
    rival = trial.fit(replace(model_of(found), rolls=True))
    readout = 0.0 if rival.state.shutter is None else rival.state.shutter.readout
    if not trial.is_better(rival, simple, BENT_GAIN if is_bent else LEAST_GAIN) or abs(readout) < LEAST_READOUT:
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
    trial = trial_on(found) if found.rolls and found.zooms else None
    if trial is not None:
        _forget_zoom_of_shutter(trial, trial.fit(model_of(found)))
    return found.rolls


def contradicts_readout(found: Reconstruction) -> float | None:
    """The readout, in frames, that held-out tracks clearly prefer to the one that was given; None if they do not."""
    trial = trial_on(found)
    if trial is None or not found.holds_readout:
        return None
    simple = trial.fit(model_of(found), lets_focal_go=True)
    rival = trial.fit(replace(model_of(found), rolls=True, holds=False))
    readout = 0.0 if rival.state.shutter is None else rival.state.shutter.readout
    deviation = np.sqrt(trial.covariance(rival)[3, 3])
    is_off = abs(readout - found.readout) > max(DOUBTFUL_READOUT, MOST_DEVIATIONS * deviation)
    return readout if is_off and trial.is_better(rival, simple) and trial.keeps_focal(rival) else None


def _forget_zoom_of_shutter(trial: LensTrial, rolling: LensFit) -> None:
    """Rows that are read out in turn make the picture grow and shrink with the camera's speed, which is taken for a
    zoom before the shutter is known."""
    still = trial.fit(replace(rolling.model, zooms=False))
    if trial.is_better(rolling, still) and _tells_zoom(trial, rolling):
        return
    found = trial.found
    found.zooms, found.focal = False, still.state.focal
    found.zoom[:] = 0.0
