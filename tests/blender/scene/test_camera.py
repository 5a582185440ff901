"""The imported camera: what the engine's camera sees at a pixel, Blender's sees there too."""

from __future__ import annotations

import importlib
from dataclasses import replace

import bpy
import numpy as np
import pytest
from bpy_extras.object_utils import world_to_camera_view
from compositors import empty_tree
from job_folder import Example, camera_to_world, intrinsics, plate_file, trace_depth, write_job_folder, write_png
from mathutils import Matrix, Vector
from scene_checks import projected, read_linear, render, show_frame

CAMERAS = {
    "landscape, moving focal": Example(),
    "constant lens, centered": Example(zoom=1.0, principal=(0.0, 0.0)),
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


@pytest.mark.slow
@pytest.mark.parametrize("example", CAMERAS.values(), ids=CAMERAS.keys())
def test_projection_is_the_engines(scene_module, tmp_path, example):
    write_job_folder(tmp_path, example)
    imported = scene_module.import_result(bpy.context.scene, tmp_path)
    for index in range(example.frame_count):
        show_frame(1 + index)
        points = world_points(example, index)
        seen = seen_by_blender(bpy.context.scene, imported.camera, on_blender_axes(points))
        assert np.abs(seen - projected(example, index, points)).max() < 0.05


@pytest.mark.slow
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


# --- Sensor fit ----------------------------------------------------------------------------------------------------

FITS = ("HORIZONTAL", "VERTICAL", "AUTO")
FITTED = {
    "landscape, moving focal": Example(frame_count=2),
    "portrait": Example(raster=(36, 64), clip=(54, 96), frame_count=2),
    "principal point far off": Example(principal=(9.0, 7.0), frame_count=2),
    "wide pixels": Example(raster=(64, 36), clip=(80, 60), pixel_aspect=64 / 36 * 60 / 80, frame_count=2),
    "tall pixels": Example(raster=(64, 48), clip=(144, 72), pixel_aspect=2 / 3, frame_count=2),
    "portrait, but wider by its pixels": Example(raster=(66, 64), clip=(44, 64), pixel_aspect=1.5, frame_count=2),
}


def assert_engine_projection(example: Example, camera: bpy.types.Object) -> None:
    for index in (0, example.frame_count - 1):
        show_frame(1 + index)
        points = world_points(example, index)
        seen = seen_by_blender(bpy.context.scene, camera, on_blender_axes(points))
        assert np.abs(seen - projected(example, index, points)).max() < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("example", FITTED.values(), ids=FITTED.keys())
def test_projection_is_the_engines_for_every_sensor_fit(scene_module, tmp_path, example, fit):
    write_job_folder(tmp_path, example)
    imported = scene_module.import_result(bpy.context.scene, tmp_path)
    lens = imported.camera.data.lens
    assert bpy.ops.stereodiff.set_sensor_fit(fit=fit) == {"FINISHED"}
    assert imported.camera.data.sensor_fit == fit
    assert_engine_projection(example, imported.camera)
    show_frame(1)
    assert imported.camera.data.lens == pytest.approx(lens, rel=1e-6), "millimeters stay millimeters"


def test_a_principal_point_far_off_needs_the_lens_anew(scene_module, tmp_path):
    """Without it, the same shifts would mean other distances: what the operator is for."""
    example = CAMERAS["principal point far off"]
    write_job_folder(tmp_path, example)
    camera = scene_module.import_result(bpy.context.scene, tmp_path).camera
    camera.data.sensor_fit = "VERTICAL"
    with pytest.raises(AssertionError):
        assert_engine_projection(example, camera)


@pytest.mark.slow
@pytest.mark.parametrize("fit", FITS)
def test_the_artists_sensor_fit_is_kept_and_exact_after_another_import(scene_module, tmp_path, fit):
    example = Example(raster=(36, 64), clip=(270, 480), principal=(4.0, -3.0))
    write_job_folder(tmp_path, example)
    camera = scene_module.import_result(bpy.context.scene, tmp_path).camera
    camera.data.sensor_fit = fit
    assert scene_module.import_result(bpy.context.scene, tmp_path).camera == camera
    assert camera.data.sensor_fit == fit
    assert_engine_projection(example, camera)


@pytest.mark.slow
def test_blenders_own_projection_matrix_agrees(scene_module, tmp_path):
    """calc_matrix_camera, which renders use, beside world_to_camera_view."""
    example = CAMERAS["wide pixels"]
    write_job_folder(tmp_path, example)
    camera = scene_module.import_result(bpy.context.scene, tmp_path).camera
    render = bpy.context.scene.render
    depsgraph = show_frame(4)
    projection = camera.evaluated_get(depsgraph).calc_matrix_camera(
        depsgraph, x=render.resolution_x, y=render.resolution_y,
        scale_x=render.pixel_aspect_x, scale_y=render.pixel_aspect_y)
    points = world_points(example, 3)
    seen = np.array([projection @ camera.matrix_world.inverted() @ Vector((*p, 1.0)) for p in on_blender_axes(points)])
    pixels = (seen[:, :2] / seen[:, 3:] * [0.5, -0.5] + 0.5) * example.clip
    assert np.abs(pixels - projected(example, 3, points)).max() < 0.05


# --- Turns ---------------------------------------------------------------------------------------------------------

def keyed_paths(block) -> set[str]:
    """Data paths of a datablock's F-curves."""
    action = block.animation_data.action if block.animation_data else None
    if action is None:
        return set()
    bags = [action] if not hasattr(action, "layers") else [bag for layer in action.layers for strip in layer.strips
                                                           for bag in strip.channelbags]
    return {curve.data_path for bag in bags for curve in bag.fcurves}


@pytest.mark.parametrize(("kind", "keyed"), [("rotation", {"rotation_quaternion"}), ("static", set())])
def test_a_camera_that_only_turns_becomes_a_nodal_pan(scene_module, tmp_path, contract, kind, keyed):
    """Also where its positions carry the noise of a solve."""
    example = Example(camera_kind=kind)
    result = write_job_folder(tmp_path, example)
    frames = tuple(replace(f, camera_to_world=tuple((*row[:3], row[3] + 1e-7 * index if k < 3 else row[3])
                                                    for k, row in enumerate(f.camera_to_world)))
                   for index, f in enumerate(result.frames))
    contract.JobFolder(tmp_path).write_result(replace(result, frames=frames))
    camera = scene_module.import_result(bpy.context.scene, tmp_path).camera
    assert keyed_paths(camera) == keyed
    for frame in (1, 3, 6):
        show_frame(frame)
        assert camera.matrix_world.translation.length == 0.0


def test_a_turn_becomes_a_move_and_back(scene_module, tmp_path):
    """A second solve of the same footage may find another kind of camera: no key of the first is left."""
    for kind, keyed in (("moving", {"location", "rotation_quaternion"}), ("rotation", {"rotation_quaternion"}),
                        ("moving", {"location", "rotation_quaternion"})):
        write_job_folder(tmp_path / kind, Example(camera_kind=kind), clip_folder=tmp_path / "clip")
        camera = scene_module.import_result(bpy.context.scene, tmp_path / kind).camera
        assert keyed_paths(camera) == keyed


@pytest.mark.slow
def test_quaternions_do_not_flip_over_two_full_turns(scene_module, tmp_path, contract):
    example = Example(frame_count=25)
    result = write_job_folder(tmp_path, example)
    turns = [Matrix.Rotation(np.radians(30.0 * i), 4, (0.2, 1.0, 0.1)) for i in range(25)]
    frames = tuple(replace(f, camera_to_world=tuple(map(tuple, np.array(turn, dtype=np.float64).tolist())))
                   for f, turn in zip(result.frames, turns, strict=True))
    contract.JobFolder(tmp_path).write_result(replace(result, frames=frames))
    camera = scene_module.import_result(bpy.context.scene, tmp_path).camera
    before = None
    for frame in range(1, 26):
        show_frame(frame)
        now = np.array(camera.rotation_quaternion)
        assert before is None or now @ before > np.cos(np.radians(16.0))
        before = now
    for frame in range(1, 25):
        bpy.context.scene.frame_set(frame, subframe=0.5)
        middle = camera.matrix_basis.to_3x3()
        bpy.context.scene.frame_set(frame)
        turned = camera.matrix_basis.to_3x3().inverted() @ middle
        assert np.trace(turned) == pytest.approx(1 + 2 * np.cos(np.radians(15.0)), abs=1e-4)


# --- Reach and plate -----------------------------------------------------------------------------------------------

def test_a_scaled_root_keeps_the_depth_in_the_camera_s_reach(scene_module, tmp_path):
    write_job_folder(tmp_path, Example())
    imported = scene_module.import_result(bpy.context.scene, tmp_path)
    farthest = trace_depth(Example(), 0)[0].max()
    imported.root.scale = (5000.0,) * 3
    bpy.context.view_layer.update()
    again = scene_module.import_result(bpy.context.scene, tmp_path)
    assert again.camera.data.clip_end > 5000.0 * farthest > 1000.0


@pytest.mark.parametrize(("start", "skipped"), [(1, 0), (37, 0), (-10, 2)])
def test_the_clip_shows_the_picture_of_the_frame_whose_camera_plays(scene_module, tmp_path, start, skipped):
    """For any Start Frame, trimmed range and Frame Offset, as the compositor shows the very clip of the background."""
    example = Example(first_frame=2, first_number=11 + skipped)
    write_job_folder(tmp_path, example)
    if skipped:
        for number in range(11, 11 + skipped):
            write_png(tmp_path / "clip" / f"plate_{number:04d}.png", np.zeros((72, 128, 3), np.uint8))
    clip = bpy.data.movieclips.load(str(tmp_path / "clip" / "plate_0011.png"))
    clip.frame_start, clip.frame_offset = start, skipped
    scene = bpy.context.scene
    imported = scene_module.import_result(scene, tmp_path, clip=clip)
    assert imported.camera.data.background_images[0].clip == clip
    show_clip_in_compositor(scene, clip)
    for index in (0, 3, 5):
        frame = start + example.first_frame - 1 + index
        shown = render(scene, tmp_path / "shown.exr", frame)
        plate = plate_file(tmp_path / "clip", example, example.first_frame + index)
        assert np.abs(shown - read_linear(plate)).mean() < 0.01
        expected = Vector(on_blender_axes(camera_to_world(example, index)[None, :3, 3])[0])
        assert (imported.camera.matrix_world.translation - expected).length < 1e-5


def show_clip_in_compositor(scene: bpy.types.Scene, clip: bpy.types.MovieClip) -> None:
    """Nothing but the clip, as it plays on the timeline."""
    tree, picture = empty_tree(scene)
    node = tree.nodes.new("CompositorNodeMovieClip")
    node.clip = clip
    tree.links.new(node.outputs["Image"], picture)
    for layer in scene.view_layers:
        layer.use = False


# --- Known lens ----------------------------------------------------------------------------------------------------

def test_the_clips_lens_is_the_prior_when_known_lens_is_ticked(addon, scene_module, sequence, settings, tmp_path,
                                                               contract):
    """From the Movie Clip Editor's lens, through the job, to the camera in the scene."""
    sequence.tracking.camera.sensor_width, sequence.tracking.camera.focal_length = 23.5, 31.0
    settings.clip = sequence
    asked = addon.ui.properties.settings_from(bpy.context.scene)
    assert (asked.focal_mm, asked.sensor_mm) == (None, None)
    settings.use_known_focal = True
    asked = addon.ui.properties.settings_from(bpy.context.scene)
    assert (asked.focal_mm, asked.sensor_mm) == pytest.approx((31.0, 23.5))
    example = Example(zoom=1.0, focal=31.0 * 64 / 23.5)
    write_job_folder(tmp_path / "job", example)
    folder = contract.JobFolder(tmp_path / "job")
    folder.write_job(replace(folder.read_job(), settings=asked))
    camera = scene_module.import_result(bpy.context.scene, tmp_path / "job").camera.data
    assert (camera.lens, camera.sensor_width) == pytest.approx((31.0, 23.5), rel=1e-5)


def test_a_lens_given_in_pixels_is_the_same_prior(addon, sequence, settings):
    camera = sequence.tracking.camera
    camera.sensor_width, camera.units = 24.0, "PIXELS"
    camera.focal_length_pixels = 120.0
    settings.clip, settings.use_known_focal = sequence, True
    assert addon.ui.properties.settings_from(bpy.context.scene).focal_mm == pytest.approx(120.0 * 24.0 / 96, rel=1e-5)
