"""Cameras that do not travel: on a locked tripod, or turning on one, perhaps while the lens zooms.

Which kind a shot has is decided in solve.py, `_solve`: is_static and RotationFit.is_certain here are its first two
signs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ...contract import Distortion
from ...geometry import nearest_rotation
from ...lens import undistorted
from ...parallel import ONE_CORE, Cores
from ..mapping import BundleOptions, BundleState, Observations, bundle_adjust, lens_covariance, scatter_add
from ..tracking import Tracks

STATIC_SHIFT_PX = 0.5
REFERENCE_SHARE = 0.4
MIN_COMMON = 20
ROTATION_MEDIAN_PX = 0.2
ROTATION_SHARE = 0.9
FOCAL_GUESS_SHARE = 1.1
FOCAL_STARTS = (0.75, 1.8)
FOCAL_PRIOR_PX2 = 0.02
ANY_LENS_ITERATIONS, ANY_LENS_TOLERANCE = 100, 1e-5
ITERATIONS, TOLERANCE, BENT_TOLERANCE = 30, 1e-4, 1e-6
TRIAL_ITERATIONS, TRIAL_GATE_PX, TRIAL_SHARE = 5, 2.0, 0.6
"""Of a turn with a zoom, and the share of the observations that are to be so near for more of them."""
ALIGN_ROUNDS = 10
ALIGN_LOSS_PX = 1.5
MIN_APART_PX = 20.0
"""Of two tracks whose distance tells a zoom."""
PINHOLE = Distortion()


def guess_focal(tracks: Tracks) -> float:
    """The focal length to assume where nothing measures it: an ordinary lens, a little longer than the picture."""
    return FOCAL_GUESS_SHARE * max(tracks.size)


def is_static(tracks: Tracks, frames: np.ndarray) -> bool:
    """Whether the majority of tracks stays where it is through the frames, whatever moves in front."""
    reference, drift = frames[0], 0.0
    for index in frames[1:]:
        _, pixels_i, pixels_j = tracks.common(reference, index)
        if len(pixels_i) < MIN_COMMON:
            return False
        shift = drift + float(np.median(np.linalg.norm(pixels_j - pixels_i, axis=1)))
        if shift > STATIC_SHIFT_PX:
            return False
        if len(pixels_i) < REFERENCE_SHARE * len(tracks.observed(reference)[0]):
            reference, drift = index, shift
    return True


@dataclass(frozen=True)
class RotationFit:
    """A camera that only turns, fitted to frames (C,).

    rotations (C,3,3): world to camera. residual_px: (N,) of the observations `observations`, whose points are numbered
    anew; points (P,): the tracks' own numbers. focal_rel_std: relative, optimistic. zoom (C,): natural logarithm of
    each frame's focal length over focal, which is the middle one; None if the lens does not zoom. k1, k2, is_fisheye:
    how far the lens bends the picture, as of contract.Distortion; radial: how many of k1, k2 are free; radial_std:
    their deviations.
    """

    rotations: np.ndarray
    focal: float
    residual_px: np.ndarray
    observations: Observations
    points: np.ndarray
    cost_px2: float
    focal_rel_std: float
    zoom: np.ndarray | None = None
    radial: int = 0
    k1: float = 0.0
    k2: float = 0.0
    radial_std: tuple[float, float] = (0.0, 0.0)
    is_fisheye: bool = False

    @property
    def lens(self) -> Distortion:
        """That of a pinhole, too."""
        return Distortion(self.k1, self.k2, is_fisheye=self.is_fisheye)

    @property
    def distortion(self) -> Distortion | None:
        """None of a pinhole."""
        return self.lens if self.radial else None

    @property
    def widest_focal(self) -> float:
        """The shortest focal length that the lens zooms to."""
        return self.focal if self.zoom is None else self.focal * float(np.exp(self.zoom.min()))

    @property
    def is_certain(self) -> bool:
        """Whether nearly all observations lie where pure rotation puts them."""
        return bool(np.median(self.residual_px) < ROTATION_MEDIAN_PX and self.share_within(1.0) > ROTATION_SHARE)

    @property
    def misfit_px(self) -> np.ndarray:
        """(C,) median residual of each frame; nan where nothing is seen."""
        order = np.argsort(self.observations.camera, kind="stable")
        ends = np.cumsum(np.bincount(self.observations.camera, minlength=len(self.rotations)))[:-1]
        return np.array([np.median(frame) if len(frame) else np.nan
                         for frame in np.split(self.residual_px[order], ends)])

    def share_within(self, gate_px: float) -> float:
        return float(np.mean(self.residual_px < gate_px))


@dataclass(frozen=True)
class _Observed:
    """Tracks in frames (C,), as observations, whose points are numbered anew; points (P,): the tracks' own numbers."""

    tracks: Tracks
    frames: np.ndarray
    observations: Observations
    points: np.ndarray

    @classmethod
    def seen_twice(cls, tracks: Tracks, frames: np.ndarray) -> _Observed:
        """Those tracks that two or more of the frames see."""
        position = np.full(tracks.frame_count, -1)
        position[frames] = np.arange(len(frames))
        inside = position[tracks.frame] >= 0
        inside &= (np.bincount(tracks.point[inside], minlength=tracks.points) >= 2)[tracks.point]
        points, point = np.unique(tracks.point[inside], return_inverse=True)
        observations = Observations(position[tracks.frame[inside]], point.reshape(-1), tracks.pixels[inside])
        return cls(tracks, frames, observations, points)

    def steps(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Pixels, (n,2) each, of what is common to each frame and the next."""
        for index_i, index_j in zip(self.frames[:-1], self.frames[1:], strict=True):
            _, pixels_i, pixels_j = self.tracks.common(index_i, index_j)
            yield pixels_i, pixels_j


def fit_rotations(tracks: Tracks, frames: np.ndarray, focal: float | None, radial: int = 0,
                  cores: Cores = ONE_CORE) -> RotationFit | None:
    """Rotations and focal length (None: unknown) that explain the tracks best; None if the frames share too few.

    radial: how many of k1, k2 are free.
    """
    observed = _Observed.seen_twice(tracks, frames)
    if len(observed.observations.point) < MIN_COMMON:
        return None
    starts = [focal] if focal else [share * max(tracks.size) for share in FOCAL_STARTS]
    fits = cores.map(lambda start: _fit_from(observed, start, free_focal=focal is None, radial=radial), starts)
    return min(fits, key=lambda fit: fit.cost_px2)


def fit_any_lens(start: RotationFit) -> RotationFit:
    """The turn with the lens that fits it best, however unlikely, from where a likely one led."""
    free = BundleOptions(focal=True, positions=False, radial=start.radial)
    observed = start.observations
    state = state_of(start)
    state, cost = bundle_adjust(state, observed, free=free, iterations=ANY_LENS_ITERATIONS,
                                tolerance=ANY_LENS_TOLERANCE)
    return replace(start, rotations=state.rotations, focal=state.focal, residual_px=state.residual_px(observed),
                   cost_px2=cost, k1=state.k1, k2=state.k2)


def fit_zooming_rotations(tracks: Tracks, frames: np.ndarray, cores: Cores = ONE_CORE) -> RotationFit | None:
    """As fit_rotations, for a lens that zooms meanwhile: every frame has a focal length of its own. None, too, where a
    few steps from an ordinary lens lead nowhere near, as of most cameras that travel."""
    observed = _Observed.seen_twice(tracks, frames)
    if len(observed.observations.point) < MIN_COMMON:
        return None
    zoom = _measured_zoom(observed)
    trial = _fit_from(observed, guess_focal(tracks), free_focal=True, zoom=zoom, iterations=TRIAL_ITERATIONS)
    if trial.share_within(TRIAL_GATE_PX) < TRIAL_SHARE:
        return None
    fits = cores.map(lambda share: _fit_from(observed, share * max(tracks.size), free_focal=True, zoom=zoom),
                     FOCAL_STARTS)
    return min(fits, key=lambda fit: fit.cost_px2)


def fit_rotations_like(tracks: Tracks, frames: np.ndarray, start: RotationFit, *, free_focal: bool) -> RotationFit:
    """Of other frames, with a lens that may do what that of start may, and from there; they are known to share tracks.
    """
    observed = _Observed.seen_twice(tracks, frames)
    zoom = None if start.zoom is None else _measured_zoom(observed)
    return _fit_from(observed, start.focal, free_focal=free_focal, zoom=zoom, radial=start.radial, lens=start.lens)


def _fit_from(observed: _Observed, focal: float, *, free_focal: bool, zoom: np.ndarray | None = None,
              iterations: int = ITERATIONS, radial: int = 0, lens: Distortion = PINHOLE) -> RotationFit:
    """zoom (C,), None: the lens does not zoom; radial: how many of k1, k2 are free; lens: to begin with."""
    observations = observed.observations
    focals = focal * np.exp(np.zeros(len(observed.frames)) if zoom is None else zoom)
    rotations = [np.eye(3)]
    for number, (pixels_i, pixels_j) in enumerate(observed.steps()):
        rays_i, rays_j = _rays(pixels_i, focals[number], lens), _rays(pixels_j, focals[number + 1], lens)
        rotations.append(_align_rays(rays_i, rays_j, focal) @ rotations[-1])
    start = _state(np.array(rotations), observations, focal, zoom, lens)
    free = BundleOptions(focal=free_focal, positions=False, zoom=None if zoom is None else ways_of_zoom(len(zoom)),
                         radial=radial)
    prior = (guess_focal(observed.tracks), FOCAL_PRIOR_PX2) if free_focal else None
    # A lens that bends is far from where a pinhole has led, along a valley.
    iterations, tolerance = (ANY_LENS_ITERATIONS, BENT_TOLERANCE) if radial else (iterations, TOLERANCE)
    state, cost = bundle_adjust(start, observations, free=free, iterations=iterations, tolerance=tolerance,
                                focal_prior=prior)
    covariance = lens_covariance(state, observations, free=free) if free_focal or radial else np.zeros((1, 1))
    deviations = np.sqrt(np.diag(covariance))
    middle = 0.0 if state.zoom is None else float(np.median(state.zoom))
    return RotationFit(state.rotations, state.focal * float(np.exp(middle)), state.residual_px(observations),
                       observations, observed.points, cost, float(deviations[0] / state.focal),
                       None if state.zoom is None else state.zoom - middle, radial, state.k1, state.k2,
                       (float(deviations[1]), float(deviations[2])) if radial else (0.0, 0.0), state.is_fisheye)


def ways_of_zoom(count: int) -> np.ndarray:
    """(C,C-1) the zooms that so many frames are free to have: what the first one's would do the focal length does."""
    return np.eye(count)[:, 1:]


def state_of(turn: RotationFit) -> BundleState:
    """The unknowns of a turn, its points directions as the mean of what is seen of each."""
    return _state(turn.rotations, turn.observations, turn.focal, turn.zoom, turn.lens)


def _state(rotations: np.ndarray, observations: Observations, focal: float, zoom: np.ndarray | None,
           lens: Distortion) -> BundleState:
    """The cameras (C,) with the directions of what they observe."""
    focals = focal if zoom is None else focal * np.exp(zoom[observations.camera])[:, None]
    points = seen_directions(rotations, observations, focals, lens)
    return BundleState(rotations, np.zeros((len(rotations), 3)), points, focal, lens.k1, lens.k2, zoom=zoom,
                       is_fisheye=lens.is_fisheye)


def seen_directions(rotations: np.ndarray, observations: Observations, focals: np.ndarray | float, lens: Distortion
                    ) -> np.ndarray:
    """(P,3) of length 1: where observed points lie, by the mean of what is seen of each; 0 of those that are not seen.

    rotations (C,3,3): world to camera. focals: as of BundleState.focals.
    """
    rays = np.einsum("nji,nj->ni", rotations[observations.camera], _rays(observations.pixels, focals, lens))
    points = scatter_add(observations.point, rays, observations.point.max() + 1)
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    return points / np.where(lengths > 0.0, lengths, 1.0)


def _measured_zoom(observed: _Observed) -> np.ndarray:
    """(C,) natural logarithm of how much larger each frame shows things than the middle one does: by the median growth
    of the distances between tracks, which a turn hardly changes."""
    steps = [0.0]
    for pixels_i, pixels_j in observed.steps():
        half = len(pixels_i) // 2
        lengths_i, lengths_j = (np.linalg.norm(pixels[:half] - pixels[half:2 * half], axis=1)
                                for pixels in (pixels_i, pixels_j))
        apart = np.minimum(lengths_i, lengths_j) > MIN_APART_PX
        steps.append(float(np.median(np.log(lengths_j[apart] / lengths_i[apart]))) if apart.any() else 0.0)
    zoom = np.cumsum(steps)
    return zoom - np.median(zoom)


def _rays(pixels: np.ndarray, focal: float | np.ndarray, lens: Distortion) -> np.ndarray:
    places = undistorted(pixels / focal, lens) if lens.bends else pixels / focal
    rays = np.concatenate([places, np.ones((len(pixels), 1))], axis=1)
    return rays / np.linalg.norm(rays, axis=1, keepdims=True)


def _align_rays(rays_i: np.ndarray, rays_j: np.ndarray, focal: float) -> np.ndarray:
    """Robust rotation that takes rays i to rays j (Kabsch, reweighted); identity without common rays."""
    rotation, weights = np.eye(3), np.ones(len(rays_i))
    if len(rays_i) < 3:
        return rotation
    for _ in range(ALIGN_ROUNDS):
        rotation = nearest_rotation((weights[:, None] * rays_j).T @ rays_i)
        miss = np.linalg.norm(rays_j - rays_i @ rotation.T, axis=1) * focal
        weights = 1.0 / (1.0 + (miss / ALIGN_LOSS_PX) ** 2)
    return rotation
