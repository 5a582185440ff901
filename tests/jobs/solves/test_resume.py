"""A solve that is broken off goes on from its last unit of work, and ends in the bytes of one that was left alone."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_jobs import (
    LENS,
    PATIENCE_S,
    STAGES,
    contents,
    events_after,
    finish,
    kill,
    noted,
    render_boards,
    run_until,
    size_of_events,
    wait_until,
    write_movie,
)

from stereodiff_blender.engine.contract import ClipSource, Job, JobFolder, Settings
from stereodiff_blender.engine.contract.footage_fingerprint import fingerprint
from stereodiff_blender.engine.worker.run import discard_products, plan_of
from stereodiff_blender.jobs import worker_process as jobs

FRAMES = 6
DRAFT = {"quality": "draft", **LENS}
KILLS, SEED = 16, 20261123

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")


@pytest.fixture
def run(worker_python, repository):
    """run(folder) -> the worker's process; whatever still runs after the test is killed."""
    started = []

    def begin(folder: Path) -> subprocess.Popen:
        started.append(jobs.start(folder, worker_python, repository))
        return started[-1]

    yield begin
    for process in started:
        kill(process)


@pytest.fixture
def make(tmp_path, tiny_clip) -> Callable[..., Path]:
    """make(parent, clip=...) -> folder of a job that was not started. Jobs of other parents share nothing."""

    def new(parent: str, clip: Path | None = None, name: str = "job", **settings) -> Path:
        source = ClipSource("movie", str(clip or tiny_clip))
        source = replace(source, fingerprint=fingerprint(source, range(1, FRAMES + 1)))
        job = Job(name, source, 1, FRAMES, Settings(**settings))
        return jobs.create_job(job, tmp_path / parent)

    return new


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, worker_python, repository, tiny_clip) -> dict[str, bytes]:
    job = Job("job", ClipSource("movie", str(tiny_clip)), 1, FRAMES, Settings(**DRAFT))
    folder = jobs.create_job(job, tmp_path_factory.mktemp("undisturbed"))
    finish(jobs.start(folder, worker_python, repository), folder)
    return contents(folder)


# --- Killed ------------------------------------------------------------------------------------------------------

@pytest.mark.slow
def test_killed_at_many_moments_it_ends_in_the_same_bytes(make, run, undisturbed):
    folder, rng = make("jobs", **DRAFT), random.Random(SEED)
    places = sorted((rng.randrange(len(STAGES)), rng.random()) for _ in range(KILLS))
    kills = sum(run_until(run, folder, place) for place in places if not JobFolder(folder).result_file.exists())
    if not JobFolder(folder).result_file.exists():
        finish(run(folder), folder)
    assert kills > KILLS // 2, f"seed {SEED}: only {kills} runs were killed before their end"
    assert contents(folder) == undisturbed, f"seed {SEED}"


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "journal"), [("depth", "survey"), ("borders", "borders_0"), ("refine", "refined_0"),
                                                ("write", "write")])
def test_what_is_done_is_not_done_again(make, run, stage, journal):
    folder = make("jobs", **DRAFT)
    assert run_until(run, folder, (STAGES.index(stage), 0.3))
    done, offset = noted(folder, journal), size_of_events(folder)
    assert done > 0
    finish(run(folder), folder)
    events = [event for event in events_after(folder, offset) if event.kind == "progress"]
    stages = {event.stage for event in events}
    assert stages.isdisjoint(STAGES[1:STAGES.index(stage)]), "a stage that was done ran again"
    begun = min((event.done for event in events if event.stage == stage), default=done + 1)
    assert begun > done or begun == events[-1].total, f"{stage} went on at {begun} instead of {done + 1}"


@pytest.mark.slow
def test_damage_to_what_is_kept_is_noticed_and_mended(make, run, undisturbed):
    """A machine that loses power may leave less than the notes say."""
    folder = make("jobs", **DRAFT)
    assert run_until(run, folder, (STAGES.index("borders"), 0.6))
    for path in folder.glob("cache/stereo-*/*.npy"):
        with open(path, "r+b") as stream:
            stream.seek(path.stat().st_size // 2)
            stream.write(b"\xff\x7f" * 300)
    for path in folder.glob("cache/stereo-*/*.npz"):
        os.truncate(path, path.stat().st_size // 2)
    finish(run(folder), folder)
    assert contents(folder) == undisturbed


# --- Stopped in other ways ---------------------------------------------------------------------------------------

@pytest.mark.slow
def test_asked_to_end_it_keeps_what_it_has(make, run, undisturbed):
    folder = make("jobs", **DRAFT)
    process = run(folder)
    wait_until(lambda: noted(folder, "survey") >= 3 or process.poll() is not None)
    process.terminate()
    assert process.wait(PATIENCE_S) == 143
    done = noted(folder, "survey")
    assert done >= 3 and not (folder / "lock").exists() and not (folder / "heartbeat").exists()
    JobFolder(folder).cancelled_file.touch()
    finish(run(folder), folder)
    assert contents(folder) == undisturbed
    assert not JobFolder(folder).cancelled_file.exists()


@pytest.mark.slow
def test_stopped_and_woken_it_goes_on_as_if_nothing_had_been(make, run, undisturbed):
    folder = make("jobs", **DRAFT)
    process = run(folder)
    wait_until(lambda: noted(folder, "survey") >= 1 or process.poll() is not None)
    os.kill(process.pid, signal.SIGSTOP)
    time.sleep(0.5)
    frozen = (folder / "heartbeat").stat().st_mtime_ns
    time.sleep(2.5)
    assert (folder / "heartbeat").stat().st_mtime_ns == frozen, "a stopped process has no heartbeat"
    os.kill(process.pid, signal.SIGCONT)
    finish(process, folder)
    assert contents(folder) == undisturbed


@pytest.mark.slow
def test_two_workers_cannot_be_at_one_job(make, run, worker_python, repository, undisturbed):
    folder = make("jobs", **DRAFT)
    first = run(folder)
    wait_until(lambda: ((folder / "lock").exists() and noted(folder, "frames") > 0) or first.poll() is not None)
    os.kill(first.pid, signal.SIGSTOP)  # or it might be done before the other has even begun
    command = jobs.worker_command(worker_python, folder)
    second = subprocess.run(command, env=jobs.worker_environment(repository), capture_output=True, text=True)
    os.kill(first.pid, signal.SIGCONT)
    assert second.returncode == 1 and "already working on this job" in second.stderr
    finish(first, folder)
    assert contents(folder) == undisturbed
    assert "failed" not in {event.kind for event in events_after(folder, 0)}


@pytest.mark.slow
def test_too_little_memory_ends_the_run_and_loses_nothing(make, run, worker_python, repository, undisturbed):
    folder = make("jobs", **DRAFT)
    assert run_until(run, folder, (STAGES.index("depth"), 0.2))
    done = noted(folder, "survey")
    limited = f"ulimit -v 500000; exec {' '.join(jobs.worker_command(worker_python, folder))}"
    ended = subprocess.run(["bash", "-c", limited], env=jobs.worker_environment(repository), capture_output=True)
    assert ended.returncode != 0
    assert noted(folder, "survey") >= done
    finish(run(folder), folder)
    assert contents(folder) == undisturbed


@pytest.mark.slow
def test_half_a_line_of_events_does_not_swallow_the_next(make, run):
    folder = make("jobs", **DRAFT)
    assert run_until(run, folder, (STAGES.index("track"), 0.2))
    with open(JobFolder(folder).events_file, "ab") as stream:
        stream.write(b'{"kind": "progr')
    finish(run(folder), folder)
    assert [event.kind for event in events_after(folder, 0)].count("started") == 2


# --- Other footage, other settings -------------------------------------------------------------------------------

@pytest.mark.slow
def test_a_clip_that_is_deleted_after_it_was_read_is_not_missed(make, run, tiny_clip, tmp_path, undisturbed):
    clip = Path(shutil.copy2(tiny_clip, tmp_path / "tiny.mp4"))
    folder = make("jobs", clip, **DRAFT)
    process = run(folder)
    wait_until(lambda: noted(folder, "survey") >= 1 or process.poll() is not None)
    clip.unlink()
    finish(process, folder)
    assert set(contents(folder)) == set(undisturbed)


@pytest.mark.slow
def test_a_clip_that_is_gone_is_asked_for_and_the_work_is_kept(make, run, tiny_clip, tmp_path, undisturbed):
    clip = Path(shutil.copy2(tiny_clip, tmp_path / "tiny.mp4"))
    folder = make("jobs", clip, **DRAFT)
    assert run_until(run, folder, (STAGES.index("depth"), 0.2))
    done = noted(folder, "survey")
    clip.rename(tmp_path / "elsewhere.mp4")
    assert run(folder).wait(PATIENCE_S) == 1
    assert events_after(folder, 0)[-1].code == "clip_missing" and noted(folder, "survey") == done
    (tmp_path / "elsewhere.mp4").rename(clip)
    finish(run(folder), folder)
    assert contents(folder).keys() == undisturbed.keys()


@pytest.mark.slow
def test_a_clip_that_was_changed_is_solved_anew(make, run, tiny_clip, tmp_path):
    clip = Path(shutil.copy2(tiny_clip, tmp_path / "tiny.mp4"))
    folder = make("jobs", clip, **DRAFT)
    assert run_until(run, folder, (STAGES.index("refine"), 0.2))
    write_movie(clip, render_boards(2 * FRAMES)[FRAMES:])
    finish(run(folder), folder)
    fresh = make("fresh", clip, **DRAFT)
    finish(run(fresh), fresh)
    assert contents(folder) == contents(fresh)
    assert [event.message for event in events_after(folder, 0) if event.kind == "note"] == [
        "The footage is not what it was when this job was made. It is solved as it is now."]
    known = [JobFolder(path).read_job().clip.fingerprint for path in (folder, fresh)]
    assert JobFolder(folder).read_result().clip.fingerprint == known[1] != known[0]


@pytest.mark.slow
def test_stage_1_of_other_footage_under_the_same_path_is_not_taken_over(make, run, tiny_clip, tmp_path):
    """Of the same size and time, too."""
    clip = Path(shutil.copy2(tiny_clip, tmp_path / "tiny.mp4"))
    first, before = make("jobs", clip, name="first", **DRAFT), clip.stat()
    finish(run(first), first)
    write_movie(clip, render_boards(2 * FRAMES)[FRAMES:])
    os.truncate(clip, max(clip.stat().st_size, before.st_size))  # what follows the last box is passed over
    os.utime(clip, ns=(before.st_atime_ns, before.st_mtime_ns))
    second = make("jobs", clip, name="second", **DRAFT, refine="none")
    finish(run(second), second)
    assert JobFolder(second).read_result().stereo_from is None
    assert not [event for event in events_after(second, 0) if event.kind == "note"]


@pytest.mark.slow
def test_other_settings_of_stage_2_run_stage_2_alone(make, run):
    first = make("jobs", name="first", **DRAFT)
    finish(run(first), first)
    second = make("jobs", name="second", **DRAFT, refine="none")
    finish(run(second), second)
    assert {event.stage for event in events_after(second, 0) if event.kind == "progress"} == {"read", "write"}
    alone = make("elsewhere", name="second", **DRAFT, refine="none")
    finish(run(alone), alone)
    result = json.loads((second / "result.json").read_text())
    assert result.pop("stereo_from") == "first"
    (second / "result.json").write_text(json.dumps(result))
    assert contents(second) == contents(alone)


@pytest.mark.slow
def test_a_finished_job_keeps_stage_1_and_nothing_else(make, run):
    folder = make("jobs", **DRAFT)
    finish(run(folder), folder)
    assert [path.name.partition("-")[0] for path in (folder / "cache").iterdir()] == ["stereo"]
    discard_products(JobFolder(folder))
    finish(run(folder), folder)
    stages = [event.stage for event in events_after(folder, 0) if event.kind == "progress"]
    assert stages.count("borders") == stages[:stages.index("write")].count("borders")


def test_the_stages_are_those_of_the_plan():
    assert tuple(stage for stage, _ in plan_of(Settings(**DRAFT))) == STAGES
