"""Whether a worker that lives still works. No bpy."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from ..engine.contract import PROGRESS_TOLD, JobFolder

MAX_BEAT_BYTES = 200


@dataclass(frozen=True)
class Beat:
    """One state of the heartbeat file.

    time_ns: its own. idle_s: for how long the worker has told no progress. work_s: seconds of a processor that it has
    used meanwhile. Both None where it does not say.
    """

    time_ns: int
    idle_s: float | None = None
    work_s: float | None = None


class Watchdog:
    """How long a worker has given no sign (no event, and no beat of its heart) and how long it has made no progress.

    Of the file's time only changes count, against this program's own steady clock, and only time in which this program
    itself was awake: neither a clock that is set nor a computer that slept makes a worker look dead.
    """

    LONGEST_GAP_S = 1.0
    IDLE_AFTER_S = 300.0
    """A worker that makes no progress and does not compute either waits for something that does not come."""
    STALLED_AFTER_S = 1800.0
    """A worker that computes may be at a long unit of work. The longest without a network is a step of the camera's
    solve: 7 s of 48 frames, 266 s of 122 frames on two cores that twenty others shared. A network's may take longer."""
    WORKING_SHARE = 0.01
    """Of one processor's time, used by whoever computes; beating takes less than a hundredth of that."""

    def __init__(self, folder: JobFolder):
        self.silent_s = 0.0
        self.idle_s = 0.0
        self._folder = folder
        self._seen: Beat | None = None
        self._looked_s = time.monotonic()

    def observe(self, has_news: bool) -> None:
        """Take a look. has_news: there is another sign of life."""
        now_s, beat = time.monotonic(), read_beat(self._folder)
        if has_news or beat != self._seen:
            self.silent_s = 0.0
        else:
            self.silent_s += min(now_s - self._looked_s, self.LONGEST_GAP_S)
        self.idle_s = 0.0 if has_news or beat is None or beat.idle_s is None else beat.idle_s
        self._seen, self._looked_s = beat, now_s

    @property
    def is_stalled(self) -> bool:
        """It beats, but does not get on."""
        return self.idle_s >= (self.STALLED_AFTER_S if self.is_working else self.IDLE_AFTER_S)

    @property
    def is_working(self) -> bool:
        """Whether it has computed while it made no progress; true where that is not known."""
        work_s = self._seen.work_s if self._seen is not None else None
        return work_s is None or work_s >= self.WORKING_SHARE * self.idle_s


def read_beat(folder: JobFolder) -> Beat | None:
    """What a job's heartbeat file says now; None where there is none."""
    try:
        with folder.files.open_for_reading(folder.heartbeat_file.name) as stream:
            content, time_ns = stream.read(MAX_BEAT_BYTES), os.fstat(stream.fileno()).st_mtime_ns
    except OSError:
        return None
    told = PROGRESS_TOLD.search(content)
    return Beat(time_ns, float(told[1]), float(told[2])) if told is not None else Beat(time_ns)
