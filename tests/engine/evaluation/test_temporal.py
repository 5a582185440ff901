"""Depth against its neighbor frames: reference vectors, and scenes whose errors are known."""

from __future__ import annotations

import numpy as np
import pytest
from depth_scenes import ray_cast
from golden import golden_file, tensors

from stereodiff_blender.engine.evaluation.temporal import (
    alignment_errors,
    flow_warping_error,
    nearest_surface,
    temporal_alignment_error,
    warping_errors,
)

TOLERANCE = {"rel": 1e-6, "abs": 1e-12}
LENS = np.array([4.0, 4.0, 2.0, 1.5])


# --- Reference vectors -----------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def analysis() -> dict[str, np.ndarray]:
    return tensors(golden_file("depthcrafter", "analysis.safetensors"))


def intrinsics_of(analysis) -> np.ndarray:
    """(T,4). The reference counts pixels from the first one's center, we from its corner."""
    matrix = analysis["K"]
    own = [matrix[0, 0], matrix[1, 1], matrix[0, 2] + 0.5, matrix[1, 2] + 0.5]
    return np.tile(own, (len(analysis["poses"]), 1))


@pytest.mark.parametrize("method", ["a", "b"])
def test_golden_temporal_alignment_error(analysis, method):
    scene = (analysis[f"pred_{method}"], analysis["poses"], intrinsics_of(analysis))
    assert alignment_errors(*scene) == pytest.approx(analysis[f"{method}/tae_pairs"], **TOLERANCE)
    assert temporal_alignment_error(*scene) == pytest.approx(float(analysis[f"{method}/tae"][0]), **TOLERANCE)
    masked = temporal_alignment_error(*scene, analysis["mask"])
    assert masked == pytest.approx(float(analysis[f"{method}/tae_masked"][0]), **TOLERANCE)


@pytest.mark.parametrize("method", ["a", "b"])
def test_golden_flow_warping_error(analysis, method):
    scene = (analysis[f"pred_{method}"], np.moveaxis(analysis["rgb"], 1, -1), np.moveaxis(analysis["flow"], 1, -1))
    assert warping_errors(*scene) == pytest.approx(analysis[f"{method}/opw_pairs"], **TOLERANCE)
    assert flow_warping_error(*scene) == pytest.approx(float(analysis[f"{method}/opw"][0]), **TOLERANCE)


# --- By the cameras --------------------------------------------------------------------------------------------

def test_a_change_of_scale_is_the_error():
    depth = np.full((3, 3, 4), 2.0)
    depth[1] *= 1.1
    errors = alignment_errors(depth, np.tile(np.eye(4), (3, 1, 1)), np.tile(LENS, (3, 1)))
    assert errors == pytest.approx([0.1 / 1.1, 0.1, 0.1, 0.1 / 1.1])


def test_exact_depth_of_a_moving_camera_is_off_by_rounding_to_pixels_alone():
    shot = ray_cast(6)
    exact = temporal_alignment_error(shot.depth, shot.camera_to_world, shot.intrinsics)
    still = temporal_alignment_error(shot.depth, np.tile(np.eye(4), (6, 1, 1)), shot.intrinsics)
    assert exact < 0.01 < still


def test_the_nearest_of_several_points_counts():
    points = np.array([[0.0, 0.0, 4.0], [0.0, 0.0, 2.0], [0.0, 0.0, 3.0], [0.0, 0.0, -1.0], [9.0, 0.0, 1.0]])
    surface = nearest_surface(points, LENS, (3, 4))
    assert surface[1, 2] == 2.0 and np.isinf(surface).sum() == 11


def test_masked_and_invalid_pixels_do_not_count():
    depth = np.full((2, 3, 4), 2.0)
    depth[1, 0, 0], depth[1, 2, 3], depth[0, 1, 1] = 5.0, 0.0, np.nan
    mask = np.ones(depth.shape, np.uint8)
    mask[:, 0, 0] = 0
    scene = (depth, np.tile(np.eye(4), (2, 1, 1)), np.tile(LENS, (2, 1)))
    assert temporal_alignment_error(*scene) > 0.01
    assert temporal_alignment_error(*scene, mask) == 0.0
    assert temporal_alignment_error(*scene, np.zeros_like(mask)) is None
    assert temporal_alignment_error(depth[:1], scene[1][:1], scene[2][:1]) is None


# --- By optical flow -------------------------------------------------------------------------------------------

def test_what_the_flow_explains_is_no_error():
    """A ramp moves by two and a half pixels to the right; beyond the border there is nothing to fetch."""
    ramp = np.tile(np.arange(12.0), (5, 1))
    depth = np.stack([ramp, ramp - 2.5])
    frames = np.zeros((2, 5, 12, 3))
    flow = np.tile([-2.5, 0.0], (1, 5, 12, 1))
    inside = (depth[..., 3:], frames[:, :, 3:], np.zeros((1, 5, 9, 2)))
    assert flow_warping_error(*inside) == pytest.approx(2.5)
    assert flow_warping_error(depth, frames, flow) == pytest.approx((2.5 + 1.5 + 0.5) / 12)


def test_a_change_of_color_excuses_a_change_of_depth():
    depth, frames = np.ones((2, 4, 4)), np.zeros((2, 4, 4, 3))
    depth[1], frames[1] = 2.0, 0.1
    assert flow_warping_error(depth, frames, np.zeros((1, 4, 4, 2))) == pytest.approx(np.exp(-50 * 0.03))
