"""Disparity of every pixel from its matches in several other frames, in closed form.

With both cameras known, a pixel x of frame i with disparity q (1 / z-depth) is seen in frame j at
x' ~ infinite_homography @ x + q * epipole, in homogeneous pixels. A match x' gives two equations that are linear in
q, so each source frame has one best disparity and one distance from its epipolar line; the sources are joined by
robust weighting (Geman-McClure), started from the best supported of the single answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...imaging import Warp, lower_median, pixel_axes

MATCH_SIGMA_PX = 0.3
ROBUST_PX = 0.5
AGREEING_PX = 1.0
REFINEMENT_ROUNDS = 6
UNSEEN_RESIDUAL_PX = 99.0
MIN_DEPTH_RATIO = 1e-3
"""Depth in a source frame, as a share of that in the pixel's own, from that on it tells anything: sensitivity, which
grows with the square of its inverse, must not outweigh all other sources. (Ten times BEHIND_CAMERA.)"""
BAND_PIXELS = 1 << 15
"""Pixels worked on at a time: a band's arrays stay in the processor's cache."""


@dataclass(frozen=True)
class Triangulation:
    """What the matches say about one frame; all (H,W).

    disparity: float32, 1 / scene unit, unclamped: negative where matches meet behind the camera.
    sigma: float32 standard deviation of the disparity. residual: float32 median distance between match and
    reprojection over the judging sources that see the pixel, pixels; UNSEEN_RESIDUAL_PX where none does.
    agreeing: uint8 sources within AGREEING_PX. view_count: uint8 sources with a consistent match.
    """

    disparity: np.ndarray
    sigma: np.ndarray
    residual: np.ndarray
    agreeing: np.ndarray
    view_count: np.ndarray


def triangulate(flows: list[np.ndarray], consistent: list[np.ndarray], warps: Sequence[Warp],
                disparity_limits: tuple[float, float], judges: Sequence[bool] | None = None) -> Triangulation:
    """Join the matches of one frame in its S source frames.

    flows: S times (H,W,2), from the frame to the source. consistent: S times (H,W) bool, matches to be used.
    disparity_limits: plausible least and greatest disparity; bounds the distances used for weighting only.
    judges: S flags, the sources whose distances make the residual; all of them if None or all are False.
    """
    is_judge = np.array(judges if judges is not None and any(judges) else [True] * len(flows))
    height, width = consistent[0].shape
    result = Triangulation(*(np.empty((height, width), kind)
                             for kind in (np.float32, np.float32, np.float32, np.uint8, np.uint8)))
    rows = max(1, BAND_PIXELS // width)
    for top in range(0, height, rows):
        band = slice(top, min(top + rows, height))
        equations = _equations([f[band] for f in flows], [c[band] for c in consistent], warps, top,
                               disparity_limits)
        _solve(*equations, is_judge, result, band)
    return result


def _equations(flows, consistent, warps, top, limits):
    """Each source's own disparity, squared sensitivity (pixels per disparity, squared; 0 where unusable) and
    squared distance from its epipolar line: three (S,rows,W) float32."""
    shape = (len(flows), *consistent[0].shape)
    own, sensitivity, offset = (np.empty(shape, np.float32) for _ in range(3))
    x, y = pixel_axes(*shape[1:], top=top)
    for s, (flow, usable, warp) in enumerate(zip(flows, consistent, warps, strict=True)):
        u, v = x + flow[..., 0], y + flow[..., 1]
        (ax, ay, az), (bx, by, bz) = warp.towards(x, y, u, v)
        cx, cy = bx - u * bz, by - v * bz
        dx, dy = u * az - ax, v * az - ay
        square = cx * cx + cy * cy
        safe = np.maximum(square, np.float32(1e-20))
        own[s] = (cx * dx + cy * dy) / safe
        distance = az + bz * np.clip(own[s], *limits)
        usable = usable & (distance > MIN_DEPTH_RATIO) & (square > 1e-20)
        scale = usable / np.maximum(distance, np.float32(MIN_DEPTH_RATIO)) ** 2
        sensitivity[s] = square * scale
        offset[s] = (cx * dy - cy * dx) ** 2 / safe * scale
    return own, sensitivity, offset


def _solve(own, sensitivity, offset, is_judge, result: Triangulation, band: slice) -> None:
    disparity = _best_supported(own, sensitivity, offset)
    for _ in range(REFINEMENT_ROUNDS):
        weight = _robust_weight(_squared_error(disparity, own, sensitivity, offset)) * sensitivity
        information = weight.sum(axis=0)
        disparity = np.einsum("srw,srw->rw", weight, own) / np.maximum(information, np.float32(1e-12))
    usable = sensitivity > 0
    error = np.sqrt(_squared_error(disparity, own, sensitivity, offset))
    error[~usable] = UNSEEN_RESIDUAL_PX
    result.disparity[band] = disparity
    result.sigma[band] = MATCH_SIGMA_PX / np.sqrt(np.maximum(information, np.float32(1e-12)))
    result.view_count[band] = usable.sum(axis=0)
    result.agreeing[band] = (error < AGREEING_PX).sum(axis=0)
    judged = usable[is_judge].sum(axis=0)
    result.residual[band] = lower_median(error[is_judge], judged)


def _squared_error(disparity, own, sensitivity, offset):
    """Squared reprojection error in every source, (S,rows,W), pixels^2."""
    error = disparity - own
    error *= error
    error *= sensitivity
    error += offset
    return error


def _robust_weight(squared_error):
    """Geman-McClure weight of a squared error."""
    weight = squared_error * np.float32(1.0 / ROBUST_PX**2)
    weight += 1.0
    np.reciprocal(weight, out=weight)
    weight *= weight
    return weight


def _best_supported(own, sensitivity, offset):
    """The one source's answer that the others agree with most: no average of two surfaces at a boundary."""
    best, most = own[0].copy(), np.full(own.shape[1:], -1.0, np.float32)
    importance = np.sqrt(sensitivity)
    for s in range(len(own)):
        support = _robust_weight(_squared_error(own[s], own, sensitivity, offset))
        support = np.einsum("srw,srw->rw", support, importance)
        # A source that does not see the pixel has no answer.
        better = (support > most) & (sensitivity[s] > 0)
        best[better] = own[s][better]
        most[better] = support[better]
    return best
