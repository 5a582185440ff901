"""Placing the import: floor, axis, origin and scale, by its root alone and with everything still in register."""

from __future__ import annotations

from dataclasses import replace

import bpy
import numpy as np
import pytest
from job_folder import Example, write_job_folder
from mathutils import Matrix
from placed_import import EXAMPLE, FLOOR, given, in_world, views
from scene_checks import evaluated_mesh, show_frame


def everything_but_the_root(imported) -> dict:
    """What an operator of this kind has no business with."""
    camera = imported.camera
    return {"camera": [list(row) for row in camera.matrix_basis], "lens": camera.data.lens,
            "mesh": [list(row) for row in imported.mesh.matrix_basis], "parent": imported.mesh.parent.name,
            "others": {o.name for o in bpy.data.objects}}


# --- Floor ---------------------------------------------------------------------------------------------------------

def test_three_points_become_the_level_floor(imported):
    seen, untouched = views(imported), everything_but_the_root(imported)
    assert bpy.ops.stereodiff.orient_floor(**given(in_world(imported, FLOOR))) == {"FINISHED"}
    assert np.abs(in_world(imported, FLOOR)[:, 2]).max() < 1e-5
    assert imported.camera.matrix_world.translation.z > 0.1
    assert np.abs(views(imported) - seen).max() < 1e-5
    assert everything_but_the_root(imported) == untouched


def test_the_order_of_the_points_does_not_turn_the_world_over(imported):
    for order in ([0, 1, 2], [2, 1, 0]):
        bpy.ops.stereodiff.orient_floor(**given(in_world(imported, FLOOR[order])))
        bpy.context.view_layer.update()
        assert imported.camera.matrix_world.translation.z > 0.1


def test_the_turn_is_the_smallest(parts):
    """A floor that is level already only moves up or down, and the heading stays."""
    points = np.array([[0.0, 1.0, 0.4], [2.0, 1.0, 0.4], [0.0, 4.0, 0.4]])
    change = parts["orientation"].floor_change(points, (0.0, 0.0, 3.0))
    assert np.allclose(change, [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, -0.4], [0, 0, 0, 1]])
    over = parts["orientation"].floor_change(points, (0.0, 0.0, -3.0))
    assert np.allclose(points @ over[:3, :3].T + over[:3, 3], points * [1, -1, 0] + [0, 2 * points[:, 1].mean(), 0])
    assert np.linalg.det(over[:3, :3]) == pytest.approx(1.0)


def test_many_noisy_points_give_their_plane(parts):
    rng = np.random.default_rng(1)
    flat = np.column_stack([rng.uniform(-3, 3, (200, 2)), rng.normal(0, 0.01, 200)])
    turn = np.array(Matrix.Rotation(0.5, 3, (1.0, 0.4, 0.2)))
    change = parts["orientation"].floor_change(flat @ turn.T, turn @ (0.0, 0.0, 5.0))
    placed = flat @ turn.T @ change[:3, :3].T + change[:3, 3]
    assert abs(np.mean(placed[:, 2])) < 1e-9 and np.std(placed[:, 2]) < 0.011


@pytest.mark.parametrize(("points", "word"), [
    ([[0, 0, 0], [1, 1, 1], [2, 2, 2]], "one line"), ([[0, 0, 0], [0, 0, 0], [0, 0, 0]], "one line"),
])
def test_points_that_give_no_plane_are_refused(imported, points, word):
    before = imported.root.matrix_world.copy()
    with pytest.raises(RuntimeError, match=word):
        bpy.ops.stereodiff.orient_floor(**given(points))
    assert imported.root.matrix_world == before


# --- Axis, origin, scale -------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("axis", "direction"), [("X", (1, 0)), ("Y", (0, 1)), ("-X", (-1, 0)), ("-Y", (0, -1))])
def test_the_way_between_two_points_becomes_an_axis(imported, axis, direction):
    bpy.ops.stereodiff.orient_floor(**given(in_world(imported, FLOOR)))
    seen = views(imported)
    bpy.ops.stereodiff.set_axis(axis=axis, **given(in_world(imported, FLOOR[:2])))
    placed = in_world(imported, FLOOR)
    way = (placed[1] - placed[0])[:2]
    assert np.allclose(way / np.linalg.norm(way), direction, atol=1e-5)
    assert np.abs(placed[:, 2]).max() < 1e-5, "the floor stays level"
    assert np.abs(views(imported) - seen).max() < 1e-5


def test_a_point_becomes_the_origin(imported):
    seen = views(imported)
    bpy.ops.stereodiff.set_origin(**given(in_world(imported, FLOOR[1])))
    assert np.abs(in_world(imported, FLOOR[1])).max() < 1e-5
    assert np.abs(views(imported) - seen).max() < 1e-5


def test_a_known_distance_sets_the_scale_and_the_floor_stays(imported):
    bpy.ops.stereodiff.orient_floor(**given(in_world(imported, FLOOR)))
    seen, reach = views(imported), imported.camera.data.clip_end
    bpy.ops.stereodiff.set_scale(distance=300.0, **given(in_world(imported, FLOOR[:2])))
    placed = in_world(imported, FLOOR)
    assert np.linalg.norm(placed[1] - placed[0]) == pytest.approx(300.0, rel=1e-5)
    assert np.abs(placed[:, 2]).max() < 1e-2
    assert np.abs(views(imported) - seen).max() < 1e-5
    assert imported.camera.data.clip_end > 50 * reach, "what was in reach still is"


def test_the_mesh_follows_every_step(imported):
    show_frame(3)
    local, _ = evaluated_mesh(imported.mesh)
    before = in_world(imported, FLOOR)
    bpy.ops.stereodiff.orient_floor(**given(before))
    bpy.ops.stereodiff.set_scale(distance=4.0, **given(in_world(imported, FLOOR[:2])))
    show_frame(3)
    again, _ = evaluated_mesh(imported.mesh)
    assert np.array_equal(local, again)
    expected = imported.root.matrix_world @ imported.camera.matrix_basis
    assert np.allclose(np.array(imported.mesh.matrix_world), np.array(expected), atol=1e-5)


@pytest.mark.parametrize(("points", "distance"), [([[1, 1, 1], [1, 1, 1]], 2.0)])
def test_no_distance_is_no_scale(imported, points, distance):
    with pytest.raises(RuntimeError, match="Two different points"):
        bpy.ops.stereodiff.set_scale(distance=distance, **given(points))


def test_a_vertical_way_is_no_axis(imported):
    with pytest.raises(RuntimeError, match="above the other"):
        bpy.ops.stereodiff.set_axis(**given([[1, 1, 1], [1, 1, 2]]))


def test_an_animated_root_is_refused_in_words(imported):
    imported.root.keyframe_insert("location", frame=1)
    with pytest.raises(RuntimeError, match="root is animated"):
        bpy.ops.stereodiff.set_origin(**given([[1, 1, 1]]))


def test_a_root_under_an_artists_empty_is_moved_all_the_same(imported):
    parent = bpy.data.objects.new("mine", None)
    bpy.context.scene.collection.objects.link(parent)
    parent.matrix_world = Matrix.Translation((0, 5, 0)) @ Matrix.Rotation(0.4, 4, "X")
    imported.root.parent = parent
    bpy.context.view_layer.update()
    bpy.ops.stereodiff.orient_floor(**given(in_world(imported, FLOOR)))
    assert np.abs(in_world(imported, FLOOR)[:, 2]).max() < 1e-5


def test_undo_brings_the_root_back_and_redo_forth(imported):
    """Blender pushes its undo step itself only where there are windows and events; so it is pushed here."""
    name, before = imported.root.name, np.array(imported.root.matrix_world)
    bpy.ops.ed.undo_push(message="before")
    assert bpy.ops.stereodiff.orient_floor(**given(in_world(imported, FLOOR))) == {"FINISHED"}
    bpy.ops.ed.undo_push(message="Orient Floor")
    after = np.array(bpy.data.objects[name].matrix_world)
    assert np.abs(after - before).max() > 0.1
    bpy.ops.ed.undo()
    assert np.allclose(np.array(bpy.data.objects[name].matrix_world), before, atol=1e-6)
    bpy.ops.ed.redo()
    assert np.allclose(np.array(bpy.data.objects[name].matrix_world), after, atol=1e-6)
    assert all({"REGISTER", "UNDO"} <= getattr(bpy.types, f"STEREODIFF_OT_{op}").bl_options
               for op in ("orient_floor", "set_axis", "set_origin", "set_scale", "pick_points"))


# --- Which import --------------------------------------------------------------------------------------------------

def test_the_active_objects_import_is_moved_and_no_other(parts, imported, tmp_path):
    example = replace(EXAMPLE, job_id="second", zoom=1.5)
    write_job_folder(tmp_path / "second", example, clip_folder=tmp_path / "elsewhere")
    second = parts["scene"].import_result(bpy.context.scene, tmp_path / "second")
    assert [i.root for i in parts["imports"].imports_in(bpy.context.scene)] == [imported.root, second.root]
    for chosen, other in ((imported, second), (second, imported)):
        bpy.context.view_layer.objects.active = chosen.mesh
        bpy.context.view_layer.update()
        kept, moved = other.root.matrix_world.copy(), chosen.root.matrix_world.copy()
        bpy.ops.stereodiff.set_origin(**given([[1, 1, 1]]))
        bpy.context.view_layer.update()
        assert other.root.matrix_world == kept and chosen.root.matrix_world != moved


def test_an_import_is_found_with_all_its_parts(parts, imported, tmp_path):
    found = parts["imports"].chosen_import(bpy.context)
    assert (found.root, found.camera, found.mesh, found.collection) == (
        imported.root, imported.camera, imported.mesh, imported.collection)
    assert {name: found.images[name] for name in imported.images} == imported.images
    assert found.folder.resolve() == tmp_path.resolve() and found.name == imported.shot.name
    assert found.clip == bpy.data.movieclips[0] and list(found.scene_frames) == list(imported.shot.scene_frames)
    assert found.read_imported_result() == imported.shot


def test_the_folder_is_found_without_depth(parts, tmp_path):
    write_job_folder(tmp_path, Example(camera_kind="rotation"))
    parts["scene"].import_result(bpy.context.scene, tmp_path)
    assert parts["imports"].chosen_import(bpy.context).folder == tmp_path


def test_the_folder_follows_when_the_file_and_it_move_together(parts, tmp_path):
    write_job_folder(tmp_path / "here" / "job", EXAMPLE)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "here" / "shot.blend"))
    parts["scene"].import_result(bpy.context.scene, tmp_path / "here" / "job")
    bpy.ops.wm.save_mainfile()
    (tmp_path / "here").rename(tmp_path / "there")
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "there" / "shot.blend"))
    assert parts["imports"].chosen_import(bpy.context).folder == tmp_path / "there" / "job"


def test_without_an_import_the_buttons_say_what_is_missing(addon):
    with pytest.raises(RuntimeError, match="Import a finished job first"):
        bpy.ops.stereodiff.orient_floor()


def test_a_deleted_root_is_named(imported):
    bpy.data.objects.remove(imported.root)
    with pytest.raises(RuntimeError, match="root of .* was deleted"):
        bpy.ops.stereodiff.set_origin(**given([[1, 1, 1]]))
