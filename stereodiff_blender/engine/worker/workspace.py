"""Where a job works, and what it finds there from earlier runs: a folder for its input and one for each stage.

The folders' names say what made them (provenance.py). So a run that was broken off is continued by the next, and a
stage that an earlier job beside this one has done already, with the very same input and settings, is taken over: if it
bears the seal of this user's engine (seals.py), so that nobody else's depth is taken for this footage's.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from ..contract import Job, JobFolder, StereoDiffError, UnsafeFileError
from ..contract.guarded_files import GuardedFolder
from ..contract.job_files.caches import STAGE, find_cache, is_ours
from ..contract.user_folders import user_folder
from ..media.frames import Raster
from ..pipeline import remove_superseded
from ..storage import KEPT, SEAL, DiskScratch, Seal, is_unbroken, mark_begun, put_seal, read_seal, users_key, was_begun
from . import provenance

__all__ = ["discard_foreign"]

STEREO_DONE = "done"
"""A file in stage 1's folder: it holds the whole stage and is written no more."""


@dataclass(frozen=True)
class Workspace:
    """input_key: of the footage as it was when the run began. stereo, refine: of stages 1 and 2.

    job_id: of the job that works here, in cache. key: of this user, None if there is none. found: stage 1, if it was
    there whole.
    """

    job_id: str
    cache: GuardedFolder
    key: bytes | None
    input_key: str
    input: DiskScratch
    stereo: DiskScratch
    refine: DiskScratch
    found: WholeStage | None

    @classmethod
    def from_job(cls, job: Job, folder: JobFolder, cache: GuardedFolder, raster: Raster) -> Workspace:
        """Clears away what other settings left, except a whole stage 1, and takes over one from beside if there is one.
        """
        of_input = provenance.input_key(job, folder, raster)
        of_stereo = provenance.stereo_key(job, of_input)
        names = {"input": f"input-{of_input}", "stereo": f"stereo-{of_stereo}",
                 "refine": f"refine-{provenance.refine_key(job, of_stereo)}"}
        key = users_key(user_folder())
        _clear(cache, set(names.values()))
        found = _own_stage(cache.inside(names["stereo"]), key) or _take_over(folder, cache, names["stereo"], key)
        first = DiskScratch(cache.inside(names["input"]))
        rooms = {"input": first} | {part: first.beside(cache.inside(names[part])) for part in ("stereo", "refine")}
        for room in rooms.values():
            room.remove_temporary()
            mark_begun(room.folder, key)
        return cls(job.id, cache, key, of_input, **rooms, found=found)

    @property
    def stereo_from(self) -> str | None:
        """The id of another job that computed stage 1; None if this one did, or has to."""
        return self.found.seal.job if self.found is not None and self.found.seal.job != self.job_id else None

    def finish(self) -> None:
        """The result is written. Only stage 1 is kept, for a job that differs in stage 2 alone."""
        remove_superseded(self.stereo)
        self.stereo.close()
        with suppress(OSError):  # what cannot be sealed is computed again
            self._seal_stereo()
        for room in (self.input, self.refine):
            with suppress(OSError):
                room.folder.remove()

    def _seal_stereo(self) -> None:
        """Only if all that went into it is this user's engine's; a stage that was found sealed still is."""
        folder = self.stereo.folder
        if self.found is not None and self.found == WholeStage.in_folder(folder, self.found.seal):
            return
        folder.unlink(STEREO_DONE)
        if self.key is not None and all(was_begun(room.folder, self.key) for room in (self.input, self.stereo)):
            put_seal(folder, [name for name in folder.names() if name.startswith(KEPT)], self.job_id, self.key)
            folder.touch(STEREO_DONE)


@dataclass(frozen=True)
class WholeStage:
    """A stage 1 that bore an unbroken seal when it was found. files: device, inode, size and time of each."""

    seal: Seal
    files: tuple[tuple[int, ...] | None, ...]

    @classmethod
    def in_folder(cls, folder: GuardedFolder, seal: Seal) -> WholeStage:
        statuses = [folder.stat(name) for name in seal.files]
        return cls(seal, tuple(status and (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
                               for status in statuses))


def discard_foreign(cache: GuardedFolder) -> None:
    """Remove what this user's engine has not begun itself: a new job in an old one's folder does not go on with it.

    Parameters
    ----------
    cache : GuardedFolder
        Of the job's folder; only folders of stages in it are looked at.
    """
    key = users_key(user_folder())
    for name in cache.names():
        is_own = was_begun(cache.inside(name), key) or read_seal(cache.inside(name), key) is not None
        if STAGE.fullmatch(name) and cache.is_folder(name) and not is_own:
            cache.remove_tree(name)


def _clear(cache: GuardedFolder, wanted: set[str]) -> None:
    for name in cache.names():
        if STAGE.fullmatch(name) and name not in wanted and cache.is_folder(name):
            with suppress(OSError):
                if not cache.is_file(f"{name}/{STEREO_DONE}"):
                    cache.remove_tree(name)


def _own_stage(own: GuardedFolder, key: bytes | None) -> WholeStage | None:
    """One that claims to be whole, but is not what was sealed, is removed."""
    if not own.is_file(STEREO_DONE):
        return None
    seal = read_seal(own, key)
    if seal is not None and is_unbroken(own, seal):
        return WholeStage.in_folder(own, seal)
    own.remove()
    return None


# --- From beside -----------------------------------------------------------------------------------------------

def _take_over(folder: JobFolder, cache: GuardedFolder, name: str, key: bytes | None) -> WholeStage | None:
    """Link, or else copy, the whole stage of this name from a job of this user in the folder beside."""
    own = cache.inside(name)
    for source in _stages_beside(folder, name):
        seal = read_seal(source, key)
        if seal is None:
            continue
        own.remove()
        if _is_linked(source, own, seal) and is_unbroken(own, seal):
            own.touch(STEREO_DONE)
            return WholeStage.in_folder(own, seal)
        own.remove()
    return None


def _stages_beside(folder: JobFolder, name: str) -> Iterator[GuardedFolder]:
    beside = GuardedFolder(folder.path.parent)
    try:
        names = [other for other in beside.names() if other != folder.path.name]
    except OSError:
        return
    for other in names:
        stage = _stage_of(beside, other, name)
        if stage is not None:
            yield stage


def _stage_of(beside: GuardedFolder, other: str, name: str) -> GuardedFolder | None:
    """Of a folder that is a job's, of its own name and of this user."""
    try:
        status = beside.stat(other)
        if status is None or not beside.is_folder(other) or not is_ours(status):
            return None
        job_folder = JobFolder(beside.path / other)
        cache = find_cache(job_folder)
        if cache is None or not cache.is_file(f"{name}/{STEREO_DONE}") or job_folder.read_job().id != other:
            return None
    except (OSError, StereoDiffError):
        return None
    return cache.inside(name)


def _is_linked(source: GuardedFolder, target: GuardedFolder, seal: Seal) -> bool:
    """Files there are never written again, so two folders may share them."""
    try:
        target.make()
        for name in (*seal.files, SEAL):
            _link(source, target, name)
    except OSError:
        return False
    return True


def _link(source: GuardedFolder, target: GuardedFolder, name: str) -> None:
    try:
        target.link(name, source, name)
    except UnsafeFileError:
        raise
    except (OSError, NotImplementedError):  # another disk, or a system that knows no links
        with source.open_for_reading(name) as read, target.open_for_writing(name, "new") as written:
            shutil.copyfileobj(read, written)
