"""A turn on the spot behind a rolling shutter that is known: tracks as the camera of each frame's middle row sees them.

A turn needs no depth. So what is seen while a later row is taken is brought back to the middle row by the turn between
both, which the frames beside tell; and with tracks that are brought back, the turn is told better (cf. Forssén and
Ringaby 2010, "Rectifying rolling shutter video from hand-held devices").
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...geometry import exp_so3, log_so3
from ...lens import distorted, undistorted
from .model_choice import may_be_turn, turn_of_all_frames, turn_of_keyframes
from .rotation import RotationFit
from .shot import TrackedShot

TURN_FITS = 3
MIN_FRAMES = 3
CONTRADICTION = 1.2
"""Cost of the turn with the shutter over its cost without, from which the shot speaks against it."""


def without_shutter(shot: TrackedShot, keyframes: np.ndarray) -> TrackedShot:
    """The shot with all its rows taken at once, as far as a turn on the spot explains it; the shot itself where its
    shutter is not known, or no turn comes near."""
    found = shot
    for _ in range(TURN_FITS if shot.readout and len(shot.frames) >= MIN_FRAMES else 0):
        turn = turn_of_keyframes(found, keyframes)
        if turn is None or not may_be_turn(turn):
            return shot
        found = replace(shot, square=_brought_back(shot, turn_of_all_frames(found, turn)), is_of_middle_rows=True)
    return found


def contradicts_shutter(shot: TrackedShot, turn: RotationFit) -> bool:
    """Whether the turn explains the shot clearly worse with the shutter that was given than with none.

    turn: of all frames, with all their rows taken at once by that shutter.
    """
    return turn.cost_px2 > CONTRADICTION * turn_of_all_frames(shot, turn).cost_px2


def _brought_back(shot: TrackedShot, turn: RotationFit):
    """The shot's square tracks where the middle row's camera sees them."""
    position = np.searchsorted(shot.frames, shot.square.frame)
    focal = turn.focal * np.exp(np.zeros(len(shot.frames)) if turn.zoom is None else turn.zoom)[position][:, None]
    readout = shot.readout or 0.0
    time = readout * (shot.tracks.pixels[:, 1:] / shot.tracks.size[1] - 0.5)  # by rows of the plate as it was shot
    velocity, acceleration = _angular_motion(turn.rotations, shot.frames)
    turned = exp_so3(time * velocity[position] + 0.5 * time**2 * acceleration[position])
    lens = turn.lens
    rays = np.concatenate([undistorted(shot.square.pixels / focal, lens), np.ones((len(position), 1))], axis=1)
    rays = np.einsum("nji,nj->ni", turned, rays)
    return replace(shot.square, pixels=focal * distorted(rays[:, :2] / rays[:, 2:], lens))


def _angular_motion(rotations: np.ndarray, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(C,3) each: how fast the cameras (C,3,3), world to camera, turn in their own axes, and how that changes."""
    gaps = np.diff(frames).astype(float)
    steps = log_so3(rotations[1:] @ np.swapaxes(rotations[:-1], 1, 2)) / gaps[:, None]
    middles = 0.5 * (frames[1:] + frames[:-1])
    change = np.diff(steps, axis=0) / np.diff(middles)[:, None]
    acceleration = np.concatenate([change[:1], change, change[-1:]])
    velocity = np.concatenate([steps, steps[-1:]])
    apart = frames - np.r_[middles, middles[-1]]
    return velocity + apart[:, None] * acceleration, acceleration
