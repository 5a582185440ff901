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
from pathlib import Path

import bpy

from . import job_list
from .checkup import Checked, Checkup, Question
from .engine.contract import JobFolder, StereoDiffError
from .installation import Installation, Problem, problem_from
from .job_files import FoundJob, SizeMeter
from .job_queue import Entry, Launch, Queue, found_status
from .job_views import JobView, Outcome, Status
from .jobs import FollowedJob, JobStatus, end_together
from .scene import import_result
from .thumbnails import Thumbnails
from .weights_desk import WeightsDesk
from .windows import push_undo, redraw_sidebars

__all__ = ["JobStatus", "JobView", "Launch", "Outcome", "Session", "Status", "current", "register", "status",
           "unregister"]

TICK_S = 0.25
REDRAW_SILENT_S = 5.0
logger = logging.getLogger(__name__)


class Session:
    """All jobs of this Blender, in the order in which they are started. tick() does everything."""

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
        self.weights = WeightsDesk()
        self._queue = Queue()
        self._unread: deque[str] = deque()
        self._sizes = SizeMeter()
        self._thumbnails = Thumbnails()
        self._installation: Installation | None = None
        self._engine_is_known = False
        self._engine_problem: Problem | None = None
        self._must_attach = True
        self._drawn: object = None

    # -- asked for by operators --

    def submit(self, scene: bpy.types.Scene, clip: bpy.types.MovieClip, folder: Path, launch: Launch) -> str:
        """Queue a created job folder and list it in the scene. Returns the job's id."""
        entry = self._queue.add(Entry(folder.name, folder, clip.name, scene.session_uid, launch))
        _list(scene, entry, clip)
        self.wake()
        return entry.job_id

    def adopt(self, scene: bpy.types.Scene, job_id: str, folder: Path, clip_name: str) -> None:
        """Know a job that ended elsewhere, and list it, so that its quality can be read.

        folder: where it is now; the file may still name the place that it was moved from.
        """
        if not self.is_active(job_id):
            self._queue.add(Entry(job_id, folder, clip_name, scene.session_uid, status=JobStatus("finished")))
            job_list.write_folder(job_id, folder)
        if job_list.find_item(job_id) is None:
            _list(scene, self._queue[job_id], None)
        self._unread.append(job_id)
        self.wake()

    def list_found(self, scene: bpy.types.Scene, found: FoundJob, clip: bpy.types.MovieClip | None) -> None:
        """List a job folder that was found on disk and is in no list. A job that runs is followed.

        clip: its footage, if that is open.
        """
        job_id = found.job.id
        job_list.add_item(scene, job_id, found.folder, Path(found.job.clip.path).name, clip)
        if job_id not in self._queue:
            self._attach_item(scene, job_list.find_item(job_id), import_finished=False)
        job_list.write_state(job_id, self._queue[job_id].status)
        self.wake()

    def cancel(self, job_id: str) -> None:
        """Ask a job to end; ticks see it through. A job that has ended stays as it is."""
        entry = self._queue[job_id]
        if entry.status.has_ended:
            return
        if entry.is_queued:
            self._queue.take_off(entry)
            job_list.write_state(job_id, entry.status)
        else:
            entry.followed.cancel()
        self.wake()

    def resume(self, job_id: str, launch: Launch) -> None:
        """Queue a job again that ended without a result; one whose engine gives no sign is ended first.

        Raises StereoDiffError "job_locked" for any other job.
        """
        self._attach()
        entry = self._queue[job_id]
        if entry.status.is_silent:
            entry.relaunch = launch
            entry.followed.cancel()
        elif entry.status.can_resume:
            self._requeue(entry, launch)
        else:
            raise StereoDiffError("job_locked", f"{entry.clip_name} is {entry.status.state}.")
        self.wake()

    def move(self, job_id: str, places: int) -> bool:
        """Let a queued job change places with another: see Queue.move."""
        return self._queue.move(job_id, places)

    def forget(self, job_id: str) -> None:
        """No longer know an ended job."""
        if self.is_active(job_id):
            raise ValueError(f"job {job_id} has not ended")
        self._queue.remove(job_id)
        self._sizes.forget(job_id)

    def measure(self, job_id: str) -> None:
        """Find out again, beside Blender, how big a job is on disk."""
        if job_id in self._queue:
            self._sizes.ask(job_id, self._queue[job_id].folder)
            self.wake()

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
        self._look_at_weights()
        self.look_for_engine()

    def _look_at_weights(self) -> None:
        """A background Blender has nobody to tell; its operators look when they need to."""
        if self._checkup_question is not None and not bpy.app.background:
            self.weights.look(self._checkup_question().models_folder)

    def wait_for(self, is_active: Callable[[], bool]) -> None:
        """Tick until is_active() is False, without a timer. Blocks Blender."""
        while is_active():
            self.tick()
            time.sleep(0.05)
        self.tick()

    def end_jobs(self) -> None:
        """End every job that runs or waits, within two seconds; they can be resumed. Blocks Blender."""
        active = self._queue.active
        for entry in active:
            if entry.is_queued:
                self._queue.take_off(entry)
        end_together([entry.followed for entry in active if entry.followed is not None])

    def close(self) -> None:
        """Let go of what Blender would miss, and of downloads, which go on where they were the next time."""
        self.weights.cancel_all()
        self._thumbnails.close()

    # -- told to everyone --

    def is_active(self, job_id: str) -> bool:
        """Whether a job waits or runs."""
        return self._queue.is_active(job_id)

    def is_installing(self) -> bool:
        return self._installation is not None and self._installation.is_running

    def is_examining(self) -> bool:
        """Until what the doctor found has been told."""
        return self._checkup is not None

    def status(self) -> Status:
        """What panels draw; no disk, no bpy."""
        views = {entry.job_id: entry.view(self._sizes.size(entry.job_id)) for entry in self._queue}
        active = self._queue.active
        running = [views[entry.job_id] for entry in active if entry.followed is not None]
        return Status(
            jobs=views, running=running[0] if running else None, others_running=tuple(running[1:]),
            waiting=tuple(views[entry.job_id] for entry in active if entry.followed is None),
            installation=self._installation.view() if self._installation else None,
            engine_is_known=self._engine_is_known, engine_problem=self._engine_problem,
            checked=self._checked, is_examining=self.is_examining(), weights=self.weights.status(),
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
        return (bool(self._queue.active) or bool(self._unread) or self._must_attach or not self._engine_is_known
                or self.is_installing() or self.is_examining() or self._sizes.is_busy or self.weights.is_busy())

    def _advance(self) -> None:
        installing = self.is_installing()
        if not self._engine_is_known and not installing:
            self._look_for_engine()
        elif installing:
            self._engine_is_known, self._examined_python = False, None  # so that the tick after its end looks again
        self._end_checkup()
        if self.weights.advance():
            self.look_again()
        if self._must_attach:
            self._must_attach = False
            self._attach()
        if self._unread:
            self._read_outcome(self._queue.find(self._unread.popleft()))
        for entry in self._queue.active:
            self._step(entry)
        self._sizes.keep_up((entry.job_id, entry.folder) for entry in self._queue.active if entry.followed is not None)

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
            self._look_at_weights()
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
            status = self._queue.step(entry)
        except Exception as error:  # Anything at all must end this job in words, not the timer.
            logger.exception("Job %s cannot be followed", entry.job_id)
            problem = problem_from(error)
            status = JobStatus("failed", code=problem.code, message=problem.message)
        self._take(entry, status)
        if status.state == "finished":
            self._finish(entry)
        elif status.has_ended and entry.relaunch is not None:
            self._requeue(entry, entry.relaunch)

    def _take(self, entry: Entry, status: JobStatus) -> None:
        has_changed = status.state != entry.status.state
        entry.status = status
        if has_changed:
            job_list.write_state(entry.job_id, status)
            self._sizes.ask(entry.job_id, entry.folder)

    def _requeue(self, entry: Entry, launch: Launch) -> None:
        self._queue.requeue(entry, launch)
        job_list.write_state(entry.job_id, entry.status)

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
            push_undo(f"StereoDiff: Import {entry.clip_name}")

    def _read_outcome(self, entry: Entry | None) -> None:
        if entry is None:
            return
        try:
            result = JobFolder(entry.folder).read_result()
        except StereoDiffError as error:
            entry.import_problem = problem_from(error)
            return
        picture, is_pair = result.preview_image, result.depth_range is not None
        icon_id = self._thumbnails.icon(entry.folder / picture, is_pair=is_pair) if picture is not None else 0
        entry.outcome = Outcome(result.camera_kind, len(result.frames), result.quality, result.warnings,
                                result.weights, result.refinement, icon_id)

    # -- files and undo --

    def attach_to_file(self) -> None:
        """Look through the scenes at the next tick: for jobs to follow again, and for items that undo set back."""
        self._must_attach = True
        self.wake()

    def _attach(self) -> None:
        for scene in bpy.data.scenes:
            for item in scene.stereodiff.jobs:
                if item.job_id not in self._queue:
                    self._attach_item(scene, item)
        for entry in self._queue:
            self._restore_item(entry)

    def _attach_item(self, scene: bpy.types.Scene, item, *, import_finished: bool = True) -> None:
        """Know a listed job again. Its folder says more than the file, which may be older."""
        entry = self._queue.add(Entry(item.job_id, Path(item.folder), item.clip_name, scene.session_uid))
        self._sizes.ask(entry.job_id, entry.folder)
        known = job_list.status_of(item)
        if known.state == "finished":
            entry.status = known
            self._unread.append(entry.job_id)
            return
        followed = FollowedJob(entry.folder)
        found = found_status(known, followed)
        if found.state == "finished" and not import_finished:
            entry.status = found
            self._unread.append(entry.job_id)
        elif found.has_ended and found.state != "finished":
            entry.status = found
        else:
            entry.followed = followed

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
                 view.outcome is None, view.import_problem, view.size, view.status.note,
                 view.status.is_silent and view.status.silent_s // REDRAW_SILENT_S) for view in status.jobs.values()]
        drawn = (jobs, status.installation, status.engine_is_known, status.engine_problem, status.checked,
                 status.is_examining, status.weights)
        if drawn != self._drawn:
            self._drawn = drawn
            redraw_sidebars()


# --- Small things a session does -------------------------------------------------------------------------------

def _list(scene: bpy.types.Scene, entry: Entry, clip: bpy.types.MovieClip | None) -> None:
    job_list.add_item(scene, entry.job_id, entry.folder, entry.clip_name, clip)
    job_list.write_state(entry.job_id, entry.status)


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


def unregister(*, must_end_jobs: bool = False) -> None:
    """Stop following. Workers go on, unless they must end; then this takes up to two seconds."""
    global _session
    if must_end_jobs and _session is not None:
        _session.end_jobs()
    if bpy.app.timers.is_registered(_on_timer):
        bpy.app.timers.unregister(_on_timer)
    for handlers in _handler_lists():
        if _on_file_or_undo in handlers:
            handlers.remove(_on_file_or_undo)
    if _session is not None:
        _session.close()
    _session = None
