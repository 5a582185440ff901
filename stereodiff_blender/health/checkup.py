"""The engine's doctor, asked from Blender's side: a process of its own, and a thread that waits for it. No bpy."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..engine.contract import Health, StereoDiffError, programs
from ..engine.contract.errors import Problem, problem_from
from ..engine.weights.cards import read_card
from ..engine.weights.records import model_folder

__all__ = ["Checked", "Checkup", "Question"]

TIMEOUT_S = 300.0
"""Longer than the doctor's own limits together."""
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
    command = programs.engine_command(python, "doctor", "--json", "--jobs", jobs_folder, "--models", models_folder)
    ended = programs.ask(command, timeout_s, environment=programs.python_environment(extension_root))
    try:
        answer = json.loads(ended.output)
    except (ValueError, RecursionError) as error:
        raise StereoDiffError("runtime_broken", f"{python} does not work: {ended.last_words}.") from error
    return Health.from_json(answer)


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
