"""A real environment, made from a folder of wheels: broken in many ways and mended, cancelled and gone on with."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_wheels import write_lock, write_wheel

from stereodiff_blender.engine.contract import StereoDiffError
from stereodiff_blender.runtime import environment as runtime
from stereodiff_blender.runtime.install import (
    Cancelled,
    Installer,
    InstallProgress,
    faults_of,
    install,
    lock_name_of,
    remove,
    repair,
    state_of,
)

pytestmark = pytest.mark.slow

NAMES = ("apple", "pear", "plum")


def refused(code: str):
    return pytest.raises(StereoDiffError, check=lambda error: error.code == code)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("shelf")
    for name in NAMES:
        write_wheel(folder / "wheels", name)
    write_lock(folder / "lock.txt", sorted((folder / "wheels").glob("*.whl")))
    return folder


@pytest.fixture(scope="module")
def whole(shelf, tmp_path_factory) -> Installer:
    """An environment installed to its end."""
    plan = Installer(tmp_path_factory.mktemp("whole") / "environment", shelf / "lock.txt", sys.executable,
                     shelf / "wheels")
    install(plan)
    return plan


@pytest.fixture
def plan(whole, tmp_path) -> Installer:
    """A copy of it, to be broken."""
    return replace(whole, folder=Path(shutil.copytree(whole.folder, tmp_path / "environment", symlinks=True)))


def site(plan: Installer) -> Path:
    return next(plan.folder.glob("[Ll]ib/**/site-packages"))


def can_import(plan: Installer) -> bool:
    command = [runtime.environment_python(plan.folder), "-s", "-c", "import apple, pear, plum"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_an_installed_environment_is_whole_and_runs(whole):
    assert state_of(whole.folder, whole.lock) == "whole"
    assert faults_of(whole.folder, whole.lock) == []
    assert can_import(whole) and lock_name_of(whole.folder) == "lock.txt"


def test_installing_again_does_nothing(whole):
    steps: list[InstallProgress] = []
    install(replace(whole, on_progress=steps.append, base_python="no such python"))
    assert steps == []


# --- Broken and mended -------------------------------------------------------------------------------------------

def lose_a_file(plan: Installer) -> None:
    (site(plan) / "pear" / "data.txt").unlink()


def change_a_file(plan: Installer) -> None:
    (site(plan) / "plum" / "__init__.py").write_text("VALUE = 2\n")


def lose_a_package(plan: Installer) -> None:
    for path in site(plan).glob("apple*"):
        shutil.rmtree(path)


def lose_a_list_of_files(plan: Installer) -> None:
    next(site(plan).glob("pear-*.dist-info/RECORD")).unlink()


def lose_the_interpreter(plan: Installer) -> None:
    python = runtime.environment_python(plan.folder)
    python.unlink()
    python.symlink_to(plan.folder / "gone")


def lose_the_marker(plan: Installer) -> None:
    (plan.folder / runtime.MARKER).unlink()


def take_another_version(plan: Installer) -> None:
    information = next(site(plan).glob("plum-*.dist-info"))
    information.rename(information.with_name("plum-0.9.dist-info"))


@pytest.mark.parametrize(("damage", "named"), [
    (lose_a_file, "pear"), (change_a_file, "plum"), (lose_a_package, "apple"), (lose_a_list_of_files, "pear"),
    (lose_the_interpreter, "environment"), (lose_the_marker, "environment"), (take_another_version, "plum"),
])
def test_what_is_broken_is_named_and_mended(plan, damage, named):
    damage(plan)
    faults = faults_of(plan.folder, plan.lock)
    assert [fault.package for fault in faults] in ([named], ["python"]), faults
    repair(plan)
    assert faults_of(plan.folder, plan.lock) == [] and state_of(plan.folder, plan.lock) == "whole"
    assert can_import(plan)


def test_only_what_is_broken_is_installed_again(plan):
    untouched = site(plan) / "plum" / "__init__.py"
    before = untouched.stat().st_mtime_ns, untouched.stat().st_ino
    lose_a_file(plan)
    steps: list[InstallProgress] = []
    repair(replace(plan, on_progress=steps.append))
    assert {step.package for step in steps if step.step == "install"} == {"pear"}
    assert (untouched.stat().st_mtime_ns, untouched.stat().st_ino) == before


def test_another_lock_is_outdated_and_installing_brings_it_up(plan, shelf, tmp_path):
    wheels = Path(shutil.copytree(shelf / "wheels", tmp_path / "newer"))
    (wheels / "plum-1.0-py3-none-any.whl").unlink()
    write_wheel(wheels, "plum", "2.0")
    newer = replace(plan, lock=write_lock(tmp_path / "newer.txt", sorted(wheels.glob("*.whl"))), wheels=wheels)
    assert state_of(newer.folder, newer.lock) == "outdated"
    install(newer)
    assert faults_of(newer.folder, newer.lock) == [] and lock_name_of(newer.folder) == "newer.txt"


# --- Broken off --------------------------------------------------------------------------------------------------

@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_killed_half_way_it_is_half_and_goes_on(shelf, tmp_path):
    folder = tmp_path / "environment"
    code = ("import sys; from pathlib import Path; from stereodiff_blender.runtime.install import Installer, install\n"
            f"install(Installer(Path({str(folder)!r}), Path({str(shelf / 'lock.txt')!r}), sys.executable, "
            f"Path({str(shelf / 'wheels')!r})))")
    process = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2], start_new_session=True)
    while not (folder / "pyvenv.cfg").exists() and process.poll() is None:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert state_of(folder, shelf / "lock.txt") == "half"
    plan = Installer(folder, shelf / "lock.txt", sys.executable, shelf / "wheels")
    install(plan)
    assert state_of(folder, plan.lock) == "whole" and can_import(plan)


def test_cancelled_it_ends_at_once_and_goes_on_later(shelf, tmp_path):
    asked = threading.Event()

    def watch(progress: InstallProgress) -> None:
        if progress.step == "environment":
            asked.set()

    plan = Installer(tmp_path / "environment", shelf / "lock.txt", sys.executable, shelf / "wheels", watch,
                     asked.is_set)
    with pytest.raises(Cancelled):
        install(plan)
    assert state_of(plan.folder, plan.lock) == "half"
    install(replace(plan, is_cancelled=lambda: False))
    assert state_of(plan.folder, plan.lock) == "whole"


def test_what_was_fetched_is_not_fetched_again(shelf, tmp_path, monkeypatch):
    """From an index that is a folder: pip's own settings are respected."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf / "wheels"))
    fetched: list[str] = []

    def watch(progress: InstallProgress) -> None:
        if progress.step == "fetch" and progress.package and progress.package not in fetched:
            fetched.append(progress.package)

    plan = Installer(tmp_path / "environment", shelf / "lock.txt", sys.executable, None, watch,
                     lambda: len(fetched) >= 2)
    with pytest.raises(Cancelled):
        install(plan)
    here = {path.parent.name: path.stat().st_mtime_ns for path in plan.store.glob("*/*.whl")}
    assert here
    finished = replace(plan, is_cancelled=lambda: {path.parent.name: path.stat().st_mtime_ns for path in
                                                   plan.store.glob("*/*.whl")}.items() < here.items())
    install(finished)
    assert can_import(finished) and not plan.store.exists(), "wheels are let go when the environment is whole"


# --- Refused -----------------------------------------------------------------------------------------------------

def test_a_wheel_that_is_not_the_locked_one_is_not_installed(shelf, tmp_path):
    wheels = Path(shutil.copytree(shelf / "wheels", tmp_path / "wheels"))
    write_wheel(wheels, "plum", body="import os\n")
    plan = Installer(tmp_path / "environment", shelf / "lock.txt", sys.executable, wheels)
    with refused("runtime_broken") as caught:
        install(plan)
    assert "not the one that was locked" in caught.value.message
    assert state_of(plan.folder, plan.lock) == "half" and not (site(plan) / "plum").exists()


def test_a_wheel_that_is_missing_is_named(shelf, tmp_path):
    wheels = Path(shutil.copytree(shelf / "wheels", tmp_path / "wheels"))
    (wheels / "pear-1.0-py3-none-any.whl").unlink()
    with pytest.raises(StereoDiffError, match="pear"):
        install(Installer(tmp_path / "environment", shelf / "lock.txt", sys.executable, wheels))


def test_an_index_that_cannot_be_asked_is_told_without_its_password(plan, monkeypatch):
    for name, value in {"PIP_INDEX_URL": "http://jane:half/w@ord99@127.0.0.1:9/simple", "PIP_RETRIES": "0",
                        "PIP_TIMEOUT": "1"}.items():
        monkeypatch.setenv(name, value)
    (site(plan) / "pear" / "data.txt").write_text("other numbers")
    with refused("runtime_broken") as caught:
        repair(replace(plan, wheels=None))
    assert "pip failed" in caught.value.message
    assert not [key for key in ("half", "w@ord", "ord99") if key in caught.value.message]


def test_a_disk_that_is_too_small_is_seen_before_anything_is_written(shelf, tmp_path):
    lock = tmp_path / "huge.txt"
    lock.write_text((shelf / "lock.txt").read_text().replace("# bytes: ", "# bytes: 9999999999"))
    plan = Installer(tmp_path / "environment", lock, sys.executable, shelf / "wheels")
    with refused("disk_full"):
        install(plan)
    assert not plan.folder.exists()


def test_a_python_without_venv_is_told_what_it_lacks(shelf, tmp_path):
    crippled = tmp_path / "python"
    lacks = "raise ModuleNotFoundError(\"No module named ensurepip\")"
    crippled.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{lacks}'\n")
    crippled.chmod(0o755)
    with refused("runtime_broken") as caught:
        install(Installer(tmp_path / "environment", shelf / "lock.txt", crippled, shelf / "wheels"))
    assert "ensurepip" in caught.value.message and "python3-venv" in caught.value.message


def test_a_folder_with_other_files_is_left_alone(shelf, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "holiday.jpg").write_bytes(b"precious")
    with refused("output_in_use"):
        install(Installer(folder, shelf / "lock.txt", sys.executable, shelf / "wheels"))
    with refused("output_in_use"):
        remove(folder)
    assert (folder / "holiday.jpg").read_bytes() == b"precious"


def test_removing_takes_all_of_it(plan):
    remove(plan.folder)
    assert not plan.folder.exists()
    assert state_of(plan.folder, plan.lock) == "missing"


def test_removing_what_is_not_there_is_no_success(tmp_path):
    with refused("runtime_missing"):
        remove(tmp_path / "environment")


def test_removing_takes_what_was_fetched_too(tmp_path):
    (tmp_path / "environment-wheels").mkdir()
    (tmp_path / "environment-wheels" / "apple.whl").write_bytes(b"half")
    remove(tmp_path / "environment")
    assert list(tmp_path.iterdir()) == []
