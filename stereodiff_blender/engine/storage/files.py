"""Writing files of a job folder, so that a full disk or a locked folder is told apart from everything else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ..contract import write_refusal
from ..contract.guarded_files import GuardedFile

Target = str | os.PathLike | GuardedFile
"""Where a file is to be written: a job's own as a GuardedFile, any other by its path."""


@contextmanager
def translated_errors(path: Target) -> Iterator[None]:
    """The operating system's refusals inside this block become errors with a code.

    Parameters
    ----------
    path : Target
        What is written in the block; for words.

    Yields
    ------
    None
        To the block.

    Raises
    ------
    StereoDiffError
        "disk_full", "output_not_writable" or, for an UnsafeFileError, "job_folder_unsafe".
    """
    try:
        yield
    except OSError as error:
        raise write_refusal(error, path) from error


def open_to_write(target: Target) -> BinaryIO:
    """Open a file to write, made or emptied.

    Parameters
    ----------
    target : Target
        Where.

    Returns
    -------
    BinaryIO
        At its beginning; the caller closes it.

    Raises
    ------
    OSError
        The system refuses; of a guarded file UnsafeFileError instead of leading elsewhere.
    """
    return target.open_for_writing() if isinstance(target, GuardedFile) else open(target, "wb")


def write_bytes(target: Target, data: bytes | memoryview) -> None:
    """Write a file, made or emptied.

    Parameters
    ----------
    target : Target
        Where to.
    data : bytes or memoryview
        All that the file will hold.

    Raises
    ------
    StereoDiffError
        "disk_full", "output_not_writable" or, of a guarded file, "job_folder_unsafe".
    """
    with translated_errors(target), open_to_write(target) as stream:
        stream.write(data)


def make_folder(path: Path) -> None:
    """Create a folder and its parents if missing.

    Parameters
    ----------
    path : Path
        The folder.

    Raises
    ------
    StereoDiffError
        "disk_full" or "output_not_writable".
    """
    with translated_errors(path):
        path.mkdir(parents=True, exist_ok=True)
