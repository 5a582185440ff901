"""Bundle adjustment on scenes whose answer is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from camera_scenes import FOCAL_PX, point_scene

from stereodiff_blender.engine.geometry import align_similarity, exp_so3, rotation_angle_deg
from stereodiff_blender.engine.stereo.mapping.bundle_adjustment import (
    BundleOptions,
    BundleState,
    Observations,
    bundle_adjust,
    focal_rel_std,
)

TIGHT = {"iterations": 60, "tolerance": 1e-12}


def disturbed(state: BundleState, amount: float = 1.0) -> BundleState:
    """The scene with every unknown but the first camera off by a few percent."""
    generator = np.random.default_rng(3)
    turns = amount * generator.normal(0, 0.01, (len(state.rotations), 3))
    shifts = amount * generator.normal(0, 0.05, state.translations.shape)
    turns[0] = shifts[0] = 0.0
    points = state.points + amount * generator.normal(0, 0.2, state.points.shape)
    focal = state.focal * (1 + 0.1 * amount)
    return BundleState(exp_so3(turns) @ state.rotations, state.translations + shifts, points, focal)


def centers(state: BundleState) -> np.ndarray:
    return -np.einsum("nji,nj->ni", state.rotations, state.translations)


def assert_same_up_to_scale(found: BundleState, true: BundleState, tolerance: float) -> None:
    scale, rotation, shift = align_similarity(centers(found), centers(true))
    assert np.abs(scale * centers(found) @ rotation.T + shift - centers(true)).max() < tolerance
    off = rotation_angle_deg(np.swapaxes(found.rotations, 1, 2) @ true.rotations)
    assert off.max() < 60.0 * tolerance


@pytest.fixture(scope="module")
def truth() -> tuple[BundleState, Observations]:
    return point_scene()


def test_exact_observations_give_the_exact_scene(truth):
    state, observations = truth
    found, cost = bundle_adjust(disturbed(state), observations, **TIGHT)
    assert cost < 1e-8
    assert found.focal == pytest.approx(FOCAL_PX, rel=1e-6)
    assert_same_up_to_scale(found, state, 1e-5)
    assert found.residual_px(observations).max() < 1e-4


def test_gross_outliers_hardly_matter(truth):
    state, observations = truth
    generator = np.random.default_rng(0)
    pixels = observations.pixels + generator.normal(0, 0.1, observations.pixels.shape)
    wrong = generator.random(len(pixels)) < 0.1
    pixels[wrong] += generator.uniform(-40, 40, (wrong.sum(), 2))
    found, _ = bundle_adjust(disturbed(state, 0.3), replace(observations, pixels=pixels), loss_px=0.5, **TIGHT)
    assert found.focal == pytest.approx(FOCAL_PX, rel=3e-3)
    assert_same_up_to_scale(found, state, 0.01)


def test_what_is_not_free_stays(truth):
    state, observations = truth
    start = disturbed(state)
    free = BundleOptions(focal=False, fixed_cameras=(0, 5))
    found, _ = bundle_adjust(start, observations, free=free, **TIGHT)
    assert found.focal == start.focal
    for camera in (0, 5):
        np.testing.assert_allclose(found.rotations[camera], start.rotations[camera], atol=1e-12)
        np.testing.assert_array_equal(found.translations[camera], start.translations[camera])
    assert np.abs(found.translations[6] - start.translations[6]).max() > 1e-4


def test_cameras_alone_find_back_to_points_that_are_held(truth):
    state, observations = truth
    start = replace(disturbed(state, 0.3), points=state.points, focal=state.focal)
    found, cost = bundle_adjust(start, observations, **TIGHT,
                                free=BundleOptions(focal=False, points=False, fixed_cameras=(5,)))
    np.testing.assert_array_equal(found.points, state.points)
    np.testing.assert_array_equal(found.translations[5], start.translations[5])
    others = np.arange(len(state.rotations)) != 5
    np.testing.assert_allclose(found.translations[others], state.translations[others], atol=1e-5)
    off = rotation_angle_deg(np.swapaxes(found.rotations, 1, 2) @ state.rotations)[others]
    assert off.max() < 1e-4
    assert found.focal == state.focal and cost > 1.0, "camera 5 cannot fit"


def test_a_free_focal_length_needs_free_points(truth):
    state, observations = truth
    with pytest.raises(ValueError, match="focal"):
        bundle_adjust(state, observations, free=BundleOptions(points=False))


def test_rotations_and_focal_from_directions_alone(truth):
    state, observations = truth
    still = replace(state, translations=np.zeros_like(state.translations))
    in_camera = still.in_camera(observations)
    observations = replace(observations, pixels=FOCAL_PX * in_camera[:, :2] / in_camera[:, 2:])
    rays = still.points / np.linalg.norm(still.points, axis=1, keepdims=True)
    start = replace(disturbed(still), translations=still.translations, points=rays)
    found, _ = bundle_adjust(start, observations, free=BundleOptions(positions=False), **TIGHT)
    np.testing.assert_array_equal(found.translations, 0.0)
    assert found.focal == pytest.approx(FOCAL_PX, rel=1e-4)
    assert rotation_angle_deg(np.swapaxes(found.rotations, 1, 2) @ state.rotations).max() < 1e-2


def test_the_order_of_observations_does_not_matter(truth):
    state, observations = truth
    order = np.random.default_rng(1).permutation(len(observations.camera))
    found, _ = bundle_adjust(disturbed(state), observations, iterations=5)
    again, _ = bundle_adjust(disturbed(state), observations.select(order), iterations=5)
    np.testing.assert_allclose(again.translations, found.translations, atol=1e-7)
    np.testing.assert_allclose(again.points, found.points, atol=1e-5)


def test_the_same_input_gives_the_same_bytes(truth):
    state, observations = truth
    results = [bundle_adjust(disturbed(state), observations, iterations=4)[0] for _ in range(2)]
    assert results[0].points.tobytes() == results[1].points.tobytes()
    assert results[0].rotations.tobytes() == results[1].rotations.tobytes()


@pytest.mark.slow
def test_a_strong_focal_prior_wins_and_a_weak_one_does_not(truth):
    state, observations = truth
    strong, _ = bundle_adjust(state, observations, focal_prior=(400.0, 1e9), **TIGHT)
    weak, _ = bundle_adjust(state, observations, focal_prior=(400.0, 1e-3), **TIGHT)
    assert strong.focal == pytest.approx(400.0, rel=1e-2)
    assert weak.focal == pytest.approx(FOCAL_PX, rel=1e-3)


@pytest.mark.slow
def test_focal_deviation_tells_good_geometry_from_poor(truth):
    state, observations = truth
    noise = np.random.default_rng(0).normal(0, 0.3, observations.pixels.shape)
    noisy = replace(observations, pixels=observations.pixels + noise)
    good = focal_rel_std(state, noisy)
    estimates = []
    for seed in range(8):
        noise = np.random.default_rng(seed).normal(0, 0.3, observations.pixels.shape)
        estimates.append(bundle_adjust(state, replace(observations, pixels=observations.pixels + noise), loss_px=3.0,
                                       **TIGHT)[0].focal)
    assert 0.3 < np.std(estimates) / FOCAL_PX / good < 3.0
    first_two = noisy.camera < 2
    point = np.unique(noisy.point[first_two], return_inverse=True)
    pair = BundleState(state.rotations[:2], state.translations[:2], state.points[point[0]], state.focal)
    few = Observations(noisy.camera[first_two], point[1].reshape(-1), noisy.pixels[first_two])
    assert focal_rel_std(pair, few) > 5.0 * good


def test_a_point_behind_the_camera_is_no_fit():
    state = BundleState(np.eye(3)[None], np.zeros((1, 3)), np.array([[0.1, 0.0, -2.0], [0.1, 0.0, 2.0],
                                                                     [np.nan] * 3]), 100.0)
    observations = Observations(np.zeros(3, int), np.arange(3), np.array([[-5.0, 0.0], [5.0, 0.0], [0.0, 0.0]]))
    np.testing.assert_array_equal(state.residual_px(observations), [np.inf, 0.0, np.inf])
