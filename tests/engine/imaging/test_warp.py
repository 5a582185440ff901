"""Plane plus parallax against points in space, and looking up at any number of places."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from camera_scenes import turned
from known_depth import exact_flow, without_points

from stereodiff_blender.engine.imaging.matching_cost import mean_of_better_half, photometric_cost
from stereodiff_blender.engine.imaging.warp import (
    BEHIND_CAMERA,
    FAR_OUTSIDE_PX,
    MOST_ROWS,
    PlaneParallax,
    induced_flow,
    pixel_axes,
    sample_at,
    warp_between,
    warp_grid,
    warp_pixels,
)
from stereodiff_blender.engine.solution import CameraSolution

HEIGHT, WIDTH = 90, 160
LENS = (310.0, 240.0, 61.5, 47.0)
DEPTH = 3.0 + np.linspace(0, 4, WIDTH) + np.linspace(0, 2, HEIGHT)[:, None]
PICTURE = np.arange(24, dtype=np.float32).reshape(4, 6)


def cameras_at(*positions, angles_deg=None) -> CameraSolution:
    poses = np.tile(np.eye(4), (len(positions), 1, 1))
    poses[:, :3, 3] = positions
    if angles_deg is not None:
        poses[:, :3, :3] = turned(angles_deg)
    return without_points(poses, np.tile(LENS, (len(positions), 1)))


CAMERAS = cameras_at((0, 0, 0), (0.4, -0.2, 0.5), angles_deg=[(0, 0, 0), (3, -5, 2)])
WARP = warp_between(CAMERAS, 0, 1)


def scattered() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Column and row of every pixel, and its disparity, float32 in one line each."""
    x, y = np.broadcast_arrays(*pixel_axes(HEIGHT, WIDTH))
    return np.ascontiguousarray(x).ravel(), np.ascontiguousarray(y).ravel(), (1 / DEPTH).astype(np.float32).ravel()


# --- Where pixels lie --------------------------------------------------------------------------------------------

def test_pixels_lie_where_their_points_in_space_do():
    x, y, disparity = scattered()
    found = warp_pixels(WARP, x, y, disparity)
    expected = exact_flow(DEPTH, CAMERAS, 0, 1).reshape(-1, 2) + np.stack([x, y], axis=1)
    np.testing.assert_allclose(np.stack([found.columns, found.rows], axis=1), expected, atol=0.01)
    back = warp_between(CAMERAS, 1, 0).depth_ratio(found.columns, found.rows, disparity / found.depth_ratio)
    np.testing.assert_allclose(back * found.depth_ratio, 1.0, rtol=1e-4)


def test_depth_there_is_the_third_coordinate():
    x, y, disparity = scattered()
    sideways, ahead = cameras_at((0, 0, 0), (1, 2, 0)), cameras_at((0, 0, 0), (0, 0, 1))
    assert (warp_between(sideways, 0, 1).depth_ratio(x, y, disparity) == 1).all()
    ratio = warp_between(ahead, 0, 1).depth_ratio(x, y, disparity)
    np.testing.assert_allclose(ratio, (DEPTH.ravel() - 1) / DEPTH.ravel(), rtol=1e-6)
    assert np.array_equal(ratio, warp_between(ahead, 0, 1).points(x, y, disparity)[2])


def test_a_frame_lies_on_itself():
    x, y = pixel_axes(4, 6)
    found = warp_grid(warp_between(CAMERAS, 1, 1), x, y, np.ones((4, 6), np.float32))
    np.testing.assert_allclose(found.columns, np.broadcast_to(x, (4, 6)), rtol=1e-6)
    np.testing.assert_allclose(found.rows, np.broadcast_to(y, (4, 6)), rtol=1e-6)


def test_each_order_of_adding_is_kept_to_the_last_bit():
    """Depth of every clip depends on it: see PlaneParallax."""
    x, y = pixel_axes(HEIGHT, WIDTH)
    disparity = (1 / DEPTH).astype(np.float32)
    matrix, epipole = WARP.infinite_homography.astype(np.float32), WARP.epipole.astype(np.float32)
    by_grid, by_points = WARP.grid(x, y, disparity), WARP.points(x, y, disparity)
    for k, (a, b, c) in enumerate(matrix):
        assert np.array_equal(by_grid[k], (a * x + c) + b * y + epipole[k] * disparity)
        assert np.array_equal(by_points[k], ((a * x + b * y) + c) + epipole[k] * disparity)
        np.testing.assert_allclose(by_grid[k], by_points[k], atol=1e-4)
    assert any((by_grid[k] != by_points[k]).any() for k in range(3)), "else there need not be two"


def test_the_type_of_the_pixels_is_kept():
    for kind in (np.float32, np.float64):
        x, y = pixel_axes(3, 5, dtype=kind)
        arrays = (*WARP.grid(x, y, np.ones((3, 5), np.float32)), *WARP.grid_at_infinity(x, y),
                  *WARP.points(x, x, np.ones((1, 5), np.float32)))
        assert {array.dtype for array in arrays} == {np.dtype(kind)}


def test_a_grid_begins_anywhere():
    x, y = pixel_axes(2, 3, top=7, left=4)
    assert x.tolist() == [[4.5, 5.5, 6.5]] and y.tolist() == [[7.5], [8.5]]
    assert x.dtype == y.dtype == np.float32 and pixel_axes(2, 3, dtype=np.float64)[0].dtype == np.float64


# --- Behind the camera and outside the picture -------------------------------------------------------------------

def test_what_is_behind_the_camera_is_nowhere():
    warp = warp_between(cameras_at((0, 0, 0), (0, 0, 2.0)), 0, 1)
    x = y = np.full(4, 50.5, np.float32)
    found = warp_pixels(warp, x, y, np.array([0.1, 0.4, 0.5, 2.0], np.float32))
    assert found.in_front.tolist() == [True, True, False, False]
    assert (found.columns[2:] == FAR_OUTSIDE_PX).all() and (found.depth_ratio[2:] == 1).all()
    assert np.isfinite(found.rows).all() and found.inside((HEIGHT, WIDTH)).tolist() == [True, True, False, False]
    np.testing.assert_allclose(found.depth_ratio[:2], (0.8, 0.2), rtol=1e-5)


@pytest.mark.parametrize(("share", "in_front"), [(0.5, False), (2.0, True)])
def test_the_camera_has_a_limit(share, in_front):
    """Of depth there over depth here; float64, so that the limit itself is met."""
    warp = PlaneParallax(np.eye(3), np.array([0.0, 0.0, -1.0]))
    found = warp_pixels(warp, np.ones(1), np.ones(1), np.array([1.0 - share * BEHIND_CAMERA]))
    assert found.in_front.tolist() == [in_front]


def test_inside_is_between_the_outermost_pixel_centers():
    stay = PlaneParallax(np.eye(3), np.zeros(3))
    x = np.array([0.5, 0.75, 5.25, 5.5, 3.0, 3.0, 3.0, 3.0], np.float32)
    y = np.array([2.0, 2.0, 2.0, 2.0, 0.5, 0.75, 3.25, 3.5], np.float32)
    found = warp_pixels(stay, x, y, np.ones(8, np.float32))
    assert found.inside((4, 6)).tolist() == [False, True, True, False] * 2
    assert np.array_equal(found.places[0], x - 0.5) and np.array_equal(found.places[1], y - 0.5)


# --- Flow --------------------------------------------------------------------------------------------------------

def test_induced_flow_is_what_points_in_space_do():
    flow = induced_flow((1 / DEPTH).astype(np.float32), WARP)
    assert flow.dtype == np.float32 and np.abs(flow - exact_flow(DEPTH, CAMERAS, 0, 1)).max() < 0.01


def test_points_behind_the_other_camera_are_sent_far_away():
    warp = warp_between(cameras_at((0, 0, 0), (0, 0, 20.0)), 0, 1)
    flow = induced_flow(np.full((HEIGHT, WIDTH), 0.2, np.float32), warp)
    assert np.isfinite(flow).all() and np.median(np.abs(flow)) > WIDTH


# --- Looking up --------------------------------------------------------------------------------------------------

def places(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Columns and rows (count,1) of pixels, over and over again."""
    place = np.arange(count)[:, None] % PICTURE.size
    return (place % 6).astype(np.float32), (place // 6).astype(np.float32)


@pytest.mark.parametrize("count", [0, 1, MOST_ROWS, MOST_ROWS + 1, 2 * MOST_ROWS + 700])
@pytest.mark.parametrize("method", [cv2.INTER_LINEAR, cv2.INTER_CUBIC])
def test_every_place_is_looked_up_however_many_there_are(count, method):
    found = sample_at(PICTURE, *places(count), method)
    assert np.array_equal(found, np.arange(count, dtype=np.float32)[:, None] % 24)


@pytest.mark.parametrize("count", [0, 7, MOST_ROWS + 3])
def test_channels_are_kept(count):
    found = sample_at(np.dstack([PICTURE, -PICTURE, PICTURE + 1]), *places(count))
    assert found.shape == (count, 1, 3) and found.dtype == np.float32
    assert np.array_equal(found[:, 0, 1], -(np.arange(count, dtype=np.float32) % 24))


def test_outside_is_the_border_or_nothing():
    beyond = (np.full((2, 1), -50, np.float32), np.zeros((2, 1), np.float32))
    assert sample_at(PICTURE + 1, *beyond).ravel().tolist() == [1, 1]
    assert sample_at(PICTURE + 1, *beyond, border=cv2.BORDER_CONSTANT).ravel().tolist() == [0, 0]


def test_no_pixels_are_like_nothing():
    own = [np.zeros((0, 3), np.float32), np.zeros((0, 2), np.float32)]
    features = np.zeros((8, 9, 3), np.float32), np.zeros((8, 9, 2), np.float32)
    found = photometric_cost(own, features, np.zeros(0, np.float32), np.zeros(0, np.float32))
    assert found.shape == mean_of_better_half([found, found]).shape == (0,)
