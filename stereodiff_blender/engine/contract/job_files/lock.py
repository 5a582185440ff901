"""One worker at a job, and a sign that it lives.

The lock is the operating system's own: it ends with the process, however that ends. The heartbeat is the time of a
file; who follows the job looks whether it changes, so that clocks need not agree. Not every share knows locks, or tells
one computer of another's: then the heartbeat alone says that somebody is at work.
"""

from __future__ import annotations

import hashlib
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from .. import JobFolder, StereoDiffError, file_lock, write_refusal
from ..guarded_files import TEMPORARY
from .worker_log import shorten_log

__all__ = ["beating", "beats_elsewhere", "locked"]

HEARTBEAT_S = 2.0
FRESH_S = 5 * HEARTBEAT_S
"""A younger heartbeat is that of a worker that lives: one may come late, and a share may tell late of it."""
_MAX_NAME_BYTES = 100


@contextmanager
def locked(folder: JobFolder) -> Iterator[bool]:
    """Hold the folder's lock file meanwhile; it is removed at the end.

    Parameters
    ----------
    folder : JobFolder
        Of the job to be worked at.

    Yields
    ------
    bool
        Whether it is locked; False where there are no locks.

    Raises
    ------
    StereoDiffError
        "job_locked": another process is at work there, also one of another computer that beats. "output_not_writable",
        "disk_full" or "job_folder_unsafe": the lock file cannot be written.
    """
    name = folder.lock_file.name
    try:
        stream = folder.files.open_for_writing(name, "append")
    except OSError as error:
        raise write_refusal(error, folder.lock_file) from error
    with stream:
        is_locked = _lock(stream, folder)
        try:
            yield is_locked
        finally:
            if sys.platform != "win32":  # Windows removes no open file
                _remove(folder, name)
    if sys.platform == "win32":
        _remove(folder, name)


def _lock(stream: BinaryIO, folder: JobFolder) -> bool:
    if beats_elsewhere(folder):
        raise StereoDiffError("job_locked", f"Another computer is at work in {folder.path}.")
    try:
        is_ours = file_lock.acquire(stream.fileno())
    except OSError as error:
        if error.errno in file_lock.NO_LOCKS:
            return False
        raise write_refusal(error, folder.lock_file) from error
    if not is_ours:
        raise StereoDiffError("job_locked", f"Another process is at work in {folder.path}.")
    # Whoever held the file before may have removed it just now; a lock on a file without a name locks nobody out.
    named = folder.files.stat(folder.lock_file.name)
    if named is None or not os.path.samestat(os.fstat(stream.fileno()), named):
        raise StereoDiffError("job_locked", f"Another process has just left {folder.path}.")
    return True


def _remove(folder: JobFolder, name: str) -> None:
    with suppress(OSError):
        folder.files.unlink(name)


# --- Heartbeat -------------------------------------------------------------------------------------------------

@contextmanager
def beating(folder: JobFolder, steps: Callable[[], int]) -> Iterator[None]:
    """Meanwhile write the heartbeat file every HEARTBEAT_S; it is removed at the end.

    It tells whose heart it is, for how long there was no progress, and how much a processor worked meanwhile. The job's
    log is kept from growing on the way.

    Parameters
    ----------
    folder : JobFolder
        Of the job that is worked at.
    steps : callable
        Takes nothing and gives how often there was progress so far; called here and from a thread.

    Yields
    ------
    None
        The thread beats until the block ends. What it cannot write is passed over.
    """
    done, idleness = threading.Event(), _Idleness(steps)

    def beat() -> None:
        while True:
            with suppress(OSError):  # a full disk must not end the work
                _write_beat(folder, idleness.measure())
            shorten_log(folder.files)
            if done.wait(HEARTBEAT_S):
                return

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        _remove(folder, folder.heartbeat_file.name)


def _write_beat(folder: JobFolder, told: bytes) -> None:
    """In its place and always as long, so that whoever reads it meanwhile finds one or the other."""
    name = folder.heartbeat_file.name
    mode = "update" if folder.files.is_file(name) else "create"
    with folder.files.open_for_writing(name, mode) as stream:
        stream.write(this_computer() + b"\n" + told + b"\n")


class _Idleness:
    """For how long there was no progress. Time in which nothing ran, because the computer slept, does not count."""

    LONGEST_GAP_S = 3 * HEARTBEAT_S

    def __init__(self, steps: Callable[[], int]):
        self._steps = steps
        self._seen = steps()
        self._idle_s = 0.0
        self._looked_s = time.monotonic()
        self._work_began_s = time.process_time()

    def measure(self) -> bytes:
        """As contract.PROGRESS_TOLD has it."""
        steps, now_s, work_s = self._steps(), time.monotonic(), time.process_time()
        if steps != self._seen:
            self._seen, self._idle_s, self._work_began_s = steps, 0.0, work_s
        else:
            self._idle_s += min(now_s - self._looked_s, self.LONGEST_GAP_S)
        self._looked_s = now_s
        return b"idle %09d s, work %09d s" % (self._idle_s, work_s - self._work_began_s)


def beats_elsewhere(folder: JobFolder) -> bool:
    """Whether a worker of another computer gave a sign of life just now.

    Of this computer's workers the lock and the list of processes tell more, and at once. A heartbeat that does not say
    whose it is, as earlier versions' did not, is looked at for a while: whether it changes.

    Parameters
    ----------
    folder : JobFolder
        The job's.

    Returns
    -------
    bool
        True for a heartbeat younger than FRESH_S seconds that is another computer's, or that does not say whose it is
        and changes within three seconds; False where there is none or it cannot be read.
    """
    whose, beat_s = _heartbeat(folder)
    if whose is None or whose == this_computer() or _clock_of(folder) - beat_s >= FRESH_S:
        return False
    return bool(whose) or _changes(folder, beat_s)


def _heartbeat(folder: JobFolder) -> tuple[bytes | None, float]:
    """Whose it is, None if there is none, and when it was."""
    try:
        with folder.files.open_for_reading(folder.heartbeat_file.name) as stream:
            return stream.readline(_MAX_NAME_BYTES).strip(), os.fstat(stream.fileno()).st_mtime
    except OSError:
        return None, 0.0


def _changes(folder: JobFolder, beat_s: float) -> bool:
    give_up_s = time.monotonic() + 1.5 * HEARTBEAT_S
    while time.monotonic() < give_up_s:
        whose, now_s = _heartbeat(folder)
        if whose is None or now_s != beat_s:
            return whose is not None
        time.sleep(0.1)
    return False


def this_computer() -> bytes:
    """The same for all processes of this computer since it started, and for no other's; it tells no name."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii"))
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=16).hexdigest().encode()


def _clock_of(folder: JobFolder) -> float:
    """The time by the clock of whoever keeps the folder, which a new file tells: computers' own need not agree."""
    name = folder.heartbeat_file.name + TEMPORARY
    try:
        folder.files.touch(name)
        status = folder.files.stat(name)
        return time.time() if status is None else status.st_mtime
    except OSError:
        return time.time()
    finally:
        _remove(folder, name)
