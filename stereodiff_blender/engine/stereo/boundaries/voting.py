"""Depth borders settled: near a depth edge, each pixel finds out which surface it belongs to.

First by vote. A border that flow has made too fat is fat in every frame, but on another part of what lies behind: as
the camera moves on, the background comes free, and is measured well there. So a pixel of the border band is given
three disparities: its own, and the nearest and the farthest surface close by. Each is warped into the frames around;
a frame supports it as far as what it shows there has the same color and was itself measured, with confidence, at
that depth. The hypothesis with most support wins, and its supporters' mean is taken. (Kin to the consistency votes of
multi-view depth fusion: Merrell et al. 2007.) What is fat in every frame alike no vote can correct: there the
pictures decide, frame by frame (sides.py). A last vote makes the frames agree on what they decided.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np

from ...imaging import FrameWindow, Located, frames_around, sample_at, warp_between, warp_located
from ...solution import CameraSolution, StereoResult
from ...storage import RunContext
from ..mvs import select_sources
from .sides import select_sides

FRAME_OFFSETS = (-10, -6, -3, -1, 1, 3, 6, 10)
ROUNDS_BEFORE, ROUNDS_AFTER = 1, 1
"""Votes before and after the pictures decide: the last hears supporters whose borders are settled."""
FAR_SHARE = 0.98
"""Share of the clip's greatest depth from that on a pixel counts as lying at the far limit."""
WINDOW_PX = 25
"""Surfaces within half of it are hypotheses."""
EDGE_RANGE = 0.1
"""Relative disparity range inside the window above that there is a border to settle."""
RANGE_SIGMA = 0.06
"""Relative depth by which a supporter may differ from the hypothesis."""
COLOR_SIGMA = 12.0
"""Gray levels by which two views of one thing may differ."""
ROW_LENGTH = 256
"""Band pixels are laid out in rows of this length: OpenCV looks up no longer ones than 32766."""


def refine_boundaries(frames: np.ndarray, stereo: StereoResult, *, context: RunContext) -> np.ndarray:
    """Depth with its edges corrected.

    Parameters
    ----------
    frames : ndarray
        (T,H,W,3) uint8, may be memory-mapped.
    stereo : StereoResult
        Of these frames; what moves neither changes nor votes nor is a hypothesis. Its arrays may be memory-mapped.
    context : RunContext
        Depth comes from its scratch, where a later run goes on. Its report is told the stage "borders".

    Returns
    -------
    ndarray
        (T,H,W) float32 > 0, scene units.

    Raises
    ------
    ValueError
        If the shapes do not fit.

    References
    ----------
    Kin to Merrell et al. 2007, the consistency votes of multi-view depth fusion.
    """
    depth, confidence, motion_mask = stereo.depth, stereo.confidence, stereo.motion_mask
    if not depth.shape == confidence.shape == motion_mask.shape == frames.shape[:3]:
        raise ValueError(f"frames {frames.shape}, depth {depth.shape}, confidence {confidence.shape} and motion mask "
                         f"{motion_mask.shape} must agree in (T,H,W)")
    tasks = [vote_on_boundaries] * ROUNDS_BEFORE + [_select_all_sides] + [vote_on_boundaries] * ROUNDS_AFTER
    report = context.report
    report.stage("borders", len(tasks) * len(depth))
    count = len(depth)
    for number, task in enumerate(tasks):
        depth = _run_pass(task, f"borders_{number}", frames, replace(stereo, depth=depth), context,
                          lambda done, number=number: report.progress(number * count + done))
    return depth


def _run_pass(task: Callable[..., Callable[[int], np.ndarray]], name: str, frames: np.ndarray, stereo: StereoResult,
              context: RunContext, tick: Callable[[int], None]) -> np.ndarray:
    """One task over all frames: what it makes of depth (T,H,W), from scratch, kept under this name.

    task: makes a function of the frame's index that gives its new depth. tick: told how many frames are done.
    """
    depth, scratch, cores = stereo.depth, context.scratch, context.cores
    refined = scratch.open_array(name, depth.shape, np.float32)
    journal = scratch.journal(name, lambda index: [refined[index]])
    if journal.done < len(depth):
        refine = task(frames, stereo.cameras, depth, stereo.confidence, stereo.motion_mask, cores.count)
        left = range(journal.done, len(depth))
        for index, settled in zip(left, cores.map(refine, left), strict=True):
            refined[index] = settled
            journal.note(index)
            tick(index + 1)
    return refined


def vote_on_boundaries(frames, cameras, depth, confidence, motion_mask,
                       at_once: int = 1) -> Callable[[int], np.ndarray]:
    """One round of votes: a function that gives the settled depth (H,W) of a frame. Frames are asked for in order,
    so many at once.

    Other arguments as of refine_boundaries.
    """
    reach = max(FRAME_OFFSETS)
    kept: FrameWindow[int, np.ndarray] = FrameWindow(2 * reach + at_once)

    def refine(index: int) -> np.ndarray:
        views = {k: kept.get(k, lambda k=k: _view(frames[k], depth[k], confidence[k], motion_mask[k]))
                 for k in frames_around(index, reach, len(depth))}
        refined = np.array(depth[index])
        _refine_frame(cameras, views, index, refined)
        return refined

    return refine


def _select_all_sides(frames, cameras, depth, confidence, motion_mask,
                      at_once: int = 1) -> Callable[[int], np.ndarray]:
    """Let the pictures decide: a function that gives the settled depth (H,W) of a frame."""
    # What lies at the far limit is sky, whose outline was drawn by color and is sharp already.
    sky = FAR_SHARE * max(float(one.max()) for one in depth)
    sources = select_sources(cameras, *frames.shape[1:3])

    def refine(index: int) -> np.ndarray:
        fixed = (motion_mask[index] > 0) | (depth[index] > sky)
        return select_sides(frames, cameras, index, sources[index], depth[index], confidence[index], fixed)

    return refine


def _view(frame, depth, confidence, motion_mask) -> np.ndarray:
    """(H,W,4) float32: log disparity, gray, vote, moving; looked up together. What moves has no vote."""
    gray = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)
    planes = (-np.log(depth), gray, np.where(motion_mask > 0, 0, confidence), motion_mask)
    return np.stack([np.asarray(plane, np.float32) for plane in planes], axis=-1)


def _refine_frame(cameras: CameraSolution, views: dict[int, np.ndarray], index: int, depth: np.ndarray) -> None:
    """Correct the depth (H,W) of one frame in place."""
    own = views[index]
    nearest, farthest = _surfaces_around(own[..., 0], own[..., 3] == 0)
    rows, cols = np.nonzero((own[..., 3] == 0) & (nearest - farthest > EDGE_RANGE))
    if len(rows) == 0:
        return
    votes = _Votes(cameras, views, index, rows, cols)
    best = own[rows, cols, 0]
    most = votes.support(best)[0] + own[rows, cols, 2]
    is_better = np.zeros(len(rows), bool)
    for hypothesis in (farthest[rows, cols], nearest[rows, cols]):
        support, mean = votes.support(hypothesis)
        wins = support > most
        best, most, is_better = np.where(wins, mean, best), np.where(wins, support, most), is_better | wins
    depth[rows[is_better], cols[is_better]] = np.exp(-best[is_better])


def _surfaces_around(log_disparity: np.ndarray, still: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Largest and smallest log disparity of still pixels in the window around each pixel, (H,W) each."""
    window, beyond = np.ones((WINDOW_PX, WINDOW_PX), np.uint8), np.float32(1e3)
    nearest = cv2.dilate(np.where(still, log_disparity, -beyond), window)
    farthest = cv2.erode(np.where(still, log_disparity, beyond), window)
    return nearest, farthest


class _Votes:
    """The border pixels of one frame, and what the frames around say about them."""

    def __init__(self, cameras: CameraSolution, views: dict[int, np.ndarray], index: int, rows, cols):
        self._count = len(rows)
        self._shape = (-(-len(rows) // ROW_LENGTH), ROW_LENGTH)
        self._x, self._y, self._gray = (self._laid_out(values.astype(np.float32)) for values in
                                        (cols + 0.5, rows + 0.5, views[index][rows, cols, 1]))
        self._voters = [(views[index + offset], warp_between(cameras, index, index + offset).located(self._x, self._y))
                        for offset in FRAME_OFFSETS if index + offset in views]

    def _laid_out(self, values: np.ndarray) -> np.ndarray:
        """(n,) values in rows; the last row is filled up with values from the start."""
        return np.resize(values, self._shape)

    def support(self, hypothesis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """hypothesis: (n,) log disparity. Returns the votes for it and the voters' mean log disparity, (n,) each."""
        laid_out = self._laid_out(hypothesis)
        disparity = np.exp(laid_out)
        votes, difference = np.zeros(self._shape, np.float32), np.zeros(self._shape, np.float32)
        for view, located in self._voters:
            found, weight = self._vote(view, located, laid_out, disparity)
            votes += weight
            difference += weight * found
        mean = laid_out + difference / np.maximum(votes, np.float32(1e-9))
        return votes.ravel()[:self._count], mean.ravel()[:self._count]

    def _vote(self, view: np.ndarray, located: Located, hypothesis: np.ndarray, disparity: np.ndarray):
        """How far, in log disparity, one frame finds the hypotheses wrong, and the weight of its word."""
        warped = warp_located(located, disparity)
        # Nothing seen outside the picture: the border has no vote.
        there = sample_at(view, *warped.places, border=cv2.BORDER_CONSTANT)
        # Depth there over depth here turns the one's disparity into what the still scene would show.
        found = there[..., 0] - hypothesis + np.log(warped.depth_ratio)
        mismatch = ((there[..., 1] - self._gray) / COLOR_SIGMA) ** 2 + (found / RANGE_SIGMA) ** 2
        return found, there[..., 2] * np.exp(np.float32(-0.5) * np.minimum(mismatch, np.float32(80.0)))
