"""Placing the import: floor, axis, origin and scale, by its root alone and with everything still in register."""

from __future__ import annotations

import importlib
from dataclasses import replace
from types import SimpleNamespace

import bpy
import numpy as np
import pytest
from bpy_extras.object_utils import world_to_camera_view
from job_folder import Example, camera_to_world, intrinsics, write_gray, write_job_folder
from mathutils import Matrix, Vector
from scene_checks import evaluated_mesh, show_frame

EXAMPLE = Example(zoom=1.0)
MOVED = Matrix.Translation((3, -2, 1)) @ Matrix.Rotation(0.7, 4, (0.2, 0.5, 1.0)) @ Matrix.Scale(2.0, 4)
FLOOR_NORMAL = np.array([0.08, -0.95, -0.30]) / np.linalg.norm([0.08, -0.95, -0.30])  # up, engine's axes: y is down
FLOOR_BELOW = 1.2  # under the first camera, along the normal


@pytest.fixture
def parts(addon):
    """The modules under test, as the registered package knows them."""
    names = ("scene", "scene.placing.orientation", "scene.placing.floor", "scene.placing.picking", "scene.data.imports")
    return {name.rpartition(".")[2]: importlib.import_module(f"{addon.__name__}.{name}") for name in names}


@pytest.fixture
def imported(parts, tmp_path):
    write_job_folder(tmp_path, EXAMPLE)
    made = parts["scene"].import_result(bpy.context.scene, tmp_path)
    made.root.matrix_world = MOVED
    bpy.context.view_layer.update()
    return made


def in_world(imported, points) -> np.ndarray:
    """Points given under the root, where Blender has them."""
    bpy.context.view_layer.update()
    return np.array([imported.root.matrix_world @ Vector(p) for p in np.atleast_2d(points)])


def views(imported) -> np.ndarray:
    """Where the camera sees some points that hang under the root: constant if everything stays in register."""
    points = in_world(imported, np.random.default_rng(3).uniform([-1, 3, -1], [1, 6, 1], (12, 3)))
    return np.array([world_to_camera_view(bpy.context.scene, imported.camera, Vector(p)) for p in points])[:, :2]


def everything_but_the_root(imported) -> dict:
    """What an operator of this kind has no business with."""
    camera = imported.camera
    return {"camera": [list(row) for row in camera.matrix_basis], "lens": camera.data.lens,
            "mesh": [list(row) for row in imported.mesh.matrix_basis], "parent": imported.mesh.parent.name,
            "others": {o.name for o in bpy.data.objects}}


FLOOR = np.array([[-1.0, 3.0, -1.7], [1.2, 3.5, -1.5], [0.3, 6.0, -2.1]])  # under the root, Blender's axes


def given(points) -> dict:
    return {"source": "GIVEN", **{f"point_{letter}": point for letter, point in zip("abc", points, strict=False)}}


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


# --- The floor in the depth ----------------------------------------------------------------------------------------

def write_floor(folder, example: Example, *, noise: float = 0.0, box: bool = True, sure: float = 0.9) -> None:
    """Replace the example's depth by that of a floor with a wall behind it, and a box on the floor."""
    write_job_folder(folder, example)
    width, height = example.raster
    rng = np.random.default_rng(0)
    for index in range(example.frame_count):
        fx, fy, cx, cy = intrinsics(example, index)
        columns, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
        rays = np.stack([(columns - cx) / fx, (rows - cy) / fy, np.ones_like(columns)], axis=-1)
        pose = camera_to_world(example, index)
        origin, rays = pose[:3, 3], rays @ pose[:3, :3].T
        with np.errstate(divide="ignore"):
            floor = (-FLOOR_BELOW - origin @ FLOOR_NORMAL) / (rays @ FLOOR_NORMAL)
        depth = np.where((floor > 0) & (floor < 7.0), floor, 7.0)
        if box:
            depth[height * 6 // 10:height * 8 // 10, width // 3:width // 2] *= 0.8
        depth = depth * (1.0 + noise * rng.standard_normal(depth.shape))
        frame = f"{example.first_frame + index:04d}.exr"
        write_gray(folder / "depth" / frame, depth)
        write_gray(folder / "confidence" / frame, np.full(depth.shape, sure))
        write_gray(folder / "motion_mask" / frame, np.zeros(depth.shape))


TALL = Example(raster=(64, 48), clip=(64, 48), zoom=1.0, focal=45.0)


@pytest.mark.parametrize(("noise", "tilt_deg", "height"), [(0.0, 0.05, 0.002), (0.01, 0.5, 0.02)])
def test_the_floor_is_found_in_the_depth(parts, tmp_path, noise, tilt_deg, height):
    write_floor(tmp_path, TALL, noise=noise)
    made = parts["scene"].import_result(bpy.context.scene, tmp_path)
    made.root.matrix_world = MOVED
    seen = views(made)
    assert bpy.ops.stereodiff.orient_floor(source="AUTOMATIC") == {"FINISHED"}
    bpy.context.view_layer.update()
    up = made.root.matrix_world.to_3x3().normalized() @ Vector((FLOOR_NORMAL[0], FLOOR_NORMAL[2], -FLOOR_NORMAL[1]))
    assert np.degrees(up.angle(Vector((0, 0, 1)))) < tilt_deg
    show_frame(1)
    assert made.camera.matrix_world.translation.z / 2 == pytest.approx(FLOOR_BELOW, abs=height)
    assert np.abs(views(made) - seen).max() < 1e-5


def test_finding_the_floor_twice_changes_nothing(parts, tmp_path):
    write_floor(tmp_path, TALL)
    made = parts["scene"].import_result(bpy.context.scene, tmp_path)
    bpy.ops.stereodiff.orient_floor(source="AUTOMATIC")
    bpy.context.view_layer.update()
    once = np.array(made.root.matrix_world)
    bpy.ops.stereodiff.orient_floor(source="AUTOMATIC")
    bpy.context.view_layer.update()
    assert np.allclose(np.array(made.root.matrix_world), once, atol=1e-5)


def test_a_wall_is_no_floor(imported):
    """The plain example looks at a wall and a box."""
    before = imported.root.matrix_world.copy()
    with pytest.raises(RuntimeError, match="No floor was found"):
        bpy.ops.stereodiff.orient_floor(source="AUTOMATIC")
    assert imported.root.matrix_world == before


def test_what_was_not_measured_is_no_floor(parts, tmp_path):
    write_floor(tmp_path, TALL, sure=0.2)
    parts["scene"].import_result(bpy.context.scene, tmp_path)
    with pytest.raises(RuntimeError, match="Hardly anything"):
        bpy.ops.stereodiff.orient_floor(source="AUTOMATIC")


def test_a_table_top_is_no_floor(parts):
    """Most points lie on the table, but the floor lies below it."""
    rng = np.random.default_rng(2)
    table = np.column_stack([rng.uniform(-1, 1, 900), rng.uniform(2, 3, 900), rng.normal(0.75, 1e-3, 900)])
    ground = np.column_stack([rng.uniform(-3, 3, (700, 2)) + [0, 4], rng.normal(0, 1e-3, 700)])
    points = np.concatenate([table, ground])
    found = parts["floor"].fit_floor(parts["floor"].Ground(points, points[:, 1], np.array([[0.0, 0.0, 1.6]]),
                                                           np.array([0.0, 0.0, 1.0])))
    assert np.allclose(found.normal, (0, 0, 1), atol=1e-3) and abs(found.offset) < 1e-3
    assert found.share == pytest.approx(700 / 1600, abs=0.02)


def test_a_turn_without_depth_has_no_floor(parts, tmp_path):
    write_job_folder(tmp_path, Example(camera_kind="rotation"))
    parts["scene"].import_result(bpy.context.scene, tmp_path)
    with pytest.raises(RuntimeError, match="no depth"):
        bpy.ops.stereodiff.orient_floor(source="AUTOMATIC")


# --- Points from the scene -----------------------------------------------------------------------------------------

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
    with pytest.raises(RuntimeError, match="No marker Floor A, Floor B, Floor C"):
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
    assert len(operator.said) == 1 and "They lie on one line" in operator.said[0]
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
    with pytest.raises(RuntimeError, match="3 are needed, 1 are there"):
        bpy.ops.stereodiff.orient_floor(source="SELECTED")


def test_the_3d_cursor_becomes_the_origin(imported):
    bpy.context.scene.cursor.location = in_world(imported, FLOOR[2])[0]
    bpy.ops.stereodiff.set_origin(source="CURSOR")
    assert np.abs(in_world(imported, FLOOR[2])).max() < 1e-5


# --- Which import --------------------------------------------------------------------------------------------------

def test_the_active_objects_import_is_moved_and_no_other(parts, imported, tmp_path):
    write_job_folder(tmp_path / "second", replace(EXAMPLE, job_id="second"), clip_folder=tmp_path / "elsewhere")
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
    assert found.read_shot() == imported.shot


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
