"""How sharp each frame of a clip is beside those around it: a hand that jerks blurs a frame or two.

Fine detail is held against coarser detail of the same frame, so that it does not matter what a frame shows; along the
worst of four directions, since a blur by motion leaves alone what runs along it. (A no-reference blur measure by
blurring again, Crete et al. 2007.)
"""

from __future__ import annotations

import cv2
import numpy as np

MEASURED_WIDTH_PX = 480
"""Frames are looked at in no more than this width: a blur that cannot be seen there does no harm."""
FINE_PX, COARSE_PX = 0.7, 2.0
"""Standard deviations of the Gaussians that leave fine and only coarser detail."""
REACH = 8
"""Frames before and after that one is compared with; of these the sharper quarter counts as sharp."""
SHARP_PERCENTILE = 75
BLURRED = 0.85
"""Sharpness below which a frame is blurred: without a jerk, all of a clip's frames are above 0.94."""


def relative_sharpness(frames: np.ndarray) -> np.ndarray:
    """Sharpness of T frames beside the sharp ones around each.

    Parameters
    ----------
    frames : ndarray
        (T,H,W,3) uint8, may be memory-mapped.

    Returns
    -------
    ndarray
        (T,) float64 in (0,1]; 1 is as sharp as the others.
    """
    sharpness = np.array([_sharpness(frame) for frame in frames])
    around = [sharpness[max(k - REACH, 0):k + REACH + 1] for k in range(len(frames))]
    return np.minimum(sharpness / [np.percentile(each, SHARP_PERCENTILE) for each in around], 1.0)


def _sharpness(frame: np.ndarray) -> float:
    """Above 1 where there is fine detail in all directions; 1 for a frame without any."""
    gray = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)
    height, width = gray.shape
    if min(height, width) < 2:
        return 1.0
    if width > MEASURED_WIDTH_PX:
        size = (MEASURED_WIDTH_PX, max(2, round(height * MEASURED_WIDTH_PX / width)))
        gray = cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
    fine, coarse = (_directional_energy(cv2.GaussianBlur(gray.astype(np.float32), (0, 0), sigma))
                    for sigma in (FINE_PX, COARSE_PX))
    # Below a gray level there is only grain to be measured.
    return float(np.sqrt(((fine + 1e-2) / (coarse + 1e-2)).min()))


def _directional_energy(gray: np.ndarray) -> np.ndarray:
    """Mean squared difference of neighbors along the rows, the columns and both diagonals: (4,)."""
    here = gray[:-1, :-1]
    pairs = ((gray[:-1, 1:], here), (gray[1:, :-1], here), (gray[1:, 1:], here), (gray[1:, :-1], gray[:-1, 1:]))
    return np.array([np.mean(np.square(a - b), dtype=np.float64) for a, b in pairs])
