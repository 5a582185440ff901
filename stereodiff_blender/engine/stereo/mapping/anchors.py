"""Adjusting clips of many frames: a part of the frames together, every other one on what those have settled.

The dense system of one bundle adjustment grows with the square of the cameras, and its solution with the cube. But
neighboring frames of a long shot see nearly the same points. So anchors are chosen, as far apart as most of their
tracks reach; cameras, points and lens are adjusted on the anchors, and each frame between them is fitted to the
points. That is linear in frames, and in camera poses as exact: a frame's own pose rests on its own pixels.
"""

from __future__ import annotations

import math

import numpy as np

from .bundle_adjustment import BundleOptions
from .bundle_state import Observations
from .reconstruction import Reconstruction

MOST_TOGETHER = 200
"""Frames up to which all are adjusted together."""
LOST_PERCENT = 20
"""Share of an anchor's tracks that may end before the next one."""
MAX_GAP = 6
MOST_ANCHORS = 400
"""Where tracks are so short that this needs more anchors, they are taken farther apart."""
HELD_LENS = BundleOptions(focal=False)
POSE_ITERATIONS, POSE_TOLERANCE = 10, 1e-4


def adjust_on_anchors(reconstruction: Reconstruction, frames: np.ndarray, observations: Observations, *,
                      free_lens: bool = True, loss_px: float, iterations: int, tolerance: float) -> None:
    """Adjust frames and their points to the observations, in place.

    Of a clip of more than MOST_TOGETHER frames, points that fewer than two anchors see are triangulated anew.

    Parameters
    ----------
    reconstruction : Reconstruction
        Its cameras of the frames, the points they see and its lens are changed.
    frames : ndarray
        (C,) int, ascending indices of frames that have a camera.
    observations : Observations
        Their cameras count in frames, 0..C-1; square pixels from the principal point.
    free_lens : bool
        Whether what the reconstruction lets free of the lens may change; False holds all of it.
    loss_px : float
        Width of the Cauchy loss, in pixels.
    iterations : int
        At most so many, of the adjustment on the anchors.
    tolerance : float
        Stop when an iteration lowers the cost by less than this share.
    """
    rule = {"loss_px": loss_px, "iterations": iterations, "tolerance": tolerance}
    if len(frames) <= MOST_TOGETHER:
        free = reconstruction.free_lens(frames) if free_lens else HELD_LENS
        reconstruction.bundle_adjust(frames, observations, free=free, **rule)
        return
    anchors = choose_anchors(observations, len(frames))
    held = observed_twice(observations, anchors)
    position = np.cumsum(anchors) - 1
    rows = held[observations.point] & anchors[observations.camera]
    among_anchors = Observations(position[observations.camera[rows]], observations.point[rows],
                                 observations.pixels[rows])
    free = reconstruction.free_lens(frames[anchors]) if free_lens else HELD_LENS
    reconstruction.bundle_adjust(frames[anchors], among_anchors, free=free, **rule)
    _fit_between(reconstruction, frames, observations.select(held[observations.point]), anchors, loss_px)
    _triangulate(reconstruction, frames, observations.select(~held[observations.point]))


def choose_anchors(observations: Observations, cameras: int) -> np.ndarray:
    """The first and last camera, and between them each as far on as enough tracks of the one before.

    Parameters
    ----------
    observations : Observations
        Of all cameras, in the order of time.
    cameras : int
        C, how many there are.

    Returns
    -------
    ndarray
        (C,) bool, true for anchors.
    """
    last = np.zeros(observations.point.max() + 1, np.int64)
    np.maximum.at(last, observations.point, observations.camera)
    by_camera = np.argsort(observations.camera, kind="stable")
    bounds = np.searchsorted(observations.camera[by_camera], np.arange(cameras + 1))
    least_gap = math.ceil(cameras / MOST_ANCHORS)
    anchors = np.zeros(cameras, bool)
    anchors[[0, -1]] = True
    index = 0
    while index < cameras:
        anchors[index] = True
        ends = last[observations.point[by_camera[bounds[index]:bounds[index + 1]]]]
        reach = int(np.percentile(ends, LOST_PERCENT)) if len(ends) else index
        index = min(max(reach, index + least_gap), index + max(MAX_GAP, least_gap))
    return anchors


def observed_twice(observations: Observations, cameras: np.ndarray) -> np.ndarray:
    """Points that at least two of the cameras see.

    Parameters
    ----------
    observations : Observations
        Of all cameras.
    cameras : ndarray
        (C,) bool, true for those that count.

    Returns
    -------
    ndarray
        (P,) bool, up to the highest point that is observed.
    """
    return np.bincount(observations.point, cameras[observations.camera]) >= 2


def _fit_between(reconstruction: Reconstruction, frames, observations: Observations, anchors, loss_px: float) -> None:
    """Fit the cameras that are no anchors to the points as they are."""
    between = np.flatnonzero(~anchors)
    if not len(between):
        return
    rows = ~anchors[observations.camera]
    position = np.cumsum(~anchors) - 1
    rest = Observations(position[observations.camera[rows]], observations.point[rows], observations.pixels[rows])
    reconstruction.bundle_adjust(frames[between], rest, loss_px=loss_px, iterations=POSE_ITERATIONS,
                                 tolerance=POSE_TOLERANCE, free=BundleOptions(focal=False, points=False,
                                                                              fixed_cameras=()))


def _triangulate(reconstruction: Reconstruction, frames, observations: Observations) -> None:
    points = reconstruction.triangulated(frames, observations)
    new = np.unique(observations.point)
    reconstruction.points[new] = points[new]
