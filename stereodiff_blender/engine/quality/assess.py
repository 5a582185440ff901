"""The trust report: what a solve is worth, measured on the solve itself.

Pure functions on arrays; (T,H,W) arrays may be memory-mapped and are read frame by frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from ..contract import Quality
from ..shutter import RowCamera
from ..solution import TRUSTED, CameraSolution, StereoResult
from .static_points import OTHER_SURFACE, log_error, static_grid, world_points

__all__ = ["assess"]

FLICKER_STEP_PX = 6
WHITE_NOISE_GAIN = np.sqrt(6.0)
"""A second difference of white noise has this many times its standard deviation: sqrt(1 + 4 + 1)."""
MIN_SAMPLES = 50


def assess(cameras: CameraSolution, first_frame: int, stereo: StereoResult | None = None,
           refined_depth: np.ndarray | None = None, gauge_residual: float | None = None) -> Quality:
    """The report of one solve; what does not apply stays None.

    Parameters
    ----------
    cameras : CameraSolution
        Of all frames that are told of.
    first_frame : int
        Clip frame of index 0.
    stereo : StereoResult or None
        Of the same frames, None without depth.
    refined_depth : ndarray or None
        (T,H,W), None without stage 2.
    gauge_residual : float or None
        See contract.Quality.

    Returns
    -------
    Quality
        Units and ranges as contract.Quality says.
    """
    unsolved = tuple(int(index) + first_frame for index in np.flatnonzero(~cameras.solved))
    per_frame = cameras.reprojection_px[np.isfinite(cameras.reprojection_px)]
    quality = Quality(
        solved_share=float(cameras.solved.mean()), unsolved_frames=unsolved,
        reprojection_mean_px=float(per_frame.mean()) if len(per_frame) else None,
        reprojection_worst_px=float(per_frame.max()) if len(per_frame) else None,
        parallax_deg=float(np.median(cameras.point_parallax_deg)) if len(cameras.point_parallax_deg) else None,
        gauge_residual=gauge_residual)
    if stereo is None:
        return quality
    where = (stereo.confidence, stereo.motion_mask, cameras.camera_to_world, cameras.intrinsics, cameras.row_camera)
    return replace(quality, coverage=_trusted_share(cameras, stereo.confidence),
                   moving_share=moving_share(stereo.motion_mask), flicker_before=flicker(stereo.depth, *where),
                   flicker_after=None if refined_depth is None else flicker(refined_depth, *where))


def _trusted_share(cameras: CameraSolution, confidence: np.ndarray) -> float:
    """Depth that agrees between views through a wrong lens is wrong all the same, and so is that of a frame whose
    camera was not found."""
    if cameras.is_focal_unreliable or not cameras.solved.any():
        return 0.0
    solved = (frame for frame, is_solved in zip(confidence, cameras.solved, strict=True) if is_solved)
    return float(cameras.solved.mean()) * coverage(solved)


def coverage(confidence: Iterable[np.ndarray]) -> float:
    """Share of all pixels of confidence, frames (H,W), that are trusted, 0..1."""
    return float(np.mean([np.mean(frame > TRUSTED) for frame in confidence]))


def moving_share(motion_mask: np.ndarray) -> float:
    """Share of all pixels of a (T,H,W) mask that move, 0..1."""
    return float(np.mean([np.mean(frame > 0) for frame in motion_mask]))


def flicker(depth: np.ndarray, confidence: np.ndarray, motion_mask: np.ndarray, camera_to_world: np.ndarray,
            intrinsics: np.ndarray, row_camera: Callable[[int], RowCamera | None] = lambda index: None) -> float | None:
    """High-band energy of static depth over time, in percent of depth; None if it cannot be told.

    A static trusted pixel of frame t with depth z is carried by its own depth into frames t - 1 and t + 1, where its
    z-depth should be z' and is found to be d'. With e = ln(d' / z'), the second temporal difference is
    e(t - 1) + e(t + 1): zero on exact depth under any camera move, untouched by a global scale, and blind to slow
    drift. Returned is 100 * RMS / sqrt(6) over a grid of pixels of all frames, which for white noise is its standard
    deviation. Where a neighbor frame shows an edge, an occlusion or something moving instead, there is no sample.

    depth: (T,H,W) > 0. confidence, motion_mask: (T,H,W). camera_to_world: (T,4,4). intrinsics: (T,4).
    row_camera: that of a frame whose rows are not read at once.
    """
    squares, samples = 0.0, 0
    for index in range(1, len(depth) - 1):
        rows, cols = static_grid(confidence[index], motion_mask[index], FLICKER_STEP_PX)
        points = world_points(depth[index], rows, cols, camera_to_world[index], intrinsics[index],
                              row_camera=row_camera(index))
        before, after = (log_error(depth[k], motion_mask[k], points, camera_to_world[k], intrinsics[k],
                                   row_camera=row_camera(k)) for k in (index - 1, index + 1))
        same_surface = np.maximum(np.abs(before), np.abs(after)) < OTHER_SURFACE
        second_difference = (before + after)[same_surface]
        squares += float((second_difference**2).sum())
        samples += len(second_difference)
    if samples < MIN_SAMPLES:
        return None
    return float(100.0 * np.sqrt(squares / samples) / WHITE_NOISE_GAIN)
