"""Outlines of moving things drawn where the pictures say, instead of where blurred flow does.

Optical flow bleeds over an outline by a few pixels, so what moves is found too fat, and here and there too thin. A
pixel near the outline belongs to the still scene if the scene's depth, known behind the thing, explains it: if there
is a pixel of the same look where that depth puts it in two frames in which the thing does not stand before it. What
the pictures say is spread along the surfaces of the frame but not across its edges.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ...imaging import CostFeatures, fast_global_smoother, photometric_cost, warp_between, warp_pixels
from ...parallel import ONE_CORE, Cores
from ...solution import CameraSolution

INNER_REACH_PX, OUTER_REACH_PX = 12.0, 3.0
"""How far inside an outline a pixel can be given back, and how far outside it can be added."""
MAX_SOURCES, WITNESSES = 6, 2
EXPLAINED = 0.85
"""Unlikeness below which a pixel counts as explained by the still scene; a thing's own pixels have 0.97 on average."""
DEEP_INSIDE_PX, DEEP_SHARE, MIN_DEEP = 6.0, 0.05, 50
"""Where things are dark and grainy like what is behind them, the scene seems to explain even the middle of a thing.
What counts as explained is then less than this share of the pixels so far inside, if there are enough to tell."""
AGAINST, AGAINST_OUTSIDE = 0.12, 0.3
"""Weight of a pixel that nothing explains, against 1 for one that is explained exactly."""
MIN_VIEWS = 3
"""Frames that must see the place, before a pixel outside counts as not explained."""
PRIOR, LEAST_PRIOR, PRIOR_OUTSIDE = 0.24, 0.15, 0.1
INNER_PX, DEEP_PX = 2.0, 10.0
"""The prior that a marked pixel does move gains its weight from here to there inside the outline."""
SURROUNDING_PX, SURROUNDING_WEIGHT = 2.0, 0.05
STRENGTH, EDGE_LEVELS, SMOOTHING_ROUNDS = 30.0, 8.0, 3


def draw_outlines(frames: np.ndarray, cameras: CameraSolution, depth: np.ndarray, tracks: np.ndarray,
                  sources: list[tuple[int, ...]], masks: np.ndarray | None = None,
                  cores: Cores = ONE_CORE) -> None:
    """Draw the outlines of tracks again, in place; what hides what is told by how they were before.

    Parameters
    ----------
    frames : ndarray
        (T,H,W,3) uint8.
    cameras : CameraSolution
        Of the T frames.
    depth : ndarray
        (T,H,W) > 0 of the still scene, also behind what moves, scene units.
    tracks : ndarray
        (T,H,W) uint16, 0 = still, else the number of the thing. Changed.
    sources : list of tuple of int
        Frames that each frame is compared with.
    masks : ndarray or None
        (T,H,W), what the artist says moves, whose outline is left alone.
    cores : Cores
        How many frames are worked on at once.
    """
    pictures = CostFeatures(frames)

    def draw(index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        nearest = sorted(sources[index], key=lambda j: (abs(j - index), j))[:MAX_SOURCES]
        band = _Band.around(tracks[index], None if masks is None else masks[index])
        if len(band.rows) == 0 or len(nearest) < WITNESSES:
            return band.rows[:0], band.cols[:0], band.nearest_track[:0]
        cost, views = _unexplained(pictures, cameras, index, nearest, depth[index], tracks, band)
        moves = _spread(frames[index], band, cost, views) > 0.5
        return band.rows, band.cols, np.where(moves, band.nearest_track, 0)

    for index, (rows, cols, drawn) in enumerate(list(cores.map(draw, range(len(frames))))):
        tracks[index][rows, cols] = drawn


@dataclass(frozen=True)
class _Band:
    """Pixels (n,) on both sides of an outline, how far inside it they are (pixels, 0 outside), the thing at hand,
    and where the still picture begins: (H,W) bool just outside."""

    rows: np.ndarray
    cols: np.ndarray
    inside_px: np.ndarray
    nearest_track: np.ndarray
    beyond: np.ndarray

    @classmethod
    def around(cls, tracks: np.ndarray, mask: np.ndarray | None) -> _Band:
        """tracks: (H,W), of one frame. mask: (H,W) or None, the artist's."""
        marked = np.asarray(tracks) > 0
        inside, outside = (cv2.distanceTransform(part.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
                           for part in (marked, ~marked))
        window = np.ones((2 * int(OUTER_REACH_PX) + 1,) * 2, np.uint8)
        chosen = (inside <= INNER_REACH_PX) & (outside <= OUTER_REACH_PX)
        if mask is not None:
            chosen &= cv2.dilate((np.asarray(mask) > 0).astype(np.uint8), window) == 0
        rows, cols = np.nonzero(chosen & marked.any())
        nearest = np.where(marked, tracks, cv2.dilate(np.asarray(tracks), window))
        beyond = (outside > OUTER_REACH_PX) & (outside <= OUTER_REACH_PX + SURROUNDING_PX)
        return cls(rows, cols, inside[rows, cols], nearest[rows, cols], beyond)

    def fill(self, picture: np.ndarray, values: np.ndarray) -> np.ndarray:
        picture[self.rows, self.cols] = values
        return picture


def _unexplained(pictures: CostFeatures, cameras: CameraSolution, index: int, sources: list[int], depth: np.ndarray,
                 tracks: np.ndarray, band: _Band) -> tuple[np.ndarray, np.ndarray]:
    """How unlike the still scene the band's pixels are, by the best witnesses: (n,) in [0,1]; and the number of
    witnesses, (n,)."""
    x, y = band.cols.astype(np.float32) + np.float32(0.5), band.rows.astype(np.float32) + np.float32(0.5)
    disparity = 1.0 / depth[band.rows, band.cols].astype(np.float32)
    own = [planes[band.rows, band.cols] for planes in pictures[index]]
    costs, views = [], np.zeros(len(x), int)
    for j in sources:
        warped = warp_pixels(warp_between(cameras, index, j), x, y, disparity)
        (column, row), seen = warped.places, warped.inside(depth.shape)
        # Where a thing stands before the place, that frame says nothing.
        seen[seen] = tracks[j][np.rint(row[seen]).astype(int), np.rint(column[seen]).astype(int)] == 0
        costs.append(np.where(seen, photometric_cost(own, pictures[j], column, row), np.float32(1.0)))
        views += seen
    return np.sort(np.array(costs, np.float32), axis=0)[:WITNESSES].mean(axis=0), views


def _spread(frame: np.ndarray, band: _Band, cost: np.ndarray, views: np.ndarray) -> np.ndarray:
    """(n,) in [0,1], above one half where the band's pixels move."""
    marked = band.inside_px > 0
    inside = np.clip((band.inside_px - INNER_PX) / (DEEP_PX - INNER_PX), LEAST_PRIOR, 1.0)
    explained = _explained(band, cost)
    against = np.where(marked, AGAINST, np.where(views >= MIN_VIEWS, AGAINST_OUTSIDE, 0.0))
    for_motion = (np.where(marked, PRIOR * inside, 0.0)
                  + against * np.clip((cost - explained) / (1.0 - explained), 0, 1))
    for_rest = np.where(marked, 0.0, PRIOR_OUTSIDE) + np.clip((explained - cost) / explained, 0, 1)
    weight = for_motion + for_rest
    shape = frame.shape[:2]
    belief = band.fill(np.zeros(shape, np.float32), for_motion / weight)
    weights = band.fill(band.beyond.astype(np.float32) * np.float32(SURROUNDING_WEIGHT), weight)
    smooth, _ = fast_global_smoother(frame, belief, weights, strength=STRENGTH, edge_levels=EDGE_LEVELS,
                                     rounds=SMOOTHING_ROUNDS)
    return smooth[band.rows, band.cols]


def _explained(band: _Band, cost: np.ndarray) -> float:
    """The cost below which a pixel counts as explained in this frame."""
    deep = cost[band.inside_px > DEEP_INSIDE_PX]
    if len(deep) < MIN_DEEP:
        return EXPLAINED
    return float(np.clip(np.quantile(deep, DEEP_SHARE), 0.1, EXPLAINED))
