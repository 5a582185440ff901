"""Which frames the solve starts from."""

from __future__ import annotations

import numpy as np

from ..tracking import Tracks

SHIFT_SHARE = 0.035
SURVIVING_SHARE = 0.35
MIN_COMMON = 40
MIN_KEYFRAMES = 6
FEW_KEYFRAMES = 8
MAX_KEYFRAMES = 60
SEED_KEYFRAMES = 12
MIN_LINK_SHARE = 0.35


def choose_keyframes(tracks: Tracks, frames: np.ndarray, surviving_share: float = SURVIVING_SHARE) -> np.ndarray:
    """Keyframes (K,) among the frames, in order, first and last included: a new one where the picture has moved by
    SHIFT_SHARE of its width or fewer than surviving_share of the last one's tracks are left."""
    chosen = [frames[0]]
    for index in frames[1:]:
        if _has_moved_on(tracks, chosen[-1], index, surviving_share):
            chosen.append(index)
    if chosen[-1] != frames[-1]:
        chosen.append(frames[-1])
    if len(chosen) < MIN_KEYFRAMES:
        return _evenly(frames, FEW_KEYFRAMES)
    return _evenly(np.array(chosen), max(MAX_KEYFRAMES, len(frames) // 6))


def _has_moved_on(tracks: Tracks, keyframe: int, index: int, surviving_share: float) -> bool:
    _, pixels_i, pixels_j = tracks.common(keyframe, index)
    if len(pixels_i) < max(MIN_COMMON, surviving_share * len(tracks.observed(keyframe)[0])):
        return True
    shift = np.median(np.linalg.norm(pixels_j - pixels_i, axis=1))
    return shift > SHIFT_SHARE * max(tracks.size)


def _evenly(frames: np.ndarray, count: int) -> np.ndarray:
    """At most count of the frames, spread evenly, first and last included."""
    if len(frames) <= count:
        return frames
    return frames[np.unique(np.rint(np.linspace(0, len(frames) - 1, count)).astype(int))]


def choose_seed_keyframes(tracks: Tracks, keyframes: np.ndarray) -> np.ndarray:
    """A few keyframes, spread as widely as tracks still link each to the next; the focal length is sought on these.

    Of the stretches of keyframes tried, long ones first, the first whose weakest link is firm; otherwise the firmest.
    """
    best, best_link = keyframes[:SEED_KEYFRAMES], -1.0
    span = len(keyframes)
    while span >= min(len(keyframes), SEED_KEYFRAMES):
        for start in sorted({0, (len(keyframes) - span) // 2, len(keyframes) - span}):
            chosen = _evenly(keyframes[start:start + span], SEED_KEYFRAMES)
            link = _weakest_link(tracks, chosen)
            if link > best_link:
                best, best_link = chosen, link
        if best_link >= MIN_LINK_SHARE or span <= SEED_KEYFRAMES:
            break
        span = max(SEED_KEYFRAMES, int(0.75 * span))
    return best


def _weakest_link(tracks: Tracks, frames: np.ndarray) -> float:
    """Smallest share of a frame's tracks that reach the next one in the list."""
    shares = [len(tracks.common(i, j)[0]) / max(len(tracks.observed(i)[0]), MIN_COMMON)
              for i, j in zip(frames[:-1], frames[1:], strict=True)]
    return min(shares, default=0.0)
