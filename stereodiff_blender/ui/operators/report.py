"""Buttons of the quality report: open its plots, mark the frames to look at on the timeline."""

from __future__ import annotations

import math

import bpy

from ...engine.contract import JobFolder, Result, StereoDiffError
from ...engine.contract.job_files.result_checks import check_shown
from ...scene.data import chosen_import
from .base import OnImport, fail

__all__ = ["register", "unregister"]

PLOTS = (
    ("CAMERA", "Fit of the Camera", "How far tracked points lie from where the camera puts them, frame by frame"),
    ("FLICKER", "Flicker", "How still things flicker before and after stage 2, by frequency, with window borders"),
)
MARK = "SD "
"""Begins the names of our markers."""
WORST_FRAMES = 3
WORSE_THAN_MEDIAN = 1.3
"""A frame is worth a marker from this multiple of the typical error on."""


class STEREODIFF_OT_open_plot(OnImport, bpy.types.Operator):
    """Show a plot of the result's quality in an image editor"""

    bl_idname = "stereodiff.open_plot"
    bl_label = "Open Plot"
    bl_options = {"REGISTER"}

    plot: bpy.props.EnumProperty(name="Plot", items=PLOTS)

    def execute(self, context):
        try:
            found = chosen_import(context)
            result = found.read_imported_result().result
        except StereoDiffError as error:
            return fail(self, error)
        name = result.camera_plot if self.plot == "CAMERA" else result.plot
        if name is None or not (found.folder / name).is_file():
            self.report({"ERROR"}, "This result has no such plot")
            return {"CANCELLED"}
        try:
            check_shown(JobFolder(found.folder).files, name)
        except StereoDiffError as error:
            return fail(self, error)
        image = bpy.data.images.load(str(found.folder / name), check_existing=True)
        image.reload()
        if not bpy.app.background:
            show_image(context, image)
        return {"FINISHED"}


def show_image(context: bpy.types.Context, image: bpy.types.Image) -> None:
    """In an image editor that is open, or else in a new window."""
    areas = [area for window in context.window_manager.windows for area in window.screen.areas]
    area = next((area for area in areas if area.ui_type == "IMAGE_EDITOR"), None)
    if area is None:
        bpy.ops.wm.window_new()
        area = context.window_manager.windows[-1].screen.areas[0]
        area.ui_type = "IMAGE_EDITOR"
    area.spaces.active.image = image


class STEREODIFF_OT_mark_frames(OnImport, bpy.types.Operator):
    """Put markers on the timeline where the solve is worst, a part is guessed, or a camera interpolated; at windows"""

    bl_idname = "stereodiff.mark_frames"
    bl_label = "Mark Frames to Check"

    def act(self, context, found):
        shot = found.read_imported_result()
        markers = context.scene.timeline_markers
        for old in [marker for marker in markers if marker.name.startswith(MARK)]:
            markers.remove(old)
        marked = frames_to_check(shot.result)
        for frame, words in marked.items():
            markers.new(MARK + words, frame=shot.scene_frame(frame))
        return f"{len(marked)} frames are marked." if marked else "No frame stands out."


def frames_to_check(result: Result) -> dict[int, str]:
    """Words by clip frame, of the frames an artist should look at."""
    seams = result.refinement.seam_frames if result.refinement is not None else ()
    found = dict.fromkeys(seams, "window")
    found |= {one.first_frame: f"{one.region} guessed" for one in result.quality.guessed}
    found |= dict.fromkeys(_firsts_of_runs(result.quality.unsolved_frames), "interpolated")
    errors = {entry.frame: result.plate_scale * entry.reprojection_px for entry in result.frames
              if entry.reprojection_px is not None and math.isfinite(entry.reprojection_px)}
    typical = sorted(errors.values())[len(errors) // 2] if errors else 0.0
    worst = sorted(errors, key=errors.get, reverse=True)[:WORST_FRAMES]
    found |= {frame: f"{errors[frame]:.2f} px" for frame in worst if errors[frame] > WORSE_THAN_MEDIAN * typical}
    return dict(sorted(found.items()))


def _firsts_of_runs(frames: tuple[int, ...]) -> list[int]:
    """Of frames in a row, the first."""
    return [frame for frame in frames if frame - 1 not in frames]


CLASSES = (STEREODIFF_OT_open_plot, STEREODIFF_OT_mark_frames)


def register() -> None:
    for cls in CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
