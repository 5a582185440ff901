"""Stage 1 of a clip by MonST3R: the plate to the network's raster, all pairs, registration, and back to the plate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...solution import CameraSolution, StereoResult
from ...storage import RunContext, Scratch
from .matching import match_pairs
from .network import TwoViewNetwork
from .pairs import window_pairs
from .raster import NetworkRaster, network_raster
from .reduction import PointmapReduction
from .solve import solve_monst3r

__all__ = ["match_clip"]


def match_clip(frames: np.ndarray, network: TwoViewNetwork, *, masks: np.ndarray | None = None,
               focal_px: float | None = None, context: RunContext) -> StereoResult:
    """Cameras, depth, confidence and motion of a clip, all on its own raster.

    Parameters
    ----------
    frames : ndarray
        (T,H,W,3) uint8, T >= 2.
    network : TwoViewNetwork
        Loaded, on the device that it runs on.
    masks : ndarray or None
        (T,H,W), true where the artist says that something moves.
    focal_px : float or None
        fx in pixels of the frames where the lens is known; None: measured, one for the clip.
    context : RunContext
        The result's arrays come from its scratch, where a later run goes on. Its report is told the stages "match",
        "solve" and "motion".

    Returns
    -------
    StereoResult
        (T,H,W) each. The first camera is at the origin. What the network's raster crops off has the nearest depth and
        confidence 0.

    Raises
    ------
    StereoDiffError
        "clip_too_small", "network_not_finite", "pointmaps_unsure" or "out_of_memory"; "settings_invalid" for a focal
        length that is not positive.

    Notes
    -----
    Warns "frames_unsolved".

    References
    ----------
    MonST3R, arXiv 2410.03825; DUSt3R, arXiv 2312.14132.
    """
    scratch = context.scratch
    raster = network_raster(frames.shape[1:3])
    pictures = scratch.allocate("monst3r_frames", (len(frames), *raster.shape, 3), np.uint8)
    for picture, frame in zip(pictures, frames, strict=True):
        picture[:] = raster.prepare(frame)
    pairs = window_pairs(len(frames))
    reduction = PointmapReduction(*pictures.shape[:3], scratch, pairs)
    predictions = match_pairs(network, pictures, pairs[reduction.done:], done=reduction.done, report=context.report)
    stereo = solve_monst3r(predictions, pictures, reduction=reduction,
                           masks=None if masks is None else _masks_to_network(masks, raster, scratch),
                           focal_px=None if focal_px is None else float(raster.intrinsics_to_network(focal_px)[0]),
                           context=context)
    return _to_plate(stereo, raster, frames.shape[:3], scratch)


def _masks_to_network(masks: np.ndarray, raster: NetworkRaster, scratch: Scratch) -> np.ndarray:
    small = scratch.allocate("monst3r_masks", (len(masks), *raster.shape), bool)
    for target, mask in zip(small, masks, strict=True):
        white = np.repeat(np.asarray(mask, bool)[..., None], 3, axis=2).astype(np.uint8) * 255
        target[:] = raster.prepare(white)[..., 0] > 127
    return small


def _to_plate(stereo: StereoResult, raster: NetworkRaster, shape: tuple[int, int, int],
              scratch: Scratch) -> StereoResult:
    """The whole result on the plate's raster; shape: T, H, W."""
    depth = scratch.allocate("plate_depth", shape, np.float32)
    confidence = scratch.allocate("plate_confidence", shape, np.float32)
    motion_mask = scratch.allocate("plate_motion_mask", shape, np.uint8)
    for index in range(shape[0]):
        depth[index] = raster.depth_to_plate(stereo.depth[index])
        confidence[index] = raster.confidence_to_plate(stereo.confidence[index])
        motion_mask[index] = raster.mask_to_plate(stereo.motion_mask[index])
    return StereoResult(_cameras_on_plate(stereo.cameras, raster), depth, confidence, motion_mask)


def _cameras_on_plate(cameras: CameraSolution, raster: NetworkRaster) -> CameraSolution:
    intrinsics = raster.intrinsics_to_plate(cameras.intrinsics)
    larger = float(intrinsics[0, 0] / cameras.intrinsics[0, 0])
    observations = [(points, raster.pixels_to_plate(pixels)) for points, pixels in cameras.observations]
    return replace(cameras, intrinsics=intrinsics, reprojection_px=cameras.reprojection_px * larger,
                   observations=observations)
