"""One worker at a time on a device of this computer, whichever Blender started it. No bpy.

The lock is an open file that the worker inherits: the system frees it when the worker has ended, however it ended,
and the Blender that took it may be closed meanwhile. Nothing stale can be left behind.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import platform
import re
import sys
from pathlib import Path

from ..engine.contract import Settings

logger = logging.getLogger(__name__)
TAKEN = frozenset({errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES})


def device_of(settings: Settings) -> str:
    """What a job may compute on: "gpu", or "cpu" if nothing of it could use another."""
    is_learned = settings.stereo == "monst3r" or settings.refine == "depthcrafter" or settings.quality == "high"
    return "gpu" if is_learned and settings.device != "cpu" else "cpu"


class DeviceLock:
    """A device that was taken. Hand it to the worker, then release it here; the worker still has it.

    descriptor: of the open file, which the worker has to inherit; None where the system has no such locks.
    """

    def __init__(self, descriptor: int | None):
        self.descriptor = descriptor

    def release(self) -> None:
        """No longer hold it here."""
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None

    def __enter__(self) -> DeviceLock:
        return self

    def __exit__(self, *_) -> None:
        self.release()


def take_device(folder: Path, device: str) -> DeviceLock | None:
    """Take a device, or None if another worker has it. Never waits.

    folder: of the locks, the same for all Blenders of this user. Its files carry the computer's name, because a home
    on a server is seen by several. Where a lock cannot be had at all, the log says so and nobody is kept from work.
    """
    host = re.sub(r"[^A-Za-z0-9_-]+", "-", platform.node()) or "computer"
    path = folder / f"{host}-{device}.lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return DeviceLock(_open_locked(path))
    except OSError as error:
        if _is_taken(error):
            return None
        logger.warning("%s cannot be locked, so two jobs may compute at the same time: %s", path, error)
        return DeviceLock(None)


def _is_taken(error: OSError) -> bool:
    if sys.platform == "win32":
        return error.winerror == 32  # ERROR_SHARING_VIOLATION
    return isinstance(error, BlockingIOError) or (error.errno in TAKEN and error.filename is None)


def _open_locked(path: Path) -> int:
    """Raises OSError; what it is when another has the lock, _is_taken knows."""
    if sys.platform == "win32":
        return _open_unshared(path)
    import fcntl
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        with contextlib.suppress(OSError):
            os.close(descriptor)
        raise
    return descriptor


def _open_unshared(path: Path) -> int:
    """Windows' locks are not inherited, but a file that is open without sharing stays so while any process has it."""
    import ctypes
    import msvcrt
    read_write, no_sharing, open_always, normal = 0xC0000000, 0, 4, 0x80
    create = ctypes.WinDLL("kernel32", use_last_error=True).CreateFileW
    create.restype = ctypes.c_void_p
    handle = create(str(path), read_write, no_sharing, None, open_always, normal, None)
    if handle == ctypes.c_void_p(-1).value:
        raise ctypes.WinError(ctypes.get_last_error())
    return msvcrt.open_osfhandle(handle, os.O_RDWR)
