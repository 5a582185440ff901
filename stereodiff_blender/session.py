"""The jobs of this Blender: a queue of which one runs at a time, followed by a timer.

The timer's tick polls, starts the next job, imports what is done and keeps what panels draw. Panels read status() and
nothing else. A worker outlives Blender: a job that a loaded file still calls unfinished is followed again.
Background Blenders have no timer; whoever waits there calls tick().
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import bpy

from . import job_list
from .checkup import Checked, Checkup, Question
from .engine.contract import JobFolder, Quality, Refinement, ResultWarning, StereoDiffError, WeightsUsed
from .installation import Installation, InstallationView, Problem, problem_from
from .jobs import FollowedJob, JobStatus, start
from .scene import import_result

TICK_S = 0.25
DRAWN_IN = {"VIEW_3D": "UI", "CLIP_EDITOR": "UI", "PREFERENCES": "WINDOW"}
logger = logging.getLogger(__name__)


# --- What panels see -------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Outcome:
    """What a finished job's result says about itself; read from disk once."""

    camera_kind: str
    frame_count: int
    quality: Quality
    warnings: tuple[ResultWarning, ...]
    weights: tuple[WeightsUsed, ...] = ()
    refinement: Refinement | None = None


@dataclass(frozen=True)
class JobView:
    """One job for drawing. import_problem: the solve is fine, bringing it into the scene was not."""

    job_id: str
    clip_name: str
    status: JobStatus
    outcome: Outcome | None = None
    import_problem: Problem | None = None


@dataclass(frozen=True)
class Status:
    """Everything panels draw. jobs: by job id, of this session. running, waiting: those not ended.

    engine_problem: why no job could start; only looked for while engine_is_known is False.
    checked: of the last checkup that came to its end, None before the first.
    """

    jobs: dict[str, JobView] = field(default_factory=dict)
    running: JobView | None = None
    waiting: tuple[JobView, ...] = ()
    installation: InstallationView | None = None
    engine_is_known: bool = False
    engine_problem: Problem | None = None
    checked: Checked | None = None
    is_examining: bool = False


# --- Jobs ------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Launch:
    """How to start a job's worker: its interpreter, and the folder that contains stereodiff_blender/."""

    python: Path
    extension_root: Path


@dataclass
class Entry:
    """One job this Blender knows. launch: None once started, or if another Blender did. followed: None until then."""

    job_id: str
    folder: Path
    clip_name: str
    scene_uid: int
    launch: Launch | None = None
    followed: FollowedJob | None = None
    status: JobStatus = JobStatus("waiting")
    outcome: Outcome | None = None
    import_problem: Problem | None = None

    def view(self) -> JobView:
        return JobView(self.job_id, self.clip_name, self.status, self.outcome, self.import_problem)


class Session:
    """All jobs of this Blender, in the order they were asked for. tick() does everything."""

    def __init__(self, find_python: Callable[[], Path], checkup_question: Callable[[], Question] | None = None):
        """find_python: the worker's interpreter, or raises StereoDiffError; only called from ticks.

        checkup_question: what to ask the doctor once an engine is found; None: he only comes when asked for.
        """
        self._find_python = find_python
        self._checkup_question = checkup_question
        self._checkup: Checkup | None = None
        self._after_checkup: Callable[[Checked], None] | None = None
        self._checked: Checked | None = None
        self._examined_python: Path | None = None
        self._entries: dict[str, Entry] = {}
        self._unread: deque[str] = deque()
        self._installation: Installation | None = None
        self._engine_is_known = False
        self._engine_problem: Problem | None = None
        self._must_attach = True
        self._drawn: object = None

    # -- asked for by operators --

    def submit(self, scene: bpy.types.Scene, clip: bpy.types.MovieClip, folder: Path, launch: Launch) -> str:
        """Queue a created job folder and list it in the scene. Returns the job's id."""
        entry = Entry(folder.name, folder, clip.name, scene.session_uid, launch)
        self._entries[entry.job_id] = entry
        _list(scene, entry, clip)
        self.wake()
        return entry.job_id

    def adopt(self, scene: bpy.types.Scene, job_id: str, folder: Path, clip_name: str) -> None:
        """Know a job that ended elsewhere, and list it, so that its quality can be read."""
        if job_id not in self._entries:
            self._entries[job_id] = Entry(job_id, folder, clip_name, scene.session_uid, status=JobStatus("finished"))
        if job_list.find_item(job_id) is None:
            _list(scene, self._entries[job_id], None)
        self._unread.append(job_id)
        self.wake()

    def cancel(self, job_id: str) -> None:
        """Ask a job to end; ticks see it through. A job that has ended stays as it is."""
        entry = self._entries[job_id]
        if entry.status.has_ended:
            return
        entry.followed = entry.followed or FollowedJob(entry.folder)
        entry.followed.cancel()
        self.wake()

    def forget(self, job_id: str) -> None:
        """No longer know an ended job."""
        if self.is_active(job_id):
            raise ValueError(f"job {job_id} has not ended")
        self._entries.pop(job_id, None)

    def install(self, work: Callable[[Installation], object]) -> None:
        """Do some work on the engine's environment in a thread: see Installation."""
        if self.is_installing():
            raise ValueError("an installation is running")
        self._installation = Installation(work)
        self.wake()

    def cancel_installation(self) -> None:
        """Ask the work on the engine's environment to end, if there is any."""
        if self._installation is not None:
            self._installation.cancel()

    def look_for_engine(self) -> None:
        """Find out again, at the next tick, whether a worker could start."""
        self._engine_is_known = False
        self.wake()

    def examine(self, question: Question, then: Callable[[Checked], None] | None = None) -> None:
        """Ask the doctor in a thread. then: told what was found, by the tick after his end."""
        if self.is_examining():
            raise ValueError("the doctor is at work")
        self._checkup, self._after_checkup = Checkup(question), then
        self._examined_python = question.python
        self.wake()

    def look_again(self) -> None:
        """The installation or the weights have changed: find out anew what can run."""
        self._examined_python = None
        self.look_for_engine()

    def wait_for(self, is_active: Callable[[], bool]) -> None:
        """Tick until is_active() is False, without a timer. Blocks Blender."""
        while is_active():
            self.tick()
            time.sleep(0.05)
        self.tick()

    # -- told to everyone --

    def is_active(self, job_id: str) -> bool:
        """Whether a job waits or runs."""
        return job_id in self._entries and not self._entries[job_id].status.has_ended

    def is_installing(self) -> bool:
        return self._installation is not None and self._installation.is_running

    def is_examining(self) -> bool:
        """Until what the doctor found has been told."""
        return self._checkup is not None

    def status(self) -> Status:
        """What panels draw; no disk, no bpy."""
        views = {job_id: entry.view() for job_id, entry in self._entries.items()}
        active = [view for view in views.values() if not view.status.has_ended]
        running = next((view for view in active if self._entries[view.job_id].followed is not None), None)
        return Status(
            jobs=views, running=running, waiting=tuple(view for view in active if view is not running),
            installation=self._installation.view() if self._installation else None,
            engine_is_known=self._engine_is_known, engine_problem=self._engine_problem,
            checked=self._checked, is_examining=self.is_examining(),
        )

    # -- the timer --

    def wake(self) -> None:
        """Make the timer run. A background Blender has none."""
        if not bpy.app.background and not bpy.app.timers.is_registered(_on_timer):
            bpy.app.timers.register(_on_timer, first_interval=0.01, persistent=True)

    def tick(self) -> float | None:
        """One step of everything. Returns the seconds until the next, None when there is nothing to follow.

        Never raises: an error out of a timer would end it, and nobody would be told.
        """
        try:
            self._advance()
        except Exception:
            logger.exception("A tick of the session failed")
        self._redraw()
        return TICK_S if self._has_work() else None

    def _has_work(self) -> bool:
        active = any(not entry.status.has_ended for entry in self._entries.values())
        return (active or bool(self._unread) or self._must_attach or not self._engine_is_known or self.is_installing()
                or self.is_examining())

    def _advance(self) -> None:
        installing = self.is_installing()
        if not self._engine_is_known and not installing:
            self._look_for_engine()
        elif installing:
            self._engine_is_known, self._examined_python = False, None  # so that the tick after its end looks again
        self._end_checkup()
        if self._must_attach:
            self._must_attach = False
            self._attach()
        if self._unread:
            self._read_outcome(self._entries.get(self._unread.popleft()))
        for entry in list(self._entries.values()):
            if not entry.status.has_ended:
                self._step(entry)

    def _look_for_engine(self) -> None:
        self._engine_is_known = True
        try:
            python = self._find_python()
        except StereoDiffError as error:
            self._engine_problem = problem_from(error)
        else:
            self._engine_problem = None
            self._begin_checkup(python)

    def _begin_checkup(self, python: Path) -> None:
        """Once for every engine that is found; a background Blender has nobody to tell."""
        is_wanted = self._checkup_question is not None and not bpy.app.background
        if is_wanted and python != self._examined_python and not self.is_examining():
            self.examine(self._checkup_question())

    def _end_checkup(self) -> None:
        if self._checkup is None or self._checkup.is_running:
            return
        then, self._checked = self._after_checkup, self._checkup.checked
        self._checkup = self._after_checkup = None
        if then is not None:
            then(self._checked)

    def _step(self, entry: Entry) -> None:
        try:
            if entry.followed is None and self._is_busy():
                return
            if entry.followed is None:
                entry.followed = _start(entry)
            status = entry.followed.poll()
        except Exception as error:  # Anything at all must end this job in words, not the timer.
            logger.exception("Job %s cannot be followed", entry.job_id)
            problem = problem_from(error)
            status = JobStatus("failed", code=problem.code, message=problem.message)
        changed = status.state != entry.status.state
        entry.status = status
        if changed:
            job_list.write_state(entry.job_id, entry.status)
        if status.state == "finished":
            self._finish(entry)

    def _is_busy(self) -> bool:
        return any(entry.followed is not None and not entry.status.has_ended for entry in self._entries.values())

    def _finish(self, entry: Entry) -> None:
        self._read_outcome(entry)
        scene = job_list.scene_of(entry.job_id, entry.scene_uid)
        if scene is None or not scene.stereodiff.import_when_finished:
            return
        item = job_list.find_item(entry.job_id)
        try:
            import_result(scene, entry.folder, clip=item.clip if item else None)
        except Exception as error:  # The solve is safe on disk; what kept it out of the scene is told beside it.
            logger.exception("Job %s cannot be imported", entry.job_id)
            entry.import_problem = problem_from(error)
        else:
            _push_undo(f"StereoDiff: Import {entry.clip_name}")

    def _read_outcome(self, entry: Entry | None) -> None:
        if entry is None:
            return
        try:
            result = JobFolder(entry.folder).read_result()
        except StereoDiffError as error:
            entry.import_problem = problem_from(error)
            return
        entry.outcome = Outcome(result.camera_kind, len(result.frames), result.quality, result.warnings,
                                result.weights, result.refinement)

    # -- files and undo --

    def attach_to_file(self) -> None:
        """Look through the scenes at the next tick: for jobs to follow again, and for items that undo set back."""
        self._must_attach = True
        self.wake()

    def _attach(self) -> None:
        for scene in bpy.data.scenes:
            for item in scene.stereodiff.jobs:
                if item.job_id not in self._entries:
                    self._attach_item(scene, item)
        for entry in self._entries.values():
            self._restore_item(entry)

    def _attach_item(self, scene: bpy.types.Scene, item) -> None:
        entry = Entry(item.job_id, Path(item.folder), item.clip_name, scene.session_uid)
        self._entries[entry.job_id] = entry
        if item.state == "finished":
            entry.status = JobStatus("finished")
            self._unread.append(entry.job_id)
        elif item.state in ("failed", "cancelled"):
            entry.status = JobStatus(item.state, code=item.code or None, message=item.message or None,
                                     shots=job_list.shots_of(item))
        elif not _was_started(entry.folder):
            # Opening a file must not start programs, so a job that still waited has to be asked for again.
            entry.status = JobStatus("cancelled", code="cancelled", message="It still waited when Blender was closed.")
        else:
            entry.followed = FollowedJob(entry.folder)

    def _restore_item(self, entry: Entry) -> None:
        """Undo takes back what the scene says about its jobs, but not the jobs."""
        if job_list.find_item(entry.job_id) is None:
            scene = job_list.scene_of(entry.job_id, entry.scene_uid)
            if scene is not None:
                _list(scene, entry, None)
        job_list.write_state(entry.job_id, entry.status)

    def _redraw(self) -> None:
        """Redraw the sidebars, only when what they show has changed."""
        status = self.status()
        jobs = [(view.job_id, view.status.state, view.status.stage, view.status.done, round(view.status.eta_s or 0),
                 view.outcome is None, view.import_problem) for view in status.jobs.values()]
        drawn = (jobs, status.installation, status.engine_is_known, status.engine_problem, status.checked,
                 status.is_examining)
        if drawn != self._drawn:
            self._drawn = drawn
            _tag_redraw()


# --- Small things a session does -------------------------------------------------------------------------------

def _start(entry: Entry) -> FollowedJob:
    if entry.launch is None:
        raise StereoDiffError("job_invalid", f"Nobody said how to start {entry.folder}.")
    return FollowedJob(entry.folder, start(entry.folder, entry.launch.python, entry.launch.extension_root))


def _was_started(folder: Path) -> bool:
    files = JobFolder(folder)
    return any(path.exists() for path in (files.log_file, files.events_file, files.result_file, files.cancelled_file))


def _list(scene: bpy.types.Scene, entry: Entry, clip: bpy.types.MovieClip | None) -> None:
    job_list.add_item(scene, entry.job_id, entry.folder, entry.clip_name, clip)
    job_list.write_state(entry.job_id, entry.status)


def _push_undo(message: str) -> None:
    """One step of its own. A timer has no window in its context, so it borrows one."""
    windows = bpy.context.window_manager.windows
    if bpy.app.background or not windows:
        return
    with bpy.context.temp_override(window=bpy.context.window or windows[0]):
        bpy.ops.ed.undo_push(message=message)


def _tag_redraw() -> None:
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            for region in area.regions:
                if region.type == DRAWN_IN.get(area.type):
                    region.tag_redraw()


# --- The one session -------------------------------------------------------------------------------------------

_session: Session | None = None


def current() -> Session:
    """The session of the registered extension. Raises RuntimeError when it is not registered."""
    if _session is None:
        raise RuntimeError("StereoDiff is not registered")
    return _session


def status() -> Status:
    """What panels draw."""
    return current().status()


def _on_timer() -> float | None:
    return current().tick()


@bpy.app.handlers.persistent
def _on_file_or_undo(*_) -> None:
    current().attach_to_file()


def _handler_lists() -> tuple[list, ...]:
    handlers = bpy.app.handlers
    return handlers.load_post, handlers.undo_post, handlers.redo_post


def register(find_python: Callable[[], Path], checkup_question: Callable[[], Question] | None = None) -> None:
    """Begin to follow jobs. find_python, checkup_question: see Session."""
    global _session
    _session = Session(find_python, checkup_question)
    for handlers in _handler_lists():
        handlers.append(_on_file_or_undo)
    _session.wake()


def unregister() -> None:
    """Stop following. Workers go on."""
    global _session
    if bpy.app.timers.is_registered(_on_timer):
        bpy.app.timers.unregister(_on_timer)
    for handlers in _handler_lists():
        if _on_file_or_undo in handlers:
            handlers.remove(_on_file_or_undo)
    _session = None
