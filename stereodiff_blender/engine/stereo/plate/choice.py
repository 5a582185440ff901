"""Which surface a pixel of the plate belongs to, near a depth edge.

Disparity is brought to the finer raster inside its surfaces. In a narrow band around each edge a pixel then may have
three disparities: the one it got, the nearest and the farthest close by. Each is judged by the frames around, pixel by
pixel, as a window would take a surface over its edge; pixels side by side want the same surface, the more so the more
alike they look; and other frames that have chosen already vote for what they found at the same point. The best choice
of all pixels together is approached by letting the pixels of a checkerboard's two colors choose in turn (iterated
conditional modes, Besag 1986).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ...imaging import Cameras
from .evidence import Warps, looked_up
from .propagation import EvidenceOf, edge_band

SAME_SURFACE = 0.03
"""Relative difference of disparity up to which two pixels are on one surface."""
LEAST_BAND_PX, COARSE_BAND_PX = 6, 3
"""Pixels to both sides of an edge that choose, and within which the nearest and the farthest surface are found: so many
of this raster, or of the one before, whichever is more."""
COARSE_STEP_PX = 5
"""Pixels of the raster before, between which a step is an edge: so far a ramp there reaches, which enlarging keeps."""
OWN_LEVELS = 0.15
"""Gray levels of evidence that count for the disparity a pixel has."""
DECISIVE_LEVELS, SMOOTHED_PX, NEARBY_PX = 1.0, 5, 15
"""Gray levels by which the frames around favor the nearest surface or the farthest, smoothed over a few pixels, and
then on the mean of those nearby. Where it is less, as in soft or even pictures, they tell nothing, and an edge that
was measured is as likely a bump: its pixels keep what they have."""
LINK_LEVELS, LINK_DIAGONAL, LINK_FLOOR = 4.0, 0.7, 0.05
"""Gray levels of evidence that a neighbor of the same look outweighs; a diagonal one's share; the least share."""
ALIKE_LEVELS, SOFTENING_PX = 12.0, 0.8
"""Difference of gray that cuts a link to 1/e, in a picture softened by this much against grain."""
VOTES_LEVELS = 3.2
"""Gray levels of evidence that the votes of all other frames together outweigh, for a disparity or, where they look
through, against: at an end of the clip there are fewer, and nobody else knows what lies beside an edge."""
CHOICE_ROUNDS, CHOICE_ROUNDS_ALONE = 3, 1
"""Turns of all pixels, with the votes of other frames, and before there are any."""
NEIGHBORS = ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, -1), (1, -1), (-1, 1))


def enlarged(disparity: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Disparity (h,w) on a finer raster of size (H,W): interpolated inside surfaces, never between two."""
    nearest = cv2.resize(disparity, size[::-1], interpolation=cv2.INTER_NEAREST)
    between = cv2.resize(disparity, size[::-1], interpolation=cv2.INTER_LINEAR)
    return np.where(np.abs(between - nearest) < np.float32(SAME_SURFACE) * nearest, between, nearest)


@dataclass(frozen=True)
class Choice:
    """A frame whose pixels near edges are to choose.

    disparity: (H,W) float32, as it is elsewhere. rows, cols: (n,) of these pixels. hypotheses: (3,n) float32
    disparities. costs: (3,n) float32 gray levels. links: (8,n) float32 gray levels, to the neighbors.
    """

    index: int
    disparity: np.ndarray
    rows: np.ndarray
    cols: np.ndarray
    hypotheses: np.ndarray
    costs: np.ndarray
    links: np.ndarray

    def settled(self, votes: np.ndarray | None = None) -> np.ndarray:
        """(H,W) float32 disparity after the choice; votes: (3,n) gray levels to be added to the costs, None before
        there are any."""
        if len(self.rows) == 0:
            return self.disparity
        costs, rounds = (self.costs, CHOICE_ROUNDS_ALONE) if votes is None else (self.costs + votes, CHOICE_ROUNDS)
        padded = cv2.copyMakeBorder(self.disparity, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
        pitch, flat = padded.shape[1], padded.ravel()
        place = (self.rows + 1) * pitch + self.cols + 1
        flat[place] = _best(self.hypotheses, costs)
        turns = [np.flatnonzero((self.rows + self.cols) % 2 == color) for color in (0, 1)]
        before = last = np.ones(padded.shape, np.uint8)  # what the turn of each color stirred; diagonals have one color
        for turn in turns * rounds:
            asked = turn[(before | last).ravel()[place[turn]] > 0]
            before, last = last, self._take_turn(padded, place, costs, asked)
        return np.ascontiguousarray(padded[1:-1, 1:-1])

    def _take_turn(self, padded: np.ndarray, place: np.ndarray, costs: np.ndarray, asked: np.ndarray) -> np.ndarray:
        """Let the pixels asked, (k,) int of n, choose. Returns the neighborhood of what changed, padded's shape uint8:
        all others would choose again what they have."""
        where, hypotheses, flat = place[asked], self.hypotheses[:, asked], padded.ravel()
        agreement = _agreement(flat, where, hypotheses, self.links[:, asked], padded.shape[1])
        best = _best(hypotheses, costs[:, asked] - agreement)
        changed = np.zeros(padded.shape, np.uint8)
        changed.ravel()[where] = best != flat[where]
        flat[where] = best
        return cv2.dilate(changed, np.ones((3, 3), np.uint8))


def _best(hypotheses: np.ndarray, costs: np.ndarray) -> np.ndarray:
    return np.take_along_axis(hypotheses, costs.argmin(axis=0)[None], axis=0)[0]


def _agreement(flat: np.ndarray, where: np.ndarray, hypotheses: np.ndarray, links: np.ndarray,
               pitch: int) -> np.ndarray:
    """(3,n) what the links to neighbors on the same surface weigh."""
    total = np.zeros(hypotheses.shape, np.float32)
    tolerance = np.float32(SAME_SURFACE) * hypotheses
    for link, (down, right) in zip(links, NEIGHBORS, strict=True):
        total += link * (np.abs(flat[where + (down * pitch + right)] - hypotheses) < tolerance)
    return total


def prepare_choice(index: int, gray: np.ndarray, disparity: np.ndarray, fixed: np.ndarray, factor: float,
                   evidence_of: EvidenceOf) -> Choice:
    """What the pixels near edges may choose from.

    gray: (H,W) uint8. disparity: (H,W) float32 > 0, on this raster. fixed: (H,W) bool, True where pixels keep what they
    have, and do not lend it. factor: how many times finer this raster is than the one before.
    """
    reach = max(LEAST_BAND_PX, round(COARSE_BAND_PX * factor))
    chooses = edge_band(disparity, reach, round(COARSE_STEP_PX * factor)) & ~fixed
    rows, cols = np.nonzero(chooses)
    window = np.ones((2 * reach + 1,) * 2, np.uint8)
    nearest = cv2.dilate(np.where(fixed, np.float32(0), disparity), window)
    farthest = cv2.erode(np.where(fixed, np.float32(np.inf), disparity), window)
    own, is_step = disparity[rows, cols], edge_band(disparity, reach)[rows, cols]
    hypotheses = np.stack([own, *(_another(each[rows, cols], own, is_step) for each in (nearest, farthest))])
    if len(rows) == 0:
        return Choice(index, disparity, rows, cols, hypotheses, hypotheses, np.empty((len(NEIGHBORS), 0), np.float32))
    evidence = evidence_of(rows, cols, hypotheses[0])
    costs = np.stack([evidence.cost(each) for each in hypotheses])
    told = _is_told(costs, chooses)
    rows, cols, hypotheses, costs = rows[told], cols[told], hypotheses[:, told], costs[:, told]
    costs[0] -= np.float32(OWN_LEVELS)
    return Choice(index, disparity, rows, cols, hypotheses, costs, _links(gray, rows, cols))


def _is_told(costs: np.ndarray, chooses: np.ndarray) -> np.ndarray:
    """(n,) bool: which pixels lie where the frames around tell surfaces apart. costs: (3,n) of the pixels that choose,
    (H,W) bool."""
    share = chooses.astype(np.float32)
    difference = np.zeros(chooses.shape, np.float32)
    difference[chooses] = costs[1] - costs[2]
    smooth = np.where(chooses, np.abs(_mean_of(difference, share, SMOOTHED_PX)), np.float32(0))
    return _mean_of(smooth, share, NEARBY_PX)[chooses] >= np.float32(DECISIVE_LEVELS)


def _mean_of(picture: np.ndarray, share: np.ndarray, window_px: int) -> np.ndarray:
    """(H,W) mean over a window of what counts. share: (H,W) float32, 1 where picture does, which is 0 elsewhere."""
    total, count = (cv2.blur(each, (window_px, window_px)) for each in (picture, share))
    return total / np.maximum(count, np.float32(1e-6))


def _another(hypothesis: np.ndarray, own: np.ndarray, is_step: np.ndarray) -> np.ndarray:
    """(n,) a hypothesis, but the disparity that a pixel has where that is on the same surface, and no step is near: it
    may be a crease between two planes."""
    is_same = np.abs(hypothesis - own) < np.float32(SAME_SURFACE) * own
    return np.where(is_same & ~is_step, own, hypothesis)


def _links(gray: np.ndarray, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """(8,n) float32: how much each pixel wants the surface of each of its neighbors."""
    soft = cv2.copyMakeBorder(cv2.GaussianBlur(gray, (0, 0), SOFTENING_PX), 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    pitch, flat = soft.shape[1], soft.ravel().astype(np.int16)
    place = (rows + 1) * pitch + cols + 1
    weight = (LINK_LEVELS * (np.exp(-np.arange(256) / ALIKE_LEVELS) + LINK_FLOOR)).astype(np.float32)
    own = flat[place]
    links = np.empty((len(NEIGHBORS), len(rows)), np.float32)
    for link, (down, right) in zip(links, NEIGHBORS, strict=True):
        link[:] = weight[np.abs(flat[place + (down * pitch + right)] - own)]
        if down and right:
            link *= np.float32(LINK_DIAGONAL)
    return links


def votes_of(choice: Choice, settled: Mapping[int, np.ndarray], cameras: Cameras, voters: Sequence[int]) -> np.ndarray:
    """(3,n) gray levels to be added to the costs of a choice, below 0 for what other frames have found too.

    settled: disparity (H,W) of the voters. What a voter shows in front of a hypothesis says nothing about it: that is
    hidden there. What lies behind says that the voter looks through it.
    """
    votes = np.zeros(choice.hypotheses.shape, np.float32)
    weight = np.float32(VOTES_LEVELS / max(len(voters), 1))
    warps = Warps(cameras, choice.index, voters, choice.rows, choice.cols)
    for k, voter in enumerate(voters):
        for vote, hypothesis in zip(votes, choice.hypotheses, strict=True):
            columns, lines, depth_ratio = warps.places(k, hypothesis)
            found = looked_up(settled[voter], columns, lines, len(hypothesis), cv2.INTER_NEAREST) * depth_ratio
            tolerance = np.float32(SAME_SURFACE) * hypothesis
            vote -= weight * (np.abs(found - hypothesis) < tolerance)
            vote += weight * ((found > 0) & (found < hypothesis - tolerance))
    return votes
