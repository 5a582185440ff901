"""Where a job's large arrays live while it runs."""

from __future__ import annotations

import math
import mmap
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

RELIEF_S, MAPPED_MB = 0.05, 256.0
"""How often it is looked how much of the arrays is in memory, and how much may be."""


class Scratch:
    """Arrays in memory: for tests, notebooks and short clips."""

    def allocate(self, name: str, shape: tuple[int, ...], dtype) -> np.ndarray:
        """A zeroed array. name: unique within the job, a plain word."""
        return np.zeros(shape, dtype)

class DiskScratch(Scratch):
    """Arrays as memory-mapped files, so that resident memory does not grow with clip length.

    Their room on the disk is taken at once: a memory-mapped file begins as a hole, and filling it on a full disk
    would kill the process (SIGBUS) instead of raising an error. Windows makes no holes; macOS has no such call.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._mappings: list[mmap.mmap] = []
        folder.mkdir(parents=True, exist_ok=True)

    def allocate(self, name: str, shape: tuple[int, ...], dtype) -> np.ndarray:
        path = self.folder / f"{name}.npy"
        array = np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=shape)
        if hasattr(os, "posix_fallocate"):
            with open(path, "r+b") as stream:
                os.posix_fallocate(stream.fileno(), 0, os.fstat(stream.fileno()).st_size)
        self._mappings.append(array.base)
        return array

    def let_go(self) -> None:
        """Unmap the pages looked at so far; the files keep what was written. Windows sees to that by itself."""
        for mapping in tuple(self._mappings) if hasattr(mmap, "MADV_DONTNEED") else ():
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


def mapped_megabytes() -> float:
    """How much of all mapped files is in this process's memory; without end where the system does not tell."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[2]
    except OSError:
        return math.inf
    return int(pages) * mmap.PAGESIZE / 1e6
