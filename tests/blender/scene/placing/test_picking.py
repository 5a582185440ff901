"""Points for placing an import, picked from the scene: clicks, markers, what is selected, the 3D cursor."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import bpy
import numpy as np
import pytest
from job_folder import WALL_NORMAL, WALL_OFFSET, write_job_folder
from mathutils import Matrix, Vector
from placed_import import EXAMPLE, FLOOR, MOVED, given, in_world, views
from scene_checks import show_frame

from stereodiff_blender.engine.contract import Distortion, JobFolder
from stereodiff_blender.scene.result import camera_math


def ray_through(imported, x: float, y: float) -> tuple[Vector, Vector]:
    """World ray of the imported camera through a place of the picture, 0..1 from left and bottom."""
    corners = imported.camera.data.view_frame(scene=bpy.context.scene)
    right, up = corners[0] - corners[3], corners[0] - corners[1]
    place = imported.camera.matrix_world @ (corners[2] + right * x + up * y)
    origin = imported.camera.matrix_world.translation
    return origin, place - origin


def hit(parts, imported, x, y):
    found = parts["imports"].chosen_import(bpy.context)
    depsgraph = bpy.context.evaluated_depsgraph_get()
    return parts["picking"].hit_mesh(bpy.context.scene, depsgraph, found, *ray_through(imported, x, y))


def test_a_click_finds_the_displaced_mesh(parts, imported):
    """On the wall, which is flat, the hit is where the analytic scene has it."""
    show_frame(1)
    place = imported.root.matrix_world.inverted() @ Vector(hit(parts, imported, 0.85, 0.8))
    engine = np.array([place.x, -place.z, place.y])
    assert engine @ [0.25, -0.1, 1.0] == pytest.approx(5.0, abs=2e-3)


@pytest.mark.parametrize("lens", [None, Distortion(-0.25, 0.08)])
@pytest.mark.parametrize("height", [0.97, 0.5, 0.03])
def test_a_click_goes_by_the_camera_of_its_own_row(parts, tmp_path, height, lens):
    """In the middle that is the frame's camera; above and below, a place taken for that one's would be off the wall."""
    example = replace(EXAMPLE, readout=0.8, distortion=lens)
    write_job_folder(tmp_path, example)
    made = parts["scene"].import_result(bpy.context.scene, tmp_path)
    made.root.matrix_world = MOVED
    show_frame(4)
    place = np.array(made.root.matrix_world.inverted() @ Vector(hit(parts, made, 0.9, height)))
    engine = place @ camera_math.WORLD_TO_Z_UP[:3, :3]
    assert engine @ WALL_NORMAL == pytest.approx(WALL_OFFSET, abs=4e-3)
    result = JobFolder(tmp_path).read_result()
    JobFolder(tmp_path).write_result(replace(result, lens=replace(result.lens, readout=0.0)))
    parts["scene"].import_result(bpy.context.scene, tmp_path)
    show_frame(4)
    as_at_once = np.array(made.root.matrix_world.inverted() @ Vector(hit(parts, made, 0.9, height)))
    off = abs(as_at_once @ camera_math.WORLD_TO_Z_UP[:3, :3] @ WALL_NORMAL - WALL_OFFSET)
    assert (off > 0.01) == (height != 0.5)


def test_a_click_looks_through_what_is_not_of_the_import(parts, imported):
    show_frame(1)
    wanted = hit(parts, imported, 0.85, 0.8)
    bpy.ops.mesh.primitive_plane_add(size=200.0)
    origin, way = ray_through(imported, 0.5, 0.5)
    bpy.context.object.matrix_world = Matrix.Translation(origin + way.normalized() * 0.5) \
        @ imported.camera.matrix_world.to_3x3().normalized().to_4x4()
    show_frame(1)
    bpy.context.view_layer.objects.active = imported.mesh
    assert np.allclose(hit(parts, imported, 0.85, 0.8), wanted, atol=1e-4)


def test_a_click_into_the_void_finds_nothing(parts, imported):
    show_frame(1)
    found = parts["imports"].chosen_import(bpy.context)
    origin, way = ray_through(imported, 0.5, 0.5)
    depsgraph = bpy.context.evaluated_depsgraph_get()
    assert parts["picking"].hit_mesh(bpy.context.scene, depsgraph, found, origin, -way) is None


def test_markers_lie_under_the_root_and_give_the_floor(imported):
    wanted = in_world(imported, FLOOR)
    assert bpy.ops.stereodiff.pick_points(role="FLOOR", coordinates=wanted.ravel()) == {"FINISHED"}
    marks = [bpy.data.objects[f"{imported.shot.name} Floor {letter}"] for letter in "ABC"]
    bpy.context.view_layer.update()
    assert np.allclose([m.matrix_world.translation for m in marks], wanted, atol=1e-5)
    assert all(m.parent == imported.root and m.users_collection == (imported.collection,) for m in marks)
    assert bpy.ops.stereodiff.orient_floor(source="MARKERS") == {"FINISHED"}
    bpy.context.view_layer.update()
    assert max(abs(m.matrix_world.translation.z) for m in marks) < 1e-5
    assert np.allclose([m.matrix_world.translation for m in marks], in_world(imported, FLOOR), atol=1e-5)


def test_picking_again_moves_the_markers_and_makes_no_more(imported):
    for _ in range(2):
        bpy.ops.stereodiff.pick_points(role="SCALE", coordinates=(0, 0, 0, 1, 0, 0, 9, 9, 9))
    assert len([o for o in bpy.data.objects if "Scale" in o.name]) == 2
    bpy.ops.stereodiff.set_scale("EXEC_DEFAULT", source="MARKERS", distance=7.0)
    bpy.context.view_layer.update()
    a, b = (bpy.data.objects[f"{imported.shot.name} Scale {letter}"].matrix_world.translation for letter in "AB")
    assert (b - a).length == pytest.approx(7.0, rel=1e-5)


def test_another_import_keeps_the_markers(parts, imported, tmp_path):
    bpy.ops.stereodiff.pick_points(role="ORIGIN", coordinates=(1, 2, 3, 0, 0, 0, 0, 0, 0))
    parts["scene"].import_result(bpy.context.scene, tmp_path)
    bpy.context.view_layer.update()
    mark = bpy.data.objects[f"{imported.shot.name} Origin"]
    assert np.allclose(mark.matrix_world.translation, (1, 2, 3), atol=1e-5)


def test_without_markers_it_says_so(imported):
    with pytest.raises(RuntimeError, match="no marker Floor A, Floor B, Floor C"):
        bpy.ops.stereodiff.orient_floor(source="MARKERS")


def click(x: float, y: float, kind: str = "LEFTMOUSE") -> SimpleNamespace:
    """An event at a place of the region, in pixels; background Blender has none of its own."""
    return SimpleNamespace(type=kind, value="PRESS", mouse_region_x=x, mouse_region_y=y)


@pytest.fixture
def clicking(addon, imported):
    """The picking operator's own methods, at work in a 3D View that looks at the mesh from near the solved camera."""
    window = bpy.context.window_manager.windows[0]
    area = max(window.screen.areas, key=lambda area: area.width * area.height)
    area.type = "VIEW_3D"
    region = next(region for region in area.regions if region.type == "WINDOW")
    view = area.spaces.active.region_3d
    show_frame(1)
    imported.root.matrix_world = view.view_matrix.inverted() @ imported.camera.matrix_basis.inverted()
    operator = addon.ui.operators.placing.STEREODIFF_OT_pick_points
    said = []
    stand_in = SimpleNamespace(picked=[], said=said, report=lambda kind, text: said.append(text))
    for method in ("_say", "_end", "modal"):
        setattr(stand_in, method, getattr(operator, method).__get__(stand_in))
    with bpy.context.temp_override(window=window, screen=window.screen, area=area, region=region,
                                   space_data=area.spaces.active, region_data=view):
        yield stand_in, region


def test_three_clicks_place_the_markers_and_level_the_floor(imported, clicking):
    operator, region = clicking
    operator.role = "FLOOR"
    seen = views(imported)
    middle = np.array([region.width, region.height]) / 2
    steps = [operator.modal(bpy.context, click(*(middle + offset))) for offset in ((-40, -20), (40, -20), (0, 40))]
    assert steps == [{"RUNNING_MODAL"}, {"RUNNING_MODAL"}, {"FINISHED"}] and operator.said == []
    bpy.context.view_layer.update()
    marks = [bpy.data.objects[f"{imported.shot.name} Floor {letter}"] for letter in "ABC"]
    assert max(abs(m.matrix_world.translation.z) for m in marks) < 1e-5
    assert np.linalg.norm(operator.picked[0] - operator.picked[1]) > 0.1
    assert np.abs(views(imported) - seen).max() < 1e-5


def test_clicks_that_give_no_plane_are_said_to_and_leave_the_root(imported, clicking):
    operator, region = clicking
    operator.role = "FLOOR"
    before = [list(row) for row in imported.root.matrix_basis]
    for _ in range(3):
        operator.modal(bpy.context, click(region.width / 2, region.height / 2))
    assert len(operator.said) == 1 and "The points lie on one line" in operator.said[0]
    assert [list(row) for row in imported.root.matrix_basis] == before


def test_a_click_beside_the_mesh_says_so_and_waits_for_another(imported, clicking):
    operator, region = clicking
    operator.role = "ORIGIN"
    imported.root.location += Vector((1e4, 0, 0))
    assert operator.modal(bpy.context, click(region.width / 2, region.height / 2)) == {"RUNNING_MODAL"}
    assert operator.said == ["There is no mesh of the import under the pointer."]
    assert operator.modal(bpy.context, click(0, 0, "MIDDLEMOUSE")) == {"PASS_THROUGH"}, "the view can be turned"
    assert operator.modal(bpy.context, click(-5, 5)) == {"PASS_THROUGH"}, "other regions get their clicks"
    assert operator.modal(bpy.context, click(0, 0, "ESC")) == {"CANCELLED"}


def select_only(things, active) -> None:
    for thing in bpy.context.scene.objects:
        thing.select_set(thing in things)
    bpy.context.view_layer.objects.active = active


def test_selected_objects_are_points_and_the_active_one_comes_last(imported):
    places = in_world(imported, FLOOR[:2])
    empties = [bpy.data.objects.new(name, None) for name in ("z first", "a last")]
    for empty, place in zip(empties, places, strict=True):
        bpy.context.scene.collection.objects.link(empty)
        empty.location = place
        empty.parent = None
    select_only(empties, empties[1])
    bpy.ops.stereodiff.orient_floor(**given(in_world(imported, FLOOR)))
    for empty, place in zip(empties, in_world(imported, FLOOR[:2]), strict=True):
        empty.location = place
    bpy.ops.stereodiff.set_axis(source="SELECTED", axis="Y")
    way = np.diff(in_world(imported, FLOOR[:2]), axis=0)[0, :2]
    assert np.allclose(way / np.linalg.norm(way), (0, 1), atol=1e-5)


def test_selected_vertices_of_a_mesh_are_points(imported):
    mesh = bpy.data.meshes.new("baked")
    mesh.from_pydata([*map(tuple, FLOOR), (0, 0, 0)], [], [])
    thing = bpy.data.objects.new("baked", mesh)
    bpy.context.scene.collection.objects.link(thing)
    thing.parent = imported.root
    select_only([thing], thing)
    for index, vertex in enumerate(mesh.vertices):
        vertex.select = index < 3
    bpy.ops.object.mode_set(mode="EDIT")
    try:
        assert bpy.ops.stereodiff.orient_floor(source="SELECTED") == {"FINISHED"}
    finally:
        bpy.ops.object.mode_set(mode="OBJECT")
    assert np.abs(in_world(imported, FLOOR)[:, 2]).max() < 1e-5


def test_too_few_selected_points_are_refused(imported):
    select_only([imported.camera], imported.camera)
    with pytest.raises(RuntimeError, match="3 points are needed, 1 are there"):
        bpy.ops.stereodiff.orient_floor(source="SELECTED")


def test_the_3d_cursor_becomes_the_origin(imported):
    bpy.context.scene.cursor.location = in_world(imported, FLOOR[2])[0]
    bpy.ops.stereodiff.set_origin(source="CURSOR")
    assert np.abs(in_world(imported, FLOOR[2])).max() < 1e-5
