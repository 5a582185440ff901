"""Which pixels show the ground, whatever their matches say.

Before the camera the ground goes by fastest, and often looks the same everywhere: there matches fail first, and what
they say is taken for motion or for a pit. But where the ground is known, so is where each of its pixels lies a little
earlier and a little later. What looks the same there is ground; what travels along with the camera is not.
"""

from __future__ import annotations

import cv2
import numpy as np

from ...imaging import CostFeatures, Warp, mean_of_better_half, photometric_cost, warp_between, warp_pixels
from ...solution import CameraSolution

FRAME_OFFSETS = (-2, -1, 1, 2)
"""From farther off the ground before the camera is a blur, or out of the picture."""
STEP_PX, WINDOW_PX, MAX_COST = 3, 9, 0.5
"""Every so many pixels are looked at, across and down. Photometric cost, as a mean over a window, up to which it shows
the ground: a road in the sun has 0.3, a bonnet before it 0.9."""
SOFTENING_PX = 1.0
"""Frames are blurred by so much: the plane is never quite right."""


def shows_ground(index: int, asked: np.ndarray, ground: np.ndarray, cameras: CameraSolution,
                 features: CostFeatures, least_speed: float = 0.0) -> np.ndarray:
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
    least_speed : float
        Of ground that is asked for: its parallax against what is infinitely far, from one frame to the next, as a share
        of the picture's width.

    Returns
    -------
    ndarray
        (H,W) bool, within asked; none where no frame around shows the place, or the ground goes by slowly.
    """
    warps = warps_around(index, cameras)
    sample = np.zeros(asked.shape, bool)
    sample[::STEP_PX, ::STEP_PX] = (asked & (ground > 0))[::STEP_PX, ::STEP_PX]
    sample[sample] = speed_px(sample, ground, index, warps) >= least_speed * asked.shape[1]
    if not sample.any() or not warps:
        return np.zeros(asked.shape, bool)
    picture = np.zeros(asked.shape, np.float32)
    picture[sample] = ground_cost(sample, ground, index, warps, features)
    cost, share = (cv2.blur(each, (WINDOW_PX, WINDOW_PX)) for each in (picture, sample.astype(np.float32)))
    return asked & (ground > 0) & (cost < MAX_COST * share)


def warps_around(index: int, cameras: CameraSolution) -> dict[int, Warp]:
    """The frames that tell the ground of one, with the warps to them."""
    return {other: warp_between(cameras, index, other) for other in (index + offset for offset in FRAME_OFFSETS)
            if 0 <= other < len(cameras.camera_to_world)}


def speed_px(sample: np.ndarray, ground: np.ndarray, index: int, warps: dict[int, Warp]) -> np.ndarray:
    """Parallax (n,) of the ground to the frame next to this one, at the pixels of a sample (H,W) bool."""
    x, y, disparity = *pixels_of(sample), ground[sample]
    speed = np.zeros(len(x), np.float32)
    for other in {index - 1, index + 1} & warps.keys():
        near, far = (warp_pixels(warps[other], x, y, each).places for each in (disparity, np.zeros_like(disparity)))
        np.maximum(speed, np.hypot(near[0] - far[0], near[1] - far[1]), out=speed)
    return speed


def ground_cost(sample: np.ndarray, ground: np.ndarray, index: int, warps: dict[int, Warp],
          features: CostFeatures) -> np.ndarray:
    """Photometric cost (n,) of the ground at the pixels of a sample, in the better half of the frames around."""
    x, y, disparity = *pixels_of(sample), ground[sample]
    own, costs = [plane[sample] for plane in features[index]], []
    for other, warp in warps.items():
        warped = warp_pixels(warp, x, y, disparity)
        cost = photometric_cost(own, features[other], *warped.places)
        costs.append(np.where(warped.inside(features.size), cost, np.float32(1.0)))
    return mean_of_better_half(costs)


def pixels_of(sample: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x and y (n,) float32 of the centers of a sample's pixels."""
    rows, columns = np.nonzero(sample)
    return columns.astype(np.float32) + np.float32(0.5), rows.astype(np.float32) + np.float32(0.5)
