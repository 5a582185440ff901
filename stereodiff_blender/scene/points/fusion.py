"""Depth of several frames as one cloud of points: what stands still and was measured, at an even spacing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...engine.contract import StereoDiffError
from ..result import ImportedResult, camera_math, read_picture
from .plate_colors import PlateColors

EDGE = 0.05  # natural logarithm of the depth ratio to a neighbor from which a pixel is on an edge
MOST_CELLS = 5_000_000
CELL_LIMIT = 2**20  # cells from the origin, along each axis
SPACINGS_IN_NEAREST_DEPTH = 100


@dataclass(frozen=True)
class Fusion:
    """How depth becomes points. spacing: in the solve's own units, 0 chooses one by the nearest depth.

    least_confidence: 0..1. frame_count: how many frames, spread evenly over the shot.
    """

    spacing: float = 0.0
    least_confidence: float = 0.5
    frame_count: int = 12


class Cells:
    """Space in cubes of the spacing; each keeps the mean of what fell into it, weighted by confidence."""

    def __init__(self, spacing: float):
        self.spacing = spacing
        self.keys = np.empty(0, np.int64)
        self.sums = np.empty((0, 7))  # x, y, z, r, g, b, weight

    def add(self, points: np.ndarray, colors: np.ndarray, weights: np.ndarray) -> None:
        """points, colors: (N,3); weights: (N,) > 0. Raises StereoDiffError "settings_invalid" on too many cells."""
        sums = np.column_stack([np.column_stack([points, colors]) * weights[:, None], weights])
        keys, place = np.unique(np.concatenate([self.keys, self._keys(points)]), return_inverse=True)
        if len(keys) > MOST_CELLS:
            raise self._too_fine()
        everything = np.concatenate([self.sums, sums])
        self.keys = keys
        self.sums = np.column_stack([np.bincount(place.ravel(), column, len(keys)) for column in everything.T])

    def means(self) -> tuple[np.ndarray, np.ndarray]:
        """Points (M,3) and colors (M,3)."""
        means = self.sums[:, :6] / self.sums[:, 6:]
        return means[:, :3], means[:, 3:]

    def _keys(self, points: np.ndarray) -> np.ndarray:
        cells = np.floor(points / self.spacing)
        if cells.size and np.abs(cells).max() >= CELL_LIMIT:
            raise self._too_fine()
        x, y, z = cells.astype(np.int64).T + CELL_LIMIT
        return (x * 2 * CELL_LIMIT + y) * 2 * CELL_LIMIT + z

    def _too_fine(self) -> StereoDiffError:
        return StereoDiffError("settings_invalid", f"A spacing of {self.spacing:g} makes more than {MOST_CELLS} "
                                                   "points; choose a wider one.")


def fuse_depth(shot: ImportedResult, plate: PlateColors, fusion: Fusion, on_frame: Callable[[int], None]
               ) -> tuple[np.ndarray, np.ndarray, float]:
    """Points (N,3) on Blender's axes below the root, colors (N,3) scene-linear, and their spacing.

    on_frame: told how many frames are done. Raises StereoDiffError "depth_missing" if nothing is left over,
    "settings_invalid" if the spacing is too fine, "result_invalid" for a damaged file.
    """
    with_depth = [i for i, frame in enumerate(shot.result.frames) if frame.depth is not None]
    if not with_depth:
        raise StereoDiffError("depth_missing", "")
    chosen = np.unique(np.linspace(0, len(with_depth) - 1, fusion.frame_count).round().astype(int))
    spacing = fusion.spacing or shot.result.depth_range[0] / SPACINGS_IN_NEAREST_DEPTH
    cells = Cells(spacing)
    for done, index in enumerate(chosen):
        _add_frame(cells, shot, plate, with_depth[index], fusion.least_confidence)
        on_frame(done + 1)
    if not len(cells.keys):
        raise StereoDiffError("depth_missing", f"Nothing still is surer than {fusion.least_confidence:g}.")
    return *cells.means(), spacing


def _add_frame(cells: Cells, shot: ImportedResult, plate: PlateColors, index: int, least_confidence: float) -> None:
    frame = shot.result.frames[index]
    depth = read_picture(shot, frame.depth)
    kept = (depth > 0) & ~_on_edges(depth)
    weights = np.ones_like(depth)
    if frame.motion_mask is not None:
        kept &= read_picture(shot, frame.motion_mask) < 0.5
    if frame.confidence is not None:
        weights = read_picture(shot, frame.confidence)
        kept &= weights >= max(least_confidence, 1e-3)
    cells.add(_points(shot, index, depth, kept), plate.of_frame(frame.frame)[kept], weights[kept].astype(np.float64))


def _points(shot: ImportedResult, index: int, depth: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """(N,3) on Blender's axes, of the pixels of a frame that are kept, each seen when its row was read."""
    height, width = depth.shape
    rays = camera_math.camera_rays(np.arange(width) + 0.5, np.arange(height) + 0.5, shot.raster_intrinsics[index],
                                   shot.distortion)
    return shot.placed(index, rays[kept] * depth[kept][:, None])


def _on_edges(depth: np.ndarray) -> np.ndarray:
    """(H,W) True beside a jump of depth: there a pixel holds some of both sides."""
    with np.errstate(divide="ignore", invalid="ignore"):
        log = np.log(depth)
        edge = np.zeros(depth.shape, bool)
        for a, b in (((slice(1, None),), (slice(None, -1),)),
                     ((slice(None), slice(1, None)), (slice(None), slice(None, -1)))):
            jump = ~(np.abs(log[a] - log[b]) < EDGE)
            edge[a] |= jump
            edge[b] |= jump
    return edge
