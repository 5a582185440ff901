"""The displaced mesh: on its rays, at the depth of the frame shown, torn where it must be, under its own plate."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path

import bpy
import numpy as np
import pytest
from compositors import empty_tree
from job_folder import Example, depth_of, intrinsics, plate_file, rewrite, write_job_folder, write_mesh_depth
from scene_checks import evaluated_mesh, read_linear, render, set_input, show_frame

SMALL = Example(raster=(32, 18), clip=(64, 36), focal=30.0)


@pytest.fixture
def scene_module(addon):
    return importlib.import_module(f"{addon.__name__}.scene")


def import_example(scene_module, folder, example, clip_folder=None, **options):
    write_job_folder(folder, example, clip_folder)
    return scene_module.import_result(bpy.context.scene, folder, **options)


def places(size: int, step: int) -> np.ndarray:
    """Pixels from the edge: the two edges, and the centers of every step-th pixel and of the last one."""
    return np.array([0.0, *(pixel + 0.5 for pixel in sorted({*range(0, size, step), size - 1})), size])


def unprojected(example: Example, index: int, step: int = 1) -> np.ndarray:
    """Every vertex of the grid (rows, columns, 3) in the camera's space, by the pinhole formula alone."""
    fx, fy, cx, cy = intrinsics(example, index)
    x, y = np.meshgrid(*(places(size, step) for size in example.raster))
    depth = depth_of(example, index)[np.minimum(y, example.raster[1] - 1).astype(int),
                                     np.minimum(x, example.raster[0] - 1).astype(int)]
    return np.stack([(x - cx) / fx, -(y - cy) / fy, -np.ones_like(x)], axis=-1) * depth[..., None]


def assert_unprojected(mesh: bpy.types.Object, example: Example, index: int, step: int = 1) -> None:
    """Not torn and without invalid depth the mesh is the whole grid, column by column from the bottom up."""
    expected = unprojected(example, index, step)
    rows, columns, _ = expected.shape
    vertices, _ = evaluated_mesh(mesh)
    assert vertices.shape == (rows * columns, 3)
    error = np.abs(vertices.reshape(columns, rows, 3).transpose(1, 0, 2)[::-1] - expected).max(axis=-1)
    assert (error <= 1e-4 * -expected[..., 2]).all()


def pixels_of(vertices: np.ndarray, example: Example, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Column and row of the pixel that each vertex stands on, as the camera sees it."""
    fx, fy, cx, cy = intrinsics(example, index)
    x, y = vertices[:, 0] / -vertices[:, 2] * fx + cx, cy - vertices[:, 1] / -vertices[:, 2] * fy
    return tuple(np.clip(np.floor(place + 1e-3 * np.sign(size / 2 - place)), 0, size - 1).astype(int)
                 for place, size in zip((x, y), example.raster, strict=True))


def import_whole(scene_module, folder, example, **options):
    """A mesh that is not torn, of depth without holes."""
    mesh = import_example(scene_module, folder, replace(example, invalid_corner=False), **options).mesh
    set_input(mesh, "Tear at Depth Edges", False)
    set_input(mesh, "Fill Seams", False)
    return mesh


@pytest.mark.parametrize("example", [
    SMALL, replace(SMALL, zoom=1.0, principal=(0.0, 0.0)), replace(SMALL, zoom=1.4, principal=(-6.0, 4.5)),
    replace(SMALL, raster=(18, 32), clip=(36, 64)), replace(SMALL, pixel_aspect=0.5), replace(SMALL, depth_scale=50.0)])
def test_vertices_are_unprojected_depth(scene_module, tmp_path, example):
    mesh = import_whole(scene_module, tmp_path, example)
    for index in range(example.frame_count):
        show_frame(1 + index)
        assert_unprojected(mesh, replace(example, invalid_corner=False), index)


@pytest.mark.parametrize("step", [2, 3, 5, 31, 64])
def test_a_coarse_grid_stands_on_pixel_centers_too(scene_module, tmp_path, step):
    mesh = import_whole(scene_module, tmp_path, SMALL, step=step)
    show_frame(4)
    assert_unprojected(mesh, replace(SMALL, invalid_corner=False), 3, step)


def test_what_is_torn_leaves_only_vertices_on_their_rays(scene_module, tmp_path):
    mesh = import_example(scene_module, tmp_path, SMALL).mesh
    set_input(mesh, "Fill Seams", False)
    show_frame(4)
    vertices, faces = evaluated_mesh(mesh)
    columns, rows = pixels_of(vertices, SMALL, 3)
    depth = depth_of(SMALL, 3)
    assert len(vertices) > 500 and len({index for face in faces for index in face}) == len(vertices)
    assert np.allclose(-vertices[:, 2], depth[rows, columns], rtol=1e-4, atol=0.0)
    assert len(set(zip(columns, rows, strict=True))) > 0.8 * (depth > 0).sum()


def test_large_rasters_get_a_grid_that_plays(scene_module, tmp_path):
    example = Example(raster=(400, 225), clip=(400, 225), frame_count=2)
    mesh = import_example(scene_module, tmp_path, example).mesh
    show_frame(1)
    assert 20_000 < len(evaluated_mesh(mesh)[0]) <= 60_000
    assert len(mesh.data.vertices) == 4  # the grid is not in the file


def test_uvs_are_the_places_in_the_plate(scene_module, tmp_path):
    thing = import_example(scene_module, tmp_path, SMALL).mesh
    set_input(thing, "Fill Seams", False)
    show_frame(3)
    fx, fy, cx, cy = intrinsics(SMALL, 2)
    evaluated = thing.evaluated_get(bpy.context.evaluated_depsgraph_get())
    data = evaluated.to_mesh()
    assert data.uv_layers.active.name == "UVMap"
    slots = [material.name for material in thing.data.materials]
    assert [material.name for material in data.materials[:len(slots)]] == slots
    for loop, uv in zip(data.loops, data.uv_layers["UVMap"].data, strict=True):
        x, y, z = data.vertices[loop.vertex_index].co
        assert tuple(uv.uv) == pytest.approx(((x / -z * fx + cx) / 32, 1.0 - (cy - y / -z * fy) / 18), abs=1e-5)
    evaluated.to_mesh_clear()


def test_first_and_last_depth_are_held(scene_module, tmp_path):
    mesh = import_example(scene_module, tmp_path, replace(SMALL, zoom=1.0)).mesh
    at = {}
    for frame in (-5, 1, 6, 90):
        show_frame(frame)
        at[frame] = evaluated_mesh(mesh)[0]
    assert np.array_equal(at[-5], at[1]) and np.array_equal(at[90], at[6])


@pytest.mark.parametrize("numbering", [
    {"first_number": 101}, {"first_number": 101, "files_by_clip_frame": True}, {"first_number": 0},
    {"first_number": 2**24 - 7}])
def test_clips_placed_anywhere_and_numbered_anyhow_play_their_own_frames(scene_module, tmp_path, numbering):
    example = replace(SMALL, first_frame=3, **numbering)
    write_job_folder(tmp_path, replace(example, invalid_corner=False))
    clip = bpy.data.movieclips.load(str(plate_file(tmp_path / "clip", example, 1)))
    clip.frame_start = 50
    mesh = import_whole(scene_module, tmp_path, example, clip=clip)
    assert (bpy.context.scene.frame_start, bpy.context.scene.frame_end) == (52, 57)
    for index in (0, 1, 5):
        show_frame(52 + index)
        assert_unprojected(mesh, replace(example, invalid_corner=False), index)


def test_no_face_spans_a_depth_edge_or_touches_invalid_depth(scene_module, tmp_path):
    mesh = import_example(scene_module, tmp_path, SMALL).mesh
    show_frame(3)
    vertices, faces = evaluated_mesh(mesh)
    depth = -vertices[np.array(faces), 2]
    assert (depth > 0).all()
    assert np.log(depth.max(axis=1) / depth.min(axis=1)).max() <= 0.1 + 1e-5
    assert len(faces) > 0.9 * 33 * 19 - 40


def test_tearing_can_be_turned_off_and_tuned_on_the_modifier(scene_module, tmp_path):
    mesh = import_example(scene_module, tmp_path, SMALL).mesh
    show_frame(3)
    set_input(mesh, "Fill Seams", False)
    torn = len(evaluated_mesh(mesh)[1])
    set_input(mesh, "Tear Threshold", 0.01)
    shredded = len(evaluated_mesh(mesh)[1])
    set_input(mesh, "Tear at Depth Edges", False)
    vertices, faces = evaluated_mesh(mesh)
    assert shredded < torn < len(faces) < 33 * 19
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
    rays = unprojected(replace(SMALL, zoom=1.0, invalid_corner=False), 2)
    rays = (rays / -rays[..., 2:]).reshape(-1, 3)[:, :2]
    miss = np.abs(seams[:, None, :2] / -seams[:, None, 2:] - rays[None]).max(axis=-1).min(axis=-1)
    assert miss.max() < 1e-5


def test_a_frame_without_depth_shows_nothing(scene_module, tmp_path, contract):
    result = write_job_folder(tmp_path, SMALL)
    frames = (*result.frames[:2], replace(result.frames[2], depth=None, mesh_depth=None), *result.frames[3:])
    contract.JobFolder(tmp_path).write_result(replace(result, frames=frames))
    for product in ("depth", "mesh_depth"):
        (tmp_path / product / "0003.exr").unlink()
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
    set_input(imported.mesh, "Shown Material", 1)
    depth = depth_of(example, 5)
    near, far = imported.result.depth_range
    expected = (1 / depth - 1 / far) / (1 / near - 1 / far)
    shown = render(scene, tmp_path / "look.exr", 26)[..., 0]
    assert np.median(np.abs(shown - expected)) < 0.01
    assert shown[18, 20] > 0.9 > 0.5 > shown[2, 60]


def add_movie_clip_picture(scene, clip) -> None:
    """The compositor shows the clip as Blender itself plays it."""
    tree, picture = empty_tree(scene)
    footage = tree.nodes.new("CompositorNodeMovieClip")
    footage.clip = clip
    tree.links.new(footage.outputs["Image"], picture)


@pytest.mark.slow
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
    assert set(images) == {"depth", "confidence", "motion_mask", "mesh_depth"}
    for image in images.values():
        assert (image.source, image.colorspace_settings.name, image.use_half_precision) \
            == ("SEQUENCE", "Non-Color", False)


def test_a_rewritten_result_is_read_again(scene_module, tmp_path):
    example = replace(SMALL, zoom=1.0, invalid_corner=False)
    mesh = import_whole(scene_module, tmp_path, example)
    show_frame(1)
    before = evaluated_mesh(mesh)[0]
    rewrite(tmp_path, "depth", 1, 2.0 * depth_of(example, 0))
    imported = scene_module.import_result(bpy.context.scene, tmp_path)
    show_frame(1)
    assert np.allclose(evaluated_mesh(imported.mesh)[0], 2.0 * before, atol=1e-4)


def pictures_read(mesh: bpy.types.Object) -> set[str]:
    """By the folders they lie in."""
    nodes = mesh.modifiers[0].node_group.nodes
    images = [node.inputs["Image"].default_value for node in nodes if node.bl_idname == "GeometryNodeImageTexture"]
    return {Path(image.filepath).parent.name for image in images}


def test_the_mesh_plays_from_one_picture_and_an_earlier_versions_from_three(scene_module, tmp_path):
    example = replace(SMALL, invalid_corner=False)
    clip = tmp_path / "clip"
    shown = {}
    for name, has_one in (("earlier", False), ("job", True)):
        mesh = import_example(scene_module, tmp_path / name, replace(example, job_id=name, has_mesh_depth=has_one),
                              clip_folder=clip).mesh
        write_doubts(tmp_path / name, 2)
        show_frame(2)
        shown[name] = evaluated_mesh(mesh)
        assert pictures_read(mesh) == ({"mesh_depth"} if has_one else {"depth", "confidence", "motion_mask"})
    (earlier, earlier_faces), (now, faces) = shown.values()
    assert np.array_equal(earlier_faces, faces) and np.allclose(now, earlier, rtol=1e-5, atol=1e-6)


# --- What the artist can change on the modifier --------------------------------------------------------------------

@pytest.fixture
def inputs(addon):
    return importlib.import_module(f"{addon.__name__}.scene.data.modifier_inputs")


def key_input(inputs, mesh: bpy.types.Object, name: str, at: dict) -> None:
    for frame, value in at.items():
        set_input(mesh, name, value)
        assert mesh.keyframe_insert(inputs.input_path(mesh.modifiers[0], name), frame=frame)


def test_a_keyed_tear_threshold_changes_the_mesh_from_frame_to_frame(scene_module, inputs, tmp_path):
    """The depth of both frames is the same, so it is the key that tears."""
    mesh = import_example(scene_module, tmp_path, SMALL).mesh
    rewrite(tmp_path, "depth", 5, depth_of(SMALL, 0))
    set_input(mesh, "Fill Seams", False)
    key_input(inputs, mesh, "Tear Threshold", {1: 0.005, 5: 1.0})
    shown = []
    for frame in (1, 5):
        show_frame(frame)
        vertices, faces = evaluated_mesh(mesh)
        depth = -vertices[np.array(faces), 2]
        shown.append(np.log(depth.max(axis=1) / depth.min(axis=1)).max())
    assert shown[0] <= 0.005 < 0.3 < shown[1] <= 1.0


def test_step_is_animatable_and_an_input_as_any_other(scene_module, inputs, tmp_path):
    mesh = import_whole(scene_module, tmp_path, SMALL)
    key_input(inputs, mesh, "Step", {1: 4, 4: 1})
    for frame, step in ((1, 4), (4, 1)):
        show_frame(frame)
        assert_unprojected(mesh, replace(SMALL, invalid_corner=False), frame - 1, step)


def write_confidence(folder, frame: int) -> np.ndarray:
    """Of a frame in which nothing moves: from 0 in the first row to 1 in the last."""
    rewrite(folder, "motion_mask", frame, np.zeros((18, 32), np.float32))
    confidence = np.linspace(0.0, 1.0, 32 * 18).reshape(18, 32).astype(np.float32)
    rewrite(folder, "confidence", frame, confidence)
    return confidence


def shown_pixels(mesh: bpy.types.Object, example: Example, index: int) -> np.ndarray:
    """(H,W) True where the mesh has a vertex."""
    vertices, _ = evaluated_mesh(mesh)
    columns, rows = pixels_of(vertices, example, index)
    picture = np.zeros(example.raster[::-1], bool)
    picture[rows, columns] = True
    return picture


def test_what_is_less_sure_than_the_threshold_is_gone_and_the_threshold_can_be_keyed(scene_module, inputs, tmp_path):
    mesh = import_whole(scene_module, tmp_path, SMALL)
    confidence = {frame: write_confidence(tmp_path, frame) for frame in (2, 6)}
    key_input(inputs, mesh, "Least Confidence", {2: 0.3, 6: 0.7})
    for frame, least in ((2, 0.3), (6, 0.7)):
        show_frame(frame)
        shown = shown_pixels(mesh, SMALL, frame - 1)
        assert not shown[confidence[frame] < least - 1 / 256].any()  # it is read in steps
        whole_rows = (confidence[frame] >= least).all(axis=1)
        assert whole_rows.sum() >= 4 and shown[whole_rows].all()


GUESSED, DOUBTED, MEASURED = 0.1, 0.3, 0.9
WALKER_PX = slice(4, 12), slice(6, 20)


def write_doubts(folder, frame: int) -> tuple[np.ndarray, np.ndarray]:
    """Confidence and what moves: guessed in the left third, doubted in the middle, measured at the right. What moves
    stands in two of them, and has the confidence that the engine gives what moves."""
    confidence = np.repeat(np.float32([[GUESSED] * 12 + [DOUBTED] * 10 + [MEASURED] * 10]), 18, axis=0)
    moves = np.zeros((18, 32), bool)
    moves[WALKER_PX] = True
    confidence[moves] = GUESSED
    rewrite(folder, "confidence", frame, confidence)
    rewrite(folder, "motion_mask", frame, moves.astype(np.float32))
    return confidence, moves


def test_as_imported_the_mesh_leaves_out_what_was_guessed_and_holds_what_moves(scene_module, tmp_path):
    mesh = import_whole(scene_module, tmp_path, SMALL)
    confidence, moves = write_doubts(tmp_path, 2)
    show_frame(2)
    assert np.array_equal(shown_pixels(mesh, SMALL, 1), (confidence > GUESSED) | moves)
    set_input(mesh, "Least Confidence", 0.5)
    assert np.array_equal(shown_pixels(mesh, SMALL, 1), (confidence > DOUBTED) | moves)
    set_input(mesh, "Moving Parts", False)
    assert np.array_equal(shown_pixels(mesh, SMALL, 1), confidence > DOUBTED)
    set_input(mesh, "Least Confidence", 0.0)
    assert np.array_equal(shown_pixels(mesh, SMALL, 1), ~moves)
    set_input(mesh, "Moving Parts", True)
    assert_unprojected(mesh, replace(SMALL, invalid_corner=False), 1)


def test_as_hold_out_the_mesh_goes_by_a_confidence_of_its_own(scene_module, tmp_path):
    mesh = import_whole(scene_module, tmp_path, SMALL)
    confidence, moves = write_doubts(tmp_path, 2)
    show_frame(2)
    set_input(mesh, "Hold-Out Confidence", 0.5)
    assert np.array_equal(shown_pixels(mesh, SMALL, 1), (confidence > GUESSED) | moves)
    set_input(mesh, "Hold-Out", True)
    assert np.array_equal(shown_pixels(mesh, SMALL, 1), (confidence > DOUBTED) | moves)
    set_input(mesh, "Hold-Out Confidence", 0.0)
    assert_unprojected(mesh, replace(SMALL, invalid_corner=False), 1)


def write_sky(contract, folder, frame: int, sure: float) -> tuple[np.ndarray, np.ndarray]:
    """Its upper third, at confidence sure, beside what is guessed, doubted, measured, and what moves; and what of the
    others is shown as imported."""
    confidence, moves = write_doubts(folder, frame)
    sky = np.zeros((18, 32), bool)
    sky[:6] = True
    sky &= ~moves
    rewrite(folder, "confidence", frame, np.where(sky, np.float32(sure), confidence))
    write_mesh_depth(contract.JobFolder(folder), frame, sky)
    return sky, ~sky & ((confidence > GUESSED) | moves)


@pytest.mark.parametrize("sure", [0.1, 0.2, 0.4, 0.9])
def test_the_sky_is_a_part_of_its_own_whatever_its_confidence_and_off_at_first(scene_module, contract, tmp_path, sure):
    mesh = import_whole(scene_module, tmp_path, SMALL)
    sky, others = write_sky(contract, tmp_path, 2, sure)
    show_frame(2)
    assert np.array_equal(shown_pixels(mesh, SMALL, 1), others)
    set_input(mesh, "Sky", True)
    assert np.array_equal(shown_pixels(mesh, SMALL, 1), sky | others)
    set_input(mesh, "Sky", False)
    set_input(mesh, "Least Confidence", 0.0)
    assert np.array_equal(shown_pixels(mesh, SMALL, 1), ~sky)


@pytest.mark.parametrize(("least", "shows"), [(0.0, True), (0.2, True), (0.4, False)])
def test_a_mesh_of_an_earlier_version_goes_on_showing_the_sky(scene_module, inputs, tmp_path, least, shows):
    """As far as its confidence let it; and what was chosen since is kept."""
    clip = tmp_path / "clip"
    mesh = import_example(scene_module, tmp_path / "job", replace(SMALL, has_mesh_depth=False), clip_folder=clip).mesh
    assert not inputs.has_input(mesh.modifiers[0], "Sky"), "a result that does not tell the sky has no such setting"
    set_input(mesh, "Least Confidence", least)
    import_example(scene_module, tmp_path / "again", replace(SMALL, job_id="again"), clip_folder=clip)
    assert inputs.get_input(mesh.modifiers[0], "Sky") is shows
    set_input(mesh, "Sky", not shows)
    import_example(scene_module, tmp_path / "last", replace(SMALL, job_id="last"), clip_folder=clip)
    assert inputs.get_input(mesh.modifiers[0], "Sky") is not shows


def test_without_a_motion_mask_confidence_alone_decides(scene_module, tmp_path, contract):
    result = write_job_folder(tmp_path, replace(SMALL, invalid_corner=False))
    frames = tuple(replace(frame, motion_mask=None) for frame in result.frames)
    contract.JobFolder(tmp_path).write_result(replace(result, frames=frames))
    mesh = scene_module.import_result(bpy.context.scene, tmp_path).mesh
    for name in ("Tear at Depth Edges", "Fill Seams"):
        set_input(mesh, name, False)
    confidence, _ = write_doubts(tmp_path, 2)
    show_frame(2)
    assert np.array_equal(shown_pixels(mesh, SMALL, 1), confidence > GUESSED)


@pytest.mark.parametrize(("still", "moving"), [(True, True), (True, False), (False, True), (False, False)])
def test_still_and_moving_parts_can_be_left_out(scene_module, tmp_path, still, moving):
    mesh = import_whole(scene_module, tmp_path, SMALL)
    moves = np.zeros((18, 32), np.float32)
    moves[4:12, 6:20] = 1.0
    rewrite(tmp_path, "motion_mask", 2, moves)
    set_input(mesh, "Still Parts", still)
    set_input(mesh, "Moving Parts", moving)
    show_frame(2)
    assert np.array_equal(shown_pixels(mesh, SMALL, 1), np.where(moves > 0, moving, still))


def test_filters_of_products_that_are_not_there_let_everything_through(scene_module, tmp_path, contract):
    example = replace(SMALL, invalid_corner=False)
    result = write_job_folder(tmp_path, example)
    frames = tuple(replace(frame, confidence=None, motion_mask=None) for frame in result.frames)
    contract.JobFolder(tmp_path).write_result(replace(result, frames=frames))
    mesh = scene_module.import_result(bpy.context.scene, tmp_path).mesh
    for name, value in {"Tear at Depth Edges": False, "Least Confidence": 0.9, "Still Parts": False}.items():
        set_input(mesh, name, value)
    show_frame(2)
    assert_unprojected(mesh, example, 1)


def test_what_is_set_on_the_modifier_survives_another_import(scene_module, inputs, tmp_path):
    mesh = import_whole(scene_module, tmp_path / "job", SMALL, clip_folder=tmp_path / "clip")
    key_input(inputs, mesh, "Least Confidence", {1: 0.2, 3: 0.4})
    set_input(mesh, "Step", 4)
    set_input(mesh, "Hold-Out Confidence", 0.6)
    mine = bpy.data.materials.new("mine")
    mesh.data.materials[0] = mine
    again = import_example(scene_module, tmp_path / "again", replace(SMALL, job_id="again"),
                           clip_folder=tmp_path / "clip").mesh
    modifier = again.modifiers[0]
    assert again == mesh and again.data.materials[0] == mine
    assert [inputs.get_input(modifier, name) for name in ("Step", "Tear at Depth Edges", "Fill Seams")] \
        == [4, False, False]
    show_frame(2)
    assert inputs.get_input(modifier, "Least Confidence") == pytest.approx(0.3, abs=1e-6)
    assert inputs.get_input(modifier, "Hold-Out Confidence") == pytest.approx(0.6, abs=1e-6)


def test_an_artist_who_wants_everything_keeps_everything(scene_module, inputs, tmp_path):
    mesh = import_whole(scene_module, tmp_path / "job", SMALL, clip_folder=tmp_path / "clip")
    set_input(mesh, "Least Confidence", 0.0)
    again = replace(SMALL, invalid_corner=False, job_id="again")
    import_example(scene_module, tmp_path / "again", again, clip_folder=tmp_path / "clip")
    write_doubts(tmp_path / "again", 2)
    show_frame(2)
    assert inputs.get_input(mesh.modifiers[0], "Least Confidence") == 0.0
    assert_unprojected(mesh, again, 1)


@pytest.mark.slow
def test_a_step_that_nobody_chose_follows_the_raster(scene_module, inputs, tmp_path):
    large = Example(raster=(400, 225), clip=(400, 225), frame_count=2)
    mesh = import_example(scene_module, tmp_path / "job", replace(large, raster=(200, 112)),
                          clip_folder=tmp_path / "clip").mesh
    assert inputs.get_input(mesh.modifiers[0], "Step") == 1
    import_example(scene_module, tmp_path / "again", large, clip_folder=tmp_path / "clip")
    assert inputs.get_input(mesh.modifiers[0], "Step") == 2


def test_mesh_detail_sets_the_step_and_says_when_there_is_no_mesh(scene_module, tmp_path):
    assert not bpy.ops.stereodiff.mesh_detail.poll()
    mesh = import_whole(scene_module, tmp_path, SMALL)
    show_frame(2)
    assert bpy.ops.stereodiff.mesh_detail(step=6) == {"FINISHED"}
    assert_unprojected(mesh, replace(SMALL, invalid_corner=False), 1, 6)
    mesh.modifiers.clear()
    with pytest.raises(RuntimeError, match="modifier applied; import again"):
        bpy.ops.stereodiff.mesh_detail(step=2)


def test_undo_takes_mesh_detail_back(scene_module, inputs, tmp_path):
    import_example(scene_module, tmp_path, SMALL, step=3)
    bpy.ops.ed.undo_push(message="imported")
    bpy.ops.stereodiff.mesh_detail(step=7)
    bpy.ops.ed.undo_push(message="detail")
    bpy.ops.ed.undo()
    modifier = next(o for o in bpy.context.scene.objects if o.type == "MESH").modifiers[0]
    assert inputs.get_input(modifier, "Step") == 3
