"""What the solve hands back for each kind of camera, and what is said with it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...contract import LensResult, StereoDiffError, distortion_fault
from ...geometry import fill_unsolved, invert_rigid, rebase, rescale_gauge
from ...solution import CameraSolution
from ..mapping import CameraFit
from ..tracking import MIN_COMMON_TRACKS
from .focal_stability import focal_halves_ratio, focal_jackknife_ratio
from .lens_choice import is_zoom
from .model_choice import ROTATION_FRAME_PX, ROTATION_GATE_PX, has_narrow_view, tells_lens
from .rotation import RotationFit
from .scale_drift import measure_scale_drift
from .shot import MIN_FRAMES_FOR_FOCAL, MIN_SOLVED_SHARE, TrackedShot, unsolved
from .still_background import StillBackground
from .traveling import Travel
from .warnings import (
    warn_assumed_focal,
    warn_covered_background,
    warn_doubtful_rotation,
    warn_lens,
    warn_moving_camera,
    warn_narrow_view,
    warn_rotation,
    warn_scale_drift,
    warn_static,
    warn_turning_frames,
    warn_unsolved,
    warn_unused_shutter,
    warn_weak_focal,
    warn_weak_zoom,
)

MIN_GAUGE_POINTS = 20


def static_solution(shot: TrackedShot, background: StillBackground | None = None) -> CameraSolution:
    """background: what told it, where most of the picture moves."""
    shot.report.stage("solve", 1)
    solved = shot.linked
    warn_static(shot.report)
    if background is not None:
        warn_covered_background(shot.report, background.moving_share)
    if shot.focal is None:
        warn_assumed_focal(shot.report)
    warn_unsolved(shot.report, solved, shot.first_frame)
    shot.report.progress(1)
    poses = np.tile(np.eye(4), (len(solved), 1, 1))
    return _without_points(shot, "static", poses, shot.guessed_focal, solved, np.full(len(solved), np.nan))


def rotation_solution(shot: TrackedShot, keyframe_fit: RotationFit, fit: RotationFit) -> CameraSolution:
    """fit: of all frames."""
    close = fit.residual_px < ROTATION_GATE_PX
    frame = shot.frames[fit.observations.camera[close]]
    solved = np.bincount(frame, minlength=shot.tracks.frame_count) >= MIN_COMMON_TRACKS
    if solved.mean() < MIN_SOLVED_SHARE:
        raise unsolved("neither a traveling nor a turning camera explains the tracks")
    rotations = np.tile(np.eye(3), (len(solved), 1, 1))
    rotations[shot.frames] = np.swapaxes(fit.rotations, -1, -2)
    poses = np.tile(np.eye(4), (len(solved), 1, 1))
    poses[:, :3, :3], _ = fill_unsolved(rotations, np.zeros((len(solved), 3)), solved)
    warn_rotation(shot.report, is_certain=keyframe_fit.is_certain,
                  tracks_per_frame=float(np.median(np.bincount(frame, minlength=len(solved))[solved])))
    if shot.focal is None and not tells_lens(shot, keyframe_fit):
        warn_assumed_focal(shot.report)
    elif has_narrow_view(shot, fit):
        warn_narrow_view(shot.report, fit.focal / shot.square.size[0])
    if shot.readout and not shot.is_of_middle_rows:
        warn_unused_shutter(shot.report)
    if not keyframe_fit.is_certain:
        warn_doubtful_rotation(shot.report, shot.frames[fit.misfit_px > ROTATION_FRAME_PX],
                               shot.plate_scale * fit.misfit_px, shot.first_frame)
    warn_unsolved(shot.report, solved, shot.first_frame)
    mean = mean_by_frame(frame, fit.residual_px[close], solved)
    solution = _without_points(shot, "rotation", rebase(poses), fit.focal, solved, mean)
    if fit.distortion is not None:
        k1_std, k2_std = map(_finite, fit.radial_std)
        lens = LensResult(fit.distortion.model, fit.distortion, k1_std=k1_std, k2_std=k2_std)
        _refuse_impossible(shot, lens, shot.intrinsics(fit.widest_focal))
        solution = replace(solution, lens=lens)
    if shot.is_of_middle_rows and shot.readout:
        solution = replace(solution, lens=replace(solution.lens, readout=shot.readout))
    if fit.zoom is None:
        warn_lens(shot.report, solution.lens, 1.0, has_depth=False)
        return solution
    return _zoomed(shot, solution, np.interp(np.arange(len(solved)), shot.frames, fit.zoom))


def _zoomed(shot: TrackedShot, solution: CameraSolution, zoom: np.ndarray) -> CameraSolution:
    """zoom (T,): natural logarithm of each frame's focal length over the solution's."""
    lens = replace(solution.lens, zooms=True)
    warn_lens(shot.report, lens, float(np.exp(np.ptp(zoom))), has_depth=False)
    return replace(solution, lens=lens, intrinsics=_zoomed_intrinsics(solution.intrinsics, zoom))


def moving_solution(shot: TrackedShot, travel: Travel, *, is_focal_doubtful: bool = False) -> CameraSolution:
    """is_focal_doubtful: another focal length fits far better than the one that was given."""
    fitted = travel.fitted
    is_focal_unreliable = _warn_about(shot, travel) or is_focal_doubtful
    poses, points = _in_gauge(fitted)
    mean = mean_by_frame(fitted.frame, fitted.residual_px, fitted.solved)
    lens, intrinsics = _lens(shot, fitted), _intrinsics(shot, fitted)
    _refuse_impossible(shot, lens, intrinsics)
    warn_lens(shot.report, lens, 1.0 if fitted.zoom is None else float(np.exp(np.ptp(fitted.zoom))), has_depth=True)
    raster = shot.raster_pixels(filmed_pixels(fitted))
    bounds = np.searchsorted(fitted.frame, np.arange(len(poses) + 1))
    observations = [(fitted.point[a:b], raster[a:b]) for a, b in zip(bounds[:-1], bounds[1:], strict=True)]
    return CameraSolution("moving", poses, intrinsics, fitted.solved, mean, points,
                          fitted.point_parallax_deg, observations, is_focal_unreliable, lens=lens)


def filmed_pixels(fitted: CameraFit) -> np.ndarray:
    """(N,2) square pixels at which the lens has shown what was observed."""
    return fitted.pixels if fitted.filmed is None else fitted.filmed


def _intrinsics(shot: TrackedShot, fitted: CameraFit) -> np.ndarray:
    """(T,4) of every frame."""
    intrinsics = shot.intrinsics(fitted.focal)
    return intrinsics if fitted.zoom is None else _zoomed_intrinsics(intrinsics, fitted.zoom)


def _zoomed_intrinsics(intrinsics: np.ndarray, zoom: np.ndarray) -> np.ndarray:
    """(T,4) with focal lengths that follow the zoom (T,)."""
    return np.column_stack([intrinsics[:, :2] * np.exp(zoom)[:, None], intrinsics[:, 2:]])


def _lens(shot: TrackedShot, fitted: CameraFit) -> LensResult:
    lens = LensResult.as_given(shot.distortion)
    if shot.distortion is None and fitted.distortion is not None:
        k1_std, k2_std = map(_finite, fitted.radial_std)
        lens = LensResult(fitted.distortion.model, fitted.distortion, k1_std=k1_std, k2_std=k2_std)
    return replace(lens, zooms=is_zoom(fitted.zoom), readout=fitted.readout,
                   readout_std=_finite(fitted.readout_std) if fitted.readout and shot.readout is None else None)


def _refuse_impossible(shot: TrackedShot, lens: LensResult, intrinsics: np.ndarray) -> None:
    """Tracks may lead to a lens under which the whole picture is none: of a circular fisheye, say."""
    widest = intrinsics[intrinsics[:, 0].argmin()]
    fx, fy, cx, cy = map(float, widest)
    fault = "" if lens.distortion is None else distortion_fault(lens.distortion, *shot.tracks.size, (fx, fy, cx, cy))
    if fault:
        raise StereoDiffError("camera_unsolved", fault)


def _finite(deviation: float) -> float | None:
    """None where nothing tells it."""
    return deviation if np.isfinite(deviation) else None


def _warn_about(shot: TrackedShot, travel: Travel) -> bool:
    """Whether the shot speaks against its own lens."""
    fitted = travel.fitted
    per_frame = np.bincount(fitted.frame, minlength=len(fitted.solved))[travel.traveling]
    warn_moving_camera(shot.report, tracks_per_frame=float(np.median(per_frame)),
                       parallax_deg=float(np.median(fitted.point_parallax_deg)),
                       residual_px=shot.plate_scale * float(np.mean(fitted.residual_px)))
    warn_scale_drift(shot.report, measure_scale_drift(fitted, free_focal=travel.reconstruction.free_focal),
                     shot.first_frame)
    warn_turning_frames(shot.report, travel.turning, shot.first_frame)
    warn_unsolved(shot.report, fitted.solved, shot.first_frame)
    if shot.focal is not None or travel.is_lens_from_turn:
        return False
    if shot.square.frame_count < MIN_FRAMES_FOR_FOCAL or travel.is_focal_assumed:
        warn_assumed_focal(shot.report)
        return travel.is_doubtful
    if fitted.zoom is not None and warn_weak_zoom(shot.report, travel.zoom_spread):
        return True
    return warn_weak_focal(shot.report, focal_spread=travel.focal_spread, rel_std=fitted.focal_rel_std,
                           jackknife_ratio=focal_jackknife_ratio(fitted, shot.cores),
                           halves_ratio=focal_halves_ratio(fitted, shot.cores),
                           width_share=fitted.focal / shot.square.size[0], is_travel_doubtful=travel.is_doubtful)


def _in_gauge(fitted: CameraFit) -> tuple[np.ndarray, np.ndarray]:
    """Poses (T,4,4) from the first camera, and points; median depth of what the first camera sees is 1."""
    turned = np.swapaxes(fitted.rotations, -1, -2)
    centers = -np.einsum("nij,nj->ni", turned, fitted.translations)
    poses = np.tile(np.eye(4), (len(turned), 1, 1))
    poses[:, :3, :3], poses[:, :3, 3] = fill_unsolved(turned, centers, fitted.solved)
    to_first = invert_rigid(poses[0])
    points = fitted.points @ to_first[:3, :3].T + to_first[:3, 3]
    poses = rebase(poses)
    in_camera = np.einsum("nij,ni->nj", poses[fitted.frame, :3, :3], points[fitted.point] - poses[fitted.frame, :3, 3])
    first = in_camera[fitted.frame == 0, 2]
    scale = 1.0 / float(np.median(first if len(first) >= MIN_GAUGE_POINTS else in_camera[:, 2]))
    return rescale_gauge(poses, scale), points * scale


def _without_points(shot: TrackedShot, kind: str, poses, focal: float, solved, mean) -> CameraSolution:
    nothing = [(np.zeros(0, np.int64), np.zeros((0, 2))) for _ in range(len(poses))]
    return CameraSolution(kind, poses, shot.intrinsics(focal), solved, mean, np.zeros((0, 3)), np.zeros(0), nothing,
                          lens=LensResult.as_given(shot.distortion))


def mean_by_frame(frame: np.ndarray, residual_px: np.ndarray, solved: np.ndarray) -> np.ndarray:
    """Mean residual of each frame, (T,); nan where a frame is not solved."""
    count = np.bincount(frame, minlength=len(solved))
    total = np.bincount(frame, residual_px, len(solved))
    return np.divide(total, count, out=np.full(len(solved), np.nan), where=(count > 0) & solved)
