"""Files of an image sequence by their number: the last run of digits before the extension, as Blender counts."""

from __future__ import annotations

import re
from pathlib import Path

LAST_NUMBER = re.compile(r"\d+(?!.*\d)")


def file_further_on(path: Path, steps: int) -> tuple[Path, int] | None:
    """The file so many numbers after path, whether it exists or not, and its number; None for a name without one."""
    digits = LAST_NUMBER.search(path.stem)
    if digits is None:
        return None
    number = int(digits[0]) + steps
    stem = path.stem[:digits.start()] + str(number).zfill(len(digits[0])) + path.stem[digits.end():]
    return path.with_name(stem + path.suffix), number
