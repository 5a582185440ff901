"""Where in the picture, and in which frames, depth is guessed: by the edges of the frame and its middle.

One share for a clip does not tell where a shot can be used. What neighbor frames do not show is guessed: most of it at
the frame's edges, and there in the first and last frames.
"""

from __future__ import annotations

import numpy as np

from ..contract import REGIONS, GuessedRegion
from ..solution import StereoResult

__all__ = ["guessed_regions"]

GUESSED = 0.2
"""Confidence below which nothing beside a pixel was to go by when it was filled."""
EDGE_SHARE = 0.125
"""Of the picture's side, how wide an edge is."""
MOSTLY = 0.5
"""Share of a region's still pixels from which on it is called guessed."""
MIN_STILL_SHARE = 0.05
"""Of a region's pixels that are neither sky nor moving, below which nothing is said of it."""
MAX_GAP = 2
"""Frames between two runs that are told as one."""
MOST_TOLD = 20


def guessed_regions(stereo: StereoResult, first_frame: int) -> tuple[GuessedRegion, ...]:
    """The regions that are mostly guessed, with their runs of frames.

    Parameters
    ----------
    stereo : StereoResult
        Of T frames. Sky and what moves do not count: the one has no depth, of the other no frame can vouch for it.
    first_frame : int
        Clip frame of index 0.

    Returns
    -------
    tuple of GuessedRegion
        In the order of REGIONS and frames; of very many, the MOST_TOLD that hold most frames.
    """
    shares = np.array([_shares(stereo, index) for index in range(len(stereo.confidence))])  # (T, regions)
    found = [GuessedRegion(region, first_frame + start, first_frame + stop - 1, float(np.nanmean(column[start:stop])))
             for region, column in zip(REGIONS, shares.T, strict=True) for start, stop in _runs(column > MOSTLY)]
    longest = sorted(found, key=lambda one: one.first_frame - one.last_frame)[:MOST_TOLD]
    return tuple(one for one in found if one in longest)


def _shares(stereo: StereoResult, index: int) -> list[float]:
    """Guessed share of each region in a frame; nan where it shows hardly anything that stands still."""
    counts = ~(stereo.is_sky(index) | (np.asarray(stereo.motion_mask[index]) > 0))
    guessed = counts & (np.asarray(stereo.confidence[index]) < GUESSED)
    shares = []
    for part in _parts(*counts.shape).values():
        still = counts[part].mean()
        shares.append(float(guessed[part].mean() / still) if still >= MIN_STILL_SHARE else np.nan)
    return shares


def _parts(height: int, width: int) -> dict[str, tuple[slice, slice]]:
    """Rows and columns of each region."""
    across, down, every = round(EDGE_SHARE * width), round(EDGE_SHARE * height), slice(None)
    inner = slice(down, height - down), slice(across, width - across)
    parts = {"left": (every, slice(0, across)), "right": (every, slice(width - across, width)),
             "top": (slice(0, down), every), "bottom": (slice(height - down, height), every), "middle": inner}
    return {region: parts[region] for region in REGIONS}


def _runs(is_guessed: np.ndarray) -> list[tuple[int, int]]:
    """First and one past the last index of every run of True, (T,) bool; those that are hardly apart as one."""
    runs: list[tuple[int, int]] = []
    for index in np.flatnonzero(is_guessed).tolist():
        if runs and index - runs[-1][1] <= MAX_GAP:
            runs[-1] = runs[-1][0], index + 1
        else:
            runs.append((index, index + 1))
    return runs
