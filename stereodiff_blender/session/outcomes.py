"""What finished jobs' results say and show, read beside Blender and put where panels draw it."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from functools import partial

from ..engine.contract import Result
from ..engine.contract.errors import problem_from
from ..jobs.queue import Entry, Queue
from ..jobs.reader_thread import Answer, ReaderThread
from ..jobs.result_looks import ResultSummary, outcome_of, summarize_result
from .steps import keep_going
from .thumbnails import Thumbnails

LOOKS_A_TICK = 2


class Outcomes:
    """Looks at results in a thread; ticks take what has come. An entry's last look is the one that counts."""

    def __init__(self, queue: Queue):
        self.thumbnails = Thumbnails()
        self._queue = queue
        self._results = ReaderThread("results")
        self._looks: deque[Answer] = deque()

    def look_at(self, entry: Entry, result: Result | None = None) -> None:
        """Have a result read for what it says and shows. result: if it was read already; then it says so at once."""
        if result is not None:
            entry.outcome, entry.seen = replace(outcome_of(result), icon_id=_icon_of(entry)), None
        entry.look = object()
        self._results.ask((entry.job_id, entry.look), partial(summarize_result, entry.folder, entry.seen, result))

    def advance(self) -> None:
        """Take a few of the looks that have come: pictures take Blender's own time."""
        self._looks.extend(self._results.answers())
        for _ in range(min(LOOKS_A_TICK, len(self._looks))):
            answer = self._looks.popleft()
            entry = self._queue.find(answer.key[0])
            if entry is not None and entry.look is answer.key[1]:
                keep_going(partial(self._take, entry, answer))

    @property
    def is_busy(self) -> bool:
        return bool(self._looks) or self._results.is_busy

    def close(self) -> None:
        self._results.close()
        self.thumbnails.close()

    def _take(self, entry: Entry, answer: Answer) -> None:
        if answer.error is not None:
            entry.import_problem = problem_from(answer.error)
        elif answer.value is not None:
            found: ResultSummary = answer.value
            icon_id = self.thumbnails.show(entry.job_id, found.picture) if found.picture is not None else 0
            entry.seen, entry.outcome = found.stamp, replace(found.outcome, icon_id=icon_id)


def _icon_of(entry: Entry) -> int:
    return entry.outcome.icon_id if entry.outcome is not None else 0
