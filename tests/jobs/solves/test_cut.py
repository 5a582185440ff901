"""A real worker that is given a range with a cut in it."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_jobs import left_in, render_boards, wait_for_end, write_movie

from stereodiff_blender.engine.contract import JobFolder


@pytest.mark.slow
def test_a_cut_ends_the_job_at_once_and_names_the_shots(start, make_job, tmp_path):
    boards = render_boards(6)
    other = [np.ascontiguousarray(255 - frame[::-1, ::-1]) for frame in boards]
    write_movie(tmp_path / "edit.mp4", [*boards, *other])
    job = start(make_job(tmp_path / "edit.mp4", first=2, last=11))
    status = wait_for_end(job)
    assert (status.state, status.code) == ("failed", "cut_in_range")
    assert status.shots == ((2, 6), (7, 11)) and "frames 2-6, 7-11" in status.message
    assert left_in(job.folder.path) == {"job.json", "events.jsonl", "worker.log"}
    events, _ = JobFolder(job.folder.path).read_events()
    assert [event.stage for event in events if event.kind == "stage"] == ["read"]
