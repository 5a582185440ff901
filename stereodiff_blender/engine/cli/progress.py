"""What a solve tells on a terminal while it runs."""

from __future__ import annotations

import sys

from ..contract import STAGE_LABELS, Event

__all__ = ["ProgressLine"]


class ProgressLine:
    """One line on standard error that says which stage is how far; on a terminal it is rewritten in place."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._is_open = False

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(self, *_exception) -> None:
        if self._is_open:
            sys.stderr.write("\n")

    def show(self, event: Event) -> None:
        """A new line for a stage or a warning; progress only where a line can be rewritten."""
        if event.kind == "stage":
            self.start(STAGE_LABELS[event.stage])
        elif event.kind == "progress":
            self.advance(STAGE_LABELS[event.stage], event.done, event.total)
        elif event.kind in ("note", "warning"):
            self.start(f"Note: {event.message}")

    def start(self, text: str) -> None:
        """A new line."""
        sys.stderr.write(("\n" if self._is_open else "") + text)
        self._is_open = True
        sys.stderr.flush()

    def advance(self, label: str, done: int, total: int) -> None:
        """How far the line's work is."""
        if self._is_terminal:
            sys.stderr.write(f"\r{label:<24} {done} of {total}")
            sys.stderr.flush()
