"""Starting programs: what they are given, and what they say, has limits; none outlives its work."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_jobs import wait_until

import build
from stereodiff_blender.engine.contract import StereoDiffError, programs, user_folders
from stereodiff_blender.engine.doctor import probing
from stereodiff_blender.health import checkup
from stereodiff_blender.runtime import environment as runtime
from stereodiff_blender.runtime import install as runtime_install

unix_only = pytest.mark.skipif(os.name == "nt", reason="scripts of the shell stand for programs")


def refused(code: str, match: str | None = None):
    return pytest.raises(StereoDiffError, match=match, check=lambda error: error.code == code)


@pytest.fixture
def script(tmp_path):
    """script(text) -> a program that stands for a Python."""

    def write(text: str) -> Path:
        path = tmp_path / "bin" / "python"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    return write


def is_gone(pid: int) -> bool:
    """A zombie, whom nobody has waited for, is gone."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False


# --- Environment -----------------------------------------------------------------------------------------------

def test_a_hosts_settings_stay_with_the_host(monkeypatch, tmp_path):
    for name in ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONUSERBASE", "PYTHONINSPECT", "PYTHONWARNINGS",
                 "PYTHONPYCACHEPREFIX", "PYTHON_PRESITE", "PYTHONOFTOMORROW", "VIRTUAL_ENV", "MPLBACKEND",
                 "MATPLOTLIBRC", "__PYVENV_LAUNCHER__"):
        monkeypatch.setenv(name, "anything")
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy")
    environment = programs.python_environment()
    assert "anything" not in environment.values()
    assert {name for name in environment if name.startswith("PYTHON")} == {
        "PYTHONHASHSEED", "PYTHONSAFEPATH", "PYTHONNOUSERSITE", "PYTHONUTF8"} | (
        programs.KEPT_OF_PYTHON & set(os.environ))
    assert (environment["PYTHONHASHSEED"], environment["HTTPS_PROXY"]) == ("7", "http://proxy")


def test_what_is_imported_from_is_named_by_its_whole_path(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    environment = programs.python_environment("extension", tmp_path / "more")
    assert environment["PYTHONPATH"] == os.pathsep.join((str(tmp_path / "extension"), str(tmp_path / "more")))
    with refused("runtime_broken", "whose name has"):
        programs.python_environment(tmp_path / f"one{os.pathsep}two")


def test_lists_of_folders_lose_what_means_where_one_stands(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", os.pathsep.join((".", str(tmp_path), "", "bin", str(tmp_path / "more"))))
    monkeypatch.setenv("LD_LIBRARY_PATH", os.pathsep)
    environment = programs.python_environment()
    assert environment["PATH"] == os.pathsep.join((str(tmp_path), str(tmp_path / "more")))
    assert "LD_LIBRARY_PATH" not in environment


@unix_only
def test_a_program_is_not_found_where_one_stands(standing, traps, tmp_path, monkeypatch):
    assert programs.find_program("lsb_release") != standing / "lsb_release"
    (tmp_path / "bin").mkdir()
    (standing / "lsb_release").rename(tmp_path / "bin" / "ours")
    monkeypatch.setenv("PATH", f".{os.pathsep}{tmp_path / 'bin'}")
    assert programs.find_program("ours") == tmp_path / "bin" / "ours"
    assert programs.find_program("nvidia-smi") is None


def test_a_program_stands_in_its_own_folder(standing):
    where = programs.ask(programs.python_command(sys.executable, "-c", "import os; print(os.getcwd())"), 60.0)
    assert Path(where.output.strip()) == Path(sys.executable).parent.resolve()


@pytest.mark.parametrize("program", ["python", "./python", "bin/python", ""])
def test_a_program_without_its_whole_path_is_refused(standing, traps, program):
    with refused("runtime_broken", "not a whole path"):
        programs.start([program, "--version"])
    with refused("runtime_missing"):
        runtime.find_python(program or "environment")
    assert traps.sprung() == set()


def test_a_user_folder_is_never_where_one_stands(standing, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", ".")
    assert user_folders.user_folder().is_absolute() and not user_folders.user_folder().is_relative_to(standing)


# --- Answers ---------------------------------------------------------------------------------------------------

@unix_only
@pytest.mark.parametrize("answer", [
    "echo '[]'", "echo '{}'", "echo null", "echo '\"text\"'", "echo '{\"versions\": 3, \"missing\": {}}'",
    "echo '{\"versions\": {\"numpy\": 1}, \"missing\": {}}'", "echo '{\"versions\": {}, \"missing\": [\"numpy\"]}'",
    "echo 1e999", "head -c 100000 /dev/zero | tr '\\0' '['", "head -c 5000 /dev/urandom", "printf '\\377\\376\\n'",
    "exit 0", "exit 3", "kill -9 $$", "echo words >&2; exit 1", "head -c 300000 /dev/zero >&2",
])
def test_an_odd_answer_is_a_broken_python_in_words(script, answer, repository, tmp_path):
    python = script(answer)
    for ask in (lambda: runtime.verify(python),
                lambda: checkup.ask_doctor(python, repository, tmp_path / "jobs", tmp_path / "models")):
        with refused("runtime_broken") as caught:
            ask()
        assert len(caught.value.message) < 1000 and "Traceback" not in caught.value.message


def test_a_probe_that_answers_oddly_is_passed_over(repository):
    said = "\n".join(("doctor:[1]", "doctor:{}", 'doctor:{"step": 3}', 'doctor:"step"', "doctor:" + 50_000 * "[",
                      'doctor:{"step": "a"}', 'doctor:{"step": "a", "value": 1}'))
    assert probing._answers(programs.Ended(said, "", 0)) == {"a": probing.Answer(1)}


@unix_only
@pytest.mark.parametrize("flood", ["exec yes", "exec yes >&2", "exec cat /dev/zero", "yes & exec yes"])
def test_a_flood_is_cut_and_ended(script, flood):
    python, began = script(flood), time.monotonic()
    ended = programs.run([python], 60.0)
    assert len(ended.output) + len(ended.errors) <= 2 * programs.MOST_ANSWER_BYTES
    assert ended.stopped == "an answer of more than 1 MB" and time.monotonic() - began < 30
    with refused("runtime_broken", "more than 1 MB"):
        runtime.verify(python)
    assert not runtime_install._runs(python) and not build.runs_as(python, (3, 11))


@pytest.mark.slow
@unix_only
def test_no_answer_within_the_time_is_none(script):
    with refused("runtime_broken", "gave no answer within 0 s"):
        programs.ask([script("echo something; sleep 600")], 0.3)
    assert programs.run([script("echo something; sleep 600")], 0.3).output == "something\n"


@unix_only
def test_what_a_program_leaves_behind_is_ended_with_it(script, tmp_path):
    """A child that holds on to the output would keep whoever reads it waiting."""
    began = time.monotonic()
    ended = programs.run([script(f"sleep 600 & echo $! > '{tmp_path}/pid'; echo answer")], 60.0)
    assert (ended.output, ended.status, ended.stopped) == ("answer\n", 0, "")
    assert time.monotonic() - began < 30
    wait_until(lambda: is_gone(int((tmp_path / "pid").read_text())))


@pytest.mark.slow
@unix_only
def test_a_doctor_who_is_ended_takes_along_what_he_asks(tmp_path, monkeypatch, repository, script):
    (tmp_path / "bin").mkdir()
    hanging = tmp_path / "bin" / "nvidia-smi"
    hanging.write_text(f"#!/bin/sh\necho $$ > '{tmp_path}/pid'\nexec sleep 600\n")
    hanging.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    python = build.find_python((3, 13)) or Path(sys.executable)
    doctor = programs.start(programs.engine_command(python, "doctor"), output=subprocess.DEVNULL,
                            environment=programs.python_environment(repository))
    wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip())
    programs.end(doctor)
    wait_until(lambda: is_gone(int((tmp_path / "pid").read_text())))


# --- Work that is listened to ----------------------------------------------------------------------------------

@unix_only
def test_every_line_comes_and_in_order(script):
    lines: list[str] = []
    status = programs.run_long([script("seq 1 5000; echo last >&2; exit 5")], on_line=lines.append)
    assert status == 5
    assert lines == [*map(str, range(1, 5001)), "last"]


@unix_only
@pytest.mark.parametrize("flood", ["exec cat /dev/zero", "exec yes"])
def test_a_flood_of_lines_can_be_broken_off(script, flood):
    class EnoughError(Exception):
        pass

    longest = 0
    seen = 0

    def listen(line: str) -> None:
        nonlocal longest, seen
        longest, seen = max(longest, len(line)), seen + 1

    def look_up() -> None:
        if seen > 200:
            raise EnoughError

    with pytest.raises(EnoughError):
        programs.run_long([script(flood)], on_line=listen, on_moment=look_up)
    assert longest <= programs.LONGEST_LINE


@pytest.mark.slow
@unix_only
def test_it_ends_though_a_child_holds_on_to_its_output(script, tmp_path):
    began = time.monotonic()
    lines: list[str] = []
    code = f"import os, time; os.setsid(); open('{tmp_path}/pid', 'w').write(str(os.getpid())); time.sleep(600)"
    status = programs.run_long([script(f"'{sys.executable}' -c \"{code}\" &\nsleep 1; echo done")],
                               on_line=lines.append)
    wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    os.kill(int((tmp_path / "pid").read_text()), 9)
    assert (status, lines) == (0, ["done"]) and time.monotonic() - began < 60


def test_before_somebodys_eyes_it_says_how_it_ended(capfd, standing):
    command = programs.python_command(sys.executable, "-c", "import os; print(os.getcwd()); raise SystemExit(4)")
    assert programs.run_here(command, environment=programs.python_environment(), folder=standing) == 4
    assert capfd.readouterr().out.strip() == str(standing)
