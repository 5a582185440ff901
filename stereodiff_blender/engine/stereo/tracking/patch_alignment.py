"""Aligning a track's patch in a new frame with its template, by an affine warp, to a small fraction of a pixel.

Flow from frame to frame adds up its errors; a template taken where the track began does not drift. Inverse
compositional alignment (Baker and Matthews 2004, "Lucas-Kanade 20 years on"), all tracks of a frame at once, on
patches normalized to zero mean and unit length, so that brightness and contrast may change.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from ...imaging import sample_at
from ...parallel import ONE_CORE, Cores

RADIUS_PX = 7
ITERATIONS = 5
CONVERGED_PX = 0.01
PART_LENGTH = 256
"""Tracks that are aligned together."""
# How much the warp resists, against the shift: weak texture tells a shift sooner than a shear.
WARP_STIFFNESS = 0.02


def _offsets(radius_px: int) -> np.ndarray:
    rows, columns = np.mgrid[-radius_px:radius_px + 1, -radius_px:radius_px + 1]
    return np.stack([columns.ravel(), rows.ravel()], axis=-1).astype(np.float32)


@dataclass(frozen=True)
class Templates:
    """Patches of n tracks: values (n,S) normalized; descent (n,6,S) their change by shift and warp; solve (n,6,6)
    the inverse of descent's products. radius_px: they reach so far, S = (2 radius_px + 1)^2."""

    values: np.ndarray
    descent: np.ndarray
    solve: np.ndarray
    radius_px: int = RADIUS_PX

    def __getitem__(self, chosen) -> Templates:
        return replace(self, values=self.values[chosen], descent=self.descent[chosen], solve=self.solve[chosen])

    def replaced(self, where: np.ndarray, new: Templates) -> Templates:
        """With the templates at where (n,) bool exchanged."""
        result = replace(self, values=self.values.copy(), descent=self.descent.copy(), solve=self.solve.copy())
        result.values[where], result.descent[where], result.solve[where] = new.values, new.descent, new.solve
        return result

    def joined(self, more: Templates) -> Templates:
        return replace(self, values=np.concatenate([self.values, more.values]),
                       descent=np.concatenate([self.descent, more.descent]),
                       solve=np.concatenate([self.solve, more.solve]))

    def shift_std(self, correlation: np.ndarray) -> np.ndarray:
        """(n,) pixels: how uncertain a shift is that leaves this correlation (n,) with a frame, if what is left is
        noise of single pixels."""
        left = np.maximum(2.0 * (1.0 - correlation), 0.0) / self.values.shape[1]
        return np.sqrt(left * 0.5 * (self.solve[:, 0, 0] + self.solve[:, 1, 1]))


def take_templates(gray: np.ndarray, pixels: np.ndarray, radius_px: int = RADIUS_PX) -> Templates:
    """Templates around pixels (n,2), array coordinates, of gray (H,W) float32."""
    side = 2 * radius_px + 1
    wide = _sample(gray, pixels, np.tile(np.eye(2, dtype=np.float32), (len(pixels), 1, 1)), _offsets(radius_px + 1))
    wide = wide.reshape(-1, side + 2, side + 2)
    values, length = _normalized(wide[:, 1:-1, 1:-1].reshape(-1, side * side))
    by_column = (0.5 * (wide[:, 1:-1, 2:] - wide[:, 1:-1, :-2])).reshape(-1, side * side) / length
    by_row = (0.5 * (wide[:, 2:, 1:-1] - wide[:, :-2, 1:-1])).reshape(-1, side * side) / length
    x, y = (_offsets(radius_px) / radius_px).T
    descent = np.stack([by_column, by_row, by_column * x, by_column * y, by_row * x, by_row * y], axis=1)
    descent -= descent.mean(2, keepdims=True)
    # Only what changes the patch beyond its contrast can be told from the normalized values.
    descent -= (descent @ values[:, :, None]) * values[:, None, :]
    products = descent @ np.swapaxes(descent, 1, 2)
    stiffness = WARP_STIFFNESS * np.maximum(np.einsum("nii->n", products[:, :2, :2]), 1e-6)
    diagonal = np.einsum("nii->ni", products)
    diagonal[:, 2:] += stiffness[:, None]
    diagonal[:, :2] += 1e-6
    return Templates(values, descent, np.linalg.inv(products), radius_px)


def align_patches(gray: np.ndarray, templates: Templates, pixels: np.ndarray, warps: np.ndarray, *,
                  iterations: int = ITERATIONS, converged_px: float = CONVERGED_PX,
                  cores: Cores = ONE_CORE) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Improve pixels (n,2) float32 and warps (n,2,2) from template to frame; and correlation (n,) in -1..1 there.

    A track that moves by no more than converged_px in one of the iterations is done.
    """
    def align(part: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return _aligned(gray, templates[part], pixels[part], warps[part], iterations, converged_px)

    # As long on one core as on many, or sums would be rounded otherwise.
    parts = [slice(start, start + PART_LENGTH) for start in range(0, max(len(pixels), 1), PART_LENGTH)]
    aligned = zip(*cores.map(align, parts), strict=True)
    pixels, warps, correlation = (np.concatenate(pieces) for pieces in aligned)
    return pixels, warps, correlation


def _aligned(gray: np.ndarray, templates: Templates, pixels: np.ndarray, warps: np.ndarray, iterations: int,
             converged_px: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    pixels, warps = pixels.astype(np.float32), warps.astype(np.float32)
    active, offsets = np.arange(len(pixels)), _offsets(templates.radius_px)
    for _ in range(iterations):
        chosen = templates if len(active) == len(pixels) else templates[active]
        values, _ = _normalized(_sample(gray, pixels[active], warps[active], offsets))
        change = (chosen.descent @ (values - chosen.values)[:, :, None])[:, :, 0]
        change = (chosen.solve @ change[:, :, None])[:, :, 0]
        warp_change = np.eye(2, dtype=np.float32) + change[:, 2:].reshape(-1, 2, 2) / templates.radius_px
        good = np.abs(np.linalg.det(warp_change)) > 0.2
        active, change, warp_change = active[good], change[good], warp_change[good]
        warps[active] = warps[active] @ np.linalg.inv(warp_change)
        moved = np.einsum("nij,nj->ni", warps[active], change[:, :2])
        pixels[active] -= moved
        active = active[np.abs(moved).max(1) > converged_px] if len(active) else active
        if not len(active):
            break
    values, _ = _normalized(_sample(gray, pixels, warps, offsets))
    return pixels, warps, (values * templates.values).sum(1)


def _sample(gray: np.ndarray, pixels: np.ndarray, warps: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Values (n,S) of gray at pixels + warp @ offset; cubic, since linear would pull towards pixel centers."""
    places = np.einsum("nij,sj->nsi", warps, offsets, optimize=True) + pixels[:, None, :]
    columns, rows = (np.ascontiguousarray(places[:, :, axis], np.float32) for axis in (0, 1))
    return sample_at(gray, columns, rows, cv2.INTER_CUBIC)


def _normalized(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values (n,S) with zero mean and unit length, and the lengths (n,1) they had."""
    centered = values - values.mean(1, keepdims=True)
    length = np.maximum(np.linalg.norm(centered, axis=1, keepdims=True), 1e-3)
    return centered / length, length
