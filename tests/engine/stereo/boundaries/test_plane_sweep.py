"""Sharper borders for the "high" preset: a box before a wall, made fat and sharpened again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from depth_scenes import RayCastShot, ray_cast
from recording_report import RecordingReport

import stereodiff_blender.engine
from stereodiff_blender.engine.contract import StereoDiffError
from stereodiff_blender.engine.report import Report
from stereodiff_blender.engine.solution import StereoResult
from stereodiff_blender.engine.stereo.boundaries.plane_sweep import refine_edges
from stereodiff_blender.engine.storage import RunContext
from stereodiff_blender.engine.torch_support.device import torch_device

COUNT, FAT_PX = 5, 3
SOURCES = [tuple(j for j in range(COUNT) if j != i) for i in range(COUNT)]


@pytest.fixture(scope="module")
def shot() -> RayCastShot:
    """Every third frame of a longer shot: parallax of three pixels between box and wall, frame to frame."""
    whole = ray_cast(3 * COUNT, with_object=True)
    return RayCastShot(*(getattr(whole, name)[::3] for name in whole.__dataclass_fields__))


@pytest.fixture(scope="module")
def fat(shot) -> np.ndarray:
    """Depth whose near things reach some pixels too far; the mover keeps its own."""
    window = np.ones((2 * FAT_PX + 1, 2 * FAT_PX + 1), np.uint8)
    still = np.where(shot.motion_mask > 0, np.float32(1e3), shot.depth)
    return np.where(shot.motion_mask > 0, shot.depth, np.stack([cv2.erode(frame, window) for frame in still]))


def refined(shot: RayCastShot, depth: np.ndarray, *, sources=SOURCES, report: Report | None = None,
            device: str = "cpu") -> np.ndarray:
    stereo = StereoResult(shot.cameras, depth, shot.confidence, shot.motion_mask)
    return refine_edges(shot.frames, stereo, sources, device=device, context=RunContext(report=report or Report()))


def border_error(shot: RayCastShot, depth: np.ndarray) -> float:
    """Mean relative error of static pixels near the true edges."""
    window = np.ones((17, 17), np.uint8)
    near = np.stack([cv2.dilate(d, window) > 1.15 * cv2.erode(d, window) for d in shot.depth])
    return float(np.abs(depth / shot.depth - 1)[near & (shot.motion_mask == 0)].mean())


@pytest.mark.slow
def test_fat_borders_become_thin(shot, fat):
    before, after = border_error(shot, fat), border_error(shot, refined(shot, fat))
    assert before > 0.05
    assert after < 0.7 * before


@pytest.mark.slow
def test_nothing_comes_nearer(shot, fat):
    assert (refined(shot, fat) >= fat * (1 - 1e-6)).all()


@pytest.mark.slow
def test_true_borders_stay(shot):
    assert border_error(shot, refined(shot, shot.depth)) < 0.02


@pytest.mark.slow
def test_what_moves_keeps_its_depth(shot, fat):
    moving = shot.motion_mask > 0
    np.testing.assert_allclose(refined(shot, fat)[moving], fat[moving], rtol=1e-6)


@pytest.mark.slow
def test_the_same_bytes_twice(shot, fat):
    assert np.array_equal(refined(shot, fat), refined(shot, fat))


@pytest.mark.slow
def test_a_frame_without_sources_is_left_alone(shot, fat):
    after = refined(shot, fat, sources=[(), *SOURCES[1:]])
    assert np.array_equal(after[0], fat[0])
    assert not np.array_equal(after[1], fat[1])


@pytest.mark.slow
def test_progress_ends_at_the_announced_total(shot, fat):
    report = RecordingReport()
    refined(shot, fat, report=report)
    assert report.stages == [("edges", COUNT)] and report.done == COUNT


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the device")
def test_a_device_that_is_not_there_is_named(shot, fat):
    with pytest.raises(StereoDiffError, match="cuda:0", check=lambda error: error.code == "device_unavailable"):
        refined(shot, fat, device="cuda:0")


def test_auto_is_a_device_that_is_there():
    assert torch_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert torch_device("cpu").type == "cpu"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_finds_what_the_cpu_finds(shot, fat):
    on_cuda = refined(shot, fat, device="cuda")
    differs = ~np.isclose(on_cuda, refined(shot, fat), rtol=1e-4)
    assert differs.mean() < 0.01


@pytest.mark.slow
def test_no_other_module_of_the_method_brings_torch():
    """The standard preset must start, and run, where torch is not installed."""
    code = ("import sys; import stereodiff_blender.engine.pipeline.pipeline, stereodiff_blender.engine.worker.run; "
            "sys.exit('torch' in sys.modules)")
    root = Path(stereodiff_blender.engine.__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
