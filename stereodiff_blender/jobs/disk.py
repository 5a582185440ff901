"""Job folders as things on a disk: how big they are, clearing them up, finding them again. No bpy.

Nothing here follows a link or touches a job at which a worker works.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..engine.contract import Job, JobFolder, StereoDiffError, shortened, write_refusal
from ..engine.contract.guarded_files import GuardedFolder
from ..engine.contract.job_files import caches
from ..engine.contract.job_files.caches import find_cache, foreign_names, has_traces, in_words, is_elsewhere
from ..engine.contract.job_files.lock import beats_elsewhere
from .processes import lock_is_held
from .reader_thread import ReaderThread
from .views import Size
from .worker_process import FollowedJob

__all__ = ["FoundJob", "SizeMeter", "delete_job", "find_jobs", "remove_cache"]

MEASURE_AGAIN_S = 5.0
MOST_ENTRIES = 300_000
"""In a folder that is measured; a job of a hundred thousand frames has as many files."""


# --- Size ------------------------------------------------------------------------------------------------------

class SizeMeter:
    """Measures folders one after the other beside Blender."""

    def __init__(self) -> None:
        self._sizes: dict[str, Size] = {}
        self._again: dict[str, Path] = {}
        self._reader: ReaderThread[str, Size] = ReaderThread("job sizes")
        self._kept_up_s = 0.0

    def keep_up(self, growing: Iterable[tuple[str, Path]]) -> None:
        """Measure jobs that grow, (id, folder) each, now and then; to be called as often as one likes."""
        self._take()
        if time.monotonic() - self._kept_up_s >= MEASURE_AGAIN_S:
            self._kept_up_s = time.monotonic()
            for job_id, folder in growing:
                self.ask(job_id, folder)

    def ask(self, job_id: str, folder: Path) -> None:
        """Have a job measured, again if it was before. Returns at once."""
        if not self._reader.ask(job_id, partial(measure, folder)):
            self._again[job_id] = folder

    @property
    def is_busy(self) -> bool:
        self._take()
        return self._reader.is_busy

    def size(self, job_id: str) -> Size | None:
        """What was measured last, None if nothing was yet. No disk."""
        return self._sizes.get(job_id)

    def forget(self, job_id: str) -> None:
        self._sizes.pop(job_id, None)

    def close(self) -> None:
        self._reader.close()

    def _take(self) -> None:
        for answer in self._reader.answers():
            if answer.value is not None:
                self._sizes[answer.key] = answer.value
            if answer.key in self._again and not self._reader.is_asked(answer.key):
                self.ask(answer.key, self._again.pop(answer.key))


def measure(folder: Path) -> Size:
    """How big a job folder is, with its cache wherever that is; nothing where it is gone or may not be read."""
    cache = find_cache(JobFolder(folder))
    kept = _bytes_below(cache.path) if cache is not None else 0
    return Size(_bytes_below(folder) + (kept if is_elsewhere(JobFolder(folder)) else 0), kept)


def _bytes_below(folder: Path) -> int:
    total, folders, seen = 0, [folder], 0
    while folders and seen < MOST_ENTRIES:
        for entry in _entries(folders.pop()):
            seen += 1
            if _is_folder(entry):
                folders.append(Path(entry.path))
            else:
                total += _bytes_of(entry)
    return total


def _entries(folder: Path) -> list[os.DirEntry]:
    """A running worker makes and removes files meanwhile."""
    try:
        with os.scandir(folder) as entries:
            return [] if folder.is_symlink() else list(entries)
    except OSError:
        return []


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _bytes_of(entry: os.DirEntry) -> int:
    """Room that a file takes; an array that is partly empty takes less than its length."""
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError:
        return 0
    return status.st_blocks * 512 if hasattr(status, "st_blocks") else status.st_size


# --- Clearing up -----------------------------------------------------------------------------------------------

def remove_cache(folder: Path, job_id: str) -> int:
    """Remove what a job keeps for Resume.

    Parameters
    ----------
    folder : Path
        The job's folder.
    job_id : str
        Its id; a folder of another job is refused.

    Returns
    -------
    int
        Bytes that were freed, 0 if it kept nothing.

    Raises
    ------
    StereoDiffError
        "job_locked" while a worker works there; "job_missing", "job_invalid" or what Job.validate raises if the folder
        is not that of this very job; "job_folder_unsafe" or "job_folder_mixed" if a link or more than a job's own is
        there; "output_not_writable".
    """
    _refuse_link(folder)
    if JobFolder(folder).read_job().id != job_id:
        raise _not_its_own(folder, job_id)
    _check_at_rest(folder)
    freed = measure(folder).cache
    return freed if caches.remove_cache(JobFolder(folder)) else 0


def delete_job(folder: Path, job_id: str) -> None:
    """Delete a job's whole folder, also what is left of one; one that is gone is fine.

    It is moved aside first, so that nothing is deleted where not all can be.

    Parameters
    ----------
    folder : Path
        The job's folder, named by its id.
    job_id : str
        Its id; a folder of another job is refused.

    Raises
    ------
    StereoDiffError
        As remove_cache; "job_folder_mixed" also if the folder is not named after its job.
    """
    _refuse_link(folder)
    if os.path.lexists(folder):
        _check_own(folder, job_id)
        _check_at_rest(folder)
        if is_elsewhere(JobFolder(folder)):
            caches.remove_cache(JobFolder(folder))
    try:
        GuardedFolder(folder.parent).remove_tree(folder.name)
    except OSError as error:
        raise write_refusal(error, folder) from error


def _refuse_link(folder: Path) -> None:
    """What a link leads to would stay, and may be anything."""
    try:
        GuardedFolder(folder.parent).refuse_unsafe(folder.name, with_all_below=False)
    except OSError as error:
        raise write_refusal(error, folder) from error


def _check_own(folder: Path, job_id: str) -> None:
    """Only ever the folder of this very job, and of nothing else: a .blend from elsewhere may name any folder."""
    try:
        if JobFolder(folder).read_job().id != job_id:
            raise _not_its_own(folder, job_id)
    except StereoDiffError as error:
        was_half_removed = error.code == "job_missing" and folder.name == job_id and has_traces(JobFolder(folder))
        if not was_half_removed:
            raise
    if folder.name != job_id:
        raise StereoDiffError("job_folder_mixed", f"{folder} is not named after its job, {job_id}.")
    others = foreign_names(JobFolder(folder))
    if others:
        raise StereoDiffError("job_folder_mixed", f"{folder} also holds {in_words(others)}.")


def _not_its_own(folder: Path, job_id: str) -> StereoDiffError:
    return StereoDiffError("job_invalid", f"{folder} does not belong to {job_id}; nothing was deleted.")


def _check_at_rest(folder: Path) -> None:
    if is_at_work(folder):
        raise StereoDiffError("job_locked", f"{folder} is in use; nothing was deleted.")


def is_at_work(folder: Path) -> bool:
    """Whether a worker works in this folder, whoever started it, on this computer or another."""
    job_folder = JobFolder(folder)
    return (FollowedJob(folder).poll().state == "running" or lock_is_held(job_folder.lock_file)
            or beats_elsewhere(job_folder))


# --- Finding ---------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class FoundJob:
    """A job folder that was found on disk, and what it asks for."""

    folder: Path
    job: Job


def find_jobs(jobs_folder: Path) -> Iterator[FoundJob]:
    """The jobs right below a folder, oldest first. What cannot be read as a job is passed over.

    Parameters
    ----------
    jobs_folder : Path
        It may be missing: then there are none.

    Yields
    ------
    FoundJob
        Only jobs whose folder is named by their id.
    """
    try:
        folders = [path for path in jobs_folder.iterdir() if _has_job_file(path)]
    except OSError:
        return
    for folder in sorted(folders, key=lambda path: (_made(path), path.name)):
        try:
            job = JobFolder(folder).read_job()
        except StereoDiffError:
            continue
        if job.id == folder.name == shortened(job.id):  # Blender can list no other
            yield FoundJob(folder, job)


def _has_job_file(folder: Path) -> bool:
    """False also for what cannot be entered: a link to itself, a folder of somebody else."""
    try:
        return JobFolder(folder).files.is_file("job.json")
    except OSError:
        return False


def _made(folder: Path) -> float:
    try:
        return JobFolder(folder).job_file.stat().st_mtime
    except OSError:
        return 0.0
