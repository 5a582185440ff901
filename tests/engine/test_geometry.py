"""Cameras, rays and scales: each function against a case worked out by hand or its own inverse."""

from __future__ import annotations

import numpy as np
import pytest

from stereodiff_blender.engine import geometry

INTRINSICS = (200.0, 180.0, 33.0, 21.0)


@pytest.fixture()
def generator() -> np.random.Generator:
    return np.random.default_rng(4)


def random_poses(generator: np.random.Generator, count: int) -> np.ndarray:
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = geometry.exp_so3(generator.normal(0, 1, (count, 3)))
    poses[:, :3, 3] = generator.normal(0, 2, (count, 3))
    return poses


def test_camera_matrix_projects_like_project(generator):
    points = generator.uniform((-1, -1, 1), (1, 1, 5), (20, 3))
    homogeneous = points @ geometry.camera_matrix(INTRINSICS).T
    assert np.allclose(homogeneous[:, :2] / homogeneous[:, 2:], geometry.project(points, INTRINSICS))


def test_a_point_to_the_right_and_below_is_seen_right_and_below():
    col, row = geometry.project(np.array([0.1, 0.2, 1.0]), INTRINSICS)
    assert (col, row) == pytest.approx((33 + 20, 21 + 36))


def test_unproject_is_the_inverse_of_project_at_pixel_centers(generator):
    depth = generator.uniform(1, 9, (40, 60))
    points = geometry.unproject(depth, INTRINSICS)
    assert np.array_equal(points[..., 2], depth), "depth is measured along the axis, not along the ray"
    expected = np.stack(np.meshgrid(np.arange(60) + 0.5, np.arange(40) + 0.5), axis=-1)
    assert np.allclose(geometry.project(points, INTRINSICS), expected)


def test_invert_rigid_undoes_poses(generator):
    poses = random_poses(generator, 5)
    assert np.allclose(geometry.invert_rigid(poses) @ poses, np.eye(4))
    assert np.allclose(geometry.invert_rigid(poses[2]), np.linalg.inv(poses[2]))


def test_relative_pose_carries_points_between_cameras(generator):
    poses = random_poses(generator, 2)
    world = np.array([0.3, -0.4, 5.0, 1.0])
    in_i, in_j = (np.linalg.inv(pose) @ world for pose in poses)
    rotation, translation = geometry.relative_pose(*poses)
    assert np.allclose(rotation @ in_i[:3] + translation, in_j[:3])


def test_depth_and_disparity_invert_each_other_and_keep_invalid_pixels_invalid():
    depth = np.array([[0.0, 0.5], [2.0, 4.0]], np.float32)
    disparity = geometry.disparity_from_depth(depth)
    assert np.array_equal(disparity, np.array([[0.0, 2.0], [0.5, 0.25]], np.float32))
    assert np.array_equal(geometry.depth_from_disparity(disparity), depth)
    assert np.array_equal(geometry.depth_from_disparity(np.array([-1.0, 0.0])), [0.0, 0.0])


def test_rescale_gauge_moves_cameras_and_turns_none(generator):
    poses = random_poses(generator, 3)
    before = poses.copy()
    scaled = geometry.rescale_gauge(poses, 2.5)
    assert np.allclose(scaled[:, :3, 3], 2.5 * before[:, :3, 3])
    assert np.array_equal(scaled[:, :3, :3], before[:, :3, :3])
    assert np.array_equal(poses, before), "the argument must survive"


def test_rebase_starts_at_the_identity_and_keeps_relations(generator):
    poses = random_poses(generator, 4)
    moved = geometry.rebase(poses)
    assert np.array_equal(moved[0], np.eye(4))
    for old, new in zip(geometry.relative_pose(poses[1], poses[3]), geometry.relative_pose(moved[1], moved[3]),
                        strict=True):
        assert np.allclose(old, new)


@pytest.mark.parametrize("length", [0.0, 1e-9, 1e-4, 0.3, 3.0])
def test_log_so3_is_the_inverse_of_exp_so3(generator, length):
    vectors = generator.normal(0, 1, (4, 5, 3))
    vectors *= length / np.linalg.norm(vectors, axis=-1, keepdims=True)
    assert np.allclose(geometry.log_so3(geometry.exp_so3(vectors)), vectors, rtol=1e-7, atol=1e-14)


def test_exp_so3_turns_by_the_right_hand_rule():
    quarter = geometry.exp_so3(np.array([0.0, 0.0, np.pi / 2]))
    assert np.allclose(quarter @ [1, 0, 0], [0, 1, 0])


@pytest.mark.parametrize("angle", [0.0, 1e-10, 1e-4, 1.0, 3.0])
def test_exp_so3_is_a_rotation_by_its_vectors_length(angle):
    rotation = geometry.exp_so3(angle * np.array([[0.6, 0.0, -0.8]]))
    assert np.allclose(rotation @ np.swapaxes(rotation, 1, 2), np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation[0]) == pytest.approx(1)
    assert np.radians(geometry.rotation_angle_deg(rotation)[0]) == pytest.approx(angle, rel=1e-6, abs=1e-15)


def test_nearest_rotation_finds_a_disturbed_rotation_and_never_reflects(generator):
    rotation = geometry.exp_so3(generator.normal(0, 1, (10, 3)))
    near = geometry.nearest_rotation(1.7 * rotation + generator.normal(0, 1e-3, (10, 3, 3)))
    assert geometry.rotation_angle_deg(np.swapaxes(rotation, 1, 2) @ near).max() < 0.2
    assert np.linalg.det(geometry.nearest_rotation(np.diag([1.0, 1.0, -0.2]))) == pytest.approx(1)


def test_rotation_angle_is_exact_near_zero_and_at_half_a_turn():
    angles = np.array([1e-7, 1e-3, 1.0, 179.9, 180.0])
    rotations = geometry.exp_so3(np.radians(angles)[:, None] * np.array([0.0, 1.0, 0.0]))
    assert geometry.rotation_angle_deg(rotations) == pytest.approx(angles, rel=1e-6)


def test_align_similarity_recovers_scale_rotation_translation(generator):
    source = generator.normal(0, 1, (30, 3))
    rotation, translation = geometry.exp_so3(np.array([0.4, -1.0, 2.0])), np.array([1.0, -2.0, 0.5])
    found = geometry.align_similarity(source, 0.3 * source @ rotation.T + translation)
    assert found[0] == pytest.approx(0.3)
    assert np.allclose(found[1], rotation)
    assert np.allclose(found[2], translation)


def test_align_similarity_does_not_mirror(generator):
    source = generator.normal(0, 1, (30, 3))
    _, rotation, _ = geometry.align_similarity(source, source * [1, 1, -1])
    assert np.linalg.det(rotation) == pytest.approx(1)


def test_fit_scale_shift_ignores_outliers(generator):
    source = generator.uniform(0.1, 1.0, 2000)
    target = 1.5 * source + 0.02 + generator.normal(0, 1e-3, 2000)
    target[::7] += generator.uniform(0.5, 5.0, len(target[::7]))
    scale, shift, residual = geometry.fit_scale_shift(source, target)
    assert (scale, shift) == pytest.approx((1.5, 0.02), abs=1e-3)
    assert residual < 2e-3


@pytest.mark.parametrize("source", [[1.0], [2.0, 2.0, 2.0]])
def test_fit_scale_shift_refuses_what_has_no_answer(source):
    with pytest.raises(ValueError):
        geometry.fit_scale_shift(np.array(source), np.array(source))
