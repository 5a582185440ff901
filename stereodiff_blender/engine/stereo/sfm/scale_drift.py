"""How firmly a traveling shot carries its scale from its beginning to its end.

Nothing but points seen on both sides of a place tells how large the part after it is in the measure of the part before:
where a camera turns on the spot, few are. Reprojection errors say nothing of that; each part is fine by itself. So the
path is cut into stretches of equal length, and it is asked how far their sizes against each other would change without
each patch of the picture in each few frames (a jackknife over blocks, as errors of neighbors are alike). Few points
agree with anything, so no less is believed than what the curvature of the cost says.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..mapping import (
    ADJUSTMENT_ROUNDS,
    MOST_TOGETHER,
    BundleOptions,
    BundleState,
    CameraFit,
    Observations,
    center_deviations,
    choose_anchors,
    observed_twice,
)

STRETCHES = 8
MIN_FRAMES = 12
BLOCK_FRAMES, BLOCK_CELLS = 3, 4
"""A block is one of BLOCK_CELLS x BLOCK_CELLS patches of the picture, through so many frames."""
LONG_STEP = 5.0
"""Times the typical step of the path: what is longer is an error or a gap, and counts as so long."""
DEVIATIONS = 3.0
"""Standard deviations that drift is told by: on clips with truth it was that far off, and farther where it was bad."""
LINK_PARALLAX_DEG = 0.3
"""Angle between rays, from which a point's distance is told on one side of a place."""
FEW_RATIO, FEW_MORE = 1.5, 5
"""Places with at most so many times the fewest links, and so many more, are where the scale hangs as well."""


@dataclass(frozen=True)
class ScaleDrift:
    """share: how much the scale may change along the shot. first, last: indices of the frames between which it hangs
    on the fewest points, links."""

    share: float
    first: int
    last: int
    links: int


def measure_scale_drift(fitted: CameraFit, *, free_focal: bool) -> ScaleDrift | None:
    """What the cameras' own observations tell about it; None for a shot too short to ask.

    free_focal: the lens was found together with the cameras.
    """
    frames, observations = _observations(fitted)
    if len(frames) < MIN_FRAMES:
        return None
    state = BundleState(fitted.rotations[frames], fitted.translations[frames], fitted.points, fitted.focal)
    stretches = _stretches(state)
    influences, covariance = center_deviations(
        *_compact(state, observations), _sizes(state, stretches), free=BundleOptions(focal=free_focal),
        loss_px=ADJUSTMENT_ROUNDS[-1][1])
    of_blocks = _summed(influences, _blocks(observations))
    deviation = np.maximum(_deviation(of_blocks @ of_blocks.T), _deviation(covariance))
    weakest = int(np.argmax(np.diag(deviation, 1)))
    links = count_links(state, observations)
    start, stop = (int(stretches[k][len(stretches[k]) // 2]) for k in (weakest, weakest + 1))
    first, last = _weak_place(links, start, stop)
    return ScaleDrift(float(np.expm1(DEVIATIONS * deviation.max())), int(frames[first]), int(frames[last]),
                      int(links[first:last].min()))


def count_links(state: BundleState, observations: Observations) -> np.ndarray:
    """(C-1,) how many points tell the scale across the gap behind each camera: their rays to the cameras before it, and
    to those behind it, differ."""
    order = np.lexsort((observations.camera, observations.point))
    camera, point = observations.camera[order], observations.point[order]
    centers = -np.einsum("nji,nj->ni", state.rotations, state.translations)
    rays = state.points[point] - centers[camera]
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    _, first, count = np.unique(point, return_index=True, return_counts=True)
    from_first = _angle_deg(rays, np.repeat(rays[first], count, axis=0))
    to_last = _angle_deg(rays, np.repeat(rays[first + count - 1], count, axis=0))
    goes_on = (point[1:] == point[:-1]) & (from_first[:-1] > LINK_PARALLAX_DEG) & (to_last[1:] > LINK_PARALLAX_DEG)
    change = np.zeros(len(centers) + 1, np.int64)
    np.add.at(change, camera[:-1][goes_on], 1)
    np.add.at(change, camera[1:][goes_on], -1)
    return np.cumsum(change)[:len(centers) - 1]


def _angle_deg(rays: np.ndarray, others: np.ndarray) -> np.ndarray:
    # The chord keeps small angles exact where the cosine would not.
    return np.degrees(2.0 * np.arcsin(np.clip(0.5 * np.linalg.norm(rays - others, axis=1), 0.0, 1.0)))


def _observations(fitted: CameraFit) -> tuple[np.ndarray, Observations]:
    """Frames (C,), and what is seen in them; of a clip too long to be adjusted as a whole, its anchors."""
    frames, camera = np.unique(fitted.frame, return_inverse=True)
    observations = Observations(camera.reshape(-1), fitted.point, fitted.pixels)
    if len(frames) <= MOST_TOGETHER:
        return frames, observations
    anchors = choose_anchors(observations, len(frames))
    rows = anchors[observations.camera] & observed_twice(observations, anchors)[observations.point]
    return frames[anchors], Observations((np.cumsum(anchors) - 1)[observations.camera[rows]], observations.point[rows],
                                         observations.pixels[rows])


def _compact(state: BundleState, observations: Observations) -> tuple[BundleState, Observations]:
    """Without points that are not observed."""
    used, point = np.unique(observations.point, return_inverse=True)
    return (BundleState(state.rotations, state.translations, state.points[used], state.focal),
            Observations(observations.camera, point.reshape(-1), observations.pixels))


def _stretches(state: BundleState) -> list[np.ndarray]:
    """Indices of the cameras of each stretch of the path, in order, neighbors sharing a camera."""
    centers = -np.einsum("nji,nj->ni", state.rotations, state.translations)
    steps = np.linalg.norm(np.diff(centers, axis=0), axis=1)
    steps = np.minimum(steps, LONG_STEP * np.median(steps[steps > 0])) if steps.any() else np.ones(len(steps))
    along = np.r_[0.0, np.cumsum(steps)] / steps.sum()
    bounds = np.unique(np.searchsorted(along, np.linspace(0.0, 1.0, STRETCHES + 1)[1:-1]))
    ends = np.unique(np.r_[0, bounds, len(centers) - 1])
    return [np.arange(start, stop + 1) for start, stop in zip(ends[:-1], ends[1:], strict=True)]


def _sizes(state: BundleState, stretches: list[np.ndarray]) -> np.ndarray:
    """(K,C,3): what a shift of each center adds to the logarithm of each stretch's size, less their mean."""
    centers = -np.einsum("nji,nj->ni", state.rotations, state.translations)
    sizes = np.zeros((len(stretches), *centers.shape))
    for number, stretch in enumerate(stretches):
        offsets = centers[stretch] - centers[stretch].mean(0)
        sizes[number, stretch] = offsets / max(float(np.sum(offsets**2)), 1e-18)
    return sizes - sizes.mean(0)


def _blocks(observations: Observations) -> np.ndarray:
    """(N,) the number of each observation's block."""
    reach = np.abs(observations.pixels).max(0) + 1e-9
    column, row = np.floor((observations.pixels / reach + 1.0) * (0.5 * BLOCK_CELLS)).astype(np.int64).T
    return ((observations.camera // BLOCK_FRAMES) * BLOCK_CELLS + row) * BLOCK_CELLS + column


def _summed(influences: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """(K,B) influences of the blocks."""
    return np.stack([np.bincount(blocks, influence) for influence in influences])


def _deviation(covariance: np.ndarray) -> np.ndarray:
    """(K,K) standard deviations of the stretches' sizes against each other, of the logarithm."""
    variance = np.diag(covariance)
    return np.sqrt(np.maximum(variance[:, None] + variance[None] - 2.0 * covariance, 0.0))


def _weak_place(links: np.ndarray, start: int, stop: int) -> tuple[int, int]:
    """First and last camera of the run of gaps, among those of two cameras, with hardly more links than the weakest."""
    weakest = start + int(np.argmin(links[start:stop]))
    few = links <= max(FEW_RATIO * links[weakest], links[weakest] + FEW_MORE)
    first = last = weakest
    while first > start and few[first - 1]:
        first -= 1
    while last + 1 < stop and few[last + 1]:
        last += 1
    return first, last + 1
