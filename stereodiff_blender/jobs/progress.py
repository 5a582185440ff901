"""What the events of a job add up to: how it stands and how far it is. No bpy, no files."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import ClassVar

from ..engine.contract import ERROR_CODES, Event, ResultWarning, WarningList, shortened, valid_shots

ENDED_STATES = ("finished", "failed", "cancelled", "interrupted")
RESUMABLE_STATES = ("failed", "cancelled", "interrupted")
LONGEST_AGE_S = 366 * 24 * 3600.0
MOST_UNITS = 10 ** 9
MOST_STAGES, MAX_STAGE_NAME = 50, 80


@dataclass(frozen=True)
class JobStatus:
    """A job as one poll saw it.

    state: "waiting", "running", "finished", "failed", "cancelled" or, of a job whose worker was gone when a file was
    opened, "interrupted". stage: a key of contract.STAGE_LABELS or None. done, total: its units. fraction: 0..1 of the
    job's expected time; falls only when the job is resumed. elapsed_s: since it was last started. eta_s: None until a
    rate is known. code, message: why it failed. shots: if for a cut, the first and last clip frame of each shot.
    warnings: the first of them; other_warnings: how many more there were. log_tail: the last lines of worker.log of a
    failed job, else empty. note: what the worker last said of what it does, or what a waiting job waits for.
    is_silent: the worker lives but gives no sign of it, since silent_s. is_stalled: it gives signs, but has made no
    progress since idle_s; is_working: it computes meanwhile. pictures: of depth so far, how many there have been.
    """

    state: str
    stage: str | None = None
    done: int = 0
    total: int = 0
    fraction: float = 0.0
    elapsed_s: float = 0.0
    eta_s: float | None = None
    code: str | None = None
    message: str | None = None
    shots: tuple[tuple[int, int], ...] = ()
    warnings: tuple[ResultWarning, ...] = ()
    other_warnings: int = 0
    log_tail: str = ""
    note: str = ""
    is_silent: bool = False
    silent_s: float = 0.0
    is_stalled: bool = False
    idle_s: float = 0.0
    is_working: bool = True
    pictures: int = 0

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED_STATES

    @property
    def is_stuck(self) -> bool:
        """It may have to be ended and started anew."""
        return self.is_silent or self.is_stalled

    @property
    def can_resume(self) -> bool:
        return self.state in RESUMABLE_STATES


class Progress:
    """What the events have said since the last start, and how far that is along the worker's plan.

    Times are kept on this program's own steady clock, so that a clock that is set meanwhile changes nothing.
    """

    WARM_UP_S = 3.0
    """What is done in the first seconds says nothing about the rate: a resumed job leaps to where it was."""

    def __init__(self) -> None:
        self.pid: int | None = None
        self._started_s: float | None = None
        self._last_s: float | None = None
        self.pictures = 0
        """Goes on when the job is resumed, so that every picture has a number of its own."""
        self._begin()

    def _begin(self) -> None:
        self.plan: tuple[tuple[str, float], ...] = ()
        self.stage: str | None = None
        self.done = self.total = 0
        self.fraction = 0.0
        self._warm_s, self._warm_fraction = self._last_s, 0.0
        self.warnings = WarningList()
        self.note = ""
        self.failure: tuple[str, str, tuple[tuple[int, int], ...]] | None = None
        self.is_finished = False

    def apply_event(self, event: Event) -> None:
        """Account for one event that was just read. A "started" begins anew: the job is being resumed."""
        self._last_s = steady_time(event.time_s)
        apply = self._APPLY.get(event.kind)
        if apply is not None:
            apply(self, event)

    def _apply_started(self, event: Event) -> None:
        self._begin()
        self.pid, self._started_s, self.plan = event.pid, self._last_s, (event.plan or ())[:MOST_STAGES]

    def _apply_progress(self, event: Event) -> None:
        self.stage = shortened(event.stage or "", MAX_STAGE_NAME)
        self.done, self.total = _count(event.done), _count(event.total)
        self.fraction = max(self.fraction, self._planned_fraction())
        if (self._started_s is not None and self._last_s is not None
                and 0.0 <= self._last_s - self._started_s < self.WARM_UP_S):
            self._warm_s, self._warm_fraction = self._last_s, self.fraction

    def _apply_picture(self, event: Event) -> None:
        self.pictures += 1

    def _apply_note(self, event: Event) -> None:
        self.note = shortened(event.message or "")

    def _apply_warning(self, event: Event) -> None:
        self.warnings.add(event.code or "", event.message or "")

    def _apply_failed(self, event: Event) -> None:
        code = event.code if event.code in ERROR_CODES else "internal_error"
        self.failure = (code, shortened(event.message or ""), valid_shots(event.shots or ()))

    def _apply_finished(self, event: Event) -> None:
        self.is_finished, self.fraction = True, 1.0

    _APPLY: ClassVar = {"started": _apply_started, "stage": _apply_progress, "progress": _apply_progress,
                        "picture": _apply_picture,
                        "note": _apply_note, "warning": _apply_warning, "failed": _apply_failed,
                        "finished": _apply_finished}

    def _planned_fraction(self) -> float:
        """Shares of the stages before this one, and this one's share as far as it is done."""
        whole = sum(share for _, share in self.plan)
        before = 0.0
        for stage, share in self.plan:
            if stage == self.stage:
                within = min(self.done / self.total, 1.0) if self.total > 0 else 0.0
                return _within_one((before + share * within) / whole) if whole > 0 else 0.0
            before += share
        return self.fraction

    def elapsed_s(self, *, has_ended: bool = False) -> float:
        """Seconds since the last start, or, of an ended job, from there to its last event; never negative."""
        if self._started_s is None or self._last_s is None:
            return 0.0
        until_s = self._last_s if has_ended else time.monotonic()
        return max(0.0, until_s - self._started_s)

    def eta_s(self) -> float | None:
        """The rest of the plan at the rate measured since the job got going; None while that is no rate."""
        if self._warm_s is None:
            return None
        spent_s, gained = time.monotonic() - self._warm_s, self.fraction - self._warm_fraction
        return spent_s * (1.0 - self.fraction) / gained if spent_s >= 1.0 and gained >= 0.01 else None


def steady_time(time_s: float) -> float:
    """When something with this time stamp happened, on the steady clock; what lies in the future happened just now."""
    age_s = min(max(0.0, time.time() - time_s), LONGEST_AGE_S)
    return time.monotonic() - age_s


def _count(units: int | None) -> int:
    return min(max(0, units or 0), MOST_UNITS)


def _within_one(fraction: float) -> float:
    """Also for what is not a number, which a damaged file can say."""
    return min(max(0.0, fraction), 1.0)
