"""The doctor's questions to the probe of the packages, a program of its own that may end or hang at any of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..contract.errors import StereoDiffError
from ..contract.programs import Ended, engine_command, python_environment, run
from .probe import LINE_MARK

EXTENSION_ROOT = Path(__file__).resolve().parents[3]
STEP_TIMEOUT_S = 120.0
"""The first loading of PyTorch from a slow disk takes a minute."""
MAX_HANGS = 2


@dataclass(frozen=True)
class Answer:
    """What a step said: its value, or in error why there is none."""

    value: object = None
    error: str = ""


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
        hangs += bool(ended.stopped)
        if not any(step in said for step in left):  # it cannot even begin
            return answers | dict.fromkeys(left, Answer(error=_why(ended)))
    return answers


def _run_probe(steps: Sequence[str], timeout_s: float) -> tuple[dict[str, Answer], Ended]:
    command = engine_command(sys.executable, *steps, module=f"{__package__}.probe")
    try:
        ended = run(command, timeout_s, environment=python_environment(EXTENSION_ROOT), own_group=False)
    except StereoDiffError as error:
        ended = Ended("", error.message, 1)
    return _answers(ended), ended


def _answers(ended: Ended) -> dict[str, Answer]:
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
        answers[begun] = Answer(error=_why(ended))
    return answers


def _parsed(line: str) -> dict | None:
    """None for what others printed, or a line that was cut off."""
    if not line.startswith(LINE_MARK):
        return None
    try:
        said = json.loads(line[len(LINE_MARK):])
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) and isinstance(said.get("step"), str) else None


def _why(ended: Ended) -> str:
    if ended.stopped:
        return ended.stopped
    how = f"Python ended with status {ended.status}"
    return f"{how}: {ended.last_line}" if ended.last_line else how
