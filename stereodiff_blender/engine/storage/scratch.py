"""Where a job's large arrays live while it runs, and what of them a later run finds again."""

from __future__ import annotations

import math
import mmap
import os
import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from ..contract import UnsafeFileError
from ..contract.guarded_files import TEMPORARY, GuardedFile, GuardedFolder
from .journal import FileJournal, Parts, ProgressJournal, load_arrays, save_arrays

KEPT = "kept-"
"""Begins the names of what outlives the run."""
ENDINGS = (".npy", ".npz", ".ledger", TEMPORARY)
"""End the names of a scratch's files."""
_DAMAGE = (ValueError, EOFError, OverflowError, SyntaxError, TypeError)
RELIEF_S, MAPPED_MB = 0.05, 256.0
"""How often it is looked how much of the arrays is in memory, and how much may be."""


class Scratch:
    """Arrays in memory: for tests, notebooks and short clips."""

    def allocate(self, name: str, shape: tuple[int, ...], dtype) -> np.ndarray:
        """A zeroed array. name: unique within the job, a plain word."""
        return np.zeros(shape, dtype)

    def open_array(self, name: str, shape: tuple[int, ...], dtype) -> np.ndarray:
        """An array that the job's next run finds again as this one left it, zeroed if there was none.

        Its journal says how much of it can be used. Memory keeps nothing.
        """
        return self.allocate(name, shape, dtype)

    def open_whole(self, name: str, shape: tuple[int, ...], dtype) -> np.ndarray | None:
        """A kept array to read from, which may be shared with other jobs; None if there is none such."""
        return None

    def journal(self, name: str, parts: Parts) -> ProgressJournal:
        """Of the step so named. parts: of kept arrays, by unit."""
        return ProgressJournal()

    def save(self, name: str, arrays: dict[str, np.ndarray]) -> None:
        """Keep a small result for the next run."""

    def load(self, name: str) -> dict[str, np.ndarray] | None:
        """What was saved under this name, None if nothing was or it is damaged."""
        return None

    def has_journal(self, name: str) -> bool:
        """Whether anything was noted under this name."""
        return False

    def contents(self) -> frozenset[str]:
        """What lies here, each under the name of its file without the ending."""
        return frozenset()

    def remove(self, contents: Collection[str]) -> None:
        """These of the contents are not wanted any more, neither now nor by a later run."""

    def drop_journal(self, name: str) -> None:
        """What was noted under this name does not hold any more."""


class DiskScratch(Scratch):
    """Arrays as memory-mapped files, so that resident memory does not grow with clip length.

    Their room on the disk is taken at once: a memory-mapped file begins as a hole, and filling it on a full disk
    would kill the process (SIGBUS) instead of raising an error. Windows makes no holes; macOS has no such call.
    """

    def __init__(self, folder: Path | GuardedFolder):
        """folder: made if it is missing; of a guarded one, not the outermost."""
        self._mappings: dict[str, mmap.mmap] = {}
        if isinstance(folder, GuardedFolder):
            self.folder = folder.make()
        else:
            folder.mkdir(parents=True, exist_ok=True)
            self.folder = GuardedFolder(folder)

    def beside(self, folder: GuardedFolder) -> DiskScratch:
        """Another one, relieved together with this one."""
        other = DiskScratch(folder)
        other._mappings = self._mappings
        return other

    def allocate(self, name: str, shape: tuple[int, ...], dtype) -> np.ndarray:
        """In a file of its own: one that was there may be a link, or have a second name."""
        file = f"{name}.npy"
        _remove(self.folder, file)
        try:
            with self.folder.open_for_writing(file, "new") as stream:
                array = _new_array(stream, shape, np.dtype(dtype))
        except OSError:
            _remove(self.folder, file)  # a later run would take the hole for a file that has its room
            raise
        return self._mapped(file, array)

    def open_array(self, name: str, shape: tuple[int, ...], dtype) -> np.ndarray:
        file = f"{KEPT}{name}.npy"
        try:
            with self.folder.open_for_writing(file, "update") as stream:
                array = _stored_array(stream, shape, np.dtype(dtype), "r+")
                _take_room(stream)
        except (UnsafeFileError, FileNotFoundError, *_DAMAGE):
            return self.allocate(f"{KEPT}{name}", shape, dtype)
        return self._mapped(file, array)

    def open_whole(self, name: str, shape: tuple[int, ...], dtype) -> np.ndarray | None:
        file = f"{KEPT}{name}.npy"
        try:
            with self.folder.open_for_reading(file) as stream:
                return self._mapped(file, _stored_array(stream, shape, np.dtype(dtype), "r"))
        except (OSError, *_DAMAGE):
            return None

    def _mapped(self, file: str, array: np.memmap) -> np.ndarray:
        mapping = array.base
        assert isinstance(mapping, mmap.mmap)
        self._mappings[f"{self.folder.path}/{file}"] = mapping
        return array

    def _kept(self, name: str, ending: str) -> GuardedFile:
        return GuardedFile(self.folder, f"{KEPT}{name}{ending}")

    def journal(self, name: str, parts: Parts) -> ProgressJournal:
        return FileJournal(self._kept(name, ".ledger"), parts)

    def save(self, name: str, arrays: dict[str, np.ndarray]) -> None:
        save_arrays(self._kept(name, ".npz"), arrays)

    def load(self, name: str) -> dict[str, np.ndarray] | None:
        return load_arrays(self._kept(name, ".npz"))

    def has_journal(self, name: str) -> bool:
        return self.folder.is_file(f"{KEPT}{name}.ledger")

    def drop_journal(self, name: str) -> None:
        _remove(self.folder, f"{KEPT}{name}.ledger")

    def contents(self) -> frozenset[str]:
        return frozenset(_stem(name) for name in self._files())

    def remove(self, contents: Collection[str]) -> None:
        self._remove_files(name for name in self._files() if _stem(name) in contents)

    def remove_temporary(self) -> None:
        """What a run that was broken off has left, besides what is kept."""
        self._remove_files(name for name in self._files() if not name.startswith(KEPT) or name.endswith(TEMPORARY))

    def _files(self) -> list[str]:
        """Of a scratch; whose others are, is for others to say."""
        return [name for name in self.folder.names() if name.endswith(ENDINGS)]

    def _remove_files(self, names: Iterable[str]) -> None:
        for name in names:
            self._mappings.pop(f"{self.folder.path}/{name}", None)
            _remove(self.folder, name)

    def close(self) -> None:
        """No array of this scratch or of one beside it is used any more."""
        self._mappings.clear()

    def let_go(self) -> None:
        """Unmap the pages looked at so far; the files keep what was written. Windows sees to that by itself."""
        for mapping in tuple(self._mappings.values()) if hasattr(mmap, "MADV_DONTNEED") else ():
            mapping.madvise(mmap.MADV_DONTNEED)

    @contextmanager
    def relieved(self, mapped_mb: float = MAPPED_MB) -> Iterator[None]:
        """Meanwhile lets go whenever more than mapped_mb are in memory, beside whatever works on the arrays.

        Otherwise every page once read counts as this process's memory until the system runs short, so that a long
        clip looks as if it needed gigabytes. What is still in use comes back from the system's cache, in microseconds.
        """
        done = threading.Event()

        def relieve() -> None:
            while not done.wait(RELIEF_S):
                if mapped_megabytes() > mapped_mb:
                    self.let_go()

        thread = threading.Thread(target=relieve, name="scratch relief", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def _new_array(stream: BinaryIO, shape: tuple[int, ...], dtype: np.dtype) -> np.memmap:
    """Zeroed, in an empty file."""
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": tuple(shape)}
    np.lib.format.write_array_header_1_0(stream, header)
    stream.flush()
    begin = stream.tell()
    stream.truncate(begin + math.prod(shape) * dtype.itemsize)
    _take_room(stream)
    return np.memmap(stream, dtype, "r+", begin, tuple(shape))


def _stored_array(stream: BinaryIO, shape: tuple[int, ...], dtype: np.dtype,
                  mode: Literal["r", "r+"]) -> np.memmap:
    """Raises one of _DAMAGE if the file does not hold such an array whole."""
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("not as a scratch writes it")
    stored = np.lib.format.read_array_header_1_0(stream)
    if stored != (tuple(shape), False, dtype):
        raise ValueError(f"{stored} in place of {shape}, {dtype}")
    begin = stream.tell()
    if os.fstat(stream.fileno()).st_size < begin + math.prod(shape) * dtype.itemsize:
        raise ValueError("it is cut off")
    return np.memmap(stream, dtype, mode, begin, tuple(shape))


def _take_room(stream: BinaryIO) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(stream.fileno(), 0, os.fstat(stream.fileno()).st_size)


def _remove(folder: GuardedFolder, name: str) -> None:
    """Windows does not let go of a file that is mapped; it is removed with the folder later."""
    with suppress(PermissionError):
        folder.unlink(name)


def _stem(name: str) -> str:
    """Of a name with one of ENDINGS, or any other."""
    return name.removesuffix(TEMPORARY).rpartition(".")[0]


def mapped_megabytes() -> float:
    """How much of all mapped files is in this process's memory; without end where the system does not tell."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[2]
    except OSError:
        return math.inf
    return int(pages) * mmap.PAGESIZE / 1e6
