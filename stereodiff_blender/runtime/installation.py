"""The engine's environment being made, looked at or mended beside Blender: a thread, and how far it is. No bpy."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from ..engine.contract.errors import Problem, problem_from

__all__ = ["Installation", "InstallationView"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class InstallationView:
    """The engine's installation, running or just ended. last_line: what it does, or found. fraction: 0..1 of what it
    does at the moment, None where that is not known."""

    is_running: bool
    last_line: str
    problem: Problem | None
    fraction: float | None = None
    is_cancelling: bool = False


class Installation:
    """Work on the engine's environment in a thread, which never touches bpy.

    work: called with this; it tells what it does by say, and ends soon when is_cancelled becomes true.
    """

    def __init__(self, work: Callable[[Installation], object]):
        self._last_line = ""
        self._fraction: float | None = None
        self._problem: Problem | None = None
        self._cancelled = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    @property
    def is_cancelled(self) -> bool:
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Ask it to end; what it has fetched stays for the next time."""
        self._cancelled.set()

    def say(self, line: str, fraction: float | None = None) -> None:
        """What is being done, in one line."""
        self._last_line, self._fraction = line.strip(), fraction

    def view(self) -> InstallationView:
        return InstallationView(self.is_running, self._last_line, self._problem, self._fraction,
                                self.is_running and self.is_cancelled)

    def _run(self, work) -> None:
        try:
            work(self)
        except Exception as error:  # A thread has no caller: whatever it was, the panel has to say it.
            logger.exception("The engine's installation failed")
            self._problem = problem_from(error)
