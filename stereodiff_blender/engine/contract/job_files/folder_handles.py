"""Open folders, from which names are looked up step by step, and what there is plain: files and folders, no links.

By these the guarded files are opened; nobody else uses them. Standard library only.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UnsafeFileError

if TYPE_CHECKING:
    from typing import Self  # new in 3.11; an older Python is told so, and loads this on the way

MAX_DEPTH = 32
"""So many folders below one another are followed; more could end in no memory, or no handles."""

_CLOSED_TO_CHILDREN = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOINHERIT", 0)
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | _CLOSED_TO_CHILDREN
_PLAIN = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | _CLOSED_TO_CHILDREN
_NAME_SURROGATE = 0x20000000
"""A bit of Windows' reparse tags: this one stands for another place (links, junctions; not files kept in a cloud)."""


# --- Open folders ------------------------------------------------------------------------------------------------

class Handle(ABC):
    """A folder of which names are looked up, made, moved and removed, in one of the two ways below."""

    path: Path

    @abstractmethod
    def close(self) -> None: ...

    @abstractmethod
    def enter(self, name: str) -> Self: ...

    @abstractmethod
    def open(self, name: str, flags: int, mode: int) -> int: ...

    @abstractmethod
    def lstat(self, name: str) -> os.stat_result: ...

    @abstractmethod
    def names(self) -> list[str]: ...

    @abstractmethod
    def mkdir(self, name: str) -> None: ...

    @abstractmethod
    def unlink(self, name: str) -> None: ...

    @abstractmethod
    def replace(self, old: str, new: str) -> None: ...

    @abstractmethod
    def link(self, origin: Self, old: str, new: str) -> None: ...

    @abstractmethod
    def remove_tree(self, name: str) -> None: ...


class DescriptorHandle(Handle):
    """An open folder: what is looked up in it cannot be led elsewhere by whoever renames what lies above it."""

    def __init__(self, path: Path, descriptor: int | None = None):
        self.path = path
        self._descriptor = os.open(path, _FOLDER) if descriptor is None else descriptor

    def close(self) -> None:
        os.close(self._descriptor)

    def enter(self, name: str) -> Self:
        return type(self)(self.path / name, os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=self._descriptor))

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

    def link(self, origin: Self, old: str, new: str) -> None:
        os.link(old, new, src_dir_fd=origin._descriptor, dst_dir_fd=self._descriptor, follow_symlinks=False)

    def remove_tree(self, name: str) -> None:
        if stat.S_ISDIR(self.lstat(name).st_mode):
            shutil.rmtree(name, dir_fd=self._descriptor)
        else:
            self.unlink(name)


class PathHandle(Handle):
    """The same for systems that look nothing up from an open folder: looked at first, opened then."""

    def __init__(self, path: Path):
        self.path = path
        if not path.is_dir():
            code = errno.ENOTDIR if path.exists() else errno.ENOENT
            raise OSError(code, os.strerror(code), str(path))

    def close(self) -> None:
        """Nothing is open."""

    def enter(self, name: str) -> Self:
        check_plain(self.lstat(name), self.path / name)
        return type(self)(self.path / name)

    def open(self, name: str, flags: int, mode: int) -> int:
        with suppress(FileNotFoundError):
            check_plain(self.lstat(name), self.path / name)
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
        if leads_elsewhere(os.lstat(path)) and not path.is_symlink():
            os.rmdir(path)
        else:
            os.unlink(path)

    def replace(self, old: str, new: str) -> None:
        os.replace(self.path / old, self.path / new)

    def link(self, origin: Self, old: str, new: str) -> None:
        os.link(origin.path / old, self.path / new)

    def remove_tree(self, name: str) -> None:
        status = self.lstat(name)
        if stat.S_ISDIR(status.st_mode) and not leads_elsewhere(status):
            shutil.rmtree(self.path / name)
        else:
            self.unlink(name)


HANDLE = DescriptorHandle if os.open in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW") else PathHandle


@contextmanager
def entered(root: Path, folders: Iterable[str]) -> Iterator[Handle]:
    """A handle on a folder below root, every step without a link."""
    handle = HANDLE(root)
    try:
        for folder in folders:
            below = enter_below(handle, folder)
            handle.close()
            handle = below
        yield handle
    finally:
        handle.close()


def enter_below(handle: Handle, folder: str) -> Handle:
    """A handle on a folder right below another; to be closed."""
    try:
        return handle.enter(folder)
    except OSError:
        _refuse_unplain(handle, folder)
        raise


# --- What is plain -----------------------------------------------------------------------------------------------

def opened(handle: Handle, name: str, flags: int, mode: int = 0o666, *, for_writing: bool = False) -> int:
    """Descriptor of a regular file. flags, mode: as os.open has them. Raises OSError, or UnsafeFileError for all else.

    for_writing: refuse one that has a second name, too.
    """
    try:
        descriptor = handle.open(name, flags | _PLAIN, mode)
    except OSError:
        _refuse_unplain(handle, name)
        raise
    try:
        status = os.fstat(descriptor)
        check_plain(status, handle.path / name)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(handle.path / name))
        if for_writing:
            _check_unshared(status, handle.path / name)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _refuse_unplain(handle: Handle, name: str) -> None:
    """Say what stood in the way, where that is a link or a pipe: the system has various words for it."""
    try:
        status = handle.lstat(name)
    except OSError:
        return
    check_plain(status, handle.path / name)


def refuse_unsafe(handle: Handle, name: str, may_be_shared: bool, with_all_below: bool = True, depth: int = 0) -> None:
    """As GuardedFolder.refuse_unsafe, of this name and all below it; what is removed meanwhile is fine."""
    if depth > MAX_DEPTH:
        raise unsafe(handle.path / name, "lies deeper than anything that a job makes")
    status = status_of(handle, name)
    if status is None:
        return
    check_plain(status, handle.path / name)
    if stat.S_ISDIR(status.st_mode):
        with closing(enter_below(handle, name)) as below:
            for inner in below.names() if with_all_below else ():
                refuse_unsafe(below, inner, may_be_shared, depth=depth + 1)
    elif not may_be_shared:
        _check_unshared(status, handle.path / name)


def status_of(handle: Handle, name: str) -> os.stat_result | None:
    """Of the name itself, None where there is nothing."""
    try:
        return handle.lstat(name)
    except FileNotFoundError:
        return None


def check_plain(status: os.stat_result, path: Path) -> None:
    """Raises UnsafeFileError for what is neither a regular file nor a folder."""
    if stat.S_ISLNK(status.st_mode) or leads_elsewhere(status):
        raise unsafe(path, "is a link")
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        raise unsafe(path, "is neither a file nor a folder")


def _check_unshared(status: os.stat_result, path: Path) -> None:
    if status.st_nlink > 1:
        raise unsafe(path, "has a second name elsewhere (a hard link)")


def leads_elsewhere(status: os.stat_result) -> bool:
    """Whether it is one of Windows' names that stand for another place."""
    return bool(getattr(status, "st_reparse_tag", 0) & _NAME_SURROGATE)


def unsafe(path: str | os.PathLike, reason: str) -> UnsafeFileError:
    """A refusal. reason: as it goes on after the path."""
    return UnsafeFileError(errno.ELOOP, reason, str(path))
