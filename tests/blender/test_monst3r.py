"""Solve with the MonST3R engine out of Blender: a tiny network, the real worker, and the result in the scene."""

from __future__ import annotations

import subprocess
from pathlib import Path

import bpy
import pytest

TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture
def models(worker_python, tmp_path) -> Path:
    """A models folder with a tiny MonST3R; made by the worker's Python, as Blender's has no PyTorch."""
    write = (f"import sys; sys.path[:0] = [{str(TESTS.parent)!r}, {str(TESTS / 'engine')!r}]\n"
             "from pathlib import Path; from tiny_monst3r import write_tiny_monst3r\n"
             f"write_tiny_monst3r(Path({str(tmp_path / 'models' / 'monst3r')!r}))")
    has_torch = subprocess.run([worker_python, "-c", "import torch, safetensors"], capture_output=True, check=False)
    if has_torch.returncode:
        pytest.skip("the worker has no PyTorch here")
    subprocess.run([worker_python, "-c", write], check=True)
    return tmp_path / "models"


@pytest.fixture
def shot(settings, preferences, worker_python) -> bpy.types.MovieClip:
    preferences.runtime_python, preferences.device = str(worker_python), "cpu"
    settings.clip = bpy.data.movieclips.load(str(TESTS / "data" / "scenes" / "short" / "clip.mp4"))
    settings.use_clip_range, settings.first_frame, settings.last_frame = False, 2, 5
    settings.use_known_focal, settings.stereo = True, "monst3r"
    return settings.clip


def test_the_result_is_in_the_scene(shot, settings, preferences, models):
    preferences.models_folder = str(models)
    assert bpy.ops.stereodiff.solve() == {"FINISHED"}
    assert settings.jobs[0].state == "finished"
    kinds = {thing.type for thing in bpy.data.objects}
    assert {"CAMERA", "MESH", "EMPTY"} <= kinds
    assert any("depth" in image.name.lower() for image in bpy.data.images)


def test_without_weights_it_says_where_they_belong(shot, settings, preferences, tmp_path):
    preferences.models_folder = str(tmp_path / "nothing")
    with pytest.raises(RuntimeError, match="weights are not there.*no weights in.*nothing.monst3r"):
        bpy.ops.stereodiff.solve()
    assert settings.jobs[0].code == "weights_missing"
    assert len(bpy.data.objects) == 0
