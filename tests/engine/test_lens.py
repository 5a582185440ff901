"""Through the lens and back, against OpenCV; lenses that fold the picture over are refused."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from stereodiff_blender.engine.contract import Distortion, LensResult, StereoDiffError, distortion_fault
from stereodiff_blender.engine.lens import distorted, undistorted

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
    LensResult("radial", Distortion(float("nan"))), LensResult("radial", Distortion(-0.9)),
])
def test_what_no_lens_can_be(lens):
    with pytest.raises(StereoDiffError, match="lens"):
        lens.validate(*HD)
    replace(lens, model="radial", distortion=Distortion(-0.1)).validate(*HD)
