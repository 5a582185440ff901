"""Lines of a file to which another program appends, read in pieces of a limited size. Standard library only.

Whoever follows a job reads what is new a few times a second; the file may have grown by any amount meanwhile, and may
be a stranger's. So no read is longer than MAX_BYTES, no line longer than MAX_LINE_BYTES is taken, and where more is
new only the end is read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO

MAX_BYTES = 1_000_000
"""Half an hour of a worker's events."""
MAX_LINE_BYTES = 64_000
MAX_SEARCH_BYTES = 256_000_000
_PIECE_BYTES = 1_000_000


def size_of(stream: BinaryIO) -> int:
    return os.fstat(stream.fileno()).st_size


def whole_lines(stream: BinaryIO, offset: int) -> tuple[list[bytes], int]:
    """Lines from byte offset on, at most MAX_BYTES of them, and the offset to go on from.

    A last line that has no end yet waits, unless it is too long already: then it is passed over piece by piece.
    """
    stream.seek(offset)
    data = stream.read(MAX_BYTES)
    end = data.rfind(b"\n") + 1
    if end == 0 and len(data) > MAX_LINE_BYTES:
        return [], offset + len(data)
    return [line for line in data[:end].splitlines() if len(line) <= MAX_LINE_BYTES], offset + end


def last_lines(stream: BinaryIO, offset: int) -> tuple[list[bytes], int]:
    """The lines in the last MAX_BYTES of a file, from byte offset on at most, and the offset to go on from."""
    begin = size_of(stream) - MAX_BYTES
    if begin > offset:
        stream.seek(begin - 1)
        stream.readline(MAX_BYTES)  # the rest of a line that began earlier
        offset = stream.tell()
    return whole_lines(stream, offset)


def lines_with(word: bytes, stream: BinaryIO, offset: int) -> Iterator[tuple[bytes, int]]:
    """Lines that hold a word, the last one first, each with the offset behind it.

    Looks from the end of the file back to byte offset, over MAX_SEARCH_BYTES at most.
    """
    stop = size_of(stream)
    low, rest = max(offset, stop - MAX_SEARCH_BYTES), b""
    while stop > low:
        begin = max(low, stop - _PIECE_BYTES)
        stream.seek(begin)
        piece = stream.read(stop - begin) + rest
        first = piece.find(b"\n") + 1 if begin > low else 0  # what stands before is the end of a line begun earlier
        yield from _within(word, piece, first, begin)
        rest = piece[:first] if first <= MAX_LINE_BYTES else b""
        stop = begin


def _within(word: bytes, piece: bytes, first: int, begin: int) -> Iterator[tuple[bytes, int]]:
    """begin: offset of the piece in its file. first: where its first whole line begins."""
    stop = len(piece)
    while (found := piece.rfind(word, first, stop)) >= 0:
        line_begin = max(piece.rfind(b"\n", first, found) + 1, first)
        line_end = piece.find(b"\n", found)
        if line_end < 0:
            line_end = len(piece)
        if line_end - line_begin <= MAX_LINE_BYTES:
            yield piece[line_begin:line_end], begin + line_end + 1
        stop = line_begin
