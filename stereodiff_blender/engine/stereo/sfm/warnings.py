"""What the artist should know about a camera solve: the thresholds, and the sentences."""

from __future__ import annotations

import numpy as np

from ...contract import Distortion, LensResult
from ...report import Report
from .scale_drift import ScaleDrift

MAX_FOCAL_REL_STD = 0.03
FOCAL_SPREAD = 1.25
MAX_FOCAL_JACKKNIFE_RATIO, FOCAL_CONTRADICTION = 1.08, 1.25
MAX_FOCAL_HALVES_RATIO = 1.15
"""1.29 of a crop that wanders by 14 pixels; up to 1.06 of clips with a lens that is well told."""
LONG_LENS = 2.5
SHORT_LENS = 0.35
LOW_TEXTURE_TRACKS = 320
LITTLE_PARALLAX_DEG = 2.0
HIGH_RESIDUAL_PX = 1.0
"""Of the plate: from there on sliding is seen."""
MAX_SCALE_DRIFT = 0.10
"""0.18 where a head turns by 10 degrees a frame and the path is 6 % off; up to 0.035 of clips that are solved well."""


def frame_ranges(frames: np.ndarray) -> str:
    """Frame numbers in words: "frame 7", "frames 3-5 and 9", "frames 1-2, 5 and 8-9"."""
    runs = np.split(frames, np.flatnonzero(np.diff(frames) > 1) + 1)
    names = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
    listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return f"frame{'s' if len(frames) > 1 else ''} {listed}"


def warn_static(report: Report) -> None:
    report.warn("static_camera", "The camera does not move: there is no parallax to measure depth from. Use a moving "
                                 "camera, or an engine that estimates depth from single pictures.")


def warn_covered_background(report: Report, moving_share: float) -> None:
    """moving_share: of the tracks, before a background that stands still."""
    report.warn("large_motion", f"{100 * moving_share:.0f} % of what was followed moves by itself; the rest of the "
                                "picture does not move at all, so the camera was taken to stand still. Give a matte of "
                                "what moves if that is wrong.")


def warn_narrow_view(report: Report, width_share: float) -> None:
    """width_share: focal length over width, as a turn on the spot tells it."""
    report.warn("weak_focal", f"The turn tells a lens of {36 * width_share:.0f} mm on a 36 mm sensor, which few shots "
                              "are made with; a camera that travels straight over flat ground, or along a wall, looks "
                              "like this. Enter focal length and sensor size if you know them: that tells a turn from "
                              "a travel.")


def warn_doubtful_lens(report: Report, *, given_share: float, fitting_share: float, sensor_mm: float) -> None:
    """Focal lengths over the picture's width: the one given, and the one that fits far better."""
    report.warn("lens_doubtful", f"A lens of {fitting_share * sensor_mm:.3g} mm on a sensor {sensor_mm:.3g} mm wide "
                                 f"fits the shot far better than the {given_share * sensor_mm:.3g} mm that were given; "
                                 f"look at the sensor's width, too: {given_share * sensor_mm:.3g} mm would fit one "
                                 f"{given_share * sensor_mm / fitting_share:.3g} mm wide. If the lens is right, the "
                                 "picture may be stabilized, reframed, or strongly distorted.")


def warn_doubtful_distortion(report: Report, given: Distortion) -> None:
    if not given.bends:
        report.warn("lens_doubtful", "The lens was given as one without distortion, but the shot has some: give its "
                                     "coefficients, or leave the distortion for the shot to tell.")
        return
    what = ("whether the calibration is a fisheye's, at the order of K1 to K4," if given.is_fisheye
            else "the signs of K1 to K3,")
    report.warn("lens_doubtful", "The distortion that was given for the lens does not fit the shot, which bends "
                                 f"otherwise: look at {what} and whether the plate is undistorted already.")


def warn_doubtful_axis(report: Report, *, is_center: bool) -> None:
    """is_center: the picture's center fits better than the principal point that was given; else its mirror image."""
    where = "the picture's center" if is_center else "one as far above the middle row as it is below, or the other way,"
    report.warn("lens_doubtful", f"The principal point that was given does not fit the shot: {where} fits far better. "
                                 "Look at where it is counted from, and whether the plate was cropped.")


def warn_doubtful_readout(report: Report, given: float, told: float) -> None:
    """In frames: the readout that was given, and the one that the shot tells."""
    report.warn("lens_doubtful", f"The rolling shutter that was given, {_share(given)}, does not fit the shot, which "
                                 f"tells {_share(told)}: look at the frame rate, and at the sign, which is below 0 "
                                 "where the bottom row comes first.")


def warn_doubtful_shutter(report: Report, given: float) -> None:
    """Of a camera that only turns. given: in frames."""
    report.warn("lens_doubtful", f"The rolling shutter that was given, {_share(given)}, does not fit the shot, whose "
                                 "turn is explained better by one that takes all rows at once: look at the frame rate, "
                                 "and at the sign, which is below 0 where the bottom row comes first.")


def warn_unused_shutter(report: Report) -> None:
    report.warn("rolling_shutter", "The rolling shutter that was given is not taken into account, because too few "
                                   "frames, or too many moving things, tell how the camera turns.")


def _share(readout: float) -> str:
    return f"{100 * readout:.0f} % of the time from frame to frame"


def warn_doubtful_rotation(report: Report, off: np.ndarray, misfit_px: np.ndarray, first_frame: int) -> None:
    """off: indices of the frames that a turn does not explain. misfit_px: typical distance of tracks, by frame, in
    pixels of the plate."""
    if len(off):
        report.warn("rotation_doubtful", f"A turn on the spot does not explain {frame_ranges(off + first_frame)}: "
                                         f"points are off by up to {np.nanmax(misfit_px):.1f} pixels of the plate "
                                         "there. Solve those frames and the others each by themselves.")


def warn_doubtful_travel(report: Report) -> None:
    report.warn("travel_doubtful", "A turn on the spot explains the shot nearly as well as the travel that was solved: "
                                   "if the camera stood on a tripod, depth and path mean nothing. Give a matte of what "
                                   "moves, or the lens, to tell them apart.")


def warn_lens(report: Report, lens: LensResult, zoom_ratio: float, *, has_depth: bool) -> None:
    """What a solved lens does beside the pinhole. zoom_ratio: longest over shortest focal length."""
    if lens.distortion is not None and not lens.is_given:
        kind = "is a fisheye" if lens.distortion.is_fisheye else "bends the picture"
        depth = ", and depth lies on the plate as it was shot" if has_depth else ""
        report.warn("lens_distorts", f"The lens {kind} (K1 {_measured(lens.distortion.k1, lens.k1_std)}, "
                                     f"K2 {_measured(lens.distortion.k2, lens.k2_std)}): the camera is that of the "
                                     f"undistorted plate{depth}.")
    if lens.zooms:
        report.warn("lens_zooms", f"The lens zooms: the longest focal length is {zoom_ratio:.3f} times the shortest.")
    if lens.readout:
        source = "as was given" if lens.readout_std is None else f"give or take {100 * lens.readout_std:.1f} %"
        report.warn("rolling_shutter", f"The rows are read out one after the other, in {_share(abs(lens.readout))} "
                                       f"({source}): each frame's camera is that of its middle row.")


def _measured(value: float, deviation: float | None) -> str:
    return f"{value:.4f} give or take {deviation:.4f}" if deviation else f"{value:.4g}"


def warn_turning_frames(report: Report, turning: np.ndarray, first_frame: int) -> None:
    """turning: (T,) bool, frames of a traveling camera that only turn."""
    frames = np.flatnonzero(turning) + first_frame
    if len(frames):
        report.warn("turns_in_part", f"In {frame_ranges(frames)} the camera only turns: its rotation is solved, and it "
                                     "was left in its place. Depth of what no other frame shows is not measured there.")


def warn_object_track(report: Report) -> None:
    report.warn("object_track", "Only something in the middle of the picture was followed, and the camera circles it: "
                                "if that thing turns before a camera that stands still, this is its object track.")


def warn_rotation(report: Report, *, is_certain: bool, tracks_per_frame: float) -> None:
    """is_certain: nearly all tracks lie where a turn on the spot puts them; else the camera may travel a little.
    tracks_per_frame: median number of tracks in a frame that fit."""
    finding = "The camera only rotates" if is_certain else "The camera travels too little, if at all, to measure by"
    report.warn("rotation_only", f"{finding}: its rotation is solved, but no depth.")
    _warn_low_texture(report, tracks_per_frame)


def warn_assumed_focal(report: Report) -> None:
    report.warn("focal_assumed", "The shot does not tell the lens; an ordinary one was assumed. Enter focal length and "
                                 "sensor size if you know them.")


def warn_unsolved(report: Report, solved: np.ndarray, first_frame: int) -> None:
    """solved: (T,) bool."""
    missing = np.flatnonzero(~solved) + first_frame
    if len(missing):
        named = frame_ranges(missing)
        whose = "their camera is" if len(missing) > 1 else "its camera is"
        report.warn("frames_unsolved", f"{named.capitalize()} could not be solved; {whose} interpolated.")


def warn_not_given(report: Report, known: np.ndarray, first_frame: int) -> None:
    """known: (T,) bool, of given cameras."""
    missing = np.flatnonzero(~known) + first_frame
    if len(missing):
        report.warn("frames_unsolved", f"No camera was given of {frame_ranges(missing)}; it is interpolated.")


def warn_moving_camera(report: Report, *, tracks_per_frame: float, parallax_deg: float, residual_px: float) -> None:
    """tracks_per_frame: median number of static tracks in a frame; parallax_deg: median over the points. residual_px:
    in pixels of the plate."""
    warn_used_cameras(report, tracks_per_frame=tracks_per_frame, parallax_deg=parallax_deg)
    if residual_px > HIGH_RESIDUAL_PX:
        report.warn("high_residual", f"The solved camera misses the tracked points by {residual_px:.1f} pixels of the "
                                     "plate: check for lens distortion, rolling shutter or a zoom.")


def warn_used_cameras(report: Report, *, tracks_per_frame: float, parallax_deg: float) -> None:
    """What there is to know of a traveling camera however well it fits; as warn_moving_camera."""
    _warn_low_texture(report, tracks_per_frame)
    if parallax_deg < LITTLE_PARALLAX_DEG:
        report.warn("little_parallax", f"The view of a point changes by only {parallax_deg:.1f} degrees: far depth is "
                                       "uncertain. A longer camera move measures better.")


def warn_scale_drift(report: Report, drift: ScaleDrift | None, first_frame: int) -> None:
    """drift: None where the shot is too short to tell."""
    if drift is not None and drift.share > MAX_SCALE_DRIFT:
        few = f"{drift.links} points tell" if drift.links != 1 else "one point tells"
        change = f"{100 * drift.share:.0f} %" if drift.share < 1.0 else "more than 100 %"
        report.warn("scale_drift", f"The scale may change by {change} along the shot: between frames "
                                   f"{drift.first + first_frame} and {drift.last + first_frame} no more than {few} how "
                                   "large what comes after is against what was before.")


def warn_doubtful_cameras(report: Report, *, explained_share: float, residual_px: float) -> None:
    """Of given cameras: share of the tracked observations that they explain, and the mean miss of those, in pixels of
    the plate."""
    report.warn("cameras_doubtful", f"The given cameras explain {100 * explained_share:.0f} % of the tracked points, "
                                    f"and miss those by {residual_px:.1f} pixels of the plate.")


def _warn_low_texture(report: Report, tracks_per_frame: float) -> None:
    if tracks_per_frame < LOW_TEXTURE_TRACKS:
        report.warn("low_texture", f"There is little texture to track: only about {tracks_per_frame:.0f} points "
                                   "hold in a frame. The result is less certain.")


def warn_weak_zoom(report: Report, ratio: float) -> bool:
    """Whether it is open how the lens zooms. ratio: longest over shortest focal length that solves of it end with."""
    if ratio <= FOCAL_SPREAD:
        return False
    report.warn("weak_focal", "The lens zooms, but the shot tells its focal length only roughly, so camera and depth "
                              "may be wrong: what is seen from more sides while it zooms would tell it.")
    return True


def warn_weak_focal(report: Report, *, focal_spread: float, rel_std: float, jackknife_ratio: float,
                    halves_ratio: float = 1.0, width_share: float, is_travel_doubtful: bool = False) -> bool:
    """Whether the shot speaks against the lens found for it, not only for too little of it; warns of either.

    focal_spread: longest over shortest focal length that explains the shot about as well. rel_std: of it.
    jackknife_ratio: longest over shortest that parts of the picture tell; halves_ratio: that halves of the shot tell.
    width_share: focal length over width. is_travel_doubtful: a turn explains the shot nearly as well, and a turn tells
    another lens; so any doubt of the lens is one of all that was solved with it.
    """
    is_odd = not SHORT_LENS < width_share < LONG_LENS
    is_disputed = jackknife_ratio > MAX_FOCAL_JACKKNIFE_RATIO
    if is_odd:
        reason = (f"The shot tells a lens of {36 * width_share:.0f} mm on a 36 mm sensor, which few shots are made "
                  "with; a zoom during the shot, or a picture that was stabilized or reframed, looks like this.")
    elif is_disputed:
        reason = ("Parts of the picture tell different focal lengths, so camera and depth may be wrong: the lens may "
                  "distort strongly, as those of wide and action cameras do (undistort the footage), much may be "
                  "moving (give a matte of it), the lens may zoom, or the picture be stabilized or reframed.")
    elif halves_ratio > MAX_FOCAL_HALVES_RATIO:
        reason = ("Beginning and end of the shot tell different focal lengths, so camera and depth may be wrong: the "
                  "picture may be stabilized or reframed (solve it as it was filmed), the lens may zoom or distort "
                  "strongly, or much may be moving.")
    elif focal_spread > FOCAL_SPREAD or rel_std > MAX_FOCAL_REL_STD:
        reason = "The shot tells the focal length only roughly."
    else:
        return False
    report.warn("weak_focal", f"{reason} Enter focal length and sensor size if you know them.")
    return is_odd or is_travel_doubtful or max(jackknife_ratio, halves_ratio) > FOCAL_CONTRADICTION
