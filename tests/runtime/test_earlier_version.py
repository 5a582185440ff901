"""An environment that an earlier version installed, by the records it left: whole, left alone, mended."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from earlier_version import DATA

from stereodiff_blender.runtime import environment as runtime
from stereodiff_blender.runtime.install import (
    Installer,
    InstallProgress,
    faults_of,
    install,
    lock_name_of,
    repair,
    state_of,
)

pytestmark = pytest.mark.slow

LEFT = DATA / "runtime"


@pytest.fixture(scope="module")
def earlier(tmp_path_factory) -> Installer:
    """Made by the steps of that version; what it noted at its end is what it noted then."""
    folder = tmp_path_factory.mktemp("earlier") / "environment"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=120)
    subprocess.run([runtime.environment_python(folder), "-m", "pip", "install", "--disable-pip-version-check",
                    "--require-hashes", "--no-deps", "--no-index", "--find-links", LEFT / "wheels", "-r",
                    LEFT / "lock.txt"], check=True, timeout=120)
    shutil.copytree(LEFT / "environment", folder, dirs_exist_ok=True)
    return Installer(folder, LEFT / "lock.txt", sys.executable, LEFT / "wheels")


def test_it_is_whole(earlier):
    assert state_of(earlier.folder, earlier.lock) == "whole"
    assert faults_of(earlier.folder, earlier.lock) == []
    assert lock_name_of(earlier.folder) == "lock.txt"


def test_it_is_found_where_the_preferences_name_it(earlier):
    assert runtime.find_python(str(earlier.folder)) == runtime.environment_python(earlier.folder)


def test_it_is_not_installed_again(earlier):
    steps: list[InstallProgress] = []
    install(replace(earlier, on_progress=steps.append, base_python="no such python"))
    assert steps == []


def test_it_is_mended(earlier, tmp_path):
    plan = replace(earlier, folder=Path(shutil.copytree(earlier.folder, tmp_path / "environment", symlinks=True)))
    next(plan.folder.glob("[Ll]ib/**/site-packages/pear/data.txt")).unlink()
    assert [fault.package for fault in repair(plan)] == ["pear"]
    assert state_of(plan.folder, plan.lock) == "whole" and faults_of(plan.folder, plan.lock) == []
