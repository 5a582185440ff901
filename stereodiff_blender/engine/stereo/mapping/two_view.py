"""The first two cameras of a solve: a pair of frames with many common tracks and a good baseline."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ...geometry import camera_matrix
from ..tracking import Tracks

MAX_STEP = 8
MAX_PAIRS = 14
MOST_RIVALS = 4
MIN_COMMON = 40
MIN_IN_FRONT = 25
MIN_SHIFT_SHARE = 0.01
SMALL_SHIFT_SHARE = 0.5
MIN_SHIFT_PX = 0.5
EPIPOLAR_PX = 1.0
HOMOGRAPHY_PX = 1.5
ENOUGH_PARALLAX_DEG = 8.0


@dataclass(frozen=True)
class PairCandidate:
    """Two frames, the pixels (n,2) of their common tracks, and the share that one homography explains."""

    frame_i: int
    frame_j: int
    pixels_i: np.ndarray
    pixels_j: np.ndarray
    homography_share: float

    @property
    def promise(self) -> float:
        """Many tracks, moved far, not all on a plane."""
        shift = _median_shift(self.pixels_i, self.pixels_j)
        return len(self.pixels_i) * np.sqrt(shift) * (1.05 - self.homography_share)


@dataclass(frozen=True)
class InitialPair:
    """Camera j seen from camera i: x_j = rotation @ x_i + translation, translation of length 1."""

    frame_i: int
    frame_j: int
    rotation: np.ndarray
    translation: np.ndarray
    score: float


def pair_candidates(tracks: Tracks, keyframes: np.ndarray, seed: int) -> list[PairCandidate]:
    """The most promising pairs of keyframes, whatever the focal length.

    Parameters
    ----------
    tracks : Tracks
        In square pixels from the principal point.
    keyframes : ndarray
        (K,) int, ascending indices of frames.
    seed : int
        Of every random draw.

    Returns
    -------
    list of PairCandidate
        At most MAX_PAIRS, best first; empty if no two keyframes share enough tracks that moved.
    """
    pairs = [(frame_i, frame_j, *tracks.common(frame_i, frame_j)[1:]) for position, frame_i in enumerate(keyframes)
             for frame_j in keyframes[position + 1:position + 1 + MAX_STEP]]
    pairs = [pair for pair in pairs if len(pair[2]) >= MIN_COMMON]
    shifts = [_median_shift(pixels_i, pixels_j) for _, _, pixels_i, pixels_j in pairs]
    # A short or slow shot has no pair that moves far; the widest it has must do.
    least = max(min(MIN_SHIFT_SHARE * max(tracks.size), SMALL_SHIFT_SHARE * max(shifts, default=0.0)), MIN_SHIFT_PX)
    candidates = [_candidate(*pair, seed) for pair, shift in zip(pairs, shifts, strict=True) if shift >= least]
    return sorted(candidates, key=lambda c: -c.promise)[:MAX_PAIRS]


def _median_shift(pixels_i: np.ndarray, pixels_j: np.ndarray) -> float:
    return float(np.median(np.linalg.norm(pixels_j - pixels_i, axis=1)))


def _candidate(frame_i, frame_j, pixels_i: np.ndarray, pixels_j: np.ndarray, seed: int) -> PairCandidate:
    cv2.setRNGSeed(seed)
    _, inliers = cv2.findHomography(pixels_i, pixels_j, cv2.USAC_MAGSAC, HOMOGRAPHY_PX)
    share = 0.0 if inliers is None else float((inliers > 0).mean())
    return PairCandidate(int(frame_i), int(frame_j), pixels_i, pixels_j, share)


def rival_pairs(candidates: list[PairCandidate], focal: float, seed: int) -> list[InitialPair]:
    """The pairs whose essential matrices, for this focal length, have most inliers and parallax, best first.

    Only few, and no two with a frame in common: those would fare alike.
    """
    pairs = [pair for c in candidates if (pair := _relative_camera(c, focal, seed)) is not None]
    rivals: list[InitialPair] = []
    for pair in sorted(pairs, key=lambda p: -p.score):
        taken = {frame for rival in rivals for frame in (rival.frame_i, rival.frame_j)}
        if not taken & {pair.frame_i, pair.frame_j}:
            rivals.append(pair)
    return rivals[:MOST_RIVALS]


def _relative_camera(candidate: PairCandidate, focal: float, seed: int) -> InitialPair | None:
    matrix = camera_matrix((focal, focal, 0.0, 0.0))
    pixels_i, pixels_j = candidate.pixels_i, candidate.pixels_j
    cv2.setRNGSeed(seed)
    essential, inliers = cv2.findEssentialMat(pixels_i, pixels_j, matrix, method=cv2.USAC_MAGSAC, prob=0.999,
                                              threshold=EPIPOLAR_PX)
    if essential is None or essential.shape != (3, 3) or not np.isfinite(essential).all():
        return None
    _, rotation, translation, in_front, points = cv2.recoverPose(
        essential, pixels_i, pixels_j, matrix, distanceThresh=200.0, mask=(inliers > 0).astype(np.uint8) * 255)
    good = in_front.ravel() > 0
    if good.sum() < MIN_IN_FRONT:
        return None
    translation = translation.ravel()
    parallax = _median_parallax_deg((points[:3, good] / points[3, good]).T, -rotation.T @ translation)
    planar = min(candidate.homography_share * len(pixels_i) / max(int((inliers > 0).sum()), 1), 1.0)
    score = good.sum() * min(parallax, ENOUGH_PARALLAX_DEG) * (1.05 - planar)
    return InitialPair(candidate.frame_i, candidate.frame_j, rotation, translation, float(score))


def _median_parallax_deg(points: np.ndarray, center_j: np.ndarray) -> float:
    rays_i = points / np.linalg.norm(points, axis=1, keepdims=True)
    rays_j = points - center_j
    rays_j /= np.linalg.norm(rays_j, axis=1, keepdims=True)
    return float(np.degrees(np.median(np.arccos(np.clip((rays_i * rays_j).sum(1), -1.0, 1.0)))))
