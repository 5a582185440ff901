"""Units of work, such as frames, done side by side on several cores, with the same bytes as one after the other.

Threads, not processes: what a frame costs is spent inside NumPy and OpenCV, which let other threads run meanwhile, and
nothing has to be carried from one to the other. A unit must neither change what others read, nor depend on which of
them was done before; what is handed out comes in order.
"""

from __future__ import annotations

import contextvars
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from typing import TypeVar

from .contract.failures import is_memory_error

MAX_CORES = 64
"""Beyond, threads wait for one another's Python more than they work."""
NICENESS, BELOW_NORMAL_PRIORITY = 10, 0x4000
"""What other programs are preferred by, as POSIX counts it, and as Windows names it."""

__all__ = ["MAX_CORES", "ONE_CORE", "Cores", "available_cores", "step_back"]

Unit = TypeVar("Unit")
Result = TypeVar("Result")

_is_within: contextvars.ContextVar[bool] = contextvars.ContextVar("is within a unit of work", default=False)


class Cores:
    """How many units are worked on at once. By itself: one.

    A unit that runs out of memory is done again, alone, before it is given up.
    """

    def __init__(self, count: int = 1):
        """count: >= 1; ValueError otherwise."""
        if count < 1:
            raise ValueError(f"work needs a core, got {count}")
        self.count = min(count, MAX_CORES)

    @classmethod
    def asked(cls, count: int) -> Cores:
        """So many; 0: all that this process may run on; -1: all but one, which stays for other programs, and so on. Of
        two, none is left: with one the work would take twice as long."""
        if count > 0:
            return cls(count)
        there = available_cores()
        return cls(max(there + count, min(there, 2)))

    def fewer(self, most: int) -> Cores:
        """No more than so many, but one at least."""
        return Cores(min(self.count, max(most, 1)))

    def map(self, work: Callable[[Unit], Result], units: Iterable[Unit]) -> Iterator[Result]:
        """What work gives for each of the units.

        Parameters
        ----------
        work : Callable
            Of a unit; called in threads of its own, in the caller's context.
        units : iterable
            Taken one by one, no more of them ahead of what the caller has taken than there are cores, and one.

        Yields
        ------
        object
            The results, in the order of the units.

        Raises
        ------
        Exception
            That of the first unit, in order, which failed; those after it are not begun.
        """
        if self.count == 1 or _is_within.get():
            yield from map(work, units)
            return
        with _opencv_threads(1), ThreadPoolExecutor(self.count, thread_name_prefix="stereodiff unit") as pool:
            waiting: deque[tuple[Unit, Future[Result]]] = deque()
            try:
                for unit in units:
                    waiting.append((unit, pool.submit(contextvars.copy_context().run, _within, work, unit)))
                    if len(waiting) > self.count:
                        yield _result(work, waiting)
                while waiting:
                    yield _result(work, waiting)
            finally:
                for _, future in waiting:
                    future.cancel()

    @contextmanager
    def in_opencv(self) -> Iterator[None]:
        """What OpenCV is asked for one by one inside this block, it does on so many cores."""
        with _opencv_threads(self.count):
            yield

    def do(self, work: Callable[[Unit], None], units: Iterable[Unit]) -> None:
        """work of each of the units, for what it does.

        Parameters
        ----------
        work : Callable
            Of a unit; as of map.
        units : iterable
            As of map.

        Raises
        ------
        Exception
            As map does.
        """
        deque(self.map(work, units), maxlen=0)


ONE_CORE = Cores()


def available_cores() -> int:
    """How many cores this process may run on.

    Returns
    -------
    int
        >= 1; those of the machine where the system does not tell of the process.
    """
    if hasattr(os, "sched_getaffinity"):
        return max(len(os.sched_getaffinity(0)), 1)
    return os.cpu_count() or 1


def step_back() -> None:
    """Let other programs of this machine go first. What cannot be changed stays as it is."""
    with suppress(OSError, AttributeError):
        if sys.platform == "win32":
            import ctypes
            ctypes.windll.kernel32.SetPriorityClass(ctypes.windll.kernel32.GetCurrentProcess(), BELOW_NORMAL_PRIORITY)
        else:
            os.nice(NICENESS)


def _within(work: Callable[[Unit], Result], unit: Unit) -> Result:
    _is_within.set(True)
    return work(unit)


def _result(work: Callable[[Unit], Result], waiting: deque[tuple[Unit, Future[Result]]]) -> Result:
    """Of the first one that is waited for, which leaves the queue."""
    unit, future = waiting.popleft()
    try:
        return future.result()
    except Exception as error:
        if not is_memory_error(error):
            raise
    wait([other for _, other in waiting])  # what they hold is free then
    return work(unit)


@contextmanager
def _opencv_threads(count: int) -> Iterator[None]:
    """OpenCV's own threads would come on top of ours. Loaded only here: the doctor comes where packages are missing."""
    import cv2
    before = cv2.getNumThreads()
    cv2.setNumThreads(count)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
