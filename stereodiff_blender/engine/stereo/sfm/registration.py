"""From keyframes to every frame: the rest of the cameras, and the last adjustment of all of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...geometry import interpolate_rotations, rotation_angle_deg
from .anchors import MOST_TOGETHER, adjust_frames, choose_anchors, seen_twice
from .bundle_adjustment import Observations, Scene, focal_deviation
from .reconstruction import Reconstruction
from .triangulation import parallax_deg, triangulate_points

# Gate in px, width of the loss in px, iterations, tolerance.
ROUNDS = ((4.0, 1.0, 8, 1e-3), (2.0, 1.0, 12, 1e-3), (1.5, 0.3, 60, 2e-5))
MIN_PARALLAX_DEG = 0.5
MIN_VIEWS = 3
MIN_SHARE = 0.5
MIN_INLIERS = 12
JUMP_DEG = 2.0
JUMP_RATIO = 6.0


@dataclass(frozen=True)
class FittedClip:
    """Cameras of all frames and what they rest on.

    rotations (T,3,3), translations (T,3): world to camera. solved (T,) bool: False where interpolated.
    frame, point (N,) int and pixels (N,2): the observations that fit. residual_px (N,). points (P,3), nan where
    unknown; point_parallax_deg (P,).
    """

    rotations: np.ndarray
    translations: np.ndarray
    solved: np.ndarray
    focal: float
    focal_deviation: float
    frame: np.ndarray
    point: np.ndarray
    pixels: np.ndarray
    residual_px: np.ndarray
    points: np.ndarray
    point_parallax_deg: np.ndarray


def fit_all_frames(reconstruction: Reconstruction, progress) -> FittedClip:
    """Resect the frames between, adjust everything in rounds of tightening gates, fill in what has no camera.

    progress: called after every round.
    """
    for index in np.flatnonzero(~reconstruction.registered):
        reconstruction.resect(index)
    frames, seen, fits = _adjust_all(reconstruction, progress)
    solved = _believable(reconstruction, seen.camera[fits], frames)
    if not solved[frames].all():
        reconstruction.registered &= solved
        frames, seen, fits = _adjust_all(reconstruction, progress=lambda: None)
        solved &= _believable(reconstruction, seen.camera[fits], frames)
    return _fitted(reconstruction, frames, seen.only(fits & solved[frames][seen.camera]), solved)


def _adjust_all(reconstruction: Reconstruction, progress) -> tuple[np.ndarray, Observations, np.ndarray]:
    """Frames (C,), their observations (N,) and which of them (N,) fit after the last round."""
    frames, seen = reconstruction.observations(reconstruction.registered)
    reconstruction.points = triangulate_points(reconstruction.rotations[frames], reconstruction.translations[frames],
                                               reconstruction.focal, seen, reconstruction.tracks.points)
    rules = {"min_parallax_deg": MIN_PARALLAX_DEG, "min_views": min(MIN_VIEWS, len(frames)), "min_share": MIN_SHARE}
    for gate, loss, iterations, tolerance in ROUNDS:
        fits = reconstruction.fitting(frames, seen, gate_px=gate, **rules)
        if not fits.any():
            break
        adjust_frames(reconstruction, frames, seen.only(fits), free_focal=reconstruction.free_focal, loss_px=loss,
                      iterations=iterations, tolerance=tolerance)
        progress()
    return frames, seen, reconstruction.fitting(frames, seen, gate_px=2.0 * ROUNDS[-1][0], **rules)


def _believable(reconstruction: Reconstruction, camera: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """(T,) frames with enough observations that fit, and no jump that their neighbours contradict."""
    count = np.zeros(reconstruction.tracks.frame_count, np.int64)
    count[frames] = np.bincount(camera, minlength=len(frames))
    return (count >= MIN_INLIERS) & ~_jumps(reconstruction, count)


def _jumps(reconstruction: Reconstruction, count: np.ndarray) -> np.ndarray:
    """(T,) frames turned far off the middle of their neighbours while resting on far fewer points than they."""
    jumps = np.zeros(len(count), bool)
    rotations = reconstruction.rotations
    if len(count) < 5:
        return jumps
    halfway = interpolate_rotations(rotations[:-2], rotations[2:], np.full(len(count) - 2, 0.5))
    off = rotation_angle_deg(np.swapaxes(halfway, -1, -2) @ rotations[1:-1])
    fewer = count[1:-1] < 0.5 * np.minimum(count[:-2], count[2:])
    jumps[1:-1] = fewer & (off > max(JUMP_DEG, JUMP_RATIO * float(np.median(off))))
    return jumps


def _fitted(reconstruction: Reconstruction, frames, seen: Observations, solved: np.ndarray) -> FittedClip:
    rotations, translations = reconstruction.rotations, reconstruction.translations
    parallax = parallax_deg(rotations[frames], translations[frames], reconstruction.points, seen)
    used, point = np.unique(seen.point, return_inverse=True)
    scene = reconstruction.scene(frames)
    residual = scene.residual_px(seen)
    deviation = _focal_deviation(scene, seen) if reconstruction.free_focal and len(used) else 0.0
    return FittedClip(rotations, translations, solved, reconstruction.focal, deviation, frames[seen.camera],
                      point.reshape(-1), seen.pixels, residual, reconstruction.points[used], parallax[used])


def _focal_deviation(scene: Scene, seen: Observations) -> float:
    """Relative, of the fitted scene; from the anchors of a clip too long to be adjusted as a whole."""
    cameras = np.ones(len(scene.rotations), bool)
    if len(cameras) > MOST_TOGETHER:
        cameras = choose_anchors(seen, len(cameras))
    seen = seen.only(cameras[seen.camera] & seen_twice(seen, cameras)[seen.point])
    used, point = np.unique(seen.point, return_inverse=True)
    part = Scene(scene.rotations[cameras], scene.translations[cameras], scene.points[used], scene.focal)
    compact = Observations((np.cumsum(cameras) - 1)[seen.camera], point.reshape(-1), seen.pixels)
    return focal_deviation(part, compact, loss_px=ROUNDS[-1][1])
