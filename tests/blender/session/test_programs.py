"""From a real Blender that stands in a stranger's folder, with a stranger's job: whatever a button starts runs nothing
of theirs.
"""

from __future__ import annotations

from pathlib import Path

import bpy
import pytest
from traps import Traps


@pytest.fixture
def traps(tmp_path) -> Traps:
    return Traps(tmp_path / "marks")


@pytest.fixture
def standing(traps, tmp_path, monkeypatch, preferences, worker_python) -> Path:
    """Where Blender was started and the .blend lies; the engine is the real one."""
    folder = tmp_path / "shot"
    folder.mkdir()
    monkeypatch.chdir(traps.fill(folder))
    for name, value in traps.poison(folder).items():
        monkeypatch.setenv(name, value)
    preferences.runtime_python, preferences.models_folder = str(worker_python), str(tmp_path / "models")
    return folder


@pytest.mark.slow
def test_solve_and_resume_run_nothing_of_the_folder(standing, traps, settings, sequence):
    """The pictures have one color each, which the engine finds out when it has loaded and read all."""
    settings.clip, settings.quality = sequence, "draft"
    with pytest.raises(RuntimeError, match="movement could not be found"):
        bpy.ops.stereodiff.solve()
    traps.fill(Path(settings.jobs[0].folder))
    with pytest.raises(RuntimeError, match="movement could not be found"):
        bpy.ops.stereodiff.resume(job_id=settings.jobs[0].job_id)
    assert traps.sprung() == set()


@pytest.mark.slow
def test_the_doctor_and_the_weights_run_nothing(standing, traps, session):
    assert bpy.ops.stereodiff.doctor() == {"FINISHED"}
    assert "the default engine can run here" in bpy.data.texts["StereoDiff Doctor"].lines[0].body
    with pytest.raises(RuntimeError):  # there are none
        bpy.ops.stereodiff.verify_weights(model="monst3r", wait=True)
    assert traps.sprung() == set()


@pytest.mark.parametrize("named", ["//python", "python", "./python"])
def test_a_python_beside_the_blend_is_never_taken(standing, traps, session, preferences, contract, addon, named):
    bpy.ops.wm.save_as_mainfile(filepath=str(standing / "shot.blend"))
    preferences.runtime_python = named
    with pytest.raises(contract.StereoDiffError, match="not a whole path") as caught:
        addon.ui.preferences.find_python()
    assert caught.value.code == "runtime_missing"
    assert bpy.ops.stereodiff.doctor() == {"FINISHED"}
    assert "not a whole path" in bpy.data.texts["StereoDiff Doctor"].as_string()
    assert traps.sprung() == set()


def test_folders_of_the_preferences_are_whole_paths(standing, preferences, addon):
    """The engine stands elsewhere."""
    preferences.jobs_folder = preferences.models_folder = preferences.wheel_folder = "here"
    for folder in (addon.ui.preferences.jobs_folder, addon.ui.preferences.models_folder,
                   addon.ui.preferences.wheel_folder):
        assert folder() == standing / "here"
