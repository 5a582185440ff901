"""Plausible depth for things that move: upright boards that stand where they touch the ground.

Geometry cannot measure a moving thing's depth from one camera. Its feet, though, stand on static ground whose depth is
known; a thing is no farther away than what it hides; what leaves the picture below stands nearer than the ground it
leaves it over; and how fast its picture grows tells how its distance changes. Each frame's signs are weighed into one
curve of inverse distance per thing, which is 1 / horizontal depth, so that a board is upright whatever the camera's
pitch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from .ground_plane import GroundView
from .tracks import UNKNOWN_GROWTH, Growth

RING_PX = 7
BORDER_PX = 4
FOOT_SHARE = 0.06
HIDDEN_SHARE = 0.125
"""What the picture's lower border is taken to hide of a thing, as a share of what it shows."""
RING_MARGIN = 1.08
LIKE_GROUND = (0.87, 1.15)
"""Measured disparity below a thing's feet, against the ground plane's, that is the ground itself."""
ON_GROUND, ON_SOMETHING, ON_UNSEEN_GROUND, AT_THE_SIDE, CUT_OFF = 1.0, 0.3, 0.6, 0.3, 0.1
"""Weights of the kinds of contact in the fit along a track, 0 to 1."""
MIN_PERCENTILE_PIXELS, MIN_MEDIAN_PIXELS = 20, 8
"""Pixels that make a percentile, and a median, worth having."""
CONTACT_SIGMA = 0.04
BOUND_SIGMA = 0.01
LIFTED_WEIGHT = 0.2
"""Feet can be lifted, hidden or missed, so that they seem farther away; what makes them seem nearer is rarer."""
DRIFT_SIGMA = 0.002
FIT_ROUNDS = 15
FIRST_TOLERANCE = 8.0
"""What is taken for an outlier is decided little by little: tolerances shrink from this multiple to one."""
SMOOTHING_FRAMES = 2.5
LAG, MIN_PAIRS, MAX_CONTRADICTION = 8, 3, 0.2


@dataclass(frozen=True)
class GroundContact:
    """Where a thing seems to stand in one frame.

    frame, track: which. inverse_ground_distance: 1 / horizontal depth (1 / z-depth without a ground plane). weight:
    what it is worth. least: the inverse distance that it has at least. growth: since the frame before.
    """

    frame: int
    track: int
    inverse_ground_distance: float
    weight: float
    least: float
    growth: Growth


def measure_contact(frame: int, track: int, tracks: np.ndarray, disparity: np.ndarray, trusted: np.ndarray,
                    ground: GroundView | None, view: GroundView, growth: Growth) -> GroundContact:
    """Find where one thing touches the ground.

    tracks: (H,W) of its frame. disparity: (H,W) static background, filled behind things. trusted: (H,W) bool.
    ground: None if the clip has no ground plane. view: the same, or FLAT_VIEW.
    """
    region = tracks == track
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    height, width = region.shape
    box = _box_around(rows, columns, margin=2 * RING_PX)
    region, disparity, static = region[box], disparity[box], tracks[box] == 0
    sure = static & trusted[box]
    behind = _ring_median(region, disparity, sure)
    foot = _Foot.from_region(region, box)
    distance_per_depth = float(view.distance_per_depth_at(foot.x, foot.y))
    if rows[-1] >= height - BORDER_PX:
        least, contact = _cut_off(region, disparity, sure, ground, foot, (rows[-1] - rows[0], height))
        least, weight = max(least, behind), CUT_OFF
    else:
        contact, weight = _contact(foot, disparity, static, sure, ground)
        least = behind
    if columns[0] < BORDER_PX or columns[-1] >= width - BORDER_PX:
        weight = min(weight, AT_THE_SIDE)
    return GroundContact(frame, track, max(contact, least) / distance_per_depth, weight, least / distance_per_depth,
                         growth)


@dataclass(frozen=True)
class _Foot:
    """A region's lowest end: pixel (x, y) at its bottom edge, and the static neighborhood (H,W) bool just below."""

    x: float
    y: float
    below: np.ndarray

    @classmethod
    def from_region(cls, region: np.ndarray, box: tuple[slice, slice]) -> _Foot:
        rows = np.flatnonzero(region.any(axis=1))
        size = max(2, int(FOOT_SHARE * (rows[-1] - rows[0] + 1)))
        columns = np.flatnonzero(region[max(rows[-1] - size + 1, 0):].any(axis=0))
        below = np.zeros_like(region)
        below[max(rows[-1] - 1, 0):rows[-1] + max(4, size), max(columns[0] - 4, 0):columns[-1] + 5] = True
        return cls(box[1].start + float(columns.mean()) + 0.5, box[0].start + rows[-1] + 1.0, below)


def _ring_median(region, disparity, sure) -> float:
    """Median trusted disparity around a region, 0 if there is too little."""
    window = np.ones((2 * RING_PX + 1, 2 * RING_PX + 1), np.uint8)
    ring = disparity[(cv2.dilate(region.astype(np.uint8), window) > 0) & sure]
    return float(np.median(ring)) if len(ring) > MIN_PERCENTILE_PIXELS else 0.0


def _cut_off(region, disparity, sure, ground, foot, extent) -> tuple[float, float]:
    """Least and likely disparity of a thing whose feet are below the picture.

    It stands nearer than the ground at the border, or, without a ground, than all around it.
    """
    shown, height = extent
    if ground is not None and ground.disparity_at(foot.x, height) > 0:
        least, likely = (float(ground.disparity_at(foot.x, height + hidden)) for hidden in (0.0, HIDDEN_SHARE * shown))
        return least, likely
    window = np.ones((2 * RING_PX + 1, 2 * RING_PX + 1), np.uint8)
    ring = disparity[(cv2.dilate(region.astype(np.uint8), window) > 0) & sure]
    return 0.0, RING_MARGIN * float(np.percentile(ring,
                                                  95) if len(ring) > MIN_PERCENTILE_PIXELS else np.median(disparity))


def _contact(foot: _Foot, disparity, static, sure, ground) -> tuple[float, float]:
    """Disparity of what a thing stands on, and what that is worth."""
    measured, enough = _below(foot, disparity, static, sure)
    expected = float(ground.disparity_at(foot.x, foot.y)) if ground is not None else 0.0
    if expected <= 0:
        return measured, ON_GROUND if enough else ON_UNSEEN_GROUND
    if not enough:
        return expected, ON_UNSEEN_GROUND
    if LIKE_GROUND[0] < measured / expected < LIKE_GROUND[1]:
        return expected, ON_GROUND
    return measured, ON_SOMETHING


def _below(foot: _Foot, disparity, static, sure) -> tuple[float, bool]:
    """Median static disparity just below a region, 0 if nothing static lies there, and whether it was measured."""
    for candidates, is_measured in ((foot.below & sure, True), (foot.below & static, False)):
        if candidates.sum() > MIN_MEDIAN_PIXELS:
            return float(np.median(disparity[candidates])), is_measured
    return 0.0, False


def _box_around(rows: np.ndarray, columns: np.ndarray, margin: int) -> tuple[slice, slice]:
    return (slice(max(rows[0] - margin, 0), rows[-1] + margin + 1),
            slice(max(columns[0] - margin, 0), columns[-1] + margin + 1))


# --- Along a track ----------------------------------------------------------------------------------------------

def fit_tracks(contacts: Sequence[GroundContact]) -> dict[tuple[int, int], float]:
    """One inverse distance per (frame, track), agreeing with what each frame shows and with how the thing's picture
    grows.

    Robust least squares on log inverse distance. What most frames show outweighs any growth: the contacts' losses grow
    linearly in the end (pseudo-Huber), those of the chain of growths between frames hardly at all (Cauchy).
    """
    fitted = {}
    for track in sorted({s.track for s in contacts}):
        members = sorted((s for s in contacts if s.track == track), key=lambda s: s.frame)
        for member, value in zip(members, _fit_track(members), strict=True):
            fitted[member.frame, track] = float(np.exp(value))
    return fitted


def _fit_track(members: Sequence[GroundContact]) -> np.ndarray:
    seen, least = (np.log(np.maximum(values, 1e-9)) for values in
                   ([s.inverse_ground_distance for s in members], [s.least for s in members]))
    worth = np.array([s.weight for s in members]) / CONTACT_SIGMA**2
    gaps = np.diff([s.frame for s in members])
    steps = np.where(gaps == 1, [s.growth.log_scale for s in members[1:]], 0.0)
    stiffness = 1.0 / (gaps * (np.array([s.growth.sigma for s in members[1:]]) ** 2 + DRIFT_SIGMA**2))
    if _growth_contradicts(seen - np.concatenate([[0.0], np.cumsum(steps)]), worth * CONTACT_SIGMA**2):
        steps, stiffness = np.zeros_like(steps), np.full_like(stiffness, 1.0 / UNKNOWN_GROWTH.sigma**2)
    weight, link, bound = worth, stiffness, np.zeros_like(worth)
    for tolerance in np.geomspace(FIRST_TOLERANCE, 1.0, FIT_ROUNDS):
        target = (weight * seen + bound * least) / (weight + bound)
        curve = _solve_chain(weight + bound, target, link, steps)
        residual = (seen - curve) / (tolerance * CONTACT_SIGMA)
        weight = worth * np.where(residual < 0, LIFTED_WEIGHT, 1.0) / np.sqrt(1.0 + residual**2)
        link = stiffness / (1.0 + stiffness * ((np.diff(curve) - steps) / tolerance) ** 2)
        bound = np.where(curve < least, worth * (CONTACT_SIGMA / BOUND_SIGMA) ** 2, 0.0)
    return _smoothed(np.array([s.frame for s in members], float), curve)


def _growth_contradicts(difference: np.ndarray, worth: np.ndarray) -> bool:
    """Whether a thing's growth tells quite another story than where it was seen to stand: a rolling ball's.

    difference: (n,) log inverse distance, seen less grown.
    """
    sure = worth >= ON_UNSEEN_GROUND
    pairs = sure[LAG:] & sure[:-LAG]
    if pairs.sum() < MIN_PAIRS:
        return False
    return bool(np.median(np.abs(difference[LAG:] - difference[:-LAG])[pairs]) > MAX_CONTRADICTION)


def _smoothed(frames: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Local straight lines with Gaussian weights in time, which leave a steady approach alone, at the ends too."""
    result = np.empty_like(values)
    for k, frame in enumerate(frames):
        low, high = np.searchsorted(frames, (frame - 3 * SMOOTHING_FRAMES, frame + 3 * SMOOTHING_FRAMES + 1))
        time = frames[low:high] - frame
        weight = np.exp(-0.5 * (time / SMOOTHING_FRAMES) ** 2)
        weight /= weight.sum()
        mean_time, mean = weight @ time, weight @ values[low:high]
        spread = weight @ (time - mean_time) ** 2
        slope = weight @ ((time - mean_time) * (values[low:high] - mean)) / spread if spread > 0 else 0.0
        result[k] = mean - slope * mean_time
    return result


def _solve_chain(weight, seen, stiffness, steps) -> np.ndarray:
    """Minimum of weight (x - seen)^2 + stiffness (x[k+1] - x[k] - steps)^2: a tridiagonal system, by elimination."""
    diagonal = weight.copy()
    diagonal[:-1] += stiffness
    diagonal[1:] += stiffness
    target = weight * seen
    target[:-1] -= stiffness * steps
    target[1:] += stiffness * steps
    for k, link in enumerate(stiffness):
        factor = link / diagonal[k]
        diagonal[k + 1] -= factor * link
        target[k + 1] += factor * target[k]
    result = target / diagonal
    for k in range(len(stiffness) - 1, -1, -1):
        result[k] = (target[k] + stiffness[k] * result[k + 1]) / diagonal[k]
    return result
