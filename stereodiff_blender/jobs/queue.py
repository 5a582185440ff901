"""The jobs that one Blender knows, in their order, of which one at a time is started. No bpy."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..engine.contract import JobFolder, StereoDiffError
from ..engine.contract.errors import Problem
from ..engine.contract.job_files.result_checks import read_checked
from .device_lock import device_of, take_device
from .result_looks import Stamp
from .views import JobView, Outcome, Size
from .worker_process import FollowedJob, JobStatus, start

__all__ = ["WAITING", "Entry", "Launch", "Queue", "found_status"]

WAITING = JobStatus("waiting")
_LOOKED = "looked"
WAITING_FOR_DEVICE = JobStatus("waiting", note="Waiting for another Blender's job")


@dataclass(frozen=True)
class Launch:
    """How to start a job's worker.

    python: its interpreter. extension_root: the folder that contains stereodiff_blender/. locks: the folder where all
    Blenders of this user keep the locks of the devices. caches: the folder that the artist chose for caches, if any.
    cores: that it may use; 0: all but one, or both of two.
    """

    python: Path
    extension_root: Path
    locks: Path
    caches: Path | None = None
    cores: int = 0


@dataclass
class Entry:
    """One job this Blender knows.

    launch: how to start it, while it waits for that here. followed: None until it is started or found running.
    relaunch: how to start it again as soon as it has ended. sought: its folder, while it is not known yet how a job
    stands that a file lists; must_import: whether it is to be imported if it turns out to have finished since.
    look: stands for the last look at its result, seen: what the file was when one came to its end. pictures: how many
    pictures of depth so far there were when one was last asked for; picture_id: its icon.
    """

    job_id: str
    folder: Path
    clip_name: str
    scene_uid: int
    launch: Launch | None = None
    followed: FollowedJob | None = None
    status: JobStatus = JobStatus("waiting")
    outcome: Outcome | None = None
    import_problem: Problem | None = None
    import_note: str = ""
    relaunch: Launch | None = None
    device: str | None = None
    sought: FollowedJob | None = None
    must_import: bool = True
    look: object = None
    seen: Stamp | None = None
    pictures: int = 0
    picture_id: int = 0
    _view: JobView | None = None

    @property
    def is_queued(self) -> bool:
        return self.launch is not None and self.followed is None and not self.status.has_ended

    @property
    def at_work(self) -> FollowedJob | None:
        """Its folder under observation, if anybody works there or that is not known yet."""
        return self.sought if self.followed is None else self.followed

    def view(self, size: Size | None) -> JobView:
        """The very same as before while nothing has changed: it is asked for, and compared, all the time."""
        old, is_queued = self._view, self.is_queued
        if not (old is not None and old.status is self.status and old.outcome is self.outcome and old.size is size
                and old.import_problem is self.import_problem and old.import_note is self.import_note
                and old.is_queued == is_queued and old.picture_id == self.picture_id):
            old = self._view = JobView(self.job_id, self.clip_name, self.status, self.outcome, self.import_problem,
                                       size, is_queued, self.import_note, self.picture_id)
        return old


class Queue:
    """Entries in the order in which they are started. One whose job this Blender follows keeps all others waiting."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries.values()))

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._entries

    def __getitem__(self, job_id: str) -> Entry:
        return self._entries[job_id]

    def find(self, job_id: str) -> Entry | None:
        return self._entries.get(job_id)

    def add(self, entry: Entry) -> Entry:
        """At the end."""
        self._entries[entry.job_id] = entry
        return entry

    def remove(self, job_id: str) -> None:
        self._entries.pop(job_id, None)

    def is_active(self, job_id: str) -> bool:
        """Whether a job waits or runs."""
        return job_id in self._entries and not self._entries[job_id].status.has_ended

    @property
    def active(self) -> list[Entry]:
        return [entry for entry in self._entries.values() if not entry.status.has_ended]

    @property
    def is_at_work(self) -> bool:
        """Whether a job is followed, or one is listed of which it is not known yet."""
        return any(entry.at_work is not None for entry in self.active)

    def move(self, job_id: str, places: int) -> bool:
        """Let a queued job change places with the queued one so many places later (or, below 0, earlier).

        Returns whether there was one; False also for a job that is not queued.
        """
        queued = [entry.job_id for entry in self if entry.is_queued]
        if job_id not in queued or not 0 <= queued.index(job_id) + places < len(queued):
            return False
        other = queued[queued.index(job_id) + places]
        order = [{job_id: other, other: job_id}.get(name, name) for name in self._entries]
        self._entries = {name: self._entries[name] for name in order}
        return True

    def requeue(self, entry: Entry, launch: Launch) -> None:
        """Have an ended job started again, after those that wait already."""
        entry.launch, entry.followed, entry.relaunch = launch, None, None
        entry.status, entry.outcome, entry.import_problem, entry.seen = JobStatus("waiting"), None, None, None
        self._entries[entry.job_id] = self._entries.pop(entry.job_id)

    def take_off(self, entry: Entry) -> None:
        """A queued job is not to be started; a later Blender reads that in its folder."""
        with contextlib.suppress(OSError):  # What cannot be noted is still true here.
            folder = JobFolder(entry.folder)
            folder.files.touch(folder.cancelled_file.name)
        entry.launch, entry.status = None, JobStatus("cancelled", code="cancelled")

    def step(self, entry: Entry, taken: set[str] | None = None) -> JobStatus:
        """Start a job if it is its turn, and say how it stands. Raises StereoDiffError as jobs.start does.

        taken: what was found out in this round, to be handed on to the next step of it: devices that are taken, and
        whether a job was looked at for its device, which is done for one in a round.
        """
        if entry.followed is None:
            if self.is_at_work:
                return WAITING
            entry.followed = self._start(entry, taken if taken is not None else set())
        return WAITING_FOR_DEVICE if entry.followed is None else entry.followed.poll()

    def _start(self, entry: Entry, taken: set[str]) -> FollowedJob | None:
        """None where the device was not free."""
        launch = entry.launch
        if launch is None:
            raise StereoDiffError("job_interrupted", "The job was not started from this list.")
        if entry.device is None:
            if _LOOKED in taken:
                return None
            taken.add(_LOOKED)
            entry.device = device_of(JobFolder(entry.folder).read_job().settings)
        device = take_device(launch.locks, entry.device) if entry.device not in taken else None
        if device is None:
            taken.add(entry.device)
            return None
        with device:
            worker = start(entry.folder, launch.python, launch.extension_root, device, launch.caches, launch.cores)
        return FollowedJob(entry.folder, worker, read_checked)


def found_status(known: JobStatus, followed: FollowedJob) -> JobStatus:
    """How a job stands that a file lists as known says, now that its folder is looked at.

    Opening a file must not start programs, so what nobody works at has to be asked for again.

    Parameters
    ----------
    known : JobStatus
        As the file has it.
    followed : FollowedJob
        The job's folder, which is polled here.

    Returns
    -------
    JobStatus
        known where that had ended and the folder tells nothing newer; "failed" with "job_missing" where no job.json is;
        "interrupted" where it still waits or its worker is gone; else as polled.
    """
    found = followed.poll()
    if known.has_ended and (found.state == "waiting" or found.code == "worker_died"):
        return known
    if not followed.folder.job_file.exists():
        return JobStatus("failed", code="job_missing", message=f"{followed.folder.path} is not there.")
    if found.state == "waiting" and not followed.folder.log_file.exists():
        return JobStatus("interrupted", code="job_interrupted", message="It still waited when Blender was closed.")
    if found.code == "worker_died":
        return JobStatus("interrupted", code="job_interrupted", message=found.message)
    return found
