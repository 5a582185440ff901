"""A worker as the operating system sees it: does it live. No bpy."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ..engine.contract import JobFolder, file_lock
from ..engine.contract.guarded_files import GuardedFolder
from ..engine.contract.programs import WORKER_MODULE

MAX_PID = 2 ** 31 - 1


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
            return not file_lock.is_free(stream.fileno())
    except FileNotFoundError:
        return False
    except OSError as error:
        return error.errno in file_lock.HELD  # Windows may refuse to open what another has locked.


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
