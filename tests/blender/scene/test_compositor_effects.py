"""Blender 5.3's compositor is a list of effects: what is added goes where the picture is made, the rest stays."""

from __future__ import annotations

import importlib

import bpy
import numpy as np
import pytest
from job_folder import Example, write_job_folder
from scene_checks import render

EXAMPLE = Example(raster=(64, 36), clip=(64, 36), first_frame=3)
pytestmark = pytest.mark.skipif(bpy.app.version < (5, 3, 0), reason="since Blender 5.3")


@pytest.fixture
def imported(addon, tmp_path):
    scene_module = importlib.import_module(f"{addon.__name__}.scene")
    write_job_folder(tmp_path / "job", EXAMPLE)
    return scene_module.import_result(bpy.context.scene, tmp_path / "job")


def add_effect(name: str, factor: float) -> bpy.types.SceneCompositorEffect:
    """An effect of the artist's that multiplies the picture it is given."""
    tree = bpy.data.node_groups.new(name, "CompositorNodeTree")
    for in_out in ("INPUT", "OUTPUT"):
        tree.interface.new_socket("Image", in_out=in_out, socket_type="NodeSocketColor")
    exposure = tree.nodes.new("CompositorNodeExposure")
    exposure.inputs["Exposure"].default_value = float(np.log2(factor))
    tree.links.new(tree.nodes.new("NodeGroupInput").outputs[0], exposure.inputs["Image"])
    tree.links.new(exposure.outputs[0], tree.nodes.new("NodeGroupOutput").inputs[0])
    effect = bpy.context.scene.compositor_effects.new(name=name)
    effect.node_group = tree
    return effect


def effects() -> list[tuple[str, bool, int]]:
    """Name, on or off, and number of nodes."""
    return [(effect.name, effect.enable_for_render, len(effect.node_group.nodes) if effect.node_group else 0)
            for effect in bpy.context.scene.compositor_effects]


def test_the_plate_goes_into_the_last_effect_that_is_on(imported):
    add_effect("grade", 0.5)
    add_effect("glow", 2.0)
    add_effect("draft", 4.0).enable_for_render = False
    before = effects()
    bpy.ops.stereodiff.set_up_hold_out()
    assert effects() == [before[0], ("glow", True, before[1][2] + 4), before[2]]
    add_effect("later", 1.0)
    bpy.ops.stereodiff.set_up_hold_out(state="OFF")
    assert effects()[:3] == before


def test_where_all_are_off_an_effect_of_its_own_comes_and_goes(imported, tmp_path):
    effect = add_effect("grade", 0.25)
    effect.enable_for_render = False
    before, groups = effects(), len(bpy.data.node_groups)
    plain = render(bpy.context.scene, tmp_path / "plain.exr", 3)
    bpy.ops.stereodiff.set_up_hold_out(plate=True)
    assert effects()[:1] == before and len(effects()) == 2
    bpy.ops.stereodiff.set_up_hold_out(state="OFF")
    assert effects() == before and len(bpy.data.node_groups) == groups
    assert np.allclose(render(bpy.context.scene, tmp_path / "again.exr", 3), plain, atol=1e-6)


def test_what_is_added_takes_the_picture_of_the_effect_before(imported, tmp_path):
    """Which was off when the depth node made its own, and is on again."""
    plain = render(bpy.context.scene, tmp_path / "plain.exr", 3)
    grade = add_effect("grade", 0.25)
    grade.enable_for_render = False
    bpy.ops.stereodiff.add_depth_group()
    assert np.allclose(render(bpy.context.scene, tmp_path / "off.exr", 3), plain, atol=1e-6)
    grade.enable_for_render = True
    assert plain.max() > 0.1
    assert np.allclose(render(bpy.context.scene, tmp_path / "on.exr", 3), 0.25 * plain, atol=1e-6)


def test_the_depth_node_is_brought_up_to_date_wherever_it_is(imported):
    bpy.ops.stereodiff.add_depth_group()
    add_effect("grade", 0.5)
    before = effects()
    bpy.ops.stereodiff.add_depth_group()
    assert effects() == before
