"""What moves by itself in a clip of known depth and cameras, how well the cameras agree with the picture, and how
well the depth of neighboring frames agrees.

Optical flow is compared with the flow that a static scene of this depth would show (MonST3R, section 3.3). The camera
between two frames is first fitted to the flow anew, so that what the registration left of its jitter is not taken for
motion.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from ...geometry import relative_pose
from ...imaging import PlaneParallax, induced_flow, lower_median, pixel_axes, sample, warp_between
from ...solution import CameraSolution
from ..mapping import BundleOptions, BundleState, Observations, bundle_adjust
from ..mvs import (
    RESIDUAL_RAMP_PX,
    DepthFilter,
    DepthLimits,
    Triangulation,
    find_moving,
    neighbors_of,
    texture_of,
)

CONSISTENT_PX, CONSISTENT_SHARE = 1.0, 0.02
DEPTH_RANGE = (0.87, 1.15)
"""Factors on a pixel's disparity within which the network may be wrong about it."""
NOISE_GATE = 2.5
"""Where flow and depth are coarse, a departure counts from so many times the typical one."""
FIT_STEP, FIT_LOSS_PX, FIT_ITERATIONS = 24, 1.0, 8
"""Grid of pixels, one in so many of the shorter side, that a pair's camera is fitted to."""
MIN_FIT = 12
JUDGED_STEP = 3
"""Grid of pixels that the cameras are judged on."""
AGREEING = 0.06
"""Relative depth difference up to which two frames agree about a point."""


class FlowFields(Protocol):
    """Optical flow of a clip; engine.flow.OpticalFlow is one."""

    def between(self, i: int, j: int) -> np.ndarray: ...

    def consistency(self, i: int, j: int) -> np.ndarray: ...


@dataclass(frozen=True)
class FrameMotion:
    """moves: (H,W) bool. reprojection_px: mean distance of the flow from that of a static scene under the clip's own
    cameras, over the pixels that do not move and whose flow is consistent; nan without any."""

    moves: np.ndarray
    reprojection_px: float


def find_frame_motion(index: int, frame: np.ndarray, depth: np.ndarray, cameras: CameraSolution, flow: FlowFields,
                      limits: DepthLimits) -> FrameMotion:
    """What moves in one frame, before its neighbors have voted.

    frame: (H,W,3) uint8. depth: (H,W) float32 > 0. limits: of the whole clip, beyond which no depth lies.
    """
    count = len(cameras.camera_to_world)
    near = neighbors_of(index, count)
    flows = [flow.between(index, j) for j in near]
    consistent = [_is_consistent(field, flow.consistency(index, j)) for field, j in zip(flows, near, strict=True)]
    disparity = (1.0 / depth).astype(np.float32)
    solved = [warp_between(cameras, index, j) for j in near]
    fitted = _fit_warps(index, near, depth, cameras, flows, consistent)
    residual, observations = _departure(disparity, flows, consistent, fitted)
    measured = Triangulation(disparity, np.full_like(disparity, 0.02) * disparity, residual, observations, observations)
    nothing = np.zeros(depth.shape, bool)
    moves = find_moving(frame, measured, DepthFilter(observations > 0, nothing, nothing), texture_of(frame), limits,
                        ())
    return FrameMotion(moves, _reprojection_px(disparity, flows, [fine & ~moves for fine in consistent], solved))


def agreement(index: int, depth: np.ndarray, motion_mask: np.ndarray, cameras: CameraSolution) -> np.ndarray:
    """How well a frame's depth agrees with its neighbors', (H,W) float32: 1 exactly, 0 not at all or seen by none.

    depth: (T,H,W); motion_mask: (T,H,W), whose true pixels agree with nothing. The best of the neighbors counts.
    """
    disparity = (1.0 / depth[index]).astype(np.float32)
    best = np.zeros(disparity.shape, np.float32)
    for j in neighbors_of(index, len(depth)):
        warp = warp_between(cameras, index, j)
        flow = induced_flow(disparity, warp)
        found = sample(np.where(motion_mask[j] > 0, 0, depth[j]).astype(np.float32), flow, nearest=True)
        expected = depth[index] * _depth_ratio(disparity, warp)
        with np.errstate(divide="ignore", invalid="ignore"):
            difference = np.abs(np.log(found / expected))
        np.maximum(best, np.where(np.isfinite(difference), 1.0 - difference / AGREEING, 0.0), out=best)
    return np.where(motion_mask[index] > 0, 0, best).astype(np.float32)


def _depth_ratio(disparity: np.ndarray, warp: PlaneParallax) -> np.ndarray:
    """Depth in the other camera over depth in this one, (H,W)."""
    return warp.depth_ratio(*pixel_axes(*disparity.shape, dtype=np.float64), disparity).astype(np.float32)


def _is_consistent(flow: np.ndarray, error: np.ndarray) -> np.ndarray:
    return error < CONSISTENT_PX + CONSISTENT_SHARE * cv2.magnitude(flow[..., 0], flow[..., 1])


def _fit_warps(index: int, near: list[int], depth: np.ndarray, cameras: CameraSolution, flows,
               consistent) -> list[PlaneParallax]:
    """Warps to the neighbors, with their cameras moved to where the frame's depth and the flow agree best."""
    step = max(1, min(depth.shape) // FIT_STEP)
    grid = (slice(step // 2, None, step),) * 2
    rows, columns = (axis[grid].ravel() for axis in np.mgrid[0:depth.shape[0], 0:depth.shape[1]])
    fx, fy, cx, cy = cameras.intrinsics[index]
    z = depth[rows, columns].astype(np.float64)
    points = np.stack([(columns + 0.5 - cx) / fx * z, (rows + 0.5 - cy) / fy * z, z], axis=1)
    usable = np.stack([fine[rows, columns] for fine in consistent])
    camera, point = np.nonzero(usable & (usable.sum(1, keepdims=True) >= MIN_FIT))
    poses = [relative_pose(cameras.camera_to_world[index], cameras.camera_to_world[j]) for j in near]
    if len(camera):
        targets = np.stack([field[rows, columns] for field in flows])[camera, point]
        targets = (targets + np.stack([columns + 0.5 - cx, rows + 0.5 - cy], axis=1)[point]) * (1.0, fx / fy)
        poses = _fit_poses(poses, points, Observations(camera, point, targets.astype(np.float64)), fx)
    return [PlaneParallax.from_motion(*pose, cameras.intrinsics[index], cameras.intrinsics[j])
            for pose, j in zip(poses, near, strict=True)]


def _fit_poses(poses, points: np.ndarray, observations: Observations, focal: float) -> list[tuple[np.ndarray,
                                                                                                  np.ndarray]]:
    """Each pose on its own, the points held; a robust loss keeps what moves out of it."""
    rotations, translations = (np.stack(part) for part in zip(*poses, strict=True))
    # The adjustment drops points that none sees only if they are numbered away.
    used, point = np.unique(observations.point, return_inverse=True)
    state = BundleState(rotations, translations, points[used], focal)
    free = BundleOptions(focal=False, points=False, fixed_cameras=())
    numbered = Observations(observations.camera, point.reshape(-1), observations.pixels)
    state, _ = bundle_adjust(state, numbered, free=free, loss_px=FIT_LOSS_PX, iterations=FIT_ITERATIONS)
    return list(zip(state.rotations, state.translations, strict=True))


def _departure(disparity: np.ndarray, flows, consistent, warps) -> tuple[np.ndarray, np.ndarray]:
    """Median distance (H,W) of the flows from those of a static scene, in pixels of motion.find_moving's scale, and
    the number (H,W) uint8 of neighbors that tell."""
    distances = np.empty((len(flows), *disparity.shape), np.float32)
    for k, (flow, fine, warp) in enumerate(zip(flows, consistent, warps, strict=True)):
        nearer, farther = (induced_flow(disparity * np.float32(factor), warp) for factor in DEPTH_RANGE)
        distance = _distance_to_segment(flow, nearer, farther)
        typical = float(np.median(distance[fine])) if fine.any() else 0.0
        distance *= np.float32(RESIDUAL_RAMP_PX[0] / max(RESIDUAL_RAMP_PX[0], NOISE_GATE * typical))
        distances[k] = np.where(fine, distance, np.float32(np.inf))
    observations = np.sum(consistent, axis=0, dtype=np.uint8)
    return np.where(observations > 0, lower_median(distances, observations), 0), observations


def _distance_to_segment(flow: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Distance (H,W) of flow vectors from the segments between two others, all (H,W,2)."""
    along, offset = end - start, flow - start
    length = np.einsum("ijk,ijk->ij", along, along)
    share = np.einsum("ijk,ijk->ij", offset, along) / np.maximum(length, np.float32(1e-6))
    miss = offset - np.clip(share, 0, 1)[..., None] * along
    return cv2.magnitude(miss[..., 0], miss[..., 1])


def _reprojection_px(disparity: np.ndarray, flows, static, warps) -> float:
    total, count = 0.0, 0
    grid = (slice(None, None, JUDGED_STEP),) * 2
    for flow, still, warp in zip(flows, static, warps, strict=True):
        miss = (flow[grid] - induced_flow(disparity, warp)[grid])[still[grid]]
        total += float(np.hypot(miss[:, 0], miss[:, 1]).sum())
        count += len(miss)
    return total / count if count else float("nan")
