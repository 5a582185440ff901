"""What seems to lie beyond everything that was measured: the sky and what is far indeed, or what travels along.

A lorry that keeps pace with the camera has no parallax either, so by its disparity it is infinitely far. But it hides
static surfaces that other frames see, and it reaches below the horizon, which the sky does not; and where neither is
seen, a region that is dark or full of detail is at least no sky to build on. What is told in one place holds for the
surface around it, up to the edges of the picture's colors.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ...imaging import fast_global_smoother, find_regions

MAX_CLOUD_TEXTURE = 3.0
"""Gray levels per pixel, as of texture_of, up to which clouds go."""
UNDECIDED = 0.002
"""Weight of a far pixel that shows neither sky nor a contradiction."""
MOST, RIM_PX = 0.5, 11
"""Share of a far region unlike the sky that must be doubtful for all of it to be, and how wide it must be: texture is a
mean over a window, so the sky beside anything has some."""
MIN_TRAVELING, MIN_TRAVELING_TEXTURE = 0.004, 1.5
"""Share of the picture, and gray levels per pixel, from which on what hides nearer things is a thing by itself."""


@dataclass(frozen=True)
class FarRegions:
    """Of the far pixels of a frame, (H,W) bool each.

    sky: those that look like it, and that nothing contradicts. doubtful: those that are not far at all, for all that
    other frames show. traveling: the doubtful ones that are things large enough to be told.
    """

    sky: np.ndarray
    doubtful: np.ndarray
    traveling: np.ndarray


def judge_far(frame: np.ndarray, texture: np.ndarray, far: np.ndarray, hides: np.ndarray,
              below_horizon: np.ndarray) -> FarRegions:
    """Tell the sky from what travels along.

    Parameters
    ----------
    frame : ndarray
        (H,W,3) uint8.
    texture : ndarray
        (H,W) as of texture_of.
    far : ndarray
        (H,W) bool, where no parallax was seen.
    hides : ndarray
        (H,W) bool, the far pixels where other frames see something nearer.
    below_horizon : ndarray
        (H,W) bool, where the ground is seen unless something stands on it.

    Returns
    -------
    FarRegions
        Within far.
    """
    if not far.any():
        return FarRegions(far, far, far)
    contradicted = far & (hides | below_horizon)
    if (contradicted == far).all():
        return FarRegions(np.zeros_like(far), far, _things_among(far, texture))
    sky = far & ~contradicted & _looks_like_sky(frame, texture, far)
    if not contradicted.any():
        return FarRegions(sky, contradicted, contradicted)
    doubtful = far & (_spread(frame, contradicted, sky, far) > 0.5)
    doubtful |= _mostly(doubtful, far & ~sky)
    return FarRegions(sky & ~doubtful, doubtful, _things_among(doubtful, texture))


def _looks_like_sky(frame: np.ndarray, texture: np.ndarray, far: np.ndarray) -> np.ndarray:
    """Pixels (H,W) bool with little detail, and brighter than most of what is not far."""
    gray = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    level = np.median(gray[~far]) if not far.all() else 0
    return (texture < MAX_CLOUD_TEXTURE) & (gray >= level)


def _spread(frame: np.ndarray, contradicted: np.ndarray, sky: np.ndarray, far: np.ndarray) -> np.ndarray:
    """How far each pixel is contradicted, 0..1, along the surfaces of the picture; (H,W)."""
    weight = np.where(contradicted | sky, 1.0, np.where(far, UNDECIDED, 0.0)).astype(np.float32)
    belief, _ = fast_global_smoother(frame, contradicted.astype(np.float32), weight, strength=120.0, edge_levels=8.0,
                                     rounds=3)
    return belief


def _mostly(doubtful: np.ndarray, unlike_sky: np.ndarray) -> np.ndarray:
    """The connected parts of a mask most of which are doubtful: a thing is so as a whole, without the skyline's rim."""
    regions = find_regions(cv2.morphologyEx(unlike_sky.astype(np.uint8), cv2.MORPH_OPEN, np.ones((RIM_PX, RIM_PX))))
    return regions.pixels_of(regions.counts(doubtful) > MOST * regions.areas)


def _things_among(doubtful: np.ndarray, texture: np.ndarray) -> np.ndarray:
    """The large regions of a mask whose surface shows enough to be matched."""
    opened = cv2.morphologyEx(doubtful.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    regions = find_regions(opened)
    detail = np.bincount(regions.labels.ravel(), weights=texture.ravel(), minlength=len(regions.areas))
    is_thing = (regions.areas > MIN_TRAVELING * doubtful.size) & (detail > MIN_TRAVELING_TEXTURE * regions.areas)
    return regions.pixels_of(is_thing)
