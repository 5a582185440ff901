"""The whole method on arrays: what it hands back, what it refuses, and the one gauge."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
from recording_report import RecordingReport
from tiny_jobs import FOCAL_PX, HEIGHT, WIDTH, render_boards

from stereodiff_blender.engine.contract import STAGE_LABELS, Settings
from stereodiff_blender.engine.pipeline.pipeline import Estimate, estimate_depth
from stereodiff_blender.engine.pipeline.refine_steps import fit_to_stereo
from stereodiff_blender.engine.solution import KnownLens, StereoResult
from stereodiff_blender.engine.storage import RunContext, Scratch
from stereodiff_blender.engine.worker.run import PLANS, plan_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return np.stack(render_boards(8))


def solve(frames: np.ndarray, **settings) -> tuple[Estimate, RecordingReport]:
    report = RecordingReport()
    estimate = estimate_depth(frames, Settings(**settings), lens=KnownLens(FOCAL_PX), context=RunContext(report=report))
    return estimate, report


@pytest.fixture(scope="module")
def solved(frames) -> tuple[Estimate, RecordingReport]:
    return solve(frames)


def test_every_array_has_its_shape(solved, frames):
    estimate, _ = solved
    shape = (8, HEIGHT, WIDTH)
    assert estimate.stereo.depth.shape == estimate.refined_depth.shape == shape
    assert estimate.stereo.confidence.shape == estimate.stereo.motion_mask.shape == shape
    assert estimate.depth is estimate.refined_depth
    assert estimate.cameras.camera_to_world.shape == (8, 4, 4)
    assert (estimate.depth > 0).all()


def test_nearer_boards_are_nearer(solved):
    """The lower board stands at 3.2, the left one at 6 and the wall behind at 9 units."""
    depth = solved[0].depth[4]
    low, left, wall = (float(np.median(part)) for part in (
        depth[-20:, 40:150], depth[40:90, 28:52], depth[2:12, 80:110]))
    assert left / low == pytest.approx(6.0 / 3.2, rel=0.1)
    assert wall / low == pytest.approx(9.0 / 3.2, rel=0.15)


def test_stages_come_in_the_order_of_the_plan(solved):
    planned = [stage for stage, _ in plan_of(Settings())]
    told = [stage for stage, _ in solved[1].stages]
    assert [stage for stage in planned if stage in told] == list(dict.fromkeys(told))


def test_refined_depth_stays_in_the_cameras_gauge(solved):
    quality = solved[0].quality
    assert 0 <= quality.gauge_residual < 0.02
    assert quality.solved_share == 1.0 and quality.unsolved_frames == ()


def test_without_refinement_stereo_depth_is_the_answer(frames):
    estimate, report = solve(frames, refine="none")
    assert estimate.refined_depth is None and estimate.depth is estimate.stereo.depth
    assert estimate.quality.gauge_residual is None
    assert "refine" not in dict(report.stages)


def test_a_still_camera_has_no_depth(frames):
    grain = np.random.default_rng(3).integers(-6, 7, (5, HEIGHT, WIDTH, 3))
    still = np.clip(frames[:1].astype(int) + grain, 0, 255).astype(np.uint8)
    estimate, report = solve(still)
    assert estimate.cameras.kind == "static"
    assert estimate.stereo is estimate.refined_depth is estimate.depth is None
    assert "static_camera" in report.warnings
    assert estimate.quality.coverage is None


# --- Presets ---------------------------------------------------------------------------------------------------

def test_high_quality_needs_no_torch_and_differs_in_the_raster_alone(monkeypatch, frames, solved):
    monkeypatch.setitem(sys.modules, "torch", None)
    estimate, report = solve(frames, quality="high", device="cuda")
    np.testing.assert_array_equal(estimate.depth, solved[0].depth)
    assert report.stages == solved[1].stages


def test_plans_are_whole_and_name_known_stages():
    for quality, plan in PLANS.items():
        assert sum(share for _, share in plan) == pytest.approx(1.0), quality
        assert {stage for stage, _ in plan} <= set(STAGE_LABELS)


# --- The gauge -------------------------------------------------------------------------------------------------

@pytest.fixture
def stereo() -> StereoResult:
    """Four frames of depth between 1 and 5, all of it trusted and static; cameras do not matter here."""
    depth = np.random.default_rng(1).uniform(1.0, 5.0, (4, 48, 64)).astype(np.float32)
    return StereoResult(None, depth, np.ones_like(depth), np.zeros(depth.shape, np.uint8))


def test_a_scale_and_shift_of_disparity_is_undone(stereo):
    refined = 1.0 / (0.4 / stereo.depth + 0.05)
    fitted, residual = fit_to_stereo(refined, stereo, Scratch())
    assert residual == pytest.approx(0.0, abs=1e-6)
    np.testing.assert_allclose(fitted, stereo.depth, rtol=1e-5)


def test_only_trusted_static_pixels_decide(stereo):
    refined = 2.0 * stereo.depth
    refined[:, :, 32:] *= 7.0
    refined[:, :24, :32] *= 0.3
    stereo.motion_mask[:, :, 32:] = 1
    stereo.confidence[:, :24] = 0.1
    refined, _ = fit_to_stereo(refined, stereo, Scratch())
    np.testing.assert_allclose(refined[:, 24:, :32], stereo.depth[:, 24:, :32], rtol=1e-5)


def test_a_change_that_no_scale_explains_is_reported(stereo):
    noise = np.random.default_rng(2).normal(0.0, 0.1, stereo.depth.shape)
    _, residual = fit_to_stereo((stereo.depth * np.exp(noise)).astype(np.float32), stereo, Scratch())
    assert 0.03 < residual < 0.1


def test_invalid_depth_stays_invalid_and_the_sky_finite(stereo):
    refined = 1.0 / (1.0 / stereo.depth + 0.2)
    refined[0, 0, 0] = 0.0
    refined[0, 0, 1] = 1e6
    refined, _ = fit_to_stereo(refined, stereo, Scratch())
    assert refined[0, 0, 0] == 0.0
    assert np.isfinite(refined).all() and 0 < refined[0, 0, 1] <= 10.001 * stereo.depth.max()


def test_without_trusted_pixels_nothing_is_changed(stereo):
    stereo = replace(stereo, confidence=np.zeros_like(stereo.depth))
    refined = 2.0 * stereo.depth
    same, residual = fit_to_stereo(refined, stereo, Scratch())
    assert residual is None
    np.testing.assert_array_equal(same, 2.0 * stereo.depth)


def test_depth_turned_inside_out_is_a_fault(stereo):
    with pytest.raises(ValueError, match="inside out"):
        fit_to_stereo(1.0 / (1.2 - 1.0 / stereo.depth), stereo, Scratch())
