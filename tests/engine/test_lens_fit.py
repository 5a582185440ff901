"""Our coefficients for lenses in another form: of ST maps they come back as they went in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stereodiff_blender.engine.contract import Distortion, StereoDiffError
from stereodiff_blender.engine.lens import distorted
from stereodiff_blender.engine.lens_fit import MOST_MAP_ERROR_PX, fit_distortion, lens_of_map
from stereodiff_blender.engine.worker.lens_maps import overscan_of, redistort_map

PATH = Path("redistort.exr")
BROWN = Distortion(-0.2, 0.06, 0.01, 0.002, -0.001)
CASES = [  # size, fx, fy, cx, cy, lens
    ((960, 540), (750.0, 750.0, 480.0, 270.0), Distortion(-0.12)),
    ((960, 540), (750.0, 750.0, 500.0, 250.0), BROWN),
    ((960, 540), (550.0, 550.0, 480.0, 270.0), Distortion(-0.3, 0.1)),
    ((480, 540), (350.0, 700.0, 240.0, 270.0), BROWN),
    ((640, 360), (500.0, 500.0, 320.0, 180.0), Distortion(0.05)),
    ((960, 540), (450.0, 450.0, 480.0, 270.0), Distortion(-0.05, 0.01, 0.004, k4=-0.001, is_fisheye=True)),
    ((960, 540), (450.0, 450.0, 470.0, 280.0), Distortion(is_fisheye=True)),
]


def off_px(one: Distortion, other: Distortion, size, intrinsics) -> float:
    pixels = np.stack(np.meshgrid(*(np.linspace(0, side, 30) for side in size)), axis=-1)
    places = (pixels - intrinsics[2:]) / intrinsics[:2]
    return float(np.abs((distorted(places, one) - distorted(places, other)) * intrinsics[:2]).max())


@pytest.mark.parametrize("with_overscan", [True, False])
@pytest.mark.parametrize(("size", "intrinsics", "lens"), CASES)
def test_the_lens_of_a_map_comes_back(size, intrinsics, lens, with_overscan):
    around = overscan_of(lens, np.array(intrinsics), size) if with_overscan else (0, 0, 0, 0)
    u, v = redistort_map(lens, np.array(intrinsics), size, around)
    found = lens_of_map(u, v, size, intrinsics, PATH)
    assert found.is_fisheye == lens.is_fisheye and off_px(found, lens, size, intrinsics) < 0.01


def test_a_map_that_counts_from_the_first_center_to_the_last_is_taken_by_its_scale():
    size, intrinsics, lens = CASES[0]
    u, v = redistort_map(lens, np.array(intrinsics), size, (0, 0, 0, 0))
    u, v = (u * 960 - 0.5) / 959, (v * 540 - 0.5) / 539
    assert off_px(lens_of_map(u, v, size, intrinsics, PATH), lens, size, intrinsics) < 0.02


def test_the_identity_is_no_distortion():
    u, v = redistort_map(Distortion(), np.array(CASES[0][1]), (960, 540), (0, 0, 0, 0))
    assert lens_of_map(u, v, (960, 540), CASES[0][1], PATH) == Distortion()


def test_what_neither_lens_can_be_is_refused_with_how_far_it_is_off():
    """An anamorphic one, which bends the picture across alone."""
    size, (f, _, cx, cy) = (960, 540), (600.0, 600.0, 480.0, 270.0)
    x, y = np.meshgrid(np.arange(960) + 0.5 - cx, np.arange(540) + 0.5 - cy)
    u, v = (x * (1.0 + 0.1 * (x / f)**2) + cx) / 960, 1.0 - (y + cy) / 540
    with pytest.raises(StereoDiffError) as caught:
        lens_of_map(u, v, size, (f, f, cx, cy), PATH)
    assert caught.value.code == "lens_not_followed" and str(MOST_MAP_ERROR_PX) in caught.value.message


def test_half_precision_is_refused_at_the_size_of_a_plate():
    intrinsics = (1500.0, 1500.0, 960.0, 540.0)
    u, v = redistort_map(Distortion(-0.12), np.array(intrinsics), (1920, 1080), (0, 0, 0, 0))
    halves = (one.astype(np.float16).astype(np.float32) for one in (u, v))
    with pytest.raises(StereoDiffError) as caught:
        lens_of_map(*halves, (1920, 1080), intrinsics, PATH)
    assert caught.value.code == "lens_not_followed"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_map_with_a_hole_is_refused(value):
    size, intrinsics, lens = CASES[0]
    u, v = redistort_map(lens, np.array(intrinsics), size, (0, 0, 0, 0))
    v[300, 77] = value
    with pytest.raises(StereoDiffError) as caught:
        lens_of_map(u, v, size, intrinsics, PATH)
    assert caught.value.code == "lens_file_invalid"


@pytest.mark.parametrize("size", [(958, 540), (480, 270), (540, 960)])
def test_a_map_of_another_size_is_refused(size):
    u, v = redistort_map(Distortion(-0.1), np.array(CASES[0][1]), (960, 540), (0, 0, 0, 0))
    with pytest.raises(StereoDiffError) as caught:
        lens_of_map(u, v, size, CASES[0][1], PATH)
    assert caught.value.code == "lens_file_wrong_size" and "960 x 540" in caught.value.message


@pytest.mark.parametrize("fill", [0.0, 0.5])
def test_a_picture_that_is_no_map_is_refused(fill):
    u = np.full((540, 960), fill)
    with pytest.raises(StereoDiffError) as caught:
        lens_of_map(u, u, (960, 540), CASES[0][1], PATH)
    assert caught.value.code == "lens_file_invalid"


def test_points_tell_their_lens():
    places = np.random.default_rng(1).uniform(-0.6, 0.6, (500, 2))
    for true in (BROWN, Distortion(-0.05, 0.01, 0.004, k4=-0.001, is_fisheye=True)):
        lens, worst_px = fit_distortion(places, distorted(places, true), np.array([700.0, 700.0]))
        assert worst_px < 1e-9 and lens.is_fisheye == true.is_fisheye
        assert off_px(lens, true, (800, 800), (700.0, 700.0, 400.0, 400.0)) < 1e-6
