"""Places that are seen again: tracks that are one point, and the loop that closes when they are.

A track ends where its point leaves the picture; when the camera comes back, a new one begins, and nothing ties the two
visits together but the chain of frames between them. So frames that show the same part of the scene without a common
track are looked for among the solved cameras, their tracks are matched by what they look like, and the matches have to
agree on one relative camera. Where the two visits meet already, nothing is changed.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import cv2
import numpy as np

from ...geometry import camera_matrix, rotation_angle_deg
from ..mapping import (
    CameraFit,
    Observations,
    Reconstruction,
    adjust_on_anchors,
    register_all_frames,
)
from ..tracking import MIN_COMMON_TRACKS, Tracks
from .focal_stability import spread_frames
from .shot import TrackedShot
from .traveling import Travel
from .turning import carry_on_turning

MOST_FRAMES, MOST_PAIRS = 16, 6
"""Frames that are compared, and pairs of them that are matched: what keeps this cheap."""
SEEN_SHARE = 0.4
"""Of a frame's points, inside the other picture, from which both show the same part of the scene."""
MARGIN = 1.2
"""Times the picture's size, as a camera that has drifted looks a little beside."""
MOST_SCALE = 1.6
"""Ratio of a point's distances up to which its patches look alike."""
PATCH_PX = 6.0
"""Size of the feature a descriptor is taken of; OpenCV describes some six times as much around it."""
DISTINCT = 0.8
"""Distance of the best match over that of the second best, below which it is told from it."""
EPIPOLAR_PX = 1.5
MIN_LINKS, MIN_LINK_SHARE = 20, 0.5
"""Matches that agree on one relative camera, in number and of all: fewer come about by chance."""
MOST_TURN_DEG = 20.0
"""Between that relative camera's rotation and the solved one's: drift is slow, and a look-alike stands anywhere."""
OPEN_PX = 1.0
"""Typical miss of the first visit's points in the second from which the loop is open."""
MOST_WORSE = 1.3
"""Ratio of the typical residuals, closed to open, up to which the loop is believed."""
LOSSES_PX, ITERATIONS, TOLERANCE = (30.0, 8.0), 12, 1e-2
"""Widths of the loss, one after the other: what is far off has to count at first, or nothing would draw it in."""
EVERY_POINT, MIN_IN_FRAME = 4, 50
"""One in so many points brings the visits together, and all of a frame that has fewer observations than this left."""
CLOSING_ROUNDS = ((4.0, 1.0, 8, 1e-2), (1.5, 0.3, 60, 5e-4))
"""Of the adjustment with every point: it begins near its end, so it needs no gate between, and may stop sooner."""


def close_loops(shot: TrackedShot, travel: Travel, frames: np.ndarray) -> Travel:
    """The travel with its visits to the same place brought together; as it is where there are none, or they meet.

    frames: (T,H,W,3) uint8 RGB.
    """
    found = travel.reconstruction
    links = find_links(shot, found, travel.traveling, lambda index: frames[index])
    if not len(links) or not _is_open(found, links, travel.fitted):
        return travel
    closed = deepcopy(found)
    tie(closed, links)
    fitted, turning = register_all_frames(closed, lambda: None, rounds=CLOSING_ROUNDS), travel.turning
    if turning.any():
        fitted, turning = carry_on_turning(closed.ideal_tracks(), shot.frames, fitted)
    return replace(travel, reconstruction=closed, fitted=fitted, turning=turning) if _holds(fitted, travel) else travel


def _holds(fitted: CameraFit, travel: Travel) -> bool:
    """Whether no frame was lost by it, nor much of the fit, as both are where two places only look alike."""
    before, after = (np.median(fit.residual_px) if len(fit.residual_px) else np.inf for fit in (travel.fitted, fitted))
    return bool(fitted.solved[travel.fitted.solved].all() and after < MOST_WORSE * before)


def find_links(shot: TrackedShot, found: Reconstruction, solved: np.ndarray,
               picture_of: Callable[[int], np.ndarray]) -> np.ndarray:
    """(L,2) pairs of tracks that are one point: of the earlier visit, and of the later."""
    links, described = [np.zeros((0, 2), np.int64)], {}
    for pair in _candidates(found, spread_frames(np.flatnonzero(solved), MOST_FRAMES)):
        for index in pair:
            if index not in described:
                described[index] = _describe(picture_of(index), shot.tracks.observed(index)[1])
        matches = _match(*(described[index] for index in pair))
        links.append(_agreeing(found, pair, matches))
    return np.unique(np.concatenate(links), axis=0)


def tie(found: Reconstruction, links: np.ndarray) -> None:
    """Make each pair of tracks one, and adjust cameras, and the points that are drawn for it, until both visits fit.

    Points that are not drawn lose their place, as the cameras leave it. The lens is held: what is far off yet would
    bend it.
    """
    known = np.isfinite(found.points[:, 0])
    found.tracks = _with_common(found.tracks, links)
    frames, observations = found.observations(found.registered)
    observations = observations.select(known[observations.point])
    drawn = _drawn(observations, len(found.points), links)
    observations = observations.select(drawn[observations.point])
    found.points[~drawn] = np.nan
    for loss in LOSSES_PX:
        adjust_on_anchors(found, frames, observations, free_lens=False, loss_px=loss, iterations=ITERATIONS,
                          tolerance=TOLERANCE)


def _drawn(observations: Observations, points: int, links: np.ndarray) -> np.ndarray:
    """(points,) bool: those that are linked, every so manyth other, and all of frames that would keep too few."""
    drawn = np.zeros(points, bool)
    drawn[::EVERY_POINT] = True
    drawn[links] = True
    kept = np.bincount(observations.camera[drawn[observations.point]], minlength=observations.camera.max(initial=0) + 1)
    drawn[observations.point[(kept < MIN_IN_FRAME)[observations.camera]]] = True
    return drawn


def _candidates(found: Reconstruction, frames: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of frames without common tracks that show the same part of the scene, those that share most first."""
    pairs = [(_seen_share(found, i, j), int(i), int(j)) for position, i in enumerate(frames)
             for j in frames[position + 2:] if len(found.tracks.common(i, j)[0]) < MIN_COMMON_TRACKS]
    return [(i, j) for share, i, j in sorted(pairs, reverse=True)[:MOST_PAIRS] if share > SEEN_SHARE]


def _seen_share(found: Reconstruction, i: int, j: int) -> float:
    """Of the points that frame i sees, those that lie in the picture of frame j, at a like distance."""
    points = found.points[found.tracks.observed(i)[0]]
    points = points[np.isfinite(points[:, 0])]
    here, there = (points @ found.rotations[k].T + found.translations[k] for k in (i, j))
    if not len(points):
        return 0.0
    reach = 0.5 * MARGIN * np.array(found.tracks.size) / found.focal
    inside = (there[:, 2] > 0) & (np.abs(there[:, :2]) < reach * np.maximum(there[:, 2:], 0.0)).all(1)
    alike = np.maximum(here[:, 2], there[:, 2]) < MOST_SCALE * np.minimum(here[:, 2], there[:, 2])
    return float((inside & alike).mean())


def _describe(picture: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """(n,128) what the picture looks like at the pixels; SIFT's descriptor (Lowe 2004), upright."""
    gray = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY)
    places = [cv2.KeyPoint(float(x) - 0.5, float(y) - 0.5, PATCH_PX, 0.0) for x, y in pixels]
    _, descriptors = cv2.SIFT.create().compute(gray, places)
    return np.zeros((0, 128), np.float32) if descriptors is None else descriptors


def _match(ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(M,2) rows that are each other's nearest, and told from the second nearest."""
    if min(len(ones), len(others)) < 2:
        return np.zeros((0, 2), np.int64)
    squared = (ones**2).sum(1)[:, None] + (others**2).sum(1)[None] - 2.0 * ones @ others.T
    nearest = squared.argmin(1)
    two = np.sqrt(np.maximum(np.partition(squared, 1, axis=1)[:, :2], 0.0))
    chosen = (squared.argmin(0)[nearest] == np.arange(len(ones))) & (two[:, 0] < DISTINCT * two[:, 1])
    return np.stack([np.flatnonzero(chosen), nearest[chosen]], axis=1)


def _agreeing(found: Reconstruction, pair: tuple[int, int], matches: np.ndarray) -> np.ndarray:
    """(L,2) tracks of the matches that agree on one relative camera, near the solved one; none if too few do."""
    nothing = np.zeros((0, 2), np.int64)
    (names_i, pixels_i), (names_j, pixels_j) = (found.tracks.observed(index) for index in pair)
    if len(matches) < MIN_LINKS:
        return nothing
    pixels_i, pixels_j = (found.ideal(pixels[column], index) for pixels, column, index in zip(
        (pixels_i, pixels_j), matches.T, pair, strict=True))
    matrix = camera_matrix((found.focal, found.focal, 0.0, 0.0))
    cv2.setRNGSeed(found.seed)
    essential, inliers = cv2.findEssentialMat(pixels_i, pixels_j, matrix, method=cv2.USAC_MAGSAC, prob=0.999,
                                              threshold=EPIPOLAR_PX)
    if essential is None or essential.shape != (3, 3):
        return nothing
    agree = inliers.ravel() > 0
    if agree.sum() < max(MIN_LINKS, MIN_LINK_SHARE * len(matches)):
        return nothing
    _, rotation, _, _ = cv2.recoverPose(essential, pixels_i, pixels_j, matrix, mask=inliers.copy())
    solved = found.rotations[pair[1]] @ found.rotations[pair[0]].T
    if rotation_angle_deg(rotation @ solved.T) > MOST_TURN_DEG:
        return nothing
    return np.stack([names_i[matches[agree, 0]], names_j[matches[agree, 1]]], axis=1)


def _is_open(found: Reconstruction, links: np.ndarray, fitted: CameraFit) -> bool:
    """Whether the points of the first visits are typically off where the second visits see them."""
    first, second = links.T
    later = np.full(found.tracks.points, -1)
    later[second] = first
    rows = later[found.tracks.point] >= 0
    frame, point = found.tracks.frame[rows], later[found.tracks.point[rows]]
    usable = fitted.solved[frame] & np.isfinite(found.points[point, 0])
    if not usable.any():
        return False
    pixels = found.ideal(found.tracks.pixels[rows][usable], frame[usable])
    frame, point = frame[usable], point[usable]
    local = np.einsum("nij,nj->ni", found.rotations[frame], found.points[point]) + found.translations[frame]
    projected = found.focal * local[:, :2] / np.maximum(local[:, 2:], 1e-9)
    return bool(np.median(np.linalg.norm(projected - pixels, axis=1)) > OPEN_PX)


def _with_common(tracks: Tracks, links: np.ndarray) -> Tracks:
    """The tracks with the second of each pair as a part of the first, unless one frame sees both."""
    name = np.arange(tracks.points)
    frames: dict[int, set[int]] = {int(point): set() for point in np.unique(links)}
    for frame, point in zip(tracks.frame, tracks.point, strict=True):
        if int(point) in frames:
            frames[int(point)].add(int(frame))
    for pair in links:
        first, second = (_root(name, int(point)) for point in pair)
        if first != second and frames[first].isdisjoint(frames[second]):
            name[second] = first
            frames[first] |= frames[second]
    point = np.array([_root(name, int(named)) for named in name])[tracks.point]
    order = np.lexsort((point, tracks.frame))
    return replace(tracks, frame=tracks.frame[order], point=point[order], pixels=tracks.pixels[order])


def _root(name: np.ndarray, point: int) -> int:
    while name[point] != point:
        point = int(name[point])
    return point
