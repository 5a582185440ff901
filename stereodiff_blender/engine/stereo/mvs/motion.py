"""Which pixels show something that moves by itself, given what a static scene would look like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ...imaging import (
    OpticalFlow,
    Warp,
    fast_global_smoother,
    find_regions,
    induced_flow,
    lower_median,
    pull_push,
    sample,
    without_holes,
    without_specks,
)
from .explanation import StaticScene
from .filtering import DepthFilter
from .sources import DepthLimits
from .triangulation import Triangulation

NEIGHBORS = (-2, -1, 1, 2)
RESIDUAL_RAMP_PX = (0.6, 1.4)
DEPARTURE_RAMP_PX = (0.5, 1.1)
TEXTURE_RAMP = (0.9, 1.9)
MIN_EVIDENCE = 0.1
"""Evidence from the matches from which on it is worth asking whether something static explains a pixel."""
STATIC_COST_RAMP = (0.4, 0.7)
"""Photometric cost at the best static depth: what stands still is mostly below 0.3, what moves above 0.75."""
MIN_TEXTURE = 0.3
SURROUNDING_RANGE = (0.6, 1.7)
"""Factors on the surrounding disparity within which an unmeasured static pixel may lie."""
DEPARTED_PX, MIN_DEPARTED = 0.8, 0.25
"""Share of a region's judged pixels that must depart so far from all that static surroundings could do. Where thin or
near things hide and uncover what is behind, distant frames contradict each other, yet near ones show nothing odd."""
MIN_JUDGED = 0.4
"""Share of a region that must be judged before it is acquitted so."""
MIN_AREA = 0.002
MAX_HOLE = 0.003
"""Share of the picture up to which a hole in a thing is filled: likelier than a gap it is a patch whose matches lie,
and what was measured in it would be taken for the background that the thing stands before."""
MIN_UNEXPLAINED = 0.4
"""Share of a region's pixels that speak of motion which nothing static may explain, for all of the region to move."""
VOTE_THRESHOLD = 0.42
OWN_VOTE = 1.5
SHARPNESS_RAMP, LEAST_WORTH = (0.65, 0.9), 0.05
"""Sharpness from which on a frame's word counts more than the least, and in full."""
UNKNOWN_PX = 1e6


def neighbors_of(index: int, count: int) -> list[int]:
    """Frames whose flow tells motion, where they exist.

    Parameters
    ----------
    index : int
        Of the frame.
    count : int
        How many frames the clip has.

    Returns
    -------
    list of int
        Indices of up to two frames before and two after it, ascending.
    """
    return [index + offset for offset in NEIGHBORS if 0 <= index + offset < count]


@dataclass(frozen=True)
class Neighbor:
    """A frame just before or after: flow to it (H,W,2), forward-backward error (H,W), both in pixels, and the warp."""

    flow: np.ndarray
    error: np.ndarray
    warp: Warp


def find_moving(frame: np.ndarray, measured: Triangulation, filtered: DepthFilter, texture: np.ndarray,
                limits: DepthLimits, neighbors: Sequence[Neighbor], scene: StaticScene | None = None) -> np.ndarray:
    """Mask of what moves in one frame.

    Parameters
    ----------
    frame : ndarray
        (H,W,3) uint8.
    measured : Triangulation
        What the matches say about the frame.
    filtered : DepthFilter
        Which of that is trusted.
    texture : ndarray
        (H,W) as of texture_of.
    limits : DepthLimits
        Of the whole clip.
    neighbors : Sequence of Neighbor
        Frames just before and after; may be empty: then no region is acquitted by them.
    scene : StaticScene or None
        The frame and others that show the same, where something static may explain what the matches do not. None: the
        matches alone decide.

    Returns
    -------
    ndarray
        (H,W) bool.
    """
    surrounding = _surrounding_disparity(measured, filtered, limits)
    departure = _departure(surrounding, neighbors)
    evidence, weight = _evidence(measured, filtered, limits, departure)
    gate = _ramp(texture, *TEXTURE_RAMP)
    # Without texture the flow is interpolated, and its errors look like motion.
    evidence[gate < MIN_TEXTURE] = 0.0
    weight = np.maximum(weight * np.maximum(gate, 0.05), 0.02)
    beyond = (measured.disparity < limits.disparity[0]) | (measured.view_count == 0)
    mask = _regions_of(frame, evidence, weight, beyond)
    if scene is not None and mask.any():
        asked = mask & (evidence > MIN_EVIDENCE)
        unexplained = _ramp(scene.static_cost(asked, surrounding), *STATIC_COST_RAMP)
        core = _regions_of(frame, evidence * unexplained, weight, beyond)
        mask = core | _mostly_unexplained(mask, asked, unexplained)
    return _without_still(mask, departure)


def _regions_of(frame, evidence, weight, beyond) -> np.ndarray:
    """Mask (H,W) bool that evidence (H,W) in [0,1] makes, worth as much as weight says."""
    belief = _smooth_at_half_size(frame, evidence, weight)
    mask = (belief > 0.5) | ((evidence > 0.8) & (belief > 0.3))
    mask &= _near_seeds((evidence > 0.6) & (weight > 0.3))
    return _clean(mask, beyond)


def _mostly_unexplained(mask: np.ndarray, asked: np.ndarray, unexplained: np.ndarray) -> np.ndarray:
    """The regions of a mask that are not mostly explained by something static: a thing's even parts prove nothing, and
    stay with the rest of it."""
    regions = find_regions(mask)
    share = regions.counts(asked & (unexplained > 0.5)) / np.maximum(regions.counts(asked), 1)
    return regions.pixels_of(share > MIN_UNEXPLAINED)


def vote(index: int, found: np.ndarray, flow: OpticalFlow, sharpness: np.ndarray | None = None) -> np.ndarray:
    """One frame's mask after its neighbors in time have voted along the flow.

    Parameters
    ----------
    index : int
        Of the frame.
    found : ndarray
        (T,H,W) masks of single frames, 0 or 1, of which index - 2 to index + 2 are read.
    flow : OpticalFlow
        Between the frames; asked for its fields to the neighbors.
    sharpness : ndarray or None
        (T,) as of relative_sharpness: what was found in a blurred frame counts less. None: all count alike.

    Returns
    -------
    ndarray
        (H,W) bool.
    """
    near = neighbors_of(index, len(found))
    own_worth, *worth = _worth(sharpness, [index, *near])
    votes = OWN_VOTE * own_worth * found[index].astype(np.float32)
    total = np.full_like(votes, OWN_VOTE * own_worth)
    for j, word in zip(near, worth, strict=True):
        seen = sample(found[j].astype(np.float32), flow.between(index, j), outside=-1.0)
        inside = seen >= 0
        votes += word * np.where(inside, seen, 0)
        total += word * inside
    # What only a blurred frame shows is not known to move.
    return without_specks(votes > VOTE_THRESHOLD * np.maximum(total, 1.0), MIN_AREA)


def _worth(sharpness: np.ndarray | None, voters: list[int]) -> np.ndarray:
    """What each voter's word counts beside the sharpest one's, (n,) float32 in (0,1]."""
    if sharpness is None:
        return np.ones(len(voters), np.float32)
    worth = np.maximum(_ramp(sharpness[voters].astype(np.float32), *SHARPNESS_RAMP), np.float32(LEAST_WORTH))
    return worth / worth.max()


def _evidence(measured, filtered, limits, departure) -> tuple[np.ndarray, np.ndarray]:
    """How much each pixel looks like motion, 0..1, and how much that is worth."""
    seen = measured.view_count >= 1
    evidence = _ramp(measured.residual, *RESIDUAL_RAMP_PX)
    impossible = (measured.disparity < -2.5 * measured.sigma) | (measured.disparity > limits.disparity[1])
    evidence = np.where(seen, np.where(impossible, 1.0, evidence), 0.0).astype(np.float32)
    evidence[filtered.floating] = 1.0
    judged = ~filtered.trusted & (departure < UNKNOWN_PX)
    evidence = np.where(judged, np.maximum(evidence, _ramp(departure, *DEPARTURE_RAMP_PX)), evidence)
    return evidence, (seen | judged).astype(np.float32)


def _departure(surrounding, neighbors) -> np.ndarray:
    """Median distance of the observed flows from those that the surrounding static depth allows, pixels.

    Over the neighbors to which the flow is consistent; UNKNOWN_PX where it is to none.
    """
    if not neighbors:
        return np.full(surrounding.shape, UNKNOWN_PX, np.float32)
    distances = np.empty((len(neighbors), *surrounding.shape), np.float32)
    count = np.zeros(surrounding.shape, np.uint8)
    for k, neighbor in enumerate(neighbors):
        flow = neighbor.flow
        consistent = neighbor.error < 0.8 + 0.05 * cv2.magnitude(flow[..., 0], flow[..., 1])
        nearer, farther = (induced_flow(surrounding * np.float32(s), neighbor.warp) for s in SURROUNDING_RANGE)
        distances[k] = np.where(consistent, _distance_to_segment(flow, nearer, farther), np.float32(UNKNOWN_PX))
        count += consistent
    return lower_median(distances, count)


def _surrounding_disparity(measured, filtered, limits) -> np.ndarray:
    """Disparity of the trusted pixels, spread over the others."""
    solid = cv2.erode(filtered.trusted.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    disparity = np.clip(measured.disparity, *limits.disparity)
    relative = measured.sigma / disparity
    weight = np.where(solid, 1.0 / (1.0 + (relative / 0.03) ** 2), 0).astype(np.float32)
    return pull_push(disparity, weight) if solid.any() else np.full_like(disparity, 1.0 / limits.middle)


def _distance_to_segment(flow, start, end) -> np.ndarray:
    """Distance (H,W) of flow vectors from the segments between two others, all (H,W,2)."""
    along, offset = end - start, flow - start
    length = np.einsum("ijk,ijk->ij", along, along)
    share = np.einsum("ijk,ijk->ij", offset, along) / np.maximum(length, np.float32(1e-6))
    offset -= np.clip(share, 0, 1)[..., None] * along
    return cv2.magnitude(offset[..., 0], offset[..., 1])


def _smooth_at_half_size(frame, evidence, weight) -> np.ndarray:
    """Evidence smoothed along the picture's surfaces. Half size is enough for a decision and four times cheaper."""
    height, width = evidence.shape
    half = (max(1, width // 2), max(1, height // 2))
    total, share = (cv2.resize(a, half, interpolation=cv2.INTER_AREA) for a in (evidence * weight, weight))
    belief, _ = fast_global_smoother(cv2.resize(frame, half, interpolation=cv2.INTER_AREA), total / share, share,
                                     strength=10.0, edge_levels=12.0, rounds=2)
    return cv2.resize(belief, (width, height), interpolation=cv2.INTER_LINEAR)


def _near_seeds(strong: np.ndarray) -> np.ndarray:
    """Pixels within 1/64 of the width of a strong, not too small, patch of evidence."""
    seeds = cv2.morphologyEx(strong.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    size = max(5, strong.shape[1] // 32) | 1
    return cv2.dilate(seeds, np.ones((size, size), np.uint8)) > 0


def _clean(mask: np.ndarray, beyond: np.ndarray) -> np.ndarray:
    """A mask without specks, gaps, holes and sky. beyond: (H,W) bool, too far away to tell."""
    mask = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9)))
    regions = find_regions(mask)
    unknown_share = regions.counts(beyond) / np.maximum(regions.areas, 1)
    is_sky = (regions.tops <= 3) & (unknown_share > 0.5)
    return without_holes(regions.pixels_of((regions.areas > MIN_AREA * mask.size) & ~is_sky), MAX_HOLE)


def _without_still(mask: np.ndarray, departure: np.ndarray) -> np.ndarray:
    """A mask without the regions that do from frame to frame what static things do."""
    regions = find_regions(mask)
    judged = regions.counts(departure < UNKNOWN_PX)
    departed = regions.counts((departure > DEPARTED_PX) & (departure < UNKNOWN_PX))
    still = (departed < MIN_DEPARTED * judged) & (judged > MIN_JUDGED * regions.areas)
    return mask & ~regions.pixels_of(still)


def _ramp(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below low, 1 above high, linear between."""
    return np.clip((values - np.float32(low)) * np.float32(1.0 / (high - low)), 0, 1)
