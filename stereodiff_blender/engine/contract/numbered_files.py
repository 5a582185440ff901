"""Files of an image sequence by their number: the last run of digits before the extension, as Blender counts.

shot2_v01.0042.exr is number 42 of shot2_v01.####.exr. Only 0 to 9 are digits, as they are to Blender.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TypeVar

__all__ = ["NumberedName", "file_further_on", "numbered_name"]

P = TypeVar("P", bound=PurePath)

_LAST_NUMBER = re.compile(r"[0-9]+(?!.*[0-9])", re.DOTALL)


@dataclass(frozen=True)
class NumberedName:
    """A file's name around its number. suffix: all that follows the digits, the extension included."""

    prefix: str
    digits: str
    suffix: str

    @property
    def number(self) -> int:
        return int(self.digits)

    def of_number(self, number: int) -> str:
        """The name of another number, padded with zeros to as many digits."""
        return f"{self.prefix}{str(number).zfill(len(self.digits))}{self.suffix}"


def numbered_name(path: PurePath) -> NumberedName | None:
    """The last part of a path, taken apart; None for a name without a number.

    Parameters
    ----------
    path : PurePath
        Of a file; it need not exist.

    Returns
    -------
    NumberedName or None
        The name around the last run of digits before the extension.
    """
    found = _LAST_NUMBER.search(path.stem)
    if found is None:
        return None
    return NumberedName(path.stem[:found.start()], found[0], path.stem[found.end():] + path.suffix)


def file_further_on(path: Path, steps: int) -> tuple[Path, int] | None:
    """The file so many numbers after path, whether it exists or not, and its number; None for a name without one.

    Parameters
    ----------
    path : Path
        Of a numbered file.
    steps : int
        How many numbers further on; below 0 for earlier files.

    Returns
    -------
    (Path, int) or None
        The file beside path, its number padded to as many digits, and that number.
    """
    name = numbered_name(path)
    if name is None:
        return None
    number = name.number + steps
    return path.with_name(name.of_number(number)), number


def file_of_number(path: P, number: int) -> P | None:
    """The file of that number beside path, whether it exists or not; None for a name without one."""
    name = numbered_name(path)
    return None if name is None else path.with_name(name.of_number(number))
