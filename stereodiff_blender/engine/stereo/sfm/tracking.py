"""Following corners from frame to frame (Kanade-Lucas-Tomasi), with the failures removed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from ...report import Report
from .patch_alignment import Templates, align_patches, take_templates
from .tracks import Tracks

CORNERS_PER_FRAME = 1200
CORNER_WINDOW_PX = 5
CORNER_STRENGTH = 0.003
BORDER_PX = 8
FLOW_WINDOW_PX = 15
FLOW_LEVELS = 3
ROUND_TRIP_PX = 0.6
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
EXPOSURE_JUMP = 0.08
MIN_CONTRAST = 2.0

_STOP = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 0.01)


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


class _Tracker:
    """The living tracks, the frame they were last seen in, and all observations so far."""

    def __init__(self, width: int, height: int):
        self.width, self.height = width, height
        self.cell_px = max(8, round(np.sqrt(width * height / CORNERS_PER_FRAME)))
        self.spacing_px = max(4, int(0.6 * self.cell_px))
        self.gray = np.zeros((height, width), np.uint8)
        self.living = _newborn(self.gray.astype(np.float32), np.zeros((0, 2), np.float32), 0)
        self.born, self.blind_frames = 0, 0
        self.observed: list[tuple[np.ndarray, np.ndarray]] = []

    def advance(self, gray: np.ndarray, mask: np.ndarray | None) -> None:
        """Take the next frame: follow, judge, merge, replenish, record.

        A frame in which nearly everything is lost at once (a flash, a black or torn frame, a mask that covers it)
        records nothing; the tracks wait for the picture to come back, and give up after MAX_BLIND frames.
        """
        followed = self._followed(gray) if len(self.living) else self.living
        if mask is not None:
            followed = followed.select(_outside(followed.pixels, mask))
        if self._is_blind(followed):
            self.blind_frames += 1
            self.observed.append((self.living.names[:0], self.living.pixels[:0]))
            return
        corners = _new_corners(gray, followed.pixels, self.cell_px, self.spacing_px)
        living = followed.joined(_newborn(gray.astype(np.float32), corners, self.born))
        self.born += len(corners)
        self.living = living if mask is None else living.select(_outside(living.pixels, mask))
        self.gray, self.blind_frames = gray, 0
        self.observed.append((self.living.names, self.living.pixels))

    def _is_blind(self, followed: _Living) -> bool:
        lost = len(followed) < BLIND_SHARE * len(self.living)
        return lost and len(self.living) >= BLIND_TRACKS and self.blind_frames < MAX_BLIND

    def _followed(self, gray: np.ndarray) -> _Living:
        """The living tracks that are found again in the new frame: by flow, then exactly by their template."""
        flowed, returns = _flow_there_and_back(self.gray, _exposed_like(gray, self.gray), self.living.pixels)
        returns &= self._inside(flowed)
        tracks, flowed = self.living.select(returns), flowed[returns]
        levels = gray.astype(np.float32)
        aligned, warps, correlation = align_patches(levels, tracks.templates, flowed, tracks.warps)
        chosen = np.abs(aligned - flowed).max(axis=1, initial=0.0) < ALIGNED_PX
        chosen &= (correlation > TEMPLATE_CORRELATION) & self._inside(aligned)
        tracks = _Living(tracks.names, aligned, tracks.templates, warps, tracks.ages + 1).select(chosen)
        tracks = _with_new_templates(tracks, levels, correlation[chosen])
        return tracks.select(_oldest_per_cell(tracks.pixels, tracks.ages))

    def _inside(self, pixels: np.ndarray) -> np.ndarray:
        most = self.width - EDGE_PX - 1, self.height - EDGE_PX - 1
        return np.all((pixels > EDGE_PX) & (pixels < most), axis=1)

    def tracks(self) -> Tracks:
        counts = [len(names) for names, _ in self.observed]
        return Tracks(len(self.observed), (self.width, self.height), self.born, np.repeat(np.arange(len(counts)),
                                                                                          counts),
                      np.concatenate([names for names, _ in self.observed]),
                      np.concatenate([pixels for _, pixels in self.observed]).astype(np.float64) + 0.5)


def _with_new_templates(tracks: _Living, gray: np.ndarray, correlation: np.ndarray) -> _Living:
    """New templates for tracks that no longer look like their old ones, or are much enlarged or sheared."""
    stretch = np.linalg.svd(tracks.warps, compute_uv=False)
    due = (correlation < RENEW_CORRELATION) | (stretch[:, 0] > MAX_STRETCH) | (stretch[:, 1] < 1.0 / MAX_STRETCH)
    templates = tracks.templates.replaced(due, take_templates(gray, tracks.pixels[due]))
    warps = np.where(due[:, None, None], np.eye(2, dtype=np.float32), tracks.warps)
    return replace(tracks, templates=templates, warps=warps)


def _flow_there_and_back(gray_i: np.ndarray, gray_j: np.ndarray, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (n,2) in j, and (n,) whether the way back ends where it began."""
    start = np.ascontiguousarray(pixels, np.float32).reshape(-1, 1, 2)
    there, found = _flow(gray_i, gray_j, start)
    back, found_back = _flow(gray_j, gray_i, there)
    miss = np.abs(back - start).max(axis=(1, 2))
    returns = (found.ravel() == 1) & (found_back.ravel() == 1) & (miss < ROUND_TRIP_PX)
    return there.reshape(-1, 2), returns & np.isfinite(there).all(axis=(1, 2))


def _flow(gray_i: np.ndarray, gray_j: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (n,1,2) in j, and (n,1) 1 where they were found; start: (n,1,2) float32."""
    there, found, _ = cv2.calcOpticalFlowPyrLK(
        # OpenCV's stub has no None, by which the function itself means: without a guess.
        gray_i, gray_j, start, None,  # pyright: ignore[reportArgumentType, reportCallIssue]
        winSize=(FLOW_WINDOW_PX, FLOW_WINDOW_PX), maxLevel=FLOW_LEVELS, criteria=_STOP, minEigThreshold=1e-4)
    return there, found


def _exposed_like(gray: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The frame with the reference's mean and contrast, if light or exposure jumped between them: flow compares
    brightness itself."""
    mean, contrast = (float(value[0, 0]) for value in cv2.meanStdDev(gray))
    wanted_mean, wanted_contrast = (float(value[0, 0]) for value in cv2.meanStdDev(reference))
    if abs(mean - wanted_mean) < EXPOSURE_JUMP * wanted_mean or contrast < MIN_CONTRAST:
        return gray
    gain = wanted_contrast / contrast
    alike = gray.astype(np.float32) * gain + (wanted_mean - gain * mean)
    # OpenCV's stub has no numbers, though the function takes one for the second array.
    return cv2.convertScaleAbs(cv2.max(alike, 0.0))  # pyright: ignore[reportArgumentType, reportCallIssue]


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
