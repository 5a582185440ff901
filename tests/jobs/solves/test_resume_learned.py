"""The learned engines broken off and gone on with: a pair, a frame encoded, a window, a frame decoded."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from tiny_jobs import contents, finish, noted, run_until

from stereodiff_blender.engine.contract import ClipSource, Job, Settings
from stereodiff_blender.engine.worker.run import plan_of
from stereodiff_blender.jobs import worker_process as jobs

pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))
from tiny_depthcrafter import write_tiny_depthcrafter
from tiny_monst3r import write_tiny_monst3r

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")]
SETTINGS = Settings("monst3r", "depthcrafter", device="cpu", focal_mm=30.0, sensor_mm=36.0)
FRAMES = 6
STAGES = tuple(stage for stage, _ in plan_of(SETTINGS))


@pytest.fixture
def make(tmp_path, tiny_clip):
    """make(parent) -> folder of a job that was not started. Jobs of other parents share nothing."""
    write_tiny_monst3r(tmp_path / "models" / "monst3r")
    write_tiny_depthcrafter(tmp_path / "models")

    def new(parent: str) -> Path:
        clip, models = ClipSource("movie", str(tiny_clip)), str(tmp_path / "models")
        job = Job("job", clip, 1, FRAMES, SETTINGS, models_folder=models)
        return jobs.create_job(job, tmp_path / parent)

    return new


@pytest.fixture
def run(worker_python, repository):
    started = []

    def begin(folder: Path):
        started.append(jobs.start(folder, worker_python, repository))
        return started[-1]

    yield begin
    for process in started:
        if process.poll() is None:
            jobs.end_process_tree(process.pid, force=True)
        process.wait()


def test_killed_in_every_stage_it_ends_in_the_same_bytes(make, run):
    whole = make("whole")
    finish(run(whole), whole)
    folder, kills = make("broken"), 0
    for stage in STAGES[1:]:
        if not (folder / "result.json").exists():
            kills += run_until(run, folder, (STAGES.index(stage), 0.5), STAGES)
    if not (folder / "result.json").exists():
        finish(run(folder), folder)
    assert kills >= 4
    assert contents(folder) == contents(whole)


def test_pairs_that_were_matched_are_not_matched_again(make, run):
    folder = make("jobs")
    assert run_until(run, folder, (STAGES.index("match"), 0.5), STAGES)
    before = (folder / "events.jsonl").stat().st_size
    finish(run(folder), folder)
    events = jobs.JobFolder(folder).read_events(before)[0]
    first = next(event for event in events if event.kind == "progress" and event.stage == "match")
    assert first.done > 0.4 * first.total and noted(folder, "settled") == FRAMES
