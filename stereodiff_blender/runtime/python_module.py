"""venv and pip at work: a module of a Python is run, listened to, and what it fails of gets a code."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence

from ..engine.contract import StereoDiffError, programs, redact

__all__ = ["PLAINLY", "run_module"]

PLAINLY = ("--disable-pip-version-check", "--no-input", "--progress-bar", "off")
"""For every command of pip: it asks nothing, and what it says are lines."""
_LAST_LINES = 6
_NETWORK_SIGNS = ("Could not fetch", "connection", "Temporary failure", "timed out", "No matching distribution")


def run_module(python: str | os.PathLike, module: str, arguments: Sequence[str | os.PathLike], *,
               on_line: Callable[[str], None] = lambda line: None, on_moment: Callable[[], None] = lambda: None,
               variables: dict[str, str] | None = None) -> None:
    """Run a module in an interpreter to its end.

    on_line: gets every line that it says, without names and keys. on_moment: called ten times a second. An exception of
    either ends the module and all it started. variables: of the environment, besides those of programs.
    Raises StereoDiffError "disk_full", "download_failed" or "runtime_broken", with what it said last.
    """
    last_lines: deque[str] = deque(maxlen=_LAST_LINES)

    def hand_on(line: str) -> None:
        last_lines.append(redact(line.strip()))
        on_line(last_lines[-1])

    status = programs.run_long(programs.python_command(python, "-m", module, *arguments), on_line=hand_on,
                               on_moment=on_moment, environment=programs.python_environment() | (variables or {}))
    if status != 0:
        raise _failure(module, " ".join(line for line in last_lines if line))


def _failure(module: str, words: str) -> StereoDiffError:
    if "No space left on device" in words or "Errno 28" in words:
        return StereoDiffError("disk_full", "The disk filled up during the installation.")
    shown = words[-programs.LONGEST_WORDS:]
    if "THESE PACKAGES DO NOT MATCH THE HASHES" in words or "HASHES" in words:
        return StereoDiffError("runtime_broken", f"A package is not the one that was locked: {shown}")
    if any(sign in words for sign in _NETWORK_SIGNS):
        return StereoDiffError("download_failed", shown)
    return StereoDiffError("runtime_broken", f"{module} failed: {shown}")
