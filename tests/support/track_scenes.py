"""Bare tracks of points in space, as a camera on a known path would follow them; no pictures, so a solve is quick."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from camera_scenes import turned
from recording_report import RecordingReport

from stereodiff_blender.engine.contract import Distortion
from stereodiff_blender.engine.geometry import exp_so3
from stereodiff_blender.engine.lens import distorted
from stereodiff_blender.engine.solution import CameraSolution, KnownLens
from stereodiff_blender.engine.stereo.sfm.solve import solve_cameras
from stereodiff_blender.engine.stereo.tracking.tracks import Tracks
from stereodiff_blender.engine.storage import RunContext, Scratch

WIDTH, HEIGHT, FOCAL_PX = 480, 270, 420.0
NOISE_PX = 0.05
MOST_IDEAL = 6.0
"""In focal lengths off the axis."""


class KeptTracks(Scratch):
    """A scratch in which an earlier run has left these tracks."""

    def __init__(self, tracks: Tracks):
        super().__init__()
        self._tracks = tracks

    def load(self, name: str):
        return self._tracks.as_arrays() if name == "tracks" else super().load(name)


def filmed(points: np.ndarray, poses: np.ndarray, *, focal_px: float = FOCAL_PX, axis: np.ndarray | None = None,
           noise_px: float = NOISE_PX, seed: int = 0) -> Tracks:
    """Tracks of points (P,3), or (T,P,3) where they move, seen from camera_to_world (T,4,4).

    axis: (2,) or (T,2) principal point, pixels; the center if None. A point that leaves the picture is lost there.
    """
    generator = np.random.default_rng(seed)
    count, world = len(poses), np.broadcast_to(points, (len(poses), *points.shape[-2:]))
    middle = np.broadcast_to((WIDTH / 2, HEIGHT / 2) if axis is None else axis, (count, 2))
    local = np.einsum("tji,tpj->tpi", poses[:, :3, :3], world - poses[:, None, :3, 3])
    with np.errstate(divide="ignore", invalid="ignore"):
        pixels = focal_px * local[..., :2] / local[..., 2:] + middle[:, None]
    pixels += generator.normal(0.0, noise_px, pixels.shape)
    seen = (local[..., 2] > 0.1) & (pixels > 4).all(-1) & (pixels < (WIDTH - 4, HEIGHT - 4)).all(-1)
    frame, point = np.nonzero(seen)
    return Tracks(count, (WIDTH, HEIGHT), world.shape[1], frame, point, pixels[seen])


def filmed_through(points: np.ndarray, walk: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]], count: int, *,
                   lens: Distortion | None = None, zoom: np.ndarray | None = None, readout: float = 0.0,
                   noise_px: float = NOISE_PX, focal_px: float = FOCAL_PX) -> Tracks:
    """Tracks of points (P,3) as a lens shows them that is no pinhole, in so many frames.

    walk: from times (N,), in frames, to places (N,3) and rotation vectors (N,3) in degrees, camera to world. zoom (T,):
    each frame's focal length over focal_px. readout: of a rolling shutter, first row to last, in frames.
    """
    frame, point = (one.ravel() for one in np.meshgrid(np.arange(count), np.arange(len(points)), indexing="ij"))
    focal = focal_px * (np.ones(count) if zoom is None else zoom)[frame][:, None]
    pixels = np.zeros((len(frame), 2))
    for _ in range(8 if readout else 1):
        places, turns = walk(frame + readout * np.clip(pixels[:, 1] / HEIGHT, -1.0, 1.0))
        local = np.einsum("nji,nj->ni", exp_so3(np.radians(turns)), points[point] - places)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            ideal = local[:, :2] / local[:, 2:]
            pixels = focal * (ideal if lens is None else distorted(ideal, lens))
    seen = (local[:, 2] > 0.1) & (np.abs(pixels) < (WIDTH / 2 - 4, HEIGHT / 2 - 4)).all(1)
    farthest = min(1.0 if lens is None else lens.ideal_fold_radius(), MOST_IDEAL)
    seen &= np.hypot(*np.where(seen[:, None], ideal, 0.0).T) < farthest  # beyond a fold nothing is in the picture
    pixels = pixels[seen] + np.random.default_rng(0).normal(0.0, noise_px, (seen.sum(), 2)) + (WIDTH / 2, HEIGHT / 2)
    return Tracks(count, (WIDTH, HEIGHT), len(points), frame[seen], point[seen], pixels)


def walk_through_room(count: int) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """A walk as filmed_through takes it, sideways and forward in so many frames, looking about."""
    def walk(times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        share = times / (count - 1)
        places = np.stack([-1.2 + 2.4 * share, 0.1 * np.sin(5 * share), -1 + 1.2 * share], axis=1)
        return places, np.stack([1.5 * np.sin(6 * share), -8 + 11.2 * share, np.sin(4 * share)], axis=1)
    return walk


def joined(first: Tracks, second: Tracks) -> Tracks:
    """Both, of the same frames."""
    frame = np.r_[first.frame, second.frame]
    point = np.r_[first.point, second.point + first.points]
    order = np.lexsort((point, frame))
    return Tracks(first.frame_count, first.size, first.points + second.points, frame[order], point[order],
                  np.r_[first.pixels, second.pixels][order])


def solved(tracks: Tracks, *, focal_px: float | None = None, **known) -> tuple[CameraSolution, dict[str, str]]:
    """The camera solve of these tracks, and what it warned of. focal_px and known: of the lens."""
    report, lens = RecordingReport(), None if focal_px is None else KnownLens(focal_px, **known)
    frames = np.broadcast_to(np.uint8(0), (tracks.frame_count, HEIGHT, WIDTH, 3))
    return solve_cameras(frames, context=RunContext(KeptTracks(tracks), report), lens=lens), report.warnings


def path(places: np.ndarray, turns_deg: np.ndarray) -> np.ndarray:
    """camera_to_world (T,4,4) from places (T,3) and rotation vectors (T,3) in degrees."""
    poses = np.tile(np.eye(4), (len(places), 1, 1))
    poses[:, :3, 3], poses[:, :3, :3] = places, turned(turns_deg)
    return poses


def room(count: int = 300, seed: int = 1) -> np.ndarray:
    """Points (P,3) on the walls, floor and some crates of a hall around the origin, y down."""
    generator = np.random.default_rng(seed)
    points = generator.uniform((-8, -2, -8), (8, 1.6, 8), (6 * count, 3))
    side = generator.integers(0, 4, len(points))
    for number, (across, place) in enumerate(((0, -8.0), (0, 8.0), (2, -8.0), (2, 8.0))):
        points[side == number, across] = place
    floor = generator.random(len(points)) < 0.3
    points[floor, 1] = 1.6
    points[floor, 0], points[floor, 2] = generator.uniform(-8, 8, (2, floor.sum()))
    crates = generator.uniform((-3, 0, 2), (5, 1.6, 6), (count, 3))
    return np.concatenate([points, crates])
