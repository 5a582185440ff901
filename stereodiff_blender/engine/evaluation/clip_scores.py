"""All figures of one solved clip against its truth.

Depth is brought to the truth by one scale and one shift of disparity for the clip, and to its raster by the nearest
pixel. A pixel without depth, in a black bar, is not scored but told of by the coverage. What is None cannot be told for
this clip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from ..contract import JobFolder, Result
from ..geometry import disparity_from_depth
from ..imaging import OpticalFlow
from ..media.exr import read_exr
from ..quality.spectrum import band_edges, band_means, flicker1, flicker2
from ..storage import Scratch
from .datasets.clips import TruthClip
from .scores import ScaleShift, fit_scale_shift_of_clip, frame_scores, has_truth, nearest_sampled
from .temporal import alignment_errors, warping_errors
from .trajectory import TrajectoryErrors, trajectory_errors

MEASURES = ("absrel", "rmse", "delta1", "delta2")
FLOWS_KEPT = 2
OPW_PERCENTILES = (1.0, 99.0)
SAMPLE_STEP_PX = 4

Tick = Callable[[int, int], None]


@dataclass(frozen=True)
class ClipScores:
    """One clip of one run.

    camera_kind: as the solve found it; None if it failed, with the code in failure. seconds: of the solve.
    absrel, rmse, delta1, delta2: means over the frames with a truth, all pixels; *_static, *_moving: of the pixels that
    a motion mask tells apart, the data set's own ("truth") or the solve's ("own"), by motion_from. coverage: share of
    the pixels with truth that have depth. bands: F0..F10 of the frames' AbsRel, None for a band
    that so few frames do not have. ate, rpe: see trajectory.py.
    flicker1, flicker2: see spectrum.py; truth_flicker2: what the truth itself has. tae: temporal alignment error, of
    still pixels, by the data set's cameras ("truth") or the solve's ("own"), by cameras_from. opw: flow warping error
    of disparity, in shares of its range. scale, shift: what brought disparity to the truth's.
    """

    clip: str
    run: int
    frames: int
    camera_kind: str | None = None
    failure: str | None = None
    seconds: float | None = None
    absrel: float | None = None
    rmse: float | None = None
    delta1: float | None = None
    delta2: float | None = None
    coverage: float | None = None
    motion_from: str | None = None
    absrel_static: float | None = None
    delta1_static: float | None = None
    absrel_moving: float | None = None
    delta1_moving: float | None = None
    absrel_per_frame: tuple[float | None, ...] = ()
    bands: tuple[float | None, ...] | None = None
    ate: float | None = None
    ate_percent: float | None = None
    rpe_translation: float | None = None
    rpe_rotation_deg: float | None = None
    flicker1: float | None = None
    flicker2: float | None = None
    truth_flicker2: float | None = None
    tae: float | None = None
    cameras_from: str | None = None
    opw: float | None = None
    scale: float | None = None
    shift: float | None = None


@dataclass(frozen=True)
class SolvedClip:
    """A job's result. depth: (T,h,w) float32; motion_mask: (T,h,w) uint8; both None without depth.
    camera_to_world: (T,4,4). intrinsics: (T,4)."""

    kind: str
    camera_to_world: np.ndarray
    intrinsics: np.ndarray
    depth: np.ndarray | None
    motion_mask: np.ndarray | None


def read_solved(folder: JobFolder, result: Result, scratch: Scratch) -> SolvedClip:
    """The result's arrays, in scratch."""
    poses = np.array([frame.camera_to_world for frame in result.frames])
    intrinsics = np.array([(frame.fx, frame.fy, frame.cx, frame.cy) for frame in result.frames])
    if result.depth_range is None:
        return SolvedClip(result.camera_kind, poses, intrinsics, None, None)
    shape = (len(result.frames), result.height, result.width)
    depth, mask = scratch.allocate("depth", shape, np.float32), scratch.allocate("motion", shape, np.uint8)
    for index, frame in enumerate(result.frames):
        depth[index], mask[index] = (_channel(folder, name) for name in (frame.depth, frame.motion_mask))
    return SolvedClip(result.camera_kind, poses, intrinsics, depth, mask)


def _channel(folder: JobFolder, name: str) -> np.ndarray:
    (image,) = read_exr(folder.path / name).values()
    return image


def score_clip(clip: TruthClip, solved: SolvedClip, *, run: int, farthest: float, scratch: Scratch, tick: Tick,
               seconds: float | None = None) -> ClipScores:
    """farthest: true depth from here on is not scored. tick(done, total): called as frames are done."""
    figures: dict[str, object] = _camera_figures(solved, clip)
    if solved.depth is not None:
        motion = _motion_on_raster(clip, solved, scratch)
        fitted = _fitted(clip, solved, farthest)
        if fitted is not None:
            figures |= _depth_figures(clip, solved, fitted, tick)
        figures |= _temporal_figures(clip, solved, fitted, motion, scratch, tick)
    return ClipScores(clip.name, run, len(solved.camera_to_world), solved.kind, None, seconds, **figures)


def _camera_figures(solved: SolvedClip, clip: TruthClip) -> dict[str, object]:
    found: TrajectoryErrors | None = None
    if clip.camera_to_world is not None:
        found = trajectory_errors(solved.camera_to_world, clip.camera_to_world)
    if found is None:
        return {}
    if solved.kind != "moving":
        return {"rpe_rotation_deg": found.rpe_rotation_deg}
    return {"ate": found.ate, "ate_percent": found.ate_percent, "rpe_translation": found.rpe_translation,
            "rpe_rotation_deg": found.rpe_rotation_deg}


# --- Depth -----------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class _Beside:
    """One frame on the truth's raster (H,W). disparity: of the solve, 0 where it has none. exists: truth counts."""

    index: int
    disparity: np.ndarray
    true: np.ndarray
    exists: np.ndarray
    moving: np.ndarray

    @property
    def both(self) -> np.ndarray:
        return self.exists & (self.disparity > 0)


def _frames_beside(clip: TruthClip, solved: SolvedClip, farthest: float) -> Iterator[_Beside]:
    """The frames that have a truth."""
    for index in range(len(solved.depth) if clip.depth else 0):
        true = clip.depth(index)
        if true is None or not has_truth(true, farthest).any():
            continue
        disparity = disparity_from_depth(nearest_sampled(solved.depth[index], true.shape).astype(np.float64))
        moving = clip.motion_mask(index) if clip.motion_mask else None
        moving = solved.motion_mask[index] if moving is None else moving
        yield _Beside(index, disparity, true, has_truth(true, farthest), nearest_sampled(moving, true.shape) > 0)


def _fitted(clip: TruthClip, solved: SolvedClip, farthest: float) -> ScaleShift | None:
    """None if there is no truth to fit to."""
    pairs = ((beside.disparity[beside.both], beside.true[beside.both].astype(np.float64))
             for beside in _frames_beside(clip, solved, farthest) if beside.both.any())
    try:
        return fit_scale_shift_of_clip(pairs, farthest=farthest)
    except ValueError:
        return None


def _depth_figures(clip: TruthClip, solved: SolvedClip, fitted: ScaleShift, tick: Tick) -> dict[str, object]:
    count = len(solved.depth)
    whole, static, moving = (np.full((count, len(MEASURES)), np.nan) for _ in range(3))
    covered = existing = 0
    for beside in _frames_beside(clip, solved, fitted.farthest):
        depth = fitted.depth(beside.disparity)
        for rows, counted in ((whole, beside.both), (static, beside.both & ~beside.moving),
                              (moving, beside.both & beside.moving)):
            if counted.any():
                rows[beside.index] = frame_scores(depth[counted], beside.true[counted].astype(np.float64))
        covered, existing = covered + int(beside.both.sum()), existing + int(beside.exists.sum())
        tick(beside.index + 1, 2 * count)
    figures = dict(zip(MEASURES, _means(whole), strict=True))
    for name, rows in (("static", static), ("moving", moving)):
        means = _means(rows)
        figures |= {f"absrel_{name}": means[0], f"delta1_{name}": means[2]}
    return figures | {"coverage": covered / existing, "motion_from": "truth" if clip.motion_mask else "own",
                      "absrel_per_frame": tuple(_known(value) for value in whole[:, 0]), "bands": _bands(whole[:, 0]),
                      "scale": fitted.scale, "shift": fitted.shift}


def _means(rows: np.ndarray) -> list[float | None]:
    known = rows[np.isfinite(rows).all(axis=1)]
    return [float(value) for value in known.mean(axis=0)] if len(known) else [None] * rows.shape[1]


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _bands(absrel: np.ndarray) -> tuple[float | None, ...] | None:
    """F0..F10; a frame without truth in between counts as what lies between its neighbors."""
    places = np.flatnonzero(np.isfinite(absrel))
    if len(places) < 2:
        return None
    whole = np.interp(np.arange(places[0], places[-1] + 1), places, absrel[places])
    has_band = np.diff(band_edges(len(whole))) > 0
    return tuple(float(value) if has else None for value, has in zip(band_means(whole), has_band, strict=True))


# --- Over time -------------------------------------------------------------------------------------------------

class _TrueDepth:
    """The truth as a (T,H,W) sequence that is read frame by frame; zeros for a frame without."""

    def __init__(self, clip: TruthClip, farthest: float):
        self._clip, self._farthest = clip, farthest
        every = (clip.depth(index) for index in range(clip.frame_count))
        self._shape = next(true.shape for true in every if true is not None)

    def __len__(self) -> int:
        return self._clip.frame_count

    def __getitem__(self, index: int) -> np.ndarray:
        true = self._clip.depth(index)
        if true is None:
            return np.zeros(self._shape, np.float32)
        return np.where(has_truth(true, self._farthest), true, 0.0)


def _temporal_figures(clip: TruthClip, solved: SolvedClip, fitted: ScaleShift | None, motion: np.ndarray,
                      scratch: Scratch, tick: Tick) -> dict[str, object]:
    has_cameras = fitted is not None and clip.camera_to_world is not None and clip.intrinsics is not None
    return {"flicker1": flicker1(solved.depth), "flicker2": flicker2(solved.depth),
            "truth_flicker2": flicker2(_TrueDepth(clip, fitted.farthest)) if fitted is not None else None,
            "tae": _alignment_error(clip, solved, fitted if has_cameras else None, motion),
            "cameras_from": "truth" if has_cameras else "own",
            "opw": _warping_error(clip, solved.depth, scratch, tick)}


def _motion_on_raster(clip: TruthClip, solved: SolvedClip, scratch: Scratch) -> np.ndarray:
    """(T,h,w) uint8, the data set's mask where it has one."""
    if clip.motion_mask is None:
        return solved.motion_mask
    masks = scratch.allocate("true_motion", solved.depth.shape, np.uint8)
    for index in range(len(masks)):
        true = clip.motion_mask(index)
        masks[index] = solved.motion_mask[index] if true is None else nearest_sampled(true, masks.shape[1:])
    return masks


def _alignment_error(clip: TruthClip, solved: SolvedClip, fitted: ScaleShift | None,
                     motion: np.ndarray) -> float | None:
    """Of still pixels; by the true cameras if depth has been fitted to the truth, else by the solve's own."""
    errors = []
    lenses = solved.intrinsics if fitted is None else clip.intrinsics * _raster_scale(clip, solved)
    poses = solved.camera_to_world if fitted is None else clip.camera_to_world
    for index in range(len(solved.depth) - 1):
        pair = slice(index, index + 2)
        depth = solved.depth[pair]
        if fitted is not None:
            depth = np.where(depth > 0, fitted.depth(disparity_from_depth(depth.astype(np.float64))), 0.0)
        errors.append(alignment_errors(depth, poses[pair], lenses[pair], motion[pair] == 0))
    return _mean_of(errors)


def _raster_scale(clip: TruthClip, solved: SolvedClip) -> np.ndarray:
    """What turns intrinsics of the data set's frames into those of the solve's raster."""
    height, width = clip.frame(0).shape[:2]
    across, down = solved.depth.shape[2] / width, solved.depth.shape[1] / height
    return np.array([across, down, across, down])


def _warping_error(clip: TruthClip, depth: np.ndarray, scratch: Scratch, tick: Tick) -> float | None:
    """Of disparity, of which 1 is the clip's range."""
    count, height, width = depth.shape
    frames = scratch.allocate("frames", (count, height, width, 3), np.uint8)
    for index in range(count):
        frames[index] = cv2.resize(clip.frame(index), (width, height), interpolation=cv2.INTER_AREA)
    low, high = _disparity_range(depth)
    flow, errors = OpticalFlow(frames, capacity=FLOWS_KEPT), []
    for index in range(count - 1):
        disparity = (disparity_from_depth(depth[index:index + 2].astype(np.float64)) - low) / (high - low)
        colors = frames[index:index + 2].astype(np.float64) / 255.0
        errors.append(warping_errors(disparity, colors, flow.between(index + 1, index)[None]))
        tick(count + index + 2, 2 * count)
    return _mean_of(errors)


def _disparity_range(depth: np.ndarray) -> tuple[float, float]:
    """Nearly all disparity of the clip lies between; by a grid of pixels. 0 and 1 if none of them has depth."""
    grid = depth[:, ::SAMPLE_STEP_PX, ::SAMPLE_STEP_PX]
    known = grid[grid > 0]
    if not len(known):
        return 0.0, 1.0
    low, high = np.percentile(1.0 / known.astype(np.float64), OPW_PERCENTILES)
    return (float(low), float(high)) if high > low else (0.0, float(high))


def _mean_of(errors: list[np.ndarray]) -> float | None:
    every = np.concatenate(errors) if errors else np.empty(0)
    known = every[np.isfinite(every)]
    return float(known.mean()) if len(known) else None
