"""What was made of the frames around the one at hand, so that it is not made for each of them again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class FrameWindow(Generic[Key, Value]):
    """Views, features, flow fields, ... by frame or by pair of frames; the `capacity` most recently used stay.

    What was let go is made again when it is asked for, so whoever makes it has to make the same every time. Several
    threads may ask: one of them makes it, the others wait for it. What is made must not need itself.
    """

    def __init__(self, capacity: int):
        if capacity < 1:
            raise ValueError(f"a window has room for one or more, got {capacity}")
        self._capacity = capacity
        self._kept: OrderedDict[Key, Future[Value]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        """What is kept under this key, or else what make gives, which is kept from now on."""
        with self._lock:
            known = self._kept.get(key)
            value = known or self._added(key)
            self._kept.move_to_end(key)
        if known is None:
            self._fill(key, value, make)
        return value.result()

    def __contains__(self, key: Key) -> bool:
        """Whether nobody has to make it any more."""
        return key in self._kept

    def forget(self, is_past: Callable[[Key], bool]) -> None:
        """Let go of what nobody will ask for any more."""
        with self._lock:
            for key in [key for key in self._kept if is_past(key)]:
                del self._kept[key]

    def _added(self, key: Key) -> Future[Value]:
        """Room for what will be made."""
        self._kept[key] = Future()
        if len(self._kept) > self._capacity:
            self._kept.popitem(last=False)
        return self._kept[key]

    def _fill(self, key: Key, value: Future[Value], make: Callable[[], Value]) -> None:
        """A failure is told to all who wait, and not kept."""
        try:
            value.set_result(make())
        except BaseException as error:  # noqa: BLE001 - told to whoever asked, as it is
            with self._lock:
                if self._kept.get(key) is value:
                    del self._kept[key]
            value.set_exception(error)


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
