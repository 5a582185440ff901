"""Job folders as things on a disk: how big they are, clearing them up, finding them again. No bpy.

Nothing here follows a link or touches a job at which a worker works.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .engine.contract import Job, JobFolder, StereoDiffError, write_refusal
from .job_views import Size
from .jobs import FollowedJob
from .processes import lock_is_held
from .reader_thread import ReaderThread

MEASURE_AGAIN_S = 5.0
MOST_ENTRIES = 300_000
"""In a folder that is measured; a job of a hundred thousand frames has as many files."""


# --- Size ------------------------------------------------------------------------------------------------------

class SizeMeter:
    """Measures folders one after the other beside Blender."""

    def __init__(self) -> None:
        self._sizes: dict[str, Size] = {}
        self._again: dict[str, Path] = {}
        self._reader = ReaderThread("job sizes")
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
            if answer.error is None:
                self._sizes[answer.key] = answer.value
            if answer.key in self._again and not self._reader.is_asked(answer.key):
                self.ask(answer.key, self._again.pop(answer.key))


def measure(folder: Path) -> Size:
    """How big a job folder is; nothing where it is gone or may not be read."""
    return Size(_bytes_below(folder), _bytes_below(JobFolder(folder).cache))


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
    """Remove what a job keeps for Resume. Returns the bytes that were freed.

    Raises StereoDiffError: "job_locked" while a worker works there, "job_missing" or "job_invalid" if the folder is
    not that of this very job, "output_not_writable".
    """
    _check_at_rest(folder, job_id)
    cache = JobFolder(folder).cache
    freed = measure(folder).cache
    _remove(cache)
    return freed


def delete_job(folder: Path, job_id: str) -> None:
    """Delete a job's whole folder; one that is gone is fine. Raises StereoDiffError as remove_cache does."""
    if folder.exists():
        _check_at_rest(folder, job_id)
        _remove(folder)


def _check_at_rest(folder: Path, job_id: str) -> None:
    """Only ever the folder of this very job: a .blend from elsewhere may name any folder."""
    if JobFolder(folder).read_job().id != job_id:
        raise StereoDiffError("job_invalid", f"{folder} does not belong to {job_id}; nothing was deleted.")
    if is_at_work(folder):
        raise StereoDiffError("job_locked", f"{folder} is in use; nothing was deleted.")


def is_at_work(folder: Path) -> bool:
    """Whether a worker works in this folder, whoever started it."""
    return FollowedJob(folder).poll().state == "running" or lock_is_held(JobFolder(folder).lock_file)


def _remove(path: Path) -> None:
    try:
        if path.is_symlink():
            path.unlink()
        elif path.exists():
            shutil.rmtree(path)
    except OSError as error:
        raise write_refusal(error, path) from error


# --- Finding ---------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class FoundJob:
    """A job folder that was found on disk, and what it asks for."""

    folder: Path
    job: Job


def find_jobs(jobs_folder: Path) -> Iterator[FoundJob]:
    """The jobs right below a folder, oldest first. What cannot be read as a job is passed over."""
    try:
        folders = [path for path in jobs_folder.iterdir() if JobFolder(path).job_file.is_file()]
    except OSError:
        return
    for folder in sorted(folders, key=lambda path: (_made(path), path.name)):
        try:
            job = JobFolder(folder).read_job()
        except StereoDiffError:
            continue
        if job.id == folder.name:
            yield FoundJob(folder, job)


def _made(folder: Path) -> float:
    try:
        return JobFolder(folder).job_file.stat().st_mtime
    except OSError:
        return 0.0
