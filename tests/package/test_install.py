"""The zip in Blender: installed into a throw-away user folder, enabled, used, disabled, in a Blender of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import build

MODULE = "bl_ext.user_default.stereodiff"
SCRIPT = Path(__file__).with_name("install_in_blender.py")


@pytest.fixture(scope="module")
def seen(tmp_path_factory) -> dict:
    """What the script saw in its Blender; it runs once, and must end by itself."""
    folder = tmp_path_factory.mktemp("install")
    package = build.write_package(folder)
    environ = {**os.environ, "BLENDER_USER_RESOURCES": str(folder / "user")}
    for name in ("PYTHONPATH", "PYTHONSTARTUP"):
        environ.pop(name, None)
    done = subprocess.run([sys.executable, SCRIPT, package], env=environ, cwd=folder, timeout=120,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    report = [line for line in done.stdout.splitlines() if line.startswith("REPORT ")]
    assert report, done.stdout
    return {**json.loads(report[0].removeprefix("REPORT ")), "output": done.stdout}


@pytest.mark.slow
def test_installed_and_enabled_the_way_blender_does(seen):
    assert seen["enabled"] == MODULE
    assert {"solve", "cancel", "import_result"} <= set(seen["operators"])
    assert seen["has_scene_settings"]
    assert seen["panels"]


@pytest.mark.slow
def test_preferences_are_found(seen):
    assert {"runtime_python"} <= set(seen["preferences"])


def test_disabling_leaves_nothing(seen):
    assert seen["left"] == {"types": [], "operators": [], "scene": [], "handlers": [], "timers": []}


def test_enabling_again_works(seen):
    assert {"solve", "cancel", "import_result"} <= set(seen["operators_again"])


def test_nothing_is_complained_about(seen):
    complaints = [line for line in seen["output"].splitlines()
                  if any(word in line for word in ("Traceback", "Warning", "warning", "Error:", "violation"))]
    assert complaints == []
