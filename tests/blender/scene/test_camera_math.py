"""The engine's cameras in Blender's terms, without a scene."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from job_folder import EXAMPLE, camera_to_world


@pytest.fixture
def camera_math(addon):
    return importlib.import_module(f"{addon.__name__}.scene.result.camera_math")


@pytest.fixture
def geometry(addon):
    return importlib.import_module(f"{addon.__name__}.engine.geometry")


def test_first_camera_looks_along_y(camera_math):
    matrix = camera_math.matrix_world_from_camera_to_world(np.eye(4))
    assert np.array_equal(matrix @ [0, 0, -1, 0], [0, 1, 0, 0])
    assert np.array_equal(matrix @ [0, 1, 0, 0], [0, 0, 1, 0])
    assert np.array_equal(matrix @ [1, 0, 0, 0], [1, 0, 0, 0])


def test_matrices_see_world_points_as_the_engine_does(camera_math, geometry):
    pose = camera_to_world(EXAMPLE, 4)
    point = np.array([0.3, -0.7, 5.0])
    seen = geometry.invert_rigid(pose) @ [*point, 1.0]
    matrix = camera_math.matrix_world_from_camera_to_world(pose)
    seen_in_blender = np.linalg.inv(matrix) @ [*camera_math.points_in_blender_world(point), 1.0]
    assert np.allclose(seen_in_blender, seen * [1, -1, -1, 1], atol=1e-12)
    assert np.linalg.det(matrix[:3, :3]) == pytest.approx(1.0)


def test_intrinsics_scale_per_axis(camera_math):
    scaled = camera_math.scale_intrinsics([(60.0, 50.0, 33.0, 17.0)], (64, 36), (128, 180))
    assert scaled.tolist() == [[120.0, 250.0, 66.0, 85.0]]


@pytest.mark.parametrize(("pixel_aspect", "fx", "fy"), [(1.0, 500.0, 500.0), (2.0, 500.0, 1000.0), (0.5, 800.0, 400.0)])
def test_pixel_aspect_is_the_clips_where_that_is_exact(camera_math, pixel_aspect, fx, fy):
    assert camera_math.render_pixel_aspect((fx, fy * 1.00001, 320, 180), (640, 360), pixel_aspect) == pixel_aspect


def test_pixel_aspect_follows_a_raster_that_was_rounded(camera_math):
    size = (1920, 803)
    k = camera_math.scale_intrinsics((600.0, 600.0, 320.0, 134.0), (640, 268), size)
    assert camera_math.render_pixel_aspect(k, size, 1.0) == pytest.approx(k[1] / k[0])


def test_lens(camera_math):
    lens = camera_math.lens_from_intrinsics((640.0, 640.0, 320.0, 180.0), (640, 360), 1.0, 36.0)
    assert (lens.focal_mm, lens.shift_x, lens.shift_y) == (36.0, 0.0, 0.0)
    right_and_down = camera_math.lens_from_intrinsics((640.0, 640.0, 352.0, 212.0), (640, 360), 1.0, 24.0)
    assert right_and_down.focal_mm == 24.0
    assert (right_and_down.shift_x, right_and_down.shift_y) == pytest.approx((-0.05, 0.05))


def test_rays_times_depth_are_the_points(camera_math, geometry):
    k = (60.0, 58.0, 30.0, 19.0)
    rays = camera_math.camera_rays(np.arange(64) + 0.5, np.arange(36) + 0.5, k, None)
    depth = np.random.default_rng(0).uniform(1, 9, (36, 64))
    assert np.allclose(rays * depth[..., None], geometry.unproject(depth, k) * [1, -1, -1], atol=1e-12)


def test_grid_has_pixel_centers_and_both_edges(camera_math):
    assert camera_math.grid_positions(5, 1).tolist() == [0, 0.5, 1.5, 2.5, 3.5, 4.5, 5]
    assert camera_math.grid_positions(6, 2).tolist() == [0, 0.5, 2.5, 4.5, 5.5, 6]


@pytest.mark.parametrize(("size", "step"), [((64, 36), 1), ((480, 270), 2), ((640, 360), 2), ((960, 540), 3)])
def test_step_is_the_smallest_that_fits(camera_math, size, step):
    assert camera_math.step_for_density(*size, 60_000) == step


@pytest.mark.parametrize(("fps", "expected"), [
    (24.0, (24, 1.0)), (23.976, (24, 1.001)), (24000 / 1001, (24, 1.001)), (29.97, (30, 1.001)),
    (59.94, (60, 1.001)), (25.0, (25, 1.0)), (12.5, (12, 0.96)), (0.5, (1, 2.0)),
])
def test_fps_and_base(camera_math, fps, expected):
    whole, base = camera_math.fps_and_base(fps)
    assert (whole, base) == pytest.approx(expected)
    assert whole / base == pytest.approx(fps, rel=2e-5)
