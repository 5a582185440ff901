"""Things that move just as something static far behind them would: told by what they hide, and marked as a whole.

Such a thing matches perfectly, at a depth that is wrong, in every frame: no match contradicts another. But it hides, at
its sides, static surfaces that are nearer than it seems to be, and that other frames see once it has moved on. Few of
them do so at any place, and those in which the thing itself still covers the place say nothing. So a thing is found out
by its sides, over the whole clip, and what goes on evenly from there, in depth and in the picture, is the rest of it.
"""

from __future__ import annotations

import cv2
import numpy as np

from ...imaging import find_regions
from ...parallel import ONE_CORE, Cores
from ...solution import CameraSolution
from ..dynamic import cells_before
from .consistency import GRID, NEARER, SIGMAS, cells_as_pixels, median_background, project_surfaces
from .raw_depth import SKY, TRUSTED_STATIC, RawDepth

MIN_WITNESSES = 2
"""Frames that must see something nearer at a place: one may err."""
WITNESS_PRECISION = 0.03
"""Relative standard deviation of what they see, from which on it says nothing: what glass reflects, and the bars of a
window before something far, are measured roughly, and too near."""
SMOOTH = 1.1
"""Ratio of disparities between neighboring cells up to which they show one surface. At its rim any surface seems to
hide its neighbor, as flow mixes the two; within a static one hardly anything does."""
MIN_HIDING_SHARE, MIN_HIDING_CELLS = 0.1, 6
"""Of a surface, which must hide something nearer: static ones have below 0.03, things that move 0.15 to 0.9."""
LARGE_CELLS = 24
"""Area of a compact patch that hides something, from which on it counts whatever surface it seems to belong to: beside
thin posts there are patches of 10."""
LEAST_AGREEING = (1, 2)
"""Other frames that must have found a place out, in the first round and in the second, which starts from what the first
has made of it."""
RIM_CELLS, REACH_CELLS, GAP_CELLS = 3, 5, 7
"""Widths of windows: of a thing's uneven rim, of what it reaches beyond the cells that were found out, and of the gaps
in it that are closed."""
THIN_CELLS = 3
"""Width below which nothing is told: a bright wire before the dark is measured as far as what is behind it."""
MAX_GAP = 4
"""Frames for which a thing may be lost on its way."""


def mark_occluders(cameras: CameraSolution, raw: RawDepth, cores: Cores = ONE_CORE) -> None:
    """Add to the masks what moves as if it were far behind, and note the background again without it, in place.

    Parameters
    ----------
    cameras : CameraSolution
        Of the T frames.
    raw : RawDepth
        As it is after the vote on what moves. Its mask, background and hiding are changed.
    cores : Cores
        How many frames are worked on at once.
    """
    frames = range(len(raw.mask))
    for index, hiding in enumerate(cores.map(lambda index: _find_hiding(raw, cameras, index), frames)):
        raw.hiding[index] = hiding
    for least in LEAST_AGREEING:
        told = list(cores.map(lambda index, least=least: _find_things(raw, cameras, index, least), frames))
        for index, things in enumerate(told):
            raw.hiding[index] = things
    if raw.hiding.any():
        _bridge_gaps(raw)
        for index, cells in enumerate(raw.hiding):
            voted = (raw.mask[index] > 0) & (raw.found[index] != 1)
            raw.mask[index] |= cells_as_pixels(_by_themselves(cells > 0, voted[GRID, GRID]), raw.mask.shape[1:])
        backgrounds = cores.map(lambda index: median_background(_project(raw, cameras, index)), frames)
        for index, background in enumerate(backgrounds):
            raw.background[index] = background


def _measured(raw: RawDepth, index: int, part: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Disparity, its standard deviation, and where a static surface was surely measured, in a part of a frame."""
    place = (index, part, part)
    disparity, status = raw.disparity[place], raw.status[place]
    sigma = np.where(status >= SKY, np.float32(np.inf), raw.uncertainty[place].astype(np.float32) * disparity)
    return disparity, sigma, (status == TRUSTED_STATIC) & (raw.mask[place] == 0)


def _project(raw: RawDepth, cameras: CameraSolution, index: int, precision: float = np.inf) -> np.ndarray:
    """As of project_surfaces. precision: relative standard deviation that a surface must be measured better than."""
    def measured(other: int, part: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        disparity, sigma, sure = _measured(raw, other, part)
        return disparity, sigma, sure & (raw.uncertainty[other, part, part] < precision)

    return project_surfaces(index, measured, raw.mask.shape[1:], len(raw.mask), cameras)


def _find_hiding(raw: RawDepth, cameras: CameraSolution, index: int) -> np.ndarray:
    """Cells (h,w) bool of a frame that hide what others see nearer."""
    disparity, sigma, _ = _measured(raw, index, GRID)
    return _hiding_cells(disparity, sigma, _project(raw, cameras, index, WITNESS_PRECISION))


def _hiding_cells(disparity: np.ndarray, sigma: np.ndarray, projected: np.ndarray) -> np.ndarray:
    """Cells (h,w) bool within surfaces that hide what others see nearer. projected: (S,h,w) as of project_surfaces."""
    # Where the ground recedes, a cell's neighbors above and below differ a lot: no contradiction.
    allowed = cv2.dilate(NEARER * disparity + SIGMAS * sigma, np.ones((3, 1), np.uint8))
    hiding = ((projected > allowed).sum(axis=0) >= MIN_WITNESSES) & _is_smooth(disparity)
    return cv2.morphologyEx(hiding.astype(np.uint8), cv2.MORPH_OPEN, np.ones((2, 2), np.uint8)) > 0


def _is_smooth(disparity: np.ndarray) -> np.ndarray:
    """Cells (h,w) bool whose neighbors lie on the same surface."""
    window = np.ones((3, 3), np.uint8)
    return cv2.dilate(disparity, window) < SMOOTH * cv2.erode(disparity, window)


def _all_hiding(raw: RawDepth, cameras: CameraSolution, index: int, least: int) -> np.ndarray:
    """Cells (h,w) bool of a frame that hide something here, or did in the frames around: what looks static is found
    again there as anything static is."""
    def hiding(other: int, part: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return raw.disparity[other, part, part], raw.disparity[other, part, part], raw.hiding[other] > 0

    disparity = raw.disparity[index][GRID, GRID]
    projected = project_surfaces(index, hiding, raw.mask.shape[1:], len(raw.mask), cameras)
    same = (projected > disparity / NEARER) & (projected < disparity * NEARER)
    return ((raw.hiding[index] > 0) | (same.sum(axis=0) >= least)) & _is_smooth(disparity)


def _find_things(raw: RawDepth, cameras: CameraSolution, index: int, least: int) -> np.ndarray:
    """Cells (h,w) bool of a frame's things that hide too much to be where they seem, as several frames tell."""
    return _find_cells(raw.disparity[index][GRID, GRID], _all_hiding(raw, cameras, index, least))


def _by_themselves(cells: np.ndarray, voted: np.ndarray) -> np.ndarray:
    """The parts (h,w) bool of what was marked that are no appendix of what was known to move: the shadow under a car
    moves with it, and hides the road, but is no part of it."""
    joined = find_regions(cells | voted)
    return cells & joined.pixels_of(joined.counts(voted) <= joined.counts(cells & ~voted))


def _large_parts(cells: np.ndarray) -> np.ndarray:
    """The parts of (h,w) bool that are large and compact: whatever surface they seem to belong to."""
    regions = find_regions(cv2.morphologyEx(cells.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)))
    return regions.pixels_of(regions.areas >= LARGE_CELLS)


def _bridge_gaps(raw: RawDepth) -> None:
    """Mark a thing's cells where it was not found for a few frames, between others in which it was, in place."""
    count, shape = len(raw.mask), raw.mask.shape[1:]
    for index in range(1, count):
        rows, columns, inside = cells_before(raw.flow_back[index], shape)
        before = np.where(inside, raw.hiding[index - 1][rows, columns], 0)
        since = np.where((before > 0) & (before <= MAX_GAP), before + 1, 0)
        raw.hiding[index] = np.where(raw.hiding[index] == 1, 1, since)
    until = np.zeros(raw.hiding.shape[1:], np.uint8)
    for index in range(count - 1, -1, -1):
        found = raw.hiding[index] == 1
        raw.hiding[index] = found | ((raw.hiding[index] > 0) & (until > 0))
        until = np.where(found, np.uint8(1), until)
        rows, columns, inside = cells_before(raw.flow_back[index], shape)
        still = inside & (until > 0) & (until <= MAX_GAP)
        earlier = np.zeros_like(until)
        earlier[rows[still], columns[still]] = until[still] + 1
        until = cv2.morphologyEx(earlier, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))


def _find_cells(disparity: np.ndarray, hiding: np.ndarray) -> np.ndarray:
    """Cells (h,w) bool of the things that hide too much to be where they seem, with their rims."""
    smooth = _is_smooth(disparity)
    things = _without_thin(_between_sides(smooth, hiding) | _large_parts(hiding))
    rim = ~smooth & _widened(things, RIM_CELLS)
    return _closed(things | rim | (_widened(things, REACH_CELLS) & hiding))


def _between_sides(smooth: np.ndarray, hiding: np.ndarray) -> np.ndarray:
    """The parts (h,w) bool of surfaces that lie between cells that hide something, of those that hide enough."""
    surfaces = find_regions(smooth, connectivity=4)
    counts = surfaces.counts(hiding)
    found = np.zeros(smooth.shape, bool)
    for number in np.flatnonzero((counts >= MIN_HIDING_CELLS) & (counts > MIN_HIDING_SHARE * surfaces.areas)):
        surface = surfaces.labels == number
        hull = np.zeros(smooth.shape, np.uint8)
        cv2.fillConvexPoly(hull, cv2.convexHull(np.argwhere(surface & hiding)[:, ::-1].astype(np.int32)), 1)
        found |= surface & smooth & _widened(hull > 0, REACH_CELLS)
    return found


def _without_thin(cells: np.ndarray) -> np.ndarray:
    """The parts (h,w) bool that are somewhere as wide as they must be."""
    regions = find_regions(cells)
    window = np.ones((THIN_CELLS, THIN_CELLS), np.uint8)
    return regions.pixels_of(regions.counts(cv2.erode(cells.astype(np.uint8), window) > 0) > 0)


def _widened(cells: np.ndarray, width: int) -> np.ndarray:
    """Cells (h,w) bool and those around them, up to half of a window's width away."""
    return cv2.dilate(cells.astype(np.uint8), np.ones((width, width), np.uint8)) > 0


def _closed(cells: np.ndarray) -> np.ndarray:
    """Cells (h,w) bool without gaps; what leaves the picture leaves none there."""
    padded = np.pad(cells.astype(np.uint8), GAP_CELLS)
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, np.ones((GAP_CELLS, GAP_CELLS), np.uint8))
    return closed[GAP_CELLS:-GAP_CELLS, GAP_CELLS:-GAP_CELLS] > 0
