"""Stage 2 without weights: average away what flickers, put back what is slow.

Works on log disparity, where a camera's move along the ray is nearly a shift and every distance counts the same.
Static pixels are followed through time by the solved cameras, which is exact up to the depth itself; moving pixels
by optical flow. What the averaging did to low frequencies, in space and time together, is undone at the end: slow
changes are stage 1's business (paper, section 3.1: stage 2 acts as a low-pass filter on the error only).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from ..imaging import (
    BEHIND_CAMERA,
    FrameWindow,
    OpticalFlow,
    frames_around,
    pixel_axes,
    sample,
    sample_at,
    warp_between,
    warp_grid,
)
from ..shutter import RollingShutter
from ..solution import StereoResult
from ..storage import RunContext, Scratch

__all__ = ["refine_guided"]

STATIC_OFFSETS = (-6, -4, -3, -2, -1, 1, 2, 3, 4, 6)
MOVING_OFFSETS = (-2, -1, 1, 2)
PASSES = 2
COLOR_SIGMA = 12.0
"""Gray levels by which two views of one thing may differ."""
RANGE_SIGMA = 0.16
"""Relative depth by which two measurements of one thing may differ."""
SLOPE = 0.03
"""Relative change of disparity over half a pixel that a single surface may have."""
CONFIDENCE_FLOOR = 0.15
"""Weight of a pixel without any confidence against one with full confidence."""
CONSISTENT_PX, CONSISTENT_SHARE = 1.0, 0.03
LOW_PASS_STEP_PX = 8
LOW_PASS_SIGMA = 3.0
"""Standard deviation in space of what counts as low frequency, in steps of LOW_PASS_STEP_PX."""
LOW_PASS_CUTOFF, LOW_PASS_REACH = 0.14, 24
"""Half-amplitude frequency in cycles per frame and half-width in frames: everything below 0.1 cycles passes whole."""
MIN_DISPARITY = 1e-9


@dataclass(frozen=True)
class _Clip:
    """What the filter looks at: T frames of frames, confidence, motion_mask (T,H,W), cameras and flow."""

    frames: np.ndarray
    confidence: np.ndarray
    motion_mask: np.ndarray
    camera_to_world: np.ndarray
    intrinsics: np.ndarray
    shutter: RollingShutter | None
    flow: OpticalFlow

    def gray(self, index: int) -> np.ndarray:
        return cv2.cvtColor(np.ascontiguousarray(self.frames[index]), cv2.COLOR_RGB2GRAY).astype(np.float32)

    def view(self, index: int, log_disparity: np.ndarray) -> np.ndarray:
        """(H,W,4) float32: disparity, gray, confidence, moving; looked up together.

        Disparity, because that of a plane is linear in the picture, so that looking up between pixels is exact.
        """
        planes = (np.exp(log_disparity), self.gray(index), self.confidence[index], self.motion_mask[index])
        return np.stack([np.asarray(plane, np.float32) for plane in planes], axis=-1)


def refine_guided(frames: np.ndarray, stereo: StereoResult, *, flow: OpticalFlow, context: RunContext) -> np.ndarray:
    """Depth without flicker.

    Parameters
    ----------
    frames : ndarray
        (T,H,W,3) uint8, may be memory-mapped; a window of thirteen frames is in memory at a time.
    stereo : StereoResult
        Stage 1's answer for these frames. Its arrays may be memory-mapped.
    flow : OpticalFlow
        Of the same frames.
    context : RunContext
        The depth comes from its scratch, where a later run goes on. Its report is told the stage "refine".

    Returns
    -------
    ndarray
        (T,H,W) float32, > 0 everywhere, scene units.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    depth, confidence, motion_mask = stereo.depth, stereo.confidence, stereo.motion_mask
    scratch, report = context.scratch, context.report
    if not depth.shape == confidence.shape == motion_mask.shape == frames.shape[:3]:
        raise ValueError(f"frames {frames.shape}, depth {depth.shape}, confidence {confidence.shape} and motion mask "
                         f"{motion_mask.shape} must agree in (T,H,W)")
    clip = _Clip(frames, confidence, motion_mask, stereo.cameras.camera_to_world, stereo.cameras.intrinsics,
                 stereo.cameras.shutter, flow)
    count = len(depth)
    report.stage("refine", count * (PASSES + 1))

    def run(turn: int, name: str, frame_of: Callable[[int], np.ndarray]) -> np.ndarray:
        """All frames of one turn; those that an earlier run has left stay as they are."""
        target = scratch.open_array(name, depth.shape, np.float32)
        journal = scratch.journal(name, lambda index: [target[index]])
        left = range(journal.done, count)
        for index, frame in zip(left, context.cores.map(frame_of, left), strict=True):
            target[index] = frame
            journal.note(index)
            report.progress(turn * count + index + 1)
        return target

    current = _log_disparity(depth, scratch)
    for turn in range(PASSES):
        current = run(turn, f"refined_{turn}",
                      _averaged(clip, current, context.cores.count, through_flow=turn == 0))
    return run(PASSES, "refined", _with_slow_part_of(depth, current, context.cores.count))


def _log_disparity(depth: np.ndarray, scratch: Scratch) -> np.ndarray:
    result = scratch.allocate("stereo_log_disparity", depth.shape, np.float32)
    for index in range(len(depth)):
        np.log(1.0 / depth[index], out=result[index])
    return result


# --- Averaging over time ----------------------------------------------------------------------------------------

def _averaged(clip: _Clip, source: np.ndarray, at_once: int, *, through_flow: bool) -> Callable[[int], np.ndarray]:
    """One pass: a function that gives a frame (H,W) as the weighted mean of source there and in the frames around.

    through_flow: whether moving pixels take part. Once is enough for them, and their flow is most of the cost.
    Frames are asked for in order, so many at once.
    """
    reach = max(STATIC_OFFSETS)
    kept: FrameWindow[int, np.ndarray] = FrameWindow(2 * reach + at_once)

    def frame_of(index: int) -> np.ndarray:
        views = {k: kept.get(k, lambda k=k: clip.view(k, source[k]))
                 for k in frames_around(index, reach, len(source))}
        return _average(clip, views, index, through_flow)

    return frame_of


def _average(clip: _Clip, views: dict[int, np.ndarray], index: int, through_flow: bool) -> np.ndarray:
    own = views[index]
    log_disparity = np.log(own[..., 0])
    total_weight = own[..., 2] + CONFIDENCE_FLOOR
    total = total_weight * log_disparity
    for offset in STATIC_OFFSETS:
        if index + offset in views:
            value, weight = _static_vote(clip, views, log_disparity, index, index + offset)
            total += weight * value
            total_weight += weight
    moving = own[..., 3] > 0.5
    average = total / total_weight
    if moving.any():
        average[moving] = log_disparity[moving]
        if through_flow:
            average[moving] = _moving_average(clip, views, log_disparity, index, moving)
    return average


def _moving_average(clip: _Clip, views: dict[int, np.ndarray], log_disparity: np.ndarray, index: int,
                    moving: np.ndarray) -> np.ndarray:
    """Mean log disparity of the moving pixels over the frames around, (n,)."""
    total_weight = np.ones(int(moving.sum()), np.float32)
    total = log_disparity[moving]
    for offset in MOVING_OFFSETS:
        if index + offset in views:
            value, weight = _moving_vote(clip, views, log_disparity, index, index + offset)
            total += (weight * value)[moving]
            total_weight += weight[moving]
    return total / total_weight


def _static_vote(clip: _Clip, views: dict[int, np.ndarray], log_disparity: np.ndarray, i: int,
                 j: int) -> tuple[np.ndarray, np.ndarray]:
    """What frame j says about the log disparity of frame i's pixels if nothing moves, and its weight; (H,W)."""
    own = views[i]
    at_j = warp_grid(warp_between(clip, i, j), *pixel_axes(*own.shape[:2]), own[..., 0])
    there = _sample_view(views[j], *at_j.places)
    value, is_in_front = _warped_back(clip, i, j, at_j.columns, at_j.rows, there[..., 0])
    weight = (there[..., 2] + CONFIDENCE_FLOOR) * _similarity(there[..., 1] - own[..., 1], value - log_disparity)
    weight *= is_in_front & _is_inside(at_j.columns, at_j.rows) & (there[..., 3] < 0.5)
    return value, weight


def _sample_view(view: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A view (H,W,4) between its pixels; at a depth edge the nearest pixel's disparity, not a mean of two surfaces."""
    there = sample_at(view, x, y)
    nearest = sample_at(np.ascontiguousarray(view[..., 0]), x, y, cv2.INTER_NEAREST)
    is_mixed = np.abs(there[..., 0] - nearest) > SLOPE * nearest
    there[..., 0][is_mixed] = nearest[is_mixed]
    return there


def _moving_vote(clip: _Clip, views: dict[int, np.ndarray], log_disparity: np.ndarray, i: int,
                 j: int) -> tuple[np.ndarray, np.ndarray]:
    """What frame j says about the log disparity of frame i's moving pixels, and its weight; (H,W)."""
    own, field = views[i], clip.flow.between(i, j)
    there = sample(views[j], field)
    value = np.log(np.maximum(there[..., 0], MIN_DISPARITY))
    weight = _similarity(there[..., 1] - own[..., 1], value - log_disparity) / np.float32(abs(i - j))
    length = cv2.magnitude(field[..., 0], field[..., 1])
    weight *= (clip.flow.consistency(i, j) < CONSISTENT_PX + CONSISTENT_SHARE * length) & (there[..., 3] > 0.5)
    return value, weight


def _similarity(gray_difference: np.ndarray, log_difference: np.ndarray) -> np.ndarray:
    """Gaussian weight in color and in range."""
    return np.exp(-0.5 * ((gray_difference / COLOR_SIGMA) ** 2 + (log_difference / RANGE_SIGMA) ** 2))


def _is_inside(columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
    height, width = columns.shape
    return (columns >= 0.5) & (columns <= width - 0.5) & (rows >= 0.5) & (rows <= height - 0.5)


def _warped_back(clip: _Clip, i: int, j: int, columns: np.ndarray, rows: np.ndarray, disparity: np.ndarray):
    """Frame j's disparity at (columns, rows) as frame i would have it: log disparity (H,W), and whether it is in
    front of camera i."""
    depth_ratio = warp_between(clip, j, i).depth_ratio(columns, rows, disparity)
    is_in_front = depth_ratio > BEHIND_CAMERA
    value = np.log(np.maximum(disparity, MIN_DISPARITY) / np.where(is_in_front, depth_ratio, 1.0))
    return value.astype(np.float32), is_in_front


# --- Keeping the low frequencies --------------------------------------------------------------------------------

def _with_slow_part_of(depth: np.ndarray, log_disparity: np.ndarray, at_once: int) -> Callable[[int], np.ndarray]:
    """A function that takes from a frame of log_disparity (T,H,W) the slow part of its difference to depth, and gives
    it as depth (H,W). Frames are asked for in order, so many at once."""
    count, height, width = depth.shape
    kept: FrameWindow[int, np.ndarray] = FrameWindow(2 * LOW_PASS_REACH + at_once)

    def frame_of(index: int) -> np.ndarray:
        # Mirrored at the clip's end, a frame may ask for any within reach on either side of it.
        change = {k: kept.get(k, lambda k=k: _coarse(log_disparity[k] + np.log(depth[k])))
                  for k in frames_around(index, LOW_PASS_REACH, count)}
        correction = cv2.resize(slow_part(change, index, count), (width, height), interpolation=cv2.INTER_LINEAR)
        return np.exp(correction - log_disparity[index])

    return frame_of


def _coarse(image: np.ndarray) -> np.ndarray:
    height, width = image.shape
    size = (max(1, width // LOW_PASS_STEP_PX), max(1, height // LOW_PASS_STEP_PX))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return cv2.GaussianBlur(small, (0, 0), LOW_PASS_SIGMA, borderType=cv2.BORDER_REFLECT)


def slow_part(signal: Mapping[int, np.ndarray] | np.ndarray, index: int, count: int):
    """What the frequencies below 0.1 cycles per frame are at one frame of a signal of `count` frames.

    signal: value by frame index, wanted within LOW_PASS_REACH of index. A windowed sinc; the signal goes on mirrored
    at both ends, as often as it takes.
    """
    offsets = range(-LOW_PASS_REACH, LOW_PASS_REACH + 1)
    around = zip(_low_pass_kernel(), offsets, strict=True)
    return sum(weight * signal[_mirrored(index + offset, count)] for weight, offset in around)


def _low_pass_kernel() -> np.ndarray:
    taps = np.arange(-LOW_PASS_REACH, LOW_PASS_REACH + 1)
    kernel = np.sinc(2 * LOW_PASS_CUTOFF * taps) * np.hamming(len(taps))
    return (kernel / kernel.sum()).astype(np.float32)


def _mirrored(index: int, count: int) -> int:
    """Index in 0..count-1 of a signal that goes on as ... 1 0 0 1 ... n n ... beyond its ends."""
    turn = index % (2 * count)
    return min(turn, 2 * count - 1 - turn)
