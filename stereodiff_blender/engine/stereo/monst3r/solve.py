"""From the pointmaps of all pairs to stage 1's answer: reduce, register, find what moves, say what is sure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from ...contract import StereoDiffError
from ...geometry import fill_unsolved, rebase, rescale_gauge, unproject
from ...imaging import OpticalFlow, flows_in, pull_push
from ...report import Report
from ...solution import TRUSTED, CameraSolution, StereoResult
from ...storage import RunContext
from ..mvs import DepthLimits, vote
from .motion import FlowFields, agreement, find_frame_motion
from .pointmaps import PairPointmaps
from .reduction import MIN_CONFIDENCE, PointmapReduction, ReducedPointmaps
from .registration import Registration, register_pointmaps

FLOW_MEGABYTES = 400.0
LATENESS = 2
"""Frames that a vote on motion lags behind, so that all its voters are known."""
NEAREST_SHARE = 0.01
"""Depth below this share of a frame's median lies in or behind the camera."""
UNMEASURED_CONFIDENCE, MOVING_CONFIDENCE = 0.4, 0.1
POINT_STEP = 12
PARALLAX_FRAMES = 12


def solve_monst3r(predictions: Iterable[tuple[int, int, PairPointmaps]], frames: np.ndarray, *,
                  masks: np.ndarray | None = None, focal_px: float | None = None, flow: FlowFields | None = None,
                  reduction: PointmapReduction | None = None, context: RunContext) -> StereoResult:
    """Stage 1 from the network's answers on all pairs, which are read one by one and not kept.

    predictions: (i, j, pointmaps), each frame first in at least one pair, all of frames' size. frames: (T,H,W,3)
    uint8, T >= 2, the raster the network saw. masks: (T,H,W) bool, true where the artist says that something moves;
    added to what is found. focal_px: fx = fy where the lens is known, else measured, one for the clip. flow: of the
    same frames. reduction: that has taken in the pairs before. The gauge: first camera at the origin, median depth
    of the first frame is 1. Depth is positive; where the network put a point in or behind its camera it is filled
    from around. Stages "solve" and "motion". Raises StereoDiffError "network_not_finite", "pointmaps_unsure" or
    "settings_invalid"; warns "frames_unsolved".
    """
    scratch, report = context.scratch, context.report
    _check(frames, masks, focal_px)
    reduction = reduction or PointmapReduction(*frames.shape[:3], scratch)
    for i, j, maps in predictions:
        reduction.add(i, j, maps)
    reduced = reduction.finish()
    registered = register_pointmaps(reduced, report=report)
    cameras = _cameras(registered, reduced, focal_px, report)
    flow = flow or OpticalFlow(frames, capacity=flows_in(FLOW_MEGABYTES, *frames.shape[1:3]))
    depth = registered.depth
    motion_mask, reprojection_px = _find_motion(frames, depth, cameras, flow, masks, scratch, report)
    cameras = replace(cameras, reprojection_px=np.where(cameras.solved, reprojection_px, np.nan))
    confidence = _confidence(depth, motion_mask, cameras, reduced.confidence, scratch)
    cameras = _with_points(cameras, depth, confidence, motion_mask)
    return StereoResult(cameras, depth, confidence, motion_mask)


def _check(frames, masks, focal_px) -> None:
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8 or len(frames) < 2:
        raise ValueError(f"frames must be (T,H,W,3) uint8 with T >= 2, got {frames.shape} {frames.dtype}")
    if masks is not None and masks.shape != frames.shape[:3]:
        raise ValueError(f"masks must be {frames.shape[:3]}, got {masks.shape}")
    if focal_px is not None and not (np.isfinite(focal_px) and focal_px > 0):
        raise StereoDiffError("settings_invalid", f"The focal length must be positive, got {focal_px}.")


# --- Cameras and gauge --------------------------------------------------------------------------------------------

def _cameras(registered: Registration, reduced: ReducedPointmaps, focal_px: float | None,
             report: Report) -> CameraSolution:
    """Cameras from the first one on; brings the depth into their gauge, in place."""
    count, height, width = reduced.shape
    solved = reduced.is_matched
    if not solved.all():
        report.warn("frames_unsolved", f"{(~solved).sum()} of {count} frames could not be matched with any "
                                       "confidence; their camera is interpolated.")
    poses = registered.camera_to_world.copy()
    poses[:, :3, :3], poses[:, :3, 3] = fill_unsolved(poses[:, :3, :3], poses[:, :3, 3], solved)
    for depth in registered.depth:
        depth[:] = _all_positive(depth)
    scale = 1.0 / float(np.median(registered.depth[0]))
    for depth in registered.depth:
        depth *= np.float32(scale)
    focal = float(registered.focal.mean()) if focal_px is None else focal_px
    if not (np.isfinite(focal) and focal > 0):
        raise StereoDiffError("pointmaps_unsure", "The network's points fit no lens.")
    intrinsics = np.tile([focal, focal, 0.5 * width, 0.5 * height], (count, 1))
    return CameraSolution("moving", rescale_gauge(rebase(poses), scale), intrinsics, solved,
                          np.full(count, np.nan), np.zeros((0, 3)), np.zeros(0))


def _all_positive(depth: np.ndarray) -> np.ndarray:
    """Depth (H,W) with what lies in or behind the camera filled from around, in disparity."""
    positive = depth > 0
    if not positive.any():
        raise StereoDiffError("pointmaps_unsure", "A frame's points all came to lie behind its camera.")
    fine = depth > NEAREST_SHARE * float(np.median(depth[positive]))
    if fine.all():
        return depth
    disparity = np.divide(1.0, depth, out=np.zeros_like(depth), where=fine)
    return np.where(fine, depth, 1.0 / np.maximum(pull_push(disparity, fine.astype(np.float32)), 1e-12))


# --- What moves, and what is sure ---------------------------------------------------------------------------------

def _find_motion(frames, depth, cameras, flow, masks, scratch, report) -> tuple[np.ndarray, np.ndarray]:
    """The voted masks (T,H,W) uint8, and each frame's reprojection error (T,)."""
    count = len(depth)
    found = scratch.allocate("monst3r_found", depth.shape, np.uint8)
    voted = scratch.allocate("stereo_mask", depth.shape, np.uint8)
    reprojection_px = np.full(count, np.nan)
    limits = _limits(depth)
    report.stage("motion", count)
    for index in range(count + LATENESS):
        if index < count:
            one = find_frame_motion(index, np.ascontiguousarray(frames[index]), depth[index], cameras, flow, limits)
            found[index], reprojection_px[index] = one.moves, one.reprojection_px
            report.progress(index + 1)
        if index >= LATENESS:
            voted[index - LATENESS] = vote(index - LATENESS, found, flow)
            flow.forget_before(index - LATENESS + 1)
    if masks is not None:
        for mask, given in zip(voted, masks, strict=True):
            mask |= np.asarray(given, bool)
    return voted, reprojection_px


def _limits(depth: np.ndarray) -> DepthLimits:
    """Such that no pixel of the clip lies beyond them: the network has a depth for the sky as well."""
    near, far = min(float(d.min()) for d in depth), max(float(d.max()) for d in depth)
    return DepthLimits(near, float(np.median(depth[0])), far)


def _confidence(depth, motion_mask, cameras, network_confidence, scratch) -> np.ndarray:
    """(T,H,W) float32 as StereoResult has it: above one half exactly where the network is sure, the pixel holds still
    and a neighboring frame agrees about its depth."""
    confidence = scratch.allocate("stereo_confidence", depth.shape, np.float32)
    for index in range(len(depth)):
        agreed = agreement(index, depth, motion_mask, cameras)
        sure = network_confidence[index]
        certainty = 1.0 - 1.0 / np.maximum(sure, 1.0)
        trusted = (agreed > 0) & (sure > MIN_CONFIDENCE) & cameras.solved[index]
        measured = TRUSTED + 0.05 + (1.0 - TRUSTED - 0.05) * certainty * agreed
        confidence[index] = np.where(trusted, measured, UNMEASURED_CONFIDENCE * certainty)
        confidence[index][motion_mask[index] > 0] = MOVING_CONFIDENCE
    return confidence


# --- Points -------------------------------------------------------------------------------------------------------

def _with_points(cameras: CameraSolution, depth, confidence, motion_mask) -> CameraSolution:
    """The cameras with the trusted static points of a coarse grid of every frame, each seen in that frame alone."""
    observations, points, parallax, first = [], [], [], 0
    for index in range(len(depth)):
        pixels, local = _grid_points(depth[index], confidence[index], cameras.intrinsics[index])
        pose = cameras.camera_to_world[index]
        world = local @ pose[:3, :3].T + pose[:3, 3]
        observations.append((np.arange(first, first + len(world)), pixels))
        points.append(world)
        parallax.append(_parallax_deg(world, cameras.camera_to_world, index))
        first += len(world)
    return replace(cameras, points=np.concatenate(points), point_parallax_deg=np.concatenate(parallax),
                   observations=observations)


def _grid_points(depth: np.ndarray, confidence: np.ndarray, intrinsics) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (n,2) and points (n,3) in the camera's axes."""
    grid = (slice(POINT_STEP // 2, None, POINT_STEP),) * 2
    rows, columns = (axis[grid][confidence[grid] > TRUSTED] for axis in np.mgrid[0:depth.shape[0], 0:depth.shape[1]])
    points = unproject(depth.astype(np.float64), intrinsics)[rows, columns]
    return np.stack([columns, rows], axis=1) + 0.5, points


def _parallax_deg(points: np.ndarray, camera_to_world: np.ndarray, index: int) -> np.ndarray:
    """Largest angle (n,) under which a point sees this camera and one of those near it in time."""
    near = camera_to_world[max(0, index - PARALLAX_FRAMES):index + PARALLAX_FRAMES + 1, :3, 3]
    rays = points[:, None] - near[None]
    rays /= np.linalg.norm(rays, axis=2, keepdims=True) + 1e-12
    own = points - camera_to_world[index, :3, 3]
    own /= np.linalg.norm(own, axis=1, keepdims=True) + 1e-12
    chord = np.linalg.norm(rays - own[:, None], axis=2).max(axis=1, initial=0.0)
    return np.degrees(2.0 * np.arcsin(np.clip(0.5 * chord, 0.0, 1.0)))
