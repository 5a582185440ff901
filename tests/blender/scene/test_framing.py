"""Plate and mesh coincide in renders of any shape: behind the camera, and in the compositor."""

from __future__ import annotations

import importlib
from dataclasses import replace

import bpy
import numpy as np
import pytest
from bpy_extras.object_utils import world_to_camera_view
from compositors import tree_of
from job_folder import Example, write_job_folder
from scene_checks import render

WIDE = Example(raster=(64, 36), clip=(64, 36), invalid_corner=False)
SQUARISH = replace(WIDE, raster=(64, 48), clip=(64, 48), job_id="squarish", zoom=1.1)
UPRIGHT = replace(WIDE, raster=(36, 64), clip=(36, 64), focal=40.0, job_id="upright")
SQUEEZED = replace(WIDE, raster=(64, 36), clip=(64, 72), pixel_aspect=2.0, job_id="squeezed")
SHAPES = {"16:9": (160, 90), "4:3": (160, 120), "9:16": (90, 160)}


@pytest.fixture
def scene_module(addon):
    return importlib.import_module(f"{addon.__name__}.scene")


@pytest.fixture
def import_into(scene_module, tmp_path):
    """import_into(size, example) -> the import, in a scene that the artist has set to that size."""

    def run(size: tuple[int, int], example: Example):
        write_job_folder(tmp_path / example.job_id, example, clip_folder=tmp_path / f"{example.job_id}_clip")
        bpy.context.scene.render.resolution_x, bpy.context.scene.render.resolution_y = size
        imported = scene_module.import_result(bpy.context.scene, tmp_path / example.job_id)
        bpy.context.scene.camera = imported.camera
        return imported

    return run


def mesh_corners(imported) -> np.ndarray:
    """Lower left and upper right corner of the mesh in the camera's picture, 0..1 from its lower left, (2,2)."""
    scene = bpy.context.scene
    scene.frame_set(2)
    mesh = imported.mesh.evaluated_get(bpy.context.evaluated_depsgraph_get())
    seen = np.array([world_to_camera_view(scene, imported.camera, mesh.matrix_world @ vertex.co)[:2]
                     for vertex in mesh.data.vertices])
    return np.array([seen.min(axis=0), seen.max(axis=0)])


def background_corners(imported) -> np.ndarray:
    """The same of the clip behind the camera, as Blender draws it: centered, by its shape and the frame method."""
    render_settings, background = bpy.context.scene.render, imported.camera.data.background_images[0]
    frame = (render_settings.resolution_x * render_settings.pixel_aspect_x) / (
        render_settings.resolution_y * render_settings.pixel_aspect_y)
    (width, height), (x, y) = background.clip.size, background.clip.display_aspect
    shape = width * x / (height * y)
    size = np.ones(2)
    if background.frame_method != "STRETCH":
        is_across = (shape > frame) == (background.frame_method == "FIT")
        size = np.array([1.0, frame / shape]) if is_across else np.array([shape / frame, 1.0])
    return np.array([0.5 - size / 2, 0.5 + size / 2])


@pytest.mark.parametrize("size", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("example", [WIDE, SQUARISH, UPRIGHT, SQUEEZED], ids=lambda example: example.job_id)
def test_the_clip_behind_the_camera_lies_on_its_mesh(import_into, example, size):
    imported = import_into(size, example)
    corners = mesh_corners(imported)
    assert np.allclose(corners, background_corners(imported), atol=2e-4)
    assert corners.min() > -1e-4 and corners.max() < 1 + 1e-4, "all of the clip is inside the picture"
    assert np.allclose(corners[1] - corners[0], 1.0, atol=1e-3) == (size == SHAPES.get(
        {"example": "16:9", "squeezed": "16:9", "squarish": "4:3", "upright": "9:16"}[imported.shot.result.job_id]))


@pytest.mark.parametrize("fit", ["HORIZONTAL", "VERTICAL"])
@pytest.mark.parametrize("size", SHAPES.values(), ids=SHAPES)
def test_it_stays_there_with_the_artists_sensor_fit(import_into, size, fit):
    imported = import_into(size, SQUARISH)
    bpy.context.view_layer.objects.active = imported.mesh
    assert bpy.ops.stereodiff.set_sensor_fit(fit=fit) == {"FINISHED"}
    assert np.allclose(mesh_corners(imported), background_corners(imported), atol=2e-4)


def test_both_of_two_clips_lie_on_their_meshes_whichever_the_scene_is_set_to(import_into):
    scene = bpy.context.scene
    both = import_into((1920, 1080), WIDE), import_into((64, 36), SQUARISH)
    assert (scene.render.resolution_x, scene.render.resolution_y) == (64, 36)
    for chosen in both:
        bpy.context.view_layer.objects.active = chosen.mesh
        bpy.ops.stereodiff.set_scene_to_clip()
        assert (scene.render.resolution_x, scene.render.resolution_y) == chosen.shot.clip_size
        assert scene.camera == chosen.camera
        for imported in both:
            assert np.allclose(mesh_corners(imported), background_corners(imported), atol=2e-4)


def test_the_pixels_of_a_clip_in_a_scene_of_its_own_size_are_not_touched(import_into):
    imported = import_into((1920, 1080), SQUEEZED)
    background = imported.camera.data.background_images[0]
    assert tuple(background.clip.display_aspect) == (1.0, 1.0)
    assert np.allclose(mesh_corners(imported), background_corners(imported), atol=2e-4)


def scale_nodes() -> list[bpy.types.Node]:
    tree = tree_of(bpy.context.scene)
    return [node for node in tree.nodes if node.bl_idname == "CompositorNodeScale"]


@pytest.mark.slow
@pytest.mark.parametrize("fit", ["as imported", "HORIZONTAL", "VERTICAL"])
@pytest.mark.parametrize("size", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("example", [WIDE, SQUARISH, UPRIGHT], ids=lambda example: example.job_id)
def test_the_plate_in_the_compositor_lies_on_the_rendered_mesh(import_into, tmp_path, example, size, fit):
    imported = import_into(size, example)
    bpy.context.view_layer.objects.active = imported.mesh
    if fit != "as imported":
        bpy.ops.stereodiff.set_sensor_fit(fit=fit)
    bpy.context.scene.view_settings.view_transform = "Standard"
    bpy.context.scene.render.film_transparent = True
    mesh = render(bpy.context.scene, tmp_path / "mesh.exr", 2)
    bpy.ops.stereodiff.set_up_hold_out()
    imported.mesh.hide_render = True
    plate = render(bpy.context.scene, tmp_path / "plate.exr", 2)
    assert [node for node in scale_nodes() if bpy.app.version < (4, 5, 0) and node.frame_method == "CROP"] == [], (
        "there, it leaves a line of pixels as memory happens to be")
    shown = [picture.max(axis=-1) > 1e-3 for picture in (mesh, plate)]
    assert (shown[0] != shown[1]).mean() < 0.04, "the same part of the picture is covered"
    covered = shown[0] & shown[1]
    assert covered.mean() > 0.3 and np.abs(mesh - plate)[covered].mean() < 0.06  # 4.2 crops half a pixel apart


@pytest.mark.slow
@pytest.mark.parametrize("size", SHAPES.values(), ids=SHAPES)
def test_depth_in_the_compositor_lies_on_the_mesh(import_into, tmp_path, size):
    imported = import_into(size, SQUARISH)
    scene = bpy.context.scene
    scene.view_layers[0].use_pass_z = True
    bpy.context.view_layer.objects.active = imported.mesh
    bpy.ops.stereodiff.add_depth_group()
    tree = scene.compositing_node_group if bpy.app.version >= (5, 0, 0) else scene.node_tree
    group = next(node for node in tree.nodes if node.bl_idname == "CompositorNodeGroup")
    rendered = next(node for node in tree.nodes if node.bl_idname == "CompositorNodeRLayers")
    output = next(node for node in tree.nodes if node.bl_idname in ("CompositorNodeComposite", "NodeGroupOutput"))
    pictures = []
    for socket in (group.outputs["Scene Z"], rendered.outputs["Depth"]):
        tree.links.new(socket, output.inputs[0])
        pictures.append(render(scene, tmp_path / "z.exr", 2)[..., 0])
    depth, seen = pictures
    covered = seen < 1e6
    assert ((depth > 0) != covered).mean() < 0.04
    assert np.median(np.abs(depth - seen)[covered & (depth > 0)]) < 0.02 * np.median(depth[depth > 0])
