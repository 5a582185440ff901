"""Surfaces that measuring missed near depth edges, found at the working size.

Windowed matching loses thin things, and lets what lies behind an edge run up to it in a ramp; but nearly always the
missing surface was measured some way off: a post above and below its gap, a wall beyond the ramp. So each pixel near
an edge is offered the disparities found at several distances around it, the far ones first, and takes one under which
the frames around agree better. What was taken is offered on: so a surface grows until the pictures object (propagation
as of PatchMatch stereo, Bleyer et al. 2011, by jumps, after Rong and Tan 2006).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from ...imaging import Cameras, warp_between, warp_pixels
from .evidence import Evidence, Refutation

EvidenceOf = Callable[[np.ndarray, np.ndarray, np.ndarray], Evidence]
"""About pixels: rows, columns and the disparity they have, (n,) each."""
RefutationOf = Callable[[np.ndarray, np.ndarray], Refutation]
"""Of pixels: rows and columns, (n,) each."""

REACHES_PX = (32, 12, 4, 1)
DIRECTIONS = ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, -1), (1, -1), (-1, 1))
STEP_PX, STEP = 2, 0.05
"""A relative step of disparity between pixels so far apart is a depth edge."""
BAND_PX = 12
"""Pixels to both sides of an edge that are asked."""
LEAST_CHANGE = 0.02
"""Relative difference from which another disparity is worth a try."""
MARGIN_LEVELS, WINDOW_PX = 1.0, 3
"""Gray levels by which it must agree better, on the mean of a window: where the picture has little texture, less than
that is noise."""
REFUTED_LEVELS = 1.0
"""Gray levels of evidence that a frame outweighs that sees through a disparity."""
COMPLETED_PX, COMPLETED_REACHES_PX = 4, (1,)
COMPLETED_AT_END_PX, COMPLETED_AT_END_REACHES_PX = 12, (12, 4, 1)
"""BAND_PX and REACHES_PX after other frames have lent what they found; and at an end of the clip, where a strip beside
each edge is seen in no other frame, so that its surface has to come from its own."""
SPECK_PX = 3
"""Size of the median that takes out lone pixels, and leaves what is two pixels wide."""


def edge_band(disparity: np.ndarray, reach_px: int, step_px: int = STEP_PX) -> np.ndarray:
    """(H,W) bool: pixels within reach of a depth edge, a step between pixels so far apart, along both axes.

    A plane's disparity is linear in the picture, however steep: only what is not is an edge.
    """
    edge = np.zeros(disparity.shape, bool)
    for down, right in ((0, step_px), (step_px, 0)):
        mean = np.float32(0.5) * (_shifted(disparity, down, right) + _shifted(disparity, -down, -right))
        edge |= np.abs(mean - disparity) > np.float32(0.5 * STEP) * disparity
    return cv2.dilate(edge.astype(np.uint8), np.ones((2 * reach_px + 1,) * 2, np.uint8)) > 0


class Growth:
    """One frame's disparity, as it takes what it is offered."""

    def __init__(self, disparity: np.ndarray, asked: np.ndarray, lends: np.ndarray, evidence_of: EvidenceOf,
                 refutation_of: RefutationOf | None = None):
        """disparity: (H,W) float32 > 0. asked, lends: (H,W) bool, the pixels that may change, and those whose
        disparity others are offered."""
        self.disparity, self._asked, self._lends = disparity.copy(), asked, lends
        around = cv2.dilate(asked.astype(np.uint8), np.ones((WINDOW_PX, WINDOW_PX), np.uint8)) > 0
        rows, cols = np.nonzero(around)
        self._place = np.zeros(disparity.shape, np.intp)
        self._place[rows, cols] = np.arange(len(rows))
        self._evidence = evidence_of(rows, cols, disparity[rows, cols])
        self._refutation = refutation_of and refutation_of(rows, cols)
        self._cost = np.zeros(disparity.shape, np.float32)
        self._cost[rows, cols] = self._judged(disparity[rows, cols])
        self._mean_cost = _mean(self._cost)

    def _judged(self, disparity: np.ndarray, chosen: np.ndarray | None = None) -> np.ndarray:
        cost = self._evidence.cost(disparity, chosen)
        return cost if self._refutation is None else cost + np.float32(REFUTED_LEVELS) * self._refutation.count(
            disparity, chosen)

    def try_hypothesis(self, offered: np.ndarray) -> None:
        """Take this disparity (H,W), not 0 where there is one, in pixels where it agrees better."""
        is_other = np.abs(offered - self.disparity) > np.float32(LEAST_CHANGE) * self.disparity
        tried = self._asked & is_other & (offered > 0)
        if not tried.any():
            return
        cost = self._cost.copy()
        cost[tried] = self._judged(offered[tried], self._place[tried])
        better = tried & (_mean(cost) < self._mean_cost - np.float32(MARGIN_LEVELS))
        if better.any():
            self.disparity[better], self._cost[better] = offered[better], cost[better]
            self._mean_cost = _mean(self._cost)

    def propagate(self, reaches: tuple[int, ...]) -> None:
        """Offer every pixel what pixels at these distances have, but not what lies on its own plane."""
        for reach in reaches:
            across, along = (np.float32(0.5) * cv2.Sobel(self.disparity, cv2.CV_32F, *axis, ksize=1)
                             for axis in ((1, 0), (0, 1)))
            for down, right in DIRECTIONS:
                down, right = reach * down, reach * right
                here = _shifted(self.disparity - (right * across + down * along), down, right)
                is_own = np.abs(here - self.disparity) < np.float32(LEAST_CHANGE) * self.disparity
                offered = _shifted(np.where(self._lends, self.disparity, 0), down, right)
                self.try_hypothesis(np.where(is_own, 0, offered))

    def without_specks(self) -> np.ndarray:
        """(H,W) disparity."""
        return np.where(self._asked, cv2.medianBlur(self.disparity, SPECK_PX), self.disparity)


def propagate(disparity: np.ndarray, fixed: np.ndarray, evidence_of: EvidenceOf) -> np.ndarray:
    """Disparity (H,W) float32 of one frame in which surfaces reach up to their edges.

    disparity: (H,W) float32 > 0. fixed: (H,W) bool, True where pixels neither change nor lend theirs:
    what moves.
    """
    asked = edge_band(disparity, BAND_PX) & ~fixed
    if not asked.any():
        return disparity.copy()
    growth = Growth(disparity, asked, ~fixed, evidence_of)
    growth.propagate(REACHES_PX)
    return growth.without_specks()


def complete(disparity: np.ndarray, projected: Sequence[np.ndarray], fixed: np.ndarray, evidence_of: EvidenceOf,
             refutation_of: RefutationOf, *, is_at_end: bool = False) -> np.ndarray:
    """Disparity (H,W) float32 of one frame with the surfaces that only other frames have found.

    projected: (H,W) each, from other frames, 0 where there is none. is_at_end: all other frames lie on one side in
    time. The rest as of propagate.
    """
    asked = edge_band(disparity, COMPLETED_AT_END_PX if is_at_end else COMPLETED_PX)
    for offered in projected:
        asked |= (offered > 0) & (np.abs(offered - disparity) > np.float32(STEP) * disparity)
    asked &= ~fixed
    if not asked.any():
        return disparity.copy()
    growth = Growth(disparity, asked, ~fixed, evidence_of, refutation_of)
    for offered in projected:
        growth.try_hypothesis(offered)
    growth.propagate(COMPLETED_AT_END_REACHES_PX if is_at_end else COMPLETED_REACHES_PX)
    return growth.without_specks()


def project_bands(disparity: np.ndarray, moves: np.ndarray, cameras: Cameras, source: int, index: int) -> np.ndarray:
    """What lies near depth edges in one frame, as another sees it: (H,W) float32 disparity, 0 where there is none.

    disparity: (H,W) of the source. moves: (H,W) bool, what is not projected. Of two that meet the nearer one counts.
    """
    height, width = disparity.shape
    rows, cols = np.nonzero(edge_band(disparity, BAND_PX) & ~moves)
    own = disparity[rows, cols]
    warp = warp_between(cameras, source, index)
    there = warp_pixels(warp, cols.astype(np.float32) + np.float32(0.5), rows.astype(np.float32) + np.float32(0.5), own)
    col, row = np.floor(there.columns).astype(np.int64), np.floor(there.rows).astype(np.int64)
    inside = there.in_front & (col >= 0) & (row >= 0) & (col < width) & (row < height)
    projected = np.zeros((height, width), np.float32)
    found = own[inside] / there.depth_ratio[inside]
    np.maximum.at(projected, (row[inside], col[inside]), found)
    return np.where(projected > 0, projected, cv2.dilate(projected, np.ones((3, 3), np.uint8)))


def _mean(cost: np.ndarray) -> np.ndarray:
    return cv2.blur(cost, (WINDOW_PX, WINDOW_PX))


def _shifted(picture: np.ndarray, down: int, right: int) -> np.ndarray:
    """(H,W) whose pixel (r,c) holds the picture's (r + down, c + right); its border goes on for ever."""
    height, width = picture.shape
    padded = cv2.copyMakeBorder(picture, max(-down, 0), max(down, 0), max(-right, 0), max(right, 0),
                                cv2.BORDER_REPLICATE)
    return padded[max(down, 0):max(down, 0) + height, max(right, 0):max(right, 0) + width]
