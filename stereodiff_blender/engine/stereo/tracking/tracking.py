"""Following corners from frame to frame (Kanade-Lucas-Tomasi), with the failures removed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from ...parallel import ONE_CORE, Cores
from ...report import Report
from .patch_alignment import Templates, align_patches, take_templates
from .point_flow import PointFlow, flow_by_features, flow_of_points
from .tracks import Tracks

CORNERS_PER_FRAME = 1200
CORNER_WINDOW_PX = 5
CORNER_STRENGTH = 0.003
BORDER_PX = 8
EDGE_PX = 4
ALIGNED_PX = 1.0
TEMPLATE_CORRELATION = 0.75
RENEW_CORRELATION = 0.9
MAX_STRETCH = 1.4
MERGE_PX = 3
MASK_MARGIN_PX = 4
BLIND_SHARE = 0.1
BLIND_TRACKS = 50
MAX_BLIND = 6
MOST_LOST, MOST_SEARCHES = 2, 24
"""Views whose tracks are looked for after they were lost, and frames in which that is tried."""

_STOP = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 0.01)


def track_features(frames, masks, report: Report, cores: Cores = ONE_CORE) -> Tracks:
    """Follow corners through the clip.

    Lucas-Kanade on a pyramid; an observation is kept if tracking back returns to its start and the patch still
    looks like its template; tracks that ran into each other are merged; empty cells get new corners each frame.

    Parameters
    ----------
    frames : ndarray
        (T,H,W,3) uint8 RGB, an array or memory map; read one frame at a time.
    masks : ndarray or None
        (T,H,W) bool-like; no track enters where true.
    report : Report
        Is told the stage "track".
    cores : Cores
        How many of them are used.

    Returns
    -------
    Tracks
        In pixels of the raster, of any length from one frame on.

    References
    ----------
    Lucas and Kanade 1981; Tomasi and Kanade 1991; Shi and Tomasi 1994, "Good features to track".
    """
    height, width = frames[0].shape[:2]
    tracker = _Tracker(width, height, cores)
    report.stage("track", len(frames))
    for index in range(len(frames)):
        mask = None if masks is None else np.asarray(masks[index]) > 0
        tracker.advance(cv2.cvtColor(np.ascontiguousarray(frames[index]), cv2.COLOR_RGB2GRAY), mask)
        report.progress(index + 1)
    return tracker.tracks()


@dataclass(frozen=True)
class _Living:
    """Tracks that go on: names (n,), pixels (n,2) float32 array coordinates, templates and the warps (n,2,2) that take
    them to the current frame, ages (n,) in frames."""

    names: np.ndarray
    pixels: np.ndarray
    templates: Templates
    warps: np.ndarray
    ages: np.ndarray

    def __len__(self) -> int:
        return len(self.names)

    def select(self, chosen: np.ndarray) -> _Living:
        return _Living(self.names[chosen], self.pixels[chosen], self.templates[chosen], self.warps[chosen],
                       self.ages[chosen])

    def joined(self, more: _Living) -> _Living:
        return _Living(np.concatenate([self.names, more.names]), np.concatenate([self.pixels, more.pixels]),
                       self.templates.joined(more.templates), np.concatenate([self.warps, more.warps]),
                       np.concatenate([self.ages, more.ages]))


def _newborn(gray: np.ndarray, pixels: np.ndarray, first_name: int) -> _Living:
    count = len(pixels)
    return _Living(np.arange(first_name, first_name + count), pixels, take_templates(gray, pixels),
                   np.tile(np.eye(2, dtype=np.float32), (count, 1, 1)), np.zeros(count, np.int64))


@dataclass(frozen=True)
class _View:
    """A picture (H,W) uint8 and the tracks that were seen in it."""

    gray: np.ndarray
    living: _Living


class _Tracker:
    """The frame that was seen last with its tracks, those that were lost all at once, and all observations so far."""

    def __init__(self, width: int, height: int, cores: Cores):
        self.width, self.height, self.cores = width, height, cores
        self.cell_px = max(8, round(np.sqrt(width * height / CORNERS_PER_FRAME)))
        self.spacing_px = max(4, int(0.6 * self.cell_px))
        black = np.zeros((height, width), np.uint8)
        self.last = _View(black, _newborn(black.astype(np.float32), np.zeros((0, 2), np.float32), 0))
        self.lost: list[_View] = []
        self.born, self.blind_frames, self.searches = 0, 0, 0
        self.observed: list[tuple[np.ndarray, np.ndarray]] = []

    def advance(self, gray: np.ndarray, mask: np.ndarray | None) -> None:
        """Take the next frame: follow, judge, merge, replenish, record.

        A frame in which nearly everything is lost at once (a flash, a black or torn frame, a mask that covers it)
        records nothing; the tracks wait for the picture to come back, and give up after MAX_BLIND frames. Then new
        ones begin, and the old ones are looked for a while longer, by features that look alike.
        """
        living = self.last.living
        followed = self._seen_again(self.last, gray, mask, flow_of_points)
        if self._loses(followed):
            followed = self._seen_again(self.last, gray, mask, flow_by_features)
        followed = self._with_lost(followed, gray, mask)
        if self._loses(followed) and self.blind_frames < MAX_BLIND:
            self.blind_frames += 1
            self.observed.append((living.names[:0], living.pixels[:0]))
            return
        if self._loses(followed):
            self.lost, self.searches = [*self.lost, self.last][-MOST_LOST:], 0
        corners = _new_corners(gray, followed.pixels, self.cell_px, self.spacing_px)
        joined = followed.joined(_newborn(gray.astype(np.float32), corners, self.born))
        self.born += len(corners)
        self.last = _View(gray, joined if mask is None else joined.select(_outside(joined.pixels, mask)))
        self.blind_frames = 0
        self.observed.append((self.last.living.names, self.last.living.pixels))

    def _loses(self, followed: _Living) -> bool:
        """Whether nearly all are gone, of many."""
        living = self.last.living
        return len(living) >= BLIND_TRACKS and len(followed) < BLIND_SHARE * len(living)

    def _with_lost(self, followed: _Living, gray: np.ndarray, mask: np.ndarray | None) -> _Living:
        """The tracks that are followed, and with them those lost earlier that are in the picture again."""
        if not self.lost:
            return followed
        self.searches += 1
        for view in self.lost:
            found = self._seen_again(view, gray, mask, flow_by_features)
            if len(found) >= BLIND_TRACKS:
                self.lost = [other for other in self.lost if other is not view]
                followed = followed.joined(found)
                followed = followed.select(_oldest_per_cell(followed.pixels, followed.ages))
        if self.searches >= MOST_SEARCHES:
            self.lost = []
        return followed

    def _seen_again(self, view: _View, gray: np.ndarray, mask: np.ndarray | None, flow: PointFlow) -> _Living:
        """The tracks of an earlier view that are found in the new frame: by flow, then exactly by their template."""
        if not len(view.living):
            return view.living
        flowed, returns = flow(view.gray, gray, view.living.pixels)
        returns &= self._inside(flowed)
        tracks, flowed = view.living.select(returns), flowed[returns]
        levels = gray.astype(np.float32)
        aligned, warps, correlation = align_patches(levels, tracks.templates, flowed, tracks.warps,
                                                   cores=self.cores)
        chosen = np.abs(aligned - flowed).max(axis=1, initial=0.0) < ALIGNED_PX
        chosen &= (correlation > TEMPLATE_CORRELATION) & self._inside(aligned)
        tracks = _Living(tracks.names, aligned, tracks.templates, warps, tracks.ages + 1).select(chosen)
        tracks = _with_new_templates(tracks, levels, correlation[chosen])
        tracks = tracks.select(_oldest_per_cell(tracks.pixels, tracks.ages))
        return tracks if mask is None else tracks.select(_outside(tracks.pixels, mask))

    def _inside(self, pixels: np.ndarray) -> np.ndarray:
        most = self.width - EDGE_PX - 1, self.height - EDGE_PX - 1
        return np.all((pixels > EDGE_PX) & (pixels < most), axis=1)

    def tracks(self) -> Tracks:
        counts = [len(names) for names, _ in self.observed]
        return Tracks(len(self.observed), (self.width, self.height), self.born, np.repeat(np.arange(len(counts)),
                                                                                          counts),
                      np.concatenate([names for names, _ in self.observed]),
                      np.concatenate([pixels for _, pixels in self.observed]).astype(np.float64) + 0.5)


def is_deformed(warps: np.ndarray) -> np.ndarray:
    """(n,) bool: whether warps (n,2,2) enlarge, shrink or shear by more than a template is good for."""
    stretch = np.linalg.svd(warps, compute_uv=False)
    return (stretch[:, 0] > MAX_STRETCH) | (stretch[:, 1] < 1.0 / MAX_STRETCH)


def _with_new_templates(tracks: _Living, gray: np.ndarray, correlation: np.ndarray) -> _Living:
    """New templates for tracks that no longer look like their old ones, or are much enlarged or sheared."""
    due = (correlation < RENEW_CORRELATION) | is_deformed(tracks.warps)
    templates = tracks.templates.replaced(due, take_templates(gray, tracks.pixels[due]))
    warps = np.where(due[:, None, None], np.eye(2, dtype=np.float32), tracks.warps)
    return replace(tracks, templates=templates, warps=warps)


def _oldest_per_cell(pixels: np.ndarray, ages: np.ndarray) -> np.ndarray:
    """Whether each track is the oldest in its small cell: two tracks there have run into each other."""
    cells = (pixels // MERGE_PX).astype(np.int64)
    order = np.argsort(-ages, kind="stable")
    _, first = np.unique(cells[order, 1] * 100_000 + cells[order, 0], return_index=True)
    chosen = np.zeros(len(pixels), bool)
    chosen[order[first]] = True
    return chosen


def _new_corners(gray: np.ndarray, taken: np.ndarray, cell_px: int, spacing_px: int) -> np.ndarray:
    """The best corner (Shi-Tomasi) of every grid cell that has no track near, (n,2) float32 array pixels."""
    strength = cv2.cornerMinEigenVal(gray, CORNER_WINDOW_PX, ksize=3)
    threshold = max(CORNER_STRENGTH * float(np.percentile(strength, 99.5)), 1e-6)
    strength[_around(taken, gray.shape, spacing_px)] = 0.0
    inner = np.zeros_like(strength)
    inner[BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX] = strength[BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX]
    rows, columns = _best_per_cell(inner, cell_px)
    strong = inner[rows, columns] > threshold
    rows, columns = _without_weaker_neighbors(inner, rows[strong], columns[strong], spacing_px)
    corners = np.stack([columns, rows], axis=-1).astype(np.float32)
    if len(corners):
        corners = cv2.cornerSubPix(gray, corners.reshape(-1, 1, 2), (3, 3), (-1, -1), _STOP).reshape(-1, 2)
    return corners


def _outside(pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(n,) pixels so far outside the mask (H,W) that their patches hardly reach into it."""
    widened = cv2.dilate(mask.astype(np.uint8), _disc(MASK_MARGIN_PX))
    columns, rows = np.rint(pixels).astype(int).T
    return widened[rows, columns] == 0


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


def _without_weaker_neighbors(strength, rows, columns, spacing_px: int) -> tuple[np.ndarray, np.ndarray]:
    """Drop corners that have a stronger one within spacing_px."""
    candidates = np.zeros_like(strength)
    candidates[rows, columns] = strength[rows, columns]
    strongest = cv2.dilate(candidates, _disc(spacing_px))
    chosen = candidates[rows, columns] >= strongest[rows, columns]
    return rows[chosen], columns[chosen]
