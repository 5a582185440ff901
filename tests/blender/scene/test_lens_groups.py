"""The compositor's nodes Undistort Plate and Redistort CG, rendered and held against the lens's own formula."""

from __future__ import annotations

import importlib
from dataclasses import replace

import bpy
import numpy as np
import pytest
from bpy_extras.object_utils import world_to_camera_view
from compositors import tree_of
from job_folder import Example, all_clip_intrinsics, clip_intrinsics, write_gray, write_job_folder
from mathutils import Vector
from scene_checks import orphans, projected, render

from stereodiff_blender.engine.contract import Distortion
from stereodiff_blender.engine.lens import distorted, undistorted

RADIAL, BROWN = Distortion(-0.25, 0.08), Distortion(-0.25, 0.08, -0.01, 0.002, -0.003)
SHOT = Example(clip=(320, 180), frame_count=3, distortion=RADIAL)
LENSES = {"radial": RADIAL, "brown": BROWN, "pincushion": Distortion(0.2)}
WORST_PX = 0.002 if bpy.app.version >= (5, 0, 0) else 0.3


@pytest.fixture
def scene_module(addon):
    return importlib.import_module(f"{addon.__name__}.scene")


@pytest.fixture
def import_here(scene_module, tmp_path):
    def run(example: Example = SHOT, name: str = "job", **options):
        write_job_folder(tmp_path / name, example, clip_folder=tmp_path / "clip")
        return scene_module.import_result(bpy.context.scene, tmp_path / name, **options)

    return run


def add_nodes() -> tuple[bpy.types.Node, bpy.types.Node]:
    assert bpy.ops.stereodiff.add_lens_groups() == {"FINISHED"}
    return lens_node("Undistort Plate"), lens_node("Redistort CG")


def lens_node(name: str) -> bpy.types.Node:
    (node,) = (node for node in tree_of(bpy.context.scene).nodes if node.label.startswith(f"{name}: "))
    return node


def centers(size: tuple[int, int], corner=(0, 0)) -> np.ndarray:
    """(H,W,2): pixel centers, counted from the clip's upper left corner; corner: where the picture's is."""
    return np.stack(np.meshgrid(*(np.arange(n) + 0.5 + start for n, start in zip(size, corner, strict=True))), axis=-1)


def ramp(size: tuple[int, int], corner=(0, 0)) -> bpy.types.NodeSocket:
    """A picture in the compositor whose red and green are the places of its pixels."""
    image = bpy.data.images.new("ramp", *size, float_buffer=True)
    image.colorspace_settings.name = "Non-Color"
    colors = np.ones((*size[::-1], 4), np.float32)
    colors[..., :2] = centers(size, corner)
    image.pixels.foreach_set(colors[::-1].ravel())
    image.pack()
    node = tree_of(bpy.context.scene).nodes.new("CompositorNodeImage")
    node.image = image
    return node.outputs["Image"]


def shown(picture: bpy.types.NodeSocket, node: bpy.types.Node, output: str, path, size: tuple[int, int],
          number: int = 2) -> np.ndarray:
    """(H,W,2) of what the node makes of the picture, in a render of a frame, of this size."""
    scene, tree = bpy.context.scene, tree_of(bpy.context.scene)
    tree.links.new(picture, node.inputs["Image"])
    leave = next(n for n in tree.nodes if n.bl_idname in ("CompositorNodeComposite", "NodeGroupOutput"))
    tree.links.new(node.outputs[output], leave.inputs[0])
    scene.view_layers[0].use = False
    scene.render.resolution_x, scene.render.resolution_y = size
    return render(scene, path, number)[..., :2]


def on_plate(example: Example, places: np.ndarray) -> np.ndarray:
    focal, middle = np.split(clip_intrinsics(example), 2)
    return distorted((places - middle) / focal, example.distortion) * focal + middle


def on_ideal(example: Example, places: np.ndarray) -> np.ndarray:
    focal, middle = np.split(clip_intrinsics(example), 2)
    return undistorted((places - middle) / focal, example.distortion) * focal + middle


def inside(places: np.ndarray, size: tuple[int, int], corner=(0, 0)) -> np.ndarray:
    """Those that have pixels around them to look up."""
    low = np.array(corner) + 2.0
    return ((places > low) & (places < low + size - 4.0)).all(axis=-1)


@pytest.mark.parametrize("lens", LENSES.values(), ids=LENSES)
def test_the_undistorted_plate_lies_under_the_solved_camera(import_here, tmp_path, lens):
    example = replace(SHOT, distortion=lens)
    import_here(example)
    undistort, _ = add_nodes()
    found = shown(ramp(example.clip), undistort, "Image", tmp_path / "shown.exr", example.clip)
    expected = on_plate(example, centers(example.clip))
    there = inside(expected, example.clip)
    assert there.mean() > 0.7
    assert np.abs(found - expected)[there].max() < WORST_PX


@pytest.mark.parametrize("lens", LENSES.values(), ids=LENSES)
def test_the_overscan_has_the_whole_plate(import_here, tmp_path, lens):
    example = replace(SHOT, distortion=lens)
    left, right, top, bottom = import_here(example).result.lens.overscan
    undistort, _ = add_nodes()
    wide = example.clip[0] + left + right, example.clip[1] + top + bottom
    found = shown(ramp(example.clip), undistort, "Overscan", tmp_path / "shown.exr", wide)
    expected = on_plate(example, centers(wide, (-left, -top)))
    there = inside(expected, example.clip)
    assert np.abs(found - expected)[there].max() < WORST_PX


@pytest.mark.parametrize("overscan", [False, True])
@pytest.mark.parametrize("lens", LENSES.values(), ids=LENSES)
def test_redistorted_cg_lies_on_the_plate(import_here, tmp_path, lens, overscan):
    example = replace(SHOT, distortion=lens)
    left, right, top, bottom = import_here(example).result.lens.overscan
    _, redistort = add_nodes()
    size, corner = example.clip, (0, 0)
    if overscan:
        redistort.inputs["Overscan"].default_value = 1.0
        size, corner = (size[0] + left + right, size[1] + top + bottom), (-left, -top)
    found = shown(ramp(size, corner), redistort, "Image", tmp_path / "shown.exr", example.clip)
    expected = on_ideal(example, centers(example.clip))
    there = inside(expected, size, corner)
    assert there.mean() > (0.9 if overscan else 0.7)
    assert np.abs(found - expected)[there].max() < WORST_PX


def test_there_and_back(import_here, tmp_path):
    import_here()
    undistort, redistort = add_nodes()
    redistort.inputs["Overscan"].default_value = 1.0
    tree = tree_of(bpy.context.scene)
    tree.links.new(ramp(SHOT.clip), undistort.inputs["Image"])
    found = shown(undistort.outputs["Overscan"], redistort, "Image", tmp_path / "shown.exr", SHOT.clip)
    assert np.abs(found - centers(SHOT.clip))[3:-3, 3:-3].max() < 2 * WORST_PX


def of_frame(example: Example, number: int, places: np.ndarray, way) -> np.ndarray:
    focal, middle = np.split(all_clip_intrinsics(example)[number - 1], 2)
    return way((places - middle) / focal, example.distortion) * focal + middle


@pytest.mark.parametrize("number", [1, 2, 3])
def test_each_frame_of_a_zoom_has_its_own_lens(import_here, tmp_path, number):
    """Numbered as the footage, which begins at 21. The middle frame's map would be off by some pixels in the others."""
    example = replace(SHOT, has_frame_maps=True, first_number=21)
    left, right, top, bottom = import_here(example).result.lens.overscan
    undistort, redistort = add_nodes()
    undistort_here = shown(ramp(example.clip), undistort, "Image", tmp_path / "un.exr", example.clip, number)
    expected = of_frame(example, number, centers(example.clip), distorted)
    there = inside(expected, example.clip)
    assert np.abs(undistort_here - expected)[there].max() < max(WORST_PX, 0.005)
    wide = (example.clip[0] + left + right, example.clip[1] + top + bottom)
    redistort.inputs["Overscan"].default_value = 1.0
    redistort_here = shown(ramp(wide, (-left, -top)), redistort, "Image", tmp_path / "re.exr", example.clip, number)
    expected = of_frame(example, number, centers(example.clip), undistorted)
    there = inside(expected, wide, (-left, -top))
    assert there.mean() > 0.9 and np.abs(redistort_here - expected)[there].max() < max(WORST_PX, 0.005)
    off = np.abs(redistort_here - on_ideal(example, centers(example.clip)))[there].max()
    assert (off > 1.0) == (number != 2)


def test_an_import_without_maps_of_frames_goes_back_to_one(import_here, tmp_path):
    import_here(replace(SHOT, has_frame_maps=True))
    undistort, _ = add_nodes()
    import_here(replace(SHOT, job_id="other"), "other")
    found = shown(ramp(SHOT.clip), undistort, "Image", tmp_path / "shown.exr", SHOT.clip, 3)
    expected = on_plate(SHOT, centers(SHOT.clip))
    assert np.abs(found - expected)[inside(expected, SHOT.clip)].max() < WORST_PX


def test_maps_are_loaded_once_and_belong_to_the_import(import_here):
    import_here()
    before = {node.name for node in add_nodes()}
    images, groups = set(bpy.data.images), set(bpy.data.node_groups)
    assert {node.name for node in add_nodes()} == before
    assert set(bpy.data.images) == images and set(bpy.data.node_groups) == groups
    maps = [image for image in images if image.filepath.endswith("distort.exr")]
    assert len(maps) == 2 and {image.colorspace_settings.name for image in maps} == {"Non-Color"}
    assert {image["stereodiff"]["part"] for image in maps} == {"undistort map", "redistort map"}
    assert not orphans()


def test_nothing_that_is_there_changes(import_here, tmp_path):
    import_here()
    without = render(bpy.context.scene, tmp_path / "without.exr", 2)
    undistort, redistort = add_nodes()
    assert not any(socket.is_linked for node in (undistort, redistort) for socket in (*node.inputs, *node.outputs))
    assert np.allclose(render(bpy.context.scene, tmp_path / "with.exr", 2), without, atol=1e-6)


def test_nodes_follow_another_import(import_here, tmp_path):
    """Another lens of the same shot; and then none, which leaves pictures as they are."""
    import_here()
    undistort, redistort = add_nodes()
    example = replace(SHOT, distortion=Distortion(0.1), job_id="other")
    import_here(example, "other")
    picture = ramp(SHOT.clip)
    found = shown(picture, undistort, "Image", tmp_path / "shown.exr", SHOT.clip)
    expected = on_plate(example, centers(SHOT.clip))
    assert np.abs(found - expected)[inside(expected, SHOT.clip)].max() < WORST_PX
    import_here(replace(SHOT, distortion=None, job_id="pinhole"), "pinhole")
    for node in (undistort, redistort):
        found = shown(picture, node, "Image", tmp_path / "shown.exr", SHOT.clip)
        assert np.abs(found - centers(SHOT.clip)).max() < 1e-3


# --- The camera with overscan --------------------------------------------------------------------------------------

def overscan_camera() -> bpy.types.Object:
    assert bpy.ops.stereodiff.add_lens_groups(overscan=True) == {"FINISHED"}
    (camera,) = (o for o in bpy.data.objects if o.get("stereodiff", {}).get("part") == "overscan camera")
    return camera


def off_px(camera: bpy.types.Object, example: Example, overscan) -> float:
    """How far points are from where the plate with overscan has them, at every frame."""
    scene, points, worst = bpy.context.scene, np.random.default_rng(1).uniform([-1, -1, 3], [1, 1, 5], (20, 3)), 0.0
    left, right, top, bottom = overscan
    size = np.array([example.clip[0] + left + right, example.clip[1] + top + bottom])
    scene.render.resolution_x, scene.render.resolution_y = (int(side) for side in size)
    ideal = replace(example, distortion=None)
    for index in range(example.frame_count):
        scene.frame_set(1 + index)
        bpy.context.view_layer.update()
        views = np.array([world_to_camera_view(scene, camera, Vector((x, z, -y)))[:2] for x, y, z in points])
        found = np.stack([views[:, 0], 1.0 - views[:, 1]], axis=-1) * size
        worst = max(worst, np.abs(found - (left, top) - projected(ideal, index, points)).max())
    return worst


@pytest.mark.parametrize("pixel_aspect", [1.0, 2.0])
def test_the_overscan_camera_sees_more_of_the_same(import_here, pixel_aspect):
    example = replace(SHOT, pixel_aspect=pixel_aspect)
    imported = import_here(example)
    assert off_px(imported.camera, example, (0, 0, 0, 0)) < 1e-3
    camera = overscan_camera()
    assert off_px(camera, example, imported.result.lens.overscan) < 1e-3
    assert lens_node("Redistort CG").inputs["Overscan"].default_value == 1.0
    assert overscan_camera() == camera


def test_the_overscan_camera_follows_another_import(import_here):
    import_here()
    camera = overscan_camera()
    example = replace(SHOT, distortion=Distortion(-0.1), focal=70.0, zoom=1.1, job_id="other")
    imported = import_here(example, "other")
    assert off_px(camera, example, imported.result.lens.overscan) < 1e-3


# --- Refused -------------------------------------------------------------------------------------------------------

def test_a_pinhole_needs_no_nodes(import_here):
    import_here(replace(SHOT, distortion=None))
    with pytest.raises(RuntimeError, match="no ST maps"):
        bpy.ops.stereodiff.add_lens_groups()
    assert tree_of(bpy.context.scene) is None


def test_a_map_that_is_none_is_refused_before_it_is_loaded(import_here, tmp_path):
    import_here()
    write_gray(tmp_path / "job" / "lens" / "redistort.exr", np.ones((180, 320), np.float32))
    with pytest.raises(RuntimeError, match="no ST map"):
        bpy.ops.stereodiff.add_lens_groups()
    assert not [image for image in bpy.data.images if image.filepath.endswith("distort.exr")]
