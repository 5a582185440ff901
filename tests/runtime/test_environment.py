"""The worker's environment: found, verified and recognized when half made; with real interpreters."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from stereodiff_blender.engine.contract import StereoDiffError, user_folders
from stereodiff_blender.runtime import environment as runtime


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A user folder of its own, on every system."""
    for name in ("XDG_DATA_HOME", "LOCALAPPDATA", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / "user"))
    return tmp_path


def refused(code: str):
    return pytest.raises(StereoDiffError, check=lambda error: error.code == code)


def test_user_folder_lies_in_the_users_data(home):
    assert user_folders.user_folder().is_relative_to(home / "user")
    assert not user_folders.user_folder().exists()


def test_without_an_environment_it_is_missing(home):
    with refused("runtime_missing"):
        runtime.find_python("")


def test_a_half_made_environment_is_broken(home):
    python = runtime.environment_python(runtime.environment_folder())
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    with refused("runtime_broken"):
        runtime.find_python("")
    (runtime.environment_folder() / runtime.MARKER).write_text("hash")
    assert runtime.find_python("") == python


def test_a_configured_interpreter_comes_first(home):
    assert runtime.find_python(f" {sys.executable} ") == Path(sys.executable)


def test_a_configured_environment_folder_is_enough(home, tmp_path):
    python = runtime.environment_python(tmp_path / "mine")
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    assert runtime.find_python(str(tmp_path / "mine")) == python


def test_a_configured_interpreter_that_is_gone(home, tmp_path):
    with refused("runtime_missing"):
        runtime.find_python(str(tmp_path / "gone" / "python"))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no executable bit")
def test_a_configured_file_that_is_no_program(home, tmp_path):
    text = tmp_path / "python"
    text.write_text("not a program")
    with refused("runtime_broken"):
        runtime.find_python(str(text))


@pytest.mark.slow
def test_verify_names_what_the_worker_has(worker_python):
    versions = runtime.verify(worker_python)
    assert set(versions) == {"python", *runtime.MODULES}
    assert versions["python"].startswith("3.")


def test_verify_is_not_led_astray_by_the_hosts_settings(worker_python, tmp_path, monkeypatch):
    (tmp_path / "numpy.py").write_text("raise ImportError('the wrong numpy')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONHOME", str(tmp_path))
    assert "numpy" in runtime.verify(worker_python)


def test_verify_of_something_that_is_no_python(tmp_path):
    with refused("runtime_broken"):
        runtime.verify(tmp_path / "python")


def test_included_requirements_count(tmp_path):
    (tmp_path / "base.txt").write_text("# one\n")
    (tmp_path / "all.txt").write_text("-r base.txt\n")
    folder = tmp_path / "environment"
    runtime.environment_python(folder).parent.mkdir(parents=True)
    runtime.environment_python(folder).symlink_to(sys.executable)
    (folder / runtime.MARKER).write_text(runtime.fingerprint(tmp_path / "all.txt"))
    assert runtime.is_complete(folder, tmp_path / "all.txt")
    (tmp_path / "base.txt").write_text("# two\n")
    assert not runtime.is_complete(folder, tmp_path / "all.txt")
