"""What tests of jobs under way need: the timer's ticks, and how the jobs stand."""

from __future__ import annotations

import time
from pathlib import Path


def tick_until(session, reached, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end, "it did not come to that"
        session.tick()
        time.sleep(0.02)


def at_work(session, job_id: str) -> None:
    tick_until(session, lambda: session.status().jobs[job_id].status.done == 3)


def states(settings) -> list[str]:
    return [item.state for item in settings.jobs]


def end(session, job_id: str) -> None:
    session.jobs.cancel(job_id)
    tick_until(session, lambda: not session.jobs.is_active(job_id))


def add_cache(folder: str | Path, size: int = 3_000_000) -> Path:
    cache = Path(folder) / "cache"
    (cache / "stereo-0a").mkdir(parents=True)
    (cache / "stereo-0a" / "kept.npy").write_bytes(b"k" * size)
    return cache
