"""What a job folder from anywhere may say, write and hold: followed to its end, in bounded time and memory.

Files that would stop a reader for ever are looked at in a process of its own, so that a failure here ends.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_jobs import wait_for_end, wait_until

from stereodiff_blender.engine.contract import ClipSource, Event, Job, JobFolder
from stereodiff_blender.engine.contract.job_files.worker_log import (
    HEAD_BYTES,
    MAX_LOG_BYTES,
    TAIL_BYTES,
    read_log_end,
    shorten_log,
)
from stereodiff_blender.jobs import worker_process as jobs

posix_only = pytest.mark.skipif(os.name == "nt", reason="pipes, signals and files to append to are POSIX")
JOB = Job("walk", ClipSource("movie", "/footage/walk.mp4"), 1, 3)
PATIENCE_S = 60.0


@pytest.fixture
def folder(tmp_path) -> JobFolder:
    return JobFolder(jobs.create_job(JOB, tmp_path))


# --- Files that never answer, or never end ---------------------------------------------------------------------

POLL = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (2_000_000_000, 2_000_000_000))
from stereodiff_blender.jobs import worker_process as jobs
status = jobs.FollowedJob(sys.argv[1]).poll()
print(status.state, status.code)
"""


def polled_elsewhere(folder: JobFolder, repository: Path) -> str:
    done = subprocess.run([sys.executable, "-c", POLL, str(folder.path)], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(repository)}, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


@posix_only
@pytest.mark.parametrize("make", [make_pipe, make_endless])
@pytest.mark.parametrize(("name", "seen"), [
    ("events.jsonl", "failed job_folder_unsafe"), ("result.json", "failed result_invalid"), ("worker.log", "failed"),
    ("heartbeat", "failed worker_died"), ("lock", "failed worker_died"),
])
def test_a_file_that_does_not_answer_is_refused_at_once(folder, repository, make, name, seen):
    if name != "events.jsonl":
        folder.append_event(Event("started", time.time(), pid=2 ** 30, plan=(("read", 1.0),)))
    make(folder.path / name)
    assert polled_elsewhere(folder, repository).startswith(seen)


def test_a_result_too_large_is_refused_unread(folder):
    with open(folder.result_file, "wb") as stream:
        stream.truncate(3_000_000_000)
    status = jobs.FollowedJob(folder.path).poll()
    assert (status.state, status.code) == ("failed", "result_invalid") and "more than" in status.message


# --- The log ---------------------------------------------------------------------------------------------------

def write_log(folder: JobFolder, size: int) -> None:
    with open(folder.log_file, "wb") as stream:
        stream.write(b"first\n")
        stream.truncate(size - 5)
        stream.seek(0, os.SEEK_END)
        stream.write(b"last\n")


@posix_only
def test_a_log_keeps_its_beginning_and_its_end(folder):
    assert not shorten_log(folder.files), "there is none"
    write_log(folder, MAX_LOG_BYTES)
    assert not shorten_log(folder.files)
    write_log(folder, 50_000_000)
    assert shorten_log(folder.files) and not shorten_log(folder.files)
    text = folder.log_file.read_bytes()
    assert text.startswith(b"first\n") and text.endswith(b"last\n") and b"\n[48.9 MB are left out here]\n" in text
    assert HEAD_BYTES + TAIL_BYTES < len(text) < HEAD_BYTES + TAIL_BYTES + 100


@posix_only
def test_a_log_that_is_written_to_meanwhile_grows_from_its_new_end(folder):
    with open(folder.log_file, "ab", buffering=0) as worker:
        worker.write(b"x" * (MAX_LOG_BYTES + 1))
        shorten_log(folder.files)
        worker.write(b"and on")
        assert folder.log_file.read_bytes().endswith(b"xxand on") and folder.log_file.stat().st_size < 2_000_000


@posix_only
def test_a_link_in_the_logs_place_is_left_alone(folder, tmp_path):
    precious = tmp_path / "precious"
    precious.write_bytes(b"p" * (MAX_LOG_BYTES + 1))
    folder.log_file.symlink_to(precious)
    assert not shorten_log(folder.files)
    folder.log_file.unlink()
    os.link(precious, folder.log_file)
    assert not shorten_log(folder.files)
    assert precious.stat().st_size == MAX_LOG_BYTES + 1


def test_the_end_of_a_log_says_that_it_is_one(folder):
    folder.log_file.write_text("all of it\n")
    assert read_log_end(folder.files) == "all of it\n"
    write_log(folder, 5_000_000)
    text = read_log_end(folder.files, 1000)
    assert text.startswith("\n[5.0 MB are left out here]\n") and text.endswith("last\n") and len(text) < 1100


FLOOD = """
import sys
line = "x" * 99 + "\\n"
while True:
    sys.stdout.write(line * 1000)
"""


@posix_only
def test_a_program_that_is_no_engine_and_floods_is_ended(folder):
    worker = begin(folder, FLOOD)
    job = jobs.FollowedJob(folder.path, worker)
    status = wait_for_end(job)
    assert (status.state, status.code) == ("failed", "runtime_broken")
    assert worker.poll() is not None and folder.log_file.stat().st_size <= MAX_LOG_BYTES


@posix_only
def test_an_engine_that_floods_is_followed_to_its_end(folder):
    """It ends when the file "end" is there; as often as somebody looks, its log is cut."""
    said = '{"kind": "started", "time_s": 1.0, "pid": %d, "plan": [["read", 1.0]]}'
    code = f"""
import os, pathlib, sys
with open("events.jsonl", "a") as stream:
    stream.write({said!r} % os.getpid() + "\\\\n")
while not pathlib.Path("end").exists():
    sys.stdout.write(("x" * 99 + "\\\\n") * 10000)
    sys.stdout.flush()
""".replace("\\\\", "\\")
    worker = begin(folder, code)
    job = jobs.FollowedJob(folder.path, worker)
    wait_until(lambda: job.poll().state == "running" and job._progress.pid is not None)
    cut = 0
    while cut < 3:
        before = folder.log_file.stat().st_size
        assert job.poll().state == "running"
        cut += folder.log_file.stat().st_size < before
        time.sleep(0.01)
    (folder.path / "end").touch()
    assert wait_for_end(job).code == "worker_died"
    assert worker.returncode == 0


def begin(folder: JobFolder, code: str) -> subprocess.Popen:
    with open(folder.log_file, "ab") as log:
        return subprocess.Popen([sys.executable, "-c", code], stdout=log, stderr=log, cwd=folder.path,
                                start_new_session=True)


# --- Progress --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("told", "is_stalled", "is_working"), [
    ("", False, True), ("idle 299 s, work 0 s", False, False), ("idle 300 s, work 0 s", True, False),
    ("idle 400 s, work 3 s", True, False), ("idle 400 s, work 4 s", False, True),
    ("idle 1799 s, work 900 s", False, True), ("idle 1800 s, work 900 s", True, True),
    ("idle nan s, work 1 s", False, True), ("idle 99999999999999999999 s, work 0 s", False, True),
    ("idle -5 s, work 0 s", False, True), ("idle 300 s, work 0 s" + " " * 300, False, True),
])
def test_a_heartbeat_tells_of_progress(folder, told, is_stalled, is_working):
    watchdog = jobs.Watchdog(folder)
    folder.heartbeat_file.write_text(f"0123abcd\n{told}\n")
    watchdog.observe(has_news=False)
    assert (watchdog.is_stalled, watchdog.is_working) == (is_stalled, is_working)
    watchdog.observe(has_news=True)
    assert not watchdog.is_stalled


@posix_only
def test_a_worker_without_progress_is_called_stalled_and_not_silent(folder):
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True) as sleeper:
        folder.append_event(Event("started", time.time(), pid=sleeper.pid, plan=(("read", 1.0),)))
        job = jobs.FollowedJob(folder.path, sleeper)
        job.poll()
        folder.heartbeat_file.write_text("idle 400 s, work 0 s\n")
        status = job.poll()
        assert (status.state, status.is_stalled, status.is_silent, status.idle_s) == ("running", True, False, 400.0)
        assert status.is_stuck and not status.is_working
        sleeper.kill()
    assert job.poll().idle_s == 0.0
