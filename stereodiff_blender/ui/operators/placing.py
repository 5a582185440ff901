"""Buttons that finish a match-move: place the shot in the scene, lens, tracks in the clip, export."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import bpy
import numpy as np
from bpy_extras.view3d_utils import region_2d_to_origin_3d, region_2d_to_vector_3d
from mathutils import Vector

from ...engine.contract import StereoDiffError
from ...scene import reframe_pictures, set_scene_to_clip
from ...scene.camera import camera
from ...scene.data import SceneImport, chosen_import, imports_in
from ...scene.export import clip_tracks, export, picture_format
from ...scene.placing import floor, orientation, picking
from ...scene.result import ImportedResult
from ...session import session
from .base import OnImport

__all__ = ["register", "unregister"]

SOURCES = {
    "AUTOMATIC": ("Automatic", "Find the floor in the depth of the whole shot"),
    "MARKERS": ("Markers", "The empties that Pick Points placed; move them to adjust"),
    "SELECTED": ("Selected", "Selected objects, or selected vertices in Edit Mode; the active object comes last"),
    "TRACKS": ("Tracks", "Selected tracks of the clip, by the solved camera"),
    "CURSOR": ("3D Cursor", "The place of the 3D cursor"),
    "GIVEN": ("Given", "The coordinates below, in world space"),
}
ROLES = (
    ("FLOOR", "Floor", "Three points of the floor"), ("ORIGIN", "Origin", "The point that becomes the scene's origin"),
    ("AXIS", "Axis", "Two points, from the first towards the second"),
    ("SCALE", "Scale", "Two points of known distance"),
)
APPLIED_BY = {"FLOOR": "orient_floor", "ORIGIN": "set_origin", "AXIS": "set_axis", "SCALE": "set_scale"}


def _source(*names: str) -> bpy.props.EnumProperty:
    return bpy.props.EnumProperty(name="Points", description="Where the points are taken from",
                                  items=[(name, *SOURCES[name]) for name in names])


def _coordinates(letter: str) -> bpy.props.FloatVectorProperty:
    return bpy.props.FloatVectorProperty(name=f"Point {letter}", description="In world space, for Given",
                                         subtype="XYZ_LENGTH", options={"SKIP_SAVE"})


class OnSolve(OnImport):
    """An operator that places a solve in the scene, or takes something out of it."""

    import_first = "Import a finished job first"


# --- Place the shot ------------------------------------------------------------------------------------------------

class FromPoints(OnSolve):
    """An operator that goes by points. role: of picking.MARKS; it says how many."""

    role: str

    def points(self, context: bpy.types.Context, found: SceneImport) -> list[np.ndarray]:
        """World places, as many as the role has marks (a floor may have more). Raises StereoDiffError."""
        context.view_layer.update()
        needed = len(picking.MARKS[self.role])
        points = self._gathered(context, found, needed)
        if len(points) < needed or (len(points) > needed and self.role != "FLOOR"):
            raise StereoDiffError("points_missing", f"{needed} points are needed, {len(points)} are there.")
        return points

    def _gathered(self, context: bpy.types.Context, found: SceneImport, needed: int) -> list[np.ndarray]:
        if self.source == "MARKERS":
            return picking.marked_points(context.scene, found, self.role)
        if self.source == "SELECTED":
            return picking.selected_points(context)
        if self.source == "TRACKS":
            shot = found.read_imported_result()
            return clip_tracks.selected_track_points(found, shot, found.clip) if found.clip else []
        if self.source == "CURSOR":
            return [np.array(context.scene.cursor.location)]
        return [np.array(getattr(self, f"point_{letter}")) for letter in "abc"[:needed]]

    def draw(self, context):
        layout = self.layout
        layout.use_property_split = True
        names = [known.identifier for known in self.properties.bl_rna.properties if known.identifier != "rna_type"]
        for name in names:
            if self.source == "GIVEN" or not name.startswith("point_"):
                layout.prop(self, name)


class STEREODIFF_OT_orient_floor(FromPoints, bpy.types.Operator):
    """Turn and lift the whole import by its root, so that the floor is level at height zero and the camera above it"""

    bl_idname = "stereodiff.orient_floor"
    bl_label = "Orient Floor"
    role = "FLOOR"

    source: _source("AUTOMATIC", "MARKERS", "SELECTED", "TRACKS", "GIVEN")
    point_a: _coordinates("A")
    point_b: _coordinates("B")
    point_c: _coordinates("C")

    def act(self, context, found):
        context.view_layer.update()
        matrix = orientation.world_from_result(found)
        if self.source == "AUTOMATIC":
            plane = floor.find_floor(found.read_imported_result())
            orientation.move_root(found, orientation.plane_change(matrix, plane.normal, plane.offset))
            return f"{plane.share:.0%} of the lower half of the picture lies on the floor."
        if found.camera is None:
            raise StereoDiffError("import_missing", f"The camera of {found.name} was deleted.")
        above = np.array(found.camera.matrix_world.translation)
        orientation.move_root(found, orientation.floor_change(self.points(context, found), above))
        return None


class STEREODIFF_OT_set_axis(FromPoints, bpy.types.Operator):
    """Turn the whole import about the vertical, until the way from one point to the other goes along an axis"""

    bl_idname = "stereodiff.set_axis"
    bl_label = "Set Axis"
    role = "AXIS"

    source: _source("MARKERS", "SELECTED", "TRACKS", "GIVEN")
    axis: bpy.props.EnumProperty(name="Axis", description="Axis that the way from the first point to the second takes",
                                 items=[(name, name, "") for name in orientation.AXES])
    point_a: _coordinates("A")
    point_b: _coordinates("B")

    def act(self, context, found):
        orientation.move_root(found, orientation.axis_change(*self.points(context, found), self.axis))


class STEREODIFF_OT_set_origin(FromPoints, bpy.types.Operator):
    """Move the whole import by its root, so that a point comes to the scene's origin"""

    bl_idname = "stereodiff.set_origin"
    bl_label = "Set Origin"
    role = "ORIGIN"

    source: _source("MARKERS", "CURSOR", "SELECTED", "TRACKS", "GIVEN")
    point_a: _coordinates("A")

    def act(self, context, found):
        orientation.move_root(found, orientation.origin_change(*self.points(context, found)))


class STEREODIFF_OT_set_scale(FromPoints, bpy.types.Operator):
    """Scale the whole import about the scene's origin, so that two points are as far apart as they are in reality"""

    bl_idname = "stereodiff.set_scale"
    bl_label = "Set Scale"
    role = "SCALE"

    source: _source("MARKERS", "SELECTED", "TRACKS", "GIVEN")
    distance: bpy.props.FloatProperty(name="Distance", description="Between the two points in reality", default=1.0,
                                      min=1e-6, subtype="DISTANCE", unit="LENGTH")
    point_a: _coordinates("A")
    point_b: _coordinates("B")

    def invoke(self, context, event):
        return context.window_manager.invoke_props_dialog(self)

    def act(self, context, found):
        orientation.move_root(found, orientation.scale_change(*self.points(context, found), self.distance))


class STEREODIFF_OT_pick_points(OnSolve, bpy.types.Operator):
    """Click points on the mesh in the 3D View; a marker is placed at each, and after the last they are put to use"""

    bl_idname = "stereodiff.pick_points"
    bl_label = "Pick Points"

    role: bpy.props.EnumProperty(name="Role", description="What the points are for", items=ROLES)
    coordinates: bpy.props.FloatVectorProperty(
        name="Coordinates", size=9, options={"SKIP_SAVE", "HIDDEN"},
        description="For scripts: world space, three numbers for each point that the role needs",
    )

    def act(self, context, found):
        context.view_layer.update()
        count = len(picking.MARKS[self.role])
        picking.place_marks(found, self.role, np.reshape(self.coordinates, (3, 3))[:count])

    def invoke(self, context, event):
        if context.area is None or context.area.type != "VIEW_3D":
            self.report({"ERROR"}, "Pick points in a 3D View.")
            return {"CANCELLED"}
        self.picked = []
        context.window_manager.modal_handler_add(self)
        self._say(context)
        return {"RUNNING_MODAL"}

    def modal(self, context, event):
        if event.type in {"ESC", "RIGHTMOUSE"}:
            return self._end(context)
        if event.type != "LEFTMOUSE" or event.value != "PRESS" or not _is_over(context.region, event):
            return {"PASS_THROUGH"}
        place = _place_under(context, event)
        if place is None:
            self.report({"WARNING"}, "There is no mesh of the import under the pointer.")
            return {"RUNNING_MODAL"}
        self.picked.append(place)
        picking.place_marks(chosen_import(context), self.role, self.picked)
        if len(self.picked) < len(picking.MARKS[self.role]):
            self._say(context)
            return {"RUNNING_MODAL"}
        try:
            getattr(bpy.ops.stereodiff, APPLIED_BY[self.role])("INVOKE_DEFAULT", source="MARKERS")
        except RuntimeError as error:  # how Blender hands on what an operator reports as an error
            self.report({"ERROR"}, str(error).strip().removeprefix("Error: "))
        return self._end(context)

    def _say(self, context: bpy.types.Context) -> None:
        name = picking.MARKS[self.role][len(self.picked)]
        context.workspace.status_text_set(f"Click {name} on the mesh · Esc: stop")

    def _end(self, context: bpy.types.Context) -> set[str]:
        context.workspace.status_text_set(None)
        return {"FINISHED"} if self.picked else {"CANCELLED"}


def _is_over(region: bpy.types.Region, event: bpy.types.Event) -> bool:
    return 0 <= event.mouse_region_x < region.width and 0 <= event.mouse_region_y < region.height


def _place_under(context: bpy.types.Context, event: bpy.types.Event) -> np.ndarray | None:
    """The place of the import's mesh under the pointer, in world space."""
    pointer = Vector((event.mouse_region_x, event.mouse_region_y))
    view = (context.region, context.region_data, pointer)
    return picking.hit_mesh(context.scene, context.evaluated_depsgraph_get(), chosen_import(context),
                            region_2d_to_origin_3d(*view), region_2d_to_vector_3d(*view))


# --- Lens, tracks and export ---------------------------------------------------------------------------------------

class STEREODIFF_OT_set_sensor_fit(OnSolve, bpy.types.Operator):
    """Change the camera's Sensor Fit and write its lens anew for it, so that it still matches the plate"""

    bl_idname = "stereodiff.set_sensor_fit"
    bl_label = "Set Sensor Fit"

    fit: bpy.props.EnumProperty(name="Sensor Fit", items=[
        ("AUTO", "Auto", "To the longer side of the picture"), ("HORIZONTAL", "Horizontal", "To the picture's width"),
        ("VERTICAL", "Vertical", "To the picture's height"),
    ], default="HORIZONTAL")

    def act(self, context, found):
        if found.camera is None:
            raise StereoDiffError("import_missing", f"The camera of {found.name} was deleted.")
        shot = found.read_imported_result()
        found.camera.data.sensor_fit = self.fit
        camera.set_lens(found.camera.data, shot)
        reframe_pictures(context.scene)


class STEREODIFF_OT_set_scene_to_clip(OnImport, bpy.types.Operator):
    """Give this scene the size, rate and frames of the shot's clip, and look through its camera"""

    bl_idname = "stereodiff.set_scene_to_clip"
    bl_label = "Set Scene to Clip"

    job_id: bpy.props.StringProperty(name="Job", options={"SKIP_SAVE", "HIDDEN"},
                                     description="Empty: the import of the active object, else of the scene's camera")

    def act(self, context, found):
        found = next((other for other in imports_in(context.scene) if other.job_id == self.job_id), found)
        set_scene_to_clip(context.scene, found)
        session.current().jobs.clear_note(found.job_id)


class STEREODIFF_OT_write_tracks(OnSolve, bpy.types.Operator):
    """Write the solved points into the clip as tracks with bundles, in a tracking object of their own"""

    bl_idname = "stereodiff.write_tracks"
    bl_label = "Write Tracks"

    count: bpy.props.IntProperty(name="Tracks", description="How many points to write at most; the longest are taken",
                                 default=clip_tracks.COUNT, min=clip_tracks.FEWEST_TRACKS, max=5000, soft_max=1000)

    def act(self, context, found):
        if found.clip is None:
            raise StereoDiffError("clip_missing", "No clip stands behind the import's camera.")
        written = clip_tracks.write_tracks(context, found.read_imported_result(), found.clip, self.count)
        few = written.cameras < len(found.scene_frames)
        frames = f" Only {written.cameras} frames share enough of them." if few else ""
        kept = "" if written.has_lens else " The clip's lens was left as you have it."
        if written.zoom:
            self.report({"WARNING"}, ZOOMED_TRACKS.format(written.zoom))
        return f"{written.tracks} tracks were written, {written.bundles} of them with a bundle.{frames}{kept}"


ZOOMED_TRACKS = ("The lens zooms by {:.0%}, and a clip has one lens for all frames, that of the middle one: its "
                 "tracks, as Blender solves them, are off. The camera in the scene follows the zoom.")
LANDSCAPE_ONLY = {"FBX", "ALEMBIC"}
IDEAL = "It is the ideal camera, because the format holds no lens distortion; undistort the plate with the ST maps"
WIDE = "Its picture is the undistorted plate with overscan, {} x {} pixels, as lens/undistort.exr of the job makes it"
MANY_MAPS = "The lens zooms: each frame has its own ST map, in lens/undistort and lens/redistort of the job"
ZOOMS = "The ST maps are those of the middle frame, and the camera's lens is that of every frame"
SQUARE = "The format holds no pixel aspect: set {:.4g} where its picture is rendered"
IN_FORMAT = "Its field of view is that of the format, {} x {}; Blender's camera has the plate's, with its overscan"
FOR_BLENDER = "Other programs read it right; Blender takes a portrait camera's lens wrong from it, and right from USD"


class STEREODIFF_OT_export_camera(OnSolve, bpy.types.Operator):
    """Write the camera for other programs as it moves in this scene, with the root's transform but without its scale"""

    bl_idname = "stereodiff.export_camera"
    bl_label = "Export Camera"
    bl_options = {"REGISTER"}

    kind: bpy.props.EnumProperty(name="Format", items=[
        ("CHAN", "Nuke (.chan)", "World y up, camera along its -z, rotation order ZXY, vertical field of view of "
                                 "every frame. Holds no lens distortion, lens shift or pixel aspect"),
        ("FBX", "FBX (.fbx)", "By Blender's exporter: world y up, in centimeters. Holds no lens distortion or pixel "
                              "aspect. Of portrait clips, take USD"),
        ("ALEMBIC", "Alembic (.abc)", "By Blender's exporter: world y up. Holds no lens distortion or pixel aspect. Of "
                                      "portrait clips, take USD"),
        ("USD", "USD (.usdc)", "By Blender's exporter: world z up. Holds no lens distortion or pixel aspect"),
        ("COLMAP", "COLMAP (folder)", "cameras, images, points3D, as text: world z up as here, world to camera, "
                                      "camera x right, y down, z forward. Holds lens distortion, for the plate as "
                                      "shot"),
        ("TUM", "TUM (.txt)", "Seconds, position, quaternion x y z w: world z up as here, camera to world, camera x "
                              "right, y down, z forward. Holds no lens"),
    ])
    filepath: bpy.props.StringProperty(name="File", description="File to write; a folder for COLMAP",
                                       subtype="FILE_PATH", options={"SKIP_SAVE"})
    overscan: bpy.props.BoolProperty(
        name="Overscan", default=True, options={"SKIP_SAVE"},
        description="Of a lens with distortion: a camera for the plate that the ST map undistorts, which is larger "
                    "than the plate as shot. Not for COLMAP and TUM")

    def invoke(self, context, event):
        found = chosen_import(context)
        self.filepath = self.filepath or f"{found.name}_camera{export.ENDINGS[self.kind]}"
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def act(self, context, found):
        if not self.filepath:
            raise StereoDiffError("output_not_writable", "No file was chosen.")
        path = Path(bpy.path.abspath(self.filepath)).absolute()
        written = export.export_camera(context, found, self.kind, path, overscan=self.overscan)
        return ". ".join([f"{written} was written", *_remarks(self.kind, found, self.overscan)]) + "."


def _remarks(kind: str, found: SceneImport, overscan: bool) -> Iterator[str]:
    """What has to be known about a camera in a format. overscan: that it was asked for."""
    shot = found.read_imported_result()
    shown = picture_format.format_of(shot) if kind == "CHAN" else None
    if shown is not None:
        yield IN_FORMAT.format(*shown.size)
    if kind in LANDSCAPE_ONLY and found.clip is not None and found.clip.size[1] > found.clip.size[0]:
        yield FOR_BLENDER
    if kind in export.WITH_OVERSCAN and shot.pixel_aspect != 1.0:
        yield SQUARE.format(shot.pixel_aspect)
    if kind in export.WITH_OVERSCAN and shot.distortion is not None:
        yield IDEAL
        yield from _picture_words(kind, shot, overscan)


def _picture_words(kind: str, shot: ImportedResult, overscan: bool) -> Iterator[str]:
    """Which undistorted picture an ideal camera is for."""
    if overscan and any(export.picture_overscan(kind, shot)):
        yield WIDE.format(*shot.overscan_size)
    if shot.result.frames[0].undistort is not None:
        yield MANY_MAPS
    elif shot.has_maps_of_middle:
        yield ZOOMS


CLASSES = (
    STEREODIFF_OT_orient_floor, STEREODIFF_OT_set_axis, STEREODIFF_OT_set_origin, STEREODIFF_OT_set_scale,
    STEREODIFF_OT_pick_points, STEREODIFF_OT_set_sensor_fit, STEREODIFF_OT_set_scene_to_clip,
    STEREODIFF_OT_write_tracks, STEREODIFF_OT_export_camera,
)


def register() -> None:
    for cls in CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
