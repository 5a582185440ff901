"""One worker at a job, and a sign that it lives.

The lock is the operating system's own: it ends with the process, however that ends. The heartbeat is the time of a
file; who follows the job looks whether it changes, so that clocks need not agree.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from .contract import StereoDiffError, write_refusal

HEARTBEAT_S = 2.0
_HELD = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}
_NO_LOCKS_HERE = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Hold the lock file meanwhile; it is removed at the end. Gives False where the file system knows no locks.

    Raises StereoDiffError "job_locked" if another process holds it, or "output_not_writable".
    """
    try:
        stream = open(path, "ab")  # noqa: SIM115 - closed below, after the file is gone or before it, as the system asks
    except OSError as error:
        raise write_refusal(error, path) from error
    with stream:
        is_locked = _lock(stream, path)
        try:
            yield is_locked
        finally:
            if sys.platform != "win32":  # Windows removes no open file
                _remove(path)
    if sys.platform == "win32":
        _remove(path)


def _lock(stream: BinaryIO, path: Path) -> bool:
    try:
        _lock_file(stream)
    except OSError as error:
        if error.errno in _HELD:
            raise StereoDiffError("job_locked", f"Another process is at work in {path.parent}.") from error
        if error.errno in _NO_LOCKS_HERE:
            return False
        raise write_refusal(error, path) from error
    # Whoever held the file before may have removed it just now; a lock on a file without a name locks nobody out.
    if not path.exists() or not os.path.samestat(os.fstat(stream.fileno()), path.stat()):
        raise StereoDiffError("job_locked", f"Another process has just left {path.parent}.")
    return True


def _lock_file(stream: BinaryIO) -> None:
    if sys.platform == "win32":
        import msvcrt
        msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


@contextmanager
def beating(path: Path) -> Iterator[None]:
    """Meanwhile touch the file every HEARTBEAT_S; it is removed at the end."""
    done = threading.Event()

    def beat() -> None:
        while True:
            with suppress(OSError):  # a full disk must not end the work
                path.touch()
            if done.wait(HEARTBEAT_S):
                return

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        _remove(path)
