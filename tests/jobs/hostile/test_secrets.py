"""Keys that this computer or a path holds: nothing that a job or a command leaves or says has them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tiny_jobs import LENS, wait_for_end

from stereodiff_blender.engine import __main__ as command_line
from stereodiff_blender.engine.contract import JobFolder, errors
from stereodiff_blender.engine.worker.event_report import EventReport
from stereodiff_blender.jobs import worker_process as jobs

ENVIRONMENT = {
    "HF_TOKEN": "hf_AbCdEfGhIjKlMnOpQrStUvWxYz012345", "HTTP_PROXY": "http://jane:hunter2@127.0.0.1:9",
    "https_proxy": "jane:half/w@ord99@127.0.0.1:9", "PIP_INDEX_URL": "https://jane:hunter2@127.0.0.1:9/simple",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMIbPxRfiCYEXAMPLEKEY",
}
KEYS = ("hf_AbCd", "hunter2", "half/w", "ord99", "wJalrXUtn")
LOGIN = "http:/jane:hunter2@mirror.example"
"""What a path makes of an address that somebody gave for a file."""


@pytest.fixture
def secretive(monkeypatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


def keys_in(content: bytes) -> list[str]:
    return [key for key in KEYS if key.encode() in content]


@pytest.mark.slow
def test_a_finished_job_has_no_key_in_any_file(secretive, start, make_job):
    job = start(make_job(last=4, quality="draft", **LENS))
    assert wait_for_end(job).state == "finished"
    files = [path for path in job.folder.path.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert {path.name: found for path in files if (found := keys_in(path.read_bytes()))} == {}


@pytest.mark.slow
def test_a_failed_job_shows_where_its_footage_is_without_the_key_in_it(start, make_job, tmp_path):
    """Only job.json has the path as it is, as it must."""
    clip = tmp_path / LOGIN / "clip.mp4"
    clip.parent.mkdir(parents=True)
    clip.write_bytes(b"no movie" * 100)
    job = start(make_job(clip))
    status = wait_for_end(job)
    assert status.code == "clip_unreadable" and "@mirror.example" in status.message
    having = {path.name for path in job.folder.path.rglob("*") if path.is_file() and keys_in(path.read_bytes())}
    assert having == {"job.json"}
    assert "Traceback" in job.folder.log_file.read_text()
    assert "hunter2" not in status.message + status.log_tail


def test_notes_and_warnings_have_no_keys(make_job):
    folder = JobFolder(make_job())
    report = EventReport(folder)
    report.note(f"reading {LOGIN}")
    report.warn("weak_focal", f"{LOGIN} says little.")
    assert keys_in(folder.events_file.read_bytes()) == []
    assert "hunter2" not in report.warnings[0].message and "says little" in report.warnings[0].message


def test_the_last_words_of_a_worker_that_died_have_none(make_job):
    folder = JobFolder(make_job())
    with open(folder.log_file, "wb") as log:
        process = subprocess.Popen([sys.executable, "-c", f"raise SystemExit('no proxy at {LOGIN}')"], stderr=log)
    status = wait_for_end(jobs.FollowedJob(folder.path, process))
    assert status.code == "worker_died" and "no proxy at" in status.message
    assert "hunter2" not in status.message + status.log_tail


def test_a_fault_of_our_own_on_the_command_line(capsys, tmp_path, monkeypatch):
    """With a code and a remedy; its traceback goes to a file, without keys as well."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # this process is not the command's
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert command_line.main(["weights", "use", "monst3r", f"/{LOGIN}/\0", "--models", str(tmp_path)]) == 1
    said, (log,) = capsys.readouterr().err, tmp_path.glob("stereodiff-*.log")
    assert "error internal_error: " in said and "\nremedy: " in said and str(log) in said
    assert "Traceback" in log.read_text() and "hunter2" not in said + log.read_text()


def test_a_fault_of_our_own_in_a_thread():
    problem = errors.problem_from(RuntimeError(f"{LOGIN} is down"))
    assert problem.code == "internal_error" and "is down" in problem.message and "hunter2" not in problem.message


@pytest.mark.slow
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_the_doctor_names_no_keys(worker_python, repository, tmp_path, form):
    models = tmp_path / LOGIN / "models"
    command = [worker_python, "-s", "-m", jobs.WORKER_MODULE, "doctor", *form, "--jobs", tmp_path / LOGIN, "--models",
               models]
    done = subprocess.run(command, env=jobs.worker_environment(repository) | ENVIRONMENT, capture_output=True,
                          check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert keys_in(done.stdout + done.stderr) == []
    assert b"@mirror.example" in done.stdout
    if form:
        assert json.loads(done.stdout)["can_run"] is True


@pytest.mark.skipif(os.name == "nt", reason="no such folder names there")
def test_job_files_name_what_they_need_as_it_is(make_job, tmp_path):
    """Hidden there, the footage would not be found again."""
    clip = Path(tmp_path / LOGIN / "clip.mp4")
    assert JobFolder(make_job(clip)).read_job().clip.path == str(clip)
