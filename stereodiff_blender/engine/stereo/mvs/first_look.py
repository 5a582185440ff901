"""Depth of a single frame, measured in a fraction of a second: to be looked at, long before the clip is measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...imaging import OpticalFlow, warp_between
from ...solution import CameraSolution
from .filtering import filter_depth, texture_of
from .sources import DepthLimits, ExpectantFlow
from .triangulation import triangulate

__all__ = ["first_look"]

MOST_SOURCES = 4


def first_look(frames: np.ndarray, cameras: CameraSolution, index: int, sources: Sequence[int],
               limits: DepthLimits) -> np.ndarray:
    """Depth of one frame from few others, matched at half resolution and one way only.

    Parameters
    ----------
    frames : ndarray
        (T,H,W,3) uint8.
    cameras : CameraSolution
        Of kind "moving", all T of them.
    index : int
        Of the frame.
    sources : sequence of int
        Of the frames that it can be compared with; MOST_SOURCES of them are.
    limits : DepthLimits
        Of the clip.

    Returns
    -------
    ndarray
        (H,W) float32, scene units; 0 where the matches do not agree.
    """
    height, width = frames.shape[1:3]
    chosen = [sources[place] for place in np.unique(np.linspace(0, len(sources) - 1, MOST_SOURCES).round().astype(int))]
    flow = ExpectantFlow(OpticalFlow(frames, capacity=2, quick=True), cameras, limits, (height, width))
    flows = [flow.between(index, j) for j in chosen]
    everywhere = np.ones((height, width), bool)
    measured = triangulate(flows, [everywhere] * len(chosen), [warp_between(cameras, index, j) for j in chosen],
                           limits.disparity)
    found = filter_depth(measured, limits, len(chosen), texture_of(frames[index]))
    disparity = np.where(found.sky, limits.disparity[0], measured.disparity)
    return np.divide(1.0, disparity, out=np.zeros((height, width), np.float32), where=found.trusted | found.sky)
