"""A comp of a plate whose lens has distortion: CG over the plate as it was shot, and depth that lines up with both."""

from __future__ import annotations

import importlib
from dataclasses import replace
from types import SimpleNamespace

import bpy
import numpy as np
import pytest
from compositors import tree_of
from job_folder import Example, clip_intrinsics, depth_of, plate_file, write_job_folder
from scene_checks import prepare_render, projected, read_linear, render

from stereodiff_blender.engine.contract import Distortion
from stereodiff_blender.engine.lens import distorted, undistorted

RADIAL = Distortion(-0.25, 0.08)
SHOT = Example(raster=(96, 54), clip=(192, 108), focal=80.0, frame_count=3, zoom=1.0, invalid_corner=False,
               distortion=RADIAL)
WORST_PX = 0.1 if bpy.app.version >= (5, 0, 0) else 0.3
GLOW = np.array([8.0, 0.0, 8.0])
PLACES = {"in the middle": (0.05, 0.0, 2.0), "at the left": (-1.15, -0.4, 2.2), "at the lower right": (1.0, 0.65, 2.4)}


@pytest.fixture
def scene_module(addon):
    return importlib.import_module(f"{addon.__name__}.scene")


@pytest.fixture
def import_here(scene_module, tmp_path):
    def run(example: Example = SHOT, name: str = "job"):
        write_job_folder(tmp_path / name, example, clip_folder=tmp_path / "clip")
        imported = scene_module.import_result(bpy.context.scene, tmp_path / name, replace_better=True)
        bpy.context.scene.render.engine = "CYCLES"
        return imported

    return run


def set_up(**options) -> None:
    assert bpy.ops.stereodiff.set_up_hold_out(shadows=False, **options) == {"FINISHED"}


# --- CG over the plate -----------------------------------------------------------------------------------------------

def add_cube(imported, place: tuple[float, float, float], size: float = 0.2) -> np.ndarray:
    """A glowing cube at a place of the engine's world. Returns its corners there, (8,3)."""
    x, y, z = place
    bpy.ops.mesh.primitive_cube_add(size=size, location=(x, z, -y))
    cube, material = bpy.context.object, bpy.data.materials.new("glow")
    cube.parent = imported.root
    material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    glow = tree.nodes.new("ShaderNodeEmission")
    glow.inputs["Color"].default_value = (1.0, 0.0, 1.0, 1.0)
    glow.inputs["Strength"].default_value = GLOW[0]
    tree.links.new(glow.outputs[0], tree.nodes.new("ShaderNodeOutputMaterial").inputs[0])
    cube.data.materials.append(material)
    return np.array(place) + size / 2 * np.stack(np.meshgrid(*3 * [[-1, 1]]), axis=-1).reshape(-1, 3)


def coverage(example: Example, index: int, corners: np.ndarray, size: tuple[int, int], fine: int = 8) -> np.ndarray:
    """(H,W): how much of each pixel of the plate the cube covers, by the lens's formula alone; size: of the plate."""
    faces = [corners[np.abs(corners[:, axis] - side) < 1e-9] for axis in range(3)
             for side in (corners[:, axis].min(), corners[:, axis].max())]
    steps = np.linspace(0.0, 1.0, 600)
    hit = np.zeros((size[1] * fine, size[0] * fine), bool)
    for face in faces:
        a, (u, v) = face[0], (face[1] - face[0], face[2] - face[0])
        points = a + steps[:, None, None] * u + steps[None, :, None] * v
        columns, rows = (projected(example, index, points.reshape(-1, 3)) * np.divide(size, example.clip) * fine
                         ).astype(int).T
        there = (columns >= 0) & (rows >= 0) & (columns < hit.shape[1]) & (rows < hit.shape[0])
        hit[rows[there], columns[there]] = True
    return hit.reshape(size[1], fine, size[0], fine).mean(axis=(1, 3))


def center(weights: np.ndarray) -> np.ndarray:
    rows, columns = np.indices(weights.shape) + 0.5
    return np.array([(columns * weights).sum(), (rows * weights).sum()]) / weights.sum()


def final(path, frame: int = 2) -> np.ndarray:
    scene = bpy.context.scene
    prepare_render(scene, path)
    scene.cycles.samples = 64
    scene.frame_set(frame)
    bpy.ops.render.render(write_still=True)
    return read_linear(path)


def glowing(picture: np.ndarray, plate: np.ndarray) -> np.ndarray:
    """(H,W): share of the cube in each pixel of a picture over the plate."""
    return np.clip((picture - plate)[..., 0] / (GLOW - plate)[..., 0], 0.0, 1.0)


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_cg_stands_on_the_plate_as_it_was_shot(import_here, tmp_path, place):
    """The cube's pixels are those that the lens gives it; all others are the plate's own, untouched."""
    imported = import_here()
    corners = add_cube(imported, place)
    set_up()
    picture = final(tmp_path / "final.exr")
    plate = read_linear(plate_file(tmp_path / "clip", SHOT, 2))
    expected = coverage(SHOT, 1, corners, SHOT.clip)
    found = glowing(picture, plate)
    assert 100 < expected.sum() < 2000
    assert np.abs(center(found) - center(expected)).max() < WORST_PX
    assert found.sum() == pytest.approx(expected.sum(), rel=0.03)
    ideal = coverage(replace(SHOT, distortion=None), 1, corners, SHOT.clip)
    if place[0]:
        far = max(abs(place[0]), abs(place[1])) > 0.5
        assert not far or np.abs(center(ideal) - center(expected)).max() > 10 * WORST_PX, "the lens counts there"
    beside = ~_grown(expected > 0, 3)
    assert np.abs(picture - plate)[beside].max() < 1e-3


def _grown(mask: np.ndarray, by: int) -> np.ndarray:
    padded = np.pad(mask, by)
    height, width = mask.shape
    return np.any([padded[y:y + height, x:x + width] for y in range(2 * by + 1) for x in range(2 * by + 1)], axis=0)


def test_what_stands_in_front_hides_it_on_the_plate(import_here, tmp_path):
    """Behind the wall there is nothing of the cube, and the box's outline cuts it where the plate shows the box."""
    imported = import_here()
    corners = add_cube(imported, (0.3, 0.0, 4.2), size=1.2)
    set_up()
    picture = final(tmp_path / "final.exr")
    plate = read_linear(plate_file(tmp_path / "clip", SHOT, 2))
    expected = coverage(SHOT, 1, corners, SHOT.clip)
    depth = depth_of(SHOT, 1).repeat(2, axis=0).repeat(2, axis=1)
    front = ~_grown(depth >= 3.6, 3)  # well inside the box
    assert front.sum() > 200
    assert np.abs(picture - plate)[front].max() < 1e-3
    around = (expected == 1) & ~_grown(depth < 4.0, 3) & ~_grown(expected < 1, 3)
    assert around.sum() > 50 and glowing(picture, plate)[around].min() > 0.99


@pytest.mark.parametrize("size", [(384, 216), (192, 144), (192, 96)])
def test_also_in_a_render_of_another_size_or_shape(import_here, scene_module, tmp_path, size):
    """The plate is as wide as the render and in the middle of its height, and so is the cube on it."""
    imported = import_here()
    corners = add_cube(imported, PLACES["at the left"])
    set_up()
    scene = bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y = size
    imported.camera.data.sensor_fit = "HORIZONTAL"
    scene_module.reframe_pictures(scene)
    times = size[0] / SHOT.clip[0]
    shown = final(tmp_path / "with.exr")
    bpy.data.objects.remove(bpy.context.view_layer.objects["Cube"])
    found = glowing(shown, final(tmp_path / "without.exr"))
    expected = center(coverage(SHOT, 1, corners, SHOT.clip)) - np.divide(SHOT.clip, 2)
    assert np.abs((center(found) - np.divide(size, 2)) / times - expected).max() < WORST_PX


def nodes_of(footage: str) -> dict[str, bpy.types.Node]:
    return {node["stereodiff"]["part"]: node for node in tree_of(bpy.context.scene).nodes
            if node.get("stereodiff", {}).get("footage") == footage}


@pytest.mark.parametrize(("zoom", "lens", "has_frame_maps", "words"), [
    (1.0, RADIAL, False, ["as it was shot", "cut off near the plate's edges"]),
    (1.2, RADIAL, False, ["as it was shot", "cut off near the plate's edges", "The lens zooms"]),
    (1.2, RADIAL, True, ["as it was shot", "cut off near the plate's edges"]),
    (1.0, Distortion(0.2), False, ["as it was shot"])])
def test_what_becomes_of_the_render_is_said(addon, import_here, zoom, lens, has_frame_maps, words):
    import_here(replace(SHOT, zoom=zoom, distortion=lens, has_frame_maps=has_frame_maps))
    operators = importlib.import_module(f"{addon.__name__}.ui.operators.compositing")
    chosen = importlib.import_module(f"{addon.__name__}.ui.operators.base").chosen_import(bpy.context)
    asked = SimpleNamespace(state="ON", shadows=False, plate=True)
    told = operators.STEREODIFF_OT_set_up_hold_out.act(asked, bpy.context, chosen)
    assert all(word in told for word in words)
    assert ("zooms" in told) == (zoom > 1.0 and not has_frame_maps) and ("cut off" in told) == (lens.k1 < 0.0)


@pytest.mark.skipif(bpy.app.version < (4, 5, 0), reason="Cycles has no Custom camera before 4.5")
def test_through_the_camera_that_has_the_lens_nothing_is_redistorted(import_here, compiles, tmp_path):
    """And CG is there up to the edges of the plate, which a plain render does not reach."""
    imported = import_here()
    corners = add_cube(imported, (-1.42, 0.0, 2.2))
    assert bpy.ops.stereodiff.add_lens_camera() == {"FINISHED"}
    scene = bpy.context.scene
    scene.camera = next(o for o in scene.objects if o.get("stereodiff", {}).get("part") == "lens camera")
    set_up()
    assert "plate redistort" not in nodes_of(imported.shot.key)
    import_here(replace(SHOT, job_id="again"), "again")
    assert "plate redistort" not in nodes_of(imported.shot.key), "nor after another import"
    plate = read_linear(plate_file(tmp_path / "clip", SHOT, 2))
    expected = coverage(SHOT, 1, corners, SHOT.clip)
    assert expected[:, 0].max() == 1.0 and expected.sum() > 100, "it reaches the edge"
    found = glowing(final(tmp_path / "final.exr"), plate)
    assert np.abs(center(found) - center(expected)).max() < WORST_PX
    assert found.sum() == pytest.approx(expected.sum(), rel=0.03)


def look_through_overscan(size: tuple[int, int]) -> bpy.types.Object:
    assert bpy.ops.stereodiff.add_lens_groups(overscan=True) == {"FINISHED"}
    scene = bpy.context.scene
    scene.camera = next(o for o in scene.objects if o.get("stereodiff", {}).get("part") == "overscan camera")
    scene.render.resolution_x, scene.render.resolution_y = size
    return scene.camera


OFF_CENTER = replace(SHOT, principal=(5.0, -2.0))


@pytest.mark.parametrize("example", [SHOT, OFF_CENTER], ids=["centered", "off center"])
@pytest.mark.parametrize(("times", "has_overscan_size"), [(1, False), (2, False), (1, True), (2, True)])
def test_through_the_overscan_camera_cg_reaches_the_plates_edges(import_here, tmp_path, example, times,
                                                                 has_overscan_size):
    """At the clip's size the plate fills the picture; at the overscan's, it lies in the middle, pixel upon pixel, also
    at half of the percentage."""
    imported = import_here(example)
    corners = add_cube(imported, (-1.42 if example == SHOT else -1.62, 0.0, 2.2))
    plate_size, scene = SHOT.clip, bpy.context.scene
    wide = imported.shot.overscan_size
    assert wide[0] > plate_size[0] + 8
    if has_overscan_size:
        look_through_overscan(wide)
        scene.render.resolution_percentage = 100 // times
        times = 1.0 / times
    else:
        look_through_overscan((plate_size[0] * times, plate_size[1] * times))
    set_up()
    shown = final(tmp_path / "with.exr")
    bpy.data.objects.remove(bpy.context.view_layer.objects["Cube"])
    without = final(tmp_path / "without.exr")
    expected = coverage(example, 1, corners, plate_size)
    assert expected[:, 0].max() == 1.0 and expected.sum() > 100, "it reaches the edge"
    found = glowing(shown, without)
    middle = np.divide(found.shape[::-1], 2)
    off = (center(found) - middle) / times - (center(expected) - np.divide(plate_size, 2))
    between_pixels = 0.6 / times if times < 1.0 else 0.0  # half the margins need not be whole pixels then
    assert np.abs(off).max() < WORST_PX * max(1.0, 1.0 / times) + between_pixels
    assert found.sum() / times**2 == pytest.approx(expected.sum(), rel=0.05 if times >= 1.0 else 0.08)
    if has_overscan_size and times == 1.0:
        plate = read_linear(plate_file(tmp_path / "clip", example, 2))
        left, top = (wide[0] - plate_size[0]) // 2, (wide[1] - plate_size[1]) // 2
        assert np.abs(without[top:top + plate_size[1], left:left + plate_size[0], :3] - plate[..., :3]).max() < 1e-3


@pytest.mark.parametrize(("has_overscan_size", "words"), [
    (False, "fewer pixels across"), (True, "crop it to 192 x 108")])
def test_the_size_for_the_overscan_camera_is_said(addon, import_here, has_overscan_size, words):
    wide = import_here().shot.overscan_size
    look_through_overscan(wide if has_overscan_size else SHOT.clip)
    operators = importlib.import_module(f"{addon.__name__}.ui.operators.compositing")
    chosen = importlib.import_module(f"{addon.__name__}.ui.operators.base").chosen_import(bpy.context)
    told = operators.STEREODIFF_OT_set_up_hold_out.act(SimpleNamespace(state="ON", shadows=False, plate=True),
                                                       bpy.context, chosen)
    assert words in told and "cut off" not in told
    assert has_overscan_size or f"render {wide[0]} x {wide[1]}" in told


def test_back_at_the_solved_camera_a_plain_render_is_read_again(import_here):
    imported = import_here()
    solved = bpy.context.scene.camera
    look_through_overscan(SHOT.clip)
    set_up(state="ON")
    assert nodes_of(imported.shot.key)["plate redistort"].inputs["Overscan"].default_value == 1.0
    bpy.context.scene.camera = solved
    set_up(state="ON")
    assert nodes_of(imported.shot.key)["plate redistort"].inputs["Overscan"].default_value == 0.0


def our_images() -> set[str]:
    return {image.name for image in bpy.data.images if "stereodiff" in image}


def test_taking_it_back_leaves_nothing(import_here):
    imported = import_here()
    groups, images = len(bpy.data.node_groups), our_images()
    set_up()
    assert {"plate redistort", "plate CG fit"} < set(nodes_of(imported.shot.key))
    set_up()
    assert len(bpy.data.node_groups) == groups and our_images() == images
    assert tree_of(bpy.context.scene) is None or not nodes_of(imported.shot.key)


def test_the_artists_nodes_stay_linked_after_it_was_taken_back(import_here):
    imported = import_here()
    set_up()
    tree = tree_of(bpy.context.scene)
    over = nodes_of(imported.shot.key)["plate over"]
    blur = tree.nodes.new("CompositorNodeBlur")
    tree.links.new(over.outputs[0], blur.inputs["Image"])
    set_up()
    assert "stereodiff" not in blur.inputs["Image"].links[0].from_node


def test_a_pinhole_needs_no_node(import_here):
    imported = import_here(replace(SHOT, distortion=None))
    set_up()
    assert "plate redistort" not in nodes_of(imported.shot.key)


def test_another_lens_of_the_shot_is_followed(import_here, tmp_path):
    """From none to one, and on to another; what is shown is always that of the last result."""
    import_here(replace(SHOT, distortion=None, job_id="pinhole"), "pinhole")
    set_up()
    for name, lens in (("bent", RADIAL), ("more", Distortion(0.15))):
        example = replace(SHOT, distortion=lens, job_id=name)
        imported = import_here(example, name)
        corners = add_cube(imported, PLACES["at the left"])
        cube = bpy.context.object
        found = glowing(final(tmp_path / f"{name}.exr"), read_linear(plate_file(tmp_path / "clip", example, 2)))
        assert np.abs(center(found) - center(coverage(example, 1, corners, SHOT.clip))).max() < WORST_PX
        bpy.data.objects.remove(cube)


# --- Depth -----------------------------------------------------------------------------------------------------------

def add_depth() -> bpy.types.Node:
    assert bpy.ops.stereodiff.add_depth_group() == {"FINISHED"}
    return next(node for node in tree_of(bpy.context.scene).nodes if node.label.startswith("StereoDiff Depth"))


def shown(socket: bpy.types.NodeSocket, path, frame: int = 2) -> np.ndarray:
    """What the compositor renders when this socket is its picture, (H,W)."""
    tree = tree_of(bpy.context.scene)
    leave = next(n for n in tree.nodes if n.bl_idname in ("CompositorNodeComposite", "NodeGroupOutput"))
    tree.links.new(socket, leave.inputs[0])
    for layer in bpy.context.scene.view_layers:
        layer.use = False
    return render(bpy.context.scene, path, frame)[..., 0]


def centers(size: tuple[int, int]) -> np.ndarray:
    return np.stack(np.meshgrid(*(np.arange(n) + 0.5 for n in size)), axis=-1)


def through_lens(example: Example, places: np.ndarray, way) -> np.ndarray:
    focal, middle = np.split(clip_intrinsics(example), 2)
    return way((places - middle) / focal, example.distortion) * focal + middle


def picked(depth: np.ndarray, places: np.ndarray, example: Example) -> tuple[np.ndarray, np.ndarray]:
    """The depth of the pixel that each place of the clip falls into; and which of them are clearly inside it.

    Blender 4.5 still finds the outermost pixel up to a pixel beyond the edge.
    """
    at = places * np.divide(depth.shape[::-1], example.clip)
    columns, rows = np.moveaxis(np.floor(at).astype(int), -1, 0)
    height, width = depth.shape
    inside = (columns >= 0) & (rows >= 0) & (columns < width) & (rows < height)
    is_beside = ~inside & (at > -1).all(axis=-1) & (at < (width + 1, height + 1)).all(axis=-1)
    clear = (np.abs(at - np.round(at)) > 0.02).all(axis=-1) & ~is_beside
    return np.where(inside, depth[np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)], 0.0), clear


def test_depth_lies_on_the_plate_as_shot(import_here, tmp_path):
    import_here()
    z = shown(add_depth().outputs["Z"], tmp_path / "z.exr")
    assert np.array_equal(z, depth_of(SHOT, 1).repeat(2, axis=0).repeat(2, axis=1))


@pytest.mark.parametrize("lens", [RADIAL, Distortion(0.2)])
def test_undistorted_depth_lies_on_the_undistorted_plate(import_here, tmp_path, lens):
    """Every value is the file's own; most of them are what a pinhole at the solved camera would measure."""
    example = replace(SHOT, distortion=lens)
    import_here(example)
    node = add_depth()
    node.inputs["Undistorted"].default_value = 1.0
    z = shown(node.outputs["Z"], tmp_path / "z.exr")
    expected, clear = picked(depth_of(example, 1), through_lens(example, centers(example.clip), distorted), example)
    assert clear.mean() > 0.85
    assert np.array_equal(z[clear], expected.astype(np.float32)[clear])
    ideal = depth_of(replace(example, distortion=None), 1).repeat(2, axis=0).repeat(2, axis=1)
    shot, valid = depth_of(example, 1).repeat(2, axis=0).repeat(2, axis=1), z > 0
    off, off_as_shot = (np.median(np.abs(picture / ideal - 1.0)[valid]) for picture in (z, shot))
    assert off < 0.5 * off_as_shot


def cg_depths(size: tuple[int, int]) -> np.ndarray:
    """Of a slanted wall, by column; the box and parts of the footage's wall stand in front of it."""
    return np.broadcast_to(np.linspace(2.0, 7.0, size[0], dtype=np.float32), size[::-1])


def picture_of(values: np.ndarray) -> bpy.types.NodeSocket:
    height, width = values.shape
    image = bpy.data.images.new("cg", width, height, float_buffer=True)
    image.colorspace_settings.name = "Non-Color"
    image.pixels.foreach_set(np.repeat(values[::-1].ravel(), 4))
    image.pack()
    node = tree_of(bpy.context.scene).nodes.new("CompositorNodeImage")
    node.image = image
    return node.outputs[0]


def test_the_hold_out_compares_on_the_undistorted_plate(import_here, tmp_path):
    import_here()
    node = add_depth()
    node.inputs["Undistorted"].default_value = 1.0
    tree_of(bpy.context.scene).links.new(picture_of(cg_depths(SHOT.clip)), node.inputs["CG Z"])
    mask = shown(node.outputs["Hold-Out"], tmp_path / "mask.exr")
    depth, clear = picked(depth_of(SHOT, 1), through_lens(SHOT, centers(SHOT.clip), distorted), SHOT)
    assert np.array_equal(mask[clear], ((depth > 0) & (depth < cg_depths(SHOT.clip)))[clear])
    assert 0.2 < mask.mean() < 0.8


def test_the_hold_out_takes_cg_to_the_plate_as_shot(import_here, tmp_path):
    """CG Z comes as the solved camera renders it, without the lens."""
    import_here()
    node = add_depth()
    cg = cg_depths(SHOT.clip)
    tree_of(bpy.context.scene).links.new(picture_of(cg), node.inputs["CG Z"])
    mask = shown(node.outputs["Hold-Out"], tmp_path / "mask.exr")
    there, clear = picked(cg, through_lens(SHOT, centers(SHOT.clip), undistorted), SHOT)
    depth = depth_of(SHOT, 1).repeat(2, axis=0).repeat(2, axis=1)
    assert np.array_equal(mask[clear], (depth < there)[clear])
    naive = depth < cg
    assert (naive[clear] != mask[clear]).mean() > 0.01, "the lens counts"


@pytest.mark.parametrize("undistorted_plate", [0.0, 1.0])
def test_the_hold_out_takes_a_distance(import_here, tmp_path, undistorted_plate):
    import_here()
    node = add_depth()
    node.inputs["Undistorted"].default_value = undistorted_plate
    node.inputs["CG Z"].default_value = 4.0
    mask = shown(node.outputs["Hold-Out"], tmp_path / "mask.exr")
    z = shown(node.outputs["Z"], tmp_path / "z.exr")
    assert np.array_equal(mask, (z > 0) & (z < 4.0))
    assert 0.05 < mask.mean() < 0.9


def test_the_choice_outlives_another_import_and_a_pinhole_has_none(import_here, tmp_path):
    import_here()
    node = add_depth()
    node.inputs["Undistorted"].default_value = 1.0
    example = replace(SHOT, distortion=Distortion(0.2), job_id="other")
    import_here(example, "other")
    z = shown(node.outputs["Z"], tmp_path / "z.exr")
    expected, clear = picked(depth_of(example, 1), through_lens(example, centers(example.clip), distorted), example)
    assert np.array_equal(z[clear], expected.astype(np.float32)[clear])
    import_here(replace(SHOT, distortion=None, job_id="pinhole"), "pinhole")
    z = shown(node.outputs["Z"], tmp_path / "z.exr")
    assert np.array_equal(z, depth_of(replace(SHOT, distortion=None), 1).repeat(2, axis=0).repeat(2, axis=1))


def test_a_pinholes_node_has_no_such_input(import_here):
    import_here(replace(SHOT, distortion=None))
    assert "Undistorted" not in add_depth().inputs
