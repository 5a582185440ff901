"""Which kind of camera a shot was filmed with, where more than one explains it.

A camera that travels has a depth for every point and a place for every frame to fit noise with, or something that
moves by itself: that it explains more is no proof. But what it gains by that is little for points that many frames
see; where it gains several times over, it does travel. A turn with a lens of its own choosing is no proof either: a
very long one makes of any turn a shift of the picture, as a flight straight over flat land does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..mapping import Observations
from .focal_stability import spread_frames
from .rotation import RotationFit, fit_any_lens, fit_rotations, fit_rotations_like, fit_zooming_rotations
from .shot import TrackedShot
from .traveling import Travel, explained_share
from .turning_lens import with_distortion

DOUBTFUL_ROTATION_SHARE = 0.6
RIVAL_ROTATION_SHARE = 0.75
NOISE_GATE = 2.5
NOISE_GATE_PX = 0.25
ROTATION_GATE_PX = 2.0
ROTATION_FRAME_PX = 0.7
"""Typical misfit of a frame from which a turn does not explain it."""
ROTATION_FOCAL_REL_STD = 0.02
TRAVEL_RATIO, NARROW_TRAVEL_RATIO = 3.0, 1.6
"""How many times better a traveling camera fits that is one; the second where the turn asks for an unlikely lens, and
may have any: flights over flat land have 2.1 to 4.3 then, turns of a long lens 1.05."""
DOUBTFUL_TRAVEL_RATIO, LEAST_SMOOTHNESS = 1.5, 0.5
"""The same where the turn is not certain, and how smooth the path is to be then. Turns on a tripod behind people have
up to 1.40 (with .45) and .64 (with 1.04), walks of 0.3 to 0.6 m behind them 1.14 to 3.6 and .83 or more."""
ZOOMING_TRAVEL_RATIO, ZOOMING_QUANTILE = 1.3, 0.9
"""The same of a turn that zooms, and the quantile of the misfits that is compared: a walk straight at a far wall is a
zoom but for the few things before the wall. Zooms on a tripod have 1.0 to 1.1, 10 cm towards a wall 2.1."""
ZOOM_COST_SHARE = 0.5
"""Of a turn's cost that a zoom has to take away."""
LEAST_NOISE_PX = 0.02
MANY_VIEWS = 4
MIN_FRAMES, MOST_FRAMES = 4, 20
GOING_SHARE = 0.1
"""Of the longer steps of a path, below which the camera stands."""
NARROW_VIEW_DEG = 18.0
"""Across the picture; few shots are filmed with a longer lens (114 mm on 36 mm)."""


def is_turn(shot: TrackedShot, rotation: RotationFit, whole: RotationFit) -> bool:
    """Whether the camera turns on the spot, without a look at any other explanation.

    rotation: fitted to the keyframes. whole: to all frames; a few may be off, not a walk before the turn.
    """
    off = np.count_nonzero(whole.misfit_px > ROTATION_FRAME_PX)
    return rotation.is_certain and bool(off < MIN_FRAMES) and not has_narrow_view(shot, rotation)


def turn_of_all_frames(shot: TrackedShot, rotation: RotationFit) -> RotationFit:
    """The turn that was found on keyframes, fitted to every frame; with its lens only if it tells one."""
    measured = tells_lens(shot, rotation)
    start = rotation if measured else replace(rotation, focal=shot.guessed_focal)
    return fit_rotations_like(shot.square, shot.frames, start, free_focal=measured)


def turn_of_keyframes(shot: TrackedShot, keyframes: np.ndarray) -> RotationFit | None:
    """The turn that explains the keyframes best, with distortion where the shot asks for it, and with a zoom only where
    none without is certain; None if they share too few tracks."""
    rotation = fit_rotations(shot.square, keyframes, shot.focal, cores=shot.cores)
    if rotation is not None and shot.distortion is None:
        rotation = with_distortion(shot.square, keyframes, rotation, shot.focal)
    if rotation is None or rotation.is_certain or shot.focal is not None:
        return rotation
    zooming = fit_zooming_rotations(shot.square, keyframes, shot.cores)
    if zooming is not None and shot.distortion is None:
        zooming = with_distortion(shot.square, keyframes, zooming, None)
    return zooming if zooming is not None and zooming.cost_px2 < ZOOM_COST_SHARE * rotation.cost_px2 else rotation


def tells_lens(shot: TrackedShot, rotation: RotationFit) -> bool:
    return shot.focal is None and rotation.focal_rel_std < ROTATION_FOCAL_REL_STD


def has_narrow_view(shot: TrackedShot, rotation: RotationFit) -> bool:
    """Whether the lens that the turn chose by itself is longer than most."""
    view_deg = 2.0 * np.degrees(np.arctan2(0.5 * shot.square.size[0], rotation.focal))
    return shot.focal is None and bool(view_deg < NARROW_VIEW_DEG)


def may_be_turn(rotation: RotationFit) -> bool:
    """Whether a turn is the likely answer where no traveling camera explains the shot: with much moving in front, a
    turning camera is no clear case."""
    return rotation.is_certain or rotation.share_within(ROTATION_GATE_PX) > DOUBTFUL_ROTATION_SHARE


@dataclass(frozen=True)
class Contest:
    """A turn on the spot against the travel that was found for the same shot.

    is_open: the turn explains nearly as much. is_turn_certain, is_narrow, zooms: of the turn, and of its lens. gain:
    how many times better the travel fits points that many frames see. smoothness: mean cosine between successive steps
    of the path, which noise makes small.
    """

    is_open: bool
    is_turn_certain: bool = False
    is_narrow: bool = False
    zooms: bool = False
    gain: float = np.inf
    smoothness: float = 1.0

    @property
    def is_turn(self) -> bool:
        """Whether the turn is the better answer."""
        if not self.is_open:
            return False
        if self.zooms:
            return self.gain <= ZOOMING_TRAVEL_RATIO
        if self.is_narrow or self.is_turn_certain:
            return self.gain <= (NARROW_TRAVEL_RATIO if self.is_narrow else TRAVEL_RATIO)
        return self.gain <= DOUBTFUL_TRAVEL_RATIO or self.smoothness < LEAST_SMOOTHNESS

    @property
    def is_doubtful(self) -> bool:
        """Whether the travel is the answer, but not by much."""
        return self.is_open and not self.is_turn and self.gain <= TRAVEL_RATIO


def contest(shot: TrackedShot, rotation: RotationFit, travel: Travel) -> Contest:
    """The turn that was fitted to the keyframes against the traveling camera."""
    if not (rotation.is_certain or _explains_as_much(shot, rotation, travel)):
        return Contest(is_open=False)
    is_narrow = has_narrow_view(shot, rotation)
    zooms = rotation.zoom is not None
    gain = _gain(shot, travel, rotation, is_narrow=is_narrow)
    return Contest(True, rotation.is_certain, is_narrow, zooms, gain, _smoothness(travel))


def _gain(shot: TrackedShot, travel: Travel, rotation: RotationFit, *, is_narrow: bool) -> float:
    """How many times better the travel fits than any turn, in the frames in which it goes on; 0 if it goes nowhere.

    rotation: even one whose lens zooms or bends the picture, if this one's does. is_narrow: even one with a very long
    lens, to which a turn comes only by many steps.
    """
    zooms = rotation.zoom is not None
    frames = _spread(np.flatnonzero(_goes_on(travel)))
    if len(frames) < MIN_FRAMES:
        return 0.0
    if zooms and not rotation.radial:
        turn = fit_zooming_rotations(shot.square, frames, shot.cores)
    elif zooms or rotation.is_fisheye:
        turn = fit_rotations_like(shot.square, frames, rotation, free_focal=shot.focal is None)
    else:
        turn = fit_rotations(shot.square, frames, shot.focal, rotation.radial, shot.cores)
    if turn is None:
        return 0.0
    turn = fit_any_lens(turn) if is_narrow else turn
    observed = turn.observations
    of_travel = _residual_of_travel(travel, Observations(frames[observed.camera], turn.points[observed.point],
                                                         observed.pixels))
    views = np.bincount(observed.point)[observed.point]
    many = views >= min(MANY_VIEWS, np.median(views))
    typical = [float(np.quantile(residual[many], ZOOMING_QUANTILE if zooms else 0.5))
               for residual in (turn.residual_px, of_travel)]
    return typical[0] / max(typical[1], LEAST_NOISE_PX)


def _smoothness(travel: Travel) -> float:
    frames = np.flatnonzero(travel.traveling)
    steps = np.diff(_centers(travel, frames), axis=0)
    steps /= np.maximum(np.linalg.norm(steps, axis=1, keepdims=True), 1e-12)
    return float(np.mean((steps[1:] * steps[:-1]).sum(1))) if len(steps) > 1 else 0.0


def _centers(travel: Travel, frames: np.ndarray) -> np.ndarray:
    return -np.einsum("nji,nj->ni", travel.fitted.rotations[frames], travel.fitted.translations[frames])


def _goes_on(travel: Travel) -> np.ndarray:
    """(T,) bool: measured frames whose place differs from that of the measured frame before or after."""
    frames = np.flatnonzero(travel.traveling)
    steps = np.linalg.norm(np.diff(_centers(travel, frames), axis=0), axis=1)
    moves = steps > GOING_SHARE * np.quantile(steps, 0.9) if len(steps) else np.zeros(0, bool)
    goes_on = np.zeros(len(travel.traveling), bool)
    goes_on[frames[np.r_[moves, False] | np.r_[False, moves]]] = True
    return goes_on


def _spread(frames: np.ndarray) -> np.ndarray:
    """At most MOST_FRAMES of them, evenly."""
    return spread_frames(frames, MOST_FRAMES) if len(frames) else frames


def _residual_of_travel(travel: Travel, observations: Observations) -> np.ndarray:
    found = travel.reconstruction
    return found.state(np.arange(len(found.rotations))).residual_px(observations)


def _explains_as_much(shot: TrackedShot, rotation: RotationFit, travel: Travel) -> bool:
    """Both are judged by the share of tracks they explain to within the noise, as the residuals of the traveling camera
    tell it; that one has to explain clearly more. How little it travels is no argument against it, if it does."""
    residual_px = travel.fitted.residual_px
    gate_px = max(NOISE_GATE_PX, NOISE_GATE * float(np.median(residual_px)))
    explained = float(np.mean(residual_px < gate_px)) * explained_share(shot, travel)
    return rotation.share_within(gate_px) > RIVAL_ROTATION_SHARE * explained
