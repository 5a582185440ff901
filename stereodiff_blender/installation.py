"""The engine's environment being made beside Blender: a thread that runs pip, and how far it is. No bpy."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from .engine.contract import StereoDiffError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Problem:
    """An error code of the contract and the particulars."""

    code: str
    message: str


@dataclass(frozen=True)
class InstallationView:
    """The engine's installation, running or just ended."""

    is_running: bool
    last_line: str
    problem: Problem | None


def problem_from(error: Exception) -> Problem:
    """Any exception as something that can be shown; what is none of ours is an internal error."""
    if isinstance(error, StereoDiffError):
        return Problem(error.code, error.message)
    return Problem("internal_error", f"{type(error).__name__}: {error}")


class Installation:
    """The engine's environment being made in a thread; the thread never touches bpy."""

    def __init__(self, install: Callable[[Callable[[str], None]], object]):
        self._last_line = ""
        self._problem: Problem | None = None
        self._thread = threading.Thread(target=self._run, args=(install,), daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    def view(self) -> InstallationView:
        return InstallationView(self.is_running, self._last_line, self._problem)

    def _run(self, install) -> None:
        try:
            install(self._take_line)
        except Exception as error:  # A thread has no caller: whatever it was, the panel has to say it.
            logger.exception("The engine's installation failed")
            self._problem = problem_from(error)

    def _take_line(self, line: str) -> None:
        if line.strip():
            self._last_line = line.strip()
