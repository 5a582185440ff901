"""Buttons for the depth mesh and the points: detail, bake, import. Read the context, call a function, report."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bpy

from ...engine.contract import StereoDiffError
from ...scene.data import SceneImport, chosen_import
from ...scene.mesh import FORMATS, bake_mesh, set_step
from ...scene.points import Fusion, import_dense_points, import_solved_points
from .base import OnImport, fail

__all__ = ["register", "unregister"]

FORMAT_ITEMS = (
    ("ALEMBIC", "Alembic (.abc)", "The mesh as shown, torn, in world space, for renderers and other programs"),
    ("USD", "USD (.usdc)", "The mesh as shown, torn, below its root and camera, for renderers and other programs"),
    ("PC2", "Mesh Cache (.pc2)", "The whole grid's vertices; an object in this scene plays and tears it without the "
                                 "depth files"),
    ("MDD", "Mesh Cache (.mdd)", "As PC2, in LightWave's format"),
)
POINT_ITEMS = (
    ("SOLVED", "Solved", "The still points that the solve itself has measured"),
    ("DENSE", "Dense", "Still, sure depth of several frames, at an even spacing"),
)


@contextmanager
def _progress(context: bpy.types.Context, first: int, last: int) -> Iterator:
    """Gives a function to be told numbers from first to last, which the mouse pointer shows."""
    context.window_manager.progress_begin(first, max(last, first + 1))
    try:
        yield context.window_manager.progress_update
    finally:
        context.window_manager.progress_end()


class STEREODIFF_OT_mesh_detail(OnImport, bpy.types.Operator):
    """Make the depth mesh finer or coarser"""

    bl_idname = "stereodiff.mesh_detail"
    bl_label = "Mesh Detail"

    step: bpy.props.IntProperty(name="Step", default=1, min=1, max=64,
                                description="Pixels of the depth between neighboring vertices; 1 is the finest")

    def act(self, context: bpy.types.Context, found: SceneImport) -> None:
        set_step(found.mesh, self.step)


class STEREODIFF_OT_bake_mesh(OnImport, bpy.types.Operator):
    """Write the depth mesh to a file for renderers and other programs"""

    bl_idname = "stereodiff.bake_mesh"
    bl_label = "Bake Depth Mesh"

    filepath: bpy.props.StringProperty(name="File", subtype="FILE_PATH", options={"SKIP_SAVE"})
    check_existing: bpy.props.BoolProperty(default=True, options={"HIDDEN"})
    filter_glob: bpy.props.StringProperty(default=";".join(f"*{suffix}" for suffix in FORMATS.values()),
                                          options={"HIDDEN"})
    file_format: bpy.props.EnumProperty(name="Format", items=FORMAT_ITEMS)
    first_frame: bpy.props.IntProperty(name="Frame Start", options={"SKIP_SAVE"},
                                       description="Not given: the first solved frame")
    last_frame: bpy.props.IntProperty(name="End", options={"SKIP_SAVE"}, description="Not given: the last solved frame")

    def invoke(self, context, event):
        try:
            found = chosen_import(context)
        except StereoDiffError as error:
            return fail(self, error)
        self.first_frame, self.last_frame = found.scene_frames[0], found.scene_frames[-1]
        folder = Path(bpy.data.filepath).parent if bpy.data.filepath else Path.home()
        self.filepath = str(folder / f"{found.name} depth mesh{FORMATS[self.file_format]}")
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def check(self, context):
        """Keep the file's ending that of the format."""
        named = str(_with_suffix(self.filepath, self.file_format))
        changed, self.filepath = named != self.filepath, named
        return changed

    def draw(self, context):
        layout = self.layout
        layout.use_property_split = True
        layout.prop(self, "file_format")
        frames = layout.column(align=True)
        frames.prop(self, "first_frame")
        frames.prop(self, "last_frame")

    def act(self, context: bpy.types.Context, found: SceneImport) -> str:
        if not self.filepath:
            raise StereoDiffError("output_not_writable", "Choose a file.")
        path = _with_suffix(bpy.path.abspath(self.filepath), self.file_format)
        frames = self._frames(found.scene_frames)
        with _progress(context, frames.start, frames.stop) as on_frame:
            bake_mesh(context.scene, found, path, self.file_format, frames, on_frame)
        return f"{len(frames)} frames are in {path}."

    def _frames(self, solved: range) -> range:
        given = self.properties.is_property_set
        first = self.first_frame if given("first_frame") else solved[0]
        last = self.last_frame if given("last_frame") else solved[-1]
        return range(first, last + 1)


def _with_suffix(filepath: str, file_format: str) -> Path:
    path = Path(filepath)
    return path.with_suffix(FORMATS[file_format]) if path.name and path.suffix.lower() in FORMATS.values() \
        else Path(f"{filepath}{FORMATS[file_format]}")


class STEREODIFF_OT_import_points(OnImport, bpy.types.Operator):
    """Bring points with color into the scene; those of an earlier import are brought up to date"""

    bl_idname = "stereodiff.import_points"
    bl_label = "Import Points"

    source: bpy.props.EnumProperty(name="Points", items=POINT_ITEMS)
    spacing: bpy.props.FloatProperty(name="Spacing", min=0.0, soft_max=1.0, precision=4, subtype="DISTANCE",
                                     description="Distance between dense points in the scene; 0 chooses one")
    least_confidence: bpy.props.FloatProperty(name="Least Confidence", default=0.5, min=0.0, max=1.0, subtype="FACTOR",
                                              description="Leave out what was measured less surely than this")
    frame_count: bpy.props.IntProperty(name="Frames", default=12, min=1, max=200,
                                       description="How many frames dense points are taken from")

    def draw(self, context):
        layout = self.layout
        layout.use_property_split = True
        layout.prop(self, "source")
        if self.source == "DENSE":
            for name in ("spacing", "least_confidence", "frame_count"):
                layout.prop(self, name)

    def act(self, context: bpy.types.Context, found: SceneImport) -> None:
        if self.source == "SOLVED":
            import_solved_points(found)
            return
        scale = found.root.matrix_world.median_scale if found.root is not None else 1.0
        fusion = Fusion(self.spacing / scale, self.least_confidence, self.frame_count)
        with _progress(context, 0, self.frame_count) as on_frame:
            import_dense_points(found, fusion, on_frame)


CLASSES = (STEREODIFF_OT_mesh_detail, STEREODIFF_OT_bake_mesh, STEREODIFF_OT_import_points)


def register() -> None:
    for cls in CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
