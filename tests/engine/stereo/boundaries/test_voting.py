"""Borders settled by vote: fat ones become thin, and what is right or moves stays as it is."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from depth_scenes import RayCastShot, ray_cast
from recording_report import RecordingReport

from stereodiff_blender.engine.report import Report
from stereodiff_blender.engine.solution import StereoResult
from stereodiff_blender.engine.stereo.boundaries.voting import refine_boundaries
from stereodiff_blender.engine.storage import DiskScratch, RunContext

FAT_PX = 4
BESIDE = slice(35, 70)


@pytest.fixture(scope="module")
def shot() -> RayCastShot:
    return ray_cast(14, with_object=True)


def fattened(shot: RayCastShot) -> tuple[np.ndarray, np.ndarray]:
    """Depth whose board reaches some pixels too far, and confidence that is lower there but not nil."""
    window = np.ones((2 * FAT_PX + 1, 2 * FAT_PX + 1), np.uint8)
    still = np.where(shot.motion_mask > 0, np.float32(1e3), shot.depth)
    nearest = np.stack([cv2.erode(frame, window) for frame in still])
    depth = np.where((shot.motion_mask == 0) & (shot.depth > 1.4 * nearest), nearest, shot.depth)
    is_edge = np.stack([cv2.dilate(d, window) > 1.4 * cv2.erode(d, window) for d in depth])
    return depth, np.where(is_edge, 0.6, 1.0).astype(np.float32)


def settled(shot: RayCastShot, depth: np.ndarray, confidence: np.ndarray, report: Report | None = None) -> np.ndarray:
    before = depth.copy()
    result = refine_boundaries(shot.frames, StereoResult(shot.cameras, depth, confidence, shot.motion_mask),
                               context=RunContext(report=report or Report()))
    assert np.array_equal(depth, before), "what was measured must survive"
    return result


def is_wrong(shot: RayCastShot, depth: np.ndarray) -> np.ndarray:
    """(T,H,W): static pixels that show another surface than the true one."""
    return (np.abs(np.log(depth / shot.depth)) > 0.1) & (shot.motion_mask == 0)


@pytest.mark.slow
def test_fat_borders_become_thin(shot):
    depth, confidence = fattened(shot)
    # Beside the board; above and below it a camera that slides sideways sets nothing free.
    before, after = (is_wrong(shot, d)[:, BESIDE].sum() for d in (depth, settled(shot, depth, confidence)))
    assert before > 2000
    assert after < 0.65 * before


@pytest.mark.slow
def test_true_borders_stay(shot):
    after = settled(shot, shot.depth, shot.confidence)
    assert is_wrong(shot, after).mean() < 2e-3


def test_what_moves_and_what_lies_far_from_borders_keeps_its_bytes(shot):
    depth, confidence = fattened(shot)
    after = settled(shot, depth, confidence)
    moving = shot.motion_mask > 0
    assert np.array_equal(after[moving], depth[moving])
    log_depth = np.log(depth)
    window = np.ones((31, 31), np.uint8)
    plain = np.stack([cv2.dilate(frame, window) - cv2.erode(frame, window) < 0.08 for frame in log_depth])
    assert plain.mean() > 0.1
    assert np.array_equal(after[plain], depth[plain])


def test_a_smooth_scene_is_left_alone(shot):
    wall = np.full_like(shot.depth, 5.0)
    assert np.array_equal(settled(shot, wall, shot.confidence), wall)


def test_the_depth_of_what_moves_is_offered_to_nobody(shot):
    """The mover's depth is far from everything else's; none of it may appear beside the mover."""
    depth = np.where(shot.motion_mask > 0, np.float32(0.5), shot.depth)
    after = settled(shot, depth, shot.confidence)
    assert after[shot.motion_mask == 0].min() > 0.9 * shot.depth[shot.motion_mask == 0].min()


@pytest.mark.slow
def test_the_same_bytes_twice_in_memory_and_on_disk(shot, tmp_path):
    depth, confidence = fattened(shot)
    once = settled(shot, depth, confidence)
    np.save(tmp_path / "depth.npy", depth)
    mapped = np.load(tmp_path / "depth.npy", mmap_mode="r+")
    on_disk = refine_boundaries(shot.frames, StereoResult(shot.cameras, mapped, confidence, shot.motion_mask),
                                context=RunContext(DiskScratch(tmp_path / "scratch")))
    assert isinstance(on_disk, np.memmap) and np.array_equal(on_disk, once)


def test_progress_ends_at_the_announced_total(shot):
    report = RecordingReport()
    settled(shot, shot.depth, shot.confidence, report)
    (stage, total), = report.stages
    assert stage == "borders" and report.done == total


def test_shapes_that_do_not_fit_are_refused(shot):
    short = StereoResult(shot.cameras, shot.depth[:3].copy(), shot.confidence, shot.motion_mask)
    with pytest.raises(ValueError, match="agree"):
        refine_boundaries(shot.frames, short, context=RunContext())
