"""The sub-panel "Finish" of the sidebar: what an artist does with an import once it is in the scene. Draws only."""

from __future__ import annotations

import bpy

from ...scene.data import chosen_import, get_input, has_imports, has_input, input_property
from ...scene.mesh import (
    CONFIDENCE,
    FILL,
    HOLD_OUT,
    HOLD_OUT_CONFIDENCE,
    MOVING,
    SKY,
    STEP,
    STILL,
    TEAR,
    TEAR_AT,
    depth_modifier,
)
from ..drawing.text import draw_help

__all__ = ["register", "unregister"]


def draw_compositing(layout, context) -> None:
    """Depth and lens in the compositor, hold-out and shadow catcher, and what the mesh shows."""
    column = layout.column(align=True)
    column.label(text="Comp")
    column.operator("stereodiff.add_depth_group", icon="NODETREE")
    found = chosen_import(context)
    if found.has_lens_maps or found.readout != 0.0:
        column.operator("stereodiff.add_lens_camera", icon="OUTLINER_OB_CAMERA")
    if found.has_lens_maps:
        column.operator("stereodiff.add_lens_groups", icon="NODETREE")
        column.operator("stereodiff.add_lens_groups", text="Add Overscan Camera", icon="CAMERA_DATA").overscan = True
    column.operator("stereodiff.set_up_hold_out", icon="HOLDOUT_ON").state = "ON"
    column.operator("stereodiff.set_up_hold_out", text="Remove Hold-Out", icon="HOLDOUT_OFF").state = "OFF"
    column.operator_menu_enum("stereodiff.show_view", "view", text="Show on Mesh")


def draw_mesh(layout, context) -> None:
    """The displaced mesh, baking and points."""
    column = layout.column(align=True)
    column.label(text="Mesh")
    modifier = depth_modifier(chosen_import(context).mesh)
    if modifier is not None:
        _draw_inputs(column, modifier)
    column.operator("stereodiff.bake_mesh", icon="EXPORT")
    column.operator_menu_enum("stereodiff.import_points", "source", text="Import Points")


def _draw_inputs(layout, modifier: bpy.types.NodesModifier) -> None:
    """What can be set, and keyed, on the depth mesh; of the two confidences, the one it goes by now stands out."""
    column = layout.column(align=True)
    column.use_property_split = True
    idle = None
    if has_input(modifier, HOLD_OUT):
        idle = CONFIDENCE if get_input(modifier, HOLD_OUT) else HOLD_OUT_CONFIDENCE
    for name, text in ((STEP, "Step"), (TEAR, "Tear"), (TEAR_AT, "Threshold"), (FILL, "Fill Seams"),
                       (CONFIDENCE, "Confidence"), (HOLD_OUT_CONFIDENCE, "In Hold-Out"), (STILL, "Still Parts"),
                       (MOVING, "Moving Parts"), (SKY, "Sky")):
        if has_input(modifier, name):
            owner, attribute = input_property(modifier, name)
            row = column.row(align=True)
            row.active = name != idle
            row.prop(owner, attribute, text=text)


def draw_report(layout, context) -> None:
    """What to look at before the shot is trusted."""
    column = layout.column(align=True)
    column.label(text="Check")
    column.operator_menu_enum("stereodiff.open_plot", "plot", text="Open Plot", icon="GRAPH")
    column.operator("stereodiff.mark_frames", icon="MARKER_HLT")


def draw_finish(layout, context) -> None:
    """Place the shot in the scene, tracks in the clip, export."""
    column = layout.column(align=True)
    column.label(text="Place")
    _draw_place(column, context, "stereodiff.orient_floor", "Floor", "FLOOR")
    column.operator("stereodiff.orient_floor", text="Find Floor", icon="VIEWZOOM").source = "AUTOMATIC"
    _draw_place(column, context, "stereodiff.set_origin", "Origin", "ORIGIN")
    _draw_place(column, context, "stereodiff.set_axis", "Axis", "AXIS")
    _draw_place(column, context, "stereodiff.set_scale", "Scale", "SCALE")
    column = layout.column(align=True)
    column.label(text="Camera")
    column.operator("stereodiff.set_scene_to_clip")
    column.operator_menu_enum("stereodiff.set_sensor_fit", "fit", text="Sensor Fit")
    column.operator("stereodiff.write_tracks", icon="TRACKER")
    column.operator_menu_enum("stereodiff.export_camera", "kind", text="Export Camera")


def _draw_place(layout, context, operator: str, text: str, role: str) -> None:
    """Pick the points anew, or apply the markers again after they were moved; in the clip, the selected tracks."""
    row = layout.row(align=True)
    is_clip = context.space_data.type == "CLIP_EDITOR"
    row.operator(operator, text=text).source = "TRACKS" if is_clip else "MARKERS"
    if not is_clip:
        row.operator("stereodiff.pick_points", text="Pick", icon="EYEDROPPER").role = role


class FinishPanel:
    """Everything that works on an import in this scene."""

    bl_label = "Finish"
    bl_category = "StereoDiff"
    bl_region_type = "UI"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context):
        return has_imports(context.scene)

    def draw_header_preset(self, context):
        draw_help(self.layout, "artists/finish")

    def draw(self, context):
        for draw in (draw_report, draw_compositing, draw_mesh, draw_finish):
            draw(self.layout, context)


class STEREODIFF_PT_finish_view3d(FinishPanel, bpy.types.Panel):
    bl_space_type = "VIEW_3D"


class STEREODIFF_PT_finish_clip(FinishPanel, bpy.types.Panel):
    bl_space_type = "CLIP_EDITOR"


CLASSES = (STEREODIFF_PT_finish_view3d, STEREODIFF_PT_finish_clip)


def register() -> None:
    for cls in CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
