"""The sub-panel "Finish": what it draws exists, in both editors. How it looks is looked at in a real window."""

from __future__ import annotations

import importlib
from dataclasses import replace
from types import SimpleNamespace

import bpy
import pytest
from job_folder import Example, write_job_folder
from scene_checks import set_input

from stereodiff_blender.engine.contract import Distortion, JobFolder

ICONS = set(bpy.types.UILayout.bl_rna.functions["label"].parameters["icon"].enum_items.keys())


class Sheet:
    """Takes what a panel draws, as Blender's layout does, and refuses what Blender does not have."""

    def __init__(self):
        self.operators: list[tuple[str, SimpleNamespace]] = []
        self.drawn: list[str] = []
        self.faint: list[str] = []
        self.active = True

    def row(self, **_):
        return self

    column = box = row

    def label(self, *, text: str = "", icon: str = "NONE", **_):
        assert icon in ICONS
        self.drawn.append(text)

    def prop(self, owner, name: str, text: str = "", **_):
        assert name.startswith("[") or name in owner.bl_rna.properties
        self.drawn.append(name)
        if not self.active:
            self.faint.append(text)

    def operator(self, idname: str, *, icon: str = "NONE", **_) -> SimpleNamespace:
        assert icon in ICONS
        assert rna(idname)
        self.operators.append((idname, SimpleNamespace()))
        return self.operators[-1][1]

    def operator_menu_enum(self, idname: str, name: str, **_):
        assert rna(idname).properties[name].enum_items
        self.operators.append((idname, SimpleNamespace()))


def rna(idname: str):
    group, _, name = idname.partition(".")
    return getattr(getattr(bpy.ops, group), name).get_rna_type()


def draw(addon, editor: str) -> Sheet:
    """Everything the panel draws in an editor, each operator checked for what is set on it."""
    sheet = Sheet()
    context = SimpleNamespace(scene=bpy.context.scene, active_object=bpy.context.active_object,
                              space_data=SimpleNamespace(type=editor))
    panel = addon.ui.panels.scene.FinishPanel
    panel.draw(SimpleNamespace(layout=sheet), context)
    for idname, settings in sheet.operators:
        for name, value in vars(settings).items():
            known = rna(idname).properties[name]
            assert known.type != "ENUM" or value in known.enum_items
    return sheet


@pytest.fixture
def scene_module(addon):
    return importlib.import_module(f"{addon.__name__}.scene")


@pytest.mark.parametrize("kind", ["moving", "rotation"])
@pytest.mark.parametrize("editor", ["VIEW_3D", "CLIP_EDITOR"])
def test_everything_drawn_exists(addon, scene_module, tmp_path, editor, kind):
    write_job_folder(tmp_path, Example(camera_kind=kind))
    scene_module.import_result(bpy.context.scene, tmp_path)
    drawn = {idname for idname, _ in draw(addon, editor).operators}
    placing = {"stereodiff.orient_floor", "stereodiff.set_axis", "stereodiff.set_origin", "stereodiff.set_scale"}
    assert placing | {"stereodiff.write_tracks", "stereodiff.export_camera"} <= drawn
    assert ("stereodiff.pick_points" in drawn) == (editor == "VIEW_3D")
    assert "stereodiff.add_lens_groups" not in drawn


def test_the_confidence_that_the_mesh_goes_by_stands_out(addon, scene_module, tmp_path):
    write_job_folder(tmp_path, Example())
    mesh = scene_module.import_result(bpy.context.scene, tmp_path).mesh
    for is_held_out in (False, True):
        set_input(mesh, "Hold-Out", is_held_out)
        faint = draw(addon, "VIEW_3D").faint
        assert faint == (["Confidence"] if is_held_out else ["In Hold-Out"])


def test_a_lens_with_distortion_has_a_button(addon, scene_module, tmp_path):
    write_job_folder(tmp_path, Example(distortion=Distortion(-0.2)))
    scene_module.import_result(bpy.context.scene, tmp_path)
    drawn = {idname for idname, _ in draw(addon, "VIEW_3D").operators}
    assert {"stereodiff.add_lens_groups", "stereodiff.add_lens_camera"} <= drawn


@pytest.mark.parametrize("readout", [0.0, 0.3])
def test_a_rolling_shutter_alone_has_the_button_of_the_lens_camera(addon, scene_module, tmp_path, readout):
    result = write_job_folder(tmp_path, Example())
    JobFolder(tmp_path).write_result(replace(result, lens=replace(result.lens, readout=readout)))
    scene_module.import_result(bpy.context.scene, tmp_path)
    drawn = {idname for idname, _ in draw(addon, "VIEW_3D").operators}
    assert ("stereodiff.add_lens_camera" in drawn) == (readout != 0.0)
    assert "stereodiff.add_lens_groups" not in drawn


def test_in_the_clip_editor_points_are_tracks(addon, scene_module, tmp_path):
    write_job_folder(tmp_path, Example())
    scene_module.import_result(bpy.context.scene, tmp_path)
    sources = [settings.source for idname, settings in draw(addon, "CLIP_EDITOR").operators
               if idname in ("stereodiff.set_origin", "stereodiff.set_axis")]
    assert sources == ["TRACKS", "TRACKS"]


@pytest.mark.parametrize("source", ["GIVEN", "MARKERS"])
def test_coordinates_are_asked_for_only_when_they_count(addon, source):
    operator = addon.ui.operators.placing.STEREODIFF_OT_set_scale
    sheet = Sheet()
    stand_in = SimpleNamespace(layout=sheet, source=source, bl_rna=rna("stereodiff.set_scale"),
                               properties=SimpleNamespace(bl_rna=rna("stereodiff.set_scale")))
    operator.draw(stand_in, bpy.context)
    assert sheet.drawn == ["source", "distance"] + ["point_a", "point_b"] * (source == "GIVEN")


def test_the_panel_is_there_only_with_an_import(addon, scene_module, tmp_path):
    poll = addon.ui.panels.scene.FinishPanel.poll
    assert not poll(bpy.context)
    write_job_folder(tmp_path, Example())
    scene_module.import_result(bpy.context.scene, tmp_path)
    assert poll(bpy.context)


def test_drawing_survives_parts_the_artist_deleted(addon, scene_module, tmp_path):
    write_job_folder(tmp_path, Example())
    imported = scene_module.import_result(bpy.context.scene, tmp_path)
    for thing in (imported.mesh, imported.camera, imported.root):
        bpy.data.objects.remove(thing)
        draw(addon, "VIEW_3D")
