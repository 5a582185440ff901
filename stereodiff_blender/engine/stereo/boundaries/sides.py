"""Which of the two surfaces at a depth edge a pixel belongs to, decided by what the pictures show.

Near a depth edge the nearer and the farther surface are fitted to the even depth around each pixel. Both depths are
tried on the pictures of other frames: the one under which the pixel keeps its color and gradient there is likely
true. A pixel of the farther surface is hidden in some frames, so only the better half of them counts. What the
pictures say is spread, with the side a pixel was on before as a faint prior, along the surfaces of the frame
but not across its edges (a binary form of cost-volume filtering, Rhemann et al. 2011, with the smoother of Min et al.
2014); then each pixel of the band takes the depth of its side, so that ramps between two surfaces become steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ...imaging import (
    cost_features,
    fast_global_smoother,
    mean_of_better_half,
    photometric_cost,
    warp_between,
    warp_located,
)
from ...solution import CameraSolution

WINDOW_PX = 25
EDGE_RANGE = 0.1
"""Relative disparity range inside the window, and then between the two surfaces, that makes a depth edge."""
STEEP_PX, STEEP_SHARE = 9, 0.5
"""An edge has this share of the window's range within so few pixels; a slope has not."""
REACHES_PX = (3, 6, 9, 12)
"""Distances, in eight directions, at which the surfaces around a pixel are probed."""
FLAT_PX, FLAT_RANGE = 5, 0.04
"""Relative disparity range in a small window that marks the flank of an edge rather than a surface."""
MIN_PROBE_WEIGHT = 0.05
MAX_BETWEEN = 0.25
"""Share of the probes that may lie midway between the surfaces: more, and there is a slope instead of an edge."""
SLOPE_RIDGE = 20.0
"""Variance of probe positions, px^2, below that a fitted surface is level rather than slanted."""
MAX_EXTRAPOLATION = 0.1
MAX_SOURCES = 6
APART_PX = 2.0
"""Distance between the two places a pixel may have in another frame from that on the frame has a full say."""
MIN_WEIGHT = 0.05
PRIOR = 0.24
INNER_PX, DEEP_PX = 4.0, 12.0
"""Windowed matching makes near things fat: the prior of being near gains its weight from here to there inside."""
LEAST_PRIOR = 0.1
STRENGTH, EDGE_LEVELS, SMOOTHING_ROUNDS = 60.0, 8.0, 3
STAYING_SHARE = 0.05
"""Share of the step by which a pixel's own depth may differ from its surface's and stay."""
SURE_CONFIDENCE, OWN_MARGIN_SURE, OWN_MARGIN = 0.8, 0.05, 0.1
"""A pixel that does not change sides, yet lies off its surface, keeps its depth if the pictures favor that by
OWN_MARGIN; above the confidence SURE, unless they speak against it by OWN_MARGIN_SURE."""


@dataclass(frozen=True)
class _Band:
    """Pixels (rows, cols) near depth edges, and log disparity of the surfaces around each; (n,) each."""

    rows: np.ndarray
    cols: np.ndarray
    near: np.ndarray
    far: np.ndarray

    def __getitem__(self, chosen: np.ndarray) -> _Band:
        return _Band(self.rows[chosen], self.cols[chosen], self.near[chosen], self.far[chosen])

    def image(self, values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """values (n,) as a picture (H,W) float32, zero outside the band."""
        picture = np.zeros(shape, np.float32)
        picture[self.rows, self.cols] = values
        return picture


def select_sides(frames: np.ndarray, cameras: CameraSolution, index: int, sources: tuple[int, ...], depth: np.ndarray,
                 confidence: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """Depth (H,W) float32 of one frame with every pixel near a depth edge on one of the edge's two sides.

    frames: (T,H,W,3) uint8. sources: frames that frame `index` is compared with; the nearest in time are used.
    depth: (H,W) > 0. confidence: (H,W) in [0,1]. fixed: (H,W) bool, True where pixels neither change nor lend their
    depth: what moves, the sky.
    """
    log_disparity = -np.log(np.asarray(depth, np.float32))
    band = _find_band(log_disparity, ~fixed, np.asarray(confidence, np.float32))
    nearest = sorted(sources, key=lambda j: (abs(j - index), j))[:MAX_SOURCES]
    if len(band.rows) == 0 or not nearest:
        return np.array(depth, np.float32)
    own = log_disparity[band.rows, band.cols]
    was_near = own - band.far > 0.5 * (band.near - band.far)
    pictures = _Pictures(frames, cameras, index, nearest)
    is_near = _spread_sides(frames[index], band, was_near, pictures.preference(band.rows, band.cols, band.near,
                                                                               band.far))
    surface = np.where(is_near, band.near, band.far)
    departs = np.flatnonzero(np.abs(own - surface) > STAYING_SHARE * (band.near - band.far))
    rows, cols, surface = band.rows[departs], band.cols[departs], surface[departs]
    for_own = pictures.preference(rows, cols, surface, own[departs])
    required = np.where(np.asarray(confidence)[rows, cols] > SURE_CONFIDENCE, -OWN_MARGIN_SURE, OWN_MARGIN)
    stays = (is_near == was_near)[departs] & (for_own > required)
    result = np.array(depth, np.float32)
    result[rows[~stays], cols[~stays]] = np.exp(-surface[~stays])
    return result


# --- The two surfaces -------------------------------------------------------------------------------------------

def _find_band(log_disparity: np.ndarray, still: np.ndarray, confidence: np.ndarray) -> _Band:
    """Static pixels near an edge between two surfaces."""
    window_range = _range(log_disparity, still, WINDOW_PX)
    steepest = cv2.dilate(_range(log_disparity, still, STEEP_PX), np.ones((STEEP_PX, STEEP_PX), np.uint8))
    rows, cols = np.nonzero(still & (window_range > EDGE_RANGE) & (steepest > STEEP_SHARE * window_range))
    values = _probe(log_disparity, rows, cols)
    weights = _probe(_probe_weight(log_disparity, still, confidence), rows, cols) * _probe_weights_by_distance()[:,
                                                                                                                 None]
    used = weights > MIN_PROBE_WEIGHT
    highest = np.where(used, values, np.float32(-np.inf)).max(axis=0)
    lowest = np.where(used, values, np.float32(np.inf)).min(axis=0)
    two = np.isfinite(highest) & (highest - lowest > EDGE_RANGE)
    rows, cols, values, weights, highest, lowest = (a[..., two] for a in (rows, cols, values, weights, highest, lowest))
    third = (highest - lowest) / 3.0
    between = (weights * ((values > lowest + third) & (values < highest - third))).sum(axis=0)
    is_upper = values > 0.5 * (highest + lowest)
    near, far = _fit_surface(values, weights * is_upper), _fit_surface(values, weights * ~is_upper)
    return _Band(rows, cols, near, far)[(near - far > EDGE_RANGE) & (between < MAX_BETWEEN * weights.sum(axis=0))]


def _range(log_disparity: np.ndarray, still: np.ndarray, size: int) -> np.ndarray:
    """Range of still pixels in a window, (H,W); nothing where there are none."""
    window, beyond = np.ones((size, size), np.uint8), np.float32(1e3)
    highest = cv2.dilate(np.where(still, log_disparity, -beyond), window)
    lowest = cv2.erode(np.where(still, log_disparity, beyond), window)
    return np.maximum(highest - lowest, 0)


def _probe_offsets() -> np.ndarray:
    """(P,2) rows and columns; every other ring is turned by half a step."""
    offsets = [(0.0, 0.0)]
    for ring, reach in enumerate(REACHES_PX):
        angles = np.pi / 4 * (np.arange(8) + 0.5 * (ring % 2 == 0))
        offsets += [(reach * np.sin(angle), reach * np.cos(angle)) for angle in angles]
    return np.rint(offsets).astype(int)


def _probe_weights_by_distance() -> np.ndarray:
    """(P,) float32 weight of each offset."""
    return (1.0 / (1.0 + 0.05 * np.hypot(*_probe_offsets().T))).astype(np.float32)


def _probe_weight(log_disparity: np.ndarray, still: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """(H,W) float32: how far a pixel's depth is a measured surface's, not the flank of an edge."""
    window = np.ones((FLAT_PX, FLAT_PX), np.uint8)
    unevenness = cv2.dilate(log_disparity, window) - cv2.erode(log_disparity, window)
    return np.where(still, np.exp(unevenness * np.float32(-1.0 / FLAT_RANGE)) * (np.float32(0.1) + confidence), 0)


def _probe(image: np.ndarray, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """What is found in image (H,W) at all offsets from each of n pixels, (P,n); its border goes on for ever."""
    reach = max(REACHES_PX)
    padded = np.pad(image, reach, mode="edge")
    start = (rows + reach) * padded.shape[1] + cols + reach
    return np.stack([padded.ravel()[start + (down * padded.shape[1] + right)] for down, right in _probe_offsets()])


def _fit_surface(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted plane through the probes (P,n), at the middle pixel: (n,). Level as far as the probes lie together."""
    y, x = _probe_offsets().T.astype(np.float32)
    share = weights / np.maximum(weights.sum(axis=0), np.float32(1e-6))
    mean_x, mean_y, xx, yy, xy = np.stack([x, y, x * x, y * y, x * y]) @ share
    mean, xr, yr = np.stack([np.ones_like(x), x, y]) @ (share * values)
    xx, yy, xy = xx - mean_x**2 + SLOPE_RIDGE, yy - mean_y**2 + SLOPE_RIDGE, xy - mean_x * mean_y
    xr, yr = xr - mean_x * mean, yr - mean_y * mean
    at_middle = -((yy * xr - xy * yr) * mean_x + (xx * yr - xy * xr) * mean_y) / (xx * yy - xy * xy)
    return mean + np.clip(at_middle, -MAX_EXTRAPOLATION, MAX_EXTRAPOLATION)


# --- What the pictures say --------------------------------------------------------------------------------------

class _Pictures:
    """What the frames around say about depths of one frame."""

    def __init__(self, frames: np.ndarray, cameras: CameraSolution, index: int, sources: list[int]):
        self._own, self._size = cost_features(frames[index]), frames.shape[1:3]
        self._sources = [(warp_between(cameras, index, j), cost_features(frames[j])) for j in sources]

    def preference(self, rows: np.ndarray, cols: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Two log disparities for each of n pixels: (n,) in [-1,1], above zero if the second explains more."""
        x, y = cols.astype(np.float32) + np.float32(0.5), rows.astype(np.float32) + np.float32(0.5)
        own = [planes[rows, cols] for planes in self._own]
        first_costs, second_costs, weights = [], [], []
        for warp, features in self._sources:
            located = warp.located(x, y)
            at_first, at_second = (warp_located(located, np.exp(each)) for each in (first, second))
            (first_x, first_y), (second_x, second_y) = at_first.places, at_second.places
            weight = np.clip(np.hypot(first_x - second_x, first_y - second_y) / APART_PX, 0, 1)
            weight *= at_first.inside(self._size) & at_second.inside(self._size)
            # A frame without a say finds both as unlike as can be: it is no evidence.
            first_costs.append(np.where(weight > MIN_WEIGHT, photometric_cost(own, features, first_x, first_y), 1.0))
            second_costs.append(np.where(weight > MIN_WEIGHT, photometric_cost(own, features, second_x, second_y), 1.0))
            weights.append(weight)
        gain = mean_of_better_half(first_costs) - mean_of_better_half(second_costs)
        return gain * np.minimum(np.sum(weights, axis=0) / 2.0, 1.0)


# --- The decision -----------------------------------------------------------------------------------------------

def _spread_sides(frame: np.ndarray, band: _Band, was_near: np.ndarray, evidence: np.ndarray) -> np.ndarray:
    """(n,) bool: on the near side, by evidence and prior gathered along the frame's surfaces.

    was_near: (n,) bool. evidence: (n,) in [-1,1], above zero for the far side.
    """
    shape = frame.shape[:2]
    is_far = band.image(~was_near, shape)
    inside = cv2.distanceTransform((is_far == 0).astype(np.uint8), cv2.DIST_L2, 3)[band.rows, band.cols]
    depth_inside = np.clip((inside - INNER_PX) / (DEEP_PX - INNER_PX), LEAST_PRIOR, 1.0)
    prior = PRIOR * np.where(was_near, depth_inside, 1.0)
    weight = prior + np.abs(evidence)
    side = (prior * was_near + np.abs(evidence) * (evidence < 0)) / weight
    smoothed, _ = fast_global_smoother(frame, band.image(side, shape), band.image(weight, shape), strength=STRENGTH,
                                       edge_levels=EDGE_LEVELS, rounds=SMOOTHING_ROUNDS)
    return smoothed[band.rows, band.cols] > 0.5
