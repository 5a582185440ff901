"""The same job on one core and on many: the same bytes, also when it is killed on some and gone on with on others."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_jobs import LENS, STAGES, contents, finish, kill, run_until

from stereodiff_blender.engine.contract import ClipSource, Job, JobFolder, Settings
from stereodiff_blender.jobs import worker_process as jobs

FRAMES = 6
PLATE_DEPTH = {"quality": "draft", "depth_size": "plate", "max_side_px": 96, **LENS}


@pytest.fixture
def begin(tmp_path, worker_python, repository, tiny_clip) -> Callable[..., Path]:
    """begin(parent) -> folder of a new job; begin.on(folder, cores) -> its worker, which no test leaves behind."""
    started = []

    def make(parent: str) -> Path:
        job = Job("job", ClipSource("movie", str(tiny_clip)), 1, FRAMES, Settings(**PLATE_DEPTH))
        return jobs.create_job(job, tmp_path / parent)

    def on(folder: Path, cores: int):
        started.append(jobs.start(folder, worker_python, repository, cores=cores))
        return started[-1]

    make.on = on
    yield make
    for process in started:
        kill(process)


@pytest.mark.slow
def test_the_number_of_cores_changes_nothing(begin):
    """Seven are more than the clip has frames."""
    found = []
    for cores in (1, 2, 7):
        folder = begin(f"on_{cores}")
        finish(begin.on(folder, cores), folder)
        found.append(contents(folder))
    assert any("plate_depth" in name for name in found[0])
    assert found[0] == found[1] == found[2]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_what_was_begun_on_many_cores_is_gone_on_with_on_another_number(begin):
    alone, folder = begin("alone"), begin("killed")
    finish(begin.on(alone, 1), alone)
    kills = 0
    for cores, stage in zip((7, 2, 3, 1), ("depth", "borders", "refine", "write"), strict=True):
        place = STAGES.index(stage), 0.4
        kills += not JobFolder(folder).result_file.exists() and run_until(
            lambda where, cores=cores: begin.on(where, cores), folder, place)
    finish(begin.on(folder, 7), folder)
    assert kills >= 2
    assert contents(folder) == contents(alone)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "getpriority"), reason="this system does not tell a priority")
def test_a_worker_lets_blender_go_first(begin):
    folder = begin("jobs")
    process, own = begin.on(folder, 1), os.getpriority(os.PRIO_PROCESS, 0)
    lowest = own
    while process.poll() is None and lowest <= own:
        lowest = max(lowest, os.getpriority(os.PRIO_PROCESS, process.pid))
        time.sleep(0.01)
    assert lowest > own
