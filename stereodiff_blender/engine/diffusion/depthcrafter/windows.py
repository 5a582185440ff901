"""How a clip is cut into windows of frames that overlap, and put together again. Pure."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Window(NamedTuple):
    """Frames start to end, the last not included."""

    start: int
    end: int


def plan_windows(count: int, size: int, overlap: int, tail: str) -> tuple[Window, ...]:
    """Windows of `size` frames over `count`, neighbors sharing `overlap`; one window if all frames fit into it.

    tail: of the last window, "short" (what is left, at least overlap + 1 frames) or "shift" (full length, slid back,
    and a window that would start no earlier is left out). Raises ValueError for an overlap as long as the window.
    """
    if not 0 <= overlap < size:
        raise ValueError(f"an overlap of {overlap} frames does not fit windows of {size}")
    if count <= size:
        return (Window(0, count),)
    starts = range(0, count - overlap, size - overlap)
    if tail == "short":
        return tuple(Window(start, min(start + size, count)) for start in starts)
    last = count - size
    return (*(Window(start, start + size) for start in starts if start < last), Window(last, count))


def fade_in(length: int) -> np.ndarray:
    """(length,) weight of the later window over shared frames, from 0 to 1, both included."""
    return np.linspace(0.0, 1.0, length)


def merge(merged, windows: tuple[Window, ...], k: int, new, kind: str) -> None:
    """Write window k into merged (T,...), in place, after all windows before it.

    new: (n,...), an array or a tensor as merged is. kind: what becomes of the frames it shares with the window before,
    "crossfade" (shared by all of their length) or "cut" (they stay as they are).
    """
    start, end = windows[k]
    shared = windows[k - 1].end - start if k else 0
    if kind == "crossfade":
        for index, weight in enumerate(fade_in(shared).tolist()):
            merged[start + index] = (1.0 - weight) * merged[start + index] + weight * new[index]
    merged[start + shared:end] = new[shared:]


def shares(windows: tuple[Window, ...], count: int, kind: str) -> np.ndarray:
    """(T,K): how much of each frame comes from each window, once all are merged. Every row sums to 1."""
    merged = np.zeros((count, len(windows)))
    for k, (start, end) in enumerate(windows):
        merge(merged, windows, k, np.tile(np.eye(len(windows))[k], (end - start, 1)), kind)
    return merged


def settled(windows: tuple[Window, ...], k: int, count: int) -> int:
    """Frames below it are final once windows 0 to k are merged."""
    return windows[k + 1].start if k + 1 < len(windows) else count


def first_window_of(windows: tuple[Window, ...], count: int) -> np.ndarray:
    """(T,) index of the first window that holds each frame."""
    ends = [window.end for window in windows]
    return np.searchsorted(ends, np.arange(count), side="right")
