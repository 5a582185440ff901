"""The engine's doctor, asked from Blender's side: a process of its own, and a thread that waits for it. No bpy."""

from __future__ import annotations

import contextlib
import json
import logging
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import jobs
from .engine.contract import Health, StereoDiffError
from .engine.models.cards import read_card
from .engine.models.records import model_folder
from .installation import Problem, problem_from

TIMEOUT_S = 300.0
"""Longer than the doctor's own limits together."""
FAREWELL_S = 5.0
LEARNED_ENGINES = ("monst3r", "depthcrafter")
WEIGHTS = ("*.safetensors", "*.pth")
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Question:
    """What is to be looked at. python: the engine's interpreter, or None if problem says why there is none."""

    python: Path | None
    problem: Problem | None
    extension_root: Path
    jobs_folder: Path
    models_folder: Path


@dataclass(frozen=True)
class Checked:
    """What was found.

    health: None if the doctor could not be asked, for the reason in problem. weights: learned engines that have any.
    """

    health: Health | None = None
    problem: Problem | None = None
    weights: frozenset[str] = frozenset()


def ask(question: Question) -> Checked:
    """Everything that panels may say before a run. Takes seconds; never raises."""
    weights = frozenset(engine for engine in LEARNED_ENGINES if _has_readable_weights(question.models_folder, engine))
    if question.python is None:
        return Checked(problem=question.problem, weights=weights)
    try:
        health = ask_doctor(question.python, question.extension_root, question.jobs_folder, question.models_folder)
    except StereoDiffError as error:
        return Checked(problem=problem_from(error), weights=weights)
    return Checked(health, weights=weights)


def has_weights(models_folder: Path, engine: str) -> bool:
    """Whether a learned engine has any weights there, by the rule by which the engine lets a job in.

    Raises StereoDiffError "model_record_invalid" or "model_card_invalid".
    """
    folder = weights_folder(models_folder, engine)
    return any(path.is_file() for pattern in WEIGHTS for path in folder.rglob(pattern))


def weights_folder(models_folder: Path, engine: str) -> Path:
    """Where a learned engine's weights are, or belong. Raises as has_weights."""
    return model_folder(models_folder, read_card(engine))


def _has_readable_weights(models_folder: Path, engine: str) -> bool:
    try:
        return has_weights(models_folder, engine)
    except StereoDiffError:  # the doctor and the solve say so
        return False


def ask_doctor(python: Path, extension_root: Path, jobs_folder: Path, models_folder: Path,
               timeout_s: float = TIMEOUT_S) -> Health:
    """What the engine's doctor says. Raises StereoDiffError "runtime_broken" if it cannot be asked."""
    command = [str(python), "-s", "-m", jobs.WORKER_MODULE, "doctor", "--json", "--jobs", str(jobs_folder),
               "--models", str(models_folder)]
    output, last_words = _run(command, jobs.worker_environment(extension_root), timeout_s)
    try:
        answer = json.loads(output)
    except ValueError as error:
        raise StereoDiffError("runtime_broken", f"{python} does not work: {last_words}.") from error
    return Health.from_json(answer)


def _run(command: list[str], environment: dict[str, str], timeout_s: float) -> tuple[str, str]:
    """Output, and the last line of the errors, or how it ended. Raises StereoDiffError "runtime_broken"."""
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   text=True, encoding="utf-8", errors="replace", env=environment, **jobs.own_group())
    except OSError as error:
        raise StereoDiffError("runtime_broken", f"{command[0]} does not start: {error.strerror or error}.") from error
    try:
        output, errors = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired as error:
        jobs.end_process_tree(process.pid, force=True)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=FAREWELL_S)
        raise StereoDiffError("runtime_broken", f"{command[0]} gave no answer within {timeout_s:.0f} s.") from error
    return output, (errors.strip().splitlines() or [jobs.describe_exit(process.returncode)])[-1].strip(". ")


class Checkup:
    """One question being answered in a thread, which never touches bpy."""

    def __init__(self, question: Question, answer: Callable[[Question], Checked] = ask):
        self.question = question
        self._checked: Checked | None = None
        self._thread = threading.Thread(target=self._run, args=(answer,), daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    @property
    def checked(self) -> Checked | None:
        """None while it is running."""
        return None if self.is_running else self._checked

    def _run(self, answer: Callable[[Question], Checked]) -> None:
        try:
            self._checked = answer(self.question)
        except Exception as error:  # A thread has no caller: whatever it was, the panel has to say it.
            logger.exception("The checkup failed")
            self._checked = Checked(problem=problem_from(error))
