"""Files that appear whole or not at all: written beside their place, flushed to disk, then moved there.

For files of the user's own, by their path. A job folder may be somebody else's: what is written there goes through
guarded_files.py, which does the same step by step from the folder itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["put_in_place", "replacing"]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside this one, to be written to; it takes its place at the end, or is gone if anything failed till then.

    Each process has a name of its own, so that two who write the same file do not write into each other's.

    Parameters
    ----------
    path : Path
        Of the file in the end; its folder exists.

    Yields
    ------
    Path
        Where to write it; the file is not there yet.

    Raises
    ------
    OSError
        It cannot be put in its place; what was there before stays then.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        put_in_place(temporary, path)
    finally:
        with suppress(OSError):  # moved already; or still open on Windows, and then the first error is the one to tell
            temporary.unlink()


def put_in_place(written: Path, path: Path) -> None:
    """Move a file that is done to where it belongs, in the place of what is there.

    Flushed first: after a loss of power there would else be a file of that name with nothing in it.

    Parameters
    ----------
    written : Path
        The file, closed, on the same disk as path.
    path : Path
        Its place.

    Raises
    ------
    OSError
        It cannot be flushed or moved.
    """
    with open(written, "r+b") as stream:
        os.fsync(stream.fileno())
    os.replace(written, path)
