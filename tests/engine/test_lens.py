"""Through the lens and back, against OpenCV; lenses that fold the picture over are refused."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from stereodiff_blender.engine.contract import Distortion, LensResult, StereoDiffError, distortion_fault
from stereodiff_blender.engine.contract.strict_json import from_dict, to_dict
from stereodiff_blender.engine.lens import distorted, radial_derivatives, radial_scale, undistorted

LENSES = [Distortion(-0.12), Distortion(-0.25, 0.08), Distortion(0.05), Distortion(-0.3, 0.1, -0.01, 0.002, -0.003)]
HD = 1920.0, 1080.0, (1632.0, 1632.0, 960.0, 540.0)


@pytest.fixture
def places():
    x, y = np.meshgrid(np.linspace(-0.58, 0.58, 31), np.linspace(-0.33, 0.33, 19))
    return np.stack([x, y], axis=-1)


@pytest.mark.parametrize("lens", LENSES)
def test_the_plate_shows_a_place_where_opencv_says(lens, places):
    coefficients = np.array([lens.k1, lens.k2, lens.p1, lens.p2, lens.k3])
    points = np.concatenate([places, np.ones((*places.shape[:2], 1))], axis=2).reshape(-1, 3)
    expected = cv2.projectPoints(points, np.zeros(3), np.zeros(3), np.eye(3), coefficients)[0].reshape(places.shape)
    np.testing.assert_allclose(distorted(places, lens), expected, atol=1e-12)


@pytest.mark.parametrize("lens", LENSES)
def test_back_from_the_plate(lens, places):
    np.testing.assert_allclose(undistorted(distorted(places, lens), lens), places, atol=1e-11)


FISHEYES = [Distortion(is_fisheye=True), Distortion(0.03, -0.01, is_fisheye=True),
            Distortion(-0.05, 0.01, 0.004, k4=-0.001, is_fisheye=True)]


@pytest.fixture
def wide_places():
    """Up to 76 degrees off the axis, and on it."""
    return np.stack(np.meshgrid(np.linspace(-3.0, 3.0, 41), np.linspace(-2.5, 2.5, 31)), axis=-1)


@pytest.mark.parametrize("lens", FISHEYES)
def test_a_fisheye_shows_a_place_where_opencv_says(lens, wide_places):
    coefficients = np.array([lens.k1, lens.k2, lens.k3, lens.k4])
    expected = cv2.fisheye.distortPoints(wide_places.reshape(-1, 1, 2), np.eye(3), coefficients)
    np.testing.assert_allclose(distorted(wide_places, lens), expected.reshape(wide_places.shape), atol=1e-9)
    radius = np.hypot(*wide_places[3, 5])
    assert lens.radius(radius) == pytest.approx(np.hypot(*distorted(wide_places, lens)[3, 5]), rel=1e-12)


@pytest.mark.parametrize("lens", FISHEYES)
def test_back_from_the_plate_of_a_fisheye(lens, wide_places):
    np.testing.assert_allclose(undistorted(distorted(wide_places, lens), lens), wide_places, atol=1e-9)


@pytest.mark.parametrize("lens", [LENSES[1], *FISHEYES])
def test_derivatives_are_those_of_the_scale(lens):
    squared, step = np.array([0.0, 1e-7, 1e-3, 0.2, 0.9]), 1e-5
    scale, bend, by_k1, by_k2 = radial_derivatives(squared, lens)
    np.testing.assert_allclose(scale, radial_scale(squared, lens), rtol=1e-12)
    ahead = radial_scale(squared + step, lens)
    np.testing.assert_allclose(bend, 2.0 * (ahead - scale) / step, atol=1e-4)
    np.testing.assert_allclose(by_k1, radial_scale(squared, replace(lens, k1=lens.k1 + 1.0)) - scale, atol=1e-12)
    np.testing.assert_allclose(by_k2, radial_scale(squared, replace(lens, k2=lens.k2 + 1.0)) - scale, atol=1e-12)


def test_a_fisheye_ends_where_no_plane_can_show_it():
    assert FISHEYES[0].fold_radius() == pytest.approx(np.radians(85.0))
    assert Distortion(-0.3, is_fisheye=True).fold_radius() == pytest.approx(2.0 / 3.0 / np.sqrt(0.9), rel=1e-3)
    action, circular = ((focal * 1920.0,) * 2 + (960.0, 540.0) for focal in (0.46, 0.3))
    assert distortion_fault(FISHEYES[0], 1920.0, 1080.0, action) == ""
    assert "170 degrees" in distortion_fault(FISHEYES[0], 1920.0, 1080.0, circular)
    assert "fold" in distortion_fault(Distortion(-0.4, is_fisheye=True), 1920.0, 1080.0, action)
    assert "K4" in distortion_fault(Distortion(p1=0.01, is_fisheye=True), 1920.0, 1080.0, action)
    assert "K4" in distortion_fault(Distortion(k4=0.01), *HD)


def test_what_lies_beyond_a_fold_is_taken_to_it():
    """Steps of Newton's method would leave the numbers there."""
    far = np.array([[1.0, 0.0], [30.0, 40.0]])
    for lens in (Distortion(-0.35), Distortion(-0.35, 0.01), FISHEYES[0]):
        radius = np.hypot(*undistorted(far, lens).T)
        assert radius[1] == pytest.approx(lens.ideal_fold_radius()) and (radius <= radius[1]).all()


def test_lenses_of_earlier_results_are_no_fisheyes():
    stored = {"k1": -0.2, "k2": 0.05, "k3": 0.0, "p1": 0.001, "p2": 0.0}
    assert from_dict(Distortion, stored) == Distortion(-0.2, 0.05, 0.0, 0.001)
    assert from_dict(Distortion, to_dict(FISHEYES[2])) == FISHEYES[2]


def test_the_fold_of_a_barrel():
    """x (1 - x^2 / 4): the slope is 0 at x = 2 / sqrt 3, which the plate shows at 4 / (3 sqrt 3)."""
    assert Distortion(-0.25).fold_radius() == pytest.approx(4.0 / (3.0 * np.sqrt(3.0)), rel=1e-3)
    assert Distortion(0.1).fold_radius() == np.inf


def test_a_lens_that_folds_the_corners_over_is_refused():
    assert distortion_fault(Distortion(-0.3), *HD) == ""
    fault = distortion_fault(Distortion(-0.9), *HD)
    assert "fold" in fault and fault.endswith(".")


@pytest.mark.parametrize("lens", [Distortion(p1=0.4), Distortion(p2=-0.4), Distortion(-0.1, p1=0.25, p2=0.25)])
def test_a_lens_whose_tangential_part_folds_the_picture_over_is_refused(lens, places):
    """Somewhere on the way to the corners, a step outward leads back."""
    fault = distortion_fault(lens, *HD)
    assert "fold" in fault and "P1" in fault and fault.endswith(".")
    assert distortion_fault(replace(lens, p1=0.02 * lens.p1, p2=0.02 * lens.p2), *HD) == ""
    shown = distorted(places * 1.4, lens)
    by_x, by_y = np.gradient(shown, axis=1), np.gradient(shown, axis=0)
    assert (by_x[..., 0] * by_y[..., 1] - by_x[..., 1] * by_y[..., 0]).min() < 0.0


@pytest.mark.parametrize("lens", [
    LensResult("fisheye"), LensResult("radial"), LensResult("pinhole", Distortion(-0.1)),
    LensResult("radial", Distortion(is_fisheye=True)), LensResult("fisheye", Distortion(-0.1)),
    LensResult("radial", Distortion(float("nan"))), LensResult("radial", Distortion(-0.9)),
])
def test_what_no_lens_can_be(lens):
    with pytest.raises(StereoDiffError, match="lens"):
        lens.validate(*HD)
    replace(lens, model="radial", distortion=Distortion(-0.1)).validate(*HD)


def test_a_lens_that_is_given_without_distortion_is_a_pinhole_that_is_known():
    assert LensResult.as_given(None) == LensResult()
    assert LensResult.as_given(Distortion()) == LensResult(is_given=True)
    for lens in (LENSES[1], *FISHEYES):
        given = LensResult.as_given(lens)
        given.validate(1920, 1080, (1600.0, 1600.0, 960.0, 540.0))
        assert given == LensResult(lens.model, lens, is_given=True)
