"""The jobs of this Blender: a queue of which one runs at a time; started, followed, brought into the scene when done.

It reads no job's folder: threads do, and a tick takes what they have ready, so that no disk and no file from anywhere
keeps Blender waiting. A worker outlives Blender: a job that a loaded file still calls unfinished is followed again.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import bpy

from ..engine.contract import Result, StereoDiffError
from ..engine.contract.errors import problem_from
from ..jobs.disk import FoundJob, SizeMeter
from ..jobs.queue import WAITING, Entry, Launch, Queue
from ..jobs.reader_thread import Answer, ReaderThread
from ..jobs.views import JobView
from ..jobs.worker_process import JobStatus, end_together
from ..scene import import_result
from . import job_list
from .endings import Ending, ending_of
from .file_jobs import FileJobs, failed_status, list_entry, poll_key
from .outcomes import Outcomes
from .pictures_so_far import PicturesSoFar
from .status import Status
from .steps import keep_going
from .windows import push_undo

QUESTIONS = ("better_import", "footage_changed")
"""What an artist is asked before a job is imported; a job that ends by itself waits with its import for the answer."""
logger = logging.getLogger(__name__)


class JobRunner:
    """queue: all jobs that this Blender knows, in the order in which they are started. outcomes: of the finished ones.

    steps: what a tick does for them, in this order. What an operator asks for wakes the timer, which sees it through.
    """

    def __init__(self, wake: Callable[[], None], tell: Callable[[Ending], None]):
        """tell: is called when a job has ended by itself."""
        self.queue = Queue()
        self._tell = tell
        self.outcomes = Outcomes(self.queue)
        self._pictures = PicturesSoFar(self.queue)
        self._wake = wake
        self._polls = ReaderThread("jobs followed")
        self._sizes = SizeMeter()
        self._file_jobs = FileJobs(self.queue, self._polls, self._sizes, self.outcomes)
        self.steps = (self._file_jobs.advance, self._take_polls, self._advance, self._pictures.advance,
                      self.outcomes.advance, self._measure)

    # -- asked for by operators --

    def submit(self, scene: bpy.types.Scene, clip: bpy.types.MovieClip, folder: Path, launch: Launch) -> str:
        """Queue a created job folder and list it in the scene. Returns the job's id."""
        entry = self.queue.add(Entry(folder.name, folder, clip.name, scene.session_uid, launch))
        list_entry(scene, entry, clip)
        self._wake()
        return entry.job_id

    def adopt(self, scene: bpy.types.Scene, job_id: str, folder: Path, clip_name: str, result: Result,
              note: str = "") -> None:
        """Know a job that ended elsewhere, and list it, so that its quality can be read.

        folder: where it is now; the file may still name the place that it was moved from. note: of its import.
        """
        if not self.is_active(job_id):
            self.queue.add(Entry(job_id, folder, clip_name, scene.session_uid, status=JobStatus("finished"),
                                 import_note=note))
            job_list.write_folder(job_id, folder)
        if job_list.find_item(job_id) is None:
            list_entry(scene, self.queue[job_id], None)
        self.outcomes.look_at(self.queue[job_id], result)
        self._wake()

    def list_found(self, scene: bpy.types.Scene, found: FoundJob, clip: bpy.types.MovieClip | None) -> None:
        """List a job folder that was found on disk and is in no list. A job that runs is followed.

        clip: its footage, if that is open.
        """
        job_id = found.job.id
        job_list.add_item(scene, job_id, found.folder, Path(found.job.clip.path).name, clip)
        if job_id not in self.queue:
            self._file_jobs.attach_item(scene, job_list.find_item(job_id), must_import=False)
        job_list.write_state(job_id, self.queue[job_id].status)
        self._wake()

    def cancel(self, job_id: str) -> None:
        """Ask a job to end; ticks see it through. A job that has ended stays as it is."""
        entry = self.queue[job_id]
        if entry.status.has_ended:
            return
        if entry.is_queued:
            self.queue.take_off(entry)
            job_list.write_state(job_id, entry.status)
        elif entry.at_work is not None:
            entry.at_work.cancel()
        self._wake()

    def resume(self, job_id: str, launch: Launch) -> None:
        """Queue a job again that ended without a result; one whose engine gives no sign is ended first.

        Raises StereoDiffError "job_locked" for any other job.
        """
        self._file_jobs.attach(math.inf)
        entry = self.queue[job_id]
        self.settle(job_id)
        if entry.status.is_stuck:
            entry.relaunch = launch
            entry.followed.cancel()
        elif entry.status.can_resume:
            self._requeue(entry, launch)
        else:
            raise StereoDiffError("job_locked", f"{entry.clip_name} is {entry.status.state}.")
        self._wake()

    def settle(self, *job_ids: str) -> None:
        """Wait until it is known how jobs stand that a file lists: all, or these. Blocks Blender, though not for long.
        """
        while not all(map(self.is_settled, job_ids or [entry.job_id for entry in self.queue])):
            self._take_polls()
            time.sleep(0.002)

    def forget(self, job_id: str) -> None:
        """No longer know an ended job."""
        if self.is_active(job_id):
            raise ValueError(f"job {job_id} has not ended")
        self.queue.remove(job_id)
        self._sizes.forget(job_id)
        self.outcomes.thumbnails.forget(job_id)
        self._pictures.forget(job_id)

    def clear_note(self, job_id: str) -> None:
        """No longer say what of the scene is not as a job's clip is."""
        if job_id in self.queue:
            self.queue[job_id].import_note = ""

    def measure(self, job_id: str) -> None:
        """Find out again, beside Blender, how big a job is on disk."""
        if job_id in self.queue:
            self._sizes.ask(job_id, self.queue[job_id].folder)
            self._wake()

    def attach_to_file(self) -> None:
        """Look through the scenes at the next tick: for jobs to follow again, and for items that undo set back."""
        self._file_jobs.look_again()
        self._wake()

    def end_all(self) -> None:
        """End every job that runs or waits, within two seconds; they can be resumed. Blocks Blender."""
        active = self.queue.active
        for entry in active:
            if entry.is_queued:
                self.queue.take_off(entry)
        end_together([entry.at_work for entry in active if entry.at_work is not None])

    def close(self) -> None:
        """Let go of what Blender would miss. Workers go on."""
        self._polls.close()
        self._sizes.close()
        self.outcomes.close()
        self._pictures.close()

    # -- told to everyone --

    @property
    def is_attached(self) -> bool:
        """Whether all jobs that the file lists are in the queue."""
        return self._file_jobs.is_known

    def is_active(self, job_id: str) -> bool:
        """Whether a job waits or runs."""
        return self.queue.is_active(job_id)

    def is_settled(self, job_id: str) -> bool:
        """Whether it is known how a job stands; one that a file lists is looked at first."""
        entry = self.queue.find(job_id)
        return entry is None or entry.sought is None or not self._polls.is_asked(poll_key(entry, entry.sought))

    def is_busy(self) -> bool:
        """Whether ticks have anything to do here."""
        return (not self.is_attached or bool(self.queue.active) or self.outcomes.is_busy or self._polls.is_busy
                or self._sizes.is_busy or self._pictures.is_busy)

    def view(self, job_id: str) -> JobView | None:
        """One job as panels draw it."""
        entry = self.queue.find(job_id)
        return entry.view(self._sizes.size(job_id)) if entry is not None else None

    def told_in(self, status: Status) -> Status:
        """status with what panels draw of the jobs."""
        views = {entry.job_id: entry.view(self._sizes.size(entry.job_id)) for entry in self.queue}
        active = self.queue.active
        running = [views[entry.job_id] for entry in active if entry.followed is not None]
        return replace(status, jobs=views, running=running[0] if running else None, others_running=tuple(running[1:]),
                       waiting=tuple(views[entry.job_id] for entry in active if entry.followed is None))

    # -- steps of a tick --

    def _advance(self) -> None:
        """Start the next job, and have those looked at that are at work."""
        taken: set[str] = set()
        is_at_work = self.queue.is_at_work
        for entry in self.queue.active:
            if not entry.is_queued:
                self._follow(entry)
            elif is_at_work:
                self._take(entry, WAITING if entry.status.note else entry.status)
            else:
                self._start(entry, taken)
                is_at_work = self.queue.is_at_work

    def _follow(self, entry: Entry) -> None:
        if entry.at_work is None:
            self._take(entry, JobStatus("interrupted", code="job_interrupted"))
        elif entry.sought is None:
            self._polls.ask(poll_key(entry, entry.followed), entry.followed.poll)

    def _start(self, entry: Entry, taken: set[str]) -> None:
        """If it is its turn. taken: see Queue.step."""
        try:
            self._take(entry, self.queue.step(entry, taken))
        except Exception as error:  # Anything at all must end this job in words, not the timer.
            logger.exception("Job %s cannot be started", entry.job_id)
            self._take(entry, failed_status(error))

    def _measure(self) -> None:
        self._sizes.keep_up((entry.job_id, entry.folder) for entry in self.queue.active if entry.followed is not None)

    def _take_polls(self) -> None:
        for answer in self._polls.answers():
            job_id, followed = answer.key
            entry = self.queue.find(job_id)
            if entry is not None and followed in (entry.sought, entry.followed):
                keep_going(partial(self._take_poll, entry, answer))

    def _take_poll(self, entry: Entry, answer: Answer) -> None:
        status = answer.value if answer.error is None else self._unread_status(entry, answer.error)
        if entry.sought is not None:
            entry.followed, entry.sought = (None if status.has_ended else entry.sought), None
            if status.state == "finished" and not entry.must_import:
                entry.status = status
                job_list.write_state(entry.job_id, status)
                self.outcomes.look_at(entry)
                return
        self._take(entry, status, answer.key[1].result)
        answer.key[1].result = None

    def _unread_status(self, entry: Entry, error: Exception) -> JobStatus:
        """How a job stands whose folder was not read. One whose disk does not answer may still be solved."""
        if getattr(error, "code", None) != "disk_silent":
            return failed_status(error)
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
        ending = ending_of(entry) if has_changed else None
        if ending is not None:
            self._tell(ending)

    def _requeue(self, entry: Entry, launch: Launch) -> None:
        self.queue.requeue(entry, launch)
        job_list.write_state(entry.job_id, entry.status)

    def _finish(self, entry: Entry, result: Result) -> None:
        """result: read and checked by whoever saw that it is there."""
        self.outcomes.look_at(entry, result)
        scene = job_list.scene_of(entry.job_id, entry.scene_uid)
        if scene is None or not scene.stereodiff.import_when_finished:
            return
        item = job_list.find_item(entry.job_id)
        try:
            imported = import_result(scene, entry.folder, clip=item.clip if item else None, result=result,
                                     match="NEW" if scene.stereodiff.match_scene else "UNTOUCHED")
        except Exception as error:  # The solve is safe on disk; what kept it out of the scene is told beside it.
            if getattr(error, "code", None) not in QUESTIONS:
                logger.exception("Job %s cannot be imported", entry.job_id)
            entry.import_problem = problem_from(error)
        else:
            entry.import_note = imported.notes
            push_undo(f"StereoDiff: Import {entry.clip_name}")
