"""Incremental structure from motion: a pair of cameras, then one after another, with bundle adjustment between."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from ...contract import Distortion
from ...geometry import camera_matrix
from ...lens import undistorted
from ...shutter import path_derivatives
from ..tracking import Tracks
from .bundle_adjustment import BundleOptions, bundle_adjust
from .bundle_state import BundleState, Observations, Shutter
from .triangulation import parallax_deg, triangulate_points
from .two_view import InitialPair, PairCandidate, rival_pairs

GATE_PX = 2.0
MIN_PARALLAX_DEG = 1.0
TYPICAL_PARALLAX_SHARE = 0.4
MIN_INLIER_SHARE = 0.6
MIN_OBSERVATIONS = 40
MIN_VISIBLE = 12
RESECTION_PX = 3.0
RESECTION_ROUNDS = 300
BATCH_SHARE = 0.5
FOCAL_FROM_CAMERAS = 3
MISSED_COST_PX2 = 1.5
KNOT_FRAMES, MOST_KNOTS = 6, 40
"""Frames between the knots of a zoom, and how many it has at most."""
MIN_REACH = 0.5
"""Share of the keyframes that a pair is to reach, or the next one is tried."""


class Reconstruction:
    """Cameras and points so far. Frames not in `registered` have no camera; points that are nan are not known.

    tracks: pixels counted from the principal point, square, as they were filmed. rotations (T,3,3), translations (T,3):
    world to camera. k1, k2: how far the lens bends the picture; radial: how many of them are free; is_fisheye: what
    they mean. zoom (T,):
    natural logarithm of each frame's focal length over focal; zooms: whether it may change. readout:
    of a rolling shutter, in frames; rolls: whether there is one; holds_readout: it is known. middle_row,
    distortion_taken_out: as Shutter has them.
    """

    def __init__(self, tracks: Tracks, focal: float, *, free_focal: bool, seed: int):
        self.tracks, self.focal, self.free_focal, self.seed = tracks, focal, free_focal, seed
        self.k1, self.k2, self.radial, self.is_fisheye = 0.0, 0.0, 0, False
        self.zoom, self.zooms = np.zeros(tracks.frame_count), False
        self.readout, self.rolls, self.holds_readout = 0.0, False, False
        self.middle_row = 0.0
        self.distortion_taken_out: Distortion | None = None
        self.rotations = np.tile(np.eye(3), (tracks.frame_count, 1, 1))
        self.translations = np.zeros((tracks.frame_count, 3))
        self.registered = np.zeros(tracks.frame_count, bool)
        self.points = np.full((tracks.points, 3), np.nan)
        self.anchor = 0
        self.cost_px2, self.observation_count = np.inf, 0

    def ideal(self, pixels: np.ndarray, frame: np.ndarray | int) -> np.ndarray:
        """Where a pinhole of the one focal length would have shown what the lens shows at these pixels, (N,2), in the
        frames (N,) or the frame."""
        if self.zooms:
            pixels = pixels / np.exp(np.broadcast_to(self.zoom[frame], len(pixels)))[:, None]
        if self.k1 == self.k2 == 0.0 and not self.is_fisheye:
            return pixels
        return self.focal * undistorted(pixels / self.focal, self.distortion)

    @property
    def distortion(self) -> Distortion:
        return Distortion(self.k1, self.k2, is_fisheye=self.is_fisheye)

    def ideal_tracks(self) -> Tracks:
        """The tracks as a pinhole would have shown them."""
        return replace(self.tracks, pixels=self.ideal(self.tracks.pixels, self.tracks.frame))

    def triangulated(self, frames: np.ndarray, observations: Observations) -> np.ndarray:
        """Points (P,3) from their observations, whose cameras count in frames; nan for those seen fewer than twice."""
        camera = observations.camera
        pixels = self.ideal(observations.pixels, frames[camera])
        matrices = np.concatenate([self.rotations[frames], self.translations[frames][:, :, None]], axis=2)
        if self.rolls:
            matrices, camera = self.shutter(frames).matrices(matrices, observations), np.arange(len(camera))
        return triangulate_points(matrices[:, :, :3], matrices[:, :, 3], self.focal,
                                  Observations(camera, observations.point, pixels), self.tracks.points)

    def initialize(self, pair: InitialPair) -> bool:
        """Place the first two cameras; False if their points do not hold."""
        self.anchor = pair.frame_i
        self.rotations[pair.frame_j], self.translations[pair.frame_j] = pair.rotation, pair.translation
        self.registered[[pair.frame_i, pair.frame_j]] = True
        return self.refine(iterations=15, min_parallax_deg=0.3)

    def register_frames(self, wanted: np.ndarray) -> None:
        """Add the wanted frames, (K,), as far as known points reach; most visible first, then adjust.

        One that cannot be added is passed over until others have been.
        """
        failed = np.zeros(len(wanted), bool)
        while (batch := self._next_frames(wanted, failed)).size:
            added = [index for index in batch if self.resect(index)]
            if added and self.refine(iterations=8):
                failed[:] = False
                continue
            self.registered[added] = False
            failed |= np.isin(wanted, batch)
            if added and not self.refine(iterations=8):
                break

    def _next_frames(self, wanted: np.ndarray, failed: np.ndarray) -> np.ndarray:
        """Unregistered neighbors of registered frames: the one that sees most, and all that see enough; failed (K,)
        are out of the question, and what lies beyond them is their neighbors' neighbor."""
        wanted = wanted[~failed]
        open_ = ~self.registered[wanted]
        beside = np.zeros(len(wanted), bool)
        beside[1:] |= ~open_[:-1]
        beside[:-1] |= ~open_[1:]
        known = np.isfinite(self.points[self.tracks.point, 0])
        visible = np.bincount(self.tracks.frame, known, self.tracks.frame_count)[wanted]
        share = visible / np.maximum(self.tracks.per_frame[wanted], 1)
        ready = open_ & (visible >= MIN_VISIBLE)
        if not (ready & beside).any():
            return np.zeros(0, np.int64)
        first = int(np.argmax(np.where(ready & beside, visible, -1)))
        batch = ready & (share > BATCH_SHARE)
        batch[first] = True
        # Doubling at most: the geometry so far has to carry what is added.
        order = np.argsort(-np.where(batch, visible, -1), kind="stable")
        return wanted[np.sort(order[:min(batch.sum(), max(1, self.registered.sum() // 2))])]

    def resect(self, index: int) -> bool:
        """Find a frame's camera from the known points it sees (P3P in RANSAC, then least squares)."""
        points, pixels = self.tracks.observed(index)
        known = np.isfinite(self.points[points, 0])
        if known.sum() < MIN_VISIBLE:
            return False
        world, pixels = self.points[points[known]], self.ideal(pixels[known], index)
        matrix = camera_matrix((self.focal, self.focal, 0.0, 0.0))
        cv2.setRNGSeed(self.seed)
        found, turn, shift, inliers = cv2.solvePnPRansac(
            world, pixels, matrix, None, reprojectionError=RESECTION_PX, iterationsCount=RESECTION_ROUNDS,
            confidence=0.999, flags=cv2.SOLVEPNP_AP3P)
        if not found or inliers is None or len(inliers) < MIN_VISIBLE - 2:
            return False
        inliers = np.asarray(inliers, np.int32).ravel()
        turn, shift = cv2.solvePnPRefineLM(world[inliers], pixels[inliers], matrix, None, turn, shift)
        if not (np.isfinite(turn).all() and np.isfinite(shift).all()):
            return False
        self.rotations[index], self.translations[index] = cv2.Rodrigues(turn)[0], shift.ravel()
        self.registered[index] = True
        return True

    def refine(self, *, iterations: int, tolerance: float = 1e-3, min_parallax_deg: float = MIN_PARALLAX_DEG) -> bool:
        """Triangulate everything anew, adjust in two rounds, forget points that do not fit; False if too few do."""
        frames, observations = self.observations(self.registered)
        self.points = self.triangulated(frames, observations)
        free = replace(self.free_lens(frames), fixed_cameras=(int(np.searchsorted(frames, self.anchor)),))
        if len(frames) <= FOCAL_FROM_CAMERAS:
            free = replace(free, focal=False, zoom=None)
        for gate in (3.0 * GATE_PX, 1.5 * GATE_PX):
            fits = self.inliers(frames, observations, gate_px=gate, min_parallax_deg=min_parallax_deg)
            if fits.sum() < MIN_OBSERVATIONS:
                return False
            self.bundle_adjust(frames, observations.select(fits), free=free, iterations=iterations, tolerance=tolerance)
        self._normalize_scale(frames)
        self._filter_points(frames, observations)
        return True

    def observations(self, chosen: np.ndarray) -> tuple[np.ndarray, Observations]:
        """Frames (C,) chosen, and their observations of points that at least two of them see."""
        frames = np.flatnonzero(chosen)
        rows = chosen[self.tracks.frame]
        rows &= (np.bincount(self.tracks.point[rows], minlength=self.tracks.points) >= 2)[self.tracks.point]
        position = np.searchsorted(frames, self.tracks.frame[rows])
        return frames, Observations(position, self.tracks.point[rows], self.tracks.pixels[rows])

    def state(self, frames: np.ndarray) -> BundleState:
        return BundleState(self.rotations[frames], self.translations[frames], self.points, self.focal, self.k1, self.k2,
                           self.zoom[frames] if self.zooms else None,
                           self.shutter(frames) if self.rolls else None, self.is_fisheye)

    def shutter(self, frames: np.ndarray) -> Shutter:
        """How the cameras of the frames (C,) move while their rows are taken, as their neighbors tell."""
        matrices = np.concatenate([self.rotations, self.translations[:, :, None]], axis=2)
        return Shutter(self.readout, self.tracks.size[1], *path_derivatives(matrices, frames, self.registered),
                       self.middle_row, self.distortion_taken_out, self.focal)

    def free_lens(self, frames: np.ndarray) -> BundleOptions:
        """What of the lens may move in an adjustment of the frames (C,)."""
        zoom = zoom_ways(frames, self.tracks.frame_count) if self.zooms else None
        return BundleOptions(focal=self.free_focal and not self.zooms, radial=self.radial, zoom=zoom,
                             readout=self.rolls and not self.holds_readout)

    def inliers(self, frames, observations: Observations, *, gate_px: float, min_parallax_deg: float,
                min_views: int = 2,
                min_share: float = 0.0) -> np.ndarray:
        """(N,) observations near their projection, of points that fit in min_views frames and min_share of theirs,
        and are seen at a sufficient angle: min_parallax_deg, or less where the whole shot has little."""
        fits = self.state(frames).residual_px(observations) < gate_px
        views = np.bincount(observations.point[fits], minlength=len(self.points))
        total = np.bincount(observations.point, minlength=len(self.points))
        enough = (views >= min_views) & (views > min_share * total)
        angle = parallax_deg(self.rotations[frames], self.translations[frames], self.points, observations)
        typical = float(np.median(angle[enough])) if enough.any() else 0.0
        return fits & (enough & (angle > min(min_parallax_deg, TYPICAL_PARALLAX_SHARE * typical)))[observations.point]

    def bundle_adjust(self, frames, observations: Observations, *, free: BundleOptions, **options) -> None:
        """Bundle adjustment of the frames and what they see; without observations all stays as it is."""
        if not len(observations.point):
            return
        used, point = np.unique(observations.point, return_inverse=True)
        state = replace(self.state(frames), points=self.points[used])
        state, cost = bundle_adjust(state, Observations(observations.camera, point.reshape(-1), observations.pixels),
                                    free=free, **options)
        self.rotations[frames], self.translations[frames] = state.rotations, state.translations
        self.points[used], self.focal, self.k1, self.k2 = state.points, state.focal, state.k1, state.k2
        if state.shutter is not None:
            self.readout = state.shutter.readout
        if free.zoom is not None and state.zoom is not None:
            self.zoom = np.interp(np.arange(len(self.zoom)), frames, state.zoom)
        self.cost_px2, self.observation_count = cost / len(observations.point), len(observations.point)

    def _normalize_scale(self, frames: np.ndarray) -> None:
        """Keep numbers of order one: nothing else holds the scale of a growing solve."""
        centers = -np.einsum("nji,nj->ni", self.rotations[frames], self.translations[frames])
        extent = np.abs(centers).max()
        if len(frames) > 2 and extent > 1e-6:
            self.translations[frames] /= extent
            self.points /= extent

    def _filter_points(self, frames, observations: Observations) -> None:
        fits = self.state(frames).residual_px(observations) < GATE_PX
        good = np.bincount(observations.point[fits], minlength=len(self.points))
        total = np.bincount(observations.point, minlength=len(self.points))
        self.points[(good < 2) | (good < MIN_INLIER_SHARE * total)] = np.nan

    def score(self, observations: int) -> float:
        """Mean cost in px^2 if `observations` were to be explained and each missing one cost MISSED_COST_PX2.

        A mean over the explained ones alone would prefer solves that explain little (too long a lens, typically).
        """
        missing = max(observations - self.observation_count, 0)
        return (self.observation_count * self.cost_px2 + missing * MISSED_COST_PX2) / max(observations, 1)


def zoom_ways(frames: np.ndarray, frame_count: int) -> np.ndarray:
    """How the zoom of some frames may change: linear between knots, as far apart as frames allow.

    Parameters
    ----------
    frames : ndarray
        (C,) int, ascending; two or more.
    frame_count : int
        Of the clip.

    Returns
    -------
    ndarray
        (C,K): what a unit of each knot adds to the natural logarithm of each frame's focal length.
    """
    spans = int(np.clip(min((frame_count - 1) / KNOT_FRAMES, (len(frames) - 1) / 2), 1, MOST_KNOTS - 1))
    knots = np.linspace(frames[0], frames[-1], spans + 1)
    return np.stack([np.interp(frames, knots, one) for one in np.eye(spans + 1)], axis=1)


def reconstruct(tracks: Tracks, candidates: list[PairCandidate], keyframes: np.ndarray, focal: float, *,
                free_focal: bool, seed: int, zooms: bool = False) -> Reconstruction | None:
    """Cameras of the keyframes, from one of the candidate pairs outward.

    The best pair need not be one that grows: of two frames far apart, little may be seen by the others. So the next
    best are tried, while fewer than half of the keyframes are reached.

    Parameters
    ----------
    tracks : Tracks
        In square pixels from the principal point.
    candidates : list of PairCandidate
        As of pair_candidates for these tracks and keyframes.
    keyframes : ndarray
        (K,) int, ascending indices of frames.
    focal : float
        In square pixels; where it is free, the start.
    free_focal : bool
        Whether the focal length may change.
    seed : int
        Of every random draw.
    zooms : bool
        Whether the focal length may change from frame to frame from the beginning.

    Returns
    -------
    Reconstruction or None
        Cameras of the keyframes that could be added, and their points; None if no pair carries.

    References
    ----------
    Schönberger and Frahm 2016, "Structure-from-motion revisited": the order of the steps.
    """
    best = None
    for pair in rival_pairs(candidates, focal, seed):
        empty = Reconstruction(tracks, focal, free_focal=free_focal, seed=seed)
        empty.zooms = zooms
        grown = _grown(empty, pair, keyframes)
        if grown is not None and (best is None or grown.registered.sum() > best.registered.sum()):
            best = grown
        if best is not None and best.registered[keyframes].mean() >= MIN_REACH:
            break
    return best if best is not None and best.refine(iterations=60, tolerance=3e-5) else None


def _grown(reconstruction: Reconstruction, pair: InitialPair, keyframes: np.ndarray) -> Reconstruction | None:
    if not reconstruction.initialize(pair):
        return None
    reconstruction.register_frames(keyframes)
    return reconstruction
