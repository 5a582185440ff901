"""The jobs of this Blender: a queue of which one runs at a time, followed by a timer.

The timer's tick starts the next job, imports what is done and keeps what panels draw. It reads no job's folder: threads
do, and a tick takes what they have ready, so that no disk and no file from anywhere keeps Blender waiting. Panels read
status() and view() and nothing else. A worker outlives Blender: a job that a loaded file still calls unfinished is
followed again.
Background Blenders have no timer; whoever waits there calls tick().
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import bpy

from ..engine.contract import Result, StereoDiffError
from ..engine.contract.errors import Problem, problem_from
from ..engine.contract.job_files.result_checks import read_checked
from ..health.checkup import Checked, Checkup, Question
from ..health.weights import WeightsManager
from ..jobs.disk import FoundJob, SizeMeter
from ..jobs.queue import WAITING, Entry, Launch, Queue, found_status
from ..jobs.reader_thread import Answer, ReaderThread
from ..jobs.result_looks import Look, look, outcome_of
from ..jobs.views import JobView, Outcome
from ..jobs.worker_process import FollowedJob, JobStatus, end_together
from ..runtime.installation import Installation
from ..scene import import_result
from . import job_list
from .status import Status
from .thumbnails import Thumbnails
from .windows import push_undo, redraw_sidebars

__all__ = [
    "JobStatus", "JobView", "Launch", "Outcome", "Session", "Status", "current", "register", "status", "unregister",
    "view",
]

TICK_S, SOON_S = 0.25, 0.02
REDRAW_SILENT_S = 5.0
ATTACH_S = 0.001
"""For which a tick takes up jobs that a file lists; the rest is left to the next, which comes soon."""
LOOKS_A_TICK = 2
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
        self.weights = WeightsManager()
        self._queue = Queue()
        self._polls = ReaderThread("jobs followed")
        self._results = ReaderThread("results")
        self._looks: deque[Answer] = deque()
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

    def adopt(self, scene: bpy.types.Scene, job_id: str, folder: Path, clip_name: str, result: Result) -> None:
        """Know a job that ended elsewhere, and list it, so that its quality can be read.

        folder: where it is now; the file may still name the place that it was moved from.
        """
        if not self.is_active(job_id):
            self._queue.add(Entry(job_id, folder, clip_name, scene.session_uid, status=JobStatus("finished")))
            job_list.write_folder(job_id, folder)
        if job_list.find_item(job_id) is None:
            _list(scene, self._queue[job_id], None)
        self._look_at_result(self._queue[job_id], result)
        self.wake()

    def list_found(self, scene: bpy.types.Scene, found: FoundJob, clip: bpy.types.MovieClip | None) -> None:
        """List a job folder that was found on disk and is in no list. A job that runs is followed.

        clip: its footage, if that is open.
        """
        job_id = found.job.id
        job_list.add_item(scene, job_id, found.folder, Path(found.job.clip.path).name, clip)
        if job_id not in self._queue:
            self._attach_item(scene, job_list.find_item(job_id), must_import=False)
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
        elif entry.at_work is not None:
            entry.at_work.cancel()
        self.wake()

    def resume(self, job_id: str, launch: Launch) -> None:
        """Queue a job again that ended without a result; one whose engine gives no sign is ended first.

        Raises StereoDiffError "job_locked" for any other job.
        """
        self._attach(math.inf)
        entry = self._queue[job_id]
        self.settle(entry)
        if entry.status.is_stuck:
            entry.relaunch = launch
            entry.followed.cancel()
        elif entry.status.can_resume:
            self._requeue(entry, launch)
        else:
            raise StereoDiffError("job_locked", f"{entry.clip_name} is {entry.status.state}.")
        self.wake()

    def settle(self, *entries: Entry) -> None:
        """Wait until it is known how jobs stand that a file lists: all, or these. Blocks Blender, though not for long.
        """
        while any(self._polls.is_asked(_key(entry, entry.sought)) for entry in entries or self._queue if entry.sought):
            self._take_polls()
            time.sleep(0.002)

    def move(self, job_id: str, places: int) -> bool:
        """Let a queued job change places with another: see Queue.move."""
        return self._queue.move(job_id, places)

    def forget(self, job_id: str) -> None:
        """No longer know an ended job."""
        if self.is_active(job_id):
            raise ValueError(f"job {job_id} has not ended")
        self._queue.remove(job_id)
        self._sizes.forget(job_id)
        self._thumbnails.forget(job_id)

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
        end_together([entry.at_work for entry in active if entry.at_work is not None])

    def close(self) -> None:
        """Let go of what Blender would miss, and of downloads, which go on where they were the next time."""
        self.weights.cancel_all()
        self._polls.close()
        self._results.close()
        self._sizes.close()
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

    def view(self, job_id: str) -> JobView | None:
        """One job of status()."""
        entry = self._queue.find(job_id)
        return entry.view(self._sizes.size(job_id)) if entry is not None else None

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
        for part in (self._advance_engine, self._advance_weights, self._attach_some, self._take_polls,
                     self._advance_jobs, self._take_looks, self._measure_jobs):
            _kept_going(part)
        self._redraw()
        if self._must_attach:
            return SOON_S
        return TICK_S if self._has_work() else None

    def _has_work(self) -> bool:
        return (bool(self._queue.active) or bool(self._looks) or self._polls.is_busy or self._results.is_busy
                or not self._engine_is_known or self.is_installing() or self.is_examining() or self._sizes.is_busy
                or self.weights.is_busy())

    def _advance_engine(self) -> None:
        installing = self.is_installing()
        if not self._engine_is_known and not installing:
            self._look_for_engine()
        elif installing:
            self._engine_is_known, self._examined_python = False, None  # so that the tick after its end looks again
        self._end_checkup()

    def _advance_weights(self) -> None:
        if self.weights.advance():
            self.look_again()

    def _attach_some(self) -> None:
        if self._must_attach:
            self._must_attach = not self._attach(ATTACH_S)

    def _advance_jobs(self) -> None:
        """Start the next job, and have those looked at that are at work."""
        taken: set[str] = set()
        is_at_work = self._queue.is_at_work
        for entry in self._queue.active:
            if entry.is_queued and is_at_work:
                self._take(entry, WAITING if entry.status.note else entry.status)
            elif entry.is_queued:
                self._step(entry, taken)
                is_at_work = self._queue.is_at_work
            elif entry.at_work is None:
                self._take(entry, JobStatus("interrupted", code="job_interrupted"))
            else:
                self._poll(entry)

    def _measure_jobs(self) -> None:
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

    def _step(self, entry: Entry, taken: set[str]) -> None:
        try:
            self._take(entry, self._queue.step(entry, taken))
        except Exception as error:  # Anything at all must end this job in words, not the timer.
            logger.exception("Job %s cannot be started", entry.job_id)
            self._take(entry, _failed(error))

    # -- what threads have read --

    def _poll(self, entry: Entry) -> None:
        """Have a job looked at that is at work, or may be."""
        if entry.sought is None:
            self._polls.ask(_key(entry, entry.followed), entry.followed.poll)

    def _take_polls(self) -> None:
        for answer in self._polls.answers():
            job_id, followed = answer.key
            entry = self._queue.find(job_id)
            if entry is not None and followed in (entry.sought, entry.followed):
                _kept_going(partial(self._take_poll, entry, answer))

    def _take_poll(self, entry: Entry, answer: Answer) -> None:
        status = answer.value if answer.error is None else self._unread_status(entry, answer.error)
        if entry.sought is not None:
            entry.followed, entry.sought = (None if status.has_ended else entry.sought), None
            if status.state == "finished" and not entry.must_import:
                entry.status = status
                job_list.write_state(entry.job_id, status)
                self._look_at_result(entry)
                return
        self._take(entry, status, answer.key[1].result)
        answer.key[1].result = None

    def _unread_status(self, entry: Entry, error: Exception) -> JobStatus:
        """How a job stands whose folder was not read. One whose disk does not answer may still be solved."""
        if getattr(error, "code", None) != "disk_silent":
            return _failed(error)
        if entry.sought is not None:
            return JobStatus("interrupted", code="disk_silent", message=f"{entry.folder}: {error}")
        return replace(entry.status, is_silent=True, silent_s=self._polls.patience_s)

    def _take(self, entry: Entry, status: JobStatus, result: Result | None = None) -> None:
        has_changed = status.state != entry.status.state
        entry.status = status
        if has_changed:
            job_list.write_state(entry.job_id, status)
            self._sizes.ask(entry.job_id, entry.folder)
        if status.state == "finished" and result is not None:
            self._finish(entry, result)
        elif status.has_ended and entry.relaunch is not None:
            self._requeue(entry, entry.relaunch)

    def _requeue(self, entry: Entry, launch: Launch) -> None:
        self._queue.requeue(entry, launch)
        job_list.write_state(entry.job_id, entry.status)

    def _finish(self, entry: Entry, result: Result) -> None:
        """result: read and checked by whoever saw that it is there."""
        self._look_at_result(entry, result)
        scene = job_list.scene_of(entry.job_id, entry.scene_uid)
        if scene is None or not scene.stereodiff.import_when_finished:
            return
        item = job_list.find_item(entry.job_id)
        try:
            import_result(scene, entry.folder, clip=item.clip if item else None, result=result)
        except Exception as error:  # The solve is safe on disk; what kept it out of the scene is told beside it.
            logger.exception("Job %s cannot be imported", entry.job_id)
            entry.import_problem = problem_from(error)
        else:
            push_undo(f"StereoDiff: Import {entry.clip_name}")

    def _look_at_result(self, entry: Entry, result: Result | None = None) -> None:
        """Have a result read for what it says and shows. result: if it was read already; then it says so at once."""
        if result is not None:
            entry.outcome, entry.seen = replace(outcome_of(result), icon_id=_icon_of(entry)), None
        entry.look = object()
        self._results.ask((entry.job_id, entry.look), partial(look, entry.folder, entry.seen, result))

    def _take_looks(self) -> None:
        self._looks.extend(self._results.answers())
        for _ in range(min(LOOKS_A_TICK, len(self._looks))):
            answer = self._looks.popleft()
            entry = self._queue.find(answer.key[0])
            if entry is not None and entry.look is answer.key[1]:
                _kept_going(partial(self._take_look, entry, answer))

    def _take_look(self, entry: Entry, answer: Answer) -> None:
        if answer.error is not None:
            entry.import_problem = problem_from(answer.error)
        elif answer.value is not None:
            found: Look = answer.value
            icon_id = self._thumbnails.show(entry.job_id, found.picture) if found.picture is not None else 0
            entry.seen, entry.outcome = found.stamp, replace(found.outcome, icon_id=icon_id)

    # -- files and undo --

    def attach_to_file(self) -> None:
        """Look through the scenes at the next tick: for jobs to follow again, and for items that undo set back."""
        self._must_attach = True
        self.wake()

    def _attach(self, budget_s: float) -> bool:
        """Know the jobs that the scenes list. Whether all of them are known; else there was not time enough."""
        until_s = time.perf_counter() + budget_s
        for scene in bpy.data.scenes:
            for item in scene.stereodiff.jobs:
                if item.job_id in self._queue:
                    continue
                if time.perf_counter() > until_s:
                    return False
                self._attach_item(scene, item)
        self._restore_items()
        return True

    def _attach_item(self, scene: bpy.types.Scene, item, *, must_import: bool = True) -> None:
        """Know a listed job again. Its folder says more than the file, which may be older; and either may be anybody's.
        """
        entry = self._queue.add(Entry(item.job_id, Path(item.folder), item.clip_name[:job_list.LONGEST_NAME],
                                      scene.session_uid, must_import=must_import))
        try:
            known = entry.status = job_list.status_of(item)
            if not entry.folder.is_absolute():
                raise StereoDiffError("job_missing", f"{item.folder} is no folder of a job.")
            self._sizes.ask(entry.job_id, entry.folder)
            if known.state == "finished":
                self._look_at_result(entry)
                return
            entry.sought = FollowedJob(entry.folder, read_result=read_checked)
            self._polls.ask(_key(entry, entry.sought), partial(found_status, known, entry.sought))
        except Exception as error:  # One bad entry is one bad entry.
            logger.exception("Job %s cannot be looked at", entry.job_id)
            entry.sought, entry.status = None, _failed(error)

    def _restore_items(self) -> None:
        """Undo takes back what the scene says about its jobs, but not the jobs."""
        listed = job_list.items_by_job()
        scenes = {scene.session_uid: scene for scene in bpy.data.scenes}
        for entry in self._queue:
            if entry.job_id in listed:
                job_list.write_items(listed[entry.job_id], entry.status)
            elif entry.scene_uid in scenes:
                _list(scenes[entry.scene_uid], entry, None)

    def _redraw(self) -> None:
        """Redraw the sidebars, only when what they show has changed."""
        status = self.status()
        jobs = [view if view.status.has_ended else _drawn(view) for view in status.jobs.values()]
        drawn = (jobs, status.installation, status.engine_is_known, status.engine_problem, status.checked,
                 status.is_examining, status.weights)
        if drawn != self._drawn:
            self._drawn = drawn
            redraw_sidebars()


# --- Small things a session does -------------------------------------------------------------------------------

def _key(entry: Entry, followed: FollowedJob) -> tuple[str, FollowedJob]:
    """A job may be started anew while it is looked at: then what was seen is of no use any more."""
    return entry.job_id, followed


def _kept_going(part: Callable[[], None]) -> None:
    """Do a part of a tick; whatever is wrong with it does not keep the others from theirs."""
    try:
        part()
    except Exception:
        logger.exception("A tick of the session failed")


def _failed(error: Exception) -> JobStatus:
    problem = problem_from(error)
    return JobStatus("failed", code=problem.code, message=problem.message)


def _icon_of(entry: Entry) -> int:
    return entry.outcome.icon_id if entry.outcome is not None else 0


def _drawn(view: JobView) -> tuple:
    """Of a job that has not ended: what a panel shows of it, as exactly as is worth drawing it again."""
    status = view.status
    since_s = (status.is_silent and status.silent_s) or (status.is_stalled and status.idle_s)
    return (view.job_id, status.state, status.stage, status.done, round(status.eta_s or 0), view.size, status.note,
            len(status.warnings), status.is_silent, status.is_stalled, since_s // REDRAW_SILENT_S)


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


def view(job_id: str) -> JobView | None:
    """What panels draw of one job."""
    return current().view(job_id)


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
