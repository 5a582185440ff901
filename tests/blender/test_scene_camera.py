"""The imported camera: what the engine's camera sees at a pixel, Blender's sees there too."""

from __future__ import annotations

import importlib
from dataclasses import replace

import bpy
import numpy as np
import pytest
from bpy_extras.object_utils import world_to_camera_view
from job_folder import Example, camera_to_world, intrinsics, trace_depth, write_job_folder
from mathutils import Matrix, Vector
from scene_checks import projected, show_frame

CAMERAS = {
    "landscape, moving focal": Example(),
    "constant lens, centred": Example(zoom=1.0, principal=(0.0, 0.0)),
    "portrait": Example(raster=(36, 64), clip=(270, 480)),
    "principal point far off": Example(principal=(9.0, 7.0)),
    "wide pixels": Example(raster=(64, 36), clip=(720, 576), pixel_aspect=64 / 36 * 576 / 720),
    "tall pixels": Example(raster=(64, 48), clip=(1440, 720), pixel_aspect=2 / 3),
    "portrait, wide pixels": Example(raster=(36, 64), clip=(240, 640), pixel_aspect=1.5),
    "rounded raster": Example(raster=(64, 27), clip=(1920, 803)),
}


@pytest.fixture
def scene_module(addon):
    return importlib.import_module(f"{addon.__name__}.scene")


def world_points(example: Example, index: int) -> np.ndarray:
    """Points of the scene seen by a frame's camera, all over the picture, on the engine's axes."""
    rng = np.random.default_rng(index)
    depth = rng.uniform(1.0, 8.0, 60)
    fx, fy, cx, cy = intrinsics(example, index)
    x, y = rng.uniform(0, example.raster[0], 60), rng.uniform(0, example.raster[1], 60)
    points = np.stack([(x - cx) / fx, (y - cy) / fy, np.ones(60)], axis=-1) * depth[:, None]
    pose = camera_to_world(example, index)
    return points @ pose[:3, :3].T + pose[:3, 3]


def seen_by_blender(scene, camera, points: np.ndarray) -> np.ndarray:
    """Pixels of the render, from the left and top edge."""
    size = (scene.render.resolution_x, scene.render.resolution_y)
    views = np.array([world_to_camera_view(scene, camera, Vector(point)) for point in points])
    return np.stack([views[:, 0] * size[0], (1.0 - views[:, 1]) * size[1]], axis=-1)


def on_blender_axes(points: np.ndarray) -> np.ndarray:
    return np.stack([points[:, 0], points[:, 2], -points[:, 1]], axis=-1)


@pytest.mark.parametrize("example", CAMERAS.values(), ids=CAMERAS.keys())
def test_projection_is_the_engines(scene_module, tmp_path, example):
    write_job_folder(tmp_path, example)
    imported = scene_module.import_result(bpy.context.scene, tmp_path)
    for index in range(example.frame_count):
        show_frame(1 + index)
        points = world_points(example, index)
        seen = seen_by_blender(bpy.context.scene, imported.camera, on_blender_axes(points))
        assert np.abs(seen - projected(example, index, points)).max() < 0.05


def test_a_raster_rounded_without_its_lens_still_projects_exactly(scene_module, tmp_path, contract):
    """fx = fy on a raster whose pixels are not quite square: the lens rules, and the pixel aspect gives way."""
    example = Example(raster=(64, 27), clip=(1920, 803), zoom=1.0)
    result = write_job_folder(tmp_path, example)
    frames = tuple(replace(f, fy=f.fx) for f in result.frames)
    contract.JobFolder(tmp_path).write_result(replace(result, frames=frames))
    imported = scene_module.import_result(bpy.context.scene, tmp_path)
    show_frame(1)
    point = np.array([[0.0, 2.0, 9.0]])
    seen = seen_by_blender(bpy.context.scene, imported.camera, on_blender_axes(point))
    expected_y = (60.0 * 2.0 / 9.0 + 27 / 2 + example.principal[1]) * 803 / 27
    assert abs(seen[0, 1] - expected_y) < 0.05


def test_projection_holds_when_the_root_is_moved_turned_and_scaled(scene_module, tmp_path):
    example = Example()
    write_job_folder(tmp_path, example)
    imported = scene_module.import_result(bpy.context.scene, tmp_path)
    moved = Matrix.Translation((3, -2, 1)) @ Matrix.Rotation(0.7, 4, (0.2, 0.5, 1.0)) @ Matrix.Scale(2.5, 4)
    imported.root.matrix_world = moved
    show_frame(4)
    points = world_points(example, 3)
    on_axes = np.array([moved @ Vector(point) for point in on_blender_axes(points)])
    seen = seen_by_blender(bpy.context.scene, imported.camera, on_axes)
    assert np.abs(seen - projected(example, 3, points)).max() < 0.05


def test_between_frames_the_camera_goes_straight(scene_module, tmp_path):
    write_job_folder(tmp_path, Example(zoom=2.0))
    imported = scene_module.import_result(bpy.context.scene, tmp_path)
    values = []
    for frame, sub in ((2, 0.0), (2, 0.5), (3, 0.0)):
        bpy.context.scene.frame_set(frame, subframe=sub)
        values.append([*imported.camera.location, imported.camera.data.lens])
    assert np.allclose(values[1], np.mean([values[0], values[2]], axis=0), atol=1e-6)


def test_constant_lens_has_no_keys_and_a_moving_one_has(scene_module, tmp_path):
    write_job_folder(tmp_path / "constant", Example(zoom=1.0))
    write_job_folder(tmp_path / "zoom", Example(zoom=1.5), clip_folder=tmp_path / "other")
    constant = scene_module.import_result(bpy.context.scene, tmp_path / "constant")
    zoom = scene_module.import_result(bpy.context.scene, tmp_path / "zoom")
    assert constant.camera.data.animation_data is None or constant.camera.data.animation_data.action is None
    lenses = []
    for frame in (1, 6):
        show_frame(frame)
        lenses.append(zoom.camera.data.lens)
    assert lenses[1] == pytest.approx(1.5 * lenses[0], rel=1e-5)


def test_known_sensor_gives_the_known_lens(scene_module, tmp_path, contract):
    example = Example(zoom=1.0)
    write_job_folder(tmp_path, example)
    folder = contract.JobFolder(tmp_path)
    folder.write_job(replace(folder.read_job(), settings=contract.Settings(focal_mm=22.5, sensor_mm=24.0)))
    camera = scene_module.import_result(bpy.context.scene, tmp_path).camera.data
    assert (camera.sensor_fit, camera.sensor_width) == ("HORIZONTAL", 24.0)
    assert camera.lens == pytest.approx(60.0 / 64 * 24.0)


def test_clip_stands_behind_and_all_depth_is_in_reach(scene_module, tmp_path):
    write_job_folder(tmp_path, Example(depth_scale=4000.0))
    imported = scene_module.import_result(bpy.context.scene, tmp_path)
    camera = imported.camera.data
    assert [b.clip for b in camera.background_images] == [bpy.data.movieclips[0]]
    assert camera.show_background_images and camera.background_images[0].display_depth == "BACK"
    assert camera.clip_end > trace_depth(Example(depth_scale=4000.0), 0)[0].max() * 1.5
    near = replace(Example(), depth_scale=0.01)
    write_job_folder(tmp_path / "near", near, clip_folder=tmp_path / "other")
    camera = scene_module.import_result(bpy.context.scene, tmp_path / "near").camera.data
    assert camera.clip_start < trace_depth(near, 0)[0].min()
    assert camera.display_size < 0.1


@pytest.mark.parametrize("kind", ["rotation", "static"])
def test_without_depth_there_is_a_camera_and_its_clip(scene_module, tmp_path, kind):
    example = Example(camera_kind=kind)
    write_job_folder(tmp_path, example)
    imported = scene_module.import_result(bpy.context.scene, tmp_path)
    assert (imported.mesh, imported.images, len(bpy.data.images), len(bpy.data.meshes)) == (None, {}, 0, 0)
    assert len(imported.camera.data.background_images) == 1
    show_frame(6)
    points = world_points(example, 5)
    seen = seen_by_blender(bpy.context.scene, imported.camera, on_blender_axes(points))
    assert np.abs(seen - projected(example, 5, points)).max() < 0.05
