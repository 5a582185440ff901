"""Plausible depth for things that move: upright billboards that stand where they touch the ground.

Geometry cannot measure a moving thing's depth from one camera. Its feet, though, stand on static ground whose
depth is measured, and a thing is no farther away than what it hides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ...flow import sample

MIN_OVERLAP = 0.25
RING_PX = 7
BORDER_PX = 4
FOOT_SHARE = 0.06
CUT_OFF_MARGIN = 1.08
CUT_OFF_WEIGHT = 0.2
MEDIAN_FRAMES = 3
SMOOTHING_FRAMES = 4.0
ENOUGH = 20
"""Trusted pixels that make a percentile worth having."""


@dataclass(frozen=True)
class Mover:
    """One connected moving region of one frame.

    label: its value in the frame's labels. track: the same for the same thing in all frames.
    """

    frame: int
    label: int
    track: int


@dataclass(frozen=True)
class Standing:
    """Where a mover seems to stand: its disparity, and how much that is worth."""

    mover: Mover
    disparity: float
    weight: float


def label_movers(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Connected regions of (H,W) bool: labels (H,W) uint16, 0 is static, and how many regions there are."""
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    return labels.astype(np.uint16), count - 1


def link_movers(frame: int, labels: np.ndarray, count: int, before: Sequence[Mover], labels_before: np.ndarray | None,
                flow_back: np.ndarray | None, first_new_track: int) -> list[Mover]:
    """Movers of a frame, each on the track of the earlier mover it overlaps most along the flow, or on a new one.

    before, labels_before: movers and labels of the frame before; flow_back: (H,W,2) flow to it. None at the start.
    """
    overlap = np.zeros((count + 1, len(before) + 1))
    if before and flow_back is not None and count:
        overlap = _overlaps(labels, sample(labels_before.astype(np.float32), flow_back, nearest=True), overlap.shape)
    movers = []
    for label in range(1, count + 1):
        best = int(np.argmax(overlap[label]))
        known = overlap[label, best] > MIN_OVERLAP
        track = before[best - 1].track if known else first_new_track
        first_new_track += not known
        movers.append(Mover(frame, label, track))
    return movers


def _overlaps(labels: np.ndarray, earlier: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Intersection over union of every region now (rows) and earlier (columns); 0 for the static background."""
    pairs = labels.astype(np.intp) * shape[1] + earlier.astype(np.intp)
    shared = np.bincount(pairs.ravel(), minlength=shape[0] * shape[1]).reshape(shape).astype(float)
    union = shared.sum(1, keepdims=True) + shared.sum(0, keepdims=True) - shared
    overlap = shared / np.maximum(union, 1.0)
    overlap[0], overlap[:, 0] = 0.0, 0.0
    return overlap


def measure_standing(mover: Mover, labels: np.ndarray, disparity: np.ndarray, trusted: np.ndarray) -> Standing:
    """Find where one mover touches the ground.

    labels: (H,W) of its frame. disparity: (H,W) static background, filled behind movers. trusted: (H,W) bool.
    """
    region = labels == mover.label
    cut_off = region[-BORDER_PX:].any()
    box = _box_around(region, margin=2 * RING_PX)
    region, disparity = region[box], disparity[box]
    static = labels[box] == 0
    sure = static & trusted[box]
    window = np.ones((2 * RING_PX + 1, 2 * RING_PX + 1), np.uint8)
    ring = disparity[(cv2.dilate(region.astype(np.uint8), window) > 0) & sure]
    if cut_off:
        # The feet are out of the picture: all that is known is that it stands before everything around it.
        nearest = CUT_OFF_MARGIN * np.percentile(ring, 95) if len(ring) > ENOUGH else np.median(disparity)
        return Standing(mover, float(nearest), CUT_OFF_WEIGHT)
    contact = _ground_contact(region, disparity, static, sure)
    behind = np.median(ring) if len(ring) > ENOUGH else 0.0
    return Standing(mover, float(max(contact, behind)), 1.0)


def smooth_tracks(standings: Sequence[Standing]) -> list[Standing]:
    """The same movers with disparities that change smoothly along each track: a running median, then a Gaussian
    mean of their logarithm. In the order given."""
    smoothed: dict[Mover, Standing] = {}
    for track in sorted({s.mover.track for s in standings}):
        members = [s for s in standings if s.mover.track == track]
        frames = np.array([s.mover.frame for s in members])
        values = np.log([s.disparity for s in members])
        weights = np.array([s.weight for s in members])
        for member, value in zip(members, _smooth(frames, values, weights), strict=True):
            smoothed[member.mover] = Standing(member.mover, float(np.exp(value)), member.weight)
    return [smoothed[s.mover] for s in standings]


def _smooth(frames: np.ndarray, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    medians = np.empty_like(values)
    for k, frame in enumerate(frames):
        # Frames are ascending: the window is a slice, and a long track costs no more per frame than a short one.
        low, high = np.searchsorted(frames, (frame - MEDIAN_FRAMES, frame + MEDIAN_FRAMES + 1))
        medians[k] = np.median(values[low:high])
    result = np.empty_like(values)
    for k, frame in enumerate(frames):
        low, high = np.searchsorted(frames, (frame - 4 * SMOOTHING_FRAMES, frame + 4 * SMOOTHING_FRAMES + 1))
        kernel = np.exp(-0.5 * ((frames[low:high] - frame) / SMOOTHING_FRAMES) ** 2) * weights[low:high]
        result[k] = kernel @ medians[low:high] / kernel.sum()
    return result


def _ground_contact(region, disparity, static, sure) -> float:
    """Median static disparity just below a region's lowest rows; 0 if nothing static lies there."""
    rows = np.flatnonzero(region.any(axis=1))
    foot = max(2, int(FOOT_SHARE * (rows[-1] - rows[0] + 1)))
    columns = np.flatnonzero(region[rows[-1] - foot + 1:].any(axis=0))
    below = np.zeros_like(region)
    below[max(rows[-1] - 1, 0):rows[-1] + max(4, foot), max(columns[0] - 4, 0):columns[-1] + 5] = True
    for candidates in (below & sure, below & static):
        if candidates.sum() > 8:
            return float(np.median(disparity[candidates]))
    return 0.0


def _box_around(region: np.ndarray, margin: int) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    return (slice(max(rows[0] - margin, 0), rows[-1] + margin + 1),
            slice(max(columns[0] - margin, 0), columns[-1] + margin + 1))
