"""The displaced mesh: on its rays, at the depth of the frame shown, torn where it must be, under its own plate."""

from __future__ import annotations

import importlib
from dataclasses import replace

import bpy
import numpy as np
import pytest
from job_folder import Example, depth_of, intrinsics, plate_file, write_gray, write_job_folder
from scene_checks import evaluated_mesh, read_linear, render, set_input, show_frame

SMALL = Example(raster=(32, 18), clip=(64, 36), focal=30.0)


@pytest.fixture
def scene_module(addon):
    return importlib.import_module(f"{addon.__name__}.scene")


@pytest.fixture
def geometry(addon):
    return importlib.import_module(f"{addon.__name__}.engine.geometry")


def import_example(scene_module, folder, example, **options):
    write_job_folder(folder, example)
    return scene_module.import_result(bpy.context.scene, folder, **options)


def grid(vertices: np.ndarray, example: Example, step: int = 1) -> np.ndarray:
    """Vertices at pixel centres, (rows, columns, 3), without the outermost ring; the seams come after."""
    columns, rows = (len(range(0, size, step)) + ((size - 1) % step > 0) + 2 for size in example.raster)
    return vertices[:rows * columns].reshape(rows, columns, 3)[1:-1, 1:-1]


@pytest.mark.parametrize("zoom", [1.0, 1.4])
def test_vertices_are_unprojected_depth(scene_module, geometry, tmp_path, zoom):
    example = replace(SMALL, zoom=zoom)
    mesh = import_example(scene_module, tmp_path, example).mesh
    for index in range(example.frame_count):
        show_frame(1 + index)
        depth = depth_of(example, index)
        expected = geometry.unproject(depth, intrinsics(example, index)) * [1, -1, -1]
        error = np.abs(grid(evaluated_mesh(mesh)[0], example) - expected).max(axis=-1)
        assert (error <= 1e-4 * depth).all()


def test_a_coarse_grid_stands_on_pixel_centres_too(scene_module, geometry, tmp_path):
    mesh = import_example(scene_module, tmp_path, SMALL, step=3).mesh
    show_frame(4)
    points = geometry.unproject(depth_of(SMALL, 3), intrinsics(SMALL, 3)) * [1, -1, -1]
    columns, rows = [*range(0, 32, 3), 31], [*range(0, 18, 3), 17]
    assert np.allclose(grid(evaluated_mesh(mesh)[0], SMALL, 3), points[np.ix_(rows, columns)], atol=2e-4)


def test_large_rasters_get_a_grid_that_plays(scene_module, tmp_path):
    example = Example(raster=(400, 225), clip=(400, 225), frame_count=2)
    assert 20_000 < len(import_example(scene_module, tmp_path, example).mesh.data.vertices) <= 60_000


def test_uvs_are_the_places_in_the_plate(scene_module, tmp_path):
    data = import_example(scene_module, tmp_path, replace(SMALL, zoom=1.0)).mesh.data
    fx, fy, cx, cy = intrinsics(SMALL, 0)
    for loop, uv in zip(data.loops, data.uv_layers["UVMap"].data, strict=True):
        x, y, _ = data.vertices[loop.vertex_index].co
        assert tuple(uv.uv) == pytest.approx(((x * fx + cx) / 32, 1.0 - (cy - y * fy) / 18), abs=1e-5)


def test_first_and_last_depth_are_held(scene_module, tmp_path):
    mesh = import_example(scene_module, tmp_path, replace(SMALL, zoom=1.0)).mesh
    at = {}
    for frame in (-5, 1, 6, 90):
        show_frame(frame)
        at[frame] = evaluated_mesh(mesh)[0]
    assert np.array_equal(at[-5], at[1]) and np.array_equal(at[90], at[6])


def test_clips_placed_anywhere_and_numbered_anyhow_play_their_own_frames(scene_module, geometry, tmp_path):
    example = replace(SMALL, first_frame=3, first_number=101)
    write_job_folder(tmp_path, example)
    clip = bpy.data.movieclips.load(str(plate_file(tmp_path / "clip", example, 1)))
    clip.frame_start = 50
    mesh = scene_module.import_result(bpy.context.scene, tmp_path, clip=clip).mesh
    assert (bpy.context.scene.frame_start, bpy.context.scene.frame_end) == (52, 57)
    for index in (0, 1, 5):
        show_frame(52 + index)
        expected = geometry.unproject(depth_of(example, index), intrinsics(example, index)) * [1, -1, -1]
        assert np.allclose(grid(evaluated_mesh(mesh)[0], example), expected, atol=5e-4)


def test_no_face_spans_a_depth_edge_or_touches_invalid_depth(scene_module, tmp_path):
    mesh = import_example(scene_module, tmp_path, SMALL).mesh
    show_frame(3)
    vertices, faces = evaluated_mesh(mesh)
    depth = -vertices[np.array(faces), 2]
    assert (depth > 0).all()
    assert np.log(depth.max(axis=1) / depth.min(axis=1)).max() <= 0.1 + 1e-5
    assert len(faces) > 0.9 * len(mesh.data.polygons) - 40


def test_tearing_can_be_turned_off_and_tuned_on_the_modifier(scene_module, tmp_path):
    mesh = import_example(scene_module, tmp_path, SMALL).mesh
    show_frame(3)
    set_input(mesh, "Fill Seams", False)
    torn = len(evaluated_mesh(mesh)[1])
    set_input(mesh, "Tear Threshold", 0.01)
    shredded = len(evaluated_mesh(mesh)[1])
    set_input(mesh, "Tear at Depth Edges", False)
    vertices, faces = evaluated_mesh(mesh)
    assert shredded < torn < len(faces) < len(mesh.data.polygons)
    assert (vertices[np.array(faces), 2] < 0).all()


def test_seams_lie_behind_on_their_own_rays(scene_module, tmp_path):
    mesh = import_example(scene_module, tmp_path, replace(SMALL, zoom=1.0)).mesh
    show_frame(3)
    filled, with_seams = evaluated_mesh(mesh)
    set_input(mesh, "Fill Seams", False)
    plain, without = evaluated_mesh(mesh)
    assert np.array_equal(filled[:len(plain)], plain)
    assert len(with_seams) > len(without)
    seams = filled[len(plain):]
    rays = np.empty(3 * len(mesh.data.vertices), np.float32)
    mesh.data.vertices.foreach_get("co", rays)
    rays = rays.reshape(-1, 3)[:, :2]
    miss = np.abs(seams[:, None, :2] / -seams[:, None, 2:] - rays[None]).max(axis=-1).min(axis=-1)
    assert miss.max() < 1e-5


def test_a_frame_without_depth_shows_nothing(scene_module, tmp_path, contract):
    result = write_job_folder(tmp_path, SMALL)
    frames = (*result.frames[:2], replace(result.frames[2], depth=None), *result.frames[3:])
    contract.JobFolder(tmp_path).write_result(replace(result, frames=frames))
    (tmp_path / "depth" / "0003.exr").unlink()
    mesh = scene_module.import_result(bpy.context.scene, tmp_path).mesh
    shown = []
    for frame in (2, 3, 4):
        show_frame(frame)
        shown.append(len(evaluated_mesh(mesh)[1]))
    assert shown[0] > 0 and shown[1] == 0 and shown[2] > 0


def test_through_the_camera_the_mesh_shows_the_plate(scene_module, tmp_path):
    """Each picture is that of its own clip frame, in place, without a gap; depth comes up when asked for."""
    example = Example(raster=(64, 36), clip=(64, 36), first_frame=2, first_number=11, invalid_corner=False)
    write_job_folder(tmp_path, example)
    clip = bpy.data.movieclips.load(str(plate_file(tmp_path / "clip", example, 1)))
    clip.frame_start = 20
    scene = bpy.context.scene
    imported = scene_module.import_result(scene, tmp_path, clip=clip)
    plates = [read_linear(plate_file(tmp_path / "clip", example, frame)) for frame in range(2, 8)]
    for index in (0, 3, 5):
        picture = render(scene, tmp_path / "look.exr", 21 + index)
        misses = [np.abs(picture - plate).mean() for plate in plates]
        assert np.argmin(misses) == index and misses[index] < 0.05
        assert picture.max(axis=-1).min() > 0.01
    set_input(imported.mesh, "Show Depth", True)
    depth = depth_of(example, 5)
    near, far = imported.result.depth_range
    expected = (1 / depth - 1 / far) / (1 / near - 1 / far)
    shown = render(scene, tmp_path / "look.exr", 26)[..., 0]
    assert np.median(np.abs(shown - expected)) < 0.01
    assert shown[18, 20] > 0.9 > 0.5 > shown[2, 60]


def add_movie_clip_picture(scene, clip) -> None:
    """The compositor shows the clip as Blender itself plays it."""
    if bpy.app.version >= (5, 0, 0):
        tree = scene.compositing_node_group = bpy.data.node_groups.new("plate", "CompositorNodeTree")
        tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
        output = tree.nodes.new("NodeGroupOutput")
    else:
        scene.use_nodes = True
        tree = scene.node_tree
        output = next(node for node in tree.nodes if node.bl_idname == "CompositorNodeComposite")
    footage = tree.nodes.new("CompositorNodeMovieClip")
    footage.clip = clip
    tree.links.new(footage.outputs["Image"], output.inputs[0])


def test_a_movie_lies_on_the_mesh_as_its_clip_plays(scene_module, contract, sample_folder, tmp_path):
    """With a start frame and a frame offset of its own."""
    movie = sample_folder / "clip.mp4"
    result = write_job_folder(tmp_path, Example(clip=(640, 360), zoom=1.0, invalid_corner=False))
    source = contract.ClipSource("movie", str(movie), 7, 640, 360, 1.0, 24.0)
    contract.JobFolder(tmp_path).write_result(replace(result, clip=source))
    clip = bpy.data.movieclips.load(str(movie))
    clip.frame_start, clip.frame_offset = 30, 7
    scene = bpy.context.scene
    scene_module.import_result(scene, tmp_path)
    picture = render(scene, tmp_path / "mesh.exr", 33)
    add_movie_clip_picture(scene, clip)
    scene.view_layers[0].use = False
    misses = [np.abs(render(scene, tmp_path / "clip.exr", frame) - picture).mean() for frame in (32, 33, 34)]
    assert misses[1] < 0.02 and misses[1] < 0.7 * min(misses[0], misses[2])


def test_depth_is_read_at_full_precision(scene_module, tmp_path):
    images = import_example(scene_module, tmp_path, SMALL).images
    assert set(images) == {"depth", "confidence", "motion_mask"}
    for image in images.values():
        assert (image.source, image.colorspace_settings.name, image.use_half_precision) \
            == ("SEQUENCE", "Non-Color", False)


def test_a_rewritten_result_is_read_again(scene_module, tmp_path):
    imported = import_example(scene_module, tmp_path, replace(SMALL, zoom=1.0))
    show_frame(1)
    before = evaluated_mesh(imported.mesh)[0]
    write_gray(tmp_path / "depth" / "0001.exr", 2.0 * depth_of(SMALL, 0))
    imported = scene_module.import_result(bpy.context.scene, tmp_path)
    show_frame(1)
    after = evaluated_mesh(imported.mesh)[0]
    assert np.allclose(grid(after, SMALL), 2.0 * grid(before, SMALL), atol=1e-4)
