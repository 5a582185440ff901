"""The engine's report as events of a job folder."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from ..contract import (
    WARNING_CODES,
    Event,
    JobFolder,
    ResultWarning,
    StereoDiffError,
    WarningList,
    shortened,
    valid_shots,
)
from ..contract.redaction import redact
from ..report import Report
from .picture_so_far import PictureSoFar

EVENTS_PER_SECOND = 5.0


class EventReport(Report):
    """Writes what the engine reports as events of the job folder, and keeps warnings and times for the result."""

    def __init__(self, folder: JobFolder, watch: Callable[[Event], None] | None = None,
                 picture: PictureSoFar | None = None):
        """picture: of depth, to be renewed meanwhile; None: there is none."""
        self._picture = picture
        self._warnings = WarningList()
        self._folder = folder
        self._watch = watch
        self._stage: str | None = None
        self._total = 0
        self._stage_began_s = 0.0
        self._last_progress_s = 0.0
        self._timings_s: dict[str, float] = {}
        self._steps = 0

    @property
    def warnings(self) -> tuple[ResultWarning, ...]:
        """The first of each, as many as a result may have."""
        return self._warnings.kept

    def steps(self) -> int:
        """How often anything was reported so far, written or not."""
        return self._steps

    def started(self, plan: tuple[tuple[str, float], ...]) -> None:
        self._write("started", pid=os.getpid(), plan=plan)

    def stage(self, stage: str, total: int) -> None:
        self._close_stage()
        self._stage, self._total, self._stage_began_s = stage, int(total), time.monotonic()
        self._write("stage", stage=stage, total=int(total))

    def progress(self, done: int) -> None:
        """At most EVENTS_PER_SECOND are written, but always a stage's last."""
        self._steps += 1
        now = time.monotonic()
        if now - self._last_progress_s < 1.0 / EVENTS_PER_SECOND and done < self._total:
            return
        self._last_progress_s = now
        self._write("progress", stage=self._stage, done=int(done), total=self._total)

    def show(self, look: Callable[[], tuple]) -> None:
        """As often as the picture wants to be renewed."""
        if self._picture is not None and self._picture.renew(look):
            self._write("picture")

    def note(self, message: str) -> None:
        self._write("note", message=shortened(redact(message)))

    def warn(self, code: str, message: str) -> None:
        if code not in WARNING_CODES:
            raise ValueError(f"unknown warning code {code!r}")
        message = redact(message)
        if self._warnings.add(code, message):
            self._write("warning", code=code, message=shortened(message))

    def failed(self, error: StereoDiffError) -> None:
        self._write("failed", code=error.code, message=error.message, shots=valid_shots(error.shots) or None)

    def finished(self) -> None:
        self._write("finished")

    def timings_s(self) -> dict[str, float]:
        """Seconds spent in each stage so far, by the clock on the wall."""
        self._close_stage()
        return {stage: round(seconds, 3) for stage, seconds in self._timings_s.items()}

    def _close_stage(self) -> None:
        now = time.monotonic()
        if self._stage is not None:
            spent = now - self._stage_began_s
            self._timings_s[self._stage] = self._timings_s.get(self._stage, 0.0) + spent
        self._stage_began_s = now

    def _write(self, kind: str, **values) -> None:
        self._steps += 1
        event = Event(kind, time.time(), **values)
        self._folder.append_event(event)
        if self._watch is not None:
            self._watch(event)
