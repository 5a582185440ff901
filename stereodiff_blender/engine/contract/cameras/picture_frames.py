"""Which frame of a clip each of some named pictures is, by the numbers in the names. Standard library only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath, PurePosixPath

from ..errors import StereoDiffError
from ..job import ClipSource
from ..numbered_files import NumberedName, numbered_name

__all__ = ["frames_of_pictures"]

MOST_NAMED = 80
"""Characters of a picture's name that are told."""


def frames_of_pictures(names: Sequence[str], clip: ClipSource, frames: range) -> list[int]:
    """The clip frame of every picture.

    Pictures of the sequence itself have its numbers. Others are counted as the clip counts, from 1 or, where there is a
    number 0, from 0, or have the sequence's numbers under another name; whatever of this covers the frames.

    Parameters
    ----------
    names : sequence of str
        With or without folders before them.
    clip : ClipSource
        Whose frames they show.
    frames : range
        Clip frames that are wanted.

    Returns
    -------
    list of int
        Clip frames, which need not be among the wanted ones.

    Raises
    ------
    StereoDiffError
        "cameras_invalid": a name has no number, two have the same one, or the numbers can be understood in two ways.
    """
    found = [_numbered(name) for name in names]
    numbers = [name.number for name in found]
    _refuse_twins(names, numbers)
    shift = _shift(found, numbers, clip, frames)
    return [number + shift for number in numbers]


def _numbered(name: str) -> NumberedName:
    found = numbered_name(_path(name))
    if found is None:
        raise _unclear(f"there is no number in the picture's name {name[:MOST_NAMED]!r}")
    return found


def _path(name: str) -> PurePath:
    return PurePosixPath(name.replace("\\", "/"))


def _refuse_twins(names: Sequence[str], numbers: list[int]) -> None:
    seen: dict[int, str] = {}
    for name, number in zip(names, numbers, strict=True):
        if number in seen:
            raise _unclear(f"{seen[number][:MOST_NAMED]!r} and {name[:MOST_NAMED]!r} have the same number")
        seen[number] = name


def _shift(found: list[NumberedName], numbers: list[int], clip: ClipSource, frames: range) -> int:
    """What is added to a picture's number."""
    as_in_plate = 1 - clip.first_number if clip.kind == "sequence" else -clip.first_number
    own = numbered_name(PurePath(clip.path)) if clip.kind == "sequence" else None
    if own is not None and all(name.prefix == own.prefix for name in found):
        return as_in_plate
    possible = {0, as_in_plate, 1 if 0 in numbers else 0}
    fitting = [shift for shift in possible if min(numbers) + shift >= 1
               and min(numbers) + shift <= frames[0] and frames[-1] <= max(numbers) + shift]
    if len(fitting) > 1:
        raise _unclear("their pictures' numbers may be the plate's or count from 1; name the pictures as the plate's "
                       "are, or solve the whole clip")
    return fitting[0] if fitting else min(possible, key=lambda shift: abs(min(numbers) + shift - frames[0]))


def _unclear(reason: str) -> StereoDiffError:
    return StereoDiffError("cameras_invalid", f"Which frames the cameras belong to is not clear: {reason}.")
