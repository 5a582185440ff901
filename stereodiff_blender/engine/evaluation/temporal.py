"""Whether the depth of one frame agrees with the next: by the cameras, or by optical flow.

Pure functions on arrays in the conventions of the contract; (T,H,W) arrays may be memory-mapped and are read frame by
frame. Where nothing tells, a figure is None and an entry of an array NaN.
"""

from __future__ import annotations

import numpy as np

from ..geometry import project, relative_pose, unproject

PHOTOMETRIC_FALLOFF = 50.0


# --- By the cameras --------------------------------------------------------------------------------------------

def temporal_alignment_error(depth: np.ndarray, camera_to_world: np.ndarray, intrinsics: np.ndarray,
                             static_mask: np.ndarray | None = None) -> float | None:
    """Mean |depth - depth carried over from a neighbor| / depth (Video Depth Anything's TAE), a share, not percent.

    Of all neighboring frames, both ways; arguments as in alignment_errors.
    """
    return _mean(alignment_errors(depth, camera_to_world, intrinsics, static_mask))


def alignment_errors(depth: np.ndarray, camera_to_world: np.ndarray, intrinsics: np.ndarray,
                     static_mask: np.ndarray | None = None) -> np.ndarray:
    """The error of each carrying-over, (2 (T - 1),): 0 to 1, 1 to 0, 1 to 2, 2 to 1, ...

    Every valid pixel is carried by its depth and both cameras to the nearest pixel of the neighbor. Where several
    arrive the nearest to the camera counts, because it hides the others.

    depth: (T,H,W), 0 = invalid. camera_to_world: (T,4,4). intrinsics: (T,4). static_mask: (T,H,W), > 0 where a
    pixel of the frame arrived at counts.
    """
    pairs = [pair for index in range(len(depth) - 1) for pair in ((index, index + 1), (index + 1, index))]
    return np.array([_carried_error(depth, camera_to_world, intrinsics, static_mask, i, j) for i, j in pairs])


def _carried_error(depth, camera_to_world, intrinsics, static_mask, i: int, j: int) -> float:
    rotation, translation = relative_pose(camera_to_world[i], camera_to_world[j])
    here = np.where(_is_valid(depth[i]), depth[i], 0.0).astype(np.float64)
    points = unproject(here, intrinsics[i])[here > 0] @ rotation.T + translation
    carried = nearest_surface(points, intrinsics[j], here.shape)
    there = depth[j].astype(np.float64)
    both = np.isfinite(carried) & _is_valid(there)
    if static_mask is not None:
        both &= static_mask[j] > 0
    return float(np.mean(np.abs(there[both] - carried[both]) / there[both])) if both.any() else np.nan


def nearest_surface(points: np.ndarray, intrinsics: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """z-depth of the nearest of the points (n,3), in camera axes, that fall into each pixel: (H,W), inf where none."""
    height, width = shape
    points = points[points[:, 2] > 1e-6]
    cols, rows = np.floor(project(points, intrinsics)).T
    inside = (cols >= 0) & (cols < width) & (rows >= 0) & (rows < height)
    surface = np.full(height * width, np.inf)
    np.minimum.at(surface, (rows[inside] * width + cols[inside]).astype(np.int64), points[inside, 2])
    return surface.reshape(height, width)


# --- By optical flow -------------------------------------------------------------------------------------------

def flow_warping_error(depth: np.ndarray, frames: np.ndarray, flow: np.ndarray) -> float | None:
    """Mean |depth - depth of the frame before, fetched along the flow|, weighed by how alike the colors are (OPW).

    In the unit of depth; hand in disparity normalized once for the clip where methods are compared. Arguments as in
    warping_errors.
    """
    return _mean(warping_errors(depth, frames, flow))


def warping_errors(depth: np.ndarray, frames: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """The error of each frame after the first, (T - 1,).

    depth: (T,H,W). frames: (T,H,W,3) in [0,1]. flow: (T - 1,H,W,2) pixels (x, y), from frame t + 1 to frame t. What
    it fetches from outside the picture is the nearest pixel of the border.
    """
    errors = np.empty(len(flow))
    for index, field in enumerate(flow):
        sides = _bilinear_places(field)
        color = np.sum((frames[index + 1] - _fetched(frames[index], *sides)) ** 2, axis=-1)
        change = np.abs(depth[index + 1] - _fetched(depth[index], *sides))
        errors[index] = np.mean(np.exp(-PHOTOMETRIC_FALLOFF * color) * change)
    return errors


def _bilinear_places(flow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns (H,W) float64 that the pixels of a frame are fetched from, kept inside the picture."""
    height, width = flow.shape[:2]
    cols = np.clip(np.arange(width) + flow[..., 0].astype(np.float64), 0, width - 1)
    rows = np.clip(np.arange(height)[:, None] + flow[..., 1].astype(np.float64), 0, height - 1)
    return rows, cols


def _fetched(image: np.ndarray, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """An (H,W) or (H,W,C) image at fractional places, bilinear in float64; OpenCV's remap rounds places to 1/32."""
    top, left = np.floor(rows).astype(int), np.floor(cols).astype(int)
    bottom, right = np.minimum(top + 1, image.shape[0] - 1), np.minimum(left + 1, image.shape[1] - 1)
    down, across = ((place - corner).reshape(place.shape + (1,) * (image.ndim - 2))
                    for place, corner in ((rows, top), (cols, left)))
    upper = (1 - across) * image[top, left] + across * image[top, right]
    lower = (1 - across) * image[bottom, left] + across * image[bottom, right]
    return (1 - down) * upper + down * lower


def _is_valid(depth: np.ndarray) -> np.ndarray:
    return np.isfinite(depth) & (depth > 0)


def _mean(errors: np.ndarray) -> float | None:
    known = errors[np.isfinite(errors)]
    return float(known.mean()) if len(known) else None
