"""Plain sky: a region so even that nothing in it can be matched, and what tells it from a plain wall or ceiling.

Without texture the flow keeps whatever it was started from, so such a region seems to agree with a made-up depth,
and the nearest things bleed into it. Depth cannot tell a clear sky from an even wall, but other signs can: a clear sky
is blue, lights everything below it and so is brighter, nothing hangs in it, and the camera solve found no point on it.
All must agree, for a wall sent to the horizon is worse than a sky left too near.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ...imaging import find_regions

MAX_SKY_TEXTURE = 0.8
TOP_ROWS = 3
MIN_AREA = 0.005
MIN_TOP_SHARE = 0.05
"""Of the picture's width, that a region must cover along the top border."""
MIN_BLUE_LEVELS = 20
GROWTH_PX = 9
"""Texture is a mean over a window, so an even region ends this far before its outline."""
LIKE_LEVELS = 10.0
BRIGHTER_LEVELS = 12
MIN_DARKER_RING = 0.6
MIN_DARKER_REST = 0.7
MAX_ISLANDS = 0.02
MAX_POINT_DENSITY = 0.1
"""Solved points per area, as a share of those in the whole picture."""
MIN_SKY_SHARE = 0.8


@dataclass(frozen=True)
class SkyCandidate:
    """What the even region of one frame is like.

    area: its pixels, 0 if there is none. looks_like_sky: whether all signs speak for the sky rather than a wall.
    """

    area: int
    looks_like_sky: bool


def find_plain_sky(frame: np.ndarray, texture: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, SkyCandidate]:
    """Even blue regions of a (H,W,3) uint8 frame that reach its top border, (H,W) bool, and what they are like.

    texture: (H,W) as of texture_of. points: (n,2) pixels of the solved points seen in the frame.
    """
    color = frame.astype(np.int16)
    red, green, blue = cv2.split(color)
    is_blue = (blue >= green) & (blue - red >= MIN_BLUE_LEVELS)
    core = _reaching_top((texture < MAX_SKY_TEXTURE) & is_blue)
    if not core.any():
        return core, SkyCandidate(0, False)
    region = _grown(frame, core)
    return region, SkyCandidate(int(region.sum()), _looks_like_sky(frame, region) and _is_empty(core, points))


def is_sky(candidates: Sequence[SkyCandidate]) -> bool:
    """One verdict for all frames of a clip, so that the sky does not flicker between far and near."""
    total = sum(candidate.area for candidate in candidates)
    return total > 0 and sum(c.area for c in candidates if c.looks_like_sky) >= MIN_SKY_SHARE * total


def _reaching_top(mask: np.ndarray) -> np.ndarray:
    """Connected parts that are large and lie along the top border."""
    regions = find_regions(mask, connectivity=4)
    top = regions.labels[:TOP_ROWS]
    along_top = np.array([np.count_nonzero((top == k).any(axis=0)) for k in range(len(regions.areas))])
    return regions.pixels_of((regions.areas > MIN_AREA * mask.size) & (along_top > MIN_TOP_SHARE * mask.shape[1]))


def _grown(frame: np.ndarray, core: np.ndarray) -> np.ndarray:
    """The core and the pixels just around it that have its color there."""
    size = (4 * GROWTH_PX + 1, 4 * GROWTH_PX + 1)
    share = cv2.blur(core.astype(np.float32), size)
    near = share > 0.5 / (size[0] * size[1])
    total = cv2.blur(frame.astype(np.float32) * core[..., None], size)
    difference = frame.astype(np.float32) - total / np.maximum(share, np.float32(1e-4))[..., None]
    like = np.abs(difference).max(axis=2) < LIKE_LEVELS
    window = np.ones((2 * GROWTH_PX + 1, 2 * GROWTH_PX + 1), np.uint8)
    return core | (near & like & (cv2.dilate(core.astype(np.uint8), window) > 0))


def _looks_like_sky(frame: np.ndarray, region: np.ndarray) -> bool:
    """Brighter than what borders on it and than nearly all else, above it all, and free of islands."""
    gray = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.int16)
    level = int(np.median(gray[region])) - BRIGHTER_LEVELS
    inner, outer = (cv2.dilate(region.astype(np.uint8), np.ones((n, n), np.uint8)) > 0 for n in (5, 17))
    ring, rest = outer & ~inner, ~inner
    if not ring.any() or region[-1].any():
        return False
    return bool((gray[ring] < level).mean() >= MIN_DARKER_RING and (gray[rest] < level).mean() >= MIN_DARKER_REST
                and _island_share(region) < MAX_ISLANDS)


def _is_empty(core: np.ndarray, points: np.ndarray) -> bool:
    """Whether next to none of the solved points lie in the core."""
    column, row = np.floor(points).astype(int).T
    inside = (column >= 0) & (column < core.shape[1]) & (row >= 0) & (row < core.shape[0])
    return bool(core[row[inside], column[inside]].sum() <= MAX_POINT_DENSITY * core.mean() * inside.sum())


def _island_share(region: np.ndarray) -> float:
    """Share of a region's own area that other things fill which it surrounds: what hangs on a wall."""
    others = find_regions(~region)
    return float(others.pixels_of(~others.at_border()).sum() / region.sum())
