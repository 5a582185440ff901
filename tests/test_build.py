"""build.py's own decisions: which Python, and which environment."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import build


@pytest.mark.skipif(os.name == "nt", reason="the stand-in is a shell script")
def test_a_shim_that_fails_is_no_python(tmp_path, monkeypatch):
    """Before the tests' own Python on PATH lies a command of the right name that ends with an error."""
    shim = tmp_path / "python3.99"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert build.find_python((3, 99)) is None
    assert build.runs_as(Path(sys.executable), sys.version_info[:2])
    assert not build.runs_as(Path(sys.executable), (3, 99))


@pytest.mark.parametrize("line", ["version = 3.13.0", "version_info = 3.13.0.final.0", "version=3.13"])
def test_version_of_an_environment(tmp_path, line):
    (tmp_path / "pyvenv.cfg").write_text(f"home = /usr/bin\ninclude-system-site-packages = false\n{line}\n")
    assert build.python_version_of(tmp_path) == (3, 13)
    assert build.python_version_of(tmp_path / "none") is None


def test_the_environment_without_a_number_keeps_its_blender(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "ROOT", tmp_path)
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "pyvenv.cfg").write_text("version = 3.13.0\n")
    folders = {blender: build.blender_folder(blender).name for blender in build.PYTHON_OF_BLENDER}
    assert folders == {"4.2": ".venv-4.2", "4.5": ".venv-4.5", "5.0": ".venv-5.0", "5.2": ".venv",
                       "5.3": ".venv-5.3"}


def test_every_blender_has_its_requirements():
    for blender in build.PYTHON_OF_BLENDER:
        first = (build.TESTS / f"requirements-blender-{blender}.txt").read_text().splitlines()[0]
        assert first.startswith("bpy") and blender in first
