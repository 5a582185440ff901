"""How near solved cameras are to true ones: absolute trajectory error and relative pose error.

A solve has no unit of length and a place of its own, so it is first aligned to the truth by one similarity (Umeyama
1991). All figures are root mean squares, as the field publishes them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..geometry import align_similarity, invert_rigid, rotation_angle_deg

MIN_POSES = 3
STILL = 1e-9
"""Positions spread less than this, in the truth's units, are one place."""


@dataclass(frozen=True)
class TrajectoryErrors:
    """ate: distance of aligned positions from the true ones, in the truth's units. ate_percent: of the true path's
    length. rpe_translation, rpe_rotation_deg: of the motion from each frame to the next, in the truth's units and
    degrees; None where no two neighbors have a true pose. The first three are None where either camera stays in one
    place. poses: how many could be compared."""

    ate: float | None
    ate_percent: float | None
    rpe_translation: float | None
    rpe_rotation_deg: float | None
    poses: int


def trajectory_errors(solved: np.ndarray, truth: np.ndarray) -> TrajectoryErrors | None:
    """solved, truth: camera_to_world (T,4,4), NaN where a true pose is not known. None: too few are known to tell."""
    known = np.isfinite(truth).all(axis=(1, 2))
    if known.sum() < MIN_POSES:
        return None
    turns = _relative(solved, known), _relative(truth, known)
    rotation = _rms(rotation_angle_deg(_differences(*turns)[:, :3, :3]))
    places = solved[known, :3, 3], truth[known, :3, 3]
    if min(np.ptp(place, axis=0).max() for place in places) < STILL:
        return TrajectoryErrors(None, None, None, rotation, int(known.sum()))
    scale, turn, shift = align_similarity(*places)
    ate = _rms(np.linalg.norm(scale * places[0] @ turn.T + shift - places[1], axis=1))
    path = float(np.linalg.norm(np.diff(places[1], axis=0), axis=1).sum())
    steps = _differences(_scaled(turns[0], scale), turns[1])[:, :3, 3]
    return TrajectoryErrors(ate, 100 * ate / path, _rms(np.linalg.norm(steps, axis=1)), rotation, int(known.sum()))


def _relative(poses: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Motion from each frame to the next, where both are known: (n,4,4)."""
    both = known[:-1] & known[1:]
    return invert_rigid(poses[:-1][both]) @ poses[1:][both]


def _differences(solved: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return invert_rigid(truth) @ solved


def _scaled(poses: np.ndarray, scale: float) -> np.ndarray:
    scaled = poses.copy()
    scaled[:, :3, 3] *= scale
    return scaled


def _rms(values: np.ndarray) -> float | None:
    """None without values."""
    return float(np.sqrt(np.mean(values**2))) if len(values) else None
