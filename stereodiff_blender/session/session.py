"""What runs beside the artist's work, driven by Blender's timer: see Session. Here is the one that Blender has.

Panels read status() and view() and nothing else; operators ask the session's parts. Background Blenders have no timer;
whoever waits there calls tick().
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import bpy

from ..health.checkup import Question
from ..health.weights import WeightsManager
from ..jobs.queue import Launch
from ..jobs.views import JobView, Outcome
from ..jobs.worker_process import JobStatus
from .endings import Ending
from .engine_watch import EngineWatch
from .job_runner import JobRunner
from .status import Status
from .steps import keep_going
from .windows import redraw_sidebars, redraw_status_bar

__all__ = [
    "Ending", "JobStatus", "JobView", "Launch", "Outcome", "Session", "Status", "current", "register", "status",
    "unregister", "view",
]

TICK_S, SOON_S = 0.25, 0.02
REDRAW_SILENT_S = 5.0


class Session:
    """jobs: all of this Blender. engine: whether there is one. weights: of the learned engines.

    tick() does everything: one step of each, and a redraw where what panels show has changed.
    """

    def __init__(self, find_python: Callable[[], Path], checkup_question: Callable[[], Question] | None = None,
                 tell: Callable[[Ending], None] = lambda ending: None):
        """find_python: the worker's interpreter, or raises StereoDiffError.

        checkup_question: what to ask the doctor once an engine is found; None: he only comes when asked for.
        tell: is called when a job has ended by itself.
        """
        self.weights = WeightsManager()
        self.engine = EngineWatch(find_python, checkup_question, self.weights, self.wake)
        self.jobs = JobRunner(self.wake, tell)
        self._drawn: object = None

    def status(self) -> Status:
        """What panels draw; no disk, no bpy."""
        return self.engine.told_in(self.jobs.told_in(Status(weights=self.weights.status())))

    def is_at_rest(self) -> bool:
        """Whether there is nothing to follow, so that no tick is needed until somebody asks for something."""
        return not (self.jobs.is_busy() or self.engine.is_busy() or self.weights.is_busy())

    # -- the timer --

    def wake(self) -> None:
        """Make the timer run. A background Blender has none."""
        if not bpy.app.background and not bpy.app.timers.is_registered(_on_timer):
            bpy.app.timers.register(_on_timer, first_interval=0.01, persistent=True)

    def tick(self) -> float | None:
        """One step of everything. Returns the seconds until the next, None when there is nothing to follow.

        Never raises: an error out of a timer would end it, and nobody would be told.
        """
        for step in (self.engine.advance, self._advance_weights, *self.jobs.steps):
            keep_going(step)
        self._redraw()
        if not self.jobs.is_attached:
            return SOON_S
        return None if self.is_at_rest() else TICK_S

    def wait_for(self, is_active: Callable[[], bool]) -> None:
        """Tick until is_active() is False, without a timer. Blocks Blender."""
        while is_active():
            self.tick()
            time.sleep(0.05)
        self.tick()

    def close(self) -> None:
        """Let go of what Blender would miss, and of downloads, which go on where they were the next time."""
        self.weights.cancel_all()
        self.jobs.close()

    def _advance_weights(self) -> None:
        if self.weights.advance():
            self.engine.look_again()

    def _redraw(self) -> None:
        """Redraw sidebars and status bar, only when what they show has changed."""
        status = self.status()
        jobs = [view if view.status.has_ended else _drawn(view) for view in status.jobs.values()]
        drawn = (jobs, status.installation, status.engine_is_known, status.engine_problem, status.checked,
                 status.is_examining, status.weights)
        if drawn != self._drawn:
            self._drawn = drawn
            redraw_sidebars()
            redraw_status_bar()


def _drawn(view: JobView) -> tuple:
    """Of a job that has not ended: what a panel shows of it, as exactly as is worth drawing it again."""
    status = view.status
    since_s = (status.is_silent and status.silent_s) or (status.is_stalled and status.idle_s)
    return (view.job_id, status.state, status.stage, status.done, round(status.eta_s or 0), view.size, status.note,
            len(status.warnings), status.is_silent, status.is_stalled, since_s // REDRAW_SILENT_S, view.picture_id)


# --- The one session -------------------------------------------------------------------------------------------

_session: Session | None = None


def current() -> Session:
    """The session of the registered extension.

    Returns
    -------
    Session
        The one that this Blender has.

    Raises
    ------
    RuntimeError
        The extension is not registered.
    """
    if _session is None:
        raise RuntimeError("StereoDiff is not registered")
    return _session


def status() -> Status:
    """What panels draw.

    Returns
    -------
    Status
        Plain values; no disk is read.

    Raises
    ------
    RuntimeError
        As current.
    """
    return current().status()


def view(job_id: str) -> JobView | None:
    """What panels draw of one job.

    Parameters
    ----------
    job_id : str
        Of the job.

    Returns
    -------
    JobView or None
        Plain values; None for a job that this session does not know.

    Raises
    ------
    RuntimeError
        As current.
    """
    return current().jobs.view(job_id)


def _on_timer() -> float | None:
    return current().tick()


@bpy.app.handlers.persistent
def _on_file_or_undo(*_) -> None:
    current().jobs.attach_to_file()


def _handler_lists() -> tuple[list, ...]:
    handlers = bpy.app.handlers
    return handlers.load_post, handlers.undo_post, handlers.redo_post


def register(find_python: Callable[[], Path], checkup_question: Callable[[], Question] | None = None,
             tell: Callable[[Ending], None] = lambda ending: None) -> None:
    """Begin to follow jobs.

    Parameters
    ----------
    find_python : callable
        Takes nothing and gives the worker's interpreter, a Path, or raises StereoDiffError.
    checkup_question : callable or None
        Takes nothing and gives what to ask the doctor once an engine is found, a Question; None: he only comes when
        asked for.
    tell : callable
        Takes the Ending of a job that has ended by itself, to tell it to the artist.
    """
    global _session
    _session = Session(find_python, checkup_question, tell)
    for handlers in _handler_lists():
        handlers.append(_on_file_or_undo)
    _session.wake()


def unregister(*, must_end_jobs: bool = False) -> None:
    """Stop following.

    Workers go on, unless they must end; then this takes up to two seconds.

    Parameters
    ----------
    must_end_jobs : bool
        Whether to end every job that runs or waits; they can be resumed.
    """
    global _session
    if must_end_jobs and _session is not None:
        _session.jobs.end_all()
    if bpy.app.timers.is_registered(_on_timer):
        bpy.app.timers.unregister(_on_timer)
    for handlers in _handler_lists():
        if _on_file_or_undo in handlers:
            handlers.remove(_on_file_or_undo)
    if _session is not None:
        _session.close()
    _session = None
