"""The jobs that a file lists, known again: a worker outlives Blender, and a file may be older than what it lists."""

from __future__ import annotations

import logging
import time
from functools import partial
from pathlib import Path

import bpy

from ..engine.contract import StereoDiffError
from ..engine.contract.errors import problem_from
from ..engine.contract.job_files.result_checks import read_checked
from ..jobs.disk import SizeMeter
from ..jobs.queue import Entry, Queue, found_status
from ..jobs.reader_thread import ReaderThread
from ..jobs.worker_process import FollowedJob, JobStatus
from . import job_list
from .outcomes import Outcomes

ATTACH_S = 0.001
"""For which a tick takes up jobs that a file lists; the rest is left to the next, which comes soon."""
logger = logging.getLogger(__name__)


class FileJobs:
    """Puts what the scenes list into the queue, a few in each tick. is_known: whether all of it is there.

    How such a job stands is found out beside Blender, by the same thread that follows jobs; whoever takes its answers
    takes those, too.
    """

    def __init__(self, queue: Queue, polls: ReaderThread, sizes: SizeMeter, outcomes: Outcomes):
        self.is_known = False
        self._queue, self._polls, self._sizes, self._outcomes = queue, polls, sizes, outcomes

    def look_again(self) -> None:
        """Look through the scenes at the next tick: for jobs to follow again, and for items that undo set back."""
        self.is_known = False

    def advance(self) -> None:
        if not self.is_known:
            self.is_known = self.attach(ATTACH_S)

    def attach(self, budget_s: float) -> bool:
        """Know the jobs that the scenes list. Whether all of them are known; else there was not time enough."""
        until_s = time.perf_counter() + budget_s
        for scene in bpy.data.scenes:
            for item in scene.stereodiff.jobs:
                if item.job_id in self._queue:
                    continue
                if time.perf_counter() > until_s:
                    return False
                self.attach_item(scene, item)
        self._restore_items()
        return True

    def attach_item(self, scene: bpy.types.Scene, item, *, must_import: bool = True) -> None:
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
                self._outcomes.look_at(entry)
                return
            entry.sought = FollowedJob(entry.folder, read_result=read_checked)
            self._polls.ask(poll_key(entry, entry.sought), partial(found_status, known, entry.sought))
        except Exception as error:  # One bad entry is one bad entry.
            logger.exception("Job %s cannot be looked at", entry.job_id)
            entry.sought, entry.status = None, failed_status(error)

    def _restore_items(self) -> None:
        """Undo takes back what the scene says about its jobs, but not the jobs."""
        listed = job_list.items_by_job()
        scenes = {scene.session_uid: scene for scene in bpy.data.scenes}
        for entry in self._queue:
            if entry.job_id in listed:
                job_list.write_items(listed[entry.job_id], entry.status)
            elif entry.scene_uid in scenes:
                list_entry(scenes[entry.scene_uid], entry, None)


def poll_key(entry: Entry, followed: FollowedJob) -> tuple[str, FollowedJob]:
    """A job may be started anew while it is looked at: then what was seen is of no use any more."""
    return entry.job_id, followed


def failed_status(error: Exception) -> JobStatus:
    """How a job stands that an error kept from going on."""
    problem = problem_from(error)
    return JobStatus("failed", code=problem.code, message=problem.message)


def list_entry(scene: bpy.types.Scene, entry: Entry, clip: bpy.types.MovieClip | None) -> None:
    """List a job in a scene, with how it stands."""
    job_list.add_item(scene, entry.job_id, entry.folder, entry.clip_name, clip)
    job_list.write_state(entry.job_id, entry.status)
