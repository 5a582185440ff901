"""The automatic camera solve: from frames to the camera of every frame, the lens, and points of the scene.

Steps: follow features, and measure them once more in the plate, where that is larger; recognize a camera that stands
still or only turns; otherwise try a few focal lengths, each with a solve on a few keyframes, and go on from the one
that explains most; add the other keyframes, then all frames; close the loop where a place is seen again.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...contract import StereoDiffError, distortion_fault
from ...solution import CameraSolution, KnownLens
from ...storage import RunContext
from ..mapping import ADJUSTMENT_ROUNDS, CameraFit
from ..tracking import Tracks, longest_linked_run, refine_on_plates, thin_tracks, track_features
from .keyframes import choose_keyframes
from .lens_check import lens_that_fits
from .lens_choice import contradicts_axis, contradicts_distortion, contradicts_readout
from .loops import close_loops
from .model_choice import contest, is_turn, may_be_turn, turn_of_all_frames, turn_of_keyframes
from .object_track import is_object_track
from .rotation import RotationFit, is_static
from .shot import MIN_SOLVED_SHARE, Steps, TrackedShot, square_tracks, unsolved
from .solutions import filmed_pixels, moving_solution, rotation_solution, static_solution
from .still_background import find_still_background
from .traveling import Travel, find_travel, focal_seeds, with_ordinary_lens
from .turning_shutter import contradicts_shutter, without_shutter
from .warnings import (
    warn_doubtful_axis,
    warn_doubtful_distortion,
    warn_doubtful_lens,
    warn_doubtful_readout,
    warn_doubtful_shutter,
    warn_doubtful_travel,
    warn_object_track,
)

TRACKS_PER_FRAME = 1000
MIN_TRACKS = 40
MIN_TRACK_LENGTH = 3
MAX_SEED = 2**31
USUAL_SENSOR_MM = 36.0


def solve_cameras(frames, *, lens: KnownLens | None = None, pixel_aspect: float = 1.0, masks=None,
                  readout: float | None = None, seed: int = 0, context: RunContext) -> CameraSolution:
    """Solve the camera of every frame.

    Inside, x is stretched by pixel_aspect, so that pixels are square and one focal length f, in rows, serves both axes;
    the solution has fx = f / pixel_aspect and fy = f.

    Parameters
    ----------
    frames : ndarray
        (T,H,W,3) uint8 RGB, an array or memory map; read one frame at a time.
    lens : KnownLens or None
        None where it is not known: the shot itself tells, then.
    pixel_aspect : float
        True width / height of one raster pixel, between 0.1 and 10.
    masks : ndarray or None
        (T,H,W) bool-like, true where nothing may be tracked because it moves.
    readout : float or None
        Of a known rolling shutter, in frames, as of contract.LensResult; None: the shot tells, if the camera travels.
    seed : int
        Of every random draw.
    context : RunContext
        Its scratch keeps the tracks for a later run; in its plates, if it has some, they are measured. Its report is
        told the stages "track" and "solve".

    Returns
    -------
    CameraSolution
        The gauge: first camera at the origin, median depth of the points it sees is 1.

    Raises
    ------
    StereoDiffError
        "camera_unsolved" with the reason in words; "clip_too_short" for fewer than two frames; "settings_invalid" for a
        lens or pixel aspect that cannot be.
    ValueError
        If frames, masks or plates have another shape or type.

    Notes
    -----
    Warns "static_camera", "large_motion", "rotation_only", "rotation_doubtful", "travel_doubtful", "turns_in_part",
    "object_track", "focal_assumed", "lens_distorts", "lens_zooms", "rolling_shutter",
    "lens_doubtful", "frames_unsolved", "little_parallax", "high_residual",
    "scale_drift", "low_texture" and "weak_focal".
    """
    _check(frames, lens, pixel_aspect, masks)
    _check_plates(frames, context.plates)
    followed = follow_tracks(frames, masks, context)
    tracks = chosen_tracks(followed, context)
    linked = longest_linked_run(tracks)
    _check_tracks(tracks, linked, context.told_from)
    tracks = tracks.select(linked[tracks.frame])
    focal = None if lens is None else lens.focal_px * pixel_aspect
    axis = (lens and lens.principal_point) or (0.5 * tracks.size[0], 0.5 * tracks.size[1])
    distortion = None if lens is None else lens.distortion
    square = square_tracks(tracks, axis, pixel_aspect, focal, distortion)
    sensor_mm = USUAL_SENSOR_MM if lens is None else lens.sensor_mm or USUAL_SENSOR_MM
    shot = TrackedShot(tracks, square, np.flatnonzero(linked), focal, axis, pixel_aspect, sensor_mm, seed % MAX_SEED,
                       context.told_from, context.report, distortion, context.plate_scale, readout,
                       cores=context.cores)
    return _solve(shot, followed, frames)


def follow_tracks(frames, masks, context: RunContext) -> Tracks:
    """The tracks of this clip; those that an earlier run has followed, if there was one."""
    kept = context.scratch.load("tracks")
    if kept is not None:
        return Tracks.from_arrays(kept)
    tracks = track_features(frames, masks, context.report, context.cores)
    context.scratch.save("tracks", tracks.as_arrays())
    return tracks


def chosen_tracks(followed: Tracks, context: RunContext) -> Tracks:
    """Those that a solve is made with, as the plates show them; those that an earlier run has chosen, if there was one.
    """
    kept = context.scratch.load("chosen_tracks")
    if kept is not None:
        return Tracks.from_arrays(kept)
    min_length = min(MIN_TRACK_LENGTH, followed.frame_count)
    tracks = thin_tracks(followed, per_frame=TRACKS_PER_FRAME, min_length=min_length)
    if context.plates is not None:
        tracks = refine_on_plates(tracks, context.plates, context.cores)
        context.scratch.save("chosen_tracks", tracks.as_arrays())
    return tracks


def _check_plates(frames, plates) -> None:
    if plates is not None and (plates.ndim != 3 or len(plates) != len(frames) or plates.dtype != np.uint8):
        raise ValueError(f"plates must be ({len(frames)},h,w) uint8, got {plates.shape} {plates.dtype}")


def _check(frames, lens: KnownLens | None, pixel_aspect, masks) -> None:
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8:
        raise ValueError(f"frames must be (T,H,W,3) uint8, got {frames.shape} {frames.dtype}")
    if masks is not None and masks.shape != frames.shape[:3]:
        raise ValueError(f"masks must be {frames.shape[:3]}, got {masks.shape}")
    if len(frames) < 2:
        raise StereoDiffError("clip_too_short", "A camera solve needs at least two frames.")
    if not (np.isfinite(pixel_aspect) and 0.1 < pixel_aspect < 10):
        raise StereoDiffError("settings_invalid", f"The pixel aspect must be between 0.1 and 10, got {pixel_aspect}.")
    if lens is not None:
        _check_lens(lens, frames.shape[2], frames.shape[1], pixel_aspect)


def _check_lens(lens: KnownLens, width: int, height: int, pixel_aspect: float) -> None:
    if not (np.isfinite(lens.focal_px) and lens.focal_px > 0):
        raise StereoDiffError("settings_invalid", f"The focal length must be positive, got {lens.focal_px}.")
    axis = lens.principal_point or (0.5 * width, 0.5 * height)
    focals = lens.focal_px, lens.focal_px * pixel_aspect
    fault = "" if lens.distortion is None else distortion_fault(lens.distortion, width, height, (*focals, *axis))
    if fault:
        raise StereoDiffError("settings_invalid", fault)


def _check_tracks(tracks: Tracks, linked: np.ndarray, first_frame: int) -> None:
    typical = float(np.median(tracks.per_frame))
    if typical < MIN_TRACKS:
        raise unsolved(f"only about {typical:.0f} points could be followed in a frame, {MIN_TRACKS} are needed")
    if linked.mean() < MIN_SOLVED_SHARE:
        run = np.flatnonzero(linked) + first_frame
        raise unsolved("the shot falls apart; the longest stretch in which points could be followed is frames "
                        f"{run[0]} to {run[-1]} (is there a cut, or much blur or darkness?)")


def _solve(shot: TrackedShot, followed: Tracks, frames: np.ndarray) -> CameraSolution:
    """followed: the tracks before they were thinned."""
    if is_static(shot.tracks, shot.frames):
        return static_solution(shot)
    background = find_still_background(followed, shot.frames)
    if background is not None:
        return static_solution(shot, background)
    keyframes = choose_keyframes(shot.square, shot.frames)
    steps = Steps(shot.report, 2 + len(focal_seeds(shot)) + len(ADJUSTMENT_ROUNDS))
    turning = without_shutter(shot, keyframes)
    rotation = turn_of_keyframes(turning, keyframes)
    steps.step()
    if rotation is not None and rotation.is_certain and rotation.zoom is None:
        whole = turn_of_all_frames(turning, rotation)
        if is_turn(turning, rotation, whole):
            return _solved_turn(shot, turning, rotation, whole)
    travel = _travel_or_turn(shot, keyframes, rotation, steps)
    if isinstance(travel, RotationFit):
        return _solved_turn(shot, turning, travel, turn_of_all_frames(turning, travel))
    fitted = travel.fitted
    shot.report.show(lambda: _depth_of_points(shot, fitted, frames))
    travel = close_loops(shot, travel, frames)
    fitting_focal = lens_that_fits(shot, keyframes, travel.fitted)
    is_bent = shot.distortion is not None and contradicts_distortion(travel.reconstruction)
    if is_bent and shot.readout is None:
        travel = replace(travel, fitted=replace(travel.fitted, readout=0.0))  # it explained a part of what is wrong
    _doubt_given_lens(shot, travel, fitting_focal, is_bent=is_bent)
    if is_object_track(followed, travel.fitted):
        warn_object_track(shot.report)
    return moving_solution(shot, travel, is_focal_doubtful=fitting_focal is not None)


def _depth_of_points(shot: TrackedShot, fitted: CameraFit, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The solved frame nearest to the middle, and the depth (H,W) of the points seen in it, 0 elsewhere."""
    solved = np.flatnonzero(fitted.solved)
    index = solved[np.abs(solved - len(frames) // 2).argmin()]
    depth = np.zeros(frames.shape[1:3], np.float32)
    observed = fitted.frame == index
    points = fitted.points[fitted.point[observed]] @ fitted.rotations[index].T + fitted.translations[index]
    columns, rows = np.floor(shot.raster_pixels(filmed_pixels(fitted)[observed])).astype(int).T
    inside = (columns >= 0) & (columns < frames.shape[2]) & (rows >= 0) & (rows < frames.shape[1])
    depth[rows[inside], columns[inside]] = points[inside, 2]
    return frames[index], depth


def _solved_turn(shot: TrackedShot, turning: TrackedShot, keyframe_fit: RotationFit, fit: RotationFit
                 ) -> CameraSolution:
    """turning: the shot that the fits are of, without a shutter that is known."""
    if shot.readout and turning.is_of_middle_rows and contradicts_shutter(shot, fit):
        warn_doubtful_shutter(shot.report, shot.readout)
    return rotation_solution(turning, keyframe_fit, fit)


def _doubt_given_lens(shot: TrackedShot, travel: Travel, fitting_focal: float | None, *, is_bent: bool) -> None:
    """Say the first thing that the shot contradicts of the lens and shutter that were given: it makes the next ones
    look wrong, too. fitting_focal: of the lens that fits far better than the given one, if there is one. is_bent: the
    shot contradicts its distortion."""
    found = travel.reconstruction
    if is_bent and shot.distortion is not None:
        warn_doubtful_distortion(shot.report, shot.distortion)
        return
    axis = contradicts_axis(found, shot)
    if axis is not None:
        warn_doubtful_axis(shot.report, is_center=axis == (0.5 * shot.tracks.size[0], 0.5 * shot.tracks.size[1]))
        return
    told = None if shot.readout is None else contradicts_readout(found)
    if told is not None:
        warn_doubtful_readout(shot.report, found.readout, told)
        return
    if fitting_focal is not None:
        warn_doubtful_lens(shot.report, given_share=travel.fitted.focal / shot.square.size[0],
                           fitting_share=fitting_focal / shot.square.size[0], sensor_mm=shot.sensor_mm)


def _travel_or_turn(shot: TrackedShot, keyframes: np.ndarray, rotation: RotationFit | None,
                    steps: Steps) -> Travel | RotationFit:
    """The traveling camera; or the turn, as it was fitted to the keyframes, where that is the better answer.

    Raises StereoDiffError "camera_unsolved" where neither is one.
    """
    try:
        travel = find_travel(shot, keyframes, steps.step)
    except StereoDiffError:
        if rotation is not None and may_be_turn(rotation):
            return rotation
        raise
    if rotation is None:
        return travel
    rivals = contest(shot, rotation, travel)
    if rivals.is_turn:
        return rotation
    if rivals.is_doubtful:
        warn_doubtful_travel(shot.report)
    if rotation.is_certain:
        travel = with_ordinary_lens(shot, keyframes, travel)
    elif rivals.is_doubtful:
        # One doubtful travel's word against another's: an unlikely lens must not be told by less than travel itself is.
        travel = with_ordinary_lens(shot, keyframes, travel,
                                    lambda held: not contest(shot, rotation, held).is_turn)
    return replace(travel, is_doubtful=rivals.is_doubtful)
