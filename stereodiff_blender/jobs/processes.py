"""A worker as the operating system sees it: does it live. No bpy."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

from ..engine.contract import JobFolder
from ..engine.contract.guarded_files import GuardedFolder
from ..engine.contract.programs import WORKER_MODULE

MAX_PID = 2 ** 31 - 1
HELD = frozenset({errno.EACCES, errno.EAGAIN, errno.EDEADLK})


def worker_is_alive(pid: int, folder: Path) -> bool:
    """Whether pid runs and is the worker of this folder; pids are used again after a while.

    pid: as a file says, so it may be any number; those of no ordinary process are never alive.
    """
    if not 1 < pid <= MAX_PID:
        return False
    if sys.platform == "linux":
        return _command_line_has(pid, folder)
    # The other systems do not tell a command line so easily, but only a worker holds the folder's lock.
    return _process_runs(pid) and lock_is_held(JobFolder(folder).lock_file)


def lock_is_held(path: Path) -> bool:
    """Whether some process holds this lock file. False also where the file system knows no locks."""
    try:
        with GuardedFolder(path.parent).open_for_writing(path.name, "update") as stream:
            _try_lock(stream.fileno())
    except FileNotFoundError:
        return False
    except OSError as error:
        return error.errno in HELD
    return False


def _try_lock(descriptor: int) -> None:
    """Raises OSError if another process holds the lock; closing the file frees it again."""
    if sys.platform == "win32":
        import msvcrt
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
    else:
        import fcntl
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)


def _process_runs(pid: int) -> bool:
    if sys.platform == "win32":
        return _windows_process_runs(pid)
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):  # Gone, or someone else's process.
        return False
    return True


def _command_line_has(pid: int, folder: Path) -> bool:
    """A zombie's command line is empty, so a dead worker nobody waited for counts as gone."""
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return os.fsencode(folder) in arguments and WORKER_MODULE.encode() in arguments


def _windows_process_runs(pid: int) -> bool:
    """os.kill(pid, 0) would send Ctrl+C on Windows; the system's own call only asks."""
    import ctypes
    query_limited_information, still_active = 0x1000, 259
    kernel = ctypes.windll.kernel32
    handle = kernel.OpenProcess(query_limited_information, False, pid)
    if not handle:
        return False
    try:
        status = ctypes.c_ulong()
        return bool(kernel.GetExitCodeProcess(handle, ctypes.byref(status))) and status.value == still_active
    finally:
        kernel.CloseHandle(handle)
