"""The list of jobs in the sidebar: pictures, states, sizes, and what can be done with the selected one.

No disk here either: pictures are icons that Blender reads by itself, sizes are measured beside it.
"""

from __future__ import annotations

import bpy

from ...jobs.views import size_text
from ...session import session
from ..drawing.text import draw_help, draw_problem, draw_text
from ..properties import active_job
from .health import draw_doctor
from .solve import STATE_ICONS, draw_quality, draw_shots

__all__ = ["register", "unregister"]

PREVIEW_SCALE = 7.0
LONGEST_NAME = 255


def list_detail(state: str, view: session.JobView | None) -> str:
    """What stands at the right of a list row: the size on disk, and the state of a job without result."""
    if view is None:
        return state
    word = state
    if state == "running":
        word = f"{view.status.fraction:.0%}"
        if view.status.is_stuck:
            word = "no answer" if view.status.is_silent else "no progress"
    if view.size is None:
        return word
    size = size_text(view.size.total)
    return size if state == "finished" else f"{word} · {size}"


def total_text(views: list[session.JobView]) -> str:
    """What the listed jobs take on disk; empty while nothing is known."""
    sizes = [view.size for view in views if view.size is not None]
    if not sizes:
        return ""
    total, cache = sum(size.total for size in sizes), sum(size.cache for size in sizes)
    return f"{size_text(total)} on disk" + (f", {size_text(cache)} of it cache" if cache else "")


def draw_job(layout, context, item, view: session.JobView | None) -> None:
    """The selected job: quality and Import, or what went wrong, its remedy and Resume."""
    if view is None:
        return
    status = view.status
    if status.state == "finished":
        layout.operator("stereodiff.import_result", text="Import", icon="IMPORT").directory = item.folder
    if status.can_resume:
        draw_end(layout, context, status, item.clip)
        layout.operator("stereodiff.resume", icon="PLAY").job_id = item.job_id
    if view.import_problem is not None:
        draw_problem(layout.box(), context, view.import_problem.code, view.import_problem.message)
    if view.import_note:
        box = layout.box()
        draw_text(box, context, view.import_note, "INFO")
        box.operator("stereodiff.set_scene_to_clip").job_id = item.job_id
    if view.outcome is not None:
        if view.outcome.icon_id:
            layout.template_icon(icon_value=view.outcome.icon_id, scale=PREVIEW_SCALE)
        draw_quality(layout, context, view.outcome)


def draw_end(layout, context, status: session.JobStatus, clip: bpy.types.MovieClip | None) -> None:
    """Why a job has no result; clip: that it was to solve."""
    box = layout.box()
    draw_problem(box, context, status.code or "internal_error", status.message or "")
    if status.state == "failed":
        draw_shots(box, status.shots, clip)
        row = box.row(align=True)
        row.operator("stereodiff.open_log", icon="TEXT")
        draw_doctor(row)


class STEREODIFF_UL_jobs(bpy.types.UIList):
    def draw_item(self, context, layout, data, item, icon, active_data, active_property):
        view, name = session.view(item.job_id), item.clip_name[:LONGEST_NAME]
        state = view.status.state if view is not None else item.state
        row = layout.row()
        if view is not None and view.outcome is not None and view.outcome.icon_id:
            row.label(text=name, icon_value=view.outcome.icon_id)
        else:
            row.label(text=name, icon=STATE_ICONS[state])
        detail = row.row()
        detail.alignment = "RIGHT"
        detail.active = False
        detail.label(text=list_detail(state, view))


class STEREODIFF_MT_jobs(bpy.types.Menu):
    bl_label = "Jobs"

    def draw(self, context):
        layout = self.layout
        layout.operator("stereodiff.find_jobs", icon="VIEWZOOM")
        layout.separator()
        layout.operator("stereodiff.remove_cache", icon="TRASH")
        layout.operator("stereodiff.remove_caches")
        layout.separator()
        layout.operator("stereodiff.cancel_all", icon="CANCEL")


class ResultsPanel:
    """The jobs of this scene, their quality and Import."""

    bl_label = "Results"
    bl_category = "StereoDiff"
    bl_region_type = "UI"

    def draw_header_preset(self, context):
        draw_help(self.layout, "artists/jobs")

    def draw(self, context):
        layout, group, jobs = self.layout, context.scene.stereodiff, session.status().jobs
        row = layout.row()
        row.template_list("STEREODIFF_UL_jobs", "", group, "jobs", group, "active_job_index", rows=4)
        buttons = row.column(align=True)
        buttons.operator("stereodiff.import_result", text="", icon="FILE_FOLDER")
        buttons.operator("stereodiff.open_log", text="", icon="TEXT")
        buttons.operator("stereodiff.remove_job", text="", icon="REMOVE")
        buttons.menu("STEREODIFF_MT_jobs", text="", icon="DOWNARROW_HLT")
        total = total_text([jobs[item.job_id] for item in group.jobs if item.job_id in jobs])
        if total:
            draw_text(layout, context, total, "DISK_DRIVE")
        item = active_job(context.scene)
        if item is not None:
            draw_job(layout, context, item, jobs.get(item.job_id))


class STEREODIFF_PT_results_view3d(ResultsPanel, bpy.types.Panel):
    bl_space_type = "VIEW_3D"


class STEREODIFF_PT_results_clip(ResultsPanel, bpy.types.Panel):
    bl_space_type = "CLIP_EDITOR"


CLASSES = (STEREODIFF_UL_jobs, STEREODIFF_MT_jobs, STEREODIFF_PT_results_view3d, STEREODIFF_PT_results_clip)


def register() -> None:
    for cls in CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
