"""What a run leaves behind so that the next one goes on from there, and how it is known to be whole.

A step that works unit by unit (frame by frame, pair by pair) writes into arrays that outlive the process, and notes
every unit with a checksum of what it wrote. A process that was killed leaves arrays that are right up to the last note;
a machine that lost power may leave less. Whoever goes on checks the notes in order, and begins at the first that is
missing or does not fit.
"""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from .outputs import writing

Parts = Callable[[int], Iterable[np.ndarray]]
"""What a unit wrote: arrays, by the unit's number."""


class Ledger:
    """Which units of a step are done: none, and nothing is noted. What a scratch in memory has.

    done: units 0 .. done - 1 are there and whole.
    """

    done = 0

    def note(self, unit: int) -> None:
        """The unit is done; units are noted in order."""


class FileLedger(Ledger):
    """A ledger in a file of one line a unit: its number and the checksum of its parts."""

    def __init__(self, path: Path, parts: Parts):
        self._path, self._parts = path, parts
        self.done = self._verified()

    def note(self, unit: int) -> None:
        if unit < self.done:
            return
        if unit != self.done:
            raise ValueError(f"unit {unit} is noted after {self.done} others")
        with writing(self._path), open(self._path, "a", encoding="ascii") as stream:
            stream.write(f"{unit} {checksum(self._parts(unit)):08x}\n")
        self.done += 1

    def _verified(self) -> int:
        """How many units are whole; what is noted beyond them is struck out."""
        try:
            lines = self._path.read_text(encoding="ascii", errors="replace").splitlines()
        except FileNotFoundError:
            return 0
        done = 0
        for unit, line in enumerate(lines):
            if line != f"{unit} {checksum(self._parts(unit)):08x}":
                break
            done += 1
        if done < len(lines):
            with writing(self._path):
                self._path.write_text("".join(f"{line}\n" for line in lines[:done]), encoding="ascii")
        return done


def checksum(parts: Iterable[np.ndarray]) -> int:
    """Of the arrays' bytes, one after the other."""
    total = 0
    for part in parts:
        total = zlib.crc32(np.ascontiguousarray(part).view(np.uint8).ravel(), total)
    return total


# --- Small results ---------------------------------------------------------------------------------------------

def save_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write named arrays (no objects) as an .npz that appears whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    with writing(path):
        with open(partial, "wb") as stream:
            np.savez(stream, **arrays)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, path)


def load_arrays(path: Path) -> dict[str, np.ndarray] | None:
    """What save_arrays wrote; None if it is missing or damaged, which means: compute it again."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, KeyError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError):
        return None


def as_text_array(value: object) -> np.ndarray:
    """Plain data as an array that save_arrays takes."""
    return np.frombuffer(json.dumps(value, allow_nan=True).encode(), np.uint8)


def from_text_array(array: np.ndarray) -> object:
    """What as_text_array was given. Raises ValueError if it is damaged."""
    return json.loads(array.tobytes())
