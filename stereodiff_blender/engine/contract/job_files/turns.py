"""Long work in a thread beside Blender, for which Blender's own thread must not wait. Standard library only."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

__all__ = ["taking_turns"]

T = TypeVar("T")
TURN_S = 0.0005
"""Python lets a thread go on for 5 ms while another waits, every time anew: that is felt at each of a panel's lines."""


def taking_turns(items: Iterable[T]) -> Iterator[T]:
    """The items, and between them, every TURN_S, a moment for this program's main thread, unless that is who asks.

    Parameters
    ----------
    items : iterable
        Of anything; taken one by one.

    Yields
    ------
    object
        Each item, in their order.
    """
    if threading.current_thread() is threading.main_thread():
        yield from items
        return
    turn_s = time.perf_counter()
    for item in items:
        yield item
        if time.perf_counter() - turn_s >= TURN_S:
            time.sleep(0)
            turn_s = time.perf_counter()
