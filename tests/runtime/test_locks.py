"""The committed lock files, and what the package reads in them. Offline."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import build
from stereodiff_blender.engine.contract import StereoDiffError
from stereodiff_blender.runtime import environment as runtime
from stereodiff_blender.runtime import locks as runtime_locks
from stereodiff_blender.runtime.packages import locked_versions, plain_name

INPUTS = build.ROOT / "vendor" / "runtime"
LOCKS = sorted((INPUTS / "locks").glob("*.txt"))
LINE = re.compile(r"^[a-z0-9][a-z0-9-]*==[0-9][A-Za-z0-9.!+]*( --hash=sha256:[0-9a-f]{64})+$")
BY_NAME = pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)


def input_of(lock: Path) -> Path:
    return INPUTS / ("learned.txt" if lock.name.startswith("learned-") else "standard.txt")


def pinned(requirements: Path) -> dict[str, str]:
    """Version by name of what an input file asks for, with the files it includes."""
    versions = {}
    for line in requirements.read_text(encoding="utf-8").splitlines():
        if line.startswith("-r "):
            versions |= pinned(requirements.parent / line[3:].strip())
        elif line.strip() and not line.startswith("#"):
            name, version = line.split("==")
            versions[plain_name(name)] = version.strip()
    return versions


def lock_py(*arguments: str, root: Path = build.ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, root / "tests" / "tools" / "lock.py", *arguments]
    return subprocess.run(command, env=build.environ_for_worker(), capture_output=True, text=True, check=False)


# --- The files -------------------------------------------------------------------------------------------------

def test_the_machines_that_blender_runs_on_have_a_lock():
    names = {path.name for path in LOCKS}
    for platform in ("linux_x86_64", "windows_x86_64", "macos_arm64"):
        for python in ("py311", "py313"):
            assert f"standard-{platform}-{python}.txt" in names
            assert any(name.startswith("learned-") and name.endswith(f"-{platform}-{python}.txt") for name in names)


@BY_NAME
def test_every_requirement_is_locked_at_its_version(lock):
    locked, asked = locked_versions(lock), pinned(input_of(lock))
    assert len(asked) >= 7
    assert {name: locked.get(name) for name in asked} == asked


@BY_NAME
def test_no_line_without_a_hash(lock):
    lines = [line for line in lock.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    assert lines and [line for line in lines if not LINE.match(line)] == []


@BY_NAME
def test_a_lock_names_the_requirements_it_was_made_from(lock):
    source = input_of(lock)
    assert f"# input: {source.name} sha256:{runtime.fingerprint(source)}\n" in lock.read_text(encoding="utf-8")


@BY_NAME
def test_every_package_has_a_size_and_the_total_is_theirs(lock):
    sizes = runtime_locks.sizes(lock)
    assert list(sizes) == list(locked_versions(lock))
    assert min(sizes.values()) > 1000
    assert sum(sizes.values()) == runtime_locks.total_bytes(lock)


@BY_NAME
def test_cuda_is_locked_for_the_cuda_sets_alone(lock):
    nvidia = [name for name in locked_versions(lock) if name.startswith("nvidia-")]
    assert bool(nvidia) == lock.name.startswith("learned-cuda-")


# --- build.py lock --check, build.py wheels --------------------------------------------------------------------

@pytest.fixture
def checkout(tmp_path) -> Path:
    """The vendor folder somewhere else, to be changed."""
    shutil.copytree(INPUTS, tmp_path / "vendor" / "runtime", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(build.TESTS / "tools", tmp_path / "tests" / "tools")
    return tmp_path


def test_check_passes_here():
    done = lock_py("lock", "--check")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{len(LOCKS)} of {len(LOCKS)} locks" in done.stdout


def test_check_tells_the_locks_of_changed_requirements(checkout):
    with (checkout / "vendor" / "runtime" / "learned.txt").open("a", encoding="utf-8") as file:
        file.write("einops==0.8.0\n")
    done = lock_py("lock", "--check", root=checkout)
    told = {line.partition(" ")[0] for line in done.stdout.splitlines() if "was made from other requirements" in line}
    assert done.returncode == 1
    assert told == {path.name for path in LOCKS if path.name.startswith("learned-")}


def test_wheels_are_not_fetched_for_a_lock_of_changed_requirements(checkout):
    with (checkout / "vendor" / "runtime" / "standard.txt").open("a", encoding="utf-8") as file:
        file.write("einops==0.8.0\n")
    done = lock_py("wheels", "--platform", "linux_x86_64", "--out", str(checkout / "out"), root=checkout)
    assert "was made from other requirements" in done.stderr and done.returncode == 1
    assert not (checkout / "out").exists()


def test_wheels_are_not_added_to_a_folder_with_others(tmp_path):
    (tmp_path / "other-1.0-py3-none-any.whl").write_bytes(b"not locked")
    done = lock_py("wheels", "--platform", "linux_x86_64", "--out", str(tmp_path))
    assert "holds other wheels: other-1.0-py3-none-any.whl" in done.stderr and done.returncode == 1


def test_wheels_without_a_lock_name_those_there_are(tmp_path):
    done = lock_py("wheels", "--platform", "windows_x86_64", "--device", "cuda", "--out", str(tmp_path / "out"))
    assert "there is no lock learned-cuda-windows_x86_64-py311.txt" in done.stderr
    assert "learned-cpu-windows_x86_64-py311" in done.stderr


def test_locks_travel_in_the_package_and_their_makers_do_not():
    names = {name for name in build.package_contents() if name.startswith("vendor/")}
    assert {f"vendor/runtime/locks/{path.name}" for path in LOCKS} <= names
    assert {"lock.py", "resolve.py", "README.md"}.isdisjoint(Path(name).name for name in names)


# --- What the installer reads ----------------------------------------------------------------------------------

def test_lock_file():
    found = runtime_locks.lock_file("standard", "linux_x86_64", (3, 11))
    assert found == INPUTS / "locks" / "standard-linux_x86_64-py311.txt"
    assert runtime_locks.lock_file("learned-cpu", "linux_x86_64", (3, 11)) is None
    assert runtime_locks.lock_file("standard", "linux_x86_64", (3, 9)) is None


@pytest.mark.parametrize(("system", "machine", "expected"), [
    ("linux", "x86_64", "linux_x86_64"),
    ("linux", "aarch64", "linux_aarch64"),
    ("win32", "AMD64", "windows_x86_64"),
    ("win32", "ARM64", "windows_aarch64"),
    ("darwin", "arm64", "macos_arm64"),
    ("darwin", "x86_64", "macos_x86_64"),
    ("freebsd14", "riscv64", "freebsd14_riscv64"),
])
def test_platform_name(system, machine, expected):
    assert runtime_locks.platform_name(system, machine) == expected


def test_a_machine_without_a_lock_is_told_which_have_one():
    with pytest.raises(StereoDiffError, match=r"Python 3\.9; there is one for .*linux_x86_64-py311") as caught:
        runtime_locks.required_lock("standard", (3, 9))
    assert caught.value.code == "runtime_broken"
    assert runtime_locks.platform_name() in caught.value.message


@pytest.mark.parametrize("text", ["a==1 --hash=sha256:00\n", "a==1\nb==2\n    # bytes: 5\n# total-bytes: 5\n"])
def test_a_lock_without_sizes_is_refused(tmp_path, text):
    lock = tmp_path / "lock.txt"
    lock.write_text(text)
    with pytest.raises(StereoDiffError, match="does not say how large a is"):
        runtime_locks.sizes(lock)


def test_a_lock_without_a_total_or_that_is_not_there_is_refused(tmp_path):
    lock = tmp_path / "lock.txt"
    with pytest.raises(StereoDiffError, match="cannot be read"):
        runtime_locks.total_bytes(lock)
    lock.write_text("a==1 --hash=sha256:00\n    # bytes: 5\n")
    assert runtime_locks.sizes(lock) == {"a": 5}
    with pytest.raises(StereoDiffError, match="does not say how large it is"):
        runtime_locks.total_bytes(lock)
