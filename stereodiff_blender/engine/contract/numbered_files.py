"""Files of an image sequence by their number: the last run of digits before the extension, as Blender counts.

shot2_v01.0042.exr is number 42 of shot2_v01.####.exr. Only 0 to 9 are digits, as they are to Blender.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TypeVar

from .errors import StereoDiffError

__all__ = ["MOST_COUNTED", "NumberedName", "file_further_on", "numbered_name", "numbers_beside", "refuse_misnamed"]

MOST_COUNTED = 2**31 - 1
"""The highest number of a picture that Blender counts to."""

P = TypeVar("P", bound=PurePath)

_LAST_NUMBER = re.compile(r"[0-9]+(?!.*[0-9])", re.DOTALL)
_MINUS = re.compile(r"(?:^|[._ ])-$")
"""At the end of what is before the number: a sign, and no dash between two words."""


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

    def numbers_in(self, folder: str | os.PathLike) -> list[int]:
        """Numbers of a folder's files that have this name but for the number, ascending; none if nobody may look."""
        try:
            digits = [other[len(self.prefix):len(other) - len(self.suffix)] for other in os.listdir(folder)
                      if other.startswith(self.prefix) and other.endswith(self.suffix)]
        except OSError:
            return []
        return sorted(int(text) for text in digits if text.isascii() and text.isdigit()
                      and text == str(int(text)).zfill(len(self.digits)))


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


def numbers_beside(path: Path) -> list[int]:
    """Numbers of the files that differ from path in their number alone, as Blender pads them.

    Parameters
    ----------
    path : Path
        Of a numbered file; it need not exist.

    Returns
    -------
    list of int
        Ascending; empty for a name without a number, and where the folder cannot be read.
    """
    name = numbered_name(path)
    return [] if name is None else name.numbers_in(path.parent)


def refuse_misnamed(path: Path, last_number: int | None = None) -> None:
    """Refuse a sequence whose names do not give the frame where Blender reads it.

    Parameters
    ----------
    path : Path
        Of one of its files; without a number, nothing is refused.
    last_number : int or None
        The highest number that is needed; None: the one of path.

    Raises
    ------
    StereoDiffError
        "sequence_misnamed": the number is beyond MOST_COUNTED; it stands behind a minus, among files without one; or
        the last digits of the name are the same in every file, and others count.
    """
    name = numbered_name(path)
    if name is None:
        return
    if max(name.number, last_number or 0) > MOST_COUNTED:
        raise StereoDiffError("sequence_misnamed", f"The number of {path.name} is {name.digits}, and Blender counts "
                                                   f"pictures to {MOST_COUNTED} only.")
    if _MINUS.search(name.prefix) and _is_there(path.parent, re.escape(name.prefix[:-1]) + "[0-9]+"
                                                + re.escape(name.suffix)):
        raise StereoDiffError("sequence_misnamed", f"The number of {path.name} stands behind a minus. Blender takes it "
                                                   f"for {name.number}, and would play the pictures backwards.")
    if not path.with_name(name.of_number(name.number + 1)).exists() and _counts_elsewhere(path, name):
        raise StereoDiffError("sequence_misnamed", f"Blender takes the last digits of {path.name} for its number, "
                                                   f"{name.number}, and these are the same in every picture.")


def _counts_elsewhere(path: Path, name: NumberedName) -> bool:
    """Whether there are files that differ from this one in earlier digits alone."""
    earlier = re.sub(r"[0-9]+", "[0-9]+", re.escape(name.prefix))
    others = earlier + re.escape(name.digits + name.suffix)
    return earlier != re.escape(name.prefix) and _is_there(path.parent, others, besides=path.name)


def _is_there(folder: Path, pattern: str, besides: str = "") -> bool:
    try:
        return any(re.fullmatch(pattern, other) for other in os.listdir(folder) if other != besides)
    except OSError:  # nobody may look into it: then its files are refused for that, one by one
        return False
