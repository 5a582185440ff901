"""A worker as the operating system sees it: does it live, end it with all it started. No bpy."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

from .engine.contract import JobFolder
from .engine.guarded_files import GuardedFolder

WORKER_MODULE = "stereodiff_blender.engine"
MAX_PID = 2 ** 31 - 1
HELD = frozenset({errno.EACCES, errno.EAGAIN, errno.EDEADLK})


def own_group() -> dict:
    """Options of Popen that make a process the head of its own group, without a console."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}


def describe_exit(status: int | None) -> str:
    """status: exit status as Popen gives it; negative for a signal; None if it is not known."""
    if status is None:
        return "is gone"
    if status < 0:
        return f"was ended by signal {-status} ({signal.strsignal(-status)})"
    return f"ended with exit status {status}"


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


def end_process_tree(pid: int, *, force: bool) -> None:
    """Ask (or with force: make) a worker and everything in its group to end. Does not wait. Gone is fine."""
    if sys.platform == "win32":
        # There is no request a console-less process would hear, so Windows gets the forceful way at once.
        subprocess.Popen(["taskkill", "/PID", str(pid), "/T", "/F"], stdin=subprocess.DEVNULL,
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                         creationflags=subprocess.CREATE_NO_WINDOW)
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL if force else signal.SIGTERM)
