"""A worker that hangs, comes back, or is started again; clocks that are set meanwhile."""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from stand_in import install
from tiny_jobs import wait_for_end, wait_until

from stereodiff_blender.engine.contract import ClipSource, Event, Job, JobFolder
from stereodiff_blender.jobs import worker_process as jobs

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals and the stand-in's lock are POSIX")
JOB = Job("walk", ClipSource("movie", "/footage/walk.mp4"), 1, 3)
YEAR_S = 365 * 24 * 3600.0


class ShortOfPatience(jobs.FollowedJob):
    SILENT_AFTER_S = 1.5


@pytest.fixture
def folder(tmp_path) -> JobFolder:
    return JobFolder(jobs.create_job(JOB, tmp_path / "jobs"))


@pytest.fixture
def root(tmp_path) -> Path:
    return install(tmp_path / "engine")


@pytest.fixture
def begin(folder, root) -> Iterator[Callable[[], jobs.FollowedJob]]:
    """begin() -> the job, followed, with a stand-in at work on it."""
    workers = []

    def start() -> jobs.FollowedJob:
        workers.append(jobs.start(folder.path, sys.executable, root))
        return ShortOfPatience(folder.path, workers[-1])

    yield start
    for worker in workers:
        if worker.poll() is None:
            jobs.end_process_tree(worker.pid, force=True)
        worker.wait()


def at_work(job: jobs.FollowedJob) -> int:
    """Waits for the worker's first words. Returns its pid."""
    wait_until(lambda: job.poll().done == 3 or job.poll().has_ended)
    assert job.poll().state == "running", job.poll()
    return job.folder.read_events()[0][-2].pid


# --- Silence ---------------------------------------------------------------------------------------------------

@pytest.mark.slow
def test_a_worker_that_beats_is_never_silent(begin):
    job = begin()
    at_work(job)
    until = time.monotonic() + 2 * job.SILENT_AFTER_S
    while time.monotonic() < until:
        assert not job.poll().is_silent
        time.sleep(0.02)


@pytest.mark.slow
def test_a_stopped_worker_is_silent_until_it_goes_on(begin):
    job = begin()
    pid = at_work(job)
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: job.poll().is_silent)
    status = job.poll()
    assert status.state == "running" and status.silent_s >= job.SILENT_AFTER_S
    os.kill(pid, signal.SIGCONT)
    wait_until(lambda: not job.poll().is_silent)
    assert job.poll().state == "running"


@pytest.mark.slow
def test_a_stopped_worker_can_be_cancelled_and_the_job_resumed(begin):
    job = begin()
    pid = at_work(job)
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: job.poll().is_silent)
    job.cancel()
    assert wait_for_end(job).state == "cancelled"
    again = begin()
    assert at_work(again) != pid
    assert not job.folder.cancelled_file.exists()


def test_every_beat_counts_whatever_its_time_says(tmp_path):
    watchdog, file = jobs.Watchdog(JobFolder(tmp_path)), tmp_path / "heartbeat"
    for seconds in (time.time() + YEAR_S, 0.0, time.time()):
        file.touch()
        os.utime(file, (seconds, seconds))
        watchdog.silent_s = 9.0
        watchdog.observe(has_news=False)
        assert watchdog.silent_s == 0.0


def test_a_beat_in_the_future_is_no_excuse(tmp_path):
    watchdog, file = jobs.Watchdog(JobFolder(tmp_path)), tmp_path / "heartbeat"
    file.touch()
    os.utime(file, (time.time() + YEAR_S, time.time() + YEAR_S))
    wait_until(lambda: watchdog.observe(has_news=False) or watchdog.silent_s > 0.2)


def test_a_follower_that_slept_blames_nobody(tmp_path):
    """Blender renders for an hour, or the lid was closed: the first look afterwards sees an old beat."""
    watchdog = jobs.Watchdog(JobFolder(tmp_path))
    watchdog.observe(has_news=True)
    watchdog._looked_s -= 3600.0
    watchdog.observe(has_news=False)
    assert watchdog.silent_s <= watchdog.LONGEST_GAP_S


# --- Clocks ----------------------------------------------------------------------------------------------------

@pytest.mark.slow
@pytest.mark.parametrize("jump_s", [-YEAR_S, -3600.0, 3600.0, YEAR_S])
def test_a_clock_that_is_set_breaks_no_times(folder, begin, jump_s, monkeypatch):
    monkeypatch.setattr(jobs.Progress, "WARM_UP_S", 0.0)
    job = begin()
    at_work(job)
    before = job.poll().elapsed_s
    folder.append_event(Event("progress", time.time() + jump_s, stage="solve", done=1, total=4))
    wait_until(lambda: job.poll().stage == "solve" and job.poll().eta_s is not None)
    status = job.poll()
    assert status.elapsed_s - before < 3000.0, "the follower's own clock counts"
    assert 0.0 < status.eta_s < 3000.0


@pytest.mark.parametrize("started_s", [-YEAR_S, 0.0, 1e300, -1e300])
def test_any_time_of_a_start_is_survived(folder, started_s):
    folder.append_event(Event("started", time.time() + started_s, pid=os.getpid(), plan=(("read", 1.0),)))
    folder.append_event(Event("progress", time.time(), stage="read", done=1, total=2))
    status = jobs.FollowedJob(folder.path).poll()
    assert status.elapsed_s >= 0.0 and math.isfinite(status.elapsed_s)


@pytest.mark.parametrize("pid", [-1, 0, 1, 2 ** 31, 10 ** 30])
def test_a_pid_of_no_worker_is_never_alive(folder, pid):
    folder.append_event(Event("started", time.time(), pid=pid, plan=(("read", 1.0),)))
    job = jobs.FollowedJob(folder.path)
    job.cancel()
    assert job.poll().state in ("failed", "cancelled")


def test_a_log_from_the_future_is_no_reason_to_wait_for_ever(folder):
    folder.log_file.write_text("Killed\n")
    os.utime(folder.log_file, (time.time() + YEAR_S, time.time() + YEAR_S))
    job = jobs.FollowedJob(folder.path)
    assert job.poll().state == "waiting"
    job._followed_since_s -= 2 * jobs.STARTUP_GRACE_S
    assert job.poll().code == "worker_died"


def test_what_a_resumed_job_leaps_over_is_no_rate(folder, begin):
    job = begin()
    at_work(job)
    began_s = job.folder.read_events()[0][0].time_s
    folder.events_file.unlink()
    plan = (("read", 0.5), ("solve", 0.5))
    folder.append_event(Event("started", began_s - 100.0, pid=job._pid, plan=plan))
    folder.append_event(Event("progress", began_s - 99.5, stage="solve", done=0, total=10))
    attached = ShortOfPatience(folder.path, job._process)
    assert (attached.poll().fraction, attached.poll().eta_s) == (0.5, None)
    folder.append_event(Event("progress", time.time(), stage="solve", done=5, total=10))
    status = attached.poll()
    assert status.fraction == pytest.approx(0.75)
    assert status.eta_s == pytest.approx(status.elapsed_s, rel=0.02), "half of what was left took all the time"


# --- Started again ---------------------------------------------------------------------------------------------

def test_what_was_said_before_the_last_start_is_over(folder):
    with_warning = [Event("started", time.time(), pid=1, plan=(("read", 0.5), ("solve", 0.5))),
                    Event("progress", time.time(), stage="solve", done=4, total=4),
                    Event("warning", time.time(), code="weak_focal", message="The lens is a guess."),
                    Event("failed", time.time(), code="disk_full", message="Full.")]
    for event in with_warning:
        folder.append_event(event)
    assert jobs.FollowedJob(folder.path).poll().code == "disk_full"
    folder.append_event(Event("started", time.time(), pid=1, plan=(("read", 0.5), ("solve", 0.5))))
    status = jobs.FollowedJob(folder.path).poll()
    assert (status.code, status.warnings, status.stage, status.fraction) == ("worker_died", (), None, 0.0)


@pytest.mark.parametrize("behavior", ["fail", "crash"])
def test_a_job_is_started_again_after_any_end(begin, root, behavior):
    install(root, behavior)
    ended = begin()
    assert wait_for_end(ended).state == "failed"
    assert (ended.folder.cache / "input-0a" / "kept.npy").exists()
    install(root, "hang")
    job = begin()
    assert job.poll().state == "running", "the old failure is no judgment of the new worker"
    at_work(job)
    assert ended.poll().state == "failed", "who saw the end does not change his mind"


def test_cancelling_keeps_what_was_done(begin):
    job = begin()
    at_work(job)
    job.cancel()
    assert wait_for_end(job).state == "cancelled"
    assert (job.folder.cache / "input-0a" / "kept.npy").exists()


def test_a_second_worker_gives_way_and_the_first_is_followed(begin):
    first = begin()
    pid = at_work(first)
    second = begin()
    wait_until(lambda: second.poll().has_ended or second._process is None)
    assert second.poll().state == "running" and second._pid == pid
    second.cancel()
    assert wait_for_end(second).state == "cancelled"
    assert wait_for_end(first).state == "cancelled"


def test_a_job_that_is_cancelled_while_it_begins_to_resume_stays_cancelled(begin, folder):
    job = begin()
    job.cancel()
    folder.cancelled_file.unlink()  # As a worker does that begins just now.
    assert wait_for_end(job).state == "cancelled"
    assert jobs.FollowedJob(folder.path).poll().state == "cancelled"


def test_a_worker_of_another_blender_is_ended_as_soon_as_it_tells_its_pid(begin, folder):
    job = begin()
    os.kill(job._process.pid, signal.SIGSTOP)
    assert not folder.events_file.exists(), "a Python takes longer than this to start"
    later = jobs.FollowedJob(folder.path)
    later.cancel()
    os.kill(job._process.pid, signal.SIGCONT)
    assert wait_for_end(later).state == "cancelled"
    assert wait_for_end(job).state in ("cancelled", "failed")
    assert job._process.poll() is not None
    assert jobs.FollowedJob(folder.path).poll().state == "cancelled"


def test_events_that_are_cut_off_are_read_again(folder, begin):
    job = begin()
    at_work(job)
    folder.events_file.write_bytes(b"\x00garbage\xff\n")
    folder.append_event(Event("progress", time.time(), stage="solve", done=2, total=4))
    wait_until(lambda: job.poll().stage == "solve")
    assert job.poll().state == "running"


def test_jobs_end_together_when_their_program_does(begin):
    job = begin()
    pid = at_work(job)
    os.kill(pid, signal.SIGSTOP)
    jobs.end_together([job])
    assert job.poll().state == "cancelled"
    assert job.folder.cancelled_file.exists()
