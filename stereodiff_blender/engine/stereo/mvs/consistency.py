"""Static surfaces as other frames measured them: what must be behind things that move, and what cannot be static.

What moves along with the camera matches well from frame to frame, at a depth far behind its own. But then the static
surfaces behind it, which other frames see beside it, would have to stand before it. So every frame's measured surfaces
are projected into the others, on a coarse grid; where several frames expect something nearer than what is there, what
is there moves. And where a thing moves, what they expect is the background that it hides, or has just uncovered.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from ...imaging import lower_median, warp_between, warp_pixels
from ...solution import CameraSolution

FRAME_OFFSETS = (-32, -26, -20, -14, -9, -5, 5, 9, 14, 20, 26, 32)
GRID_STEP_PX = 4
"""Pixels between the surface points that are projected, and the size of the cells they fall into."""
NEARER = 1.12
"""Disparity of what is expected, as a share of what is measured, that is a contradiction."""
SIGMAS = 2.5
MIN_VOTES, MIN_SHARE = 3, 0.7
"""Frames that must contradict, and their share of those that expect anything at all."""
REACH_CELLS = 5
"""Width of the neighborhood, in cells, in which single pixels are compared once a cell is found out."""

GRID = slice(GRID_STEP_PX // 2, None, GRID_STEP_PX)
Measured = Callable[[int, slice], tuple[np.ndarray, np.ndarray, np.ndarray]]
"""Of a frame's rows and columns in a slice: disparity and its standard deviation (h,w), infinite where nothing is to
be judged, and where a static surface was surely measured, bool."""


def grid_shape(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of cells that a raster has."""
    return len(range(GRID_STEP_PX // 2, height, GRID_STEP_PX)), len(range(GRID_STEP_PX // 2, width, GRID_STEP_PX))


def project_surfaces(index: int, measured: Measured, shape: tuple[int, int], count: int,
                     cameras: CameraSolution) -> np.ndarray:
    """Disparity (S,h,w) float32 that S other frames expect in the cells of one of `count` frames, 0 where one has no
    surface to show. shape: (H,W) of a frame. measured: asked for frames FRAME_OFFSETS away.
    """
    others = [index + offset for offset in FRAME_OFFSETS if 0 <= index + offset < count]
    projected = np.zeros((len(others), *grid_shape(*shape)), np.float32)
    for place, other in zip(projected, others, strict=True):
        place[:] = _expected(other, index, measured(other, GRID), place.shape, cameras)
    return projected


def median_background(projected: np.ndarray) -> np.ndarray:
    """Disparity (h,w) float32 of the static background: the median of the frames that show one, 0 where none does.

    projected: (S,h,w) as of project_surfaces.
    """
    shows = projected > 0
    count = shows.sum(axis=0)
    return np.where(count > 0, lower_median(np.where(shows, projected, np.float32(np.inf)), count), np.float32(0))


def find_occlusion_conflicts(disparity: np.ndarray, sigma: np.ndarray, projected: np.ndarray) -> np.ndarray:
    """Pixels (H,W) bool of a frame that hide what is nearer than they seem.

    disparity, sigma: (H,W), sigma infinite where nothing is to be judged. projected: (S,h,w) as of project_surfaces.
    """
    allowed = NEARER * disparity + SIGMAS * sigma
    # Where the ground recedes, a cell's neighbors above and below differ a lot: no contradiction.
    cells = cv2.dilate(allowed[GRID, GRID], np.ones((3, 1), np.uint8))
    votes, seen = (projected > cells).sum(axis=0), (projected > 0).sum(axis=0)
    nearest = projected.max(axis=0, initial=0)
    found = ((votes >= MIN_VOTES) & (votes >= MIN_SHARE * seen)).astype(np.uint8)
    found = cv2.morphologyEx(found, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    if not found.any():
        return np.zeros(disparity.shape, bool)
    near = cv2.dilate(found, np.ones((REACH_CELLS, REACH_CELLS), np.uint8))
    expected = cells_as_pixels(cv2.dilate(nearest, np.ones((3, 3))), disparity.shape)
    return (cells_as_pixels(near, disparity.shape) > 0) & (expected > allowed)


def cells_as_pixels(cells: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Cells (h,w) as pixels (H,W)."""
    rows, columns = (np.minimum(np.arange(size) // GRID_STEP_PX, cell_count - 1)
                     for size, cell_count in zip(shape, cells.shape, strict=True))
    return cells[rows[:, None], columns]


def _expected(source: int, target: int, measured, shape, cameras: CameraSolution) -> np.ndarray:
    """Disparity (h,w) float32 that one frame's static surfaces would have in another's cells, 0 where none lies."""
    disparity, _, sure = measured
    rows, columns = np.nonzero(sure)
    value = disparity[rows, columns]
    x, y = (GRID_STEP_PX * cells + (GRID_STEP_PX // 2 + 0.5) for cells in (columns, rows))
    warped = warp_pixels(warp_between(cameras, source, target), x, y, value)
    column, row = (np.floor(each / GRID_STEP_PX).astype(np.intp) for each in (warped.columns, warped.rows))
    inside = warped.in_front & (column >= 0) & (column < shape[1]) & (row >= 0) & (row < shape[0])
    expected = np.zeros(shape, np.float32)
    np.maximum.at(expected, (row[inside], column[inside]), (value / warped.depth_ratio)[inside].astype(np.float32))
    # A closing: points spread apart leave gaps, which are no lack of surface.
    return cv2.erode(cv2.dilate(expected, np.ones((3, 3))), np.ones((3, 3)))
