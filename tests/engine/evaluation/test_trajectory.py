"""Cameras against the truth: figures of the field's own evaluator, an independent computation, and known errors."""

from __future__ import annotations

import numpy as np
import pytest
from evo.core import metrics
from evo.core.trajectory import PosePath3D
from golden import golden_file, golden_json, tensors

from stereodiff_blender.engine.evaluation.trajectory import trajectory_errors
from stereodiff_blender.engine.geometry import exp_so3


def poses_of(rows: np.ndarray) -> np.ndarray:
    """camera_to_world (T,4,4) of x y z qw qx qy qz, by the product v + 2 u x (u x v + w v) of a turned vector."""
    poses = np.tile(np.eye(4), (len(rows), 1, 1))
    for pose, (x, y, z, w, *axis) in zip(poses, rows, strict=True):
        axis = np.array(axis)
        for column, unit in enumerate(np.eye(3)):
            pose[:3, column] = unit + 2 * np.cross(axis, np.cross(axis, unit) + w * unit)
        pose[:3, 3] = x, y, z
    return poses


def test_the_fields_own_evaluators_figures_golden():
    given = tensors(golden_file("monst3r", "eval_poses.safetensors"))
    expected = golden_json("monst3r", "eval.json")["pose"]
    found = trajectory_errors(poses_of(given["est_tum"]), poses_of(given["gt_tum"]))
    assert (found.ate, found.rpe_translation, found.rpe_rotation_deg) == pytest.approx(
        (expected["ate"], expected["rpe_trans"], expected["rpe_rot_deg"]), rel=1e-6)


# --- An independent computation ----------------------------------------------------------------------------------

def walk(count: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = exp_so3(np.cumsum(random.normal(0, 0.05, (count, 3)), axis=0))
    poses[:, :3, 3] = np.cumsum(random.normal(0.05, 0.1, (count, 3)), axis=0)
    return poses


def disturbed(poses: np.ndarray, seed: int) -> np.ndarray:
    """In another place, at another scale, with noise."""
    random = np.random.default_rng(seed)
    away = np.eye(4)
    away[:3, :3], away[:3, 3] = exp_so3(np.array([0.4, -1.1, 0.7])), (3.0, -2.0, 5.0)
    noisy = poses.copy()
    noisy[:, :3, :3] = noisy[:, :3, :3] @ exp_so3(random.normal(0, 0.02, (len(poses), 3)))
    noisy[:, :3, 3] = 0.4 * (noisy[:, :3, 3] + random.normal(0, 0.02, (len(poses), 3)))
    return away @ noisy


def best_similarity(source: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """By Horn's quaternion, the largest eigenvector of a 4x4 matrix, and the scale that least squares then ask for."""
    a, b = source - source.mean(0), target - target.mean(0)
    m = a.T @ b
    skew = np.array([m[1, 2] - m[2, 1], m[2, 0] - m[0, 2], m[0, 1] - m[1, 0]])
    horn = np.zeros((4, 4))
    horn[0, 0], horn[0, 1:], horn[1:, 0] = np.trace(m), skew, skew
    horn[1:, 1:] = m + m.T - np.trace(m) * np.eye(3)
    w, *axis = np.linalg.eigh(horn)[1][:, -1]
    turn = poses_of(np.array([[0, 0, 0, w, *axis]]))[0, :3, :3]
    scale = np.sum(b * (a @ turn.T)) / np.sum(a**2)
    return scale, turn, target.mean(0) - scale * turn @ source.mean(0)


def errors_by_hand(solved: np.ndarray, truth: np.ndarray) -> tuple[float, float, float]:
    """ATE, RPE and RPE's turn, frame by frame with 4x4 matrices and the cosine of the angle."""
    scale, turn, shift = best_similarity(solved[:, :3, 3], truth[:, :3, 3])
    moved = [np.linalg.norm(scale * turn @ pose[:3, 3] + shift - true[:3, 3])
             for pose, true in zip(solved, truth, strict=True)]
    shifts, angles = [], []
    for i in range(len(truth) - 1):
        step = np.linalg.inv(solved[i]) @ solved[i + 1]
        step[:3, 3] *= scale
        left = np.linalg.inv(np.linalg.inv(truth[i]) @ truth[i + 1]) @ step
        shifts.append(np.linalg.norm(left[:3, 3]))
        angles.append(np.degrees(np.arccos(np.clip((np.trace(left[:3, :3]) - 1) / 2, -1, 1))))
    return tuple(float(np.sqrt(np.mean(np.square(values)))) for values in (moved, shifts, angles))


@pytest.mark.parametrize("seed", range(4))
def test_an_independent_computation_agrees(seed):
    truth = walk(30, seed)
    solved = disturbed(truth, seed + 10)
    found = trajectory_errors(solved, truth)
    assert (found.ate, found.rpe_translation, found.rpe_rotation_deg) == pytest.approx(errors_by_hand(solved, truth),
                                                                                       rel=1e-6)
    path = sum(np.linalg.norm(truth[i + 1, :3, 3] - truth[i, :3, 3]) for i in range(29))
    assert found.ate_percent == pytest.approx(100 * found.ate / path) and found.poses == 30


def test_evo_agrees():
    truth = walk(40, 5)
    solved = disturbed(truth, 6)
    reference, estimate = PosePath3D(poses_se3=list(truth)), PosePath3D(poses_se3=list(solved))
    estimate.align(reference, correct_scale=True)
    expected = []
    for metric in (metrics.APE(metrics.PoseRelation.translation_part),
                   metrics.RPE(metrics.PoseRelation.translation_part, 1, metrics.Unit.frames, all_pairs=True),
                   metrics.RPE(metrics.PoseRelation.rotation_angle_deg, 1, metrics.Unit.frames, all_pairs=True)):
        metric.process_data((reference, estimate))
        expected.append(metric.get_statistic(metrics.StatisticsType.rmse))
    found = trajectory_errors(solved, truth)
    assert [found.ate, found.rpe_translation, found.rpe_rotation_deg] == pytest.approx(expected, rel=1e-6)


# --- Known errors ------------------------------------------------------------------------------------------------

def test_another_place_and_scale_is_no_error():
    truth = walk(20, 1)
    away = np.eye(4)
    away[:3, :3], away[:3, 3] = exp_so3(np.array([0.0, 2.0, 0.3])), (1.0, 2.0, 3.0)
    solved = truth.copy()
    solved[:, :3, 3] *= 7.0
    found = trajectory_errors(away @ solved, truth)
    assert (found.ate, found.rpe_translation, found.rpe_rotation_deg) == pytest.approx((0, 0, 0), abs=1e-9)


def test_one_place_beside_a_straight_line_by_hand():
    """Four poses a meter apart, the second and third off by 0.1 to either side: no scale or turn helps much."""
    truth = np.tile(np.eye(4), (4, 1, 1))
    truth[:, 0, 3] = range(4)
    solved = truth.copy()
    solved[1, 1, 3], solved[2, 1, 3] = 0.1, 0.1
    found = trajectory_errors(solved, truth)
    assert found.ate == pytest.approx(0.05, rel=0.01) and found.ate_percent == pytest.approx(100 * found.ate / 3)
    assert found.rpe_rotation_deg == pytest.approx(0.0, abs=1e-9)


def test_a_turn_too_many_is_measured_in_degrees():
    truth = walk(10, 2)
    solved = truth.copy()
    solved[5:, :3, :3] = exp_so3(np.radians([0.0, 3.0, 0.0])) @ solved[5:, :3, :3]
    assert trajectory_errors(solved, truth).rpe_rotation_deg == pytest.approx(3.0 / np.sqrt(9), rel=1e-6)


def test_frames_without_a_true_pose_do_not_count():
    truth = walk(20, 3)
    solved = disturbed(truth, 4)
    holed = truth.copy()
    holed[7], holed[15:] = np.nan, np.nan
    known = [*range(7), *range(8, 15)]
    found = trajectory_errors(solved, holed)
    assert found.poses == 14
    assert found.ate == pytest.approx(trajectory_errors(solved[known], truth[known]).ate)


def test_a_camera_that_stays_has_a_turn_only_and_two_poses_tell_nothing():
    truth, still = walk(6, 8), np.tile(np.eye(4), (6, 1, 1))
    for solved, true in ((still, truth), (truth, still)):
        found = trajectory_errors(solved, true)
        assert found.ate is found.ate_percent is found.rpe_translation is None and found.rpe_rotation_deg > 0
    truth[2:] = np.nan
    assert trajectory_errors(still, truth) is None


def test_true_poses_apart_from_each_other_have_no_motion_to_the_next():
    truth = walk(9, 5)
    holed = truth.copy()
    holed[1::2] = np.nan
    found = trajectory_errors(truth, holed)
    assert found.ate == pytest.approx(0, abs=1e-9)
    assert found.rpe_translation is found.rpe_rotation_deg is None
