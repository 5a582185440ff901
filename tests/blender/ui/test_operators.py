"""The operators as scripts call them."""

from __future__ import annotations

import shutil
from pathlib import Path

import bpy
import numpy as np
import pytest
from colmap_folders import write_model
from job_folder import Example, write_job_folder, write_sequence
from masks import add_polygon, square


@pytest.fixture
def chosen(settings, sequence):
    settings.clip = sequence
    return sequence


def test_solve_waits_in_background(chosen, settings, worker_like):
    worker_like("finish")
    assert bpy.ops.stereodiff.solve() == {"FINISHED"}
    assert settings.jobs[0].state == "finished"
    assert bpy.context.scene.camera is not None


def test_solve_writes_the_job(chosen, settings, worker_like, contract):
    worker_like("finish")
    settings.use_clip_range, settings.first_frame, settings.last_frame = False, 2, 5
    bpy.context.scene.render.fps = 25
    settings.quality = "draft"
    bpy.ops.stereodiff.solve(wait=False)
    item = settings.jobs[0]
    job = contract.JobFolder(item.folder).read_job()
    assert (job.id, job.first_frame, job.last_frame, job.settings.quality) == (item.job_id, 2, 5, "draft")
    assert (job.clip.path, job.clip.fps) == (bpy.path.abspath(chosen.filepath), 25.0)


def test_solve_needs_a_clip():
    with pytest.raises(RuntimeError, match="Choose a clip first"):
        bpy.ops.stereodiff.solve()


def fails(match: str, **options) -> None:
    with pytest.raises(RuntimeError, match=match):
        bpy.ops.stereodiff.solve(**options)


def test_solve_without_engine(chosen, preferences, settings):
    preferences.runtime_python = "/nowhere/python"
    fails("The engine is not installed yet.*nowhere.*Install the engine")
    assert len(settings.jobs) == 0


def test_solve_of_missing_footage_leaves_nothing(chosen, settings, tmp_path):
    shutil.rmtree(tmp_path / "footage")
    fails("not where it was")
    assert len(settings.jobs) == 0 and not (tmp_path / "jobs").exists()


def test_solve_outside_the_clip(chosen, settings):
    settings.use_clip_range, settings.last_frame = False, 60
    fails("1 to 60 were asked for")


def test_solve_with_a_setting_out_of_range(chosen, settings):
    settings.max_side_px = 10
    fails("max_side_px")


def test_solve_where_nothing_can_be_written(chosen, settings, preferences, tmp_path):
    (tmp_path / "jobs").write_text("a file where the folder should be")
    fails("cannot be written")
    assert len(settings.jobs) == 0


def test_solve_with_a_mask_writes_its_outlines(chosen, settings, worker_like, contract):
    worker_like("finish")
    mask = bpy.data.masks.new("Roto")
    add_polygon(mask.layers.new(name="Body"), square(0.25, 0.4, 0.2))
    settings.matte, settings.matte_mask, settings.matte_invert = "MASK", mask, True
    bpy.ops.stereodiff.solve(wait=False)
    folder = contract.JobFolder(settings.jobs[0].folder)
    assert folder.read_job().matte == contract.Matte("shapes", invert=True)
    (drawing,) = contract.read_shapes(folder.matte_file).drawings
    assert drawing.frame == 1 and drawing.layers[0].outlines[0][0] == pytest.approx(0.25)
    assert len(bpy.data.scenes) == 1


def test_solve_with_footage_as_matte(chosen, settings, worker_like, contract, tmp_path):
    worker_like("finish")
    settings.matte = "CLIP"
    settings.matte_clip = bpy.data.movieclips.load(str(write_sequence(tmp_path / "matte", stem="matte_")))
    bpy.ops.stereodiff.solve(wait=False)
    folder = contract.JobFolder(settings.jobs[0].folder)
    assert folder.read_job().matte.footage.path == str(tmp_path / "matte" / "matte_0001.png")
    assert not folder.matte_file.exists()


def test_solve_with_a_matte_that_cannot_serve_leaves_nothing(chosen, settings, tmp_path):
    settings.matte = "MASK"
    fails("The matte is not there.*No mask is chosen.*set Matte to None")
    settings.matte_mask = bpy.data.masks.new("Roto")
    fails("cannot serve as a matte.*no closed, filled spline")
    settings.matte, settings.matte_clip = "CLIP", chosen
    fails("is the clip itself")
    assert len(settings.jobs) == 0 and not (tmp_path / "jobs").exists()


def camera_in_scene() -> bpy.types.Object:
    camera = bpy.data.objects.new("film", bpy.data.cameras.new("film"))
    bpy.context.scene.collection.objects.link(camera)
    for frame in (1, 6):
        camera.location.x = 0.1 * frame
        camera.keyframe_insert("location", frame=frame)
    return camera


def test_solve_with_a_camera_of_the_scene_writes_its_cameras(chosen, settings, worker_like, contract):
    worker_like("finish")
    settings.cameras, settings.cameras_object = "SCENE", camera_in_scene()
    bpy.ops.stereodiff.solve(wait=False)
    folder = contract.JobFolder(settings.jobs[0].folder)
    assert folder.read_job().cameras == "scene"
    given = contract.read_cameras(folder.cameras_file)
    assert [camera.frame for camera in given.cameras] == [1, 2, 3, 4, 5, 6]
    assert given.cameras[5].camera_to_world[0][3] == pytest.approx(0.6)
    assert (given.width, given.height) == tuple(chosen.size)


def test_solve_with_a_colmap_model_writes_its_cameras(chosen, settings, worker_like, contract, tmp_path):
    worker_like("finish")
    names = [f"plate_{number:04d}.png" for number in range(1, 7)]
    write_model(tmp_path / "sparse", names, np.tile(np.eye(4), (6, 1, 1)), size=(96, 72),
                parameters=(90.0, 90.0, 48.0, 36.0), binary=True)
    settings.cameras, settings.cameras_folder = "COLMAP", str(tmp_path / "sparse")
    settings.use_clip_range, settings.first_frame, settings.last_frame = False, 2, 5
    bpy.ops.stereodiff.solve(wait=False)
    folder = contract.JobFolder(settings.jobs[0].folder)
    assert folder.read_job().cameras == "colmap"
    assert [camera.frame for camera in contract.read_cameras(folder.cameras_file).cameras] == [2, 3, 4, 5]


def test_solve_with_cameras_that_cannot_serve_leaves_nothing(chosen, settings, tmp_path):
    settings.cameras = "COLMAP"
    fails("are not there.*No folder of a COLMAP model.*set Cameras to Solve")
    settings.cameras_folder = str(tmp_path)
    fails("are not there.*cameras.bin")
    settings.cameras = "CLIP"
    fails("was not solved in the clip editor")
    settings.cameras = "SCENE"
    fails("has no camera")
    settings.cameras_object, settings.refine_cameras = camera_in_scene(), True
    fails("Refine Cameras would change")
    assert len(settings.jobs) == 0 and not (tmp_path / "jobs").exists()


def test_failed_solve_is_an_error_in_words(chosen, worker_like):
    worker_like("fail")
    fails("ends before the last frame.*Frame 5 is not there.*Shorten")


def test_result_that_does_not_import_is_an_error(chosen, settings, worker_like):
    root = worker_like("finish")
    (root / "ready" / "depth" / "0003.exr").write_bytes(b"")
    fails("result is incomplete")
    assert settings.jobs[0].state == "failed"


@pytest.mark.slow
def test_real_engine_refuses_footage_that_is_none(chosen, preferences, worker_python, settings, tmp_path):
    preferences.runtime_python = str(worker_python)
    for picture in (tmp_path / "footage").iterdir():
        picture.write_text("this was a picture")
    fails("not a movie or picture that can be read")
    assert settings.jobs[0].code == "clip_unreadable"
    assert len(bpy.data.objects) == 0


def test_cancel(chosen, settings, worker_like):
    with pytest.raises(RuntimeError, match="No job is running"):
        bpy.ops.stereodiff.cancel()
    worker_like("hang")
    bpy.ops.stereodiff.solve(wait=False)
    assert bpy.ops.stereodiff.cancel() == {"FINISHED"}
    assert settings.jobs[0].state == "cancelled"


def test_cancel_a_waiting_job(chosen, settings, worker_like):
    worker_like("hang")
    bpy.ops.stereodiff.solve(wait=False)
    bpy.ops.stereodiff.solve(wait=False)
    bpy.ops.stereodiff.cancel(job_id=settings.jobs[1].job_id)
    assert [item.state for item in settings.jobs] == ["running", "cancelled"]


def test_import_result(settings, tmp_path, session):
    write_job_folder(tmp_path / "out")
    assert bpy.ops.stereodiff.import_result(directory=str(tmp_path / "out")) == {"FINISHED"}
    assert bpy.context.scene.camera is not None
    session.tick()
    assert [item.state for item in settings.jobs] == ["finished"]
    assert session.status().jobs["example"].outcome.frame_count == 6


def test_import_again_lists_once(settings, tmp_path):
    write_job_folder(tmp_path / "out")
    for _ in range(2):
        bpy.ops.stereodiff.import_result(directory=str(tmp_path / "out") + "/")
    assert len(settings.jobs) == 1
    assert len([item for item in bpy.data.objects if item.type == "CAMERA"]) == 1


def test_import_needs_a_result(tmp_path):
    with pytest.raises(RuntimeError, match="Choose the folder"):
        bpy.ops.stereodiff.import_result()
    with pytest.raises(RuntimeError, match="holds no job"):
        bpy.ops.stereodiff.import_result(directory=str(tmp_path))
    write_job_folder(tmp_path / "out")
    (tmp_path / "out" / "result.json").unlink()
    with pytest.raises(RuntimeError, match="incomplete"):
        bpy.ops.stereodiff.import_result(directory=str(tmp_path / "out"))
    assert len(bpy.data.objects) == 0


def test_undo_of_import(tmp_path):
    write_job_folder(tmp_path / "out")
    bpy.ops.ed.undo_push(message="start")
    bpy.ops.stereodiff.import_result("EXEC_DEFAULT", True, directory=str(tmp_path / "out"))
    assert len(bpy.data.objects) > 0
    bpy.ops.ed.undo()
    assert len(bpy.data.objects) == 0 and bpy.context.scene.camera is None
    bpy.ops.ed.redo()
    assert bpy.context.scene.camera is not None


def test_remove_job_keeps_files(settings, tmp_path, session):
    write_job_folder(tmp_path / "out")
    bpy.ops.stereodiff.import_result(directory=str(tmp_path / "out"))
    bpy.ops.stereodiff.remove_job()
    assert len(settings.jobs) == 0 and session.status().jobs == {}
    assert (tmp_path / "out" / "result.json").exists()
    with pytest.raises(RuntimeError, match="no job in the list"):
        bpy.ops.stereodiff.remove_job()


def test_remove_job_with_its_files(settings, tmp_path):
    for name in ("first", "second"):
        write_job_folder(tmp_path / name, Example(job_id=name), clip_folder=tmp_path / "clip")
        bpy.ops.stereodiff.import_result(directory=str(tmp_path / name))
    bpy.ops.stereodiff.remove_job(job_id="first", delete_files=True)
    assert [item.job_id for item in settings.jobs] == ["second"]
    assert not (tmp_path / "first").exists() and (tmp_path / "second").exists()


def test_remove_job_never_deletes_a_folder_of_something_else(settings, tmp_path):
    write_job_folder(tmp_path / "out")
    (tmp_path / "precious").mkdir()
    bpy.ops.stereodiff.import_result(directory=str(tmp_path / "out"))
    settings.jobs[0].folder = str(tmp_path / "precious")
    with pytest.raises(RuntimeError, match="holds no job"):
        bpy.ops.stereodiff.remove_job(delete_files=True)
    settings.jobs[0].folder, settings.jobs[0].job_id = str(tmp_path / "out"), "another"
    with pytest.raises(RuntimeError, match="nothing was deleted"):
        bpy.ops.stereodiff.remove_job(delete_files=True)
    assert (tmp_path / "precious").exists() and (tmp_path / "out").exists()


def test_remove_job_asks_for_more_than_a_planted_file(settings, tmp_path):
    """A home folder in which somebody has put a job.json of the right name."""
    home = tmp_path / "artist"
    write_job_folder(home, clip_folder=tmp_path / "clip")
    (home / "thesis.txt").write_text("precious")
    bpy.ops.stereodiff.import_result(directory=str(home))
    with pytest.raises(RuntimeError, match="not this job's alone.*not named after its job, example"):
        bpy.ops.stereodiff.remove_job(delete_files=True)
    home = home.rename(tmp_path / "example")
    settings.jobs[0].folder = str(home)
    with pytest.raises(RuntimeError, match="also holds thesis.txt"):
        bpy.ops.stereodiff.remove_job(delete_files=True)
    assert (home / "thesis.txt").exists() and (home / "job.json").exists() and len(settings.jobs) == 1


def test_running_job_is_not_removed(chosen, settings, worker_like):
    worker_like("hang")
    bpy.ops.stereodiff.solve(wait=False)
    with pytest.raises(RuntimeError, match="Cancel the job first"):
        bpy.ops.stereodiff.remove_job()
    assert len(settings.jobs) == 1


def test_open_log(chosen, settings, worker_like):
    worker_like("fail")
    fails("ends before")
    assert bpy.ops.stereodiff.open_log() == {"FINISHED"}
    assert "the worker was here" in bpy.data.texts[f"{settings.jobs[0].job_id}.log"].as_string()
    bpy.ops.stereodiff.open_log()
    assert len(bpy.data.texts) == 1
    (Path(settings.jobs[0].folder) / "worker.log").unlink()
    with pytest.raises(RuntimeError, match="There is no log"):
        bpy.ops.stereodiff.open_log()
