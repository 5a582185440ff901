"""Writing files of a job folder, so that a full disk or a locked folder is told apart from everything else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .contract import write_refusal


@contextmanager
def writing(path: str | os.PathLike) -> Iterator[None]:
    """The operating system's refusals inside this block become StereoDiffError "disk_full" or "output_not_writable"."""
    try:
        yield
    except OSError as error:
        raise write_refusal(error, path) from error


def write_bytes(path: str | os.PathLike, data: bytes | memoryview) -> None:
    """Raises StereoDiffError "disk_full" or "output_not_writable"."""
    with writing(path), open(path, "wb") as stream:
        stream.write(data)


def make_folder(path: Path) -> None:
    """Create a folder and its parents if missing. Raises StereoDiffError like write_bytes."""
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
