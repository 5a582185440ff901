"""Stops for plates whose light is far from what a screen shows, so that there is something to match.

A renderer's or a camera's linear light has no fixed scale: a night plate may lie eleven stops below display, an
unscaled one eight above. One number for the whole clip; normal plates are left alone.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from ..contract import MAX_PIXELS, ClipSource
from . import stills
from .frames import color_of, footage_files

__all__ = ["choose_exposure", "takes_exposure"]

LOOKED_AT = 3
"""Pictures, evenly spread from the first on."""
SAMPLE_STEP = 7
"""Every how manieth row and column is looked at."""
LUMINANCE = np.array((0.2126, 0.7152, 0.0722), np.float32)
DARK, BRIGHT = 0.02, 1.0
"""Light that 99 of 100 pixels stay below in a plate that is too dark, and that 75 reach in one that is too bright: a
tenth of the display's range, and its end."""
DARK_TO, BRIGHT_TO = 0.7, 0.18
"""What those 99 pixels of a dark plate are brought to, and the median of a bright one."""
MOST_STOPS = 20


def choose_exposure(source: ClipSource, frame_numbers: range, max_pixels: int = MAX_PIXELS) -> float:
    """Whole stops that bring a plate of light to display; 0 for one that is there already, or is no light.

    Parameters
    ----------
    source : ClipSource
        The footage.
    frame_numbers : range
        Clip frames that are solved, one after the other.
    max_pixels : int
        Of a picture; a larger one is not decoded.

    Returns
    -------
    float
        The same for the same footage and frames; 0 for every movie.

    Raises
    ------
    StereoDiffError
        As read_frames does for the pictures that are looked at.
    """
    if source.kind == "movie":
        return 0.0
    last = len(frame_numbers) - 1
    frames = range(frame_numbers[0], frame_numbers[-1] + 1, max(last // (LOOKED_AT - 1), 1))[:LOOKED_AT]
    lights = []
    for path in footage_files(source, frames):
        light = _luminance(path, source, max_pixels)
        if light is None:
            return 0.0
        lights.append(light)
    return stops_for(np.concatenate(lights))


def takes_exposure(source: ClipSource, frame_numbers: range, max_pixels: int = MAX_PIXELS) -> bool:
    """Whether stops are added to the footage's pictures at all: to light, not to what is the display's already.

    Parameters
    ----------
    source : ClipSource
        The footage.
    frame_numbers : range
        Clip frames that are solved.
    max_pixels : int
        Of a picture; a larger one is not decoded.

    Returns
    -------
    bool
        By the color space, and of a sequence by its first picture.

    Raises
    ------
    StereoDiffError
        As read_frames does for that picture.
    """
    color = color_of(source)
    if source.kind == "movie":
        return color.takes_light()
    (path,) = footage_files(source, frame_numbers[:1])
    return stills.still_takes_exposure(path, max_pixels=max_pixels, color=color)


def stops_for(light: np.ndarray) -> float:
    """light: (N,) luminances of pixels, above 0. Whole stops; 0 if they are within the range of display."""
    if not light.size:
        return 0.0
    middle, upper = (float(np.quantile(light, share)) for share in (0.5, 0.99))
    if upper < DARK:
        stops = math.log2(DARK_TO / upper)
    elif float(np.quantile(light, 0.25)) >= BRIGHT:
        stops = math.log2(BRIGHT_TO / middle)
    else:
        return 0.0
    return float(min(max(round(stops), -MOST_STOPS), MOST_STOPS))


def _luminance(path: Path, source: ClipSource, max_pixels: int) -> np.ndarray | None:
    """Of a sample of the pixels that have any: exact black is what nothing was drawn on. None of what is no light."""
    light = stills.read_light(path, step=SAMPLE_STEP, max_pixels=max_pixels, color=color_of(source))
    if light is None:
        return None
    values = light @ LUMINANCE
    return values[np.isfinite(values) & (values > 0)]
