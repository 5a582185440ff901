"""Which code a kept stage depends on: all that it imports, and nothing else."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stereodiff_blender.engine.worker import provenance
from tests.tools import rooms

PLAN = rooms.read()
SOURCES = rooms.package_sources()
PACKAGE = rooms.REPOSITORY / rooms.PACKAGE
KEYS = """
import json, sys
from pathlib import Path
from stereodiff_blender.engine.contract import ClipSource, Job, JobFolder, Settings
from stereodiff_blender.engine.media.frames import Raster
from stereodiff_blender.engine.worker import provenance
job = Job("job", ClipSource("movie", "clip.mp4"), 1, 8, Settings(stereo=sys.argv[1]), models_folder=".")
of_input = provenance.input_key(job, JobFolder(Path(".")), Raster(64, 48, 64, 48, 1.0))
of_stereo = provenance.stereo_key(job, of_input)
print(json.dumps({"input": of_input, "stereo": of_stereo, "refine": provenance.refine_key(job, of_stereo)}))
"""
ALL, STEREO, REFINE, NOTHING = {"input", "stereo", "refine"}, {"stereo", "refine"}, {"refine"}, set()


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """The folder of a copy of the engine that may be written to."""
    root = tmp_path_factory.mktemp("copy")
    for name in (rooms.PACKAGE, "vendor"):
        shutil.copytree(rooms.REPOSITORY / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "wheels"))
    return root


def keys(root: Path, stereo: str) -> dict[str, str]:
    ended = subprocess.run([sys.executable, "-c", KEYS, stereo], cwd=root, capture_output=True, text=True, check=True)
    return json.loads(ended.stdout)


@pytest.fixture(scope="module")
def before(copy) -> dict[str, dict[str, str]]:
    return {stereo: keys(copy, stereo) for stereo in ("geometric", "monst3r")}


@pytest.mark.slow
@pytest.mark.parametrize(("module", "stereo", "changed"), [
    ("doctor/machine.py", "geometric", NOTHING),
    ("evaluation/scores.py", "geometric", NOTHING),
    ("quality/spectrum.py", "geometric", NOTHING),
    ("worker/preview.py", "geometric", NOTHING),
    ("stereo/monst3r/solve.py", "geometric", NOTHING),
    ("stereo/monst3r/solve.py", "monst3r", STEREO),
    ("geometry.py", "geometric", STEREO),
    ("stereo/tracking/point_flow.py", "geometric", STEREO),
    ("stereo/mapping/registration.py", "geometric", STEREO),
    ("stereo/mvs/sky.py", "geometric", STEREO),
    ("stereo/boundaries/voting.py", "geometric", STEREO),
    ("pipeline/stages.py", "geometric", STEREO),
    ("diffusion/guided.py", "geometric", REFINE),
    ("worker/products.py", "geometric", REFINE),
    ("media/frames.py", "geometric", ALL),
    ("contract/settings.py", "geometric", ALL),
    ("contract/messages.py", "geometric", NOTHING),
    ("contract/job.py", "geometric", NOTHING),
])
def test_what_a_change_throws_away(copy, before, module, stereo, changed):
    path = copy / rooms.PACKAGE / "engine" / module
    code = path.read_bytes()
    path.write_bytes(code + b"# mended\n")
    try:
        after = keys(copy, stereo)
    finally:
        path.write_bytes(code)
    assert {name for name in after if after[name] != before[stereo][name]} == changed


WITHOUT_PART = {f"engine.contract.{name}" for name in (
    "errors", "failures", "folder", "guarded_files", "job", "job_files.caches", "result", "strict_json")}
"""Of the contract: what is said of a result, where it is written, and plain values, which are hashed themselves."""


def file_of(module: str) -> str:
    """Below the engine's folder."""
    path = PACKAGE.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return file.relative_to(PACKAGE / "engine").as_posix()


def inside_imports(module: str) -> list[rooms.Import]:
    return [item for item in rooms.imports_of(SOURCES[module], module, set(SOURCES)) if item.is_inside]


HANDED_ON = {item.name: item.module for item in inside_imports(rooms.CONTRACT)}
"""Where a name of the contract comes from."""


def imported_from(*modules: str) -> set[str]:
    """These modules and all that they import, at once or late, and what that imports; of the contract the first only.
    """
    waiting, found = list(modules), set()
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            if not rooms.within(module, rooms.CONTRACT):
                waiting += [HANDED_ON[item.name] if item.module == rooms.CONTRACT else item.module
                            for item in inside_imports(module)]
    return found - WITHOUT_PART


def covers(code: tuple[str, ...], file: str) -> bool:
    return any(file == part or file.startswith(f"{part}/") for part in code)


@pytest.mark.parametrize(("modules", "code"), [
    (("engine.worker.reading",), provenance.INPUT_CODE),
    (("engine.pipeline.stereo_steps",), provenance.INPUT_CODE + provenance.STEREO_CODE + provenance.MONST3R_CODE),
    (("engine.pipeline.refine_steps", "engine.worker.products"),
     provenance.INPUT_CODE + provenance.STEREO_CODE + provenance.REFINE_CODE),
])
def test_all_that_a_stage_imports_is_covered(modules, code):
    """But packages that are empty, and what shows results: products.py hands previews on, which have no part in it."""
    files = {file_of(module) for module in imported_from(*modules)
             if module != "engine.worker.preview" and rooms.parsed(SOURCES[module]).body[1:]}
    assert sorted(file for file in files if not covers(code, file)) == []


@pytest.mark.parametrize("part", provenance.INPUT_CODE + provenance.STEREO_CODE + provenance.MONST3R_CODE
                         + provenance.REFINE_CODE)
def test_what_is_covered_is_there(part):
    assert (PACKAGE / "engine" / part).exists()
