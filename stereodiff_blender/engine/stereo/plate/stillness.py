"""Which of what is marked as moving stands still after all, near depth edges.

What no other frame shows cannot be told from what moves by comparing pictures: at an end of the clip a strip beside
each edge came free just now. And where measuring has missed a thin thing, or what is far, the depth that was found
there instead is one that the pictures contradict, just as a moving thing does. Here an island of such pixels is given
back if most of it is explained by what stands still: it lies behind what other frames show in front of it, or it
looks as what they show there does. A moving thing hides what other frames have seen, and looks otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ...imaging import Cameras
from .evidence import MAX_DIFFERENCE_LEVELS, SEEN_THROUGH, Warps, looked_up
from .propagation import EvidenceOf

REACH_PX = 24
"""So near, along both axes, is the surface that an island would belong to: the farthest one there."""
ALIKE_LEVELS, ALIKE_PX = 3.0, 3
"""Gray levels by which what stands still may differ from frame to frame, on the mean of a window in the island."""
STILL_SHARE = 0.55
"""Of an island's pixels that are to be explained. Of things that truly move it was a seventh at most."""


@dataclass(frozen=True)
class Islands:
    """moves: (h,w) bool, what counts as moving now. behind: (h,w) float32, in the islands that were given back the
    disparity of what they would lie on, 0 where there is none."""

    moves: np.ndarray
    behind: np.ndarray


def without_still_islands(moves: np.ndarray, disparity: np.ndarray, projected: Sequence[np.ndarray],
                          still: Sequence[np.ndarray], cameras: Cameras, index: int, sources: Sequence[int],
                          evidence_of: EvidenceOf) -> Islands:
    """What moves in one frame, without the islands that what stands still explains.

    moves: (h,w) bool, as it was found. disparity: (h,w) float32 > 0. projected, still: (h,w) float32 of each source,
    what it knows near depth edges as this frame sees it, and what stands still in it; 0 where there is none.
    """
    count, labels = cv2.connectedComponents(moves.astype(np.uint8))
    rows, cols = np.nonzero(moves)
    behind = np.zeros(disparity.shape, np.float32)
    if len(rows) == 0 or not sources:
        return Islands(moves, behind)
    farthest = cv2.erode(np.where(moves, np.float32(np.inf), disparity), np.ones((2 * REACH_PX + 1,) * 2, np.uint8))
    farthest[farthest > disparity.max()] = 0.0  # of the island alone, or of what OpenCV takes to be outside
    hidden = _is_hidden(farthest[rows, cols], still, Warps(cameras, index, sources, rows, cols))
    alike = _is_alike(moves, disparity, projected, evidence_of)
    pixels = np.maximum(np.bincount(labels.ravel(), minlength=count), 1)
    explained = np.bincount(labels[rows, cols], hidden | alike, count) / pixels
    is_still = (explained >= STILL_SHARE)[labels] & moves
    behind[is_still] = farthest[is_still]
    return Islands(moves & ~is_still, behind)


def _is_hidden(disparity: np.ndarray, still: Sequence[np.ndarray], warps: Warps) -> np.ndarray:
    """(n,) bool: which of these disparities, not 0 where there is one, lie behind something in every source, which in
    most of them does not stand before them in this frame, too: there something else may move before it."""
    hidden, standing = disparity > 0, np.zeros(len(disparity), np.float32)
    for k, known in enumerate(still):
        shown = _shown_at(disparity, known, k, warps)
        hidden &= shown > np.float32(1.0 + SEEN_THROUGH) * disparity
        stands_here = _shown_at(np.maximum(shown, disparity), known, k, warps)
        standing += np.abs(stands_here - shown) <= np.float32(SEEN_THROUGH) * shown
    return hidden & (standing <= np.float32(0.5 * len(still)))


def _shown_at(disparity: np.ndarray, known: np.ndarray, k: int, warps: Warps) -> np.ndarray:
    """(n,) disparity of what a source knows (h,w) where it would show this disparity."""
    columns, lines, depth_ratio = warps.places(k, disparity)
    return looked_up(known, columns, lines, len(disparity), cv2.INTER_NEAREST) * depth_ratio


def _is_alike(moves: np.ndarray, disparity: np.ndarray, projected: Sequence[np.ndarray],
              evidence_of: EvidenceOf) -> np.ndarray:
    """(n,) bool: which of the pixels that move look as what some source knows there does."""
    rows, cols = np.nonzero(moves)
    evidence = evidence_of(rows, cols, disparity[rows, cols])
    alike, cost, window = np.zeros(len(rows), bool), np.zeros(moves.shape, np.float32), (ALIKE_PX, ALIKE_PX)
    share = cv2.blur(moves.astype(np.float32), window)[rows, cols]
    for offered in projected:
        known = offered[rows, cols]
        judged = evidence.cost(np.where(known > 0, known, disparity[rows, cols]))
        cost[rows, cols] = np.where(known > 0, judged, np.float32(MAX_DIFFERENCE_LEVELS))
        alike |= (known > 0) & (cv2.blur(cost, window)[rows, cols] < np.float32(ALIKE_LEVELS) * share)
    return alike
