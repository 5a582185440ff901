"""Starting programs: nothing runs from where one stands, what a program says has limits, and there is no other way."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_jobs import render_boards, wait_for_end, wait_until, write_movie
from tiny_wheels import write_lock, write_wheel
from traps import Traps

import build
from stereodiff_blender.engine import search_path
from stereodiff_blender.engine.contract import (
    ClipSource,
    Health,
    Job,
    JobFolder,
    Settings,
    StereoDiffError,
    programs,
    user_folders,
)
from stereodiff_blender.engine.doctor import devices, probing
from stereodiff_blender.health import checkup, weights
from stereodiff_blender.jobs import worker_process as jobs
from stereodiff_blender.runtime import environment as runtime
from stereodiff_blender.runtime import install as runtime_install
from tests.tools import environments

unix_only = pytest.mark.skipif(os.name == "nt", reason="scripts of the shell stand for programs")
PACKAGE = Path(programs.__file__).resolve().parents[2]
LOADED_FIRST = ("importlib", "types", "warnings", "__future__")
SETTINGS = {"quality": "draft", "max_side_px": 160}


def refused(code: str, match: str | None = None):
    return pytest.raises(StereoDiffError, match=match, check=lambda error: error.code == code)


@pytest.fixture
def traps(tmp_path) -> Traps:
    return Traps(tmp_path / "marks")


@pytest.fixture
def standing(traps, tmp_path, monkeypatch) -> Path:
    """We stand in a folder of traps, and the host's variables lead there, too."""
    folder = tmp_path / "footage"
    folder.mkdir()
    monkeypatch.chdir(traps.fill(folder))
    for name, value in traps.poison(folder).items():
        monkeypatch.setenv(name, value)
    return folder


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


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    write_movie(path, render_boards(5))
    return path


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


def test_a_resumed_job_runs_nothing_of_its_folder(standing, traps, clip, tmp_path, worker_python, repository):
    job = Job("stranger", ClipSource("movie", str(clip)), 1, 4, Settings(**SETTINGS))
    folder = traps.fill(jobs.create_job(job, tmp_path / "jobs"))
    followed = jobs.FollowedJob(folder, jobs.start(folder, worker_python, repository))
    status = wait_for_end(followed)
    assert status.state == "finished", status.log_tail
    assert len(JobFolder(folder).read_result().frames) == 4
    assert traps.sprung() == set()


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


def test_the_doctor_and_his_probe_run_nothing(standing, traps, worker_python, repository, tmp_path):
    health = checkup.ask_doctor(worker_python, repository, tmp_path / "jobs", tmp_path / "models")
    assert health.can_run
    assert next(found for found in health.findings if found.name == "EXR files").state == "ok"
    assert traps.sprung() == set()


def test_the_probe_and_the_driver_run_nothing(standing, traps):
    assert probing.ask_probe(["import:json", "exr"])["exr"].value is True
    devices.ask_driver()
    assert traps.sprung() == set()


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


# --- No other way ----------------------------------------------------------------------------------------------

MODULES = {"subprocess", "multiprocessing", "asyncio", "pty", "webbrowser", "code", "runpy", "sh", "pexpect", "psutil"}
NAMES = {"Popen", "popen", "startfile", "fork", "forkpty", "posix_spawn", "posix_spawnp", "ProcessPoolExecutor",
         "create_subprocess_exec", "create_subprocess_shell", "CreateProcessW", "CreateProcessA", "ShellExecuteW",
         "ShellExecuteExW", "WinExec", "which", "path_open", "url_open", "python_file_run", "text_run", "run_script",
         *(f"{kind}{suffix}" for kind in ("exec", "spawn")
                     for suffix in ("l", "le", "lp", "lpe", "v", "ve", "vp", "vpe"))}
CALLED = {"exec", "eval", "compile", "__import__"}
OPENERS = {"wm.path_open", "wm.url_open", "script.python_file_run", "text.run_script"}
OPENS_PAGES = {"ui/drawing/weights.py": "wm.url_open", "ui/operators/weights.py": "wm.url_open",
               "ui/operators/help.py": "webbrowser"}
"""With the address of a model's own page, which comes with the extension and is checked to be https; or with a page of
the guide that came with the extension."""


def other_ways(source: str) -> list[str]:
    """Whatever in a source could start a program, as "line: name"."""
    found = []
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.partition(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            is_module = node.module.partition(".")[0] in MODULES
            names = [alias.name for alias in node.names if is_module or alias.name in NAMES | {"system"}]
        elif isinstance(node, ast.Attribute):
            is_shell = node.attr == "system" and getattr(node.value, "id", "") in ("os", "posix", "nt")
            names = [node.attr] if node.attr in NAMES or is_shell else []
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            names = [node.func.id] if node.func.id in CALLED else []
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = [node.value] if node.value in MODULES - {"code", "sh"} | OPENERS else []
        found += [f"{node.lineno}: {name}" for name in names]
    return found


SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if path != Path(programs.__file__))


@pytest.mark.parametrize("path", [*SOURCES, Path(build.__file__)], ids=lambda path: path.name)
def test_nothing_else_starts_a_program(path):
    found = other_ways(path.read_text(encoding="utf-8"))
    name = path.relative_to(PACKAGE).as_posix() if path.is_relative_to(PACKAGE) else path.name
    if name in OPENS_PAGES:
        found = [way for way in found if not way.endswith(OPENS_PAGES[name])]
    assert found == []


@pytest.mark.parametrize("source", [
    "import subprocess", "import subprocess as s", "from subprocess import run",
    "def late():\n    import multiprocessing",
    "import multiprocessing.pool", "import os\nos.system('x')", "from os import system", "from os import execv as e",
    "import os\nos.spawnl(0, 'x')", "import os\nos.popen('x')", "import os\nos.startfile('x')", "import asyncio",
    "import os\nos.posix_spawn('x', [], {})", "from concurrent.futures import ProcessPoolExecutor", "os.fork()",
    "import importlib\nimportlib.import_module('subprocess')", "bpy.ops.wm.path_open(filepath='x')", "exec('x')",
    "layout.operator('wm.path_open')", "layout.operator('wm.url_open')", "shutil.which('x')",
    "loop.subprocess.Popen([])",
    "kernel.CreateProcessW()", "getattr(__import__('os'), 'x')", "bpy.ops.script.python_file_run(filepath='x')",
])
def test_the_checker_finds_another_way(source):
    assert other_ways(source)


def test_the_checker_lets_others_be():
    assert other_ways("import platform\nplatform.system()\nre.compile('x')\nprograms.start([])\nexecute()") == []


def test_here_every_program_is_started_by_one_line():
    tree = ast.parse(Path(programs.__file__).read_text(encoding="utf-8"))
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)
            and getattr(node.value, "id", "") == "subprocess"}
    assert used == {"Popen", "PIPE", "STDOUT", "DEVNULL", "TimeoutExpired", "STARTUPINFO", "CREATE_NEW_PROCESS_GROUP",
                    "CREATE_NO_WINDOW"}
    assert [node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call)
            and getattr(node.func, "id", "") in ("kind", "Program")] == ["kind"]
