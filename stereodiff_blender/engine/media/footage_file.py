"""Footage as files on disk: regular ones only, read whole. A pipe would be waited for without end, and a device has
none. Standard library and the contract only."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from ..contract import StereoDiffError

_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_KINDS = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"),
          (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"))


def refuse_irregular(path: Path) -> None:
    """Raises StereoDiffError "clip_unreadable" if what lies at path, or where it links to, is no regular file. That
    nothing is there is for others to say."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # ValueError: no path can have such a name
        return
    _refuse_mode(mode, path)


def read_file(path: Path, most_bytes: Callable[[BinaryIO], int]) -> bytes:
    """All of a regular file, opened without waiting for anybody.

    most_bytes: given the file at its beginning, says how many bytes it may have; a longer one may be all holes.
    Raises StereoDiffError "clip_missing", "clip_empty" (no bytes), "picture_too_large" or "clip_unreadable".
    """
    return _read(path, most_bytes, None)


def read_head(path: Path, most_bytes: Callable[[BinaryIO], int], count: int) -> bytes:
    """The first bytes, at most count of them, of a file that could be read whole. The rest as read_file."""
    return _read(path, most_bytes, count)


def _read(path: Path, most_bytes: Callable[[BinaryIO], int], count: int | None) -> bytes:
    refuse_irregular(path)
    try:
        with open(os.open(path, _READ), "rb") as stream:
            status = os.fstat(stream.fileno())
            _refuse_mode(status.st_mode, path)
            most = most_bytes(stream) if status.st_size else 0
            if status.st_size > most:
                raise StereoDiffError("picture_too_large", f"{path} has {status.st_size / 1e6:.0f} MB; a picture of "
                                                           f"its size has {most / 1e6:.0f} MB at the most.")
            stream.seek(0)
            data = stream.read(status.st_size if count is None else count)
    except (FileNotFoundError, ValueError) as error:
        raise StereoDiffError("clip_missing", f"{path} does not exist.") from error
    except OSError as error:
        raise StereoDiffError("clip_unreadable", f"{path} cannot be read: {error.strerror or error}.") from error
    if not data:
        raise StereoDiffError("clip_empty", f"{path} is an empty file.")
    return data


def _refuse_mode(mode: int, path: Path) -> None:
    if not stat.S_ISREG(mode):
        kind = next((words for is_kind, words in _KINDS if is_kind(mode)), "something else")
        raise StereoDiffError("clip_unreadable", f"{path} is no file but {kind}.")
