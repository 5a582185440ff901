"""Pictures without their lens's distortion, and back to the plate: smooth ones, masks, and depth with its edges."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from stereodiff_blender.engine.contract import Distortion
from stereodiff_blender.engine.imaging import Rectification, rectifier
from stereodiff_blender.engine.imaging.rectification import SAME_SURFACE
from stereodiff_blender.engine.lens import distorted, undistorted

WIDTH, HEIGHT, FOCAL_PX = 160, 90, 140.0
LENSES = [Distortion(-0.12), Distortion(0.05), Distortion(-0.25, 0.08), Distortion(0.02, is_fisheye=True)]


def intrinsics(*zoom: float) -> np.ndarray:
    return np.array([[FOCAL_PX * one, FOCAL_PX * one, WIDTH / 2, HEIGHT / 2] for one in zoom])


def rectification_of(lens: Distortion) -> Rectification:
    return rectifier((HEIGHT, WIDTH), intrinsics(1.0), lens)(0)


def ideal_places(rectification: Rectification) -> np.ndarray:
    """(h,w,2) of the ideal raster's pixels, in focal lengths from the principal point."""
    height, width = rectification.size
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    left, _, top, _ = rectification.margins
    return np.stack([x - left - WIDTH / 2, y - top - HEIGHT / 2], axis=-1) / FOCAL_PX


@pytest.mark.parametrize("lens", LENSES)
def test_each_ideal_pixel_is_where_the_lens_shows_it(lens):
    rectification = rectification_of(lens)
    expected = distorted(ideal_places(rectification), lens) * FOCAL_PX + (WIDTH / 2 - 0.5, HEIGHT / 2 - 0.5)
    np.testing.assert_allclose(rectification.plate, expected, atol=1e-4)


@pytest.mark.parametrize("lens", LENSES)
def test_there_and_back_is_the_same_place(lens):
    rectification = rectification_of(lens)
    back = cv2.remap(rectification.plate, rectification.ideal, None, cv2.INTER_LINEAR)
    own = np.stack(np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT)), axis=-1)
    assert np.abs(back - own)[1:-1, 1:-1].max() < 0.05


@pytest.mark.parametrize("lens", LENSES)
def test_the_ideal_raster_holds_all_of_the_plate(lens):
    """And hardly more: a barrel's corners reach beyond it, a pincushion's edges within."""
    rectification = rectification_of(lens)
    height, width = rectification.size
    left, right, top, bottom = rectification.margins
    assert (height, width) == (HEIGHT + top + bottom, WIDTH + left + right) and min(rectification.margins) >= 0
    assert (rectification.ideal >= -0.5).all() and (rectification.ideal <= (width - 0.5, height - 0.5)).all()
    reach = np.array([rectification.ideal.reshape(-1, 2).min(0), (width, height) - rectification.ideal.reshape(
        -1, 2).max(0)])
    assert max(rectification.margins) == 0 or reach.min() < 2.0
    seen = np.zeros((HEIGHT, WIDTH), bool)
    x, y = np.rint(rectification.plate[rectification.in_plate()]).astype(int).T
    seen[np.clip(y, 0, HEIGHT - 1), np.clip(x, 0, WIDTH - 1)] = True
    assert seen[[0, 0, -1, -1], [0, -1, 0, -1]].all() and seen.mean() > 0.9
    if lens.k1 < 0 or lens.is_fisheye:
        inside = rectification.in_plate()
        assert inside[1, 1] and not inside[0, width // 2] and not inside[height // 2, 0] and min(left, top) > 0


def test_a_strong_barrel_is_cut_off_at_a_share_of_the_side():
    wide = rectifier((HEIGHT, WIDTH), intrinsics(0.45), Distortion(-0.1, 0.001))(0)
    assert wide.margins[0] <= 0.3 * WIDTH + 1 and wide.margins[2] <= 0.3 * HEIGHT + 1


def test_what_a_wide_fisheye_has_beyond_is_told():
    wide = rectifier((HEIGHT, WIDTH), intrinsics(0.46 * WIDTH / FOCAL_PX), Distortion(is_fisheye=True))(0)
    inside = wide.in_ideal()
    assert max(wide.margins[:2]) <= 0.3 * WIDTH + 1 and max(wide.margins[2:]) <= 0.3 * HEIGHT + 1
    assert not inside[[0, 0, -1, -1], [0, -1, 0, -1]].any() and inside[HEIGHT // 2, 8:-8].all() and inside.mean() > 0.9
    assert rectification_of(LENSES[0]).in_ideal().all()


def test_a_picture_is_the_one_that_a_pinhole_would_have_taken():
    lens = LENSES[0]
    rectification = rectification_of(lens)

    def scene(places: np.ndarray) -> np.ndarray:
        return 128 + 100 * np.sin(9 * places[..., :1] + np.array([0.0, 1.0, 2.0])) * np.cos(8 * places[..., 1:])

    x, y = np.meshgrid(np.arange(WIDTH) + 0.5 - WIDTH / 2, np.arange(HEIGHT) + 0.5 - HEIGHT / 2)
    plate = np.rint(scene(undistorted(np.stack([x, y], -1) / FOCAL_PX, lens))).astype(np.uint8)
    ideal = scene(ideal_places(rectification))
    inside = cv2.erode(rectification.in_plate().astype(np.uint8), np.ones((5, 5))) > 0
    assert np.abs(rectification.rectified(plate).astype(float) - ideal)[inside].max() < 3.0


def test_depth_of_a_plane_is_exact_and_edges_are_as_hard_as_they_were():
    rectification = rectification_of(LENSES[0])
    x, y = np.moveaxis(ideal_places(rectification), -1, 0)
    slanted = (1.0 / (0.2 + 0.1 * x - 0.05 * y)).astype(np.float32)
    shown = rectification.shown_depth(slanted)
    exact = 1.0 / cv2.remap(1.0 / slanted.astype(np.float64), rectification.ideal, None, cv2.INTER_LINEAR)
    assert shown.dtype == np.float32 and np.abs(shown / exact - 1).max() < 3e-4
    assert np.abs(shown / rectification.shown(slanted) - 1).max() > 3e-3, "between pixels, not the nearest"
    edge = np.where(x + 0.3 * y < 0.05, np.float32(2.0), np.float32(5.0))
    hard = rectification.shown_depth(edge)
    assert (np.isclose(hard, 2.0, rtol=SAME_SURFACE) | np.isclose(hard, 5.0, rtol=SAME_SURFACE)).all()


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float32])
def test_masks_keep_their_values(dtype):
    rectification = rectification_of(LENSES[0])
    mask = np.zeros((HEIGHT, WIDTH), dtype)
    mask[30:50, 40:90] = 1
    ideal = rectification.rectified_mask(mask)
    assert ideal.dtype == dtype and ideal.shape == rectification.size
    np.testing.assert_array_equal(np.unique(ideal), [0, 1])
    back = rectification.shown(ideal.astype(np.uint8))
    assert (back != mask).mean() < 0.01


def test_a_zoom_has_one_raster_that_holds_all_of_its_frames():
    rectify = rectifier((HEIGHT, WIDTH), intrinsics(0.8, 1.0, 1.3), Distortion(-0.12))
    sizes = {rectify(index).size for index in range(3)}
    assert len(sizes) == 1 and len({rectify(index).margins for index in range(3)}) == 1
    assert rectify(0).margins == rectifier((HEIGHT, WIDTH), intrinsics(0.8), Distortion(-0.12))(0).margins
    for index in range(3):
        assert (rectify(index).ideal > -0.5).all()
    assert np.abs(rectify(0).plate - rectify(2).plate).max() > 0.5
