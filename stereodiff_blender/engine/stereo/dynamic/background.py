"""Pixels of the motion mask that show the static background after all: cast shadows, the rim around a thing, and ground
that goes by too fast to be matched.

Where a pixel shows something static, other frames show the same thing: it can be looked up there, through the depth of
the surroundings or of the ground, wherever nothing moving covers it. Ground in a cast shadow has the same hue there and
is only brighter; the rim that flow adds around a thing looks just the same. A thing's own surface rarely repeats the
hue of what lies behind it. (Background subtraction with a hue test for shadows: Horprasert et al. 1999.)
"""

from __future__ import annotations

import cv2
import numpy as np

from ...imaging import (
    CostFeatures,
    Warp,
    find_regions,
    lower_median,
    pixel_axes,
    sample_at,
    warp_between,
    warp_grid,
)
from ...solution import CameraSolution
from .ground_parallax import shows_ground

FRAME_OFFSETS = (-20, -10, -5, 5, 10, 20)
IN_SHADOW, LIT = 0.4, 0.93
"""Least brightness of the background here, as a share of its brightness in other frames: on the ground, where shadows
fall, and anywhere else, where a darker surface of the same hue is likelier the thing's own."""
MAX_BRIGHTNESS = 1.08
MAX_HUE_CHANGE = 0.06
"""Greatest relative difference of a color channel from the change in brightness."""
BLACK_LEVEL = 4.0
"""Added to all colors: hue is noise where it is dark."""
MIN_AGREEING_SHARE = 0.5
"""Share of the moving pixels around one that must show background too."""
WINDOW_PX = 7
LEAST_SPEED = 0.012
"""Of ground that is told by the frames next to its own, as a share of the picture's width: a road before a car has 0.02
to 0.2, a floor that one walks across 0.005. Slower ground can be matched; and on its way of a pixel or two most things
look the same, such as the trousers of someone who walks before it."""


def find_background(index: int, frames: np.ndarray, moving: np.ndarray, surroundings: np.ndarray,
                    ground: np.ndarray | None, cameras: CameraSolution, features: CostFeatures) -> np.ndarray:
    """Pixels (H,W) bool of one frame's motion mask that show the background.

    frames: (T,H,W,3) uint8. moving: (T,H,W) uint8, shadows and rims included. surroundings: (H,W) disparity of
    the background, from around the moving. ground: (H,W) that of the ground, not positive above the horizon, or None.
    features: of frames, as shows_ground has them.
    """
    found = np.zeros(moving.shape[1:], bool)
    rows, columns = np.flatnonzero(moving[index].any(axis=1)), np.flatnonzero(moving[index].any(axis=0))
    if len(rows) == 0:
        return found
    box = tuple(slice(max(side[0] - WINDOW_PX, 0), side[-1] + WINDOW_PX + 1) for side in (rows, columns))
    here = cv2.blur(np.ascontiguousarray(frames[index][box]), (3, 3)).astype(np.float32)
    candidates = moving[index][box] > 0
    like = np.zeros(candidates.shape, bool)
    for disparity, least_brightness in ((surroundings, LIT), (ground, IN_SHADOW)):
        if disparity is not None:
            elsewhere, is_known = _seen_elsewhere(index, frames, moving, disparity[box], cameras, box)
            like |= is_known & _is_like(here, elsewhere, least_brightness)
    for disparity in (surroundings, ground):
        if disparity is not None:
            like |= shows_ground(index, moving[index] > 0, disparity, cameras, features, LEAST_SPEED)[box]
    found[box] = _open_to_outside(candidates, _agreed(like & candidates, candidates))
    return found


def _seen_elsewhere(index, frames, moving, disparity, cameras, box) -> tuple[np.ndarray, np.ndarray]:
    """Median color (h,w,3) float32 that other frames show where the background of a box would be, and where any of
    them shows it, (h,w) bool."""
    rows, columns = box
    x, y = pixel_axes(*disparity.shape, top=rows.start, left=columns.start)
    views = [_seen_in(frames[other], moving[other], warp_between(cameras, index, other), x, y, disparity)
             for other in (index + offset for offset in FRAME_OFFSETS) if 0 <= other < len(frames)]
    if not views:
        return np.zeros((*disparity.shape, 3), np.float32), np.zeros(disparity.shape, bool)
    colors, seen = (np.stack(parts) for parts in zip(*views, strict=True))
    count = (seen & (disparity > 0)).sum(axis=0)
    # What is not seen counts as brighter than white.
    median = lower_median(np.where(seen[..., None], colors, np.uint16(999)), count)
    return median.astype(np.float32), count > 0


def _seen_in(frame, moving, warp: Warp, x, y, disparity) -> tuple[np.ndarray, np.ndarray]:
    """Color (h,w,3) uint16 of static pixels in another frame, and whether nothing moving covers them there."""
    places = warp_grid(warp, x, y, disparity).places
    color = sample_at(np.ascontiguousarray(frame), *places)
    still = sample_at((moving == 0).astype(np.uint8), *places, cv2.INTER_NEAREST, border=cv2.BORDER_CONSTANT)
    return color.astype(np.uint16), still > 0


def _is_like(here: np.ndarray, elsewhere: np.ndarray, least_brightness: float) -> np.ndarray:
    """Where two pictures (h,w,3) have the same hue, and the first is no brighter, nor much darker."""
    ratio = (here + np.float32(BLACK_LEVEL)) / (cv2.blur(elsewhere, (3, 3)) + np.float32(BLACK_LEVEL))
    brightness = ratio.mean(axis=2)
    hue_change = np.abs(ratio / brightness[..., None] - 1).max(axis=2)
    return (brightness > least_brightness) & (brightness < MAX_BRIGHTNESS) & (hue_change < MAX_HUE_CHANGE)


def _agreed(like: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Pixels that most of the candidates around them agree with, without specks."""
    alike, all_around = (cv2.blur(each.astype(np.float32), (WINDOW_PX, WINDOW_PX)) for each in (like, candidates))
    agreed = (like & (alike > MIN_AGREEING_SHARE * all_around)).astype(np.uint8)
    return cv2.morphologyEx(agreed, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0


def _open_to_outside(candidates: np.ndarray, found: np.ndarray) -> np.ndarray:
    """The found parts that touch the outside of the candidates: no holes are torn into a thing."""
    outside = ~candidates
    if not outside.any():
        return np.zeros_like(found)
    regions = find_regions(outside | found, connectivity=4)
    return found & regions.pixels_of(regions.counts(outside) > 0)
