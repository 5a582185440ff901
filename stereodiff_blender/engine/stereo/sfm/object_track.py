"""Whether what was solved may be an object that turns before a camera that stands still: a turntable.

Nothing in the geometry tells a camera that circles a thing from a thing that turns. But where there is a room, it is
seen: the thing fills the picture's middle alone, and nothing else shows anything to follow, only before a plain wall.
"""

from __future__ import annotations

import numpy as np

from ..mapping import CameraFit
from ..tracking import Tracks

CELLS = 12
MAX_CELLS = 0.6
"""Share of the picture's cells in which anything is followed at any time; rooms fill nearly all."""
EMPTY_SIDES = 3
CIRCLE = 0.1
"""Spread of the camera's distance from the middle of the points, relative, up to which it circles them."""
MIN_CIRCLE_DEG = 10.0


def is_object_track(tracks: Tracks, fitted: CameraFit) -> bool:
    """tracks: raster pixels, not thinned."""
    return _is_compact(tracks) and _circles(fitted)


def _is_compact(tracks: Tracks) -> bool:
    occupied = np.zeros((CELLS, CELLS), bool)
    column, row = np.clip(tracks.pixels * CELLS / tracks.size, 0, CELLS - 1).astype(int).T
    occupied[row, column] = True
    empty = [not side.any() for side in (occupied[0], occupied[-1], occupied[:, 0], occupied[:, -1])]
    return bool(occupied.mean() < MAX_CELLS) and sum(empty) >= EMPTY_SIDES


def _circles(fitted: CameraFit) -> bool:
    solved = np.flatnonzero(fitted.solved)
    middle = np.median(fitted.points, axis=0)
    centers = -np.einsum("nji,nj->ni", fitted.rotations[solved], fitted.translations[solved])
    offset = centers - middle
    distance = np.linalg.norm(offset, axis=1)
    rays = offset / distance[:, None]
    widest = np.degrees(np.arccos(np.clip(rays @ rays[0], -1.0, 1.0))).max()
    return bool(distance.std() < CIRCLE * distance.mean() and widest > MIN_CIRCLE_DEG)
