"""What is said meanwhile: the lines of events.jsonl."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from .errors import shortened
from .job import MAX_FRAME
from .result import ResultWarning

EVENT_KINDS = ("started", "stage", "progress", "picture", "note", "warning", "failed", "finished")
MOST_WARNINGS = 100
MOST_SHOTS = 500


@dataclass(frozen=True)
class Event:
    """One line of events.jsonl.

    started: pid, plan = ((stage, share of the expected time), ...) in order.   stage: stage, total units.
    progress: stage, done, total.   picture: there is a new one of depth so far.
    note: message.   warning, failed: code, message.   finished: nothing more.
    shots: of a failure for a cut, the first and last clip frame of each shot.
    time_s: seconds since the epoch.
    """

    kind: str
    time_s: float
    pid: int | None = None
    plan: tuple[tuple[str, float], ...] | None = None
    stage: str | None = None
    done: int | None = None
    total: int | None = None
    code: str | None = None
    message: str | None = None
    shots: tuple[tuple[int, int], ...] | None = None


def valid_shots(shots: Iterable) -> tuple[tuple[int, int], ...]:
    """Those that are frame ranges, MOST_SHOTS at most: a file may name anything.

    Parameters
    ----------
    shots : iterable of (int, int)
        First and last clip frame of each shot, both included.

    Returns
    -------
    tuple of (int, int)
        Those with 1 <= first <= last <= MAX_FRAME, in their order.
    """
    return tuple((first, last) for first, last in shots if 1 <= first <= last <= MAX_FRAME)[:MOST_SHOTS]


class WarningList:
    """Warnings, each different one once, in the order in which they came: the first MOST_WARNINGS, and how many others.
    """

    def __init__(self, warnings: Iterable[ResultWarning] = ()):
        self.others = 0
        self._kept: dict[ResultWarning, None] = {}
        for warning in warnings:
            self.add(warning.code, warning.message)

    @property
    def kept(self) -> tuple[ResultWarning, ...]:
        return tuple(self._kept)

    def add(self, code: str, message: str) -> bool:
        """Whether it is one of the first, and new."""
        warning = ResultWarning(shortened(code), shortened(message))
        if warning in self._kept:
            return False
        if len(self._kept) == MOST_WARNINGS:
            self.others += 1
            return False
        self._kept[warning] = None
        return True


PROGRESS_TOLD = re.compile(rb"^idle ([0-9]{1,9}) s, work ([0-9]{1,9}) s$", re.MULTILINE)
"""In a heartbeat file: for how long there was no progress, and how much a processor worked meanwhile."""

STAGE_LABELS = {
    "read": "Reading frames",
    "match": "Matching frames",
    "track": "Tracking points",
    "solve": "Solving the camera",
    "depth": "Measuring depth",
    "motion": "Finding what moves",
    "borders": "Settling borders",
    "edges": "Sharpening borders",  # in jobs of earlier versions alone
    "encode": "Encoding frames",
    "refine": "Removing flicker",
    "write": "Writing results",
}
