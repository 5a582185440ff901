"""Buttons for the comp: depth and lens in the compositor, hold-out and shadow catcher."""

from __future__ import annotations

import bpy

from ...engine.contract import StereoDiffError
from ...scene.camera import (
    add_lens_camera,
    add_overscan_camera,
    has_lens_cameras,
    set_rolling_shutter,
    shutter_of,
)
from ...scene.compositing import (
    add_depth_group,
    add_lens_groups,
    cuts_by_depth,
    finest_depth,
    has_hold_out,
    has_lens_itself,
    has_overscan_size,
    is_on,
    remove_hold_out,
    sees_overscan,
    set_up_hold_out,
)
from ...scene.data import SceneImport
from ...scene.mesh import VIEWS, show_view
from ...scene.result import ImportedResult
from .base import OnImport

__all__ = ["register", "unregister"]

EDGES = ("CG is cut off near the plate's edges: for CG there, make the camera of Add Lens Camera or Add Overscan "
         "Camera the scene's, and set up again.")
CROP = "The plate lies in the middle of the render, pixel upon pixel: crop it to {} x {}."
COARSER = ("CG has {:.0f} % fewer pixels across than the plate. For all of them, render {} x {} pixels, set up again, "
           "and crop the middle.")
THROUGH_LENS = "The plate stays as it was shot, and the scene's camera has its lens: nothing is redistorted."
CUT = "CG is cut by depth at the plate's size, in the compositor."
ZOOM = ("The lens zooms: distortion is that of the middle frame, and is off towards both ends of the shot. Solve the "
        "clip again for maps of every frame.")


class STEREODIFF_OT_add_depth_group(OnImport, bpy.types.Operator):
    """Add the footage's depth to the compositor as one node, beside what is there, or bring that node up to date"""

    bl_idname = "stereodiff.add_depth_group"
    bl_label = "Add Depth Node"

    def act(self, context, found):
        node = _add_depth_group(context.scene, found)
        if is_on(context.scene):
            return f"{node.label} is in the compositor."
        self.report({"WARNING"}, f"{node.label} is in the compositor, which is switched off.")
        return None


def _add_depth_group(scene: bpy.types.Scene, found: SceneImport) -> bpy.types.Node:
    if "depth" not in found.images:
        raise StereoDiffError("depth_missing", "")
    if found.root is None:
        raise StereoDiffError("import_missing", f"The root of {found.name} was deleted.")
    shot = found.read_imported_result()
    return add_depth_group(scene, shot, finest_depth(shot, found.images), found.root)


class STEREODIFF_OT_add_lens_groups(OnImport, bpy.types.Operator):
    """Add two nodes to the compositor: Undistort Plate fits the plate to the camera, Redistort CG CG to the plate"""

    bl_idname = "stereodiff.add_lens_groups"
    bl_label = "Add Lens Nodes"

    overscan: bpy.props.BoolProperty(
        name="Overscan Camera", default=False, options={"SKIP_SAVE"},
        description="Also add a camera that sees past the frame, as CG needs it to be redistorted up to its edges")

    def act(self, context, found):
        shot = found.read_imported_result()
        if shot.result.lens.undistort is None:
            raise StereoDiffError("lens_maps_missing", "")
        undistort, redistort = add_lens_groups(context.scene, shot)
        width, height = shot.overscan_size
        if self.overscan:
            camera = add_overscan_camera(found, shot)
            redistort.inputs["Overscan"].default_value = 1.0
            self.report({"INFO"}, f"Render {camera.name} at {width} x {height} pixels, in a scene of its own; or make "
                                  "it this scene's camera, and set up hold-out.")
        names = f"{undistort.label} and {redistort.label} are in the compositor"
        if not is_on(context.scene):
            self.report({"WARNING"}, f"{names}, which is switched off.")
            return None
        return f"{names}. With overscan the plate has {width} x {height} pixels.{_zoom_words(shot)}"


class STEREODIFF_OT_add_lens_camera(OnImport, bpy.types.Operator):
    """Add a camera for Cycles alone that shoots CG as the lens shot the plate: distorted, to its edges, and its zoom"""

    bl_idname = "stereodiff.add_lens_camera"
    bl_label = "Add Lens Camera"

    rolling_shutter: bpy.props.BoolProperty(
        name="Rolling Shutter", default=False, options={"SKIP_SAVE"},
        description="Also let this scene's render expose row after row, as the shot's camera did. This switches motion "
                    "blur on, and sets its shutter")
    exposure: bpy.props.FloatProperty(
        name="Exposure", default=0.5, min=0.01, max=1.0, options={"SKIP_SAVE"},
        description="For Rolling Shutter: how long each row was exposed, in frames; 0.5 is a shutter of 180 degrees")

    @classmethod
    def poll(cls, context):
        if not has_lens_cameras():
            cls.poll_message_set("Needs Blender 4.5 or later: before, a shader can give no lens to a camera of Cycles")
            return False
        return super().poll(context)

    def act(self, context, found):
        shot = found.read_imported_result()
        shutter = shutter_of(shot.result.lens.readout, self.exposure) if self.rolling_shutter else None
        camera = add_lens_camera(found, shot)
        if shutter is not None:
            set_rolling_shutter(context.scene, *shutter)
        width, height = shot.clip_size
        return (f"Render {camera.name} with Cycles, in the clip's shape, {width} x {height} pixels. "
                "What it renders lies on the plate as shot, without Redistort CG.")


class STEREODIFF_OT_set_up_hold_out(OnImport, bpy.types.Operator):
    """Let the footage hide CG behind it and catch its shadows, over the plate as it was shot. Again: take it back"""

    bl_idname = "stereodiff.set_up_hold_out"
    bl_label = "Set Up Hold-Out"

    state: bpy.props.EnumProperty(name="State", default="TOGGLE", options={"SKIP_SAVE"}, items=(
        ("TOGGLE", "Toggle", "Set up, or take back what was set up"),
        ("ON", "On", "Set up with these options"),
        ("OFF", "Off", "Put everything back as it was"),
    ))
    shadows: bpy.props.BoolProperty(
        name="Catch Shadows", default=True,
        description="Catch the shadows of CG on the footage. Needs Cycles and lights like those of the set")
    plate: bpy.props.BoolProperty(
        name="Plate Behind", default=True,
        description="Lay the render over the clip, as the last step of the compositor. The clip stays as it was shot; "
                    "where its lens has distortion, the render is redistorted onto it")

    def act(self, context, found):
        if self.state == "OFF" or (self.state == "TOGGLE" and has_hold_out(context.scene, found)):
            remove_hold_out(context.scene, found)
            return None
        catches = set_up_hold_out(context.scene, found, shadows=self.shadows, plate=self.plate)
        if self.shadows and not catches:
            self.report({"WARNING"}, "This render engine catches no shadows. Choose Cycles and set up again for them.")
        cut = CUT if self.plate and cuts_by_depth(context.scene, found) else None
        if not self.plate or not found.has_lens_maps:
            return cut
        if has_lens_itself(context.scene, found):
            return THROUGH_LENS
        return " ".join(filter(None, (_on_plate(context.scene, found), cut)))


def _on_plate(scene: bpy.types.Scene, found: SceneImport) -> str:
    """What becomes of the render of a lens with distortion."""
    shot = found.read_imported_result()
    lens = shot.result.lens
    edges = f" {_edge_words(scene, found, shot)}" if any(lens.overscan) else ""
    return f"The plate stays as it was shot, and the render is redistorted onto it.{edges}{_zoom_words(shot)}"


def _edge_words(scene: bpy.types.Scene, found: SceneImport, shot: ImportedResult) -> str:
    if not sees_overscan(scene, found):
        return EDGES
    if has_overscan_size(scene, found):
        return CROP.format(*shot.clip_size)
    return COARSER.format(100.0 * (1.0 - shot.clip_size[0] / shot.overscan_size[0]), *shot.overscan_size)


def _zoom_words(shot: ImportedResult) -> str:
    """The honest word about maps of a lens that zooms."""
    return f" {ZOOM}" if shot.has_maps_of_middle else ""


class STEREODIFF_OT_show_view(OnImport, bpy.types.Operator):
    """Show the plate, depth, confidence or motion mask on the mesh"""

    bl_idname = "stereodiff.show_view"
    bl_label = "Show on Mesh"

    view: bpy.props.EnumProperty(name="View", default="NORMALIZED",
                                 items=tuple((view.key, view.label, view.description) for view in VIEWS))

    def act(self, context, found):
        show_view(found, self.view)


CLASSES = (STEREODIFF_OT_add_depth_group, STEREODIFF_OT_add_lens_groups, STEREODIFF_OT_add_lens_camera,
           STEREODIFF_OT_set_up_hold_out, STEREODIFF_OT_show_view)


def register() -> None:
    for cls in CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
