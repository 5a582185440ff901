"""What a run leaves behind so that the next one goes on from there, and how it is known to be whole.

A step that works unit by unit (frame by frame, pair by pair) writes into arrays that outlive the process, and notes
every unit with a checksum of what it wrote. A process that was killed leaves arrays that are right up to the last note;
a machine that lost power may leave less. Whoever goes on checks the notes in order, and begins at the first that is
missing or does not fit.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Callable, Iterable

import numpy as np

from ..contract import UnsafeFileError
from ..contract.guarded_files import GuardedFile
from .files import translated_errors

MAX_JOURNAL_BYTES = 64_000_000
Parts = Callable[[int], Iterable[np.ndarray]]
"""What a unit wrote: arrays, by the unit's number."""


class ProgressJournal:
    """Which units of a step are done: none, and nothing is noted. What a scratch in memory has.

    done: units 0 .. done - 1 are there and whole.
    """

    done = 0

    def note(self, unit: int) -> None:
        """The unit is done; units are noted in order."""


class FileJournal(ProgressJournal):
    """In a file of one line a unit: its number and the checksum of its parts."""

    def __init__(self, file: GuardedFile, parts: Parts):
        self._file, self._parts = file, parts
        self.done = self._verified()

    def note(self, unit: int) -> None:
        if unit < self.done:
            return
        if unit != self.done:
            raise ValueError(f"unit {unit} is noted after {self.done} others")
        line = f"{unit} {checksum(self._parts(unit)):08x}\n"
        with translated_errors(self._file), self._file.folder.open_for_writing(self._file.name, "append") as stream:
            stream.write(line.encode("ascii"))
        self.done += 1

    def _verified(self) -> int:
        """How many units are whole; what is noted beyond them is struck out, in a file of this journal's own."""
        lines = self._lines()
        done = 0
        for unit, line in enumerate(lines):
            if line != f"{unit} {checksum(self._parts(unit)):08x}":
                break
            done += 1
        if done < len(lines):
            with translated_errors(self._file):
                self._file.folder.replace(self._file.name, "".join(f"{line}\n" for line in lines[:done]).encode())
        return done

    def _lines(self) -> list[str]:
        try:
            data = self._file.folder.read_bytes(self._file.name, MAX_JOURNAL_BYTES)
        except FileNotFoundError:
            return []
        except UnsafeFileError:  # to be replaced by one of our own
            return [""]
        return data.decode("ascii", errors="replace").splitlines()


def checksum(parts: Iterable[np.ndarray]) -> int:
    """Checksum of the arrays' bytes, one after the other.

    Parameters
    ----------
    parts : iterable of ndarray
        Of any shape and dtype, in a fixed order.

    Returns
    -------
    int
        CRC-32, 0 .. 2**32 - 1; 0 without parts.
    """
    total = 0
    for part in parts:
        total = zlib.crc32(np.ascontiguousarray(part).view(np.uint8).ravel().data, total)
    return total


# --- Small results ---------------------------------------------------------------------------------------------

def save_arrays(file: GuardedFile, arrays: dict[str, np.ndarray]) -> None:
    """Write named arrays (no objects) as an .npz that appears whole or not at all."""
    with translated_errors(file), file.folder.replacing(file.name) as stream:
        np.savez(stream, allow_pickle=False, **arrays)


def load_arrays(file: GuardedFile) -> dict[str, np.ndarray] | None:
    """What save_arrays wrote; None if it is missing or damaged, which means: compute it again."""
    try:
        with file.folder.open_for_reading(file.name) as stream, np.load(stream, allow_pickle=False) as stored:
            _refuse_compressed(stored.zip)
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, KeyError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError,
            AttributeError, MemoryError):
        return None


def _refuse_compressed(archive: zipfile.ZipFile) -> None:
    """What we write is stored as it is; a packed one could be small on disk and larger than all memory."""
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
        raise ValueError("packed arrays are none of ours")


def as_text_array(value: object) -> np.ndarray:
    """Plain data as an array that save_arrays takes.

    Parameters
    ----------
    value : object
        What JSON can say; also nan and infinity.

    Returns
    -------
    ndarray
        (n,) uint8, read-only: JSON text.
    """
    return np.frombuffer(json.dumps(value, allow_nan=True).encode(), np.uint8)


def from_text_array(array: np.ndarray) -> object:
    """What as_text_array was given.

    Parameters
    ----------
    array : ndarray
        (n,) uint8.

    Returns
    -------
    object
        The data, as JSON has it: tuples have become lists.

    Raises
    ------
    ValueError
        It is damaged.
    """
    return json.loads(array.tobytes())
