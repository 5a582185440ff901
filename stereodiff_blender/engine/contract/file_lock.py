"""The operating system's lock on an open file: at most one process holds it, and it ends with that, however that ends.

Standard library only. Nothing here waits. Not every disk knows locks; then the system says so by NO_LOCKS.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable

__all__ = ["HELD", "NO_LOCKS", "acquire", "is_free", "open_alone"]

HELD = frozenset({errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK})
"""Error numbers by which systems say that another process has it."""
NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})
"""Error numbers by which systems say that there are no locks on this disk."""


def acquire(descriptor: int) -> bool:
    """Hold the lock until the file is closed. False if another process has it. Raises OSError, such as NO_LOCKS.

    On POSIX a process that inherits the open file holds it, too.
    """
    if sys.platform == "win32":
        import msvcrt
        return _is_granted(lambda: msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1))
    import fcntl
    return _is_granted(lambda: fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB))


def is_free(descriptor: int) -> bool:
    """Whether no other process holds the lock.

    Others may look at the same time.

    Parameters
    ----------
    descriptor : int
        Of the open file.

    Returns
    -------
    bool
        False if another process has it.

    Raises
    ------
    OSError
        As acquire does, such as one of NO_LOCKS.
    """
    if sys.platform == "win32":
        import msvcrt
        if not acquire(descriptor):
            return False
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
        return True
    import fcntl
    return _is_granted(lambda: fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB))


def _is_granted(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except OSError as error:
        if error.errno in HELD:
            return False
        raise
    return True


def open_alone(path: str | os.PathLike) -> int | None:
    """Descriptor of a file, made if it is missing, that nobody else has while this process or an heir has it open.

    Parameters
    ----------
    path : str or os.PathLike
        Of the lock file; its folder exists. On POSIX a link there is refused.

    Returns
    -------
    int or None
        The descriptor, to be closed by the caller; None if another process has the file.

    Raises
    ------
    OSError
        As os.open or acquire do, such as one of NO_LOCKS.
    """
    if sys.platform == "win32":
        return _open_unshared(path)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        is_ours = acquire(descriptor)
    except OSError:
        os.close(descriptor)
        raise
    if is_ours:
        return descriptor
    os.close(descriptor)
    return None


def _open_unshared(path: str | os.PathLike) -> int | None:
    """Windows' locks are not inherited, but a file that is open without sharing stays so while any process has it."""
    import ctypes
    import msvcrt
    read_write, no_sharing, open_always, normal, sharing_violation = 0xC0000000, 0, 4, 0x80, 32
    create = ctypes.WinDLL("kernel32", use_last_error=True).CreateFileW
    create.restype = ctypes.c_void_p
    handle = create(str(path), read_write, no_sharing, None, open_always, normal, None)
    if handle != ctypes.c_void_p(-1).value:
        return msvcrt.open_osfhandle(handle, os.O_RDWR)
    error = ctypes.WinError(ctypes.get_last_error())
    if error.winerror == sharing_violation:
        return None
    raise error
