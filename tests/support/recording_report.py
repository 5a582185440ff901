"""The tests' report: it remembers what a stage told, and fails where that makes no sense."""

from __future__ import annotations

from stereodiff_blender.engine.report import Report


class RecordingReport(Report):
    """stages: (stage, total), as they began. steps: (stage, done), as they came; the stage is None before any began.
    warnings: message by code.

    A stage whose progress goes back or past its end, and a warning that comes twice, are an AssertionError.
    """

    def __init__(self):
        self.stages: list[tuple[str, int]] = []
        self.steps: list[tuple[str | None, int]] = []
        self.notes: list[str] = []
        self.warnings: dict[str, str] = {}
        self.done = 0

    def stage(self, stage: str, total: int) -> None:
        self.stages.append((stage, total))
        self.done = 0

    def progress(self, done: int) -> None:
        stage, total = self.stages[-1] if self.stages else (None, done)
        assert self.done <= done <= total, f"{stage}: {done} of {total} after {self.done}"
        self.steps.append((stage, done))
        self.done = done

    def note(self, message: str) -> None:
        self.notes.append(message)

    def warn(self, code: str, message: str) -> None:
        assert code not in self.warnings, f"{code} a second time"
        self.warnings[code] = message
