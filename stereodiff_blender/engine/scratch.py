"""Where a job's large arrays live while it runs."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np


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
        folder.mkdir(parents=True, exist_ok=True)

    def allocate(self, name: str, shape: tuple[int, ...], dtype) -> np.ndarray:
        path = self.folder / f"{name}.npy"
        array = np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=shape)
        if hasattr(os, "posix_fallocate"):
            with open(path, "r+b") as stream:
                os.posix_fallocate(stream.fileno(), 0, os.fstat(stream.fileno()).st_size)
        return array
