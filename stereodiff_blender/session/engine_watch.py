"""The engine as this Blender has it: is there one, its installation, and what the doctor found when he last looked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import bpy

from ..engine.contract import StereoDiffError
from ..engine.contract.errors import Problem, problem_from
from ..health.checkup import Checked, Checkup, Question
from ..health.weights import WeightsManager
from ..runtime.installation import Installation
from .status import Status


class EngineWatch:
    """Looks for the engine whenever it may have changed, and has the doctor look at every one that is found."""

    def __init__(self, find_python: Callable[[], Path], checkup_question: Callable[[], Question] | None,
                 weights: WeightsManager, wake: Callable[[], None]):
        """find_python, checkup_question: see Session. weights: looked at whenever the engine is.

        wake: makes the timer run, which sees to all that is asked for here.
        """
        self._find_python = find_python
        self._checkup_question = checkup_question
        self._weights, self._wake = weights, wake
        self._is_known = False
        self._problem: Problem | None = None
        self._installation: Installation | None = None
        self._checkup: Checkup | None = None
        self._after_checkup: Callable[[Checked], None] | None = None
        self._checked: Checked | None = None
        self._examined_python: Path | None = None

    # -- asked for by operators --

    def python(self) -> Path:
        """The worker's interpreter, for a job that is about to be queued; panels are told anew whether there is one.

        Raises StereoDiffError "runtime_missing" or "runtime_broken".
        """
        self.find_out_again()
        return self._find_python()

    def find_out_again(self) -> None:
        """Find out again, at the next tick, whether a worker could start."""
        self._is_known = False
        self._wake()

    def look_elsewhere(self) -> None:
        """Another Python has been chosen: how the last installation ended tells nothing about it."""
        if not self.is_installing():
            self._installation = None
        self.look_again()

    def look_again(self) -> None:
        """The installation or the weights have changed: find out anew what can run."""
        self._examined_python = None
        self._look_at_weights()
        self.find_out_again()

    def install(self, work: Callable[[Installation], object]) -> None:
        """Do some work on the engine's environment in a thread: see Installation."""
        if self.is_installing():
            raise ValueError("an installation is running")
        self._installation = Installation(work)
        self._wake()

    def cancel_installation(self) -> None:
        """Ask the work on the engine's environment to end, if there is any."""
        if self._installation is not None:
            self._installation.cancel()

    def examine(self, question: Question, then: Callable[[Checked], None] | None = None) -> None:
        """Ask the doctor in a thread, and find out again whether a worker could start, so that both say the same.

        then: told what was found, by the tick after his end.
        """
        if self.is_examining():
            raise ValueError("the doctor is at work")
        self._begin_checkup(question, then)
        self.find_out_again()

    # -- told to everyone --

    def is_installing(self) -> bool:
        return self._installation is not None and self._installation.is_running

    def is_examining(self) -> bool:
        """Until what the doctor found has been told."""
        return self._checkup is not None

    def is_busy(self) -> bool:
        """Whether ticks have anything to do here."""
        return not self._is_known or self.is_installing() or self.is_examining()

    def told_in(self, status: Status) -> Status:
        """status with what panels draw of the engine."""
        return replace(status, installation=self._installation.view() if self._installation else None,
                       engine_is_known=self._is_known, engine_problem=self._problem, checked=self._checked,
                       is_examining=self.is_examining())

    # -- a step of a tick --

    def advance(self) -> None:
        """Look for the engine if it may have changed, and take what the doctor has found."""
        if self.is_installing():
            self._is_known, self._examined_python = False, None  # so that the tick after its end looks again
        elif not self._is_known:
            self._look_for_python()
        self._end_checkup()

    def _look_for_python(self) -> None:
        self._is_known = True
        try:
            python = self._find_python()
        except StereoDiffError as error:
            self._problem = problem_from(error)
        else:
            self._problem = None
            self._check_up_once(python)

    def _check_up_once(self, python: Path) -> None:
        """Once for every engine that is found; a background Blender has nobody to tell."""
        is_wanted = self._checkup_question is not None and not bpy.app.background
        if is_wanted and python != self._examined_python and not self.is_examining():
            self._look_at_weights()
            self._begin_checkup(self._checkup_question())

    def _begin_checkup(self, question: Question, then: Callable[[Checked], None] | None = None) -> None:
        self._checkup, self._after_checkup = Checkup(question), then
        self._examined_python = question.python
        self._wake()

    def _end_checkup(self) -> None:
        if self._checkup is None or self._checkup.is_running:
            return
        then, self._checked = self._after_checkup, self._checkup.checked
        self._checkup = self._after_checkup = None
        if then is not None:
            then(self._checked)

    def _look_at_weights(self) -> None:
        """A background Blender has nobody to tell; its operators look when they need to."""
        if self._checkup_question is not None and not bpy.app.background:
            self._weights.inspect_models(self._checkup_question().models_folder)
