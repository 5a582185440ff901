"""The automatic camera solve: from frames to the camera of every frame, the lens, and points of the scene.

Steps: follow features; recognize a camera that stands still or only turns; otherwise try a few focal lengths, each
with a solve on a few keyframes, and go on from the one that explains most; add the other keyframes, then all frames.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...contract import StereoDiffError
from ...geometry import fill_unsolved, invert_rigid, rebase, rescale_gauge
from ...report import Report
from ...solution import CameraSolution
from ...storage import RunContext, Scratch
from .focal_stability import focal_jackknife_ratio
from .keyframes import choose_keyframes, choose_seed_keyframes
from .reconstruction import Reconstruction, reconstruct
from .registration import ADJUSTMENT_ROUNDS, CameraFit, register_all_frames
from .rotation import RotationFit, fit_rotations, fit_rotations_from, guess_focal, is_static
from .tracking import track_features
from .tracks import MIN_COMMON_TRACKS, Tracks, longest_linked_run, thin_tracks
from .two_view import pair_candidates
from .warnings import warn_assumed_focal, warn_moving_camera, warn_rotation, warn_static, warn_unsolved, warn_weak_focal

FOCAL_SEEDS = (0.5, 0.75, 1.1, 1.8)
MIN_FRAMES_FOR_FOCAL = 4
TRACKS_PER_FRAME = 1000
MIN_TRACKS = 40
MIN_TRACK_LENGTH = 3
MIN_SOLVED_SHARE = 0.5
MIN_EXPLAINED_SHARE = 0.25
DOUBTFUL_ROTATION_SHARE = 0.6
RIVAL_ROTATION_SHARE = 0.75
NOISE_GATE = 2.5
NOISE_GATE_PX = 0.25
ROTATION_GATE_PX = 2.0
ROTATION_FOCAL_REL_STD = 0.02
SEED_RIVAL = 2.0
MIN_GAUGE_POINTS = 20
MAX_SEED = 2**31


def solve_cameras(frames, *, focal_px: float | None = None, pixel_aspect: float = 1.0, masks=None, seed: int = 0,
                  context: RunContext) -> CameraSolution:
    """Solve the camera of every frame.

    Inside, x is stretched by pixel_aspect, so that pixels are square and one focal length f, in rows, serves both axes;
    the solution has fx = f / pixel_aspect and fy = f.

    Parameters
    ----------
    frames : ndarray
        (T,H,W,3) uint8 RGB, an array or memory map; read one frame at a time.
    focal_px : float or None
        fx in raster pixels where the lens is known, else None. The principal point is the raster's center.
    pixel_aspect : float
        True width / height of one raster pixel, between 0.1 and 10.
    masks : ndarray or None
        (T,H,W) bool-like, true where nothing may be tracked because it moves.
    seed : int
        Of every random draw.
    context : RunContext
        Its scratch keeps the tracks for a later run. Its report is told the stages "track" and "solve".

    Returns
    -------
    CameraSolution
        The gauge: first camera at the origin, median depth of the points it sees is 1.

    Raises
    ------
    StereoDiffError
        "camera_unsolved" with the reason in words; "clip_too_short" for fewer than two frames; "settings_invalid" for a
        focal length or pixel aspect that cannot be.
    ValueError
        If frames or masks have another shape or type.

    Notes
    -----
    Warns "static_camera", "rotation_only", "focal_assumed", "frames_unsolved", "little_parallax", "high_residual",
    "low_texture" and "weak_focal".
    """
    _check(frames, focal_px, pixel_aspect, masks)
    min_length = min(MIN_TRACK_LENGTH, len(frames))
    followed = follow_tracks(frames, masks, context.scratch, context.report)
    tracks = thin_tracks(followed, per_frame=TRACKS_PER_FRAME, min_length=min_length)
    linked = longest_linked_run(tracks)
    _check_tracks(tracks, linked, context.told_from)
    tracks = tracks.select(linked[tracks.frame])
    focal = None if focal_px is None else focal_px * pixel_aspect
    return _solve(_SolveInput(tracks, _square_tracks(tracks, pixel_aspect), np.flatnonzero(linked), focal, pixel_aspect,
                              seed % MAX_SEED, context.told_from, context.report))


def follow_tracks(frames, masks, scratch: Scratch, report: Report) -> Tracks:
    """The tracks of this clip; those that an earlier run has followed, if there was one."""
    kept = scratch.load("tracks")
    if kept is not None:
        return Tracks.from_arrays(kept)
    tracks = track_features(frames, masks, report)
    scratch.save("tracks", tracks.as_arrays())
    return tracks


def _check(frames, focal_px, pixel_aspect, masks) -> None:
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8:
        raise ValueError(f"frames must be (T,H,W,3) uint8, got {frames.shape} {frames.dtype}")
    if masks is not None and masks.shape != frames.shape[:3]:
        raise ValueError(f"masks must be {frames.shape[:3]}, got {masks.shape}")
    if len(frames) < 2:
        raise StereoDiffError("clip_too_short", "a camera solve needs at least two frames")
    if focal_px is not None and not (np.isfinite(focal_px) and focal_px > 0):
        raise StereoDiffError("settings_invalid", f"the focal length must be positive, got {focal_px}")
    if not (np.isfinite(pixel_aspect) and 0.1 < pixel_aspect < 10):
        raise StereoDiffError("settings_invalid", f"the pixel aspect must be between 0.1 and 10, got {pixel_aspect}")


def _check_tracks(tracks: Tracks, linked: np.ndarray, first_frame: int) -> None:
    typical = float(np.median(tracks.per_frame))
    if typical < MIN_TRACKS:
        raise _unsolved(f"only about {typical:.0f} points could be followed in a frame, {MIN_TRACKS} are needed")
    if linked.mean() < MIN_SOLVED_SHARE:
        run = np.flatnonzero(linked) + first_frame
        raise _unsolved("the shot falls apart; the longest stretch in which points could be followed is frames "
                        f"{run[0]} to {run[-1]} (is there a cut, or much blur or darkness?)")


class _Steps:
    """Progress of the solve in equal steps."""

    def __init__(self, report: Report, total: int):
        self.report, self.done = report, 0
        report.stage("solve", total)

    def step(self) -> None:
        self.done += 1
        self.report.progress(self.done)


@dataclass(frozen=True)
class _SolveInput:
    """What every step needs. tracks: thinned; square: the same with square pixels from the principal point.

    frames: those that tracks link. focal: in rows, or None where unknown.
    """

    tracks: Tracks
    square: Tracks
    frames: np.ndarray
    focal: float | None
    pixel_aspect: float
    seed: int
    first_frame: int
    report: Report

    @property
    def linked(self) -> np.ndarray:
        """(T,) bool, true at frames."""
        return np.isin(np.arange(self.tracks.frame_count), self.frames)

    @property
    def guessed_focal(self) -> float:
        return self.focal or guess_focal(self.square)


def _square_tracks(tracks: Tracks, pixel_aspect: float) -> Tracks:
    """The tracks in square pixels counted from the principal point, the raster's center."""
    width, height = tracks.size
    pixels = (tracks.pixels - (0.5 * width, 0.5 * height)) * (pixel_aspect, 1.0)
    return replace(tracks, pixels=pixels, size=(width * pixel_aspect, height))


def _solve(inputs: _SolveInput) -> CameraSolution:
    if is_static(inputs.tracks, inputs.frames):
        return _static_solution(inputs)
    keyframes = choose_keyframes(inputs.square, inputs.frames)
    seeds = _focal_seeds(inputs)
    steps = _Steps(inputs.report, 2 + len(seeds) + len(ADJUSTMENT_ROUNDS))
    rotation = fit_rotations(inputs.square, keyframes, inputs.focal)
    steps.step()
    if rotation is not None and rotation.is_certain:
        return _rotation_solution(inputs, rotation)
    try:
        reconstruction, focal_spread = _reconstruct(inputs, keyframes, seeds, steps)
        fitted = register_all_frames(reconstruction, steps.step)
        _check_fit(inputs, fitted)
    except StereoDiffError:
        # With much moving in front, a turning camera is no clear case; where nothing else holds, it is the likely one.
        if rotation is not None and rotation.share_within(ROTATION_GATE_PX) > DOUBTFUL_ROTATION_SHARE:
            return _rotation_solution(inputs, rotation)
        raise
    if rotation is not None and _rotation_is_likelier(rotation, inputs, fitted):
        return _rotation_solution(inputs, rotation)
    return _moving_solution(inputs, fitted, focal_spread)


def _explained_share(inputs: _SolveInput, fitted: CameraFit) -> float:
    return len(fitted.frame) / len(inputs.tracks.frame)


def _check_fit(inputs: _SolveInput, fitted: CameraFit) -> None:
    if fitted.solved.mean() < MIN_SOLVED_SHARE or not len(fitted.points):
        raise _unsolved(f"only {fitted.solved.sum()} of {len(fitted.solved)} frames fit together")
    explained = _explained_share(inputs, fitted)
    if explained < MIN_EXPLAINED_SHARE:
        raise _unsolved(f"only {100 * explained:.0f} % of the tracked points agree on one camera "
                        "path; if much of the picture moves, give a matte of it")


def _rotation_is_likelier(rotation: RotationFit, inputs: _SolveInput, fitted: CameraFit) -> bool:
    """Whether a camera that only turns is the better answer than the traveling one.

    Both are judged by the share of tracks they explain to within the noise, as the residuals of the traveling camera
    tell it. That camera has a depth for every point and a place for every frame to fit noise with, or something that
    moves by itself: it has to explain clearly more. How little it travels is no argument against it, if it does.
    """
    gate_px = max(NOISE_GATE_PX, NOISE_GATE * float(np.median(fitted.residual_px)))
    explained = float(np.mean(fitted.residual_px < gate_px)) * _explained_share(inputs, fitted)
    return rotation.share_within(gate_px) > RIVAL_ROTATION_SHARE * explained


def _focal_seeds(inputs: _SolveInput) -> list[float]:
    if inputs.focal is not None:
        return [inputs.focal]
    if inputs.square.frame_count < MIN_FRAMES_FOR_FOCAL:
        return [inputs.guessed_focal]
    return [share * max(inputs.square.size) for share in FOCAL_SEEDS]


def _reconstruct(inputs: _SolveInput, keyframes: np.ndarray, seeds: list[float],
                 steps: _Steps) -> tuple[Reconstruction, float]:
    """All keyframes, from the focal seed that explains a few of them best; and how far apart good seeds ended."""
    few = choose_seed_keyframes(inputs.square, keyframes)
    candidates = pair_candidates(inputs.square, few, inputs.seed)
    solves = []
    for focal in seeds:
        solves.append(reconstruct(inputs.square, candidates, few, focal, free_focal=len(seeds) > 1, seed=inputs.seed))
        steps.step()
    best, focal_spread = _best_solve([solve for solve in solves if solve is not None])
    if best is None:
        given = "" if inputs.focal is None else " if the focal length given is right"
        raise _unsolved(f"no two frames show the same points from clearly different places{given}")
    best.register_frames(keyframes)
    steps.step()
    if best.registered[keyframes].mean() < MIN_SOLVED_SHARE:
        raise _unsolved(f"the camera could be followed through only {100 * best.registered[keyframes].mean():.0f} % of "
                        "the shot")
    return best, focal_spread


def _best_solve(solves: list[Reconstruction]) -> tuple[Reconstruction | None, float]:
    """The solve that explains most; and longest over shortest focal length among it and its rivals."""
    if not solves:
        return None, 1.0
    reach = max(solve.registered.sum() for solve in solves)
    full = [solve for solve in solves if solve.registered.sum() >= reach - 1]
    most = max(solve.observation_count for solve in full)
    scores = np.array([solve.score(most) for solve in full])
    rivals = [solve.focal for solve, score in zip(full, scores, strict=True) if score < SEED_RIVAL * scores.min()]
    return full[int(np.argmin(scores))], max(rivals) / min(rivals)


def _unsolved(reason: str) -> StereoDiffError:
    return StereoDiffError("camera_unsolved", f"The camera could not be solved: {reason}.")


# --- What is handed back ---------------------------------------------------------------------------------------

def _static_solution(inputs: _SolveInput) -> CameraSolution:
    inputs.report.stage("solve", 1)
    solved = inputs.linked
    warn_static(inputs.report)
    if inputs.focal is None:
        warn_assumed_focal(inputs.report)
    warn_unsolved(inputs.report, solved, inputs.first_frame)
    inputs.report.progress(1)
    poses = np.tile(np.eye(4), (len(solved), 1, 1))
    return _without_points(inputs, "static", poses, inputs.guessed_focal, solved, np.full(len(solved), np.nan))


def _rotation_solution(inputs: _SolveInput, keyframe_fit: RotationFit) -> CameraSolution:
    measured = inputs.focal is None and keyframe_fit.focal_rel_std < ROTATION_FOCAL_REL_STD
    start = keyframe_fit.focal if measured else inputs.guessed_focal
    fit = fit_rotations_from(inputs.square, inputs.frames, start, free_focal=measured)
    close = fit.residual_px < ROTATION_GATE_PX
    frame = inputs.frames[fit.observations.camera[close]]
    solved = np.bincount(frame, minlength=inputs.tracks.frame_count) >= MIN_COMMON_TRACKS
    if solved.mean() < MIN_SOLVED_SHARE:
        raise _unsolved("neither a traveling nor a turning camera explains the tracks")
    rotations = np.tile(np.eye(3), (len(solved), 1, 1))
    rotations[inputs.frames] = np.swapaxes(fit.rotations, -1, -2)
    poses = np.tile(np.eye(4), (len(solved), 1, 1))
    poses[:, :3, :3], _ = fill_unsolved(rotations, np.zeros((len(solved), 3)), solved)
    warn_rotation(inputs.report, is_certain=keyframe_fit.is_certain,
                  tracks_per_frame=float(np.median(np.bincount(frame, minlength=len(solved))[solved])))
    if inputs.focal is None and not measured:
        warn_assumed_focal(inputs.report)
    warn_unsolved(inputs.report, solved, inputs.first_frame)
    mean = mean_by_frame(frame, fit.residual_px[close], solved)
    return _without_points(inputs, "rotation", rebase(poses), fit.focal, solved, mean)


def _moving_solution(inputs: _SolveInput, fitted: CameraFit, focal_spread: float) -> CameraSolution:
    parallax = float(np.median(fitted.point_parallax_deg))
    is_focal_unreliable = _warn_about(inputs, fitted, focal_spread, parallax)
    poses, points = _in_gauge(fitted)
    mean = mean_by_frame(fitted.frame, fitted.residual_px, fitted.solved)
    raster = fitted.pixels / (inputs.pixel_aspect, 1.0) + 0.5 * np.array(inputs.tracks.size)
    bounds = np.searchsorted(fitted.frame, np.arange(len(poses) + 1))
    observations = [(fitted.point[a:b], raster[a:b]) for a, b in zip(bounds[:-1], bounds[1:], strict=True)]
    return CameraSolution("moving", poses, _intrinsics(inputs, fitted.focal), fitted.solved, mean, points,
                          fitted.point_parallax_deg, observations, is_focal_unreliable)


def _warn_about(inputs: _SolveInput, fitted: CameraFit, focal_spread: float, parallax: float) -> bool:
    """Whether the shot speaks against its own lens."""
    per_frame = np.bincount(fitted.frame, minlength=len(fitted.solved))[fitted.solved]
    warn_moving_camera(inputs.report, tracks_per_frame=float(np.median(per_frame)), parallax_deg=parallax,
                       residual_px=float(np.mean(fitted.residual_px)))
    warn_unsolved(inputs.report, fitted.solved, inputs.first_frame)
    if inputs.focal is not None:
        return False
    if inputs.square.frame_count < MIN_FRAMES_FOR_FOCAL:
        warn_assumed_focal(inputs.report)
        return False
    return warn_weak_focal(inputs.report, focal_spread=focal_spread, rel_std=fitted.focal_rel_std,
                           jackknife_ratio=focal_jackknife_ratio(fitted),
                           width_share=fitted.focal / inputs.square.size[0])


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


def _without_points(inputs: _SolveInput, kind: str, poses, focal: float, solved, mean) -> CameraSolution:
    nothing = [(np.zeros(0, np.int64), np.zeros((0, 2))) for _ in range(len(poses))]
    return CameraSolution(kind, poses, _intrinsics(inputs, focal), solved, mean, np.zeros((0, 3)), np.zeros(0), nothing)


def _intrinsics(inputs: _SolveInput, focal: float) -> np.ndarray:
    width, height = inputs.tracks.size
    return np.tile([focal / inputs.pixel_aspect, focal, 0.5 * width, 0.5 * height], (inputs.tracks.frame_count, 1))


def mean_by_frame(frame: np.ndarray, residual_px: np.ndarray, solved: np.ndarray) -> np.ndarray:
    """Mean residual of each frame, (T,); nan where a frame is not solved."""
    count = np.bincount(frame, minlength=len(solved))
    total = np.bincount(frame, residual_px, len(solved))
    return np.divide(total, count, out=np.full(len(solved), np.nan), where=(count > 0) & solved)
