"""CG behind a thin post: cut whole by depth at the plate's size, where the mesh knows nothing of the post."""

from __future__ import annotations

import importlib
from dataclasses import replace

import bpy
import numpy as np
import pytest
from compositors import empty_tree, tree_of
from job_folder import Example, plate_file, trace_depth, write_gray, write_job_folder
from scene_checks import prepare_render, read_linear

from stereodiff_blender.engine.contract import Distortion, JobFolder

EXAMPLE = Example(raster=(64, 36), clip=(128, 72), zoom=1.0, principal=(0.0, 0.0), invalid_corner=False,
                  has_plate_depth=True)
BARREL = replace(EXAMPLE, distortion=Distortion(-0.12, 0.02))
POST = slice(None), slice(50, 52)  # two columns of the plate, one of the working size
POST_DEPTH, CUBE_DEPTH = 1.5, 2.0


@pytest.fixture
def import_here(addon, tmp_path):
    """Write a job whose plate has a post that its working size has not, and import it, ready for Cycles."""
    scene_module = importlib.import_module(f"{addon.__name__}.scene")

    def run(example: Example = EXAMPLE, name: str = "job"):
        write_job_folder(tmp_path / name, example, clip_folder=tmp_path / "clip")
        depth = trace_depth(example, 0, example.clip)[0]
        depth[POST] = POST_DEPTH
        if example.has_plate_depth:
            write_gray(JobFolder(tmp_path / name).product_file("plate_depth", 1), depth)
        imported = scene_module.import_result(bpy.context.scene, tmp_path / name)
        bpy.context.scene.render.engine = "CYCLES"
        return imported

    return run


def add_cube(imported, depth: float = CUBE_DEPTH) -> bpy.types.Object:
    """Red, on both sides of the post."""
    bpy.ops.mesh.primitive_cube_add(size=0.5 * depth)
    cube = bpy.context.object
    material = bpy.data.materials.new("red")
    if bpy.app.version < (5, 0, 0):
        material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    glow, leave = tree.nodes.new("ShaderNodeEmission"), tree.nodes.new("ShaderNodeOutputMaterial")
    glow.inputs["Color"].default_value = (1.0, 0.0, 0.0, 1.0)
    tree.links.new(glow.outputs[0], leave.inputs["Surface"])
    cube.data.materials.append(material)
    cube.parent = imported.camera
    cube.location = (-0.2 * depth, 0.0, -1.25 * depth)
    return cube


def rendered(path) -> np.ndarray:
    scene = bpy.context.scene
    prepare_render(scene, path)
    scene.cycles.samples = 16
    scene.frame_set(1)
    bpy.ops.render.render(write_still=True)
    return read_linear(path)


def without_cut(path) -> np.ndarray:
    """The same picture, all of CG in it."""
    tree = tree_of(bpy.context.scene)
    node = next(node for node in tree.nodes if node.label == "Cut by Depth")
    for link in list(node.inputs["Alpha"].links):
        tree.links.remove(link)
    node.inputs["Alpha"].default_value = 1.0
    return rendered(path)


def red_in(picture: np.ndarray) -> np.ndarray:
    return (picture[..., 0] > 0.8) & (picture[..., 1] < 0.1)


def plate(folder, example: Example) -> np.ndarray:
    return read_linear(plate_file(folder / "clip", example, 1))


@pytest.mark.parametrize("example", [EXAMPLE, BARREL], ids=["pinhole", "barrel"])
@pytest.mark.parametrize("shadows", [False, True])
def test_a_post_that_the_mesh_has_not_cuts_cg_whole(import_here, tmp_path, example, shadows):
    imported = import_here(example)
    cube = add_cube(imported)
    assert bpy.ops.stereodiff.set_up_hold_out(shadows=shadows) == {"FINISHED"}
    picture = rendered(tmp_path / "cut.exr")
    red, rows = red_in(picture), slice(20, 52)
    assert not red[POST].any() and np.abs(picture - plate(tmp_path, example))[rows, POST[1]].max() < 0.02
    beside = red[rows, 40:48], red[rows, 54:60]
    assert all(one.mean() > 0.95 for one in beside), "up to the post"
    cube.location.z, cube.scale = -1.25 * 1.0, (0.5, 0.5, 0.5)
    cube.location.x = -0.2
    front = red_in(rendered(tmp_path / "front.exr"))
    assert front[rows, 50:52].mean() > 0.95, "CG in front of the post is whole"


def test_without_such_depth_the_mesh_hides_cg_as_ever(import_here, tmp_path):
    imported = import_here(replace(EXAMPLE, has_plate_depth=False))
    add_cube(imported)
    bpy.ops.stereodiff.set_up_hold_out(shadows=False)
    assert imported.mesh.is_holdout and not imported.mesh.hide_render
    assert red_in(rendered(tmp_path / "mesh.exr"))[20:52, 50:52].mean() > 0.95, "it knows nothing of the post"


def test_edges_of_cg_in_front_stay_smooth(import_here, tmp_path):
    """A render's depth has no soft edge: without its neighbors the cut would eat half of every edge."""
    imported = import_here()
    cube = add_cube(imported, 0.9)
    cube.rotation_euler = (0.0, 0.0, 0.3)
    bpy.ops.stereodiff.set_up_hold_out(shadows=False)
    cut = rendered(tmp_path / "cut.exr")
    imported.mesh.hide_render = True
    assert np.abs(without_cut(tmp_path / "whole.exr") - cut).max() < 0.02


def state(scene, mesh) -> dict:
    tree = tree_of(scene)
    return {"nodes": sorted(node.name for node in tree.nodes),
            "links": sorted((link.from_node.name, link.to_node.name) for link in tree.links),
            "passes": [layer.use_pass_z for layer in scene.view_layers], "film": scene.render.film_transparent,
            "mesh": (mesh.is_holdout, mesh.is_shadow_catcher, mesh.hide_render),
            "groups": sorted(group.name for group in bpy.data.node_groups),
            "textures": sorted(texture.name for texture in bpy.data.textures)}


@pytest.mark.parametrize("shadows", [False, True])
@pytest.mark.parametrize("example", [EXAMPLE, BARREL], ids=["pinhole", "barrel"])
def test_it_is_taken_back_without_a_trace(import_here, example, shadows):
    imported, scene = import_here(example), bpy.context.scene
    tree, picture = empty_tree(scene)
    tree.links.new(tree.nodes.new("CompositorNodeRLayers").outputs["Image"], picture)
    before = state(scene, imported.mesh)
    for _ in range(2):
        bpy.ops.stereodiff.set_up_hold_out(state="ON", shadows=shadows)
        assert scene.view_layers[0].use_pass_z and imported.mesh.hide_render is not shadows
    bpy.ops.stereodiff.set_up_hold_out(state="OFF")
    assert state(scene, imported.mesh) == before


def test_it_is_one_step_of_undo(import_here):
    import_here()
    bpy.ops.ed.undo_push(message="imported")
    bpy.ops.stereodiff.set_up_hold_out()
    bpy.ops.ed.undo_push(message="held out")
    bpy.ops.ed.undo()
    scene = bpy.context.scene
    assert not scene.view_layers[0].use_pass_z and not scene.render.film_transparent
    assert not any("Cut by Depth" in node.label for group in bpy.data.node_groups for node in group.nodes)


def test_an_artists_own_depth_node_stays_as_it_is(import_here):
    imported, scene = import_here(), bpy.context.scene
    bpy.ops.stereodiff.add_depth_group()
    node = next(node for node in tree_of(scene).nodes if node.bl_idname == "CompositorNodeGroup")
    node.inputs["CG Z"].default_value = 3.5
    name = node.name
    bpy.ops.stereodiff.set_up_hold_out(state="ON")
    bpy.ops.stereodiff.set_up_hold_out(state="OFF")
    node = tree_of(scene).nodes[name]
    assert node.node_tree is not None and node.inputs["CG Z"].default_value == 3.5 and not node.inputs["CG Z"].links
    assert imported.images["plate_depth"].users > 0


def overscan_camera(imported) -> bpy.types.Object:
    """Added, and the scene's from now on."""
    scene = bpy.context.scene
    bpy.ops.stereodiff.add_lens_groups(overscan=True)
    scene.camera = next(thing for thing in scene.objects if thing.type == "CAMERA" and thing != imported.camera)
    return scene.camera


@pytest.mark.parametrize("has_overscan_size", [False, True], ids=["plate size", "overscan size"])
def test_through_the_overscan_camera_the_post_cuts_cg_whole(import_here, tmp_path, has_overscan_size):
    imported, scene = import_here(BARREL), bpy.context.scene
    overscan_camera(imported)
    add_cube(imported)
    (width, height), (left, right, top, bottom) = BARREL.clip, imported.shot.result.lens.overscan
    margins = (left + right, top + bottom) if has_overscan_size else (0, 0)
    scene.render.resolution_x, scene.render.resolution_y = width + margins[0], height + margins[1]
    bpy.ops.stereodiff.set_up_hold_out(state="ON", shadows=False)
    assert imported.mesh.hide_render and scene.view_layers[0].use_pass_z
    whole = rendered(tmp_path / "cut.exr")
    x, y = (more // 2 for more in margins)
    picture = whole[y:y + height, x:x + width]
    red, rows = red_in(picture), slice(20, 52)
    assert not red[POST].any() and np.abs(picture - plate(tmp_path, BARREL))[rows, POST[1]].max() < 0.02
    assert all(red[rows, beside].mean() > 0.95 for beside in (slice(40, 48), slice(54, 60))), "up to the post"
    uncut = red_in(without_cut(tmp_path / "uncut.exr"))[y:y + height, x:x + width]
    lost = uncut & ~red
    lost[:, 49:53] = False
    assert uncut.sum() > 400 and not lost.any(), "depth is taken where the picture is, so that no edge is eaten"


def test_depth_of_another_size_than_the_plate_does_not_cut_a_render_with_overscan(import_here, sequence):
    imported, scene = import_here(BARREL), bpy.context.scene
    assert sequence.size[:] != BARREL.clip
    overscan_camera(imported)
    imported.camera.data.background_images[0].clip = sequence
    bpy.ops.stereodiff.set_up_hold_out(state="ON", shadows=False)
    assert imported.mesh.is_holdout and not imported.mesh.hide_render and not scene.view_layers[0].use_pass_z


def test_through_the_camera_with_the_lens_it_is_the_mesh_that_hides(import_here, compiles):
    if bpy.app.version < (4, 5, 0):
        pytest.skip("4.2 has no lens camera")
    imported, scene = import_here(BARREL), bpy.context.scene
    bpy.ops.stereodiff.add_lens_camera()
    scene.camera = next(thing for thing in scene.objects if thing.type == "CAMERA" and thing != imported.camera)
    bpy.ops.stereodiff.set_up_hold_out(state="ON", shadows=False)
    assert imported.mesh.is_holdout and not imported.mesh.hide_render and not scene.view_layers[0].use_pass_z
