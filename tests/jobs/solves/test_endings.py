"""How real workers end when something is wrong: a code with words, no half result, nothing of the user's lost."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_jobs import left_in, render_boards, wait_for_end, wait_until, write_movie

from stereodiff_blender.engine.contract import JobFolder
from stereodiff_blender.jobs import worker_process as jobs

AFTER_A_FAILURE = {"job.json", "events.jsonl", "worker.log"}


def assert_failed(job: jobs.FollowedJob, code: str) -> jobs.JobStatus:
    status = wait_for_end(job)
    assert (status.state, status.code) == ("failed", code), status
    assert left_in(job.folder.path) == AFTER_A_FAILURE
    return status


# --- Bad input -------------------------------------------------------------------------------------------------

def test_a_clip_that_is_gone(start, make_job, tmp_path):
    status = assert_failed(start(make_job(tmp_path / "gone.mp4")), "clip_missing")
    assert "gone.mp4" in status.message


def test_an_empty_file(start, make_job, tmp_path):
    (tmp_path / "empty.mp4").touch()
    assert_failed(start(make_job(tmp_path / "empty.mp4")), "clip_empty")


def test_a_text_that_calls_itself_a_movie(start, make_job, tmp_path):
    (tmp_path / "text.mp4").write_text("Call me Ishmael. " * 500)
    assert_failed(start(make_job(tmp_path / "text.mp4")), "clip_unreadable")


@pytest.mark.slow
def test_a_movie_of_one_frame(start, make_job, tmp_path):
    write_movie(tmp_path / "one.mp4", render_boards(1))
    assert_failed(start(make_job(tmp_path / "one.mp4", last=2)), "clip_too_short")


@pytest.mark.slow
def test_a_movie_of_two_identical_frames(start, make_job, tmp_path):
    write_movie(tmp_path / "still.mp4", render_boards(1) * 2)
    assert_failed(start(make_job(tmp_path / "still.mp4", last=2)), "clip_frozen")


@pytest.mark.slow
def test_a_movie_of_eight_pixels(start, make_job, tmp_path):
    write_movie(tmp_path / "small.mp4", [frame[:8, :8] for frame in render_boards(3)])
    assert_failed(start(make_job(tmp_path / "small.mp4", last=3)), "clip_too_small")


def test_frames_after_the_end_of_the_clip(start, make_job):
    status = assert_failed(start(make_job(last=500)), "clip_truncated")
    assert "500" in status.message


@pytest.mark.parametrize(("settings", "code"), [({"stereo": "monst3r"}, "weights_missing"),
                                                ({"refine": "depthcrafter"}, "weights_missing")])
def test_engines_that_are_not_here_are_refused_before_any_work(start, make_job, settings, code):
    job = start(make_job(**settings))
    assert_failed(job, code)
    assert [event.kind for event in job.folder.read_events()[0]] == ["started", "failed"]


def test_a_job_file_that_is_damaged(start, make_job):
    folder = make_job()
    JobFolder(folder).job_file.write_text("{")
    assert_failed(start(folder), "job_invalid")


# --- Bad places ------------------------------------------------------------------------------------------------

def test_a_finished_result_is_never_touched(start, make_job):
    folder = make_job()
    (folder / "depth").mkdir()
    (folder / "depth" / "0001.exr").write_bytes(b"precious")
    (folder / "result.json").write_text("an earlier result")
    wait_for_end(start(folder))
    assert (folder / "depth" / "0001.exr").read_bytes() == b"precious"
    assert (folder / "result.json").read_text() == "an earlier result"


@pytest.mark.slow
def test_a_file_in_place_of_a_product_folder(start, make_job):
    """The worker may not write here; being root does not help against a file where a folder should be."""
    folder = make_job()
    (folder / "cache").write_text("in the way")
    job = start(folder)
    status = wait_for_end(job)
    assert (status.state, status.code) == ("failed", "output_not_writable")
    assert not job.folder.result_file.exists()


@pytest.fixture
def mount(tmp_path) -> Iterator:
    """mount(megabytes) -> a small file system of its own. Skips where this user may not mount one."""
    mounted = []

    def make(megabytes: float) -> Path:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        size = f"size={int(megabytes * 1e6)}"
        if sys.platform != "linux" or os.geteuid() != 0:
            pytest.skip("only root on Linux can mount a small disk")
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", folder], capture_output=True, text=True)
        if done.returncode != 0:
            pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.slow
def test_a_disk_that_is_too_small_is_seen_before_any_work(start, make_job, mount):
    disk = mount(2)
    folder = shutil.move(make_job(), disk / "job")
    job = start(folder)
    status = assert_failed(job, "disk_full")
    assert "needs about" in status.message
    assert "read" not in [event.stage for event in job.folder.read_events()[0]]


@pytest.mark.slow
def test_a_disk_that_fills_up_during_the_solve(start, make_job, mount):
    disk = mount(20)
    folder = shutil.move(make_job(), disk / "job")
    job = start(folder)
    wait_until(lambda: job.poll().stage in ("track", "solve", "depth") or job.poll().has_ended)
    fill_up(disk / "other people's data", leave=200_000)
    assert_failed(job, "disk_full")


def fill_up(path: Path, leave: int) -> None:
    """Leaves so many bytes free: room for events, but not for an array."""
    with open(path, "wb", buffering=0) as stream:
        try:
            while True:
                stream.write(b"\0" * 65536)
        except OSError:
            os.truncate(path, os.path.getsize(path) - leave)


def test_a_folder_that_may_only_be_read(start, make_job, mount):
    disk = mount(50)
    folder = shutil.move(make_job(), disk / "job")
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    with pytest.raises(jobs.StereoDiffError, check=lambda error: error.code == "output_not_writable"):
        start(folder)
    with pytest.raises(jobs.StereoDiffError, check=lambda error: error.code == "output_not_writable"):
        jobs.create_job(JobFolder(folder).read_job(), disk / "jobs")


# --- Sudden ends -----------------------------------------------------------------------------------------------

def at_work(job: jobs.FollowedJob) -> None:
    wait_until(lambda: job.poll().stage in ("track", "solve") or job.poll().has_ended)
    assert job.poll().state == "running", job.poll()


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no signals")
def test_a_killed_worker_leaves_its_last_words(start, make_job):
    job = start(make_job())
    at_work(job)
    with open(job.folder.log_file, "a") as log:
        log.write("about to go wrong\n")
    os.kill(job.poll() and job._pid, signal.SIGKILL)
    status = wait_for_end(job)
    assert (status.state, status.code) == ("failed", "worker_died")
    assert "signal 9" in status.message and "about to go wrong" in status.log_tail
    assert left_in(job.folder.path) == AFTER_A_FAILURE


@pytest.mark.slow
def test_cancelling_ends_the_worker_and_leaves_no_result(start, make_job):
    job = start(make_job())
    at_work(job)
    job.cancel()
    assert wait_for_end(job).state == "cancelled"
    with pytest.raises(ProcessLookupError):
        os.killpg(job._pid, 0)
    assert left_in(job.folder.path) == AFTER_A_FAILURE | {"cancelled"}


@pytest.mark.slow
def test_a_cancelled_job_stays_cancelled_for_a_later_blender(start, make_job):
    job = start(make_job())
    at_work(job)
    later = jobs.FollowedJob(job.folder.path)
    assert later.poll().state == "running"
    later.cancel()
    assert wait_for_end(later).state == "cancelled"
    assert wait_for_end(job).state == "cancelled"
    assert jobs.FollowedJob(job.folder.path).poll().state == "cancelled"


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no signals")
def test_a_worker_asked_to_end_by_the_system_clears_up(start, make_job):
    job = start(make_job())
    at_work(job)
    os.kill(job._pid, signal.SIGTERM)
    status = wait_for_end(job)
    assert (status.state, status.code) == ("failed", "worker_died")
    assert "exit status 143" in status.message
    assert left_in(job.folder.path) == AFTER_A_FAILURE
