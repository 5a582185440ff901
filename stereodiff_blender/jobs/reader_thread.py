"""Reading beside Blender: disks are looked at in a thread, so that Blender's own never waits for one. No bpy."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from ..engine.contract import StereoDiffError

__all__ = ["Answer", "ReaderThread", "read_beside"]

T = TypeVar("T")
Key = TypeVar("Key", bound=Hashable)
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer(Generic[Key, T]):
    """What reading has given: a value, or an error in its place."""

    key: Key
    value: T | None = None
    error: Exception | None = None


class ReaderThread(Generic[Key, T]):
    """Reads one thing after the other in a thread. All methods are for one and the same other thread, and never wait.

    What does not come back in time (a share that is gone) is answered with StereoDiffError "disk_silent" and keeps
    nobody else waiting: the others are read in a new thread. Should it come after all, that is told, too.
    """

    MOST_HUNG = 8
    """So many threads may hang; then the rest has to wait for one of them."""

    def __init__(self, name: str, patience_s: float = 20.0):
        self._name = name
        self.patience_s = patience_s
        self._asked: set[Key] = set()
        self._silent: set[Key] = set()
        self._waiting: queue.SimpleQueue = queue.SimpleQueue()
        self._answers: deque[Answer[Key, T]] = deque()
        self._reader: _Reader[Key, T] | None = None

    def ask(self, key: Key, read: Callable[[], T]) -> bool:
        """Have something read. Whether it will be: not while the same key is being read already."""
        if key in self._asked:
            return False
        self._asked.add(key)
        self._waiting.put((key, read))
        if self._reader is None:
            self._reader = _Reader(self._name, self._waiting, self._answers)
        return True

    def answers(self) -> list[Answer[Key, T]]:
        """What has come since this was last called."""
        came = [self._answers.popleft() for _ in range(len(self._answers))]
        self._asked.difference_update(answer.key for answer in came)
        self._silent.difference_update(answer.key for answer in came)
        return came + self._given_up()

    @property
    def is_busy(self) -> bool:
        """Whether answers are to be expected."""
        return len(self._asked) > len(self._silent)

    def is_asked(self, key: Key) -> bool:
        return key in self._asked

    def close(self) -> None:
        """Read nothing more. What is being read comes to its end."""
        if self._reader is not None:
            self._waiting.put(None)
            self._reader = None

    def _given_up(self) -> list[Answer[Key, T]]:
        reader = self._reader
        key = reader.hangs_at(self.patience_s) if reader is not None else None
        if reader is None or key is None or len(self._silent) >= self.MOST_HUNG:
            return []
        self._silent.add(key)
        reader.is_last = True
        self._reader = _Reader(self._name, self._waiting, self._answers)
        return [Answer(key, error=_silent(self.patience_s))]


class _Reader(Generic[Key, T]):
    """One thread of reading. is_last: what it reads just now is the last."""

    def __init__(self, name: str, waiting: queue.SimpleQueue, answers: deque[Answer[Key, T]]):
        self.is_last = False
        self._waiting, self._answers = waiting, answers
        self._reading: tuple[Key, float] | None = None
        threading.Thread(target=self._read, name=name, daemon=True).start()

    def hangs_at(self, patience_s: float) -> Key | None:
        """The key of what it reads for longer than that."""
        reading = self._reading
        return reading[0] if reading is not None and time.monotonic() - reading[1] > patience_s else None

    def _read(self) -> None:
        while not self.is_last and (asked := self._waiting.get()) is not None:
            key, read = asked
            self._reading = key, time.monotonic()
            answer = _answer(key, read)
            self._reading = None
            self._answers.append(answer)
            del asked, read, answer  # what was read may be large, and the next may be long in coming


def _answer(key: Key, read: Callable[[], T]) -> Answer[Key, T]:
    try:
        return Answer(key, read())
    except StereoDiffError as error:
        return Answer(key, error=_bare(error))
    except Exception as error:  # A thread has no caller: whatever it was, it is the answer.
        logger.exception("Reading beside Blender failed")
        return Answer(key, error=_bare(error))


def _bare(error: Exception) -> Exception:
    """Without what led to it: that holds on to all that was read, and letting go of it takes Blender's thread a while.
    """
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def read_beside(read: Callable[[], T], patience_s: float = 60.0) -> T:
    """Read something in a thread and wait for it, though not for ever.

    Parameters
    ----------
    read : Callable
        Called once, without arguments, in the thread.
    patience_s : float
        How long to wait at most, in seconds.

    Returns
    -------
    object
        What read gives.

    Raises
    ------
    StereoDiffError
        "disk_silent" if nothing came in time.
    Exception
        What read raises.
    """
    answers: queue.SimpleQueue = queue.SimpleQueue()
    threading.Thread(target=lambda: answers.put(_answer(None, read)), name="reading", daemon=True).start()
    try:
        answer = answers.get(timeout=patience_s)
    except queue.Empty:
        raise _silent(patience_s) from None
    if answer.error is not None:
        raise answer.error
    return answer.value


def _silent(patience_s: float) -> StereoDiffError:
    return StereoDiffError("disk_silent", f"There was no answer for {patience_s:.0f} s.")
