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
import shutil
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .errors import UnsafeFileError

__all__ = ["TEMPORARY", "GuardedFile", "GuardedFolder"]

ASIDE = ".stereodiff-removed-"
"""Begins the name that a folder gets before it is deleted; a rest so named is nothing but a rest."""
TEMPORARY = ".tmp"
"""Ends the name under which a file is written before it takes its place."""

MAX_DEPTH = 32
"""So many folders below one another are followed; more could end in no memory, or no handles."""

_CLOSED_TO_CHILDREN = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOINHERIT", 0)
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | _CLOSED_TO_CHILDREN
_PLAIN = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | _CLOSED_TO_CHILDREN
_WRITING = {"create": os.O_CREAT, "new": os.O_CREAT | os.O_EXCL, "append": os.O_CREAT | os.O_APPEND, "update": 0}
_NAME_SURROGATE = 0x20000000
"""A bit of Windows' reparse tags: this one stands for another place (links, junctions; not files kept in a cloud)."""


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
            descriptor = _opened(handle, name, os.O_RDONLY)
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
        with _entered(self.root, self._below) as handle:
            for name in names:
                descriptor = _opened(handle, *_parts(name), os.O_RDONLY)
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
            descriptor = _opened(handle, name, os.O_RDWR | _WRITING[mode], 0o600 if private else 0o666,
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
    def replacing(self, relative: str) -> Iterator[BinaryIO]:
        """A stream whose content takes the file's place at the end, if nothing failed until then."""
        temporary = relative + TEMPORARY
        self.unlink(temporary)
        with self.open_for_writing(temporary, "new") as stream:
            yield stream
            stream.flush()
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
            with _entered(self.root, self._below[:depth]) as handle, suppress(FileExistsError):
                handle.mkdir(name)
        with _entered(self.root, self._below):
            return self

    def link(self, relative: str, source: GuardedFolder, source_name: str) -> None:
        """Give a regular file of another guarded folder one more name here. Not every system and disk can."""
        with source._at(source_name) as (origin, old), self._at(relative) as (handle, name):
            os.close(_opened(origin, old, os.O_RDONLY))
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
        return status is not None and kind(status.st_mode) and not _leads_elsewhere(status)

    def names(self) -> list[str]:
        """Of everything right below this folder, sorted; none where it is missing."""
        try:
            with _entered(self.root, self._below) as handle:
                return sorted(handle.names())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def file_sizes(self) -> dict[str, int]:
        """Bytes of every regular file right below this folder; none where it is missing, or a link on the way."""
        try:
            with _entered(self.root, self._below) as handle:
                statuses = {name: _status(handle, name) for name in handle.names()}
        except (FileNotFoundError, NotADirectoryError, UnsafeFileError):
            return {}
        return {name: status.st_size for name, status in statuses.items()
                if status is not None and stat.S_ISREG(status.st_mode) and not _leads_elsewhere(status)}

    def refuse_unsafe(self, relative: str, *, may_be_shared: bool = False, with_all_below: bool = True) -> None:
        """Raises UnsafeFileError if this, or anything below it, is no plain file or folder; missing is fine.

        may_be_shared: files may have further names, as they are only read, or replaced as a whole. with_all_below:
        False to look at this one alone.
        """
        try:
            with self._at(relative) as (handle, name):
                _refuse_unsafe(handle, name, may_be_shared, with_all_below)
        except (FileNotFoundError, NotADirectoryError):
            return

    def refuse_unsafe_below(self) -> None:
        """As refuse_unsafe, of everything in this folder; files may have further names."""
        with _entered(self.root, self._below) as handle:
            for name in handle.names():
                _refuse_unsafe(handle, name, may_be_shared=True)

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
                for rest in handle.names():
                    if rest.startswith(ASIDE):
                        with suppress(FileNotFoundError):  # somebody else takes it away, too
                            handle.remove_tree(rest)
        except FileNotFoundError:
            return False
        except RecursionError as error:
            raise _unsafe(self.path / relative, "holds folders too deep to be deleted") from error
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
    def _at(self, relative: str) -> Iterator[tuple[_DescriptorHandle | _PathHandle, str]]:
        """The folder right above a name, and the name's last part."""
        *folders, name = self._below + _parts(relative)
        with _entered(self.root, folders) as handle:
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
        raise _unsafe(relative, "is no name inside its folder")
    return parts


# --- What is plain ---------------------------------------------------------------------------------------------

def _opened(handle, name: str, flags: int, mode: int = 0o666, *, for_writing: bool = False) -> int:
    try:
        descriptor = handle.open(name, flags | _PLAIN, mode)
    except OSError as error:
        raise _explained(error, handle, name) from error
    try:
        status = os.fstat(descriptor)
        _check_plain(status, handle.path / name)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(handle.path / name))
        if for_writing:
            _check_unshared(status, handle.path / name)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _explained(error: OSError, handle, name: str) -> OSError:
    """What stood in the way, where that is a link or a pipe: the system has various words for it."""
    try:
        _check_plain(handle.lstat(name), handle.path / name)
    except OSError as reason:
        return reason if isinstance(reason, UnsafeFileError) else error
    return error


def _refuse_unsafe(handle, name: str, may_be_shared: bool, with_all_below: bool = True, depth: int = 0) -> None:
    """Of this name and all below it; what is removed meanwhile is fine."""
    if depth > MAX_DEPTH:
        raise _unsafe(handle.path / name, "lies deeper than anything that a job makes")
    status = _status(handle, name)
    if status is None:
        return
    _check_plain(status, handle.path / name)
    if stat.S_ISDIR(status.st_mode):
        with closing(_below(handle, name)) as below:
            for inner in below.names() if with_all_below else ():
                _refuse_unsafe(below, inner, may_be_shared, depth=depth + 1)
    elif not may_be_shared:
        _check_unshared(status, handle.path / name)


def _status(handle, name: str) -> os.stat_result | None:
    try:
        return handle.lstat(name)
    except FileNotFoundError:
        return None


def _check_plain(status: os.stat_result, path: Path) -> None:
    if stat.S_ISLNK(status.st_mode) or _leads_elsewhere(status):
        raise _unsafe(path, "is a link")
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        raise _unsafe(path, "is neither a file nor a folder")


def _check_unshared(status: os.stat_result, path: Path) -> None:
    if status.st_nlink > 1:
        raise _unsafe(path, "has a second name elsewhere (a hard link)")


def _leads_elsewhere(status: os.stat_result) -> bool:
    return bool(getattr(status, "st_reparse_tag", 0) & _NAME_SURROGATE)


def _unsafe(path: str | os.PathLike, reason: str) -> UnsafeFileError:
    return UnsafeFileError(errno.ELOOP, reason, str(path))


def _too_large(path: Path, max_bytes: int) -> UnsafeFileError:
    return UnsafeFileError(errno.EFBIG, f"has more than {max_bytes} bytes", str(path))


# --- Handles ---------------------------------------------------------------------------------------------------

class _DescriptorHandle:
    """An open folder: what is looked up in it cannot be led elsewhere by whoever renames what lies above it."""

    def __init__(self, path: Path, descriptor: int | None = None):
        self.path = path
        self._descriptor = os.open(path, _FOLDER) if descriptor is None else descriptor

    def close(self) -> None:
        os.close(self._descriptor)

    def enter(self, name: str) -> _DescriptorHandle:
        return _DescriptorHandle(self.path / name,
                                 os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=self._descriptor))

    def open(self, name: str, flags: int, mode: int) -> int:
        return os.open(name, flags, mode, dir_fd=self._descriptor)

    def lstat(self, name: str) -> os.stat_result:
        return os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)

    def names(self) -> list[str]:
        return os.listdir(self._descriptor)

    def mkdir(self, name: str) -> None:
        os.mkdir(name, dir_fd=self._descriptor)

    def unlink(self, name: str) -> None:
        os.unlink(name, dir_fd=self._descriptor)

    def replace(self, old: str, new: str) -> None:
        os.replace(old, new, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)

    def link(self, origin: _DescriptorHandle, old: str, new: str) -> None:
        os.link(old, new, src_dir_fd=origin._descriptor, dst_dir_fd=self._descriptor, follow_symlinks=False)

    def remove_tree(self, name: str) -> None:
        if stat.S_ISDIR(self.lstat(name).st_mode):
            shutil.rmtree(name, dir_fd=self._descriptor)
        else:
            self.unlink(name)


class _PathHandle:
    """The same for systems that look nothing up from an open folder: looked at first, opened then."""

    def __init__(self, path: Path):
        self.path = path
        if not path.is_dir():
            code = errno.ENOTDIR if path.exists() else errno.ENOENT
            raise OSError(code, os.strerror(code), str(path))

    def close(self) -> None:
        """Nothing is open."""

    def enter(self, name: str) -> _PathHandle:
        _check_plain(self.lstat(name), self.path / name)
        return type(self)(self.path / name)

    def open(self, name: str, flags: int, mode: int) -> int:
        with suppress(FileNotFoundError):
            _check_plain(self.lstat(name), self.path / name)
        return os.open(self.path / name, flags, mode)

    def lstat(self, name: str) -> os.stat_result:
        return os.lstat(self.path / name)

    def names(self) -> list[str]:
        return os.listdir(self.path)

    def mkdir(self, name: str) -> None:
        os.mkdir(self.path / name)

    def unlink(self, name: str) -> None:
        """A junction is a folder to Windows' unlink."""
        path = self.path / name
        if _leads_elsewhere(os.lstat(path)) and not path.is_symlink():
            os.rmdir(path)
        else:
            os.unlink(path)

    def replace(self, old: str, new: str) -> None:
        os.replace(self.path / old, self.path / new)

    def link(self, origin: _PathHandle, old: str, new: str) -> None:
        os.link(origin.path / old, self.path / new)

    def remove_tree(self, name: str) -> None:
        status = self.lstat(name)
        if stat.S_ISDIR(status.st_mode) and not _leads_elsewhere(status):
            shutil.rmtree(self.path / name)
        else:
            self.unlink(name)


_HANDLE = _DescriptorHandle if os.open in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW") else _PathHandle


@contextmanager
def _entered(root: Path, folders: Iterable[str]) -> Iterator[_DescriptorHandle | _PathHandle]:
    """A handle on a folder below root, every step without a link."""
    handle = _HANDLE(root)
    try:
        for folder in folders:
            below = _below(handle, folder)
            handle.close()
            handle = below
        yield handle
    finally:
        handle.close()


def _below(handle, folder: str):
    try:
        return handle.enter(folder)
    except OSError as error:
        raise _explained(error, handle, folder) from error


def _moved_aside(handle, name: str) -> bool:
    status = _status(handle, name)
    if status is None:
        return False
    if stat.S_ISREG(status.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(handle.path / name))
    handle.replace(name, ASIDE + secrets.token_hex(8))
    return True
