"""Refine cameras: bundle adjustment of a finished stage 1 on tracked static points, for either of its engines.

Registered pointmaps give every frame its place, but each with an error of its own, and that is seen as jitter. Corners
of the picture are followed to a fraction of a pixel. So the cameras, the lens and the tracked points are adjusted until
the points project where they were seen (sparse, Cauchy loss, one focal length), beginning wide and tightening as the
start becomes better. Where the footage is smooth, so is the path then made (mapping/path_smoothing.py). Last, every
frame's depth is scaled to the points, so that depth and cameras are of one piece again.

Memory and time are linear in frames: long clips are adjusted on anchor frames (mapping/anchors.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ...geometry import fill_unsolved, invert_rigid, rebase
from ...report import Report
from ...solution import CameraSolution, StereoResult
from ..mapping import (
    BundleOptions,
    BundleState,
    CameraFit,
    Observations,
    Reconstruction,
    adjust_on_anchors,
    parallax_deg,
    register_all_frames,
    smooth_path,
    triangulate_points,
)
from ..tracking import Tracks, thin_tracks, track_features

TRACKS_PER_FRAME = 400
MIN_TRACK_LENGTH = 3
MIN_IN_FRAME = 12
COARSE_STEP, COARSE_END_PX = 3.0, 2.0
COARSE_ITERATIONS, COARSE_TOLERANCE = 8, 1e-2
OUTLIER_PX = 3.0 * COARSE_END_PX
HELD_ROUNDS, HELD_LOSS_PX = 3, 0.5
MIN_SOLVED_SHARE = 0.5
MIN_PARALLAX_DEG, MIN_PARALLAX_NOISE = 0.3, 4.0
"""Parallax of the typical point: at least so many degrees, and so many times the residual."""
MAX_MISFIT = 0.25
"""Relative difference from stage 1's depth beyond which the points, not the depth, are to be doubted."""
FOCAL_DEVIATION = 0.05
"""Relative deviation of the focal length beyond which the shot does not tell it, and it is held."""


@dataclass(frozen=True)
class Refinement:
    """stereo: the refined result, or what was given where is_refined is False: the shot has too little to track.

    reprojection_before_px, reprojection_after_px: mean distance of the same tracked points from their projection; not a
        number where the cameras before were so far off that they give no points.
    depth_misfit_before, depth_misfit_after: median relative difference of depth from those points, under one scale
    for the clip before, and one a frame after. focal_before_px, focal_after_px: fy.
    """

    stereo: StereoResult
    is_refined: bool
    reprojection_before_px: float
    reprojection_after_px: float
    depth_misfit_before: float
    depth_misfit_after: float
    focal_before_px: float
    focal_after_px: float


def refine_cameras(frames: np.ndarray, stereo: StereoResult, *, is_focal_known: bool = False, seed: int = 0,
                   report: Report) -> Refinement:
    """Refine a clip's cameras on features tracked in its static parts, and scale its depth to them, in place.

    Parameters
    ----------
    frames : ndarray
        (T,H,W,3) uint8, the raster of stereo.depth.
    stereo : StereoResult
        Cameras of kind "moving", with depth and motion mask. Its depth is changed.
    is_focal_known : bool
        Hold the lens.
    seed : int
        Of every random draw.
    report : Report
        Is told the stages "track" and "solve".

    Returns
    -------
    Refinement
        The refined result, in the gauge of the first frame's depth, and how well it fitted before and fits now.

    Raises
    ------
    ValueError
        If shapes or kind do not fit.

    Notes
    -----
    Warns "low_texture", with nothing changed, where there is too little to track.
    """
    if frames.shape[:3] != np.shape(stereo.depth):
        raise ValueError(f"frames {frames.shape} and depth {np.shape(stereo.depth)} are of different rasters")
    tracks = track_features(frames, stereo.motion_mask, report)
    return refine_on_tracks(tracks, stereo, is_focal_known=is_focal_known, seed=seed, report=report)


def refine_on_tracks(tracks: Tracks, stereo: StereoResult, *, is_focal_known: bool = False, seed: int = 0,
                     report: Report) -> Refinement:
    """The same on given tracks, pixels of the raster of stereo.depth; those on what moves are left out."""
    _check(tracks, stereo)
    tracks = thin_tracks(_on_static(tracks, stereo.motion_mask), per_frame=TRACKS_PER_FRAME,
                         min_length=min(MIN_TRACK_LENGTH, tracks.frame_count))
    start = _Start.from_tracks(tracks, stereo)
    report.stage("solve", tracks.frame_count)
    for fitted in _fits(start, free_focal=not is_focal_known, seed=seed):
        refinement = _refined(start, fitted, stereo)
        if refinement is not None:
            report.progress(tracks.frame_count)
            return refinement
    report.warn("low_texture", "Too few points could be tracked to refine the cameras; they are as stage 1 found them.")
    return _unchanged(start, stereo)


def _check(tracks: Tracks, stereo: StereoResult) -> None:
    if stereo.cameras.kind != "moving":
        raise ValueError("only a moving camera can be refined")
    count, height, width = stereo.depth.shape
    if tracks.frame_count != count or tuple(tracks.size) != (width, height):
        raise ValueError(f"tracks of {tracks.frame_count} frames of {tracks.size} do not fit depth of {count} frames "
                         f"of {(width, height)}")


# --- The start ----------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class _Start:
    """What refinement begins with. tracks: raster pixels. square: the same in square pixels from the principal point,
    without zoom.

    local: (N,3) where each observation lies by stage 1's depth, in its camera's axes. rotations (T,3,3), translations
    (T,3): world to camera. focal: fy.
    """

    tracks: Tracks
    square: Tracks
    local: np.ndarray
    rotations: np.ndarray
    translations: np.ndarray
    focal: float

    @classmethod
    def from_tracks(cls, tracks: Tracks, stereo: StereoResult) -> _Start:
        cameras = stereo.cameras
        fx, fy, cx, cy = np.median(cameras.intrinsics, axis=0)
        square = replace(tracks, pixels=(tracks.pixels - (cx, cy)) * (fy / fx, 1.0) / _zoom(cameras)[tracks.frame])
        to_camera = invert_rigid(cameras.camera_to_world)
        depth = _at_pixels(stereo.depth, tracks.frame, tracks.pixels)
        local = np.column_stack([square.pixels / fy, np.ones(len(depth))]) * depth[:, None]
        return cls(tracks, square, local, to_camera[:, :3, :3], to_camera[:, :3, 3], float(fy))

    def points(self, rotations: np.ndarray, translations: np.ndarray) -> np.ndarray:
        """(P,3) the median, under these cameras, of where the observations of each track lie."""
        frame = self.tracks.frame
        world = np.einsum("nji,nj->ni", rotations[frame], self.local - translations[frame])
        return _median_by(self.tracks.point, world, self.tracks.points)

    def reconstruction(self, *, free_focal: bool, seed: int) -> Reconstruction:
        reconstruction = Reconstruction(self.square, self.focal, free_focal=free_focal, seed=seed)
        reconstruction.rotations[:], reconstruction.translations[:] = self.rotations, self.translations
        reconstruction.points[:] = self.points(self.rotations, self.translations)
        reconstruction.registered[:] = self.tracks.per_frame >= MIN_IN_FRAME
        return reconstruction


def _on_static(tracks: Tracks, motion_mask: np.ndarray) -> Tracks:
    return tracks.select(_at_pixels(motion_mask, tracks.frame, tracks.pixels) == 0)


def _at_pixels(arrays: np.ndarray, frame: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Values (N,) of (T,H,W) arrays, read frame by frame, at pixels (N,2) of frames (N,), ascending."""
    values = np.empty(len(frame))
    count, height, width = arrays.shape
    column = np.clip(np.floor(pixels[:, 0]).astype(int), 0, width - 1)
    row = np.clip(np.floor(pixels[:, 1]).astype(int), 0, height - 1)
    bounds = np.searchsorted(frame, np.arange(count + 1))
    for index in range(count):
        here = slice(bounds[index], bounds[index + 1])
        values[here] = arrays[index][row[here], column[here]]
    return values


def _median_by(group: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    """Lower median (size,K) of values (N,K) by group (N,), each column by itself. Every group has members."""
    counts = np.bincount(group, minlength=size)
    middle = np.cumsum(counts) - counts + (counts - 1) // 2
    return np.stack([column[np.lexsort((column, group))][middle] for column in values.T], axis=1)


# --- The adjustment -----------------------------------------------------------------------------------------------

def _fits(start: _Start, *, free_focal: bool, seed: int) -> Iterator[CameraFit]:
    """The adjusted clip, if its points are seen from clearly different places; then the cameras alone, adjusted to the
    points as stage 1 has them. Nothing where there is too little to track."""
    reconstruction = start.reconstruction(free_focal=free_focal, seed=seed)
    usable = reconstruction.registered.mean() >= MIN_SOLVED_SHARE
    if not usable or not len(reconstruction.observations(reconstruction.registered)[1].point):
        return
    fitted = _adjusted(reconstruction)
    if free_focal and _carries(fitted) and not fitted.focal_rel_std < FOCAL_DEVIATION:
        fitted = _adjusted(start.reconstruction(free_focal=False, seed=seed))
    if _carries(fitted):
        yield fitted
    fitted = _adjusted_to_depth(start, seed)
    if fitted.solved.mean() >= MIN_SOLVED_SHARE:
        yield fitted


def _adjusted(reconstruction: Reconstruction) -> CameraFit:
    _adjust_coarsely(reconstruction)
    return register_all_frames(_without_outliers(reconstruction), progress=lambda: None)


def _adjusted_to_depth(start: _Start, seed: int) -> CameraFit:
    """Cameras that fit the tracks to where depth says their points are; those are the median over a track's frames."""
    reconstruction = start.reconstruction(free_focal=False, seed=seed)
    frames, observations = reconstruction.observations(reconstruction.registered)
    for _ in range(HELD_ROUNDS):
        loss_px = max(HELD_LOSS_PX, _typical_px(reconstruction, frames, observations))
        reconstruction.bundle_adjust(frames, observations, loss_px=loss_px, iterations=COARSE_ITERATIONS,
                                     tolerance=COARSE_TOLERANCE,
                                     free=BundleOptions(focal=False, points=False, fixed_cameras=()))
        reconstruction.points = start.points(reconstruction.rotations, reconstruction.translations)
    residual = reconstruction.state(frames).residual_px(observations)
    fits = residual < OUTLIER_PX
    observations, residual = observations.select(fits), residual[fits]
    used, point = np.unique(observations.point, return_inverse=True)
    angle = parallax_deg(reconstruction.rotations[frames], reconstruction.translations[frames], reconstruction.points,
                         observations)
    frame = frames[observations.camera]
    solved = np.bincount(frame, minlength=len(start.rotations)) >= MIN_IN_FRAME
    return CameraFit(reconstruction.rotations, reconstruction.translations, solved, start.focal, 0.0, frame,
                     point.reshape(-1), observations.pixels, residual, reconstruction.points[used], angle[used])


def _carries(fitted: CameraFit) -> bool:
    """Whether enough frames are solved, from points seen under angles that are more than noise."""
    if fitted.solved.mean() < MIN_SOLVED_SHARE or not len(fitted.points):
        return False
    noise_deg = np.degrees(float(np.median(fitted.residual_px)) / fitted.focal)
    return float(np.median(fitted.point_parallax_deg)) > max(MIN_PARALLAX_DEG, MIN_PARALLAX_NOISE * noise_deg)


def _adjust_coarsely(reconstruction: Reconstruction) -> None:
    """Bring a start that is off by many pixels near enough for the gates of the final rounds.

    All observations count, under a loss as wide as they are off, and again as that falls.
    """
    frames, observations = reconstruction.observations(reconstruction.registered)
    loss_px = np.inf
    while loss_px > COARSE_END_PX:
        loss_px = max(COARSE_END_PX, min(loss_px / COARSE_STEP, _typical_px(reconstruction, frames, observations)))
        adjust_on_anchors(reconstruction, frames, observations, free_lens=False, loss_px=loss_px,
                          iterations=COARSE_ITERATIONS, tolerance=COARSE_TOLERANCE)


def _without_outliers(reconstruction: Reconstruction) -> Reconstruction:
    """The same without the observations that the robust loss has set aside: the final rounds triangulate points anew,
    and one observation gone astray would take its whole track with it."""
    residual = reconstruction.state(np.arange(len(reconstruction.rotations))).residual_px(
        Observations(reconstruction.tracks.frame, reconstruction.tracks.point, reconstruction.tracks.pixels))
    cleaned = Reconstruction(reconstruction.tracks.select(residual < OUTLIER_PX), reconstruction.focal,
                             free_focal=reconstruction.free_focal, seed=reconstruction.seed)
    cleaned.rotations, cleaned.translations = reconstruction.rotations, reconstruction.translations
    cleaned.registered = reconstruction.registered & (cleaned.tracks.per_frame >= MIN_IN_FRAME)
    return cleaned


def _typical_px(reconstruction: Reconstruction, frames: np.ndarray, observations: Observations) -> float:
    return float(np.median(reconstruction.state(frames).residual_px(observations)))


# --- What is handed back ------------------------------------------------------------------------------------------

def _unchanged(start: _Start, stereo: StereoResult) -> Refinement:
    nothing = float("nan")
    return Refinement(stereo, False, nothing, nothing, nothing, nothing, start.focal, start.focal)


def _refined(start: _Start, fitted: CameraFit, stereo: StereoResult) -> Refinement | None:
    """The refinement, and depth brought to it in place; None, with nothing changed, if the points contradict it."""
    before_px = _error_of_start(start, fitted)
    fitted = smooth_path(fitted)
    pixels = fitted.pixels * _zoom(stereo.cameras)[fitted.frame]
    raster = pixels / _square_by(stereo.cameras) + np.median(stereo.cameras.intrinsics[:, 2:], axis=0)
    ratio = _depth_in_camera(fitted) / _at_pixels(stereo.depth, fitted.frame, raster)
    scale = _scale_of_frames(ratio, fitted)
    misfit = _misfit(ratio / scale[fitted.frame])
    if not misfit < MAX_MISFIT:
        return None
    cameras = _cameras(start, fitted, raster, scale[0], stereo.cameras)
    for depth, factor in zip(stereo.depth, scale / scale[0], strict=True):
        depth *= np.float32(factor)
    far_limit = None if stereo.far_limit is None else stereo.far_limit * float(scale.min() / scale[0])
    return Refinement(replace(stereo, cameras=cameras, far_limit=far_limit), True, before_px,
                      float(fitted.residual_px.mean()), _misfit(ratio / np.median(ratio)), misfit, start.focal,
                      float(fitted.focal))


def _square_by(cameras: CameraSolution) -> np.ndarray:
    """(2,) what raster pixels are multiplied with to be square."""
    fx, fy = np.median(cameras.intrinsics[:, :2], axis=0)
    return np.array([fy / fx, 1.0])


def _zoom(cameras: CameraSolution) -> np.ndarray:
    """(T,1) each frame's focal length over the one that serves all."""
    focal = cameras.intrinsics[:, 1:2]
    return focal / np.median(focal) if cameras.lens.zooms else np.ones_like(focal)


def _error_of_start(start: _Start, fitted: CameraFit) -> float:
    """Mean residual, pixels, of the fitted observations under the cameras refinement began with: their points are
    triangulated from these very cameras, so that only the cameras are judged. Not a number if these give no point."""
    observations = Observations(fitted.frame, fitted.point, fitted.pixels)
    points = triangulate_points(start.rotations, start.translations, start.focal, observations, len(fitted.points))
    residual = BundleState(start.rotations, start.translations, points, start.focal).residual_px(observations)
    residual = residual[np.isfinite(residual)]
    return float(residual.mean()) if len(residual) else float("nan")


def _depth_in_camera(fitted: CameraFit) -> np.ndarray:
    """Z-depth (N,) of the fitted points at each of their observations."""
    return (np.einsum("nj,nj->n", fitted.rotations[fitted.frame, 2], fitted.points[fitted.point])
            + fitted.translations[fitted.frame, 2])


def _scale_of_frames(ratio: np.ndarray, fitted: CameraFit) -> np.ndarray:
    """(T,) median ratio of point depth to depth map; frames that see few points get theirs from their neighbors."""
    frames = np.flatnonzero(np.bincount(fitted.frame, minlength=len(fitted.solved)) >= MIN_IN_FRAME)
    bounds = np.searchsorted(fitted.frame, [frames, frames + 1]).T
    measured = [np.median(ratio[first:last]) for first, last in bounds]
    return np.interp(np.arange(len(fitted.solved)), frames, measured)


def _misfit(ratio: np.ndarray) -> float:
    return float(np.median(np.abs(ratio - 1.0)))


def _cameras(start: _Start, fitted: CameraFit, raster: np.ndarray, scale: float,
             before: CameraSolution) -> CameraSolution:
    """The fitted cameras in the gauge of the first frame's depth. scale: lengths of the fit over those of depth."""
    poses = _poses(start, fitted, scale)
    to_first = invert_rigid(poses[0])
    points = fitted.points / scale @ to_first[:3, :3].T + to_first[:3, 3]
    bounds = np.searchsorted(fitted.frame, np.arange(len(poses) + 1))
    observations = [(fitted.point[a:b], raster[a:b]) for a, b in zip(bounds[:-1], bounds[1:], strict=True)]
    intrinsics = before.intrinsics.copy()
    intrinsics[:, :2] = fitted.focal / _square_by(before) * _zoom(before)
    count = np.bincount(fitted.frame, minlength=len(poses))
    total = np.bincount(fitted.frame, fitted.residual_px, len(poses))
    mean = np.divide(total, count, out=np.full(len(poses), np.nan), where=(count > 0) & fitted.solved)
    return replace(before, camera_to_world=rebase(poses), intrinsics=intrinsics, solved=before.solved & fitted.solved,
                   reprojection_px=mean, points=points, point_parallax_deg=fitted.point_parallax_deg,
                   observations=observations)


def _poses(start: _Start, fitted: CameraFit, scale: float) -> np.ndarray:
    """Camera-to-world (T,4,4). A frame without a fit keeps its step from its neighbors: what is filled in is not its
    camera but the correction of it."""
    turned, began = np.swapaxes(fitted.rotations, -1, -2), np.swapaxes(start.rotations, -1, -2)
    centers = -np.einsum("nij,nj->ni", turned, fitted.translations) / scale
    began_at = -np.einsum("nij,nj->ni", began, start.translations)
    turns, shifts = fill_unsolved(turned @ start.rotations, centers - began_at, fitted.solved)
    poses = np.tile(np.eye(4), (len(turned), 1, 1))
    poses[:, :3, :3], poses[:, :3, 3] = turns @ began, began_at + shifts
    return poses
