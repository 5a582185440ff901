"""Programs that the doctor asks, each with a time limit: the probe of the packages, and the graphics driver."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .probe import LINE_MARK

EXTENSION_ROOT = Path(__file__).resolve().parents[3]
STEP_TIMEOUT_S = 120.0
"""The first loading of PyTorch from a slow disk takes a minute."""
MAX_HANGS = 2
FAREWELL_S = 2.0


@dataclass(frozen=True)
class Answer:
    """What a step said: its value, or in error why there is none."""

    value: object = None
    error: str = ""


@dataclass(frozen=True)
class Ended:
    """A program that has ended, by itself or at its time limit. status: None if at the limit."""

    output: str
    last_words: str
    status: int | None


def ask_program(command: Sequence[str | os.PathLike], timeout_s: float, environment: dict | None = None) -> Ended:
    """Run a program to its end, or end it and what it started at the limit. Raises OSError if it does not start."""
    process = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, encoding="utf-8", errors="replace", env=environment,
                               **_own_group())
    try:
        output, errors = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        output, errors = _end(process)
        return Ended(output, _last_line(errors), None)
    return Ended(output, _last_line(errors), process.returncode)


def _own_group() -> dict:
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}


def _end(process: subprocess.Popen) -> tuple[str, str]:
    """What it had said until then. Who holds on to its output even so is not waited for."""
    with contextlib.suppress(OSError):  # it has just ended
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
    try:
        return process.communicate(timeout=FAREWELL_S)
    except subprocess.TimeoutExpired as error:
        return _text(error.stdout), _text(error.stderr)


def _text(said: bytes | str | None) -> str:
    """What an unfinished program said comes undecoded."""
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else said or ""


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1].strip()


# --- The probe -------------------------------------------------------------------------------------------------

def ask_probe(steps: Sequence[str], timeout_s: float = STEP_TIMEOUT_S) -> dict[str, Answer]:
    """Answer of each step. One that ends or hangs the probe is answered with that, and the next probe goes on after it.

    timeout_s: for all steps that one probe gets through. After two that hang, the rest is not tried.
    """
    answers: dict[str, Answer] = {}
    hangs = 0
    while left := [step for step in steps if step not in answers]:
        if hangs == MAX_HANGS:
            return answers | dict.fromkeys(left, Answer(error="not tried, because others gave no answer"))
        said, ended = _run_probe(left, timeout_s)
        answers |= said
        hangs += ended.status is None
        if not any(step in said for step in left):  # it cannot even begin
            return answers | dict.fromkeys(left, Answer(error=_why(ended, timeout_s)))
    return answers


def _run_probe(steps: Sequence[str], timeout_s: float) -> tuple[dict[str, Answer], Ended]:
    command = [sys.executable, "-s", "-m", f"{__package__}.probe", *steps]
    environment = {**os.environ, "PYTHONPATH": str(EXTENSION_ROOT), "PYTHONUTF8": "1"}
    try:
        ended = ask_program(command, timeout_s, environment)
    except OSError as error:
        ended = Ended("", str(error.strerror or error), 1)
    return _answers(ended, timeout_s), ended


def _answers(ended: Ended, timeout_s: float) -> dict[str, Answer]:
    answers: dict[str, Answer] = {}
    begun = None
    for line in ended.output.splitlines():
        said = _parsed(line)
        if said is None:
            continue
        begun = said["step"] if len(said) == 1 else None
        if begun is None:
            answers[said["step"]] = Answer(said.get("value"), said.get("error", ""))
    if begun is not None:
        answers[begun] = Answer(error=_why(ended, timeout_s))
    return answers


def _parsed(line: str) -> dict | None:
    """None for what others printed, or a line that was cut off."""
    if not line.startswith(LINE_MARK):
        return None
    try:
        return json.loads(line[len(LINE_MARK):])
    except ValueError:
        return None


def _why(ended: Ended, timeout_s: float) -> str:
    if ended.status is None:
        return f"no answer within {timeout_s:.0f} s"
    how = f"Python ended with status {ended.status}"
    return f"{how}: {ended.last_words}" if ended.last_words else how
