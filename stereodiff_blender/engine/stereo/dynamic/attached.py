"""What is fixed to the camera: the bonnet of the car that it drives in, a handlebar, the frame of a windscreen.

It keeps its place in the picture through the whole clip while the ground goes by, so what is seen below the horizon
looks like the same place of the frames around, and not like the ground there. One frame can err, where the road is even
or a reflection moves; the middle of many does not.
"""

from __future__ import annotations

import cv2
import numpy as np

from ...imaging import CostFeatures, find_regions, mean_of_better_half, photometric_cost
from ...solution import CameraSolution
from .ground_parallax import SOFTENING_PX, ground_cost, pixels_of, speed_px, warps_around
from .ground_plane import GroundPlane

STEP_PX, SAMPLED_FRAMES = 3, 12
"""Every so many pixels are looked at, across and down, in so many frames."""
LEAST_SPEED = 0.012
"""Parallax of the ground between neighboring frames, as a share of the picture's width, from which on it tells: a road
before a car has 0.02 to 0.2. As of find_background."""
MIN_DIFFERENCE = 0.4
"""How much worse than its own place the ground must explain a pixel: a bonnet has 0.5 to 0.9, a road at most 0.3."""
MIN_AREA = 0.005
"""Share of the picture below which nothing is told."""


def find_attached(frames: np.ndarray, cameras: CameraSolution, ground: GroundPlane | None) -> np.ndarray:
    """What is fixed to the camera, at the lower border of the picture.

    Parameters
    ----------
    frames : ndarray
        (T,H,W,3) uint8.
    cameras : CameraSolution
        Of the T frames.
    ground : GroundPlane or None
        Without one nothing is found.

    Returns
    -------
    ndarray
        (H,W) bool, the same for all frames.
    """
    count, height, width = frames.shape[:3]
    nothing = np.zeros((height, width), bool)
    if ground is None:
        return nothing
    features = CostFeatures(frames, SOFTENING_PX)
    sampled = range(0, count, max(1, count // SAMPLED_FRAMES))
    views = [_difference(index, cameras, ground, features) for index in sampled]
    shows = np.isfinite(views)
    # What is seldom below the horizon, or seldom passed quickly, is not judged.
    difference = np.median(np.where(shows, views, -1.0), axis=0).astype(np.float32)
    cells = cv2.blur((difference > MIN_DIFFERENCE).astype(np.float32), (3, 3))
    mask = cv2.resize(cells, (width, height), interpolation=cv2.INTER_LINEAR) > 0.5
    regions = find_regions(mask)
    lowest = np.zeros(len(regions.areas), bool)
    lowest[np.unique(regions.labels[-1])] = True
    lowest &= regions.areas > MIN_AREA * mask.size
    lowest[0] = False
    return np.maximum.accumulate(regions.pixels_of(lowest), axis=0)


def _difference(index: int, cameras: CameraSolution, ground: GroundPlane, features: CostFeatures) -> np.ndarray:
    """How much worse the ground explains a frame than its own place in the frames around does, (h,w) float32 of every
    STEP_PX-th pixel; not finite where there is no ground, or a slow one."""
    view = ground.seen_by(cameras.camera_to_world[index], cameras.intrinsics[index], cameras.row_camera(index))
    disparity = view.disparity_of(features.size)
    warps = warps_around(index, cameras)
    grid = (slice(STEP_PX // 2, None, STEP_PX),) * 2
    sample = np.zeros(disparity.shape, bool)
    sample[grid] = disparity[grid] > 0
    sample[sample] = speed_px(sample, disparity, index, warps) >= LEAST_SPEED * disparity.shape[1]
    result = np.full(disparity.shape, np.nan, np.float32)
    if sample.any() and warps:
        own, places = [plane[sample] for plane in features[index]], pixels_of(sample)
        still = mean_of_better_half([photometric_cost(own, features[other], *places) for other in warps])
        result[sample] = ground_cost(sample, disparity, index, warps, features) - still
    return result[grid]
