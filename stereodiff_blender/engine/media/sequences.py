"""Names of clips on disk: families of numbered files, and what a path on a command line means.

contract/numbered_files.py says what the number of a file is.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from ..contract import ClipSource, StereoDiffError
from ..contract.numbered_files import NumberedName, numbered_name, refuse_misnamed
from .footage_file import refuse_irregular

STILL_SUFFIXES = frozenset({".bmp", ".cin", ".dpx", ".exr", ".jpeg", ".jpg", ".png", ".tga", ".tif", ".tiff", ".webp"})
_PLACEHOLDER = re.compile(r"^(?P<prefix>.*?)(?:(?P<hashes>#+)|%(?:0(?P<digits>\d))?d)(?P<suffix>[^#%]*)$", re.DOTALL)


@dataclass(frozen=True, order=True)
class Family:
    """Files that differ in their number alone. digits: least number of digits, padded with zeros."""

    folder: str
    prefix: str
    suffix: str
    digits: int

    def path(self, number: int) -> Path:
        return Path(self.folder, f"{self.prefix}{number:0{self.digits}d}{self.suffix}")

    def numbers(self) -> list[int]:
        """Numbers of the files that exist, ascending; none if the folder cannot be read."""
        return NumberedName(self.prefix, "0" * self.digits, self.suffix).numbers_in(self.folder)

    def __str__(self) -> str:
        return f"{self.prefix}{'#' * self.digits}{self.suffix}"


def family_of(path: str | os.PathLike) -> tuple[Family, int] | None:
    """A file's family and its number in it; None for a name without a number."""
    path = Path(path)
    name = numbered_name(path)
    if name is None:
        return None
    return Family(str(path.parent), name.prefix, name.suffix, len(name.digits)), name.number


def source_from_path(path: str | os.PathLike) -> ClipSource:
    """What a path on a command line means.

    A movie file: the movie. A numbered still: the sequence that starts with this very file. A pattern (#### or
    %04d) or a folder with one sequence: the sequence from its lowest number on.

    Parameters
    ----------
    path : str or PathLike
        Relative to the current folder, or absolute.

    Returns
    -------
    ClipSource
        Its path absolute; size, pixel aspect and frames per second left to the file.

    Raises
    ------
    StereoDiffError
        "clip_missing"; "sequence_misnamed"; "clip_too_short" for a still without a number; "clip_unreadable" for a
        folder with several sequences, or what is neither a file nor a folder.
    """
    path = Path(os.path.abspath(path))
    try:
        return _source_at(path)
    except OSError as error:  # a name that is too long, a folder that nobody may look into
        reason = error.strerror or error
        raise StereoDiffError("clip_missing", f"{str(path)[:200]} cannot be looked at: {reason}.") from error


def _source_at(path: Path) -> ClipSource:
    if path.is_dir():
        return _sequence(_only_family(path))
    if path.is_file():
        return _still_source(path) if path.suffix.lower() in STILL_SUFFIXES else ClipSource("movie", str(path))
    refuse_irregular(path)
    match = _PLACEHOLDER.match(path.name)
    if match is None:
        raise StereoDiffError("clip_missing", f"{path} does not exist.")
    digits = len(match["hashes"]) if match["hashes"] else int(match["digits"] or 1)
    return _sequence(Family(str(path.parent), match["prefix"], match["suffix"], digits))


def _still_source(path: Path) -> ClipSource:
    found = family_of(path)
    if found is None:
        raise StereoDiffError("clip_too_short", f"{path.name} is one picture without a number, not a sequence.")
    refuse_misnamed(path)
    return ClipSource("sequence", str(path), first_number=found[1])


def _sequence(family: Family) -> ClipSource:
    numbers = family.numbers()
    if not numbers:
        raise StereoDiffError("clip_missing", f"No file in {family.folder} is named like {family}.")
    refuse_misnamed(family.path(numbers[0]))
    return ClipSource("sequence", str(family.path(numbers[0])), first_number=numbers[0])


def _only_family(folder: Path) -> Family:
    """The one sequence of a folder; single numbered pictures beside it do not count as sequences."""
    sizes: dict[Family, int] = {}
    for entry in folder.iterdir():
        if entry.suffix.lower() in STILL_SUFFIXES and (found := family_of(entry)) is not None:
            sizes[found[0]] = sizes.get(found[0], 0) + 1
    families = sorted(family for family, size in sizes.items() if size > 1) or sorted(sizes)
    if not families:
        raise StereoDiffError("clip_missing", f"{folder} holds no numbered pictures.")
    if len(families) > 1:
        for family in families:
            refuse_misnamed(family.path(family.numbers()[0]))
        names = ", ".join(str(family) for family in families[:5])
        raise StereoDiffError("clip_unreadable", f"{folder} holds more than one sequence ({names}); name one of them.")
    return families[0]
