"""What a worker's heartbeat tells while it works."""

from __future__ import annotations

import os
import time

import pytest

from stereodiff_blender.engine.contract import JobFolder
from stereodiff_blender.engine.contract.job_files import lock as job_lock
from stereodiff_blender.engine.contract.job_files.worker_log import MAX_LOG_BYTES
from stereodiff_blender.jobs import watchdog

PATIENCE_S = 30.0


@pytest.fixture
def folder(tmp_path, monkeypatch) -> JobFolder:
    monkeypatch.setattr(job_lock, "HEARTBEAT_S", 0.02)
    return JobFolder(tmp_path)


def until(condition) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)


def beat(folder: JobFolder) -> watchdog.Beat:
    return watchdog.read_beat(folder) or watchdog.Beat(0)


@pytest.mark.slow
def test_a_heart_tells_for_how_long_there_was_no_progress(folder):
    steps = [0]
    with job_lock.beating(folder, lambda: steps[0]):
        until(lambda: beat(folder).idle_s == 1.0)
        assert beat(folder).work_s == 0.0, "waiting is no work"
        steps[0] += 1
        until(lambda: beat(folder).idle_s == 0.0)
    assert watchdog.read_beat(folder) is None


@pytest.mark.slow
def test_a_heart_tells_of_work_without_progress(folder):
    with job_lock.beating(folder, lambda: 0):
        end = time.process_time() + 1.2
        while time.process_time() < end:
            sum(range(10_000))
        until(lambda: beat(folder).work_s == 1.0)


def test_a_computer_that_slept_is_no_lack_of_progress():
    idleness = job_lock._Idleness(lambda: 0)
    idleness._looked_s -= 3600.0
    assert idleness.measure() == b"idle 000000006 s, work 000000000 s"


@pytest.mark.slow
def test_whoever_reads_never_finds_half_of_it(folder):
    with job_lock.beating(folder, lambda: 0):
        until(lambda: folder.heartbeat_file.exists() and folder.heartbeat_file.stat().st_size)
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            assert beat(folder).idle_s is not None
            assert job_lock._heartbeat(folder)[0] == job_lock.this_computer()


@pytest.mark.skipif(os.name == "nt", reason="files that are appended to while they are cut are POSIX")
def test_a_worker_keeps_its_log_from_growing(folder):
    with job_lock.beating(folder, lambda: 0), open(folder.log_file, "ab", buffering=0) as log:
        log.write(b"x" * (MAX_LOG_BYTES + 1))
        until(lambda: folder.log_file.stat().st_size < MAX_LOG_BYTES / 8)
