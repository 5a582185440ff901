"""How firmly a shot tells its focal length: does every part of the picture tell the same?

The curvature of the cost supposes independent errors, and so proves a lens that a crowd walking with the camera made
up. What moves by itself fills some part of the picture; leave that part out, and the answer changes (a jackknife over
regions).
"""

from __future__ import annotations

import numpy as np

from ...parallel import ONE_CORE, Cores
from ..mapping import ADJUSTMENT_ROUNDS, BundleState, CameraFit, Observations, bundle_adjust

MAX_FRAMES = 20
MIN_HALF_FRAMES, MAX_HALF_FRAMES = 8, 12
REGION_SHARE = 1 / 3
ITERATIONS = 25
ADJUSTMENT_TOLERANCE = 1e-4
MIN_OBSERVATIONS = 200


def focal_jackknife_ratio(fitted: CameraFit, cores: Cores = ONE_CORE) -> float:
    """Longest over shortest focal length, found anew without the left, right, upper and lower third of the points.

    1 where too little remains to try.
    """
    frames = spread_frames(np.flatnonzero(fitted.solved))
    x, y = _mean_pixels(fitted)
    regions = [x < np.quantile(x, REGION_SHARE), x > np.quantile(x, 1 - REGION_SHARE),
               y < np.quantile(y, REGION_SHARE), y > np.quantile(y, 1 - REGION_SHARE)]
    focals = cores.map(lambda region: _focal_without(fitted, frames, region), regions)
    found = [focal for focal in focals if focal is not None]
    return max(found) / min(found) if found else 1.0


def focal_halves_ratio(fitted: CameraFit, cores: Cores = ONE_CORE) -> float:
    """Longest over shortest focal length of the first and the second half of the frames, each by itself.

    A picture that was stabilized or reframed lets the lens's axis wander, which bends the focal length by how it
    wanders; so does a zoom. 1 where too little remains to try.
    """
    nothing = np.zeros(len(fitted.points), bool)
    halves = [half for half in np.array_split(np.flatnonzero(fitted.solved), 2) if len(half) >= MIN_HALF_FRAMES]
    focals = cores.map(lambda half: _focal_without(fitted, spread_frames(half, MAX_HALF_FRAMES), nothing), halves)
    found = [focal for focal in focals if focal is not None]
    return max(found) / min(found) if len(found) == 2 else 1.0


def spread_frames(frames: np.ndarray, most: int = MAX_FRAMES) -> np.ndarray:
    """At most so many of the frames, evenly."""
    return frames[np.unique(np.rint(np.linspace(0, len(frames) - 1, most)).astype(int))]


def _mean_pixels(fitted: CameraFit) -> tuple[np.ndarray, np.ndarray]:
    """(P,) each: where in the picture a point is seen on average."""
    count = np.bincount(fitted.point, minlength=len(fitted.points))
    x, y = (np.bincount(fitted.point, axis, len(fitted.points)) / count for axis in fitted.pixels.T)
    return x, y


def _focal_without(fitted: CameraFit, frames: np.ndarray, left_out: np.ndarray) -> float | None:
    """Focal length that the points not left_out (P,) bool give in the frames; None if too few are seen."""
    position = np.full(len(fitted.solved), -1)
    position[frames] = np.arange(len(frames))
    used = (position[fitted.frame] >= 0) & ~left_out[fitted.point]
    used &= (np.bincount(fitted.point[used], minlength=len(fitted.points)) >= 2)[fitted.point]
    if used.sum() < MIN_OBSERVATIONS:
        return None
    points, point = np.unique(fitted.point[used], return_inverse=True)
    state = BundleState(fitted.rotations[frames], fitted.translations[frames], fitted.points[points], fitted.focal)
    observations = Observations(position[fitted.frame[used]], point.reshape(-1), fitted.pixels[used])
    state, _ = bundle_adjust(state, observations, loss_px=ADJUSTMENT_ROUNDS[-1][1], iterations=ITERATIONS,
                             tolerance=ADJUSTMENT_TOLERANCE)
    return state.focal
