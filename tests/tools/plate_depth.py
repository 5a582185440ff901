"""How true a job's depth is at its plate's size: python plate_depth.py JOB TRUTH [--json]

JOB is a job folder, or a folder of job folders, of which the newest finished one counts. TRUTH is what truth.py reads,
of a clip made without a lens's distortion, its depth at the plate's own pixels or at a part of them. A job's depth may
have any size, and is that of the plate's size where the job has both: it is looked up where the truth has its pixels.
All depth is brought to the truth's unit by one ratio.
accuracy.py compares both on the truth's raster, over all of the picture; here edges count, in pixels of the plate.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from truth import FARTHEST, Truth, newest_finished, read_channel, read_truth, sampled

from stereodiff_blender.engine.contract import JobFolder
from stereodiff_blender.engine.geometry import invert_rigid

OF_WIDTH = 1920
"""The sizes below are in pixels of a plate this wide, and grow with it."""
BAND_PX, EDGE_STEP, EDGE_REACH_PX = 24.0, 1.08, 6.0
"""Truth that differs by this factor within so few pixels is an edge, whose band has this reach, along both axes."""
POST_PX, POST_STEP = 30.0, 1.08
"""What is less wide, and nearer by this factor than what lies on both sides of it, is a post."""
RIGHT = 0.10
SIDE, SAME_SURFACE = 0.05, 0.02
"""Depth that is off by less is on its side of the edge; truth that agrees this well shows the same point again."""


@dataclass(frozen=True)
class PlateDepth:
    """How true depth is, of the still pixels with truth and depth, the mean of the frames; shares are 0..1.

    static, edges: |depth - true| / true of all, and of those in the bands of edges. inside: of those beyond the bands.
    posts: share of the pixels of posts that are within RIGHT. changing: share of the pixels in bands that are on their
    side of the edge in one frame and not in the next, where both show them. size: width and height of the depth.
    """

    size: tuple[int, int]
    static: float
    edges: float
    inside: float
    posts: float
    changing: float


def measure(folder: Path, truth_path: Path) -> PlateDepth:
    """Raises StereoDiffError "result_invalid" if the folder holds no finished job, "job_missing" without a truth."""
    files = [folder / depth for frame in JobFolder(folder).read_result().frames
             if (depth := frame.plate_depth or frame.depth)]
    return plate_scores(lambda index: read_channel(files[index]), len(files), read_truth(truth_path))


def plate_scores(depth: Callable[[int], np.ndarray], count: int, truth: Truth) -> PlateDepth:
    """depth(index): (H,W) of a frame in one unit for all, 0 where there is none; count: of the frames."""
    if truth.depth is None:
        raise ValueError("the truth tells no depth")
    frames = [_Frame.beside(np.asarray(depth(index)), truth, index) for index in range(count)]
    scale = float(np.median([np.median(f.true[f.counts] / f.depth[f.counts]) for f in frames]))
    errors = [np.abs(f.depth * scale - f.true) / f.true for f in frames]
    found = {name: float(np.mean([error[chosen(f)].mean() for error, f in zip(errors, frames, strict=True)
                                  if chosen(f).any()] or [np.nan]))
             for name, chosen in (("static", lambda f: f.counts), ("edges", lambda f: f.counts & f.band),
                                  ("inside", lambda f: f.counts & ~f.band))}
    posts = np.concatenate([error[f.counts & f.post] < RIGHT for error, f in zip(errors, frames, strict=True)])
    sides = [error < SIDE for error in errors]
    changing = [_changes(truth, index, frames, sides) for index in range(count - 1)]
    return PlateDepth(np.asarray(depth(0)).shape[::-1], **found, posts=float(posts.mean()) if posts.size else np.nan,
                      changing=float(np.concatenate(changing).mean()) if changing else np.nan)


@dataclass(frozen=True)
class _Frame:
    """On the truth's raster, (h,w) each. counts: both are known, and nothing moves."""

    depth: np.ndarray
    true: np.ndarray
    counts: np.ndarray
    band: np.ndarray
    post: np.ndarray

    @classmethod
    def beside(cls, depth: np.ndarray, truth: Truth, index: int) -> _Frame:
        assert truth.depth is not None
        true = truth.depth(index).astype(np.float64)
        exists = np.isfinite(true) & (true > 0) & (true < FARTHEST)
        true = np.where(exists, true, FARTHEST)
        pixel = true.shape[1] / OF_WIDTH  # of the truth's raster, in one of OF_WIDTH
        depth = sampled(depth, true.shape)
        still = ~truth.dynamic(index) if truth.dynamic else np.ones(true.shape, bool)
        reach = _reach(0.5 * EDGE_REACH_PX * pixel)
        edge = _highest(true, reach) > EDGE_STEP * _lowest(true, reach)
        band = _highest(edge.astype(np.uint8), _reach(BAND_PX * pixel)) > 0
        post_reach = (0, max(1, round(0.5 * POST_PX * pixel)))
        post = _lowest(_highest(true, post_reach), post_reach) > POST_STEP * true
        return cls(depth, true, exists & still & (depth > 0), band, post & exists)


def _reach(pixels: float) -> tuple[int, int]:
    return (max(1, round(pixels)),) * 2


def _highest(image: np.ndarray, reach: tuple[int, int]) -> np.ndarray:
    return cv2.dilate(image, np.ones((2 * reach[0] + 1, 2 * reach[1] + 1), np.uint8))


def _lowest(image: np.ndarray, reach: tuple[int, int]) -> np.ndarray:
    return cv2.erode(image, np.ones((2 * reach[0] + 1, 2 * reach[1] + 1), np.uint8))


def _changes(truth: Truth, index: int, frames: list[_Frame], sides: list[np.ndarray]) -> np.ndarray:
    """(n,) bool of the pixels in a frame's bands that the next one shows too: whether they change their side."""
    here, there = frames[index], frames[index + 1]
    height, width = here.true.shape
    rows, cols = np.nonzero(here.counts & here.band)
    fx, fy, cx, cy = truth.intrinsics_on(index, here.true.shape)
    z = here.true[rows, cols]
    local = np.stack([(cols + 0.5 - cx) / fx * z, (rows + 0.5 - cy) / fy * z, z], axis=-1)
    to_next = invert_rigid(truth.camera_to_world[index + 1]) @ truth.camera_to_world[index]
    x, y, z = (local @ to_next[:3, :3].T + to_next[:3, 3]).T
    fx, fy, cx, cy = truth.intrinsics_on(index + 1, here.true.shape)
    ahead = z > 1e-6
    col, row = (np.floor(np.where(ahead, focal * at / np.where(ahead, z, 1.0) + center, -1.0)).astype(int)
                for focal, at, center in ((fx, x, cx), (fy, y, cy)))
    inside = ahead & (col >= 0) & (row >= 0) & (col < width) & (row < height)
    rows, cols, row, col, z = (each[inside] for each in (rows, cols, row, col, z))
    again = there.counts[row, col] & (np.abs(there.true[row, col] - z) < SAME_SURFACE * z)
    return (sides[index][rows, cols] != sides[index + 1][row, col])[again]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", type=Path)
    parser.add_argument("truth", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure(newest_finished(options.job), options.truth)
    if options.json:
        print(json.dumps(asdict(found)))
    else:
        print("\n".join((f"  depth     {found.size[0]} x {found.size[1]}",
                         f"  static    {found.static:.2%} off",
                         f"  edges     {found.edges:.2%} off",
                         f"  inside    {found.inside:.2%} off",
                         f"  posts     {found.posts:.1%} right",
                         f"  changing  {found.changing:.2%} of the pixels near edges, from frame to frame")))


if __name__ == "__main__":
    main()
