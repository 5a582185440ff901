"""Solve with learned engines out of Blender: tiny networks, the real worker, and the result in the scene."""

from __future__ import annotations

import importlib
import subprocess
from pathlib import Path

import bpy
import pytest

TESTS = Path(__file__).resolve().parents[2]
WRITE_MODELS = """
from tiny_depthcrafter import write_tiny_depthcrafter
from tiny_monst3r import write_tiny_monst3r
write_tiny_monst3r(target / "monst3r")
write_tiny_depthcrafter(target)
"""
WRITE_CLIP = """
from tiny_jobs import render_boards, write_movie
write_movie(target, render_boards())
"""
ENGINES = ("monst3r", "guided"), ("geometric", "depthcrafter")


def run_in(python: Path, script: str, target: Path) -> None:
    """By the worker's Python, as Blender's has neither PyTorch nor PyAV."""
    paths = [str(TESTS.parent), str(TESTS / "support")]
    head = f"import sys; sys.path[:0] = {paths!r}; from pathlib import Path; target = Path({str(target)!r})"
    subprocess.run([python, "-c", head + script], check=True)


@pytest.fixture
def models(worker_python, tmp_path) -> Path:
    """A models folder with tiny networks."""
    has_torch = subprocess.run([worker_python, "-c", "import torch, safetensors, diffusers, transformers"],
                               capture_output=True, check=False)
    if has_torch.returncode:
        pytest.skip("the worker has no PyTorch here")
    run_in(worker_python, WRITE_MODELS, tmp_path / "models")
    return tmp_path / "models"


@pytest.fixture
def accepted(addon) -> None:
    """The licenses of all weights, accepted as the dialog does."""
    licences = importlib.import_module(f"{addon.__name__}.engine.weights.licences")
    cards = importlib.import_module(f"{addon.__name__}.engine.weights.cards")
    for card in cards.read_cards():
        licences.accept(addon.engine.contract.user_folders.user_folder(), card)


@pytest.fixture
def shot(settings, preferences, worker_python, tmp_path) -> bpy.types.MovieClip:
    preferences.runtime_python, preferences.device = str(worker_python), "cpu"
    run_in(worker_python, WRITE_CLIP, tmp_path / "boards.mp4")
    settings.clip = bpy.data.movieclips.load(str(tmp_path / "boards.mp4"))
    camera = settings.clip.tracking.camera
    camera.sensor_width, camera.focal_length, settings.use_known_focal = 36.0, 30.0, True
    return settings.clip


@pytest.mark.slow
@pytest.mark.any_blender
@pytest.mark.parametrize(("stereo", "refine"), ENGINES)
def test_the_result_is_in_the_scene(shot, accepted, settings, preferences, models, stereo, refine):
    preferences.models_folder = str(models)
    settings.stereo, settings.refine = stereo, refine
    assert bpy.ops.stereodiff.solve() == {"FINISHED"}
    assert settings.jobs[0].state == "finished"
    kinds = {thing.type for thing in bpy.data.objects}
    assert {"CAMERA", "MESH", "EMPTY"} <= kinds
    assert any("depth" in image.name.lower() for image in bpy.data.images)


@pytest.mark.slow
@pytest.mark.parametrize(("stereo", "refine", "folder"), [("monst3r", "guided", "monst3r"),
                                                          ("geometric", "depthcrafter", "depthcrafter")])
def test_without_weights_it_says_where_they_belong(shot, settings, preferences, tmp_path, stereo, refine, folder):
    preferences.models_folder = str(tmp_path / "nothing")
    settings.stereo, settings.refine = stereo, refine
    with pytest.raises(RuntimeError, match=f"weights are not there.*no weights in.*nothing.{folder}"):
        bpy.ops.stereodiff.solve()
    assert len(settings.jobs) == 0, "nothing is queued that cannot run"
    assert len(bpy.data.objects) == 0
