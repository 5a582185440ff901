"""Who may import whom: the boundary between Blender, the worker and the parts of the engine, as one table.

Every import statement of the package is read from its syntax tree, wherever it stands (top of the file, inside a
function, under TYPE_CHECKING), so nothing here imports bpy or torch.
"""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = "stereodiff_blender"
ROOT = Path(__file__).resolve().parent.parent / PACKAGE

BLENDER = {"bpy", "bpy_extras", "mathutils", "gpu", "gpu_extras", "blf", "bmesh", "addon_utils", "bl_ui"}
STANDARD_LIBRARY = set(sys.stdlib_module_names)

CONTRACT = {"engine.contract", "engine.guarded_files", "engine.caches", "engine.user_folders"}
# What the cards, the licences and the folders of weights are, both sides have to say alike: standard library only.
MODEL_FILES = {"engine.models.cards", "engine.models.licences", "engine.models.records", "engine.models.events"}
ARRAYS = {"engine.contract", "engine.geometry", "engine.flow", "engine.report", "engine.scratch", "engine.keeping"}


@dataclass(frozen=True)
class Room:
    """rooms: modules of this package it may import, each with all below it. libraries: besides Python's own."""

    rooms: frozenset[str]
    libraries: frozenset[str]


def room(rooms=(), libraries=()) -> Room:
    return Room(frozenset(rooms), frozenset(libraries))


# The longest name that fits a module is its room; a room may always import what lies inside itself. The two rooms
# in HALLS are an __init__.py alone: what lies below them needs a room of its own.
HALLS = {"", "engine"}
ROOMS = {
    # What Blender loads. Of the engine it sees the contract and nothing else.
    "": room({"preferences", "properties", "operators", "comp_operators", "doctor_operators", "finish_operators",
              "help_operators", "job_operators", "mesh_operators", "report_operators", "runtime_operators", "panels",
              "panels_jobs", "panels_scene", "session", "weights_operators"}),
    "panels_jobs": room({"panels", "panels_health", "panel_text", "properties", "session", "job_views"}, BLENDER),
    "job_operators": room({"operators", "clip", "job_files", "job_list", "job_views", "preferences", "properties",
                           "reader_thread", "session"} | CONTRACT, BLENDER),
    "panels_scene": room({"panel_text", "scene"}, BLENDER),
    "panels_weights": room({"panel_text", "weights_desk"}, BLENDER),
    "weights_operators": room({"operators", "preferences", "runtime", "session", "weights_desk"} | MODEL_FILES
                              | CONTRACT, BLENDER),
    "comp_operators": room({"operators", "scene"} | CONTRACT, BLENDER),
    "help_operators": room({"operators"}, BLENDER),
    "mesh_operators": room({"operators", "scene"} | CONTRACT, BLENDER),
    "report_operators": room({"comp_operators", "operators", "result_checks", "scene"} | CONTRACT, BLENDER),
    "verdicts": room(CONTRACT),
    "finish_operators": room({"operators", "scene"} | CONTRACT, BLENDER | {"numpy"}),
    "panels": room({"panel_text", "panels_health", "properties", "messages", "session", "verdicts"}
                   | CONTRACT, BLENDER),
    "panels_health": room({"panel_text", "properties", "readiness", "session"} | CONTRACT),
    "panel_text": room({"messages"}),
    "operators": room({"properties", "clip", "matte", "session", "job_files", "job_list", "jobs", "runtime", "scene",
                       "preferences", "messages", "readiness", "reader_thread", "result_checks", "engine.worker_log"}
                      | MODEL_FILES | CONTRACT, BLENDER),
    "doctor_operators": room({"checkup", "messages", "operators", "preferences", "session"} | CONTRACT, BLENDER),
    "preferences": room({"checkup", "installation", "panels_weights", "runtime", "messages", "session"} | CONTRACT,
                        BLENDER),
    "properties": room({"preferences", "clip"} | CONTRACT, BLENDER),
    "session": room({"checkup", "job_list", "job_files", "job_queue", "job_views", "jobs", "installation", "scene",
                     "messages", "reader_thread", "result_checks", "result_looks", "thumbnails", "weights_desk",
                     "windows"} | CONTRACT, BLENDER),
    "job_list": room({"jobs"} | CONTRACT, BLENDER),
    "thumbnails": room((), BLENDER | {"numpy"}),
    "windows": room((), BLENDER),
    "clip": room({"numbered_files"} | CONTRACT, BLENDER),
    "matte": room({"clip"} | CONTRACT, BLENDER | {"numpy"}),
    "scene": room({"camera_math", "numbered_files", "result_checks", "engine.guarded_files"} | CONTRACT,
                  BLENDER | {"numpy"}),
    # Also on Blender's side, but without Blender.
    "camera_math": room(CONTRACT, {"numpy"}),
    "installation": room(CONTRACT),
    "checkup": room({"installation", "engine.programs"} | MODEL_FILES | CONTRACT),
    "readiness": room({"checkup", "weights_desk"} | MODEL_FILES | CONTRACT),
    "weights_desk": room({"installation", "runtime", "engine.programs"} | MODEL_FILES | CONTRACT),
    "numbered_files": room(),
    "jobs": room({"device_lock", "processes", "progress", "watchdog", "engine.programs", "engine.worker_log"}
                 | CONTRACT),
    "watchdog": room(CONTRACT),
    "reader_thread": room(CONTRACT),
    "picture_headers": room(),
    "small_pictures": room({"result_checks", "engine.turns"} | CONTRACT, {"numpy"}),
    "result_looks": room({"job_views", "small_pictures"} | CONTRACT, {"numpy"}),
    "result_checks": room({"numbered_files", "picture_headers", "engine.guarded_files", "engine.turns"} | CONTRACT),
    "device_lock": room(CONTRACT),
    "processes": room({"engine.programs"} | CONTRACT),
    "progress": room(CONTRACT),
    "job_files": room({"job_views", "jobs", "processes", "reader_thread", "engine.job_lock"} | CONTRACT),
    "job_views": room({"checkup", "installation", "progress", "weights_desk"} | CONTRACT),
    "job_queue": room({"device_lock", "installation", "job_views", "jobs", "result_checks", "result_looks"} | CONTRACT),
    "runtime": room({"engine.programs", "engine.strict_json", "engine.user_folders"} | CONTRACT),
    "runtime_install": room({"runtime", "runtime_locks", "runtime_packages", "engine.programs"} | CONTRACT),
    "runtime_packages": room(),
    "runtime_operators": room({"installation", "operators", "preferences", "runtime", "runtime_install",
                               "runtime_locks", "session"} | CONTRACT, BLENDER),
    "runtime_locks": room(CONTRACT),
    "messages": room(CONTRACT),
    # What the worker runs.
    "engine": room(),
    "engine.contract": room({"engine.strict_json", "engine.errors", "engine.settings", "engine.shapes",
                             "engine.health", "engine.redaction", "engine.guarded_files", "engine.event_lines",
                             "engine.large_json", "engine.turns"}),
    "engine.settings": room({"engine.errors"}),
    "engine.shapes": room({"engine.strict_json", "engine.errors", "engine.guarded_files"}),
    "engine.health": room({"engine.strict_json", "engine.errors", "engine.redaction"}),
    "engine.redaction": room(),
    "engine.errors": room({"engine.redaction"}),
    "engine.programs": room({"engine.errors", "engine.search_path"}),
    "engine.search_path": room(),
    "engine.guarded_files": room({"engine.errors"}),
    "engine.strict_json": room({"engine.turns"}),
    "engine.event_lines": room(),
    "engine.turns": room(),
    "engine.worker_log": room({"engine.guarded_files"}),
    "engine.large_json": room({"engine.turns"}),
    "engine.caches": room({"engine.strict_json"} | CONTRACT),
    "engine.user_folders": room(),
    "engine.__main__": room({"engine.worker", "engine.solve_command", "engine.solve_options",
                             "engine.evaluation.command", "engine.doctor", "engine.failures", "engine.health",
                             "engine.models", "engine.redaction", "engine.search_path", "messages"}
                            | CONTRACT),
    "engine.solve_command": room({"engine.worker", "engine.frames", "engine.job_lock", "engine.models",
                                  "engine.progress_line", "engine.solve_options", "engine.workplace"} | CONTRACT),
    "engine.progress_line": room(CONTRACT),
    "engine.solve_options": room({"engine.models"} | CONTRACT),
    "engine.doctor": room({"engine.errors", "engine.health", "engine.models", "engine.redaction", "engine.programs"}
                          | CONTRACT),
    "engine.doctor.probe": room({"engine.exr", "engine.torch_device"}, {"av", "numpy", "torch"}),
    "engine.worker": room({"engine.pipeline", "engine.frames", "engine.mattes", "engine.products", "engine.quality",
                           "engine.networks", "engine.report", "engine.scratch", "engine.spectrum", "engine.plots",
                           "engine.event_report", "engine.failures", "engine.job_lock", "engine.provenance",
                           "engine.redaction", "engine.workplace"} | CONTRACT,
                          {"numpy"}),
    "engine.event_report": room({"engine.redaction", "engine.report"} | CONTRACT),
    "engine.failures": room({"engine.errors"} | CONTRACT),
    "engine.job_lock": room({"engine.guarded_files", "engine.worker_log"} | CONTRACT),
    "engine.provenance": room({"engine.frames", "engine.networks", "engine.strict_json"} | MODEL_FILES | CONTRACT),
    "engine.workplace": room({"engine.frames", "engine.kept_stereo", "engine.provenance", "engine.scratch",
                              "engine.seals"} | CONTRACT),
    "engine.seals": room({"engine.strict_json"} | CONTRACT),
    # Files in and out.
    "engine.frames": room({"engine.footage_file", "engine.movies", "engine.stills", "engine.sequences"} | CONTRACT,
                          {"numpy", "cv2"}),
    "engine.mattes": room({"engine.frames", "engine.report"} | CONTRACT, {"numpy", "cv2"}),
    "engine.movies": room({"engine.footage_file", "engine.picture_size"} | CONTRACT, {"numpy", "av"}),
    "engine.stills": room({"engine.exr", "engine.failures", "engine.footage_file", "engine.movies",
                           "engine.picture_size"} | CONTRACT, {"numpy", "cv2", "av"}),
    "engine.sequences": room({"engine.footage_file"} | CONTRACT),
    "engine.footage_file": room(CONTRACT),
    "engine.picture_size": room(CONTRACT),
    "engine.products": room({"engine.exr", "engine.outputs", "engine.preview", "engine.report", "engine.scratch",
                             "engine.stereo"} | CONTRACT, {"numpy"}),
    "engine.preview": room({"engine.outputs"} | CONTRACT, {"numpy", "cv2", "av", "imageio"}),
    "engine.exr": room({"engine.outputs"} | CONTRACT, {"numpy", "OpenEXR"}),
    "engine.outputs": room(CONTRACT),
    "engine.weights": room(CONTRACT, {"safetensors", "torch"}),
    "engine.networks": room({"engine.stereo.monst3r", "engine.diffusion.depthcrafter", "engine.torch_device"}
                            | MODEL_FILES | CONTRACT, {"torch"}),
    "engine.models": room({"engine.strict_json"} | CONTRACT),
    "engine.models.connection": room({"engine.redaction"} | CONTRACT, {"huggingface_hub", "httpx2"}),
    "engine.models.transfer": room({"engine.models"} | CONTRACT, {"huggingface_hub", "httpx2", "filelock"}),
    "engine.models.command": room({"engine.failures", "engine.models", "runtime"} | CONTRACT),
    "engine.torch_device": room(CONTRACT, {"torch"}),
    "engine.torch_memory": room(CONTRACT, {"torch"}),
    # The method, which knows no files.
    "engine.pipeline": room({"engine.pairs", "engine.stereo", "engine.diffusion", "engine.quality",
                             "engine.footage", "engine.footage_findings", "engine.footage_plate",
                             "engine.kept_stereo", "engine.networks", "engine.torch_device"} | ARRAYS,
                            {"numpy"}),
    "engine.quality": room({"engine.static_points", "engine.stereo"} | ARRAYS, {"numpy", "cv2"}),
    "engine.static_points": room({"engine.stereo"} | ARRAYS, {"numpy"}),
    "engine.footage": room({"engine.footage_scan"} | ARRAYS, {"numpy", "cv2"}),
    "engine.footage_scan": room(ARRAYS, {"numpy", "cv2"}),
    "engine.footage_findings": room({"engine.footage"} | ARRAYS, {"numpy"}),
    "engine.footage_plate": room({"engine.footage", "engine.stereo"} | ARRAYS, {"numpy", "cv2"}),
    "engine.geometry": room(CONTRACT, {"numpy"}),
    "engine.flow": room(CONTRACT, {"numpy", "cv2"}),
    "engine.report": room(),
    "engine.scratch": room({"engine.keeping"} | CONTRACT, {"numpy"}),
    "engine.keeping": room({"engine.outputs"} | CONTRACT, {"numpy"}),
    "engine.kept_stereo": room({"engine.stereo"} | ARRAYS, {"numpy"}),
    "engine.pairs": room(),
    "engine.stereo": room(ARRAYS | {"engine.pairs"}, {"numpy", "cv2"}),
    "engine.stereo.monst3r": room(ARRAYS | {"engine.pairs", "engine.stereo", "engine.torch_memory"},
                                  {"numpy", "cv2", "torch", "PIL"}),
    "engine.stereo.monst3r.checkpoint": room(CONTRACT | {"engine.stereo.monst3r", "engine.weights"}, {"torch"}),
    "engine.stereo.geometric.edge_refinement": room(ARRAYS | {"engine.stereo", "engine.torch_device"},
                                                    {"numpy", "cv2", "torch"}),
    "engine.diffusion": room(ARRAYS, {"numpy", "cv2"}),
    "engine.diffusion.depthcrafter": room(ARRAYS | {"engine.diffusion", "engine.torch_memory"},
                                          {"numpy", "cv2", "torch", "diffusers", "transformers"}),
    "engine.diffusion.depthcrafter.checkpoint": room(CONTRACT | {"engine.diffusion.depthcrafter", "engine.weights"},
                                                     {"torch", "diffusers", "transformers"}),
    "engine.spectrum": room({"engine.static_points"} | ARRAYS, {"numpy"}),
    "engine.evaluation": room({"engine.geometry", "engine.spectrum", "engine.flow", "engine.scratch", "engine.exr",
                               "engine.strict_json"} | CONTRACT, {"numpy", "cv2"}),
    "engine.evaluation.datasets": room({"engine.geometry", "engine.stills", "engine.exr", "engine.strict_json"}
                                       | CONTRACT, {"numpy", "cv2"}),
    "engine.evaluation.solving": room({"engine.evaluation", "engine.worker", "engine.outputs", "engine.scratch",
                                       "engine.strict_json", "engine.progress_line"} | CONTRACT, {"cv2"}),
    "engine.evaluation.command": room({"engine.evaluation", "engine.outputs", "engine.progress_line",
                                       "engine.solve_options", "engine.strict_json"} | CONTRACT),
    "engine.evaluation.figures": room({"engine.evaluation", "engine.outputs", "engine.plots", "engine.spectrum"}
                                      | CONTRACT, {"numpy", "matplotlib"}),
    "engine.plots": room({"engine.outputs", "engine.spectrum"} | CONTRACT, {"numpy", "matplotlib"}),
}


@dataclass(frozen=True)
class Import:
    """One import as written: the line, and the dotted module it names (absolute, or inside the package)."""

    line: int
    module: str
    inside: bool


def module_name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_within(module: str, room_name: str) -> bool:
    return room_name == "" or module == room_name or module.startswith(room_name + ".")


def room_of(module: str) -> str:
    """The longest room name that fits. Raises LookupError for a module without a room."""
    fitting = [name for name in ROOMS if (module == name if name in HALLS else is_within(module, name))]
    if not fitting:
        raise LookupError(f"{module} belongs to no room: add it to ROOMS with what it may import")
    return max(fitting, key=len)


def imports_of(source: str, module: str, modules: set[str]) -> list[Import]:
    """Every import in a source; `from . import a, b` names the modules a and b where they are modules."""
    found = []
    package = module if any(m.startswith(module + ".") for m in modules) or not module else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [Import(node.lineno, alias.name, False) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.append(Import(node.lineno, node.module, False))
        elif isinstance(node, ast.ImportFrom):
            found += relative_imports(node, package, modules)
    return found


def relative_imports(node: ast.ImportFrom, package: str, modules: set[str]) -> list[Import]:
    parents = package.split(".") if package else []
    if node.level - 1 > len(parents):
        return [Import(node.lineno, "." * node.level + (node.module or ""), False)]
    base = ".".join(parents[:len(parents) - node.level + 1] + ([node.module] if node.module else []))
    names = [f"{base}.{alias.name}" if base else alias.name for alias in node.names]
    return [Import(node.lineno, name if name in modules else base, True) for name in names]


def violations(source: str, module: str, modules: set[str]) -> list[str]:
    """Sentences, one for each import that the module's room does not allow."""
    own = room_of(module)
    allowed = ROOMS[own]
    wrong = []
    for item in imports_of(source, module, modules):
        top = item.module.partition(".")[0]
        if item.inside:
            at_home = own not in HALLS and is_within(item.module, own)
            fine = at_home or any(is_within(item.module, r) for r in allowed.rooms)
        else:
            fine = top in STANDARD_LIBRARY or top in allowed.libraries
        if not fine:
            wrong.append(f"{module or '__init__'}:{item.line} may not import {item.module}")
    return wrong


def package_modules() -> dict[str, Path]:
    return {module_name(path, ROOT): path for path in sorted(ROOT.rglob("*.py"))}


@pytest.mark.parametrize("module", package_modules())
def test_module_imports_only_what_its_room_allows(module):
    modules = package_modules()
    assert violations(modules[module].read_text(encoding="utf-8"), module, set(modules)) == []


SAMPLE_MODULES = {
    "", "jobs", "panels", "session", "operators", "scene", "scene.camera", "engine", "engine.contract", "engine.worker",
    "engine.pipeline", "engine.frames", "engine.stereo", "engine.stereo.geometric", "engine.stereo.geometric.depth",
    "engine.diffusion", "engine.diffusion.guided",
}


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("jobs", "import bpy"),
        ("jobs", "from mathutils import Matrix"),
        ("jobs", "from .engine import pipeline"),
        ("jobs", "def late():\n    from .engine.worker import run"),
        ("session", "import cv2"),
        ("panels", "from .operators import STEREODIFF_OT_solve"),
        ("panels", "from . import jobs"),
        ("scene.camera", "from ..engine.pipeline import estimate_depth"),
        ("operators", "from stereodiff_blender.engine.worker import run"),
        ("engine.worker", "import bpy"),
        ("engine.worker", "from ..jobs import poll"),
        ("engine.contract", "import numpy"),
        ("engine.contract", "from . import pipeline"),
        ("engine.pipeline", "from .frames import read_frames"),
        ("engine.__main__", "from ..jobs import start"),
        ("engine.stereo.geometric.depth", "import torch"),
        ("engine.stereo.geometric.depth", "from ...diffusion import guided"),
        ("engine.stereo.geometric.depth", "import diffusers"),
        ("engine.diffusion.guided", "from ..stereo import TRUSTED"),
        ("engine.diffusion.guided", "from ....outside import thing"),
    ],
)
def test_checker_refuses(module, source):
    assert len(violations(source, module, SAMPLE_MODULES)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("", "def register():\n    from . import operators, panels"),
        ("jobs", "import subprocess\nfrom .engine.contract import Job"),
        ("operators", "import bpy\nfrom . import session, jobs\nfrom .engine import contract"),
        ("scene.camera", "import numpy as np\nfrom mathutils import Matrix\nfrom . import names"),
        ("engine.contract", "from .strict_json import from_dict"),
        ("engine.stereo.geometric.depth", "import cv2\nfrom ... import flow\nfrom .tracks import track"),
        ("engine.stereo.geometric", "from .depth import measure\nfrom .. import StereoResult"),
    ],
)
def test_checker_allows(module, source):
    modules = SAMPLE_MODULES | {"engine.flow", "engine.strict_json", "engine.stereo.geometric.tracks", "scene.names"}
    assert violations(source, module, modules) == []


@pytest.mark.parametrize("module", ["shortcuts", "engine.shortcuts"])
def test_new_module_needs_a_room(module):
    with pytest.raises(LookupError, match="shortcuts belongs to no room"):
        room_of(module)
