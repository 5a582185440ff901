"""The compositor's depth pass: exact, beside what is there, up to date after another import."""

from __future__ import annotations

import importlib
from dataclasses import replace

import bpy
import numpy as np
import pytest
from job_folder import Example, depth_of, write_job_folder
from scene_checks import orphans, render

EXAMPLE = Example(raster=(64, 36), clip=(64, 36), first_frame=3)


@pytest.fixture
def scene_module(addon):
    return importlib.import_module(f"{addon.__name__}.scene")


@pytest.fixture
def imported(scene_module, tmp_path):
    write_job_folder(tmp_path / "job", EXAMPLE, clip_folder=tmp_path / "clip")
    return scene_module.import_result(bpy.context.scene, tmp_path / "job")


def compositor(scene) -> bpy.types.NodeTree:
    return scene.compositing_node_group if bpy.app.version >= (5, 0, 0) else scene.node_tree


def wiring(tree) -> set[tuple[str, str]]:
    return {(link.from_node.name, link.to_node.name) for link in tree.links}


def picture_node(tree):
    return next(node for node in tree.nodes if node.bl_idname == "CompositorNodeImage")


def normalized(depth: np.ndarray, depth_range) -> np.ndarray:
    near, far = depth_range
    with np.errstate(divide="ignore"):
        return np.where(depth > 0, np.clip((1 / depth - 1 / far) / (1 / near - 1 / far), 0, 1), 0)


def composite(scene, path, frame: int) -> np.ndarray:
    for layer in scene.view_layers:
        layer.use = False
    return render(scene, path, frame)[..., 0]


def test_pass_is_normalized_disparity_of_its_own_frame(scene_module, imported, tmp_path):
    scene = bpy.context.scene
    scene_module.add_depth_pass(scene, imported, connect=True)
    for index in (0, 2, 5):
        shown = composite(scene, tmp_path / "pass.exr", EXAMPLE.first_frame + index)
        expected = normalized(depth_of(EXAMPLE, index), imported.result.depth_range)
        assert np.abs(shown - expected).max() < 1e-5
    assert expected[-1, -1] == 0 and expected.max() > 0.9


@pytest.mark.parametrize("percentage", [100, 50])
def test_pass_fills_the_render(scene_module, tmp_path, percentage):
    example = replace(EXAMPLE, raster=(32, 18), focal=30.0, clip=(64, 36))
    write_job_folder(tmp_path, example)
    imported = scene_module.import_result(bpy.context.scene, tmp_path)
    scene_module.add_depth_pass(bpy.context.scene, imported, connect=True)
    bpy.context.scene.render.resolution_percentage = percentage
    shown = composite(bpy.context.scene, tmp_path / "pass.exr", 3)
    expected = normalized(depth_of(example, 0), imported.result.depth_range)
    size = percentage // 50
    assert shown.shape == (18 * size, 32 * size)
    assert np.median(np.abs(shown - np.kron(expected, np.ones((size, size))))) < 0.01


def test_unless_asked_the_compositors_picture_stays(scene_module, imported, tmp_path):
    scene = bpy.context.scene
    without = render(scene, tmp_path / "without.exr", 4)
    scene_module.add_depth_pass(scene, imported)
    assert np.allclose(render(scene, tmp_path / "with.exr", 4), without, atol=1e-6)


def test_what_the_artist_has_stays(scene_module, imported):
    scene = bpy.context.scene
    scene_module.add_depth_pass(scene, imported)
    tree = compositor(scene)
    for node in [node for node in tree.nodes if node.bl_idname not in ("CompositorNodeRLayers", "NodeGroupOutput",
                                                                         "CompositorNodeComposite")]:
        tree.nodes.remove(node)
    blur = tree.nodes.new("CompositorNodeBlur")
    source = next(node for node in tree.nodes if node.bl_idname == "CompositorNodeRLayers")
    tree.links.new(source.outputs["Image"], blur.inputs["Image"])
    nodes, links = {node.name for node in tree.nodes}, wiring(tree)
    scene_module.add_depth_pass(scene, imported)
    assert nodes < {node.name for node in tree.nodes} and links < wiring(tree)
    assert {"StereoDiff Depth: plate_0001"} == {node.label for node in tree.nodes if node.bl_idname == "NodeFrame"}


def test_adding_twice_updates(scene_module, imported):
    scene = bpy.context.scene
    first = scene_module.add_depth_pass(scene, imported)
    count = len(compositor(scene).nodes)
    assert scene_module.add_depth_pass(scene, imported) == first
    assert len(compositor(scene).nodes) == count


def test_another_import_brings_the_pass_up_to_date(scene_module, imported, tmp_path):
    scene = bpy.context.scene
    scene_module.add_depth_pass(scene, imported)
    before = wiring(compositor(scene))
    longer = replace(EXAMPLE, frame_count=9, first_frame=2, job_id="longer", depth_scale=3.0)
    write_job_folder(tmp_path / "again", longer, clip_folder=tmp_path / "clip")
    scene_module.import_result(scene, tmp_path / "again")
    node = picture_node(compositor(scene))
    assert (node.frame_start, node.frame_duration, node.frame_offset) == (2, 9, 1)
    assert "again" in node.image.filepath
    assert wiring(compositor(scene)) == before and orphans() == []


def test_without_depth_there_is_no_pass(scene_module, tmp_path):
    write_job_folder(tmp_path, replace(EXAMPLE, camera_kind="static"))
    imported = scene_module.import_result(bpy.context.scene, tmp_path)
    with pytest.raises(ValueError, match="no depth"):
        scene_module.add_depth_pass(bpy.context.scene, imported)
    assert compositor(bpy.context.scene) is None
