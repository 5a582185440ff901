"""What the buttons of the queue and the job list do: resume, move, cancel, find, clear up, and solve many clips."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import bpy

from ...engine.contract import StereoDiffError
from ...engine.contract.errors import Problem
from ...footage import clip as clips
from ...jobs import disk as job_files
from ...jobs.reader_thread import read_beside
from ...jobs.views import size_text
from ...session import job_list, session
from .. import preferences
from .base import WAIT_DESCRIPTION, OnActiveJobs, OnJobList, OnListedJob, fail, in_words, must_wait
from .solve import launch_with, submit_job

__all__ = ["register", "unregister"]


# --- Resume and the queue --------------------------------------------------------------------------------------

class STEREODIFF_OT_resume(OnListedJob, bpy.types.Operator):
    """Go on with a job that was cancelled, failed or interrupted, from where it stopped and with its own settings"""

    bl_idname = "stereodiff.resume"
    bl_label = "Resume"
    bl_options = {"REGISTER"}

    wait: bpy.props.BoolProperty(name="Wait", description=WAIT_DESCRIPTION, options={"SKIP_SAVE"})

    def execute(self, context):
        item = self.item(context)
        if item is None:
            self.report({"ERROR"}, "This job is not in the list.")
            return {"CANCELLED"}
        job_id = item.job_id
        try:
            session.current().jobs.resume(job_id, launch_with(session.current().engine.python()))
        except StereoDiffError as error:
            return fail(self, error)
        if must_wait(self):
            session.current().wait_for(lambda: session.current().jobs.is_active(job_id))
            status = session.status().jobs[job_id].status
            if status.state != "finished":
                return fail(self, Problem(status.code or "internal_error", status.message or ""))
        return {"FINISHED"}


class STEREODIFF_OT_move_job(bpy.types.Operator):
    """Change the order in which waiting jobs are started"""

    bl_idname = "stereodiff.move_job"
    bl_label = "Move Job"
    bl_options = {"REGISTER"}

    job_id: bpy.props.StringProperty(name="Job", description="The waiting job", options={"SKIP_SAVE"})
    direction: bpy.props.EnumProperty(name="Direction", items=(
        ("UP", "Up", "Start it earlier"), ("DOWN", "Down", "Start it later")), options={"SKIP_SAVE"})

    def execute(self, context):
        moved = session.current().jobs.queue.move(self.job_id, -1 if self.direction == "UP" else 1)
        return {"FINISHED"} if moved else {"CANCELLED"}


class STEREODIFF_OT_cancel_all(OnActiveJobs, bpy.types.Operator):
    """End the running job and take all others off the queue; what they have done is kept for Resume"""

    bl_idname = "stereodiff.cancel_all"
    bl_label = "Cancel All Jobs"
    bl_options = {"REGISTER"}

    def invoke(self, context, event):
        return context.window_manager.invoke_confirm(self, event)

    def execute(self, context):
        status = session.status()
        active = [view.job_id for view in (*status.waiting, status.running, *status.others_running) if view is not None]
        for job_id in active:
            session.current().jobs.cancel(job_id)
        if bpy.app.background:
            session.current().wait_for(lambda: any(session.current().jobs.is_active(job_id) for job_id in active))
        return {"FINISHED"}


# --- Many clips ------------------------------------------------------------------------------------------------

class STEREODIFF_OT_solve_all(bpy.types.Operator):
    """Queue every clip of this file: the chosen one as set here, all others whole, without matte, in the same way"""

    bl_idname = "stereodiff.solve_all"
    bl_label = "Solve All Clips"
    bl_options = {"REGISTER"}

    wait: bpy.props.BoolProperty(name="Wait", description=WAIT_DESCRIPTION, options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, context):
        if not bpy.data.movieclips:
            cls.poll_message_set("There is no clip in this file")
            return False
        return True

    def execute(self, context):
        try:
            python = session.current().engine.python()
        except StereoDiffError as error:
            return fail(self, error)
        queued = list(_submit_all(self, context, python))
        self.report({"INFO"}, f"{len(queued)} of {len(bpy.data.movieclips)} clips are queued.")
        if queued and must_wait(self):
            session.current().wait_for(lambda: any(session.current().jobs.is_active(job_id) for job_id in queued))
        return {"FINISHED"} if queued else {"CANCELLED"}


def _submit_all(operator: bpy.types.Operator, context: bpy.types.Context, python: Path) -> Iterator[str]:
    """Queue what can be; one clip's fault is not the next one's."""
    group = context.scene.stereodiff
    group.clip = clips.chosen_clip(context)
    matte = group.matte_clip if group.matte == "CLIP" else None
    is_active = session.current().jobs.is_active
    waiting = {item.clip for item in group.jobs if item.clip is not None and is_active(item.job_id)}
    for clip in bpy.data.movieclips:
        if clip == matte or clip in waiting:
            continue
        try:
            yield submit_job(context.scene, clip, python, is_chosen=clip == group.clip)
        except StereoDiffError as error:
            operator.report({"WARNING"}, f"{clip.name}: {in_words(error.code, error.message)}")


# --- The list --------------------------------------------------------------------------------------------------

class STEREODIFF_OT_find_jobs(bpy.types.Operator):
    """List the jobs in the jobs folder that this file does not know, such as those of a file that was never saved"""

    bl_idname = "stereodiff.find_jobs"
    bl_label = "Find Jobs"
    bl_options = {"REGISTER", "UNDO"}

    directory: bpy.props.StringProperty(name="Jobs Folder", description="Empty: that of the preferences",
                                        subtype="DIR_PATH", options={"SKIP_SAVE", "HIDDEN"})

    def execute(self, context):
        folder = Path(bpy.path.abspath(self.directory)) if self.directory else preferences.jobs_folder()
        try:
            there = read_beside(lambda: list(job_files.find_jobs(folder)))
        except StereoDiffError as error:
            return fail(self, error)
        listed = job_list.items_by_job()
        unknown = [found for found in there if found.job.id not in listed]
        for found in unknown:
            clip = clips.open_clip(found.job.clip, found.job.frame_numbers)
            session.current().jobs.list_found(context.scene, found, clip)
        if bpy.app.background:  # nobody ticks afterwards
            session.current().jobs.settle()
        self.report({"INFO"}, f"{len(unknown)} jobs were found." if unknown else f"{folder} holds no other jobs.")
        return {"FINISHED"}


class STEREODIFF_OT_remove_cache(OnListedJob, bpy.types.Operator):
    """Delete what the job keeps for Resume; its result stays. Cannot be undone"""

    bl_idname = "stereodiff.remove_cache"
    bl_label = "Remove Cache"
    bl_options = {"REGISTER"}

    def invoke(self, context, event):
        return _confirm_removal(self, context, event)

    def execute(self, context):
        item = self.item(context)
        if item is None:
            self.report({"ERROR"}, "This job is not in the list.")
            return {"CANCELLED"}
        try:
            freed = _remove_cache(item)
        except StereoDiffError as error:
            return fail(self, error)
        return _report_freed(self, freed, failed=0)


class STEREODIFF_OT_remove_caches(OnJobList, bpy.types.Operator):
    """Delete what all jobs of this file that have ended keep for Resume; their results stay. Cannot be undone"""

    bl_idname = "stereodiff.remove_caches"
    bl_label = "Remove Caches of All Ended Jobs"
    bl_options = {"REGISTER"}

    def invoke(self, context, event):
        return _confirm_removal(self, context, event)

    def execute(self, context):
        freed = failed = 0
        for item in list(context.scene.stereodiff.jobs):
            if session.current().jobs.is_active(item.job_id) or not Path(item.folder).exists():
                continue
            try:
                freed += _remove_cache(item)
            except StereoDiffError as error:
                failed += 1
                self.report({"WARNING"}, f"{item.clip_name}: {in_words(error.code, error.message)}")
        return _report_freed(self, freed, failed)


def _confirm_removal(operator: bpy.types.Operator, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
    return context.window_manager.invoke_confirm(
        operator, event, title=operator.bl_label, confirm_text="Remove",
        message="Results stay. A job without a result begins anew when it is resumed")


def _report_freed(operator: bpy.types.Operator, freed: int, failed: int) -> set[str]:
    """Nothing is called done that was not. failed: jobs whose cache could not be removed."""
    if freed:
        kept = f" {failed} caches could not be removed." if failed else ""
        operator.report({"INFO"}, f"{size_text(freed)} were freed.{kept}")
        return {"FINISHED"}
    operator.report({"ERROR"} if failed else {"INFO"},
                    "No cache could be removed." if failed else "There is no cache to remove.")
    return {"CANCELLED"}


def _remove_cache(item) -> int:
    """Bytes that were freed. Raises StereoDiffError as job_files.remove_cache does."""
    if session.current().jobs.is_active(item.job_id):
        raise StereoDiffError("job_locked", f"{item.clip_name} has not ended.")
    freed = job_files.remove_cache(Path(item.folder), item.job_id)
    session.current().jobs.measure(item.job_id)
    return freed


CLASSES = (
    STEREODIFF_OT_resume, STEREODIFF_OT_move_job, STEREODIFF_OT_cancel_all, STEREODIFF_OT_solve_all,
    STEREODIFF_OT_find_jobs, STEREODIFF_OT_remove_cache, STEREODIFF_OT_remove_caches,
)


def register() -> None:
    for cls in CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
