"""Programs are started in one place: nothing else in our sources can start one."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import build
from stereodiff_blender.engine.contract import programs

PACKAGE = Path(programs.__file__).resolve().parents[2]
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
