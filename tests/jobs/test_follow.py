"""Following a job folder: what the events say, how far it is, and who the process is. No engine runs here."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest
from tiny_jobs import wait_for_end, wait_until

from stereodiff_blender.engine.contract import MOST_WARNINGS, ClipSource, Event, Job, JobFolder, StereoDiffError
from stereodiff_blender.engine.contract.errors import MAX_MESSAGE
from stereodiff_blender.jobs import worker_process as jobs

PLAN = (("read", 0.2), ("depth", 0.6), ("write", 0.2))
NOW = datetime(2026, 11, 22, 19, 35, 1)
JOB = Job("walk", ClipSource("movie", "/footage/walk.mp4"), 1, 3)


@pytest.fixture
def folder(tmp_path) -> JobFolder:
    return JobFolder(jobs.create_job(JOB, tmp_path))


def refused(code: str):
    return pytest.raises(StereoDiffError, check=lambda error: error.code == code)


# --- Creating --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("name", "start"), [
    ("Room.mp4", "room-20261122-193501-"), ("../../etc/passwd", "passwd-2026"),
    ("Grüße & Küsse.mov", "gr-e-k-sse-2026"),
    ("日本.mp4", "clip-2026"), ("", "clip-2026"), ("a" * 200 + ".mp4", "a" * 40 + "-2026"),
])
def test_job_ids_are_readable_and_safe(name, start):
    job_id = jobs.new_job_id(name, NOW)
    assert job_id.startswith(start)
    assert set(job_id) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-")


def test_job_ids_of_one_second_differ():
    assert len({jobs.new_job_id("room.mp4", NOW) for _ in range(20)}) > 15


def test_a_created_job_reads_back(tmp_path):
    folder = jobs.create_job(JOB, tmp_path / "new" / "jobs")
    assert folder == tmp_path / "new" / "jobs" / "walk"
    assert JobFolder(folder).read_job() == JOB
    assert [path.name for path in folder.iterdir()] == ["job.json"]


def test_a_job_folder_is_never_used_twice(tmp_path):
    jobs.create_job(JOB, tmp_path)
    with refused("output_in_use"):
        jobs.create_job(JOB, tmp_path)


def test_a_file_where_the_jobs_folder_should_be(tmp_path):
    (tmp_path / "jobs").write_text("a file")
    with refused("output_not_writable"):
        jobs.create_job(JOB, tmp_path / "jobs")


def test_start_without_a_job(tmp_path, worker_python, repository):
    with refused("job_missing"):
        jobs.start(tmp_path, worker_python, repository)


def test_start_without_a_python(folder, repository, tmp_path):
    with refused("runtime_missing"):
        jobs.start(folder.path, tmp_path / "python", repository)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no executable bit")
def test_start_with_something_that_is_no_program(folder, repository, tmp_path):
    (tmp_path / "python").write_text("no program")
    with refused("runtime_broken"):
        jobs.start(folder.path, tmp_path / "python", repository)


def test_the_worker_does_not_see_the_hosts_python_settings(monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONHOME", "/blender/python")
    monkeypatch.setenv("PYTHONPATH", "/blender/scripts")
    environment = jobs.worker_environment(tmp_path)
    assert "PYTHONHOME" not in environment
    assert environment["PYTHONPATH"] == str(tmp_path)
    assert environment["PATH"] == os.environ["PATH"]


# --- Reading events --------------------------------------------------------------------------------------------

def alive_job(folder: JobFolder, sleeper: subprocess.Popen) -> jobs.FollowedJob:
    folder.append_event(Event("started", time.time() - 20.0, pid=sleeper.pid, plan=PLAN))
    return jobs.FollowedJob(folder.path, sleeper)


@pytest.fixture
def sleeper():
    """A live process in a group of its own, which ends when asked."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


def test_a_job_that_was_not_started_waits(folder):
    status = jobs.FollowedJob(folder.path).poll()
    assert (status.state, status.fraction, status.elapsed_s, status.eta_s) == ("waiting", 0.0, 0.0, None)


def test_fraction_follows_the_plan(folder, sleeper):
    job = alive_job(folder, sleeper)
    assert job.poll().fraction == 0.0
    folder.append_event(Event("stage", time.time(), stage="depth", total=10))
    assert job.poll().fraction == pytest.approx(0.2)
    folder.append_event(Event("progress", time.time(), stage="depth", done=5, total=10))
    status = job.poll()
    assert (status.state, status.stage, status.done, status.total) == ("running", "depth", 5, 10)
    assert status.fraction == pytest.approx(0.5)


def test_time_left_is_what_was_measured(folder, sleeper):
    job = alive_job(folder, sleeper)
    assert job.poll().eta_s is None
    folder.append_event(Event("progress", time.time(), stage="depth", done=5, total=10))
    status = job.poll()
    assert status.elapsed_s == pytest.approx(20.0, abs=5.0)
    assert status.eta_s == pytest.approx(status.elapsed_s, rel=1e-6)


def test_progress_never_goes_back(folder, sleeper):
    job = alive_job(folder, sleeper)
    folder.append_event(Event("stage", time.time(), stage="write", total=4))
    before = job.poll().fraction
    folder.append_event(Event("stage", time.time(), stage="read", total=4))
    folder.append_event(Event("stage", time.time(), stage="edges", total=4))
    status = job.poll()
    assert status.fraction == before
    assert status.stage == "edges"


def test_a_stage_of_no_units_divides_nothing(folder, sleeper):
    job = alive_job(folder, sleeper)
    folder.append_event(Event("progress", time.time(), stage="depth", done=3, total=0))
    assert job.poll().fraction == pytest.approx(0.2)


def test_warnings_are_kept(folder, sleeper):
    job = alive_job(folder, sleeper)
    folder.append_event(Event("warning", time.time(), code="weak_focal", message="The lens is a guess."))
    job.poll()
    assert [(w.code, w.message) for w in job.poll().warnings] == [("weak_focal", "The lens is a guess.")]


def test_a_flood_of_warnings_is_counted(folder, sleeper):
    job = alive_job(folder, sleeper)
    for number in range(MOST_WARNINGS + 30):
        for _ in range(2):
            folder.append_event(Event("warning", time.time(), code="weak_focal", message=f"{number}" + "!" * 2500))
    status = job.poll()
    assert len(status.warnings) == MOST_WARNINGS and status.other_warnings == 60
    assert [w.message[:3] for w in status.warnings[:3]] == ["0!!", "1!!", "2!!"], "each once"
    assert all(len(w.message) == MAX_MESSAGE for w in status.warnings)


def test_a_failure_of_no_known_kind_is_still_one(folder, sleeper):
    job = alive_job(folder, sleeper)
    shots = ((-5, 3), (0, 2), (9, 4), (1, 2), (4, 4), (5, 10 ** 9))
    folder.append_event(Event("failed", time.time(), code="dance", message="x" * 9000, shots=shots))
    status = job.poll()
    assert (status.state, status.code, len(status.message)) == ("failed", "internal_error", MAX_MESSAGE)
    assert status.shots == ((1, 2), (4, 4))


def test_a_plan_and_a_stage_of_any_length_are_survived(folder, sleeper):
    plan = tuple((f"s{number}", 1.0) for number in range(2000))
    folder.append_event(Event("started", time.time(), pid=sleeper.pid, plan=plan))
    folder.append_event(Event("stage", time.time(), stage="s" * 5000, total=1))
    status = jobs.FollowedJob(folder.path, sleeper).poll()
    assert len(status.stage) == 80 and status.fraction == 0.0


def test_a_failure_is_final(folder, sleeper):
    job = alive_job(folder, sleeper)
    folder.log_file.write_text("first\nlast\n")
    folder.append_event(Event("failed", time.time(), code="disk_full", message="The disk filled up."))
    status = job.poll()
    assert (status.state, status.code, status.message) == ("failed", "disk_full", "The disk filled up.")
    assert status.log_tail == "first\nlast"
    folder.append_event(Event("stage", time.time(), stage="depth", total=10))
    job.cancel()
    assert job.poll() is status
    assert not folder.cancelled_file.exists()


def test_a_result_that_is_no_result_is_a_failure(folder, sleeper):
    job = alive_job(folder, sleeper)
    folder.result_file.write_text("{}")
    assert job.poll().state == "running"
    folder.append_event(Event("finished", time.time()))
    status = job.poll()
    assert (status.state, status.code) == ("failed", "result_invalid")


def test_only_the_end_of_a_long_log_is_shown(folder, sleeper):
    job = alive_job(folder, sleeper)
    folder.log_file.write_bytes(b"\xff broken\n" + b"".join(b"line %d\n" % number for number in range(100_000)))
    folder.append_event(Event("failed", time.time(), code="internal_error", message="x"))
    tail = job.poll().log_tail.splitlines()
    assert len(tail) == jobs.LOG_TAIL_LINES and tail[-1] == "line 99999"


# --- The process -----------------------------------------------------------------------------------------------

def test_a_worker_that_dies_before_its_first_word(folder):
    with open(folder.log_file, "wb") as log:
        process = subprocess.Popen([sys.executable, "-c", "raise SystemExit('no such module')"], stderr=log)
    status = wait_for_end(jobs.FollowedJob(folder.path, process))
    assert (status.state, status.code) == ("failed", "worker_died")
    assert "exit status 1" in status.message and "no such module" in status.message


def test_what_a_worker_said_before_it_died_counts(folder):
    code = f"""if True:
        import sys, time
        sys.path.insert(0, {str(Path(jobs.__file__).parents[2])!r})
        from stereodiff_blender.engine.contract import Event, JobFolder
        JobFolder({str(folder.path)!r}).append_event(Event("failed", time.time(), code="clip_missing", message="gone"))
    """
    process = subprocess.Popen([sys.executable, "-c", code])
    job = jobs.FollowedJob(folder.path, process)
    process.wait()
    assert job.poll().code == "clip_missing"


def test_a_pid_that_is_someone_elses_now_is_not_our_worker(folder, sleeper):
    folder.append_event(Event("started", time.time(), pid=sleeper.pid, plan=PLAN))
    status = jobs.FollowedJob(folder.path).poll()
    assert (status.state, status.code) == ("failed", "worker_died")
    assert sleeper.poll() is None


def test_a_worker_lost_before_its_first_event_is_noticed_later(folder):
    folder.log_file.write_text("Killed\n")
    assert jobs.FollowedJob(folder.path).poll().state == "waiting"
    long_ago = time.time() - 2 * jobs.STARTUP_GRACE_S
    os.utime(folder.log_file, (long_ago, long_ago))
    status = jobs.FollowedJob(folder.path).poll()
    assert (status.code, status.message) == ("worker_died", "The engine is gone. Killed")


def test_cancelling_a_job_that_waits(folder):
    job = jobs.FollowedJob(folder.path)
    job.cancel()
    assert job.poll().state == "cancelled"
    assert jobs.FollowedJob(folder.path).poll().state == "cancelled"


def test_being_ended_may_look_like_a_failure_from_within(folder, sleeper):
    job = alive_job(folder, sleeper)
    job.cancel()
    folder.append_event(Event("failed", time.time(), code="internal_error", message="Interrupted."))
    assert wait_for_end(job).state == "cancelled"
    assert jobs.FollowedJob(folder.path).poll().state == "cancelled"


STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if sys.argv[1:] == ["child"]:
    print("ready", flush=True)
    time.sleep(600)
child = subprocess.Popen([sys.executable, __file__, "child"], stdout=subprocess.PIPE, text=True)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="process groups are POSIX; Windows ends the tree at once")
def test_a_worker_that_will_not_end_is_killed_with_its_children(folder, tmp_path):
    script = tmp_path / "stubborn.py"
    script.write_text(STUBBORN)
    process = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True, start_new_session=True)
    child = int(process.stdout.readline())
    job = jobs.FollowedJob(folder.path, process)
    job.cancel()
    assert job.poll().state == "running"
    assert wait_for_end(job).state == "cancelled"
    wait_until(lambda: not is_running(child))
    process.stdout.close()


@pytest.mark.skipif(os.name == "nt", reason="process groups are POSIX; Windows ends the tree at once")
def test_children_that_outlive_a_polite_worker_are_ended_too(folder, tmp_path):
    script = tmp_path / "stubborn.py"
    script.write_text(STUBBORN)
    code = f"""if True:
        import subprocess, sys, time
        child = subprocess.Popen([sys.executable, {str(script)!r}, "child"], stdout=subprocess.PIPE, text=True)
        child.stdout.readline()
        print(child.pid, flush=True)
        time.sleep(600)
    """
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True)
    child = int(process.stdout.readline())
    job = jobs.FollowedJob(folder.path, process)
    job.cancel()
    assert wait_for_end(job).state == "cancelled"
    wait_until(lambda: not is_running(child))
    process.stdout.close()


def is_running(pid: int) -> bool:
    """False for a zombie, too: nobody may be there to wait for an orphan."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"
