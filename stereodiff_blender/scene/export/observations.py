"""Where the solved cameras see points, and which points they see: tracks made again from the result."""

from __future__ import annotations

import numpy as np

from ...engine.contract import StereoDiffError
from ..result import ImportedResult, camera_math, read_picture

HIDDEN_BEHIND = 1.05  # of the depth seen there: a point farther than that is covered by something
LEAST_PARALLAX_DEG = 0.05  # between the rays to a point, or it could be anywhere along them


def project(shot: ImportedResult, index: int, points) -> tuple[np.ndarray, np.ndarray]:
    """Where the plate of a frame shows points (N,3) on the engine's axes: pixels (N,2) of the clip, z-depth (N,).

    Pixels are not numbers where the lens shows no such place.
    """
    x, y, z = _in_camera(shot, index, np.asarray(points, np.float64)).T
    with np.errstate(divide="ignore", invalid="ignore"):
        places = np.stack([x / z, y / z], axis=-1)
        return camera_math.plate_pixels(places, shot.clip_intrinsics[index], shot.clip_size, shot.distortion), z


def _in_camera(shot: ImportedResult, index: int, points: np.ndarray) -> np.ndarray:
    """Points (N,3) in a frame's camera; behind a rolling shutter, in that of the row which shows them."""
    pose, shutter = np.array(shot.result.frames[index].camera_to_world), shot.rolling_shutter
    if shutter is None:
        return (points - pose[:3, 3]) @ pose[:3, :3]
    return shutter.camera(index, np.linalg.inv(pose), shot.raster_intrinsics[index]).shown(points)


def observe(shot: ImportedResult, points) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (T,N,2) of the clip, and seen (T,N): inside the picture, before the camera and not behind its depth.

    A frame without depth sees nothing. Reads the depth of every frame.
    """
    projected = [project(shot, index, points) for index in range(shot.frame_count)]
    seen = [_is_seen(shot, index, *there) for index, there in enumerate(projected)]
    return np.stack([pixels for pixels, _ in projected]), np.stack(seen)


def _is_seen(shot: ImportedResult, index: int, pixels: np.ndarray, z: np.ndarray) -> np.ndarray:
    seen = (z > 0) & (pixels > 0).all(axis=1) & (pixels < shot.clip_size).all(axis=1)
    file = shot.result.frames[index].depth
    if file is None:
        return np.zeros_like(seen)
    depth = read_picture(shot, file)
    column, row = np.floor(pixels[seen] * np.divide(shot.raster_size, shot.clip_size)).astype(int).T
    there = depth[np.minimum(row, shot.result.height - 1), np.minimum(column, shot.result.width - 1)]
    seen[seen] = z[seen] < there * HIDDEN_BEHIND  # never true where depth is invalid, 0
    return seen


def triangulate(shot: ImportedResult, indices, pixels) -> np.ndarray:
    """The point (3,) nearest to the rays through what frames see, on the engine's axes.

    indices: (M,) of frames; pixels: (M,2) of the clip. Raises StereoDiffError "points_unusable" with fewer than two
    rays, or rays so parallel that they meet nowhere in particular.
    """
    if len(indices) < 2:
        raise StereoDiffError("points_unusable", "A track needs markers in two solved frames or more.")
    places = camera_math.ideal_places(pixels, shot.clip_intrinsics[indices], shot.distortion)
    poses = np.stack([_row_pose(shot, index, place) for index, place in zip(indices, places, strict=True)])
    rays = np.column_stack([places, np.ones(len(places))])
    rays = np.einsum("mij,mj->mi", poses[:, :3, :3], rays)
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    if np.degrees(np.arccos(np.clip(rays @ rays[0], -1.0, 1.0))).max() < LEAST_PARALLAX_DEG:
        raise StereoDiffError("points_unusable", "The camera sees a track from one place only.")
    across = np.eye(3) - rays[:, :, None] * rays[:, None, :]
    return np.linalg.solve(across.sum(axis=0), np.einsum("mij,mj->i", across, poses[:, :3, 3]))


def _row_pose(shot: ImportedResult, index: int, place: np.ndarray) -> np.ndarray:
    """(4,4) camera to world of the row that shows an ideal place (2,) of a frame."""
    pose, shutter = np.array(shot.result.frames[index].camera_to_world), shot.rolling_shutter
    if shutter is None:
        return pose
    intrinsics = shot.raster_intrinsics[index]
    rows = shutter.camera(index, np.linalg.inv(pose), intrinsics)
    x, y = (place * intrinsics[:2] + intrinsics[2:])[:, None]
    return np.linalg.inv(np.vstack([rows.at(rows.times.at(x, y))[0], [0.0, 0.0, 0.0, 1.0]]))
