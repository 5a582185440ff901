"""How the engine tells what it is doing. The worker turns it into events; alone, it is silent."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Report"]


class Report:
    """Silent report, and the interface of every other.

    Stages are the keys of contract.STAGE_LABELS, warnings the members of contract.WARNING_CODES.
    """

    def stage(self, stage: str, total: int) -> None:
        """A stage begins that has so many units of work (normally frames)."""

    def progress(self, done: int) -> None:
        """So many units of the current stage are done."""

    def show(self, look: Callable[[], tuple]) -> None:
        """A frame's depth is known better than before. look: makes, for looking at, the frame (H,W,3) uint8 and its
        depth (H,W) so far, 0 where nothing is known yet; it is called at once or not at all.
        """

    def note(self, message: str) -> None:
        """What is about to be done, one sentence in plain words; nothing is wrong."""

    def warn(self, code: str, message: str) -> None:
        """Something the artist should know; one sentence in plain words."""
