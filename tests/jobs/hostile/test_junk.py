"""Folders full of what is no job, jobs of other versions and Pythons that are none: passed over, solved, or told."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_jobs import LENS, wait_for_end, wait_until

from stereodiff_blender.engine.contract import JobFolder, StereoDiffError
from stereodiff_blender.health import checkup
from stereodiff_blender.jobs import worker_process as jobs
from stereodiff_blender.jobs.disk import find_jobs

unix_only = pytest.mark.skipif(os.name == "nt", reason="no FIFOs and no scripts there")
LIMIT_S = 30


# --- Find Jobs -------------------------------------------------------------------------------------------------

def _changed(**values) -> Callable[[str], bytes]:
    return lambda job: json.dumps(json.loads(job) | values).encode()


JOB_FILES: dict[str, Callable[[str], bytes]] = {
    "empty": lambda job: b"", "half": lambda job: job[:len(job) // 2].encode(), "bytes": lambda job: b"\xff\xfe" * 500,
    "list": lambda job: b"[]", "infinite": lambda job: job.replace('"first_frame": 1', '"first_frame": 1e999').encode(),
    "nan": lambda job: job.replace('"first_frame": 1', '"first_frame": NaN').encode(),
    "digits": lambda job: job.replace('"first_frame": 1', '"first_frame": ' + "9" * 6000).encode(),
    "brackets": lambda job: b"[" * 100_000, "braces": lambda job: b'{"a":' * 100_000,
    "twice": lambda job: job.replace("{", '{"id": "another", "id": 7, ', 1).encode(),
    "surprise": _changed(run="rm -rf"), "other_id": _changed(id="../../etc"), "long_id": _changed(id="x" * 100_000),
    "no_clip": _changed(clip=None), "schema": _changed(schema_version=99), "utf16": lambda job: job.encode("utf-16"),
}


@pytest.fixture
def junk(make_job, tmp_path) -> Path:
    """A jobs folder with one good job, "job-0", among everything else."""
    job = JobFolder(make_job()).job_file.read_text()
    assert '"first_frame": 1' in job
    place = tmp_path / "jobs"
    for name, make in JOB_FILES.items():
        (place / name).mkdir()
        (place / name / "job.json").write_bytes(make(job))
    (place / "folder" / "job.json").mkdir(parents=True)
    (place / "notes.txt").write_text("no folder")
    if os.name != "nt":
        for name, target in {"zeros": "/dev/zero", "itself": "job.json", "nowhere": "/nowhere/at/all"}.items():
            (place / name).mkdir()
            (place / name / "job.json").symlink_to(target)
        (place / "fifo").mkdir()
        os.mkfifo(place / "fifo" / "job.json")
        os.mkfifo(place / "pipe")
        (place / "loop").symlink_to(place / "loop")
        (place / "root").symlink_to("/")
        (place / "above").symlink_to(place)
    return place


def test_only_the_good_job_is_found(junk, repository):
    """In a process of its own, so that one that waits at a FIFO or fills the memory fails instead of hanging all."""
    script = textwrap.dedent("""
        import sys
        from pathlib import Path
        from stereodiff_blender.jobs.disk import find_jobs
        if sys.platform == "linux":
            import resource
            resource.setrlimit(resource.RLIMIT_AS, (1_000_000_000, 1_000_000_000))
        sys.stdout.write(" ".join(found.folder.name for found in find_jobs(Path(sys.argv[1]))))
    """)
    done = subprocess.run([sys.executable, "-c", script, junk], env=jobs.worker_environment(repository), check=False,
                          capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "job-0"


def test_many_folders_are_no_long_search(make_job, tmp_path):
    good = make_job()
    for number in range(1000):
        (tmp_path / "jobs" / f"other-{number}" / "depth").mkdir(parents=True)
    began = time.process_time()
    assert [found.folder for found in find_jobs(tmp_path / "jobs")] == [good]
    assert time.process_time() - began < 2.0


def test_no_jobs_folder_is_no_jobs(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "nowhere", tmp_path / "file", Path("x" * 5000)):
        assert list(find_jobs(place)) == []


# --- Jobs from elsewhere ---------------------------------------------------------------------------------------

@pytest.mark.slow
def test_a_job_of_another_engine_version_is_solved(start, make_job, tmp_path):
    """With a models folder that holds what is none of its business, and of which nothing changes."""
    other = tmp_path / "etc"
    other.mkdir()
    (other / "passwd").write_text("mine")
    folder = JobFolder(make_job(last=4, quality="draft", refine="none", **LENS))
    job = json.loads(folder.job_file.read_text())
    folder.job_file.write_text(json.dumps(job | {"engine_version": "99.0-\n$(touch x)", "models_folder": str(other)}))
    assert wait_for_end(start(folder.path)).state == "finished"
    assert [path.name for path in other.iterdir()] == ["passwd"] and (other / "passwd").read_text() == "mine"


@pytest.mark.slow
def test_a_folder_deleted_under_its_worker_does_not_come_back(start, make_job):
    folder = make_job()
    job = start(folder)
    wait_until(lambda: job.poll().stage not in (None, "read"))
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)  # what it wrote meanwhile
    wait_until(lambda: not job._is_alive())
    assert not folder.exists()


@pytest.mark.slow
def test_three_solves_of_one_output_at_once(worker_python, repository, tiny_clip, tmp_path):
    """One solves; the others are told that it does, or that it has."""
    command = [worker_python, "-s", "-m", jobs.WORKER_MODULE, "solve", tiny_clip, tmp_path / "out", "--frames", "1-6",
               "--quality", "draft", "--refine", "none"]
    solves = [subprocess.Popen(command, env=jobs.worker_environment(repository), stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True) for _ in range(3)]
    ends = [(*solve.communicate(timeout=300), solve.returncode) for solve in solves]
    assert [status for *_, status in ends].count(0) >= 1, ends
    for output, errors, status in ends:
        assert "Traceback" not in errors
        assert status == 0 or "error job_locked: " in errors, (output, errors)
    assert len(JobFolder(tmp_path / "out").read_result().frames) == 6
    assert sum(event.kind == "finished" for event in JobFolder(tmp_path / "out").read_events()[0]) == 1


# --- Pythons that are none -------------------------------------------------------------------------------------

PROGRAMS = {
    "prints no JSON": "echo hello", "prints other JSON": "echo '[1, 2]'", "prints a number": "echo 7",
    "prints another health": """echo '{"schema_version": 1, "findings": 3}'""",
    "prints bytes": r"printf '\377\376\000\001\n'", "says nothing": "exit 0", "fails": "echo no luck >&2; exit 3",
    "kills itself": "kill -9 $$",
}


@pytest.fixture
def program(tmp_path) -> Callable[[str], Path]:
    """program(script) -> a file that calls itself Python."""

    def make(script: str) -> Path:
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    return make


@unix_only
@pytest.mark.parametrize("script", PROGRAMS.values(), ids=PROGRAMS)
def test_a_doctor_who_makes_no_sense(program, repository, tmp_path, script):
    with pytest.raises(StereoDiffError) as raised:
        checkup.ask_doctor(program(script), repository, tmp_path / "jobs", tmp_path / "models", timeout_s=LIMIT_S)
    assert raised.value.code == "runtime_broken"


@pytest.mark.slow
@unix_only
@pytest.mark.parametrize("script", ["sleep 60", "sleep 60 & exit 0", "trap '' TERM; sleep 60"])
def test_a_doctor_who_hangs_or_leaves_a_child_with_his_pipe(program, repository, tmp_path, script):
    began = time.monotonic()
    with pytest.raises(StereoDiffError) as raised:
        checkup.ask_doctor(program(script), repository, tmp_path / "jobs", tmp_path / "models", timeout_s=1.0)
    assert raised.value.code == "runtime_broken" and time.monotonic() - began < LIMIT_S


@unix_only
@pytest.mark.parametrize("script", PROGRAMS.values(), ids=PROGRAMS)
def test_a_worker_that_is_no_worker(program, repository, make_job, script):
    folder = make_job()
    process = jobs.start(folder, program(script), repository)
    status = wait_for_end(jobs.FollowedJob(folder, process))
    assert (status.state, status.code) == ("failed", "worker_died") and status.message
