"""What Blender's mesh plays from: a frame's depth, confidence and kind in one picture.

Blender takes about as long to open a picture as to read it, so that three of them cost a mesh half as much again as
one. Depth is rounded to what no mesh shows, and confidence to what no slider sets: else the picture would be as large
as the three.
"""

from __future__ import annotations

import numpy as np

from ..contract import MOVING, SKY, STILL

DEPTH_BITS = 7
"""Of the 23 that a float's fraction has, those that are rounded away: what is left is 1 part in 130 000."""
CONFIDENCE_STEPS = 256.0


def mesh_channels(depth: np.ndarray, confidence: np.ndarray, motion_mask: np.ndarray, sky: np.ndarray
                  ) -> dict[str, np.ndarray]:
    """The channels of a frame's picture.

    Parameters
    ----------
    depth : ndarray
        (H,W) float32, z-depth; 0 is invalid and stays so.
    confidence : ndarray
        (H,W) in 0..1.
    motion_mask : ndarray
        (H,W), above 0 where the thing itself moves.
    sky : ndarray
        (H,W) bool, the sky and what is as far.

    Returns
    -------
    dict of str to ndarray
        (H,W) each. "R": depth, float32. "G": confidence, rounded up to the next of CONFIDENCE_STEPS, so that no pixel
        is left out by a least confidence that it has; float16. "B": SKY, STILL or MOVING, float16.
    """
    sure = np.ceil(np.asarray(confidence, np.float32) * CONFIDENCE_STEPS) / CONFIDENCE_STEPS
    kind = np.where(motion_mask > 0, MOVING, np.where(sky, SKY, STILL))
    return {"R": _rounded(depth), "G": sure.astype(np.float16), "B": kind.astype(np.float16)}


def _rounded(depth: np.ndarray) -> np.ndarray:
    """To the nearest float32 whose last DEPTH_BITS bits are 0."""
    bits = np.ascontiguousarray(depth, np.float32).view(np.uint32)
    half, mask = np.uint32(1 << (DEPTH_BITS - 1)), np.uint32(0xFFFFFFFF ^ ((1 << DEPTH_BITS) - 1))
    return ((bits + half) & mask).view(np.float32)
