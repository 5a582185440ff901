"""Bundle adjustment on scenes whose answer is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from camera_scenes import FOCAL_PX, point_scene

from stereodiff_blender.engine.contract import Distortion
from stereodiff_blender.engine.geometry import align_similarity, exp_so3, rotation_angle_deg
from stereodiff_blender.engine.lens import distorted
from stereodiff_blender.engine.stereo.mapping import bundle_adjustment
from stereodiff_blender.engine.stereo.mapping.bundle_adjustment import (
    BundleOptions,
    BundleState,
    Observations,
    Shutter,
    bundle_adjust,
    focal_rel_std,
    lens_covariance,
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
    return replace(state, rotations=exp_so3(turns) @ state.rotations, translations=state.translations + shifts,
                   points=points, focal=focal)


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
    with pytest.raises(ValueError, match="lens"):
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


# --- A lens that does more than a pinhole --------------------------------------------------------------------------

def filmed(state: BundleState, observations: Observations) -> Observations:
    """The same observations, exactly where this lens shows them; its rows are found in rounds."""
    for _ in range(30 if state.shutter is not None else 1):
        in_camera = state.in_camera(observations)
        pixels = state.projected(in_camera[:, :2] / in_camera[:, 2:], observations.camera)
        observations = replace(observations, pixels=pixels)
    return observations


def shutter_of(state: BundleState, readout: float) -> Shutter:
    """The cameras go on while their rows are taken as they go from one to the next."""
    matrices = np.concatenate([state.rotations, state.translations[:, :, None]], axis=2)
    velocity = np.gradient(matrices, axis=0)
    return Shutter(readout, 180.0, velocity, np.gradient(velocity, axis=0))


@pytest.mark.parametrize(("k1", "k2", "radial"), [(-0.12, 0.0, 1), (0.05, 0.0, 1), (-0.25, 0.08, 2)])
def test_distortion_is_found_with_the_focal_length(truth, k1, k2, radial):
    state = replace(truth[0], k1=k1, k2=k2)
    start = replace(disturbed(state, 0.5), k1=0.0, k2=0.0)
    found, cost = bundle_adjust(start, filmed(state, truth[1]), free=BundleOptions(radial=radial), **TIGHT)
    assert cost < 1e-8
    assert found.focal == pytest.approx(FOCAL_PX, rel=1e-5)
    assert (found.k1, found.k2) == pytest.approx((k1, k2), abs=1e-5)
    assert_same_up_to_scale(found, state, 1e-4)


def test_distortion_that_is_held_is_used(truth):
    state = replace(truth[0], k1=-0.12)
    found, cost = bundle_adjust(disturbed(state, 0.5), filmed(state, truth[1]), **TIGHT)
    assert (found.k1, found.k2) == (-0.12, 0.0) and cost < 1e-8


def test_a_zoom_is_found_camera_by_camera(truth):
    zoom = np.log(1.3) * np.linspace(0.0, 1.0, len(truth[0].rotations))
    state = replace(truth[0], zoom=zoom)
    knots = np.linspace(0, len(zoom) - 1, 4)
    ways = np.stack([np.interp(np.arange(len(zoom)), knots, one) for one in np.eye(4)], axis=1)
    start = replace(disturbed(state, 0.5), zoom=np.zeros_like(zoom))
    found, cost = bundle_adjust(start, filmed(state, truth[1]), free=BundleOptions(focal=False, zoom=ways), **TIGHT)
    assert cost < 1e-8 and found.focal == start.focal
    np.testing.assert_allclose(found.focal * np.exp(found.zoom), FOCAL_PX * np.exp(zoom), rtol=1e-5)


@pytest.mark.parametrize("readout", [0.5, -0.25])
def test_a_readout_is_found_with_its_sign(truth, readout):
    state = replace(truth[0], shutter=shutter_of(truth[0], readout))
    start = replace(disturbed(state, 0.2), shutter=shutter_of(truth[0], 0.0))
    found, cost = bundle_adjust(start, filmed(state, truth[1]), free=BundleOptions(readout=True), **TIGHT)
    assert found.shutter.readout == pytest.approx(readout, abs=1e-3) and cost < 1e-3
    held, _ = bundle_adjust(start, filmed(state, truth[1]), **TIGHT)
    assert held.shutter.readout == 0.0


def test_a_readout_stays_within_a_frame(truth):
    state = replace(truth[0], shutter=shutter_of(truth[0], 1.6))
    start = replace(state, shutter=shutter_of(truth[0], 0.5))
    found, _ = bundle_adjust(start, filmed(state, truth[1]), free=BundleOptions(readout=True), iterations=10)
    assert 0.5 < found.shutter.readout <= 1.0


def test_the_derivatives_by_the_lens_are_those_of_differences(truth):
    """One step of an exact Gauss-Newton lands at the truth to second order: from a start that is off by the lens alone.
    """
    exact = replace(truth[0], k1=-0.1, k2=0.03, zoom=0.01 * np.arange(len(truth[0].rotations)),
                    shutter=shutter_of(truth[0], 0.3))
    observed = filmed(exact, truth[1])
    off = replace(exact, k1=-0.1 + 1e-3, k2=0.03 + 1e-3, focal=exact.focal * 1.001,
                  shutter=replace(exact.shutter, readout=0.301))
    cameras = tuple(range(len(exact.rotations)))
    found, _ = bundle_adjust(off, observed, iterations=3, tolerance=0.0,
                             free=BundleOptions(radial=2, readout=True, fixed_cameras=cameras))
    assert (found.k1, found.k2, found.shutter.readout) == pytest.approx((-0.1, 0.03, 0.3), abs=2e-5)
    assert found.focal == pytest.approx(exact.focal, rel=1e-5)


@pytest.mark.parametrize("depth", [-0.1, 1e-3])
def test_a_stray_point_at_a_cameras_plane_does_not_hold_the_lens(truth, depth):
    """Its place is so far out that, by the cube of that, it would tell all there is to know of k1."""
    bent = replace(truth[0], k1=-0.1)
    exact = filmed(bent, truth[1])
    local = np.array([0.3, 0.2, depth])
    stray = (local - bent.translations[2]) @ bent.rotations[2]
    more = Observations(np.r_[exact.camera, 2, 3], np.r_[exact.point, [len(bent.points)] * 2],
                        np.concatenate([exact.pixels, [[40.0, 30.0], [35.0, 30.0]]]))
    start = replace(truth[0], points=np.concatenate([truth[0].points, stray[None]]))
    found, _ = bundle_adjust(start, more, free=BundleOptions(radial=1), loss_px=0.5, iterations=40, tolerance=1e-9)
    assert found.k1 == pytest.approx(-0.1, abs=2e-3)


def test_a_pinhole_is_adjusted_to_the_same_bytes_whatever_a_lens_could_do(truth):
    state, observations = truth
    plain, cost = bundle_adjust(disturbed(state), observations, iterations=5)
    held, same = bundle_adjust(replace(disturbed(state), zoom=np.zeros(len(state.rotations))), observations,
                               iterations=5)
    assert cost == pytest.approx(same, rel=1e-12) and plain.zoom is None and plain.is_pinhole
    np.testing.assert_allclose(held.points, plain.points, rtol=1e-9)


def test_deviations_of_the_lens_are_those_of_many_tries(truth):
    state = replace(truth[0], k1=-0.12)
    exact, free = filmed(state, truth[1]), BundleOptions(radial=1)
    tries = []
    for seed in range(8):
        noise = np.random.default_rng(seed).normal(0, 0.3, exact.pixels.shape)
        noisy = replace(exact, pixels=exact.pixels + noise)
        found, _ = bundle_adjust(state, noisy, free=free, loss_px=3.0, **TIGHT)
        tries.append((found.focal, found.k1))
    covariance = lens_covariance(state, noisy, free=free, loss_px=3.0)
    assert covariance.shape == (4, 4) and not covariance[2:].any(), "what is held has none"
    ratio = np.std(tries, axis=0) / np.sqrt(np.diag(covariance)[:2])
    assert (ratio > 0.3).all() and (ratio < 3.0).all()
    assert lens_covariance(truth[0], truth[1]).shape == (1, 1)


def test_a_lens_that_nothing_tells_has_no_end_of_a_deviation():
    """One point on the axis, seen twice: whatever the lens does, it is seen there."""
    state = BundleState(np.stack([np.eye(3)] * 2), np.array([[0.0, 0, 0], [0, 0, 1.0]]), np.array([[0.0, 0, 5.0]]),
                        100.0)
    observed = Observations(np.arange(2), np.zeros(2, int), np.zeros((2, 2)))
    covariance = lens_covariance(state, observed, free=BundleOptions(radial=1, fixed_cameras=(0, 1)))
    assert np.isinf(covariance[0, 0]) and np.isinf(covariance[1, 1]) and covariance[2, 2] == 0.0


# --- Points that distant cameras see alone -----------------------------------------------------------------------

def dense_system(problem, state: BundleState, damping: float) -> tuple[np.ndarray, np.ndarray]:
    """The reduced matrix and gradient, by the Schur complement of the whole system written out."""
    fit = problem.fit(state)
    by = problem.layout.derivatives(state, fit)
    rows, size = len(fit.weights), problem.first_shared + problem.shared
    jacobian = np.zeros((rows, 2, size + 3 * problem.points))
    for row, (camera, name) in enumerate(zip(problem.observations.camera, problem.observations.point, strict=True)):
        jacobian[row, :, 6 * camera:6 * camera + 6] = by.pose[:, :, row].T
        jacobian[row, :, problem.first_shared:size] = lens_columns(problem, state, by)[:, :, row].T
        jacobian[row, :, size + 3 * name:size + 3 * name + 3] = by.point[:, :, row].T
    weighted = jacobian * fit.weights[:, None, None]
    whole = np.einsum("nai,naj->ij", weighted, jacobian)
    gradient = np.einsum("nai,na->i", weighted, fit.residuals)
    outer, inner = slice(None, size), slice(size, None)
    own = whole[inner, inner] + np.diag(damping * np.diag(whole)[inner])
    eliminated = whole[outer, inner] @ np.linalg.inv(own)
    return whole[outer, outer] - eliminated @ whole[inner, outer], gradient[outer] - eliminated @ gradient[inner]


def lens_columns(problem, state: BundleState, by) -> np.ndarray:
    """(S,2,N): what a unit of each of the lens's unknowns does, with the zoom's written out."""
    zoom = problem.zoom[problem.observations.camera].T[:, None]
    return np.concatenate([by.lens, state.focal * zoom * by.lens[0]])


def of_everything(state: BundleState) -> tuple[BundleState, BundleOptions]:
    """A lens that does all it may, and lets all of it go."""
    cameras = len(state.rotations)
    knots = np.stack([np.interp(np.arange(cameras), [0, 3, cameras - 1], one) for one in np.eye(3)], axis=1)
    lens = replace(state, k1=-0.1, k2=0.03, zoom=0.01 * np.arange(cameras), shutter=shutter_of(state, 0.3))
    return lens, BundleOptions(focal=False, radial=2, zoom=knots, readout=True)


@pytest.mark.parametrize("lens", [lambda state: (state, BundleOptions()), of_everything], ids=["pinhole", "everything"])
@pytest.mark.parametrize("unseen", [(), (4, 5, 6, 7)], ids=["a range of cameras", "the first and the last alone"])
def test_points_are_eliminated_over_the_cameras_that_see_them(truth, unseen, lens):
    """As the points of a loop are: the first cameras see them, and the last."""
    state, observations = truth
    chosen = (observations.point < 40) & ~np.isin(observations.camera, unseen)
    chosen &= (np.bincount(observations.point[chosen], minlength=len(state.points)) > 1)[observations.point]
    names, point = np.unique(observations.point[chosen], return_inverse=True)
    few = replace(observations.select(chosen), point=point)
    start, free = lens(disturbed(replace(state, points=state.points[names]), 0.2))
    problem = bundle_adjustment._Problem(few, start, free, 1.0, None)
    ordered = replace(start, points=start.points[problem.point_order])
    normal = problem.normal_equations(ordered, problem.fit(ordered))
    matrix, gradient, _ = problem.reduced(normal, 1e-3)
    expected_matrix, expected_gradient = dense_system(problem, ordered, 1e-3)
    np.testing.assert_allclose(matrix, expected_matrix, atol=1e-6 * np.abs(expected_matrix).max())
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-6 * np.abs(expected_gradient).max())


@pytest.mark.parametrize("lens", [lambda state: (state, BundleOptions()), of_everything], ids=["pinhole", "everything"])
def test_the_derivatives_are_those_of_differences(truth, lens):
    start, free = lens(disturbed(truth[0], 0.05))
    problem = bundle_adjustment._Problem(truth[1], start, free, 1.0, None)
    state, step = replace(start, points=start.points[problem.point_order]), 1e-6
    fit, axes = problem.fit(state), step * np.eye(3)
    by, near = problem.layout.derivatives(state, fit), np.hypot(*fit.residuals.T) < 50.0
    moved = [(column, {"translations": state.translations + axis})
             for column, axis in zip(by.pose[3:], axes, strict=True)]
    if state.shutter is None:  # what is seen late shifts with its point and turns with its camera, which is left out
        moved += [(column, {"points": state.points + axis}) for column, axis in zip(by.point, axes, strict=True)]
        moved += [(column, {"rotations": exp_so3(axis) @ state.rotations})
                  for column, axis in zip(by.pose[:3], axes, strict=True)]
        moved += [(by.lens[0], {"focal": state.focal + step})]
    else:
        zooms = [{"zoom": state.zoom + step * way} for way in problem.zoom.T]
        lenses = [{"focal": state.focal + step}, {"k1": state.k1 + step}, {"k2": state.k2 + step},
                  {"shutter": replace(state.shutter, readout=state.shutter.readout + step)}, *zooms]
        moved += list(zip(lens_columns(problem, state, by), lenses, strict=True))
    for column, change in moved:
        expected = (problem.fit(replace(state, **change)).residuals - fit.residuals).T / step
        np.testing.assert_allclose(column[:, near], expected[:, near], atol=1e-4 * max(1.0, np.abs(expected).max()))


# --- Rows of a shutter -------------------------------------------------------------------------------------------

def test_rows_of_a_shutter_are_those_of_the_plate():
    """Counted from the picture's middle, which lies 10 rows below the axis, and where the lens shows them."""
    still, lens, places = np.zeros((1, 3, 4)), Distortion(-0.2, 0.05, 0.0, 0.003), np.array([[0.3, -0.2], [0.0, 0.25]])
    shutter = Shutter(0.5, 360.0, still, still, 10.0, lens, 500.0)
    np.testing.assert_allclose(shutter.rows(500.0 * places), 500.0 * distorted(places, lens)[:, 1] - 10.0)
    np.testing.assert_allclose(Shutter(0.5, 360.0, still, still).rows(500.0 * places), [-100.0, 125.0])
