"""Which pixels show the ground, whatever their matches say.

Before the camera the ground goes by fastest, and often looks the same everywhere: there matches fail first, and what
they say is taken for motion or for a pit. But where the ground is known, so is where each of its pixels lies a little
earlier and a little later. What looks the same there is ground; what travels along with the camera is not.
"""

from __future__ import annotations

import cv2
import numpy as np

from ...imaging import CostFeatures, mean_of_better_half, photometric_cost, warp_between, warp_pixels
from ...solution import CameraSolution

FRAME_OFFSETS = (-2, -1, 1, 2)
"""From farther off the ground before the camera is a blur, or out of the picture."""
STEP_PX, WINDOW_PX, MAX_COST = 3, 9, 0.5
"""Every so many pixels are looked at, across and down. Photometric cost, as a mean over a window, up to which it shows
the ground: a road in the sun has 0.3, a bonnet before it 0.9."""
SOFTENING_PX = 1.0
"""Frames are blurred by so much: the plane is never quite right."""


def shows_ground(index: int, asked: np.ndarray, ground: np.ndarray, cameras: CameraSolution,
                 features: CostFeatures) -> np.ndarray:
    """Which of the pixels asked for look like the ground in the frames around.

    Parameters
    ----------
    index : int
        Of the frame.
    asked : ndarray
        (H,W) bool.
    ground : ndarray
        (H,W) disparity of the ground, not positive above the horizon.
    cameras : CameraSolution
        Of the T frames.
    features : CostFeatures
        Of the same frames, softened by SOFTENING_PX.

    Returns
    -------
    ndarray
        (H,W) bool, within asked; none where no frame around shows the place.
    """
    sample = np.zeros(asked.shape, bool)
    sample[::STEP_PX, ::STEP_PX] = (asked & (ground > 0))[::STEP_PX, ::STEP_PX]
    others = [index + offset for offset in FRAME_OFFSETS if 0 <= index + offset < len(cameras.camera_to_world)]
    if not sample.any() or not others:
        return np.zeros(asked.shape, bool)
    rows, columns = np.nonzero(sample)
    warps = [(other, warp_between(cameras, index, other)) for other in others]
    picture = np.zeros(asked.shape, np.float32)
    picture[sample] = _cost([plane[rows, columns] for plane in features[index]], rows, columns, ground[sample], warps,
                            features)
    cost, share = (cv2.blur(each, (WINDOW_PX, WINDOW_PX)) for each in (picture, sample.astype(np.float32)))
    return asked & (ground > 0) & (cost < MAX_COST * share)


def _cost(own, rows, columns, disparity, warps, features: CostFeatures) -> np.ndarray:
    """Photometric cost (n,) of pixels at a disparity, in the better half of the frames that warps lead to."""
    x, y = (axis.astype(np.float32) + np.float32(0.5) for axis in (columns, rows))
    costs = []
    for other, warp in warps:
        warped = warp_pixels(warp, x, y, disparity)
        cost = photometric_cost(own, features[other], *warped.places)
        costs.append(np.where(warped.inside(features.size), cost, np.float32(1.0)))
    return mean_of_better_half(costs)
