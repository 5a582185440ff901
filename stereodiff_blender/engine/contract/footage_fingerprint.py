"""Which footage it is, by what its files hold: the same for a copy under another name, another for another delivery.

A few blocks are read, whatever the length: of a movie, spread over the file with its head and its tail; of a sequence,
such blocks of a few of its pictures. Neither names nor times of files count. Footage that differs between those blocks
alone, with the same size, is taken for the same.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from .job import ClipSource
from .numbered_files import file_further_on

__all__ = ["fingerprint", "is_other_footage"]

FORMAT = "1-"
"""Begins every fingerprint; one that is taken otherwise begins otherwise, and is not compared."""
BLOCK_BYTES = 16_384
MOVIE_BLOCKS, PICTURE_BLOCKS = 17, 5
MOST_PICTURES = 8
DIGEST_BYTES = 16
_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)


def fingerprint(source: ClipSource, frame_numbers: range) -> str:
    """Of the footage as it lies on disk now.

    Parameters
    ----------
    source : ClipSource
        A movie, which counts as a whole, or a sequence.
    frame_numbers : range
        Clip frames, 1 is the first; of a sequence, pictures of these are looked at.

    Returns
    -------
    str
        Empty if it is not known: a file is missing, cannot be read, or is no regular file.
    """
    digest = hashlib.blake2b(source.kind.encode(), digest_size=DIGEST_BYTES)
    blocks = MOVIE_BLOCKS if source.kind == "movie" else PICTURE_BLOCKS
    try:
        for path in _sampled_files(source, frame_numbers):
            for part in _samples(path, blocks):
                digest.update(part)
    except (OSError, ValueError):  # ValueError: no path can have such a name, or it has no number
        return ""
    return FORMAT + digest.hexdigest()


def is_other_footage(known: str, found: str) -> bool:
    """Whether two fingerprints of the same frames say that the footage differs; where one is not known, they do not.

    Parameters
    ----------
    known, found : str
        Of fingerprint(), of this version or another.

    Returns
    -------
    bool
        True only if both are known and differ.
    """
    return known.startswith(FORMAT) and found.startswith(FORMAT) and known != found


def _sampled_files(source: ClipSource, frame_numbers: range) -> Iterator[Path]:
    path = Path(source.path)
    if source.kind == "movie":
        yield path
        return
    for frame in _spread(frame_numbers, MOST_PICTURES):
        found = file_further_on(path, frame - 1)
        if found is None:
            raise ValueError(f"{path.name} has no number")
        yield found[0]


def _spread(items: range, most: int) -> list[int]:
    """The first, the last, and evenly between them; all if there are no more."""
    if len(items) <= most:
        return list(items)
    return [items[(len(items) - 1) * place // (most - 1)] for place in range(most)]


def _samples(path: Path, blocks: int) -> Iterator[bytes]:
    """Size and blocks of a regular file, opened without waiting for anybody."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(f"{path} is no regular file")
    with open(os.open(path, _READ), "rb", buffering=0) as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(f"{path} is no regular file")
        yield status.st_size.to_bytes(16, "big")
        for place in _spread(range(max(status.st_size - BLOCK_BYTES, 0) + 1), blocks):
            stream.seek(place)
            yield stream.read(BLOCK_BYTES)
