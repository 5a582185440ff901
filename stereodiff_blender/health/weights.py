"""The models' files, as Blender follows them: what there is of each, and what is being fetched or verified. No bpy.

Fetching and verifying are done by the engine's weights command, a process of its own. It ends with this Blender; what
it has fetched is gone on with the next time.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, replace
from pathlib import Path

from ..engine.contract import StereoDiffError, programs, user_folders
from ..engine.contract.errors import Problem, problem_from
from ..engine.weights.cards import ModelCard, read_cards
from ..engine.weights.events import WeightsEvent, parse_line
from ..engine.weights.licences import acceptance
from ..engine.weights.records import ModelState, inspect_model

__all__ = ["ModelView", "WeightsManager", "WeightsStatus", "WeightsTaskView"]

VERBS = ("get", "verify", "use")
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class WeightsTaskView:
    """A weights command, running or just ended. verb: one of VERBS. step: in words. done, total: bytes, 0 if not known.

    problem: why it failed. message: how it ended well. is_cancelled: somebody ended it.
    """

    verb: str
    is_running: bool = True
    step: str = ""
    done: int = 0
    total: int = 0
    message: str = ""
    problem: Problem | None = None
    is_cancelled: bool = False

    @property
    def fraction(self) -> float:
        return min(self.done / self.total, 1.0) if self.total > 0 else 0.0


@dataclass(frozen=True)
class ModelView:
    """One model for drawing. state: None if it could not be looked at, for the reason in problem. accepted_on: ISO date
    on which its license was accepted, or "". task: the last one of this session."""

    card: ModelCard
    state: ModelState | None
    problem: Problem | None
    accepted_on: str
    task: WeightsTaskView | None = None


@dataclass(frozen=True)
class WeightsStatus:
    """models: every card's, () before the first look. problem: why the cards cannot be read."""

    models: tuple[ModelView, ...] = ()
    problem: Problem | None = None
    is_looking: bool = False

    def view(self, model: str) -> ModelView | None:
        return next((view for view in self.models if view.card.model == model), None)


class WeightsManager:
    """Everything about weights in this Blender. Called from the main thread only; nothing here blocks."""

    def __init__(self):
        self._tasks: dict[str, WeightsTask] = {}
        self._status = WeightsStatus()
        self._inspection: _Inspection | None = None
        self._next_folder: Path | None = None

    def inspect_models(self, models_folder: Path) -> None:
        """Find out in a thread what there is. Asked again meanwhile, it looks again afterwards."""
        if self._inspection is None:
            self._inspection = _Inspection(models_folder)
        else:
            self._next_folder = models_folder

    def begin(self, model: str, verb: str, *options: str, python: Path, extension_root: Path,
              models_folder: Path) -> None:
        """Start the engine's weights command for a model. Raises StereoDiffError "download_running" or
        "runtime_broken"."""
        if self.is_at_work(model):
            raise StereoDiffError("download_running", "The model's files are being worked on in this Blender.")
        command = programs.engine_command(python, "weights", verb, model, *options, "--models", models_folder,
                                          "--json-events")
        self._tasks[model] = WeightsTask(verb, command, programs.python_environment(extension_root))

    def cancel(self, model: str) -> None:
        if model in self._tasks:
            self._tasks[model].cancel()

    def cancel_all(self) -> None:
        for task in self._tasks.values():
            task.cancel()

    def is_at_work(self, model: str) -> bool:
        return model in self._tasks and self._tasks[model].view.is_running

    def is_busy(self) -> bool:
        """Until the end of everything has been taken note of."""
        return self._inspection is not None or any(not task.is_told for task in self._tasks.values())

    def advance(self) -> bool:
        """One step, at a tick. Returns whether a task has ended since, so that what was known is old."""
        if self._inspection is not None and not self._inspection.is_running:
            self._status, self._inspection = self._inspection.found, None
            if self._next_folder is not None:
                self._inspection, self._next_folder = _Inspection(self._next_folder), None
        ended = [task for task in self._tasks.values() if not task.view.is_running and not task.is_told]
        for task in ended:
            task.is_told = True
        return bool(ended)

    def task(self, model: str) -> WeightsTaskView | None:
        """The last one of this session."""
        return self._tasks[model].view if model in self._tasks else None

    def status(self) -> WeightsStatus:
        """What panels draw; no disk."""
        views = tuple(replace(view, task=self.task(view.card.model)) for view in self._status.models)
        return replace(self._status, models=views, is_looking=self._inspection is not None)


# --- Looking ---------------------------------------------------------------------------------------------------

class _Inspection:
    """One look in a thread: a models folder may be on a network that takes its time."""

    def __init__(self, models_folder: Path):
        self.found = WeightsStatus()
        self._thread = threading.Thread(target=self._run, args=(models_folder,), daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    def _run(self, models_folder: Path) -> None:
        try:
            self.found = WeightsStatus(tuple(_view_of(models_folder, card) for card in read_cards()))
        except Exception as error:  # A thread has no caller: whatever it was, the preferences have to say it.
            logger.exception("The weights cannot be looked at")
            self.found = WeightsStatus(problem=problem_from(error))


def _view_of(models_folder: Path, card: ModelCard) -> ModelView:
    accepted = acceptance(user_folders.user_folder(), card)
    state = problem = None
    try:
        state = inspect_model(models_folder, card)
    except StereoDiffError as error:
        problem = problem_from(error)
    return ModelView(card, state, problem, accepted.date if accepted else "")


# --- Tasks -----------------------------------------------------------------------------------------------------

class WeightsTask:
    """A weights command as a process, and a thread that listens to it. view: as of now. is_told: for the manager."""

    def __init__(self, verb: str, command: list[str], environment: dict[str, str]):
        """Raises StereoDiffError "runtime_broken"."""
        self.view, self.is_told = WeightsTaskView(verb), False
        self._last_words = ""
        self._process = programs.start(command, environment=environment)
        threading.Thread(target=self._listen, daemon=True).start()

    def cancel(self) -> None:
        """End it at once; half a file is safe however it ends."""
        if self.view.is_running:
            self.view = replace(self.view, is_cancelled=True)
            programs.end_process_tree(self._process.pid, force=True)

    def _listen(self) -> None:
        with self._process as process:
            for line in programs.lines_of(process):
                self._hear(line)
        self._end(process.returncode)

    def _hear(self, line: str) -> None:
        event = parse_line(line)
        if event is not None:
            self._take(event)
        elif line.strip():
            self._last_words = line.strip()[:programs.LONGEST_WORDS]

    def _take(self, event: WeightsEvent) -> None:
        if event.kind == "failed":
            self.view = replace(self.view, problem=Problem(event.code, event.message))
        elif event.kind == "finished":
            self.view = replace(self.view, message=event.message)
        else:
            self.view = replace(self.view, step=event.step, done=event.done, total=event.total)

    def _end(self, status: int) -> None:
        view = self.view
        if not (view.is_cancelled or view.problem or view.message):
            words = f"The engine {programs.describe_exit(status)}. {self._last_words}".strip()
            view = replace(view, problem=problem_from(StereoDiffError("worker_died", words)))
        elif view.is_cancelled:
            view = replace(view, problem=None)
        self.view = replace(view, is_running=False)
