"""Disparity from matches in several frames, against scenes whose depth is known exactly."""

from __future__ import annotations

import numpy as np
import pytest
from camera_scenes import turned
from known_depth import epipolar_normal, exact_flow, without_points

from stereodiff_blender.engine.imaging.warp import warp_between
from stereodiff_blender.engine.stereo.mvs.triangulation import (
    AGREEING_PX,
    UNSEEN_RESIDUAL_PX,
    triangulate,
)

HEIGHT, WIDTH = 120, 320          # more than one band of pixels
LIMITS = (0.02, 2.0)
CENTERED = (300.0, 300.0, 160.0, 60.0)
ODD = (310.0, 240.0, 131.5, 77.0)


def slanted(height=HEIGHT, width=WIDTH):
    """z-depth 3 to 9 that varies over the whole picture."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    return 3.0 + 4.0 * x + 2.0 * y + 0.3 * np.sin(9 * x)


def cameras_at(positions, intrinsics=CENTERED, angles_deg=None):
    poses = np.tile(np.eye(4), (len(positions), 1, 1))
    poses[:, :3, 3] = positions
    if angles_deg is not None:
        poses[:, :3, :3] = turned(angles_deg)
    return without_points(poses, np.tile(intrinsics, (len(positions), 1)))


def triangulated(cameras, flows, consistent=None, judges=None):
    """Frame 0 against all others, with one flow each."""
    consistent = consistent or [np.ones(flow.shape[:2], bool) for flow in flows]
    warps = [warp_between(cameras, 0, j) for j in range(1, len(flows) + 1)]
    return triangulate(flows, consistent, warps, LIMITS, judges)


def exact_flows(cameras, depth):
    return [exact_flow(depth, cameras, 0, j) for j in range(1, len(cameras.camera_to_world))]


@pytest.mark.parametrize("intrinsics", [CENTERED, ODD], ids=["square", "odd lens"])
@pytest.mark.parametrize("angles", [None, [(0, 0, 0), (2, -3, 1), (-1, 4, -6)]], ids=["parallel", "turned"])
def test_exact_matches_give_exact_disparity(intrinsics, angles):
    cameras = cameras_at([(0, 0, 0), (0.2, -0.05, 0.1), (-0.3, 0.1, 0.3)], intrinsics, angles)
    depth = slanted()
    result = triangulated(cameras, exact_flows(cameras, depth))
    assert np.abs(result.disparity * depth - 1).max() < 2e-3
    assert result.residual.max() < 0.02
    assert (result.agreeing == 2).all() and (result.view_count == 2).all()


def test_lenses_may_differ_between_frames():
    cameras = cameras_at([(0, 0, 0), (0.3, 0, 0)])
    cameras.intrinsics[1] = ODD
    depth = slanted()
    assert np.abs(triangulated(cameras, exact_flows(cameras, depth)).disparity * depth - 1).max() < 2e-3


def test_result_types():
    cameras = cameras_at([(0, 0, 0), (0.3, 0, 0)])
    result = triangulated(cameras, exact_flows(cameras, slanted()))
    kinds = {name: getattr(result, name).dtype for name in ("disparity", "sigma", "residual", "agreeing", "view_count")}
    assert kinds == {"disparity": np.float32, "sigma": np.float32, "residual": np.float32, "agreeing": np.uint8,
                     "view_count": np.uint8}
    assert all(getattr(result, name).shape == (HEIGHT, WIDTH) for name in kinds)


def test_matches_that_meet_behind_the_camera_are_negative():
    cameras = cameras_at([(0, 0, 0), (0.3, 0, 0), (0.5, 0.1, 0)])
    depth = slanted()
    result = triangulated(cameras, [-flow for flow in exact_flows(cameras, depth)])
    assert np.abs(result.disparity * depth + 1).max() < 2e-3


def test_one_wrong_source_does_not_count():
    cameras = cameras_at([(0, 0, 0), (0.2, 0, 0), (-0.2, 0.1, 0), (0.3, -0.1, 0.1)])
    depth = slanted()
    flows = exact_flows(cameras, depth)
    flows[1] = flows[1] + np.float32([7, -4])
    result = triangulated(cameras, flows)
    assert np.abs(result.disparity * depth - 1).max() < 0.02
    assert (result.agreeing == 2).all() and (result.view_count == 3).all()
    assert result.residual.max() < AGREEING_PX


def test_only_judges_make_the_residual():
    cameras = cameras_at([(0, 0, 0), (0.3, 0, 0), (0.6, 0, 0), (0, 0.4, 0)])
    flows = exact_flows(cameras, slanted())
    for j, error in ((1, 0.2), (2, 0.2), (3, 5.0)):
        flows[j - 1] = flows[j - 1] + error * epipolar_normal(cameras, 0, j).astype(np.float32)
    by_all, by_two = (triangulated(cameras, flows, judges=judges) for judges in (None, [True, True, False]))
    np.testing.assert_array_equal(by_two.disparity, by_all.disparity)
    np.testing.assert_array_equal(by_two.agreeing, by_all.agreeing)
    nobody = triangulated(cameras, flows, judges=[False] * 3)
    np.testing.assert_array_equal(nobody.residual, by_all.residual)
    third = triangulated(cameras, flows, judges=[False, False, True])
    assert third.residual.min() > 3.0 and np.median(by_two.residual) < 1.0


def test_matches_off_the_epipolar_lines_leave_a_residual():
    cameras = cameras_at([(0, 0, 0), (0.3, 0.1, 0)])
    flow = exact_flow(slanted(), cameras, 0, 1) + 3 * epipolar_normal(cameras, 0, 1).astype(np.float32)
    result = triangulated(cameras, [flow])
    assert np.abs(result.residual - 3).max() < 0.02 and (result.agreeing == 0).all()


def test_inconsistent_matches_are_not_used():
    cameras = cameras_at([(0, 0, 0), (0.2, 0, 0), (-0.2, 0, 0)])
    depth = slanted()
    flows = exact_flows(cameras, depth)
    flows[1] = flows[1] + np.float32([9, 0])
    usable = [np.ones((HEIGHT, WIDTH), bool), np.zeros((HEIGHT, WIDTH), bool)]
    usable[0][:, :100] = False
    result = triangulated(cameras, flows, usable)
    assert (result.view_count[:, :100] == 0).all() and (result.view_count[:, 100:] == 1).all()
    assert (result.residual[:, :100] == UNSEEN_RESIDUAL_PX).all() and (result.agreeing[:, :100] == 0).all()
    assert np.abs(result.disparity * depth - 1)[:, 100:].max() < 2e-3
    assert np.isfinite(result.disparity).all() and np.isfinite(result.sigma).all()


def test_sigma_falls_with_parallax_and_with_sources():
    depth = slanted()
    mean_sigma = []
    for positions in ([(0, 0, 0), (0.1, 0, 0)], [(0, 0, 0), (0.2, 0, 0)], [(0, 0, 0), (0.2, 0, 0), (-0.2, 0, 0)]):
        cameras = cameras_at(positions)
        mean_sigma.append(triangulated(cameras, exact_flows(cameras, depth)).sigma.mean())
    assert mean_sigma[1] == pytest.approx(mean_sigma[0] / 2, rel=0.01)
    assert mean_sigma[2] == pytest.approx(mean_sigma[1] / np.sqrt(2), rel=0.01)


def test_sigma_tells_how_far_noisy_matches_lead_astray():
    cameras = cameras_at([(0, 0, 0), (0.3, 0, 0)])
    depth = slanted()
    noise = np.random.default_rng(0).normal(0, 0.3, (HEIGHT, WIDTH, 2)).astype(np.float32)
    result = triangulated(cameras, [exact_flow(depth, cameras, 0, 1) + noise])
    # A little less than 1: errors across the epipolar line, which do no harm, also cost weight.
    assert 0.7 < np.std((result.disparity - 1 / depth) / result.sigma) < 1.05
