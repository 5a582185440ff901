"""Frames in which a traveling camera has stopped and only turns.

Points that come into view there are seen from one place, so they get no depth, and a solve that grows from known
points loses the frames after a while. But a turn needs no depth: each such frame is turned against the last one that
is known, and stays where that was.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..mapping import CameraFit
from ..tracking import MIN_COMMON_TRACKS, Tracks
from .rotation import RotationFit, fit_rotations

TURN_GATE_PX, TURN_MISFIT_PX = 1.0, 0.25
MIN_TURN_FRAMES = 3
LENS_REL_STD = 0.02


def lens_of_turn(tracks: Tracks, frames: np.ndarray, solved: np.ndarray) -> float | None:
    """Focal length that the longest turn among the unsolved frames tells; None if there is none that does.

    tracks: square pixels from the principal point. frames: those that tracks link. solved: (T,) bool.
    """
    runs = [run for run in _unsolved_runs(frames, solved) if len(run) >= MIN_TURN_FRAMES]
    turn = fit_rotations(tracks, max(runs, key=len), None) if runs else None
    return turn.focal if turn is not None and turn.is_certain and turn.focal_rel_std < LENS_REL_STD else None


def carry_on_turning(tracks: Tracks, frames: np.ndarray, fitted: CameraFit) -> tuple[CameraFit, np.ndarray]:
    """The cameras with those frames solved that turn on the spot from a solved one beside them; and which they are,
    (T,) bool. What was seen in them counts no longer: it told no depth."""
    rotations, translations = fitted.rotations.copy(), fitted.translations.copy()
    turning = np.zeros(len(fitted.solved), bool)
    for run in _unsolved_runs(frames, fitted.solved):
        found = _turn_beside(tracks, frames, fitted, run)
        if found is None:
            continue
        chain, anchor, turn = found
        center = -fitted.rotations[anchor].T @ fitted.translations[anchor]
        from_anchor = turn.rotations @ turn.rotations[np.searchsorted(chain, anchor)].T @ fitted.rotations[anchor]
        held = _holds(turn, len(chain)) & (chain != anchor)
        rotations[chain[held]] = from_anchor[held]
        translations[chain[held]] = -from_anchor[held] @ center
        turning[chain[held]] = True
    carried = replace(fitted, rotations=rotations, translations=translations, solved=fitted.solved | turning)
    return _without_frames(carried, turning), turning


def _turn_beside(tracks: Tracks, frames: np.ndarray, fitted: CameraFit,
                 run: np.ndarray) -> tuple[np.ndarray, int, RotationFit] | None:
    """The turn that the run is a part of: its frames, in order, the solved one it begins or ends with, and its fit.

    It began before frames were lost: known points were still seen, but told the place ever less. So it is followed
    back as far as a turn explains every frame.
    """
    known = frames[fitted.solved[frames]]
    before, after = known[known < run[0]], known[known > run[-1]]
    beside = before[::-1] if len(before) else after
    best, low, high = None, 0, len(beside) // 2
    while low <= high:
        middle = (low + high) // 2 if best is not None else 0
        chain = np.sort(np.r_[beside[:middle + 1], run])
        turn = fit_rotations(tracks, chain, fitted.focal) if len(beside) else None
        if turn is not None and turn.is_certain and not (turn.misfit_px > TURN_MISFIT_PX).any():
            best, low = (chain, int(beside[middle]), turn), middle + 1
        elif best is None:
            return None
        else:
            high = middle - 1
    return best


def _without_frames(fitted: CameraFit, left_out: np.ndarray) -> CameraFit:
    """Without what these frames, (T,) bool, saw, and without points that fewer than two others see."""
    chosen = ~left_out[fitted.frame]
    chosen &= (np.bincount(fitted.point[chosen], minlength=len(fitted.points)) >= 2)[fitted.point]
    used, point = np.unique(fitted.point[chosen], return_inverse=True)
    return replace(fitted, frame=fitted.frame[chosen], point=point.reshape(-1), pixels=fitted.pixels[chosen],
                   filmed=None if fitted.filmed is None else fitted.filmed[chosen],
                   residual_px=fitted.residual_px[chosen], points=fitted.points[used],
                   point_parallax_deg=fitted.point_parallax_deg[used])


def _unsolved_runs(frames: np.ndarray, solved: np.ndarray) -> list[np.ndarray]:
    """Runs of unsolved frames, among those that tracks link."""
    missing = np.flatnonzero(~solved[frames])
    return [frames[run] for run in np.split(missing, np.flatnonzero(np.diff(missing) > 1) + 1) if len(run)]


def _holds(turn: RotationFit, count: int) -> np.ndarray:
    """(C,) bool: frames that enough fitting tracks hold."""
    fits = turn.observations.camera[turn.residual_px < TURN_GATE_PX]
    return np.bincount(fits, minlength=count) >= MIN_COMMON_TRACKS
