"""Feature tracks: corners followed from frame to frame (Kanade-Lucas-Tomasi), with their failures removed."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ...report import Report

CORNERS_PER_FRAME = 1200
CORNER_WINDOW_PX = 5
CORNER_STRENGTH = 0.003
BORDER_PX = 8
FLOW_WINDOW_PX = 15
FLOW_LEVELS = 3
ROUND_TRIP_PX = 0.6
TEMPLATE_RADIUS_PX = 5
TEMPLATE_CORRELATION = 0.75
TEMPLATE_LIFE = 8
MERGE_PX = 3

_STOP = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 0.01)


@dataclass(frozen=True)
class Tracks:
    """Observations of scene points in the frames of a clip.

    frame_count: T. size: (width, height) of the raster. points: P, the number of tracks.
    frame: (N,) int, ascending. point: (N,) int in 0..P-1, ascending within a frame, at most once per frame.
    pixels: (N,2) float64 raster pixels, centres at +0.5.
    """

    frame_count: int
    size: tuple[int, int]
    points: int
    frame: np.ndarray
    point: np.ndarray
    pixels: np.ndarray

    def in_frame(self, index: int) -> slice:
        """The observations of one frame."""
        return slice(*np.searchsorted(self.frame, [index, index + 1]))

    def seen(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Points (n,) and pixels (n,2) of one frame."""
        rows = self.in_frame(index)
        return self.point[rows], self.pixels[rows]

    def common(self, index_i: int, index_j: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Points (n,) seen in both frames, and their pixels (n,2) in each."""
        points_i, pixels_i = self.seen(index_i)
        points_j, pixels_j = self.seen(index_j)
        shared, rows_i, rows_j = np.intersect1d(points_i, points_j, assume_unique=True, return_indices=True)
        return shared, pixels_i[rows_i], pixels_j[rows_j]

    @property
    def per_frame(self) -> np.ndarray:
        """Number of observations in each frame, (T,)."""
        return np.bincount(self.frame, minlength=self.frame_count)

    @property
    def lengths(self) -> np.ndarray:
        """Number of frames that see each point, (P,)."""
        return np.bincount(self.point, minlength=self.points)

    def only(self, keep: np.ndarray) -> Tracks:
        """Those observations, keep (N,) bool, with the points numbered anew."""
        names, point = np.unique(self.point[keep], return_inverse=True)
        return Tracks(self.frame_count, self.size, len(names), self.frame[keep], point.reshape(-1), self.pixels[keep])


def track_features(frames, masks, report: Report) -> Tracks:
    """Follow corners through the clip.

    frames: (T,H,W,3) uint8 RGB, read one at a time. masks: (T,H,W) bool-like or None; no track enters where true.
    Lucas-Kanade on a pyramid; an observation is kept if tracking back returns to its start and the patch still
    looks like its template; tracks that ran into each other are merged; empty cells get new corners each frame.
    """
    height, width = frames[0].shape[:2]
    tracker = _Tracker(width, height)
    report.stage("track", len(frames))
    for index in range(len(frames)):
        mask = None if masks is None else np.asarray(masks[index]) > 0
        tracker.advance(cv2.cvtColor(np.ascontiguousarray(frames[index]), cv2.COLOR_RGB2GRAY), mask)
        report.progress(index + 1)
    return tracker.tracks()


class _Tracker:
    """The living tracks at the current frame, and the observations so far."""

    def __init__(self, width: int, height: int):
        self.width, self.height = width, height
        self.cell_px = max(8, round(np.sqrt(width * height / CORNERS_PER_FRAME)))
        self.spacing_px = max(4, int(0.6 * self.cell_px))
        self.grey = None
        self.next_name = 0
        self.seen: list[tuple[np.ndarray, np.ndarray]] = []
        self._set(np.zeros(0, np.int64), np.zeros((0, 2), np.float32), np.zeros((0, _TEMPLATE.shape[1]), np.float32),
                  np.zeros(0, np.int64))

    def _set(self, names, pixels, templates, ages) -> None:
        self.names, self.pixels, self.templates, self.ages = names, pixels, templates, ages

    def _keep(self, keep: np.ndarray) -> None:
        self._set(self.names[keep], self.pixels[keep], self.templates[keep], self.ages[keep])

    def advance(self, grey: np.ndarray, mask: np.ndarray | None) -> None:
        """Take the next frame: follow, judge, merge, replenish, record."""
        if self.grey is not None and len(self.pixels):
            self._follow(grey)
            self._refresh_templates(grey)
            self._keep(_oldest_per_cell(self.pixels, self.ages))
        if mask is not None and len(self.pixels):
            columns, rows = np.rint(self.pixels).astype(int).T
            self._keep(~mask[np.clip(rows, 0, self.height - 1), np.clip(columns, 0, self.width - 1)])
        self._replenish(grey, mask)
        self.grey = grey
        self.seen.append((self.names, self.pixels))

    def _follow(self, grey: np.ndarray) -> None:
        moved, survives = _flow_there_and_back(self.grey, grey, self.pixels)
        inside = (moved > 4).all(1) & (moved[:, 0] < self.width - 5) & (moved[:, 1] < self.height - 5)
        survives &= inside
        self.pixels = np.where(survives[:, None], moved, self.pixels)
        survives &= (_patches(grey, self.pixels) * self.templates).sum(1) > TEMPLATE_CORRELATION
        self._keep(survives)
        self.ages = self.ages + 1

    def _refresh_templates(self, grey: np.ndarray) -> None:
        due = self.ages % TEMPLATE_LIFE == 0
        self.templates[due] = _patches(grey, self.pixels[due])

    def _replenish(self, grey: np.ndarray, mask: np.ndarray | None) -> None:
        corners = _new_corners(grey, self.pixels, mask, self.cell_px, self.spacing_px)
        names = np.arange(self.next_name, self.next_name + len(corners))
        self.next_name += len(corners)
        self._set(np.concatenate([self.names, names]), np.concatenate([self.pixels, corners]),
                  np.concatenate([self.templates, _patches(grey, corners)]),
                  np.concatenate([self.ages, np.zeros(len(corners), np.int64)]))

    def tracks(self) -> Tracks:
        counts = [len(names) for names, _ in self.seen]
        return Tracks(len(self.seen), (self.width, self.height), self.next_name,
                      np.repeat(np.arange(len(self.seen)), counts), np.concatenate([names for names, _ in self.seen]),
                      np.concatenate([pixels for _, pixels in self.seen]).astype(np.float64) + 0.5)


def _patch_offsets(radius: int) -> np.ndarray:
    rows, columns = np.mgrid[-radius:radius + 1, -radius:radius + 1]
    return np.stack([columns.ravel(), rows.ravel()]).astype(np.float32)


_TEMPLATE = _patch_offsets(TEMPLATE_RADIUS_PX)


def _patches(grey: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Normalised patches (n, side*side) around pixels (n,2): zero mean, unit length, so that products correlate."""
    if not len(pixels):
        return np.zeros((0, _TEMPLATE.shape[1]), np.float32)
    columns = pixels[:, :1] + _TEMPLATE[0]
    rows = pixels[:, 1:] + _TEMPLATE[1]
    values = cv2.remap(grey, columns.astype(np.float32), rows.astype(np.float32), cv2.INTER_LINEAR,
                       borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
    values -= values.mean(1, keepdims=True)
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-3)


def _flow_there_and_back(grey_i: np.ndarray, grey_j: np.ndarray, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (n,2) in j, and (n,) whether the way back ends where it began."""
    options = {"winSize": (FLOW_WINDOW_PX, FLOW_WINDOW_PX), "maxLevel": FLOW_LEVELS, "criteria": _STOP,
               "minEigThreshold": 1e-4}
    start = np.ascontiguousarray(pixels, np.float32).reshape(-1, 1, 2)
    there, found, _ = cv2.calcOpticalFlowPyrLK(grey_i, grey_j, start, None, **options)
    back, found_back, _ = cv2.calcOpticalFlowPyrLK(grey_j, grey_i, there, None, **options)
    miss = np.abs(back - start).max(axis=(1, 2))
    returns = (found.ravel() == 1) & (found_back.ravel() == 1) & (miss < ROUND_TRIP_PX)
    return there.reshape(-1, 2), returns & np.isfinite(there).all(axis=(1, 2))


def _oldest_per_cell(pixels: np.ndarray, ages: np.ndarray) -> np.ndarray:
    """Whether each track is the oldest in its small cell: two tracks there have run into each other."""
    cells = (pixels // MERGE_PX).astype(np.int64)
    order = np.argsort(-ages, kind="stable")
    _, first = np.unique(cells[order, 1] * 100_000 + cells[order, 0], return_index=True)
    keep = np.zeros(len(pixels), bool)
    keep[order[first]] = True
    return keep


def _new_corners(grey: np.ndarray, taken: np.ndarray, mask: np.ndarray | None, cell_px: int,
                 spacing_px: int) -> np.ndarray:
    """The best corner (Shi-Tomasi) of every grid cell that has no track near, (n,2) float32 array pixels."""
    strength = cv2.cornerMinEigenVal(grey, CORNER_WINDOW_PX, ksize=3)
    threshold = max(CORNER_STRENGTH * float(np.percentile(strength, 99.5)), 1e-6)
    strength[_around(taken, grey.shape, spacing_px)] = 0.0
    if mask is not None:
        strength[mask] = 0.0
    inner = np.zeros_like(strength)
    inner[BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX] = strength[BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX]
    rows, columns = _best_per_cell(inner, cell_px)
    strong = inner[rows, columns] > threshold
    rows, columns = _without_weaker_neighbours(inner, rows[strong], columns[strong], spacing_px)
    corners = np.stack([columns, rows], axis=-1).astype(np.float32)
    if len(corners):
        corners = cv2.cornerSubPix(grey, corners.reshape(-1, 1, 2), (3, 3), (-1, -1), _STOP).reshape(-1, 2)
    return corners


def _disc(radius_px: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius_px + 1, 2 * radius_px + 1))


def _around(pixels: np.ndarray, shape: tuple[int, int], radius_px: int) -> np.ndarray:
    """(H,W) bool: true within radius_px of one of the pixels."""
    marks = np.zeros(shape, np.uint8)
    columns, rows = np.rint(pixels).astype(int).T
    marks[np.clip(rows, 0, shape[0] - 1), np.clip(columns, 0, shape[1] - 1)] = 1
    return cv2.dilate(marks, _disc(radius_px)) > 0


def _best_per_cell(strength: np.ndarray, cell_px: int) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of the strongest pixel in every cell_px square."""
    height, width = strength.shape
    down, across = -(-height // cell_px), -(-width // cell_px)
    padded = np.zeros((down * cell_px, across * cell_px), strength.dtype)
    padded[:height, :width] = strength
    cells = padded.reshape(down, cell_px, across, cell_px).swapaxes(1, 2).reshape(down * across, -1)
    best = cells.argmax(1)
    cell_row, cell_column = np.divmod(np.arange(down * across), across)
    rows, columns = cell_row * cell_px + best // cell_px, cell_column * cell_px + best % cell_px
    return np.minimum(rows, height - 1), np.minimum(columns, width - 1)


def _without_weaker_neighbours(strength, rows, columns, spacing_px: int) -> tuple[np.ndarray, np.ndarray]:
    """Drop corners that have a stronger one within spacing_px."""
    candidates = np.zeros_like(strength)
    candidates[rows, columns] = strength[rows, columns]
    strongest = cv2.dilate(candidates, _disc(spacing_px))
    keep = candidates[rows, columns] >= strongest[rows, columns]
    return rows[keep], columns[keep]


def thin_tracks(tracks: Tracks, *, per_frame: int, min_length: int, cells: int = 12) -> Tracks:
    """At most about per_frame observations a frame: the longest tracks, spread over a grid of cells x cells.

    Tracks seen in fewer than min_length frames go. A track stays if in at least half of its frames it is among the
    longest of its cell and of the frame.
    """
    tracks = tracks.only(tracks.lengths[tracks.point] >= min_length)
    if not len(tracks.frame):
        return tracks
    width, height = tracks.size
    column = np.clip(tracks.pixels[:, 0] * cells / width, 0, cells - 1).astype(np.int64)
    row = np.clip(tracks.pixels[:, 1] * cells / height, 0, cells - 1).astype(np.int64)
    length = tracks.lengths[tracks.point]
    in_cell = _rank_within(tracks.frame * cells * cells + row * cells + column, -length)
    spread = in_cell < int(np.ceil(1.6 * per_frame / cells**2))
    in_frame = _rank_within(tracks.frame, np.where(spread, -length, 0))
    chosen = spread & (in_frame < per_frame)
    share = np.bincount(tracks.point, chosen, tracks.points) / tracks.lengths
    return tracks.only(share[tracks.point] >= 0.5)


def _rank_within(group: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Position of each element in its group when the group is sorted by key (ties in the given order)."""
    order = np.lexsort((key, group))
    sorted_group = group[order]
    starts = np.flatnonzero(np.r_[True, sorted_group[1:] != sorted_group[:-1]])
    rank = np.empty(len(group), np.int64)
    rank[order] = np.arange(len(group)) - np.repeat(starts, np.diff(np.r_[starts, len(group)]))
    return rank
