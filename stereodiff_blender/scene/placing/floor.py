"""Find the floor in the depth: the plane under the camera on which the lower part of the picture mostly lies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...engine.contract import StereoDiffError
from ..result import ImportedResult, camera_math, read_picture

__all__ = ["find_floor"]

MOST_FRAMES = 8
POINTS_PER_FRAME = 2500
MIN_CONFIDENCE = 0.5  # confidence from which depth counts as measured
TRIES = 600
TOLERANCE = 0.015  # distance to the plane over depth, for a point of the floor
CLOSER = (0.01, 0.007, 0.005, 0.003)  # as long as half of the floor's points stay
LEAST_SHARE = 0.15  # of the sure points in the lower half of the picture
STEEPEST_DEG = 60.0  # of the floor, against the picture's own upright


@dataclass(frozen=True)
class Ground:
    """What a floor is looked for in, on Blender's axes before the root's transform.

    points (N,3) and their depths (N,); cameras (T,3), where they stood; up (3,): the mean upright of the pictures.
    """

    points: np.ndarray
    depths: np.ndarray
    cameras: np.ndarray
    up: np.ndarray


@dataclass(frozen=True)
class Plane:
    """normal (3,) points to the cameras' side; normal @ p = offset for each of its points p. share: of points on it."""

    normal: np.ndarray
    offset: float
    share: float


def find_floor(shot: ImportedResult) -> Plane:
    """The floor of a shot.

    Parameters
    ----------
    shot : ImportedResult
        The result; pictures of up to MOST_FRAMES of its frames are read.

    Returns
    -------
    Plane
        On Blender's axes before the root's transform, in units of the solve: normal (3,) of length 1, towards the
        cameras, with normal @ p = offset; and the share of the sure points in the lower half of the picture that lie on
        it, 0..1.

    Raises
    ------
    StereoDiffError
        "depth_missing": the result has no depth. "floor_not_found": no plane under the cameras holds enough of the
        points. "result_invalid": the file of a picture is damaged.

    References
    ----------
    Fischler and Bolles 1981, "Random sample consensus", for the planes through three points each.
    """
    return fit_floor(read_ground(shot))


def read_ground(shot: ImportedResult) -> Ground:
    """Measured, still points in the lower half of the picture, from frames spread over the shot."""
    if shot.result.depth_range is None:
        raise StereoDiffError("depth_missing", "")
    poses = camera_math.matrix_world_from_camera_to_world([f.camera_to_world for f in shot.result.frames])
    with_depth = [i for i, frame in enumerate(shot.result.frames) if frame.depth is not None]
    chosen = np.unique(np.linspace(0, len(with_depth) - 1, min(MOST_FRAMES, len(with_depth))).astype(int))
    parts = [_points_of(shot, with_depth[i]) for i in chosen]
    points, depths = (np.concatenate(column) for column in zip(*parts, strict=True))
    up = poses[:, :3, 1].mean(axis=0)
    return Ground(points, depths, poses[:, :3, 3], up / max(np.linalg.norm(up), 1e-12))


def _points_of(shot: ImportedResult, index: int) -> tuple[np.ndarray, np.ndarray]:
    frame, (width, height) = shot.result.frames[index], shot.raster_size
    depth = read_picture(shot, frame.depth)
    sure = np.isfinite(depth) & (depth > 0)
    sure[:height // 2] = False
    if frame.confidence is not None:
        sure &= read_picture(shot, frame.confidence) >= MIN_CONFIDENCE
    if frame.motion_mask is not None:
        sure &= read_picture(shot, frame.motion_mask) < 0.5
    rows, columns = np.nonzero(sure)
    every = max(1, len(rows) // POINTS_PER_FRAME)
    rows, columns = rows[::every], columns[::every]
    rays = camera_math.camera_rays(np.arange(width) + 0.5, np.arange(height) + 0.5, shot.raster_intrinsics[index],
                                   shot.distortion)
    depths = depth[rows, columns].astype(np.float64)
    return shot.placed(index, rays[rows, columns] * depths[:, None]), depths


def fit_floor(ground: Ground) -> Plane:
    """The plane that most points lie on and few lie below. Raises StereoDiffError "floor_not_found"."""
    if len(ground.points) < 100:
        raise StereoDiffError("floor_not_found", "Hardly anything in the lower half of the picture was measured.")
    normals, offsets = _planes_to_try(ground)
    if not len(normals):
        raise StereoDiffError("floor_not_found", "Nothing there lies level under the camera.")
    best = int(np.argmax([_score(ground, n, o) for n, o in zip(normals, offsets, strict=True)]))
    normal, offset = _settle(ground, normals[best], offsets[best])
    share = float(np.mean(_over_depth(ground, normal, offset) < TOLERANCE))
    if share < LEAST_SHARE or not _is_floor(ground, normal[None], np.array([offset]))[0]:
        raise StereoDiffError("floor_not_found", f"Only {share:.0%} of the points there lie on one plane.")
    return Plane(normal, float(offset), share)


def _planes_to_try(ground: Ground) -> tuple[np.ndarray, np.ndarray]:
    """Planes through three points each that could be a floor: normals (M,3), offsets (M,)."""
    rng = np.random.default_rng(0)
    corners = ground.points[rng.integers(0, len(ground.points), (TRIES, 3))]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1)
    corners, normals = corners[lengths > 0], normals[lengths > 0] / lengths[lengths > 0, None]
    offsets = (normals * corners[:, 0]).sum(axis=1)
    side = np.where(np.mean(normals @ ground.cameras.T - offsets[:, None], axis=1) < 0, -1.0, 1.0)
    normals, offsets = normals * side[:, None], offsets * side
    fine = _is_floor(ground, normals, offsets)
    return normals[fine], offsets[fine]


def _is_floor(ground: Ground, normals: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Under every camera, and not steeper in the picture than a floor can be; (M,) bool."""
    below_cameras = (normals @ ground.cameras.T > offsets[:, None]).all(axis=1)
    return below_cameras & (normals @ ground.up > np.cos(np.radians(STEEPEST_DEG)))


def _score(ground: Ground, normal: np.ndarray, offset: float) -> float:
    """Points on the plane, less twice those clearly below it: a table top is no floor."""
    away = (ground.points @ normal - offset) / ground.depths
    return np.count_nonzero(np.abs(away) < TOLERANCE) - 2.0 * np.count_nonzero(away < -2.0 * TOLERANCE)


def _settle(ground: Ground, normal: np.ndarray, offset: float) -> tuple[np.ndarray, float]:
    """The plane through its own points, ever closer ones: what stands on a floor would lift it."""
    normal, offset = _fit_closely(ground, normal, offset, TOLERANCE)
    enough = 0.5 * np.count_nonzero(_over_depth(ground, normal, offset) < TOLERANCE)
    for tolerance in CLOSER:
        closer = _fit_closely(ground, normal, offset, tolerance)
        if np.count_nonzero(_over_depth(ground, *closer) < tolerance) < enough:
            break
        normal, offset = closer
    return normal, offset


def _fit_closely(ground: Ground, normal: np.ndarray, offset: float, tolerance: float) -> tuple[np.ndarray, float]:
    """Least squares over the points within a tolerance, far ones counting less, repeated until it rests."""
    for _ in range(8):
        chosen = _over_depth(ground, normal, offset) < tolerance
        if np.count_nonzero(chosen) < 3:
            break
        weights = ground.depths[chosen] ** -2.0
        middle = weights @ ground.points[chosen] / weights.sum()
        spread = (ground.points[chosen] - middle) * np.sqrt(weights)[:, None]
        found = np.linalg.svd(spread.T @ spread)[2][2]
        normal = found if found @ normal > 0 else -found
        offset = normal @ middle
    return normal, float(offset)


def _over_depth(ground: Ground, normal: np.ndarray, offset: float) -> np.ndarray:
    return np.abs(ground.points @ normal - offset) / ground.depths
