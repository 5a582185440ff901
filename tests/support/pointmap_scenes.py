"""What a two-view network would say about a shot of known depth: noisy pointmaps, each pair in a scale of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from depth_scenes import RayCastShot
from golden import golden_file, tensors

from stereodiff_blender.engine.geometry import align_similarity, invert_rigid, project, unproject
from stereodiff_blender.engine.stereo.monst3r.pointmaps import PairPointmaps
from stereodiff_blender.engine.stereo.monst3r.reduction import PointmapReduction, ReducedPointmaps
from stereodiff_blender.engine.stereo.tracking.tracks import Tracks
from stereodiff_blender.engine.storage.scratch import Scratch


@dataclass(frozen=True)
class Noise:
    """How wrong the network is. pixel: share of depth, each pixel by itself. warp: share of depth, smooth over the
    picture: what makes the registered cameras jitter. lens: share by which the picture is too wide, of each map.
    scale: log of the scale of each pair, standard deviation."""

    pixel: float = 0.01
    warp: float = 0.02
    lens: float = 0.02
    scale: float = 0.3


EXACT, USUAL = Noise(0.0, 0.0, 0.0), Noise()


def neighbor_pairs(count: int, reach: int = 2) -> list[tuple[int, int]]:
    """Each frame with the next `reach`, in both orders."""
    forward = [(i, i + step) for i in range(count) for step in range(1, reach + 1) if i + step < count]
    return [pair for i, j in forward for pair in ((i, j), (j, i))]


def predictions(shot: RayCastShot, pairs, noise: Noise = USUAL, seed: int = 0) -> Iterator[tuple[int, int,
                                                                                                 PairPointmaps]]:
    """(i, j, pointmaps) of every pair. The noise of a pair depends on the pair alone, not on the order of pairs."""
    for i, j in pairs:
        generator = np.random.default_rng((seed, i, j))
        scale = np.exp(noise.scale * generator.standard_normal())
        to_i = invert_rigid(shot.camera_to_world[i])
        (points_i, confidence_i), (points_j, confidence_j) = (
            _map(shot, frame, to_i, scale, noise, generator) for frame in (i, j))
        yield i, j, PairPointmaps(points_i, points_j, confidence_i, confidence_j)


def _map(shot: RayCastShot, frame: int, to_camera: np.ndarray, scale: float, noise: Noise, generator):
    """Points of a frame in another camera's axes, and confidences."""
    depth = shot.depth[frame].astype(np.float64)
    low = cv2.resize(generator.standard_normal((3, 4)), depth.shape[::-1], interpolation=cv2.INTER_CUBIC)
    error = noise.warp * low + noise.pixel * generator.standard_normal(depth.shape)
    points = unproject(depth * np.exp(error), shot.intrinsics[frame])
    points[..., :2] *= np.exp(noise.lens * generator.standard_normal())
    pose = to_camera @ shot.camera_to_world[frame]
    points = scale * (points @ pose[:3, :3].T + pose[:3, 3])
    confidence = 1.0 + 4.0 * np.exp(-np.abs(error) / 0.02) * generator.uniform(0.8, 1.2)
    return points.astype(np.float32), confidence.astype(np.float32)


def position_error(camera_to_world: np.ndarray, truth: np.ndarray) -> float:
    """Root mean square distance (ATE) of camera positions after the best similarity."""
    found, true = camera_to_world[:, :3, 3], truth[:, :3, 3].astype(np.float64)
    scale, rotation, shift = align_similarity(found, true)
    return float(np.sqrt(((scale * found @ rotation.T + shift - true) ** 2).sum(1).mean()))


def followed_points(shot: RayCastShot, *, noise_px: float = 0.3, outliers: float = 0.1, every: int = 3, step: int = 10,
                    seed: int = 0) -> Tracks:
    """Tracks of static points: from a grid of every `every`-th frame, for as long as they are seen. A share of the
    observations is somewhere else altogether."""
    generator = np.random.default_rng(seed)
    count, height, width = shot.depth.shape
    parts, points = [], 0
    for first in range(0, count - 1, every):
        world = _grid_points(shot, first, step)
        alive = np.arange(len(world))
        for index in range(first, count):
            pixels, is_seen = _seen_in(shot, index, world[alive])
            alive, pixels = alive[is_seen], pixels[is_seen]
            parts.append((np.full(len(alive), index), points + alive, pixels))
        points += len(world)
    frame, point, pixels = (np.concatenate(part) for part in zip(*parts, strict=True))
    pixels = pixels + generator.normal(0.0, noise_px, pixels.shape)
    wrong = generator.random(len(pixels)) < outliers
    pixels[wrong] = generator.uniform((0, 0), (width, height), (wrong.sum(), 2))
    order = np.lexsort((point, frame))
    return Tracks(count, (width, height), points, frame[order], point[order], pixels[order])


def _grid_points(shot: RayCastShot, index: int, step: int) -> np.ndarray:
    grid = (slice(step // 2, None, step),) * 2
    static = shot.motion_mask[index][grid] == 0
    local = unproject(shot.depth[index].astype(np.float64), shot.intrinsics[index])[grid][static]
    pose = shot.camera_to_world[index]
    return local @ pose[:3, :3].T + pose[:3, 3]


def _seen_in(shot: RayCastShot, index: int, world: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (n,2) of world points in a frame, and whether they are in the picture and nothing is before them."""
    local = _in_camera(shot.camera_to_world[index], world)
    pixels = project(local, shot.intrinsics[index])
    height, width = shot.depth.shape[1:]
    inside = (local[:, 2] > 0.1) & (pixels > 1).all(1) & (pixels < (width - 1, height - 1)).all(1)
    column, row = np.clip(np.floor(pixels), 0, (width - 1, height - 1)).astype(int).T
    return pixels, inside & (shot.depth[index][row, column] > 0.97 * local[:, 2])


def seen_from(camera_to_world: np.ndarray, intrinsics, world: np.ndarray) -> np.ndarray:
    """Pixels (n,2) of world points in a camera."""
    return project(_in_camera(camera_to_world, world), intrinsics)


def _in_camera(camera_to_world: np.ndarray, world: np.ndarray) -> np.ndarray:
    to_camera = invert_rigid(camera_to_world)
    return world @ to_camera[:3, :3].T + to_camera[:3, 3]


def golden_maps() -> dict[str, np.ndarray]:
    stored = tensors(golden_file("monst3r", "align_inputs.safetensors"))
    return {name: array.astype(np.float32) if array.dtype == np.float16 else array for name, array in stored.items()}


def golden_reduction(maps: dict[str, np.ndarray], order=None) -> ReducedPointmaps:
    reduction = PointmapReduction(*maps["gt_depth"].shape, Scratch())
    for edge in range(len(maps["edge_i"])) if order is None else order:
        parts = (maps[name][edge] for name in ("pred1_pts3d", "pred2_pts3d", "pred1_conf", "pred2_conf"))
        reduction.add(int(maps["edge_i"][edge]), int(maps["edge_j"][edge]), PairPointmaps(*parts))
    return reduction.finish()
