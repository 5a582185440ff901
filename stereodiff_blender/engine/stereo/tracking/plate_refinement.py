"""Tracks, as they were followed on the raster, measured once more in the plate itself.

A plate that is larger than the raster shows detail that tells places finer. Each track is aligned with a template from
where it begins, as tracking does it, in plate pixels and from where tracking has it; so nothing is searched. What the
plate does not tell better (soft or noisy footage, a patch that has changed) stays as it was tracked.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...parallel import ONE_CORE, Cores
from .patch_alignment import Templates, align_patches, take_templates
from .tracking import ALIGNED_PX, RENEW_CORRELATION, TEMPLATE_CORRELATION, is_deformed
from .tracks import Tracks

MIN_PLATE_SCALE = 1.25
"""Pixels of the plate in one of the raster, from which there is more to be seen."""
PATCH_REACH_PX = 10.0 / 3.0
"""Of the raster, within the limits of radius: detail tells the place, and little of a depth edge is in it."""
LEAST_RADIUS_PX, MOST_RADIUS_PX = 7, 15
"""Of the plate."""
ITERATIONS, CONVERGED_PX = 3, 0.03
MOST_STD_PX = 0.015
"""Of the raster: patches that tell their place less well gain nothing over what tracking measures there."""
MIN_REFINED_SHARE = 0.5
"""Of all observations after the first of each track: with fewer, the plate is as good as the raster."""


def refine_on_plates(tracks: Tracks, plates: np.ndarray, cores: Cores = ONE_CORE) -> Tracks:
    """The tracks with their places as the plate shows them.

    Parameters
    ----------
    tracks : Tracks
        As tracking has them.
    plates : ndarray
        (T,h,w) uint8 gray, an array or memory map of the same pictures as the raster, edge to edge; read one frame at
        a time.
    cores : Cores
        How many of them are used.

    Returns
    -------
    Tracks
        The same observations at refined places; tracks itself where the plate is hardly larger than the raster, or
        does not tell more.
    """
    scale = np.divide(plates.shape[:0:-1], tracks.size)  # pixels of the plate in one of the raster, across and down
    if min(scale) < MIN_PLATE_SCALE or not len(tracks.frame):
        return tracks
    radius_px = int(np.clip(round(PATCH_REACH_PX * min(scale)), LEAST_RADIUS_PX, MOST_RADIUS_PX))
    pixels, refined = tracks.pixels.copy(), np.zeros(len(tracks.frame), bool)
    patches = None
    for index in range(tracks.frame_count):
        rows = tracks.in_frame(index)
        gray = np.asarray(plates[index], np.float32)
        places = (tracks.pixels[rows] * scale - 0.5).astype(np.float32)
        patches, places, refined[rows] = _measured(patches, gray, tracks.point[rows], places,
                                                    (scale, radius_px, cores))
        pixels[rows] = np.where(refined[rows, None], (places + 0.5) / scale, pixels[rows])
    later = len(tracks.frame) - len(np.unique(tracks.point))
    if refined.sum() < MIN_REFINED_SHARE * later:
        return tracks
    return replace(tracks, pixels=pixels, measured_px=float(1.0 / min(scale)))


@dataclass(frozen=True)
class _Patches:
    """Of the tracks of a frame: names (n,) ascending, templates, and the warps (n,2,2) that take them to the frame."""

    names: np.ndarray
    templates: Templates
    warps: np.ndarray

    @classmethod
    def taken(cls, gray: np.ndarray, names: np.ndarray, places: np.ndarray, radius_px: int) -> _Patches:
        return cls(names, take_templates(gray, places, radius_px), _unwarped(len(names)))

    def select(self, chosen: np.ndarray) -> _Patches:
        return _Patches(self.names[chosen], self.templates[chosen], self.warps[chosen])

    def joined(self, more: _Patches) -> _Patches:
        names = np.concatenate([self.names, more.names])
        order = np.argsort(names)
        return _Patches(names, self.templates.joined(more.templates),
                        np.concatenate([self.warps, more.warps])).select(order)


def _measured(before: _Patches | None, gray: np.ndarray, names: np.ndarray, places: np.ndarray,
              how: tuple[np.ndarray, int, Cores]) -> tuple[_Patches, np.ndarray, np.ndarray]:
    """Patches of the tracks names (n,) of a frame, their places (n,2) in array coordinates, and which were refined.

    how: pixels of the plate in one of the raster, across and down; how far patches reach, pixels; on which cores.
    """
    scale, radius_px, cores = how
    is_known = np.zeros(len(names), bool) if before is None else np.isin(names, before.names)
    refined = np.zeros(len(names), bool)
    begun = _Patches.taken(gray, names[~is_known], places[~is_known], radius_px)
    if before is None or not is_known.any():
        return begun, places, refined
    patches, places = before.select(np.isin(before.names, names)), places.copy()
    patches, places[is_known], refined[is_known] = _aligned(patches, gray, places[is_known], scale, cores)
    return patches.joined(begun), places, refined


def _aligned(patches: _Patches, gray: np.ndarray, places: np.ndarray, scale: np.ndarray,
             cores: Cores) -> tuple[_Patches, np.ndarray, np.ndarray]:
    """As _measured, of tracks that have templates."""
    found, warps, correlation = align_patches(gray, patches.templates, places, patches.warps, iterations=ITERATIONS,
                                              converged_px=CONVERGED_PX, cores=cores)
    is_near = (np.abs(found - places) < ALIGNED_PX * scale).all(axis=1)
    refined = is_near & (correlation > TEMPLATE_CORRELATION)
    refined &= patches.templates.shift_std(correlation) < MOST_STD_PX * min(scale)
    places = np.where(refined[:, None], found, places)
    warps = np.where(refined[:, None, None], warps, patches.warps)
    due = (correlation < RENEW_CORRELATION) | is_deformed(warps)
    new = take_templates(gray, places[due], patches.templates.radius_px)
    warps[due] = _unwarped(int(due.sum()))
    return _Patches(patches.names, patches.templates.replaced(due, new), warps), places, refined


def _unwarped(count: int) -> np.ndarray:
    return np.tile(np.eye(2, dtype=np.float32), (count, 1, 1))
