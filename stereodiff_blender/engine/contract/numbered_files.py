"""Files of an image sequence by their number: the last run of digits before the extension, as Blender counts."""

from __future__ import annotations

import re
from pathlib import Path, PurePath
from typing import TypeVar

__all__ = ["file_further_on"]

P = TypeVar("P", bound=PurePath)

LAST_NUMBER = re.compile(r"[0-9]+(?!.*[0-9])", re.DOTALL)


def file_further_on(path: Path, steps: int) -> tuple[Path, int] | None:
    """The file so many numbers after path, whether it exists or not, and its number; None for a name without one."""
    digits = LAST_NUMBER.search(path.stem)
    if digits is None:
        return None
    number = int(digits[0]) + steps
    return _numbered(path, digits, number), number


def file_of_number(path: P, number: int) -> P | None:
    """The file of that number beside path, whether it exists or not; None for a name without one."""
    digits = LAST_NUMBER.search(path.stem)
    return None if digits is None else _numbered(path, digits, number)


def _numbered(path: P, digits: re.Match[str], number: int) -> P:
    stem = path.stem[:digits.start()] + str(number).zfill(len(digits[0])) + path.stem[digits.end():]
    return path.with_name(stem + path.suffix)
