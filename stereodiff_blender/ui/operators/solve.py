"""What the buttons do: read the context, call a function, report. All of them work from scripts and in background."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import bpy

from ...engine.contract import (
    ClipSource,
    GivenCameras,
    Job,
    JobFolder,
    Result,
    StereoDiffError,
    messages,
    read_colmap_cameras,
    shortened,
    user_folders,
)
from ...engine.contract.errors import Problem
from ...engine.contract.footage_fingerprint import fingerprint
from ...engine.contract.job_files.result_checks import read_checked
from ...engine.contract.job_files.worker_log import read_log_end
from ...engine.weights.licences import cards_of, refuse_unaccepted
from ...footage import cameras
from ...footage import clip as clips
from ...footage import matte as mattes
from ...health import preflight
from ...jobs import disk as job_files
from ...jobs import worker_process as jobs
from ...jobs.reader_thread import read_beside
from ...scene import import_objections, import_result
from ...session import job_list, session
from .. import preferences, properties
from .base import (
    WAIT_DESCRIPTION,
    OnActiveJobs,
    OnJobList,
    OnListedJob,
    fail,
    in_words,
    must_wait,
    show_text,
    written_text,
)

__all__ = ["register", "unregister"]

LONGEST_LINE = 2000


# --- Solve and cancel ------------------------------------------------------------------------------------------

class STEREODIFF_OT_solve(bpy.types.Operator):
    """Find camera and depth of the clip, in a program of its own beside Blender"""

    bl_idname = "stereodiff.solve"
    bl_label = "Solve"
    bl_options = {"REGISTER"}

    wait: bpy.props.BoolProperty(name="Wait", description=WAIT_DESCRIPTION, options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, context):
        if clips.chosen_clip(context) is None:
            cls.poll_message_set("Choose a clip first")
            return False
        return True

    def execute(self, context):
        try:
            clip = context.scene.stereodiff.clip = clips.chosen_clip(context)
            job_id = submit_job(context.scene, clip, session.current().engine.python())
        except StereoDiffError as error:
            return fail(self, error)
        if not must_wait(self):
            session.current().tick()
            return {"FINISHED"}
        session.current().wait_for(lambda: session.current().jobs.is_active(job_id))
        return _report_end(self, session.status().jobs[job_id])


def submit_job(scene: bpy.types.Scene, clip: bpy.types.MovieClip, python: Path, *, is_chosen: bool = True) -> str:
    """Write the job folder of what the scene asks for and queue it. Returns the job's id.

    is_chosen: whether it is the clip that the scene's frame range and matte belong to; any other is solved whole.
    """
    _refuse_unready(scene)
    source = clips.clip_source(clip, sequence_fps=scene.render.fps / scene.render.fps_base)
    first_frame, last_frame = properties.frame_range(scene, clip, is_chosen=is_chosen)
    known = read_beside(lambda: fingerprint(source, range(first_frame, last_frame + 1)))
    matte, shapes = mattes.chosen_matte(scene, clip, first_frame, last_frame) if is_chosen else (None, None)
    kind, given = _chosen_cameras(scene, clip, source, range(first_frame, last_frame + 1)) if is_chosen else ("", None)
    job_id = jobs.new_job_id(clip.name, datetime.now())
    job = Job(job_id, replace(source, fingerprint=known), first_frame, last_frame,
              properties.settings_from(scene, clip), matte, str(preferences.models_folder()), kind)
    folder = jobs.create_job(job, preferences.jobs_folder(), shapes, given)
    return session.current().jobs.submit(scene, clip, folder, launch_with(python))


def _chosen_cameras(scene: bpy.types.Scene, clip: bpy.types.MovieClip, source: ClipSource,
                    frames: range) -> tuple[str, GivenCameras | None]:
    """The kind of a job's cameras, and the cameras. Raises StereoDiffError "cameras_..."."""
    group = scene.stereodiff
    if group.cameras == "CLIP":
        return "clip", cameras.clip_cameras(clip, frames)
    if group.cameras == "SCENE":
        return "scene", cameras.scene_cameras(scene, group.cameras_object, clip, frames)
    if group.cameras == "COLMAP":
        if not group.cameras_folder:
            raise StereoDiffError("cameras_missing", "No folder of a COLMAP model is chosen.")
        folder = Path(bpy.path.abspath(group.cameras_folder))
        return "colmap", read_beside(lambda: read_colmap_cameras(folder, source, frames))
    return "", None


def launch_with(python: Path) -> session.Launch:
    """How this Blender starts workers in that interpreter."""
    return session.Launch(python, preferences.EXTENSION_ROOT, preferences.locks_folder(), preferences.cache_folder(),
                          preferences.cores())


def _refuse_unready(scene: bpy.types.Scene) -> None:
    """What the panel said would be refused; what it knows may be old, so it looks again for the next click."""
    try:
        settings = properties.settings_from(scene, with_lens=False)
        preflight.refuse(settings, preferences.models_folder(), session.status().checked)
        refuse_unaccepted(user_folders.user_folder(), cards_of(settings))
    except StereoDiffError:
        session.current().engine.look_again()
        raise


def _report_end(operator: bpy.types.Operator, view: session.JobView) -> set[str]:
    status = view.status
    if status.state != "finished":
        return fail(operator, Problem(status.code or "internal_error", status.message or ""))
    if view.import_problem is not None and view.import_problem.code == "better_import":
        operator.report({"WARNING"}, in_words(view.import_problem.code, view.import_problem.message))
        return {"FINISHED"}
    if view.import_problem is not None:
        return fail(operator, view.import_problem)
    if view.import_note:
        operator.report({"INFO"}, view.import_note)
    operator.report({"INFO"}, f"{view.clip_name} is solved.")
    return {"FINISHED"}


class STEREODIFF_OT_cancel(OnActiveJobs, bpy.types.Operator):
    """End the job and everything it started"""

    bl_idname = "stereodiff.cancel"
    bl_label = "Cancel"
    bl_options = {"REGISTER"}

    job_id: bpy.props.StringProperty(name="Job", description="Empty: the running job", options={"SKIP_SAVE"})

    def execute(self, context):
        status = session.status()
        job_id = self.job_id or (status.running or status.waiting[0]).job_id
        if not session.current().jobs.is_active(job_id):
            self.report({"WARNING"}, "This job has ended already.")
            return {"CANCELLED"}
        session.current().jobs.cancel(job_id)
        if bpy.app.background:
            session.current().wait_for(lambda: session.current().jobs.is_active(job_id))
        return {"FINISHED"}


# --- Results ---------------------------------------------------------------------------------------------------

class STEREODIFF_OT_import_result(bpy.types.Operator):
    """Bring camera, displaced mesh and depth of a finished job into this scene, in place of an earlier import of the
    same frames"""

    bl_idname = "stereodiff.import_result"
    bl_label = "Import Result"
    bl_options = {"REGISTER", "UNDO"}

    directory: bpy.props.StringProperty(name="Job Folder", description="The folder that holds result.json",
                                        subtype="DIR_PATH", options={"SKIP_SAVE"})
    replace_better: bpy.props.BoolProperty(
        name="Replace Better Import", options={"SKIP_SAVE"},
        description="Also in place of an import that holds more frames, or the same ones finer",
    )
    import_anyway: bpy.props.BoolProperty(
        name="Import Anyway", options={"SKIP_SAVE"},
        description="Also if the footage has been replaced since it was solved",
    )
    match_scene: bpy.props.BoolProperty(
        name="Match Scene to Clip", options={"SKIP_SAVE"},
        description="Give this scene the clip's size, rate and frames, and look through the camera. A scene that "
                    "nobody has set up yet is matched in any case",
    )

    def invoke(self, context, event):
        if not self.directory:
            context.window_manager.fileselect_add(self)
            return {"RUNNING_MODAL"}
        try:
            found = _found(self.directory)
            objections = import_objections(context.scene, found.folder, clip=found.clip, result=found.result)
        except StereoDiffError as error:
            return fail(self, error)
        if not objections:
            return self.execute(context)
        codes = [objection.code for objection in objections]
        self.replace_better, self.import_anyway = "better_import" in codes, "footage_changed" in codes
        return context.window_manager.invoke_confirm(
            self, event, title="Import All the Same?", confirm_text="Import", icon="WARNING",
            message="\n".join(f"{messages.explain(o.code).sentence} {o.message}" for o in objections))

    def execute(self, context):
        if not self.directory:
            self.report({"ERROR"}, "Choose the folder of a finished job.")
            return {"CANCELLED"}
        try:
            found = _found(self.directory)
            imported = import_result(context.scene, found.folder, clip=found.clip, result=found.result,
                                     replace_better=self.replace_better, import_anyway=self.import_anyway,
                                     match=self._match(context.scene))
        except StereoDiffError as error:
            return fail(self, error)
        session.current().jobs.adopt(context.scene, found.job_id, found.folder, imported.shot.name, found.result,
                                     imported.notes)
        if imported.note:
            self.report({"INFO"}, f"{imported.note} Set Scene to Clip changes that.")
        if imported.clip_note:
            self.report({"INFO"}, imported.clip_note)
        return {"FINISHED"}

    def _match(self, scene: bpy.types.Scene) -> str:
        return "ALWAYS" if self.match_scene else "NEW" if scene.stereodiff.match_scene else "UNTOUCHED"


@dataclass(frozen=True)
class _Found:
    """A finished job in a folder. clip: its footage, if that is open."""

    folder: Path
    job_id: str
    clip: bpy.types.MovieClip | None
    result: Result


def _found(directory: str) -> _Found:
    folder = Path(bpy.path.abspath(directory)).resolve()
    job, result = read_beside(lambda: (JobFolder(folder).read_job(), read_checked(JobFolder(folder))))
    item = job_list.find_item(job.id)
    clip = (item.clip if item else None) or clips.open_clip(result.clip, job.frame_numbers)
    return _Found(folder, job.id, clip, result)


class STEREODIFF_OT_use_shot(bpy.types.Operator):
    """Set the frame range to this shot, by its footage's own numbers; then click Solve"""

    bl_idname = "stereodiff.use_shot"
    bl_label = "Use Shot"
    bl_options = {"REGISTER", "UNDO"}

    first_frame: bpy.props.IntProperty(name="First Frame", default=1, min=0, options={"SKIP_SAVE"})
    last_frame: bpy.props.IntProperty(name="Last Frame", default=2, min=0, options={"SKIP_SAVE"})

    def execute(self, context):
        group, item = context.scene.stereodiff, properties.active_job(context.scene)
        if item is not None and item.clip is not None:
            group.clip = item.clip
        group.use_clip_range = False
        group.first_frame, group.last_frame = self.first_frame, self.last_frame
        return {"FINISHED"}


class STEREODIFF_OT_use_clip_frames(bpy.types.Operator):
    """Set the frame range to all frames of the clip, as its footage numbers them"""

    bl_idname = "stereodiff.use_clip_frames"
    bl_label = "Use Clip's Frames"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context):
        return context.scene.stereodiff.clip is not None

    def execute(self, context):
        group = context.scene.stereodiff
        first, last = clips.footage_range(group.clip)
        group.first_frame, group.last_frame = (clips.number_of_clip_frame(group.clip, n) for n in (first, last))
        return {"FINISHED"}


class STEREODIFF_OT_remove_job(OnListedJob, bpy.types.Operator):
    """Take a job off the list"""

    bl_idname = "stereodiff.remove_job"
    bl_label = "Remove Job"
    bl_options = {"REGISTER", "UNDO"}

    delete_files: bpy.props.BoolProperty(
        name="Also Delete Files", options={"SKIP_SAVE"},
        description="Delete the job's folder from disk. Imported scenes read their depth from there. Cannot be undone",
    )

    def invoke(self, context, event):
        return context.window_manager.invoke_props_dialog(self)

    def execute(self, context):
        item = self.item(context)
        if item is None or session.current().jobs.is_active(item.job_id):
            self.report({"ERROR"}, "Cancel the job first." if item else "This job is not in the list.")
            return {"CANCELLED"}
        job_id, folder = item.job_id, Path(item.folder)
        try:
            if self.delete_files:
                job_files.delete_job(folder, job_id)
        except StereoDiffError as error:
            return fail(self, error)
        job_list.remove_items(context.scene, job_id)
        session.current().jobs.forget(job_id)
        return {"FINISHED"}


class STEREODIFF_OT_open_log(OnJobList, bpy.types.Operator):
    """Show what the engine wrote while it worked on the selected job"""

    bl_idname = "stereodiff.open_log"
    bl_label = "Open Log"
    bl_options = {"REGISTER"}

    def execute(self, context):
        item = properties.active_job(context.scene)
        try:
            folder = JobFolder(item.folder)
            content = read_beside(lambda: read_log_end(folder.files))
        except StereoDiffError as error:
            return fail(self, error)
        except OSError as error:
            self.report({"ERROR"}, f"There is no log of this job: {error.strerror}.")
            return {"CANCELLED"}
        text = written_text(f"{item.job_id}.log", _with_short_lines(content))
        if not bpy.app.background:
            show_text(context, text)
        return {"FINISHED"}


def _with_short_lines(content: str) -> str:
    """A text editor that draws a line of a megabyte is slow for ever; and to it, a zero is the end of all."""
    return "\n".join(shortened(line.replace("\0", ""), LONGEST_LINE) for line in content.split("\n"))


CLASSES = (
    STEREODIFF_OT_solve, STEREODIFF_OT_cancel, STEREODIFF_OT_import_result, STEREODIFF_OT_remove_job,
    STEREODIFF_OT_open_log, STEREODIFF_OT_use_shot, STEREODIFF_OT_use_clip_frames,
)


def register() -> None:
    for cls in CLASSES:
        bpy.utils.register_class(cls)


def unregister() -> None:
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
