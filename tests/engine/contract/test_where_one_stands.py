"""Whoever starts a program of ours in a folder of somebody else's: nothing of that folder runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_jobs import render_boards, wait_for_end, wait_until, write_movie
from tiny_wheels import write_lock, write_wheel

import build
from stereodiff_blender.engine import search_path
from stereodiff_blender.engine.contract import ClipSource, Health, Job, JobFolder, Settings, programs
from stereodiff_blender.engine.doctor import devices, probing
from stereodiff_blender.health import checkup, weights
from stereodiff_blender.jobs import worker_process as jobs
from stereodiff_blender.runtime import environment as runtime
from stereodiff_blender.runtime import install as runtime_install
from tests.tools import environments

unix_only = pytest.mark.skipif(os.name == "nt", reason="scripts of the shell stand for programs")
LOADED_FIRST = ("importlib", "types", "warnings", "__future__")
SETTINGS = {"quality": "draft", "max_side_px": 160}


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    write_movie(path, render_boards(5))
    return path


# --- Nothing runs from where one stands ------------------------------------------------------------------------

@pytest.mark.parametrize("words", [("-c", "import json"), ("-m", "json.tool", "--help"), ("-m", "pip", "--version"),
                                   ("-m", "stereodiff_blender.engine", "doctor")])
def test_the_traps_catch_who_starts_a_python_as_usual(standing, traps, words):
    """Without this, the tests below could not fail."""
    usual = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "LD_"))}
    subprocess.run([sys.executable, *words], env=usual, capture_output=True, check=False)
    assert traps.sprung()


@unix_only
@pytest.mark.parametrize(("name", "trap"), [("PYTHONPATH", ""), ("PYTHONUSERBASE", "user-site"),
                                            ("PYTHONUSERBASE", "user-pth"), ("PYTHONSTARTUP", "json")])
def test_the_traps_catch_who_believes_the_hosts_variables(standing, traps, tmp_path, name, trap):
    usual = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "LD_"))}
    base = Path(sys.base_prefix, "bin", "python3")  # An environment knows no user's packages.
    subprocess.run([base, "-i", "-c", "import csv"] if name != "PYTHONSTARTUP" else [base, "-i"], cwd=tmp_path,
                   env=usual | {name: os.environ[name]}, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert traps.sprung() if not trap else trap in traps.sprung()


@unix_only
def test_the_traps_catch_who_takes_a_program_by_its_name(standing, traps):
    subprocess.run(["nvidia-smi"], check=False)
    assert traps.sprung() == {"nvidia-smi.program"}


@pytest.mark.slow
def test_a_resumed_job_runs_nothing_of_its_folder(standing, traps, clip, tmp_path, worker_python, repository):
    job = Job("stranger", ClipSource("movie", str(clip)), 1, 4, Settings(**SETTINGS))
    folder = traps.fill(jobs.create_job(job, tmp_path / "jobs"))
    followed = jobs.FollowedJob(folder, jobs.start(folder, worker_python, repository))
    status = wait_for_end(followed)
    assert status.state == "finished", status.log_tail
    assert len(JobFolder(folder).read_result().frames) == 4
    assert traps.sprung() == set()


@pytest.mark.slow
def test_build_solve_runs_nothing_of_the_footage_beside_it(standing, traps, clip, worker_python, monkeypatch):
    """Clip and folder are named from where one stands."""
    (standing / "clip.mp4").write_bytes(clip.read_bytes())
    monkeypatch.setattr(build, "worker_environment", lambda requirements: worker_python)
    assert build.solve(["clip.mp4", "out", "--quality", "draft", "--max-side", "160", "--frames", "1-4"]) == 0
    assert JobFolder(standing / "out").read_result().camera_kind
    assert traps.sprung() == set()


def test_verify_runs_nothing(standing, traps, worker_python):
    assert "numpy" in runtime.verify(worker_python)
    assert traps.sprung() == set()


@pytest.mark.slow
def test_the_doctor_and_his_probe_run_nothing(standing, traps, worker_python, repository, tmp_path):
    health = checkup.ask_doctor(worker_python, repository, tmp_path / "jobs", tmp_path / "models")
    assert health.can_run
    assert next(found for found in health.findings if found.name == "EXR files").state == "ok"
    assert traps.sprung() == set()


def test_the_probe_and_the_driver_run_nothing(standing, traps):
    assert probing.ask_probe(["import:json", "exr"])["exr"].value is True
    devices.ask_driver()
    assert traps.sprung() == set()


@pytest.mark.slow
def test_installing_runs_nothing(standing, traps, tmp_path, monkeypatch):
    """venv, ensurepip and pip, from a wheel that is fetched first; then a look at what was installed."""
    wheel = write_wheel(tmp_path / "wheels", "apple")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    plan = runtime_install.Installer(tmp_path / "environment", write_lock(tmp_path / "lock.txt", [wheel]),
                                     sys.executable)
    python = runtime_install.install(plan)
    assert runtime_install.faults_of(plan.folder, plan.lock) == []
    assert runtime_install.state_of(plan.folder, plan.lock) == "whole"
    assert programs.ask(programs.python_command(python, "-c", "import apple"), 60.0).status == 0
    assert traps.sprung() == set()


@pytest.mark.slow
def test_build_makes_environments_and_runs_nothing(standing, traps, tmp_path):
    (standing / "requirements.txt").write_text("pip\n")
    python = environments.create("environment", Path("requirements.txt"), base_python=sys.executable, on_line=str)
    assert python == standing / python.relative_to(standing) and python.exists()
    assert build.runs_as(Path(sys.executable), sys.version_info[:2])
    assert traps.sprung() == set()


def test_a_weights_command_runs_nothing(standing, traps, tmp_path, worker_python, repository):
    manager = weights.WeightsManager()
    manager.begin("monst3r", "verify", python=worker_python, extension_root=repository,
                  models_folder=tmp_path / "models")
    wait_until(lambda: not manager.is_at_work("monst3r"))
    assert manager.task("monst3r").problem.code == "weights_missing"
    assert traps.sprung() == set()


# --- Pythons of every age --------------------------------------------------------------------------------------

def python_of(version: str) -> Path:
    """One without our packages, if there is one: loading them takes the doctor seconds."""
    own = f"{sys.version_info[0]}.{sys.version_info[1]}" == version
    places = [Path(sys.executable)] if own else []
    places += sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    if not places:
        pytest.skip(f"there is no Python {version} here")
    return places[-1]


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.9", "3.10", "3.11", "3.12", "3.13", "3.14"])
def test_every_python_that_a_person_may_name_is_started_safely(standing, traps, repository, tmp_path, version):
    python = python_of(version)
    question = "import json, sys; print(json.dumps(sys.version))"
    ended = programs.ask(programs.python_command(python, "-c", question), 60.0)
    assert ended.status == 0 and version in ended.output, ended.errors
    health = checkup.ask_doctor(python, repository, tmp_path / "jobs", tmp_path / "models")
    assert isinstance(health, Health) and next(found for found in health.findings if found.name == "Python").found
    assert traps.sprung() == set()


# --- A person at the command line ------------------------------------------------------------------------------

def typed(standing: Path, repository: Path, python: Path, *options: str) -> subprocess.CompletedProcess:
    """The engine's doctor, typed where one stands."""
    usual = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "LD_"))}
    command = [python, *options, "-m", "stereodiff_blender.engine", "doctor", "--json", "--models", "models"]
    return subprocess.run([str(word) for word in command], cwd=standing, capture_output=True, text=True, check=False,
                          env=usual | {"PYTHONPATH": str(repository)})


@pytest.mark.parametrize("version", ["3.11", "3.13"])
def test_with_the_option_nothing_runs(standing, traps, repository, version):
    done = typed(standing, repository, python_of(version), "-P")
    Health.from_json(json.loads(done.stdout))
    assert traps.sprung() == set(), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.11", "3.13"])
def test_who_forgets_the_option_is_helped_as_far_as_can_be(standing, traps, repository, version):
    """What comes before anything of ours is what `-m` itself imports, and another package of our name."""
    python = python_of(version)
    typed(standing, repository, python)
    assert traps.sprung(), "this is why there is -P"
    for path in (*standing.glob("stereodiff_blender/**/*.py"), *(standing / f"{name}.py" for name in LOADED_FIRST)):
        path.unlink()
    traps.reset()
    done = typed(standing, repository, python)
    Health.from_json(json.loads(done.stdout))
    assert traps.sprung() == set(), done.stderr


def test_a_search_path_keeps_what_is_ours(monkeypatch, tmp_path):
    inside = tmp_path / "lib" / "python"
    inside.mkdir(parents=True)
    for here, root, prefix, is_kept in ((tmp_path, "/ours", "/usr", False), (tmp_path, str(tmp_path), "/usr", True),
                                        (inside, "/ours", str(tmp_path), True)):
        monkeypatch.chdir(here)
        monkeypatch.setattr(sys, "path", [str(here), "", "/elsewhere"])
        monkeypatch.setattr(sys, "prefix", prefix)
        search_path.leave_out_current_folder(root)
        assert sys.path == ([str(here), "", "/elsewhere"] if is_kept else ["/elsewhere"])
