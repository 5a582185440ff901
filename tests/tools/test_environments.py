"""The environments of a checkout: made, completed, updated, and recognized when half made; with real interpreters."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stereodiff_blender.engine.contract import StereoDiffError
from stereodiff_blender.runtime import environment as runtime
from tests.tools.environments import create

pytestmark = pytest.mark.slow

EMPTY_ENVIRONMENT = "pip\n"  # there already, so nothing is fetched


def refused(code: str):
    return pytest.raises(StereoDiffError, check=lambda error: error.code == code)


@pytest.fixture
def requirements(tmp_path) -> Path:
    path = tmp_path / "requirements.txt"
    path.write_text(EMPTY_ENVIRONMENT)
    return path


@pytest.fixture(scope="module")
def bare_environment(tmp_path_factory) -> Path:
    """A real environment with nothing in it but pip, made where an earlier attempt had broken off."""
    folder = tmp_path_factory.mktemp("runtime") / "environment"
    folder.mkdir()
    (folder / "pyvenv.cfg").write_text("home = nowhere\n")
    (folder / "left over").touch()
    requirements = folder.parent / "requirements.txt"
    requirements.write_text(EMPTY_ENVIRONMENT)
    lines: list[str] = []
    python = create(folder, requirements, base_python=sys.executable, on_line=lines.append)
    assert python == runtime.environment_python(folder)
    assert any("already satisfied" in line for line in lines), lines
    return folder


@pytest.fixture
def environment(bare_environment, tmp_path) -> Path:
    """A copy to change."""
    return shutil.copytree(bare_environment, tmp_path / "environment", symlinks=True)


def test_a_half_made_environment_is_made_anew(bare_environment):
    assert runtime.is_complete(bare_environment, bare_environment.parent / "requirements.txt")
    assert not (bare_environment / "left over").exists()


def test_a_made_environment_runs_and_is_not_made_twice(bare_environment):
    python = runtime.environment_python(bare_environment)
    prefix = subprocess.run([python, "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True, check=True)
    assert Path(prefix.stdout.strip()).resolve() == bare_environment.resolve()
    lines: list[str] = []
    create(bare_environment, bare_environment.parent / "requirements.txt", base_python="no such python",
           on_line=lines.append)
    assert lines == []


def test_other_requirements_are_not_complete(bare_environment, tmp_path):
    other = tmp_path / "other.txt"
    other.write_text("# something else\n")
    assert not runtime.is_complete(bare_environment, other)


def test_a_finished_environment_is_updated_in_place(environment, requirements):
    (environment / "kept").touch()
    requirements.write_text("# newer\npip\n")
    assert not runtime.is_complete(environment, requirements)
    create(environment, requirements, base_python="no such python", on_line=lambda line: None)
    assert runtime.is_complete(environment, requirements)
    assert (environment / "kept").exists()


def test_a_failed_installation_leaves_no_complete_environment(environment, requirements):
    requirements.write_text("./no-such-package-here\n")
    with refused("runtime_broken") as caught:
        create(environment, requirements, base_python=sys.executable, on_line=lambda line: None)
    assert "no-such-package-here" in caught.value.message
    assert not (environment / runtime.MARKER).exists()


@pytest.mark.parametrize(("password", "code"), [
    ("hunter2", "download_failed"), ("hunter2%40tail77", "download_failed"),
    ("half/w@ord99", "runtime_broken"),  # no address at all, once it has a "/" there
])
def test_what_pip_says_is_shown_without_keys(environment, requirements, monkeypatch, password, code):
    """The lines as they come, and the error that they end in."""
    for name, value in {"PIP_INDEX_URL": f"http://jane:{password}@127.0.0.1:9/simple", "PIP_RETRIES": "0",
                        "PIP_TIMEOUT": "1", "PIP_VERBOSE": "3"}.items():
        monkeypatch.setenv(name, value)
    requirements.write_text("nothing-of-that-name==1.0\n")
    lines: list[str] = []
    with refused(code) as caught:
        create(environment, requirements, base_python=sys.executable, on_line=lines.append)
    said = "\n".join([*lines, caught.value.message])
    assert "nothing-of-that-name" in said
    assert not [key for key in ("hunter2", "half", "w@ord", "ord99", "tail77") if key in said]


def test_a_folder_with_other_files_is_left_alone(tmp_path, requirements):
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "holiday.jpg").write_bytes(b"precious")
    with refused("output_in_use"):
        create(folder, requirements, base_python=sys.executable, on_line=lambda line: None)
    assert (folder / "holiday.jpg").read_bytes() == b"precious"


def test_a_base_python_that_does_not_exist(tmp_path, requirements):
    with refused("runtime_broken"):
        create(tmp_path / "environment", requirements, base_python=tmp_path / "python",
               on_line=lambda line: None)


def test_a_listener_that_gives_up_ends_the_installation(environment, requirements):
    class Stopped(Exception):  # noqa: N818
        pass

    def stop(line: str) -> None:
        raise Stopped

    requirements.write_text("# newer\npip\n")
    with pytest.raises(Stopped):
        create(environment, requirements, base_python=sys.executable, on_line=stop)
    assert not (environment / runtime.MARKER).exists()


def test_verify_names_what_is_missing(bare_environment):
    with refused("runtime_broken") as caught:
        runtime.verify(runtime.environment_python(bare_environment))
    assert all(name in caught.value.message for name in runtime.MODULES)
