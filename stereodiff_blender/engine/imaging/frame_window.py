"""What was made of the frames around the one at hand, so that it is not made for each of them again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class FrameWindow(Generic[Key, Value]):
    """Views, features, flow fields, ... by frame or by pair of frames; the `capacity` most recently used stay.

    What was let go is made again when it is asked for, so whoever makes it has to make the same every time.
    """

    def __init__(self, capacity: int):
        if capacity < 1:
            raise ValueError(f"a window has room for one or more, got {capacity}")
        self._capacity = capacity
        self._kept: OrderedDict[Key, Value] = OrderedDict()

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        """What is kept under this key, or else what make gives, which is kept from now on."""
        if key not in self._kept:
            self._kept[key] = make()
            if len(self._kept) > self._capacity:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]

    def __contains__(self, key: Key) -> bool:
        """Whether asking for it costs nothing."""
        return key in self._kept

    def forget(self, is_past: Callable[[Key], bool]) -> None:
        """Let go of what nobody will ask for any more."""
        for key in [key for key in self._kept if is_past(key)]:
            del self._kept[key]


def frames_around(index: int, reach: int, count: int) -> range:
    """The frames of a clip that are no farther than reach from one of them, itself included.

    Parameters
    ----------
    index : int
        The frame in the middle, 0-based.
    reach : int
        In frames, >= 0.
    count : int
        Frames of the clip.

    Returns
    -------
    range
        Indices, ascending.
    """
    return range(max(index - reach, 0), min(index + reach + 1, count))
