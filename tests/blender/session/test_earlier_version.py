"""Jobs and a .blend that an earlier version made: opened, listed, imported, and brought up to date."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import bpy
import numpy as np
import pytest
from earlier_version import Shots, copy_shots, copy_shots_in_place
from followed_jobs import states, tick_until
from scene_checks import datablocks, evaluated_mesh, get_input, orphans, show_frame


@pytest.fixture
def imports_in(addon):
    """imports_in() -> the imports that are known in this scene."""
    imports = importlib.import_module(f"{addon.__name__}.scene.data.imports")
    return lambda: imports.imports_in(bpy.context.scene)


def open_file(session, shots: Shots, *, in_place: bool):
    """in_place: the list, too, names the jobs where they are. Returns the scene's settings."""
    bpy.ops.wm.open_mainfile(filepath=str(shots.blend))
    settings = bpy.context.scene.stereodiff
    for item in settings.jobs if in_place else ():
        item.folder = str(shots.now_at(item.folder))
    tick_until(session, lambda: session.jobs.is_attached)
    session.jobs.settle()
    return settings


def paths_of(images) -> set[Path]:
    return {Path(bpy.path.abspath(image.filepath)) for image in images.values()}




# --- Its job folders -----------------------------------------------------------------------------------------------

def test_its_result_is_imported(settings, imports_in, contract, tmp_path):
    shots = copy_shots_in_place(tmp_path / "shots")
    assert bpy.ops.stereodiff.import_result(directory=str(shots.finished)) == {"FINISHED"}
    scene, (found,) = bpy.context.scene, imports_in()
    assert (scene.frame_start, scene.frame_end, scene.camera) == (1, 6, found.camera)
    assert paths_of(found.images) == {shots.footage / "boards_0001.jpg"} | {
        shots.finished / product / "0001.exr" for product in ("depth", "confidence", "motion_mask")}
    show_frame(6)
    last = contract.JobFolder(shots.finished).read_result().frames[-1]
    moved = np.linalg.norm([row[3] for row in last.camera_to_world[:3]])
    assert found.camera.location.length == pytest.approx(moved, rel=1e-5) and moved > 0.05
    assert len(evaluated_mesh(found.mesh)[1]) > 1000
    assert (states(settings), settings.jobs[0].folder) == (["finished"], str(shots.finished))


def test_its_jobs_are_found_on_disk(session, settings, tmp_path):
    shots = copy_shots_in_place(tmp_path / "shots")
    assert bpy.ops.stereodiff.find_jobs(directory=str(shots.jobs)) == {"FINISHED"}
    session.jobs.settle()
    assert {Path(item.folder): item.state for item in settings.jobs} == {
        shots.finished: "finished", shots.interrupted: "interrupted"}


# --- Its .blend ----------------------------------------------------------------------------------------------------

def test_its_file_is_opened_where_it_was_saved(session, imports_in, tmp_path):
    shots = copy_shots_in_place(tmp_path / "shots")
    settings = open_file(session, shots, in_place=True)
    assert states(settings) == ["finished", "interrupted"]
    assert [item.clip for item in settings.jobs] == [settings.clip] * 2
    tick_until(session, lambda: session.jobs.view(shots.finished.name).outcome is not None)
    views = [session.jobs.view(item.job_id) for item in settings.jobs]
    assert (views[0].outcome.frame_count, views[0].import_problem) == (6, None)
    assert views[1].status.can_resume
    assert [found.folder for found in imports_in()] == [shots.finished]


def test_its_settings_are_those_that_were_saved(session, tmp_path):
    settings = open_file(session, copy_shots(tmp_path / "shots"), in_place=False)
    assert (settings.quality, settings.max_side_px, settings.use_known_focal) == ("draft", 64, True)
    assert (settings.use_clip_range, settings.first_frame, settings.last_frame) == (False, 1, 5)
    assert settings.clip.name == "boards_0001.jpg"


def test_its_import_is_known_again_and_plays(session, imports_in, tmp_path):
    shots = copy_shots(tmp_path / "shots")
    open_file(session, shots, in_place=False)
    (found,) = imports_in()
    assert found.folder == shots.finished and found.clip == bpy.context.scene.stereodiff.clip
    assert None not in (found.root, found.camera, found.mesh) and list(found.scene_frames) == [1, 2, 3, 4, 5, 6]
    assert set(found.images) == {"depth", "confidence", "motion_mask", "plate"}
    assert all(path.is_file() for path in paths_of(found.images))
    assert len(found.read_imported_result().result.frames) == 6
    show_frame(6)
    assert len(evaluated_mesh(found.mesh)[1]) > 1000


@pytest.mark.skipif(os.name == "nt", reason="the file names its footage by a POSIX path")
def test_its_import_is_brought_up_to_date_where_it_is(session, imports_in, tmp_path):
    """On another computer: by the job's folder, wherever that is now."""
    shots = copy_shots(tmp_path / "shots")
    settings = open_file(session, shots, in_place=False)
    before, (was,) = datablocks(), imports_in()
    names = [block.name for block in (was.collection, was.root, was.camera, was.mesh)]
    was.root.location = (1, 2, 3)
    show_frame(6)
    everything = evaluated_mesh(was.mesh)[0]
    assert bpy.ops.stereodiff.import_result(directory=str(shots.finished)) == {"FINISHED"}
    (found,) = imports_in()
    assert [block.name for block in (found.collection, found.root, found.camera, found.mesh)] == names
    assert tuple(found.root.location) == (1, 2, 3)
    assert datablocks() == before and orphans() == []
    assert states(settings)[0] == "finished" and Path(settings.jobs[0].folder) == shots.finished
    show_frame(6)
    assert np.array_equal(evaluated_mesh(found.mesh)[0], everything) and len(everything) > 1000
    assert [get_input(found.mesh, name) for name in ("Least Confidence", "Hold-Out", "Hold-Out Confidence")] \
        == [0.0, False, 0.0]


@pytest.mark.slow
def test_a_job_that_its_file_lists_is_gone_on_with(session, preferences, worker_python, imports_in, tmp_path):
    shots = copy_shots_in_place(tmp_path / "shots")
    folder, settings = shots.interrupted, open_file(session, shots, in_place=True)
    preferences.runtime_python = str(worker_python)
    assert bpy.ops.stereodiff.resume(job_id=folder.name, wait=True) == {"FINISHED"}
    assert states(settings) == ["finished", "finished"]
    assert session.jobs.view(folder.name).import_problem is None
    (found,) = (found for found in imports_in() if found.folder == folder)
    assert list(found.scene_frames) == [1, 2, 3, 4, 5]
