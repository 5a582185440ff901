"""The files of one folder, and nothing that a link in it leads to: how a job's files are opened, made and removed.

Standard library only, because both programs use it. Whoever writes into a job folder may be somebody else than who
reads it: a folder from a stranger, or from a share. So names are looked up step by step from the folder itself, no
link is followed on the way, and only regular files are opened: no pipe that never answers, no device without an end.
A file with a second name elsewhere (a hard link) may be read, but is never opened for writing.

The folder itself is trusted as it was named, links on the way to it included; whoever named it meant it.
Refusals are UnsafeFileError, an OSError; write_refusal gives them a code.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .errors import UnsafeFileError
from .job_files.folder_handles import Handle, entered, leads_elsewhere, opened, refuse_unsafe, status_of, unsafe

__all__ = ["TEMPORARY", "GuardedFile", "GuardedFolder"]

ASIDE = ".stereodiff-removed-"
"""Begins the name that a folder gets before it is deleted; a rest so named is nothing but a rest."""
TEMPORARY = ".tmp"
"""Ends the name under which a file is written before it takes its place."""

_WRITING = {"create": os.O_CREAT, "new": os.O_CREAT | os.O_EXCL, "append": os.O_CREAT | os.O_APPEND, "update": 0}


class GuardedFolder:
    """A folder and what lies below it, by relative names with "/" between them.

    Every method raises OSError as the system does, and UnsafeFileError for a link, a pipe, a device, a name that leads
    out, or a file to write to that has a second name. No handle stays open between calls.
    """

    def __init__(self, root: str | os.PathLike, below: tuple[str, ...] = ()):
        self.root = Path(root)
        self._below = below

    def __repr__(self) -> str:
        return f"GuardedFolder({str(self.path)!r})"

    @property
    def path(self) -> Path:
        """For words and for comparing; not for opening anything."""
        return self.root.joinpath(*self._below)

    def inside(self, relative: str) -> GuardedFolder:
        """A folder below this one, there or not."""
        return GuardedFolder(self.root, self._below + _parts(relative))

    # -- reading --

    def open_for_reading(self, relative: str, max_bytes: int | None = None) -> BinaryIO:
        """A regular file, at its beginning. max_bytes: a larger one is refused."""
        with self._at(relative) as (handle, name):
            descriptor = opened(handle, name, os.O_RDONLY)
        size = os.fstat(descriptor).st_size
        if max_bytes is not None and size > max_bytes:
            os.close(descriptor)
            raise _too_large(self.path / relative, max_bytes)
        return os.fdopen(descriptor, "rb")

    def read_bytes(self, relative: str, max_bytes: int | None = None) -> bytes:
        """The whole file. max_bytes: a larger one is refused, also one that grows meanwhile."""
        with self.open_for_reading(relative, max_bytes) as stream:
            data = stream.read(-1 if max_bytes is None else max_bytes + 1)
        if max_bytes is not None and len(data) > max_bytes:
            raise _too_large(self.path / relative, max_bytes)
        return data

    def read_text(self, relative: str, max_bytes: int | None = None) -> str:
        """As read_bytes, of UTF-8. Raises UnicodeDecodeError, too."""
        return self.read_bytes(relative, max_bytes).decode("utf-8")

    def beginnings(self, names: Iterable[str], count: int) -> Iterator[bytes]:
        """The first bytes of many regular files right below this folder, in their order."""
        with entered(self.root, self._below) as handle:
            for name in names:
                (part,) = _parts(name)
                descriptor = opened(handle, part, os.O_RDONLY)
                try:
                    yield os.read(descriptor, count)
                finally:
                    os.close(descriptor)

    # -- writing --

    def open_for_writing(self, relative: str, mode: str = "create", *, private: bool = False) -> BinaryIO:
        """Opened to be written and read.

        mode: "create" (made or emptied), "new" (must not be there), "append" (made, and written at the end) or
        "update" (must be there; nothing is emptied). private: what is made is for this user alone.
        """
        with self._at(relative) as (handle, name):
            descriptor = opened(handle, name, os.O_RDWR | _WRITING[mode], 0o600 if private else 0o666,
                                 for_writing=True)
        stream = os.fdopen(descriptor, "a+b" if mode == "append" else "r+b")
        if mode == "create":
            stream.truncate(0)
        return stream

    def write_bytes(self, relative: str, data: bytes | memoryview) -> None:
        with self.open_for_writing(relative) as stream:
            stream.write(data)

    def replace(self, relative: str, data: bytes) -> None:
        """Whole or not at all: written beside its place, flushed to disk, then moved there."""
        with self.replacing(relative) as stream:
            stream.write(data)

    @contextmanager
    def replacing(self, relative: str, *, must_last: bool = True) -> Iterator[BinaryIO]:
        """A stream whose content takes the file's place at the end, if nothing failed until then.

        must_last: wait until the disk has it; False for what may be lost when the machine goes down.
        """
        temporary = relative + TEMPORARY
        self.unlink(temporary)
        with self.open_for_writing(temporary, "new") as stream:
            yield stream
            stream.flush()
            if must_last:
                os.fsync(stream.fileno())
        with self._at(relative) as (handle, name):
            handle.replace(name + TEMPORARY, name)

    def touch(self, relative: str) -> None:
        """Set a file's time to now; it is made if it is missing."""
        with self.open_for_writing(relative, "append") as stream:
            os.utime(stream.fileno() if os.utime in os.supports_fd else self.path / relative)

    def make_folder(self, relative: str) -> GuardedFolder:
        """Made with all between, unless it is there already. The outermost folder is never made."""
        return self.inside(relative).make()

    def make(self) -> GuardedFolder:
        """Make this folder itself, as make_folder does."""
        for depth, name in enumerate(self._below):
            with entered(self.root, self._below[:depth]) as handle, suppress(FileExistsError):
                handle.mkdir(name)
        with entered(self.root, self._below):
            return self

    def link(self, relative: str, source: GuardedFolder, source_name: str) -> None:
        """Give a regular file of another guarded folder one more name here. Not every system and disk can."""
        with source._at(source_name) as (origin, old), self._at(relative) as (handle, name):
            os.close(opened(origin, old, os.O_RDONLY))
            handle.link(origin, old, name)

    # -- looking --

    def stat(self, relative: str) -> os.stat_result | None:
        """Of the name itself, be it a link or not; None where there is nothing."""
        try:
            with self._at(relative) as (handle, name):
                return handle.lstat(name)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def is_file(self, relative: str) -> bool:
        """Whether there is a regular file, reached through no link."""
        return self._is(stat.S_ISREG, relative)

    def is_folder(self, relative: str) -> bool:
        """Whether there is a folder, reached through no link."""
        return self._is(stat.S_ISDIR, relative)

    def _is(self, kind, relative: str) -> bool:
        try:
            status = self.stat(relative)
        except UnsafeFileError:
            return False
        return status is not None and kind(status.st_mode) and not leads_elsewhere(status)

    def names(self) -> list[str]:
        """Of everything right below this folder, sorted; none where it is missing."""
        try:
            with entered(self.root, self._below) as handle:
                return sorted(handle.names())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def file_sizes(self) -> dict[str, int]:
        """Bytes of every regular file right below this folder; none where it is missing, or a link on the way."""
        try:
            with entered(self.root, self._below) as handle:
                statuses = {name: status_of(handle, name) for name in handle.names()}
        except (FileNotFoundError, NotADirectoryError, UnsafeFileError):
            return {}
        return {name: status.st_size for name, status in statuses.items()
                if status is not None and stat.S_ISREG(status.st_mode) and not leads_elsewhere(status)}

    def refuse_unsafe(self, relative: str, *, may_be_shared: bool = False, with_all_below: bool = True) -> None:
        """Raises UnsafeFileError if this, or anything below it, is no plain file or folder; missing is fine.

        may_be_shared: files may have further names, as they are only read, or replaced as a whole. with_all_below:
        False to look at this one alone.
        """
        try:
            with self._at(relative) as (handle, name):
                refuse_unsafe(handle, name, may_be_shared, with_all_below)
        except (FileNotFoundError, NotADirectoryError):
            return

    def refuse_unsafe_below(self) -> None:
        """As refuse_unsafe, of everything in this folder; files may have further names."""
        with entered(self.root, self._below) as handle:
            for name in handle.names():
                refuse_unsafe(handle, name, may_be_shared=True)

    # -- removing --

    def unlink(self, relative: str) -> bool:
        """Remove a file, or a link itself. Whether there was one."""
        try:
            with self._at(relative) as (handle, name):
                handle.unlink(name)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def remove_tree(self, relative: str) -> bool:
        """Remove a folder with all below it, or a link in its place; links are not followed. Whether there was one.

        It is moved aside first: where that is refused, nothing was deleted; what is left of it after that does not
        look like a job's any more, and the next removal beside it takes it away.
        """
        try:
            with self._at(relative) as (handle, name):
                was_there = _moved_aside(handle, name)
                _clear_aside(handle)
        except FileNotFoundError:
            return False
        except RecursionError as error:
            raise unsafe(self.path / relative, "holds folders too deep to be deleted") from error
        return was_there

    def remove(self) -> bool:
        """Remove this folder itself, as remove_tree does."""
        if self._below:
            return GuardedFolder(self.root, self._below[:-1]).remove_tree(self._below[-1])
        return GuardedFolder(self.root.parent).remove_tree(self.root.name)

    def total_bytes(self) -> int:
        """Of all regular files below this folder."""
        return sum(self.file_sizes().values()) + sum(self.inside(name).total_bytes() for name in self.names()
                                                     if self.is_folder(name))

    @contextmanager
    def _at(self, relative: str) -> Iterator[tuple[Handle, str]]:
        """The folder right above a name, and the name's last part."""
        *folders, name = self._below + _parts(relative)
        with entered(self.root, folders) as handle:
            yield handle, name


@dataclass(frozen=True)
class GuardedFile:
    """One file of a guarded folder, by its name there."""

    folder: GuardedFolder
    name: str

    def __str__(self) -> str:
        return str(self.folder.path / self.name)

    def open_for_writing(self) -> BinaryIO:
        """Made or emptied."""
        return self.folder.open_for_writing(self.name)


def _parts(relative: str) -> tuple[str, ...]:
    parts = tuple(relative.split("/"))
    is_odd = any(part in ("", ".", "..") or "\0" in part for part in parts)
    if is_odd or (sys.platform == "win32" and any(sign in relative for sign in "\\:")):
        raise unsafe(relative, "is no name inside its folder")
    return parts


def _too_large(path: Path, max_bytes: int) -> UnsafeFileError:
    return UnsafeFileError(errno.EFBIG, f"has more than {max_bytes} bytes", str(path))


def _moved_aside(handle: Handle, name: str) -> bool:
    status = status_of(handle, name)
    if status is None:
        return False
    if stat.S_ISREG(status.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(handle.path / name))
    handle.replace(name, ASIDE + secrets.token_hex(8))
    return True


def _clear_aside(handle: Handle) -> None:
    """Take away what was moved aside, now or earlier."""
    for rest in [name for name in handle.names() if name.startswith(ASIDE)]:
        with suppress(FileNotFoundError):  # somebody else takes it away, too
            handle.remove_tree(rest)
