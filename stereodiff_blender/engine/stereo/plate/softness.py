"""How much of a pixel near a depth edge belongs to the nearer surface: hair, leaves and what motion blurs are no cuts.

Depth has one value a pixel. Where a thing fades into what is behind it, each pixel is a mixture of the two looks, and
the share of the nearer one is told by where the pixel's gray lies between them (as in alpha matting, Smith and Blinn
1996). The looks are means of pixels beyond the fade. Where they hardly differ, or vary more than they differ, nothing
is told, and the edge is as hard as depth's.
"""

from __future__ import annotations

import cv2
import numpy as np

from .propagation import STEP_PX, edge_band

OF_WIDTH, SOFT_PX = 1920, 4.0
"""Half of the widest fade, in pixels of a picture this wide; it grows with the picture."""
SEEN_PX = 3
"""Times that, from where the two looks are taken."""
LEAST_LEVELS, SPREADS = 8.0, 2.0
"""Gray levels, and standard deviations of both looks together, that they must differ by to tell anything; at twice as
much they are believed."""
FEWEST = 6
"""Pixels that a look is taken from."""


def nearer_share(depth: np.ndarray, gray: np.ndarray) -> np.ndarray:
    """The share of the nearer surface in each pixel near a depth edge.

    Parameters
    ----------
    depth : ndarray
        (H,W) float32, any unit; 0 where there is none, which counts as farthest.
    gray : ndarray
        (H,W) uint8, the picture that depth is of.

    Returns
    -------
    ndarray
        (H,W) float32, 0..1; 1 where no edge is near.

    References
    ----------
    Smith and Blinn 1996, blue screen matting.
    """
    disparity = np.divide(1.0, depth, out=np.zeros(depth.shape, np.float32), where=depth > 0)
    reach = max(2, round(SOFT_PX * depth.shape[1] / OF_WIDTH))
    band = edge_band(disparity, reach, STEP_PX)
    if not band.any():
        return np.ones(depth.shape, np.float32)
    is_near = _nearer(disparity, SEEN_PX * reach)
    rows, cols = np.nonzero(band)
    hard = is_near[rows, cols].astype(np.float32)
    share, trust = _mixture(gray, is_near, reach, (rows, cols))
    whole = np.ones(depth.shape, np.float32)
    whole[rows, cols] = hard + trust * (share - hard)
    return whole


def _nearer(disparity: np.ndarray, reach: int) -> np.ndarray:
    """(H,W) bool: of the nearest and the farthest within reach, whether a pixel is on the nearest's side."""
    window = np.ones((2 * reach + 1,) * 2, np.uint8)
    return disparity >= np.float32(0.5) * (cv2.dilate(disparity, window) + cv2.erode(disparity, window))


def _mixture(gray: np.ndarray, is_near: np.ndarray, reach: int,
             pixels: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Of pixels, rows and columns (n,) each: (n,) float32 share of the near look, and how far it is believed, 0..1."""
    window = np.ones((2 * reach + 1,) * 2, np.uint8)
    far, near = (_Look(gray, cv2.erode(side.astype(np.uint8), window), reach, pixels) for side in (~is_near, is_near))
    contrast = near.mean - far.mean
    needed = np.maximum(np.float32(LEAST_LEVELS), np.float32(SPREADS) * (near.spread + far.spread))
    trust = np.clip(np.abs(contrast) / needed - np.float32(1.0), 0.0, 1.0) * (near.is_known & far.is_known)
    share = (gray[pixels] - far.mean) / np.where(np.abs(contrast) < 1.0, np.float32(1.0), contrast)
    return np.clip(share, 0.0, 1.0), trust.astype(np.float32)


class _Look:
    """What the pixels of one side look like around pixels, (n,) each: mean and standard deviation in gray levels, and
    whether there are enough of them. Summed in cells of `reach`, as it hardly differs from one pixel to the next."""

    def __init__(self, gray: np.ndarray, sure: np.ndarray, reach: int, pixels: tuple[np.ndarray, np.ndarray]):
        """gray, sure: (H,W) uint8, sure not 0 where a pixel surely is of this side."""
        cells = tuple(-(-side // reach) for side in gray.shape)
        place = tuple(axis * count // side for axis, count, side in zip(pixels, cells, gray.shape, strict=True))
        weight = sure.astype(np.float32)
        weighed = weight * gray
        count, total, squares = (cv2.blur(cv2.resize(each, cells[::-1], interpolation=cv2.INTER_AREA),
                                          (2 * SEEN_PX + 1,) * 2)[place] for each in (weight, weighed, weighed * gray))
        self.is_known = count * np.float32(((2 * SEEN_PX + 1) * reach)**2) > FEWEST
        count = np.maximum(count, np.float32(1e-6))
        self.mean = total / count
        self.spread = np.sqrt(np.maximum(squares / count - self.mean * self.mean, 0.0))
