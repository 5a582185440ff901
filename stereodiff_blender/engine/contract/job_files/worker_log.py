"""worker.log, whatever wrote into it: its end for reading, and a limit to its size. Standard library only.

A worker writes its output straight into the file, so that the log is complete up to a crash and no other program has to
live as long as the worker. The price is that the limit has to be seen to beside it: by the worker itself, whenever its
heart beats, and by whoever follows the job, whenever he looks. Both can, because the file was opened to be appended to:
what is written after it was cut off goes to its new end.
"""

from __future__ import annotations

import os
import sys

from ..guarded_files import GuardedFolder

__all__ = ["LOG", "read_log_end", "shorten_log"]

LOG = "worker.log"
MAX_LOG_BYTES = 16_000_000
HEAD_BYTES, TAIL_BYTES = 100_000, 1_000_000
"""What is kept of a log that has grown too large: how it began, and what was said last."""


def shorten_log(files: GuardedFolder) -> bool:
    """Cut a job's log that has grown too large down to its beginning and its end.

    Not on Windows, where a program goes on writing at the place in the file where it was. Raises nothing: a log is not
    worth a job.

    Parameters
    ----------
    files : GuardedFolder
        The job's.

    Returns
    -------
    bool
        Whether it had grown beyond MAX_LOG_BYTES and was cut.
    """
    try:
        status = files.stat(LOG)
        if sys.platform == "win32" or status is None or status.st_size <= MAX_LOG_BYTES:
            return False
        with files.open_for_writing(LOG, "append") as stream:
            stream.seek(0)
            head = stream.read(HEAD_BYTES)
            size = os.fstat(stream.fileno()).st_size
            stream.seek(size - TAIL_BYTES)
            tail = stream.read(TAIL_BYTES)
            stream.truncate(0)
            stream.write(head + _left_out(size - HEAD_BYTES - TAIL_BYTES) + tail)
    except OSError:
        return False
    return True


def read_log_end(files: GuardedFolder, most_bytes: int = TAIL_BYTES) -> str:
    """The last bytes of a job's log as text; says so if that is not all.

    Parameters
    ----------
    files : GuardedFolder
        The job's.
    most_bytes : int
        Bytes of the log that are read.

    Returns
    -------
    str
        UTF-8; bytes that are none are replaced. Begins with how many MB are left out, if any are.

    Raises
    ------
    OSError
        The log is missing, unsafe or cannot be read.
    """
    with files.open_for_reading(LOG) as stream:
        left_out = max(0, os.fstat(stream.fileno()).st_size - most_bytes)
        stream.seek(left_out)
        text = stream.read(most_bytes).decode("utf-8", errors="replace")
    return _left_out(left_out).decode() + text if left_out else text


def _left_out(count: int) -> bytes:
    return f"\n[{count / 1e6:.1f} MB are left out here]\n".encode()
