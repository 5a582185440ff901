"""A real Blender in which the extension is enabled under the nested name it has when installed.

Every test starts from an empty file, default preferences with a jobs folder of its own, and a fresh session.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import bpy
import pytest
from job_folder import Example, write_job_folder, write_sequence

ROOT = Path(__file__).resolve().parents[2]
EXTENSION = "stereodiff_extension"


def _nest_package() -> ModuleType:
    """The package below a parent module, as Blender loads it out of an extension."""
    parent = ModuleType(EXTENSION)
    parent.__path__ = [str(ROOT)]
    sys.modules[EXTENSION] = parent
    return importlib.import_module(f"{EXTENSION}.stereodiff_blender")


@pytest.fixture(scope="session")
def addon():
    """The package, registered. 4.2 and 4.5 do not end cleanly with anything left registered."""
    package = _nest_package()
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    bpy.context.preferences.addons.new().module = EXTENSION
    package.register()
    yield package
    package.unregister()
    bpy.context.preferences.addons.remove(bpy.context.preferences.addons[EXTENSION])


@pytest.fixture
def preferences(addon, tmp_path, monkeypatch):
    """Defaults, but jobs go to this test's folder and its own Python stands for the engine's."""
    group = addon.ui.preferences.current()
    group.runtime_python, group.device = sys.executable, "auto"
    group.jobs_folder = str(tmp_path / "jobs")
    group.models_folder = group.wheel_folder = group.cache_folder = ""
    group.cores = 0
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "user"))  # Whoever else solves here must not be waited for.
    return group


@pytest.fixture(autouse=True)
def fresh_blender(addon, preferences):
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    addon.session.session.unregister()
    addon.session.session.register(addon.ui.preferences.find_python)
    yield
    for job_id, view in addon.session.session.status().jobs.items():
        if not view.status.has_ended:
            addon.session.session.current().jobs.cancel(job_id)
            addon.session.session.current().wait_for(
                lambda job_id=job_id: addon.session.session.current().jobs.is_active(job_id))


@pytest.fixture
def compiles(monkeypatch):
    """Blender's own Python modules, among them that which reads shaders; bpy as a module leaves them aside."""
    for folder in Path(bpy.utils.resource_path("LOCAL")).glob("python/lib/python3.*/site-packages"):
        monkeypatch.syspath_prepend(str(folder))
    yield
    sys.modules.pop("oslquery", None)


@pytest.fixture
def session(addon):
    return addon.session.session.current()


@pytest.fixture
def settings():
    return bpy.context.scene.stereodiff


@pytest.fixture
def contract(addon) -> ModuleType:
    """The contract as the registered package knows it; its classes are not those of an import by another name."""
    return importlib.import_module(f"{addon.__name__}.engine.contract")


@pytest.fixture
def sequence(tmp_path) -> bpy.types.MovieClip:
    """A clip of six pictures, files 0001 to 0006."""
    return bpy.data.movieclips.load(str(write_sequence(tmp_path / "footage")))


WORKER = '''
import json, os, pathlib, shutil, sys, time
job, here = pathlib.Path(sys.argv[2]), pathlib.Path(__file__).resolve().parents[2]
def say(**event):
    with open(job / "events.jsonl", "a") as stream:
        stream.write(json.dumps({"time_s": time.time(), **event}) + "\\n")
say(kind="started", pid=os.getpid(), plan=[["read", 0.5], ["solve", 0.5]])
say(kind="stage", stage="read", total=6)
say(kind="progress", stage="read", done=3, total=6)
print("the worker was here", flush=True)
while (behavior := (here / "behavior").read_text()) in ("", "hang"):
    time.sleep(0.02)
if behavior == "crash":
    os._exit(7)
if behavior == "fail":
    say(kind="failed", code="clip_truncated", message="Frame 5 is not there.")
    sys.exit(1)
for path in (here / "ready").rglob("*"):
    target = job / path.relative_to(here / "ready")
    if path.is_file() and path.name not in ("job.json", "result.json"):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
shutil.copyfile(here / "ready" / "result.json", job / "result.json")
say(kind="finished")
'''


@pytest.fixture
def worker_like(tmp_path, addon, monkeypatch) -> Iterator[Callable[[str], Path]]:
    """worker_like(behavior): solves now start a small program in place of the engine, in a process of its own.

    behavior: "finish" with the result of job_folder.py, "fail", "crash", or "hang" until it is told another.
    Returns the folder that contains it.
    """
    root = tmp_path / "worker"
    engine = root / "stereodiff_blender" / "engine"

    def install(behavior: str) -> Path:
        if not engine.exists():
            engine.mkdir(parents=True)
            (engine / "__main__.py").write_text(WORKER)
            write_job_folder(root / "ready", Example(), clip_folder=tmp_path / "footage")
        (root / "behavior").write_text(behavior)
        monkeypatch.setattr(addon.ui.preferences, "EXTENSION_ROOT", root)
        return root

    yield install
    if engine.exists():
        install("crash")  # so that no worker outlives its test
