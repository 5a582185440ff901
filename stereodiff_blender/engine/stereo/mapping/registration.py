"""From keyframes to every frame: the rest of the cameras, and the last adjustment of all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ...contract import Distortion
from ...geometry import interpolate_rotations, rotation_angle_deg
from .anchors import MOST_TOGETHER, adjust_on_anchors, choose_anchors, observed_twice
from .bundle_adjustment import BundleOptions, lens_covariance
from .bundle_state import BundleState, Observations
from .reconstruction import Reconstruction
from .triangulation import parallax_deg

Rounds = tuple[tuple[float, float, int, float], ...]
"""Gate in px, width of the loss in px, iterations, tolerance, of one round after the other."""
ADJUSTMENT_ROUNDS: Rounds = ((4.0, 1.0, 8, 1e-3), (2.0, 1.0, 12, 1e-3), (1.5, 0.3, 60, 2e-5))
COARSE_LOSS_PX = 1.0
"""Below it, a width is for the noise of tracks, which is that of the pictures they were measured in."""
MIN_PARALLAX_DEG = 0.5
MIN_VIEWS = 3
MIN_SHARE = 0.5
MIN_INLIERS = 12
JUMP_DEG = 2.0
JUMP_RATIO = 6.0


@dataclass(frozen=True)
class CameraFit:
    """Cameras of all frames and what they rest on.

    rotations (T,3,3), translations (T,3): world to camera. solved (T,) bool: False where interpolated.
    frame, point (N,) int and pixels (N,2): the observations that fit, where a pinhole without a rolling shutter would
    have shown them; filmed (N,2): where they were; None: there.
    residual_px (N,). points (P,3), nan where unknown; point_parallax_deg (P,). distortion: of the lens; None of a
    pinhole. radial_std (2,): standard deviations of its k1 and k2.
    zoom (T,): natural logarithm of each frame's focal length over focal; None where all have the same.
    readout: of a rolling shutter, in frames, first row to last, and its deviation.
    """

    rotations: np.ndarray
    translations: np.ndarray
    solved: np.ndarray
    focal: float
    focal_rel_std: float
    frame: np.ndarray
    point: np.ndarray
    pixels: np.ndarray
    residual_px: np.ndarray
    points: np.ndarray
    point_parallax_deg: np.ndarray
    distortion: Distortion | None = None
    radial_std: tuple[float, float] = (0.0, 0.0)
    zoom: np.ndarray | None = None
    filmed: np.ndarray | None = None
    readout: float = 0.0
    readout_std: float = 0.0


def register_all_frames(reconstruction: Reconstruction, progress, *,
                        choose: Callable[[Reconstruction], bool] | None = None,
                        rounds: Rounds = ADJUSTMENT_ROUNDS) -> CameraFit:
    """Resect the frames between, adjust everything in rounds of tightening gates, fill in what has no camera.

    Frames that saw too little of it then get a second chance: more points are known by now, and better.

    Parameters
    ----------
    reconstruction : Reconstruction
        With cameras of some frames. It is adjusted in place.
    progress : callable
        Is called without arguments after every round.
    choose : callable or None
        Is called with the reconstruction after the first round, when every frame's neighbors are known. It may let the
        lens do more, and then returns True, and the first round is done again.
    rounds : tuple
        Of the adjustment: gate in px, width of the loss in px, iterations, tolerance. Fewer will do for what is nearly
        adjusted.

    Returns
    -------
    CameraFit
        Of all T frames.
    """
    _resect(reconstruction, ~reconstruction.registered)
    open_ = ~reconstruction.registered
    solved, frames, observations, fits = _adjusted(reconstruction, rounds, progress, choose)
    if _resect(reconstruction, open_):
        solved, frames, observations, fits = _adjusted(reconstruction, rounds, progress=lambda: None)
    return _camera_fit(reconstruction, frames, observations.select(fits & solved[frames][observations.camera]), solved)


def _resect(reconstruction: Reconstruction, chosen: np.ndarray) -> bool:
    """Whether one of the frames chosen, (T,) bool, got a camera."""
    return sum(reconstruction.resect(int(index)) for index in np.flatnonzero(chosen)) > 0


def _adjusted(reconstruction: Reconstruction, rounds: Rounds, progress,
              choose=None) -> tuple[np.ndarray, np.ndarray, Observations, np.ndarray]:
    """Frames (T,) solved; and as _adjust_all has it, without those that are not plausible."""
    frames, observations, fits = _adjust_all(reconstruction, rounds, progress, choose)
    solved = _plausible_frames(reconstruction, observations.camera[fits], frames)
    if not solved[frames].all():
        reconstruction.registered &= solved
        frames, observations, fits = _adjust_all(reconstruction, rounds, progress=lambda: None)
        solved &= _plausible_frames(reconstruction, observations.camera[fits], frames)
    return solved, frames, observations, fits


def _adjust_all(reconstruction: Reconstruction, rounds: Rounds, progress,
                choose=None) -> tuple[np.ndarray, Observations, np.ndarray]:
    """Frames (C,), their observations (N,) and which of them (N,) fit after the last round."""
    frames, observations = reconstruction.observations(reconstruction.registered)
    reconstruction.points = reconstruction.triangulated(frames, observations)
    for number, round_ in enumerate(rounds):
        if not _adjust_round(reconstruction, frames, observations, round_):
            break
        if number == 0 and choose is not None and choose(reconstruction):
            reconstruction.points = reconstruction.triangulated(frames, observations)
            _adjust_round(reconstruction, frames, observations, round_)
        progress()
    return frames, observations, _inliers(reconstruction, frames, observations, 2.0 * rounds[-1][0])


def _adjust_round(reconstruction: Reconstruction, frames: np.ndarray, observations: Observations, round_) -> bool:
    """Whether anything was near enough to be adjusted to. round_: of Rounds."""
    gate, loss, iterations, tolerance = round_
    loss *= reconstruction.tracks.measured_px if loss < COARSE_LOSS_PX else 1.0
    fits = _inliers(reconstruction, frames, observations, gate)
    if fits.any():
        adjust_on_anchors(reconstruction, frames, observations.select(fits), loss_px=loss,
                          iterations=iterations, tolerance=tolerance)
    return bool(fits.any())


def _inliers(reconstruction: Reconstruction, frames: np.ndarray, observations: Observations,
             gate_px: float) -> np.ndarray:
    """(N,) as of Reconstruction.inliers."""
    return reconstruction.inliers(frames, observations, gate_px=gate_px, min_parallax_deg=MIN_PARALLAX_DEG,
                                  min_views=min(MIN_VIEWS, len(frames)), min_share=MIN_SHARE)


def _plausible_frames(reconstruction: Reconstruction, camera: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """(T,) frames with enough observations that fit, and no jump that their neighbors contradict."""
    count = np.zeros(reconstruction.tracks.frame_count, np.int64)
    count[frames] = np.bincount(camera, minlength=len(frames))
    return (count >= MIN_INLIERS) & ~_jumps(reconstruction, count)


def _jumps(reconstruction: Reconstruction, count: np.ndarray) -> np.ndarray:
    """(T,) frames turned far off the middle of their neighbors while resting on far fewer points than they."""
    jumps = np.zeros(len(count), bool)
    rotations = reconstruction.rotations
    if len(count) < 5:
        return jumps
    halfway = interpolate_rotations(rotations[:-2], rotations[2:], np.full(len(count) - 2, 0.5))
    off = rotation_angle_deg(np.swapaxes(halfway, -1, -2) @ rotations[1:-1])
    fewer = count[1:-1] < 0.5 * np.minimum(count[:-2], count[2:])
    jumps[1:-1] = fewer & (off > max(JUMP_DEG, JUMP_RATIO * float(np.median(off))))
    return jumps


def _camera_fit(reconstruction: Reconstruction, frames, observations: Observations, solved: np.ndarray) -> CameraFit:
    rotations, translations = reconstruction.rotations, reconstruction.translations
    parallax = parallax_deg(rotations[frames], translations[frames], reconstruction.points, observations)
    used, point = np.unique(observations.point, return_inverse=True)
    state = reconstruction.state(frames)
    residual = state.residual_px(observations)
    free = replace(reconstruction.free_lens(frames), focal=reconstruction.free_focal, zoom=None)
    stds = np.zeros(4)
    if (free.focal or free.radial or free.readout) and len(used):
        found = _lens_std(state, observations, free)
        stds[:len(found)] = found
    distortion = reconstruction.distortion if reconstruction.radial else None
    ideal = _ideal(reconstruction, frames, observations)
    return CameraFit(rotations, translations, solved, reconstruction.focal, float(stds[0] / reconstruction.focal),
                     frames[observations.camera], point.reshape(-1), ideal, residual, reconstruction.points[used],
                     parallax[used], distortion, (float(stds[1]), float(stds[2])),
                     reconstruction.zoom.copy() if reconstruction.zooms else None, observations.pixels,
                     reconstruction.readout, float(stds[3]))


def _ideal(reconstruction: Reconstruction, frames: np.ndarray, observations: Observations) -> np.ndarray:
    """(N,2) where a pinhole of the one focal length would have shown the observations, all rows at once."""
    pixels = reconstruction.ideal(observations.pixels, frames[observations.camera])
    if not reconstruction.rolls:
        return pixels
    state = reconstruction.state(frames)
    rolled, still = (one.in_camera(observations) for one in (state, replace(state, shutter=None)))
    return pixels + state.focal * (still[:, :2] / still[:, 2:] - rolled[:, :2] / rolled[:, 2:])


def _lens_std(state: BundleState, observations: Observations, free: BundleOptions) -> np.ndarray:
    """(S,) standard deviations of the state's lens; from the anchors of a clip too long to be adjusted as a whole."""
    cameras = np.ones(len(state.rotations), bool)
    if len(cameras) > MOST_TOGETHER:
        cameras = choose_anchors(observations, len(cameras))
    observations = observations.select(cameras[observations.camera] & observed_twice(observations,
                                                                                     cameras)[observations.point])
    used, point = np.unique(observations.point, return_inverse=True)
    part = replace(state, rotations=state.rotations[cameras], translations=state.translations[cameras],
                   points=state.points[used], zoom=None if state.zoom is None else state.zoom[cameras],
                   shutter=None if state.shutter is None else state.shutter.select(cameras))
    compact = Observations((np.cumsum(cameras) - 1)[observations.camera], point.reshape(-1), observations.pixels)
    covariance = lens_covariance(part, compact, free=free, loss_px=ADJUSTMENT_ROUNDS[-1][1])
    return np.sqrt(np.diag(covariance))
