"""What is said about footage: the refusal of a cut, and a warning for each fault that is worked around."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np

from ..contract import StereoDiffError
from ..report import Report
from .inspection import Footage

MOST_NAMED = 6


def refuse_cuts(footage: Footage, first_frame: int, told_from: int) -> None:
    """Refuse footage of more than one shot.

    Parameters
    ----------
    footage : Footage
        What was found in it.
    first_frame : int
        Clip frame of index 0.
    told_from : int
        The number of index 0 in what is said to people.

    Raises
    ------
    StereoDiffError
        "cut_in_range", with the shots as clip frames, if there is more than one shot.
    """
    if len(footage.shots) == 1:
        return
    shots = tuple((start + first_frame, end + first_frame) for start, end in footage.shots)
    told = [(start + told_from, end + told_from) for start, end in footage.shots]
    raise StereoDiffError("cut_in_range", f"There are {len(shots)} shots: frames {_ranges(told, most=12)}.", shots)


def warn_of_faults(footage: Footage, told_from: int, report: Report) -> None:
    """One warning for each kind of fault that was found.

    Parameters
    ----------
    footage : Footage
        What was found.
    told_from : int
        The number of index 0 in what is said to people.
    report : Report
        Is told "repeated_frames", "black_bars", "burnt_in_text", "flash_frames" and "flickering_light".
    """
    if len(footage.repeats):
        count = len(footage.shown_in)
        report.warn("repeated_frames", f"{_frames(footage.repeats, told_from)} the picture before; "
                                       f"{count - len(footage.repeats)} of {count} frames are distinct.")
    if footage.has_bars:
        report.warn("black_bars", f"The picture has black bars of {_bar_text(footage)}.")
    if footage.overlays:
        report.warn("burnt_in_text", f"Something is written on the picture, at the {_places(footage)}.")
    if len(footage.flashes):
        report.warn("flash_frames", f"The light is another at frame{_plural(footage.flashes)} "
                                    f"{_ranges(_runs(footage.flashes, told_from))}.")
    if footage.flickers:
        swing = 100 * (np.exp(np.sqrt(np.mean(np.log(footage.gain) ** 2))) - 1)
        report.warn("flickering_light", f"Brightness swings by about {swing:.0f} %.")


def _frames(indices: np.ndarray, told_from: int) -> str:
    runs = _runs(indices, told_from)
    return f"Frame{_plural(indices)} {_ranges(runs)} repeat{'' if len(indices) > 1 else 's'}"


def _plural(indices) -> str:
    return "s" if len(indices) > 1 else ""


def _runs(indices: Iterable[int], told_from: int) -> list[tuple[int, int]]:
    """First and last number of each run of neighbors."""
    frames = [int(index) + told_from for index in indices]
    breaks = [k + 1 for k, (a, b) in enumerate(pairwise(frames)) if b != a + 1]
    return [(frames[start], frames[end - 1]) for start, end in pairwise([0, *breaks, len(frames)])]


def _ranges(runs: Iterable[tuple[int, int]], most: int = MOST_NAMED) -> str:
    """"4, 9-10, 14 and 3 more"."""
    texts = [f"{first}-{last}" if last > first else str(first) for first, last in runs]
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more


def _bar_text(footage: Footage) -> str:
    """Shares of the raster, as the clip may have another size."""
    height, width = footage.size
    top, bottom, left, right = footage.picture
    sides = (("top", top / height), ("bottom", 1 - bottom / height), ("left", left / width),
             ("right", 1 - right / width))
    return ", ".join(f"{100 * share:.0f} % at the {name}" for name, share in sides if share > 0)


def _places(footage: Footage) -> str:
    height, width = footage.size
    places = []
    for top, bottom, left, right in footage.overlays:
        down = ("top", "middle", "bottom")[min(int(3 * (top + bottom) / (2 * height)), 2)]
        across = ("left", "center", "right")[min(int(3 * (left + right) / (2 * width)), 2)]
        places.append(f"{down} {across}")
    return ", ".join(dict.fromkeys(places))
