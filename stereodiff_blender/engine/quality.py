"""The trust report: what a solve is worth, measured on the solve itself.

Pure functions on arrays; (T,H,W) arrays may be memory-mapped and are read frame by frame.
"""

from __future__ import annotations

import numpy as np

from .contract import Quality
from .geometry import invert_rigid, project
from .stereo import TRUSTED, CameraSolution

FLICKER_STEP_PX = 6
OTHER_SURFACE = 0.15
"""A depth that differs from its neighbour in time by more, relatively, is another surface: an occlusion."""
WHITE_NOISE_GAIN = np.sqrt(6.0)
"""A second difference of white noise has this many times its standard deviation: sqrt(1 + 4 + 1)."""
MIN_SAMPLES = 50


def assess(cameras: CameraSolution, stereo_depth: np.ndarray | None, refined_depth: np.ndarray | None,
           confidence: np.ndarray | None, motion_mask: np.ndarray | None, first_frame: int,
           gauge_residual: float | None) -> Quality:
    """The report of one solve; what does not apply stays None.

    stereo_depth, confidence, motion_mask: (T,H,W), all None without depth; refined_depth: None without stage 2.
    first_frame: clip frame of index 0. gauge_residual: see contract.Quality.
    """
    unsolved = tuple(int(index) + first_frame for index in np.flatnonzero(~cameras.solved))
    per_frame = cameras.reprojection_px[np.isfinite(cameras.reprojection_px)]
    has_depth, has_refined = stereo_depth is not None, refined_depth is not None
    where = (confidence, motion_mask, cameras.camera_to_world, cameras.intrinsics)
    return Quality(
        solved_share=float(cameras.solved.mean()), unsolved_frames=unsolved,
        reprojection_mean_px=float(per_frame.mean()) if len(per_frame) else None,
        reprojection_worst_px=float(per_frame.max()) if len(per_frame) else None,
        parallax_deg=float(np.median(cameras.point_parallax_deg)) if len(cameras.point_parallax_deg) else None,
        coverage=_trusted_share(cameras, confidence) if has_depth else None,
        moving_share=moving_share(motion_mask) if has_depth else None,
        flicker_before=flicker(stereo_depth, *where) if has_depth else None,
        flicker_after=flicker(refined_depth, *where) if has_refined else None,
        gauge_residual=gauge_residual)


def _trusted_share(cameras: CameraSolution, confidence: np.ndarray) -> float:
    """Depth that agrees between views through a wrong lens is wrong all the same."""
    return 0.0 if cameras.is_lens_contradicted else coverage(confidence)


def coverage(confidence: np.ndarray) -> float:
    """Share of all pixels of (T,H,W) confidence that are trusted, 0..1."""
    return float(np.mean([np.mean(frame > TRUSTED) for frame in confidence]))


def moving_share(motion_mask: np.ndarray) -> float:
    """Share of all pixels of a (T,H,W) mask that move, 0..1."""
    return float(np.mean([np.mean(frame > 0) for frame in motion_mask]))


def flicker(depth: np.ndarray, confidence: np.ndarray, motion_mask: np.ndarray, camera_to_world: np.ndarray,
            intrinsics: np.ndarray) -> float | None:
    """High-band energy of static depth over time, in percent of depth; None if it cannot be told.

    A static trusted pixel of frame t with depth z is carried by its own depth into frames t - 1 and t + 1, where its
    z-depth should be z' and is found to be d'. With e = ln(d' / z'), the second temporal difference is
    e(t - 1) + e(t + 1): zero on exact depth under any camera move, untouched by a global scale, and blind to slow
    drift. Returned is 100 * RMS / sqrt(6) over a grid of pixels of all frames, which for white noise is its standard
    deviation. Where a neighbour frame shows an edge, an occlusion or something moving instead, there is no sample.

    depth: (T,H,W) > 0. confidence, motion_mask: (T,H,W). camera_to_world: (T,4,4). intrinsics: (T,4).
    """
    squares, samples = 0.0, 0
    for index in range(1, len(depth) - 1):
        rows, cols = _static_grid(confidence[index], motion_mask[index])
        points = _world_points(depth[index], rows, cols, camera_to_world[index], intrinsics[index])
        before, after = (_log_error(depth[k], motion_mask[k], points, camera_to_world[k], intrinsics[k])
                         for k in (index - 1, index + 1))
        same_surface = np.maximum(np.abs(before), np.abs(after)) < OTHER_SURFACE
        second_difference = (before + after)[same_surface]
        squares += float((second_difference**2).sum())
        samples += len(second_difference)
    if samples < MIN_SAMPLES:
        return None
    return float(100.0 * np.sqrt(squares / samples) / WHITE_NOISE_GAIN)


def band_energies(per_frame_error: np.ndarray, bands: int = 11) -> np.ndarray:
    """Mean magnitude of a per-frame error in each of equal temporal bands, low to high: F0..F10 (paper, section 3.1).

    per_frame_error: (T,). Its spectrum (non-negative frequencies) is cut into `bands` groups of as equal a size as
    possible; each is brought back to time and averaged in magnitude. F0 holds the mean. Raises ValueError if T is
    too short to fill every band.
    """
    spectrum = np.fft.rfft(np.asarray(per_frame_error, np.float64))
    if len(spectrum) < bands:
        raise ValueError(f"{bands} bands need at least {2 * bands - 2} frames, got {len(per_frame_error)}")
    energies = []
    for group in np.array_split(np.arange(len(spectrum)), bands):
        only = np.zeros_like(spectrum)
        only[group] = spectrum[group]
        energies.append(np.abs(np.fft.irfft(only, len(per_frame_error))).mean())
    return np.array(energies)


def _static_grid(confidence: np.ndarray, motion_mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns (n,) of the trusted static pixels of a coarse grid."""
    start = FLICKER_STEP_PX // 2
    grid = (slice(start, None, FLICKER_STEP_PX),) * 2
    rows, cols = np.nonzero((confidence[grid] > TRUSTED) & (motion_mask[grid] == 0))
    return rows * FLICKER_STEP_PX + start, cols * FLICKER_STEP_PX + start


def _world_points(depth, rows, cols, camera_to_world, intrinsics) -> np.ndarray:
    fx, fy, cx, cy = intrinsics
    z = depth[rows, cols].astype(np.float64)
    points = np.stack([(cols + 0.5 - cx) / fx * z, (rows + 0.5 - cy) / fy * z, z], axis=-1)
    return points @ camera_to_world[:3, :3].T + camera_to_world[:3, 3]


def _log_error(depth, motion_mask, points, camera_to_world, intrinsics) -> np.ndarray:
    """ln(found / expected) z-depth of world points in one frame, (n,); infinite where it does not show them."""
    pose = invert_rigid(camera_to_world)
    local = points @ pose[:3, :3].T + pose[:3, 3]
    error = np.full(len(points), np.inf)
    front = local[:, 2] > 1e-6
    found = _lookup(depth, motion_mask, project(local[front], intrinsics))
    seen = found > 0
    error[np.flatnonzero(front)[seen]] = np.log(found[seen] / local[front][seen, 2])
    return error


def _lookup(depth: np.ndarray, motion_mask: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Depth at (n,2) pixels, interpolated in disparity, in which a plane is linear; 0 where the picture does not tell:
    outside, on something that moves, and between two surfaces, where the mean of both is neither."""
    height, width = depth.shape
    x, y = pixels[:, 0] - 0.5, pixels[:, 1] - 0.5
    inside = (x >= 0) & (y >= 0) & (x < width - 1) & (y < height - 1)
    col, row = np.floor(x[inside]).astype(int), np.floor(y[inside]).astype(int)
    a, b = x[inside] - col, y[inside] - row
    corners = [(row + down, col + right) for down in (0, 1) for right in (0, 1)]
    weights = ((1 - b) * (1 - a), (1 - b) * a, b * (1 - a), b * a)
    disparities = np.stack([1.0 / depth[corner].astype(np.float64) for corner in corners])
    is_still = ~np.any([motion_mask[corner] > 0 for corner in corners], axis=0)
    is_one_surface = disparities.max(axis=0) < disparities.min(axis=0) * (1 + OTHER_SURFACE)
    found = np.zeros(len(pixels))
    mean = sum(weight * disparity for weight, disparity in zip(weights, disparities, strict=True))
    found[inside] = np.where(is_still & is_one_surface, 1.0 / mean, 0.0)
    return found
