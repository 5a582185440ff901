"""Where a job's large arrays live while it runs, and what of them a later run finds again."""

from __future__ import annotations

import math
import mmap
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from .keeping import FileLedger, Ledger, Parts, load_arrays, save_arrays

KEPT = "kept-"
"""Begins the names of what outlives the run."""
RELIEF_S, MAPPED_MB = 0.05, 256.0
"""How often it is looked how much of the arrays is in memory, and how much may be."""


class Scratch:
    """Arrays in memory: for tests, notebooks and short clips."""

    def allocate(self, name: str, shape: tuple[int, ...], dtype) -> np.ndarray:
        """A zeroed array. name: unique within the job, a plain word."""
        return np.zeros(shape, dtype)

    def keep(self, name: str, shape: tuple[int, ...], dtype) -> np.ndarray:
        """An array that the job's next run finds again as this one left it, zeroed if there was none.

        Its ledger says how much of it can be used. Memory keeps nothing.
        """
        return self.allocate(name, shape, dtype)

    def ledger(self, name: str, parts: Parts) -> Ledger:
        """Of the step so named. parts: of kept arrays, by unit."""
        return Ledger()

    def remember(self, name: str, arrays: dict[str, np.ndarray]) -> None:
        """Keep a small result for the next run."""

    def recall(self, name: str) -> dict[str, np.ndarray] | None:
        """What was remembered under this name, None if nothing was or it is damaged."""
        return None

    def has(self, name: str) -> bool:
        """Whether there is a kept array so named, whole or not."""
        return False

    def has_ledger(self, name: str) -> bool:
        """Whether anything was noted under this name."""
        return False

    def keep_only(self, *names: str) -> None:
        """Nothing else is wanted any more, neither now nor by a later run."""

    def drop_ledger(self, name: str) -> None:
        """What was noted under this name does not hold any more."""


class DiskScratch(Scratch):
    """Arrays as memory-mapped files, so that resident memory does not grow with clip length.

    Their room on the disk is taken at once: a memory-mapped file begins as a hole, and filling it on a full disk
    would kill the process (SIGBUS) instead of raising an error. Windows makes no holes; macOS has no such call.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._mappings: dict[Path, mmap.mmap] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def beside(self, folder: Path) -> DiskScratch:
        """Another one, relieved together with this one."""
        other = DiskScratch(folder)
        other._mappings = self._mappings
        return other

    def allocate(self, name: str, shape: tuple[int, ...], dtype) -> np.ndarray:
        path = self.folder / f"{name}.npy"
        array = np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=shape)
        try:
            _take_room(path)
        except OSError:
            _remove(path)  # a later run would take the hole for a file that has its room
            raise
        self._mappings[path] = array.base
        return array

    def keep(self, name: str, shape: tuple[int, ...], dtype) -> np.ndarray:
        path = self.folder / f"{KEPT}{name}.npy"
        try:
            array = np.lib.format.open_memmap(path, mode="r+")
        except (OSError, ValueError, EOFError, OverflowError, SyntaxError):  # none yet, or damaged
            array = None
        if array is None or array.shape != tuple(shape) or array.dtype != np.dtype(dtype):
            return self.allocate(f"{KEPT}{name}", shape, dtype)
        _take_room(path)
        self._mappings[path] = array.base
        return array

    def ledger(self, name: str, parts: Parts) -> Ledger:
        return FileLedger(self.folder / f"{KEPT}{name}.ledger", parts)

    def remember(self, name: str, arrays: dict[str, np.ndarray]) -> None:
        save_arrays(self.folder / f"{KEPT}{name}.npz", arrays)

    def recall(self, name: str) -> dict[str, np.ndarray] | None:
        return load_arrays(self.folder / f"{KEPT}{name}.npz")

    def has(self, name: str) -> bool:
        return (self.folder / f"{KEPT}{name}.npy").is_file()

    def has_ledger(self, name: str) -> bool:
        return (self.folder / f"{KEPT}{name}.ledger").is_file()

    def drop_ledger(self, name: str) -> None:
        _remove(self.folder / f"{KEPT}{name}.ledger")

    def keep_only(self, *names: str) -> None:
        self._remove_all_but({f"{KEPT}{name}" for name in names})

    def remove_temporary(self) -> None:
        """What a run that was broken off has left, besides what is kept."""
        self._remove_all_but({path.stem for path in self.folder.iterdir() if path.name.startswith(KEPT)})

    def _remove_all_but(self, stems: set[str]) -> None:
        for path in self.folder.iterdir():
            if path.stem not in stems:
                self._mappings.pop(path, None)
                _remove(path)

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


def _take_room(path: Path) -> None:
    if hasattr(os, "posix_fallocate"):
        with open(path, "r+b") as stream:
            os.posix_fallocate(stream.fileno(), 0, os.fstat(stream.fileno()).st_size)


def _remove(path: Path) -> None:
    """Windows does not let go of a file that is mapped; it is removed with the folder later."""
    with suppress(PermissionError):
        path.unlink(missing_ok=True)


def mapped_megabytes() -> float:
    """How much of all mapped files is in this process's memory; without end where the system does not tell."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[2]
    except OSError:
        return math.inf
    return int(pages) * mmap.PAGESIZE / 1e6
