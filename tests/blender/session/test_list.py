"""The list of jobs: what it says, and what its buttons remove and find."""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
from pathlib import Path

import bpy
import pytest
from followed_jobs import add_cache, at_work, states, tick_until
from job_folder import Example, write_job_folder, write_png


def test_sizes_and_pictures_come_to_the_list(addon, session, settings, tmp_path):
    write_job_folder(tmp_path / "out")
    add_cache(tmp_path / "out")
    import numpy as np
    preview = np.full((36, 64, 3), 230, np.uint8)
    preview[:, 32:] = 20
    write_png(tmp_path / "out" / "preview.png", preview)
    shown = addon.ui.operators.solve.JobFolder(tmp_path / "out")
    data = json.loads(shown.result_file.read_text())
    shown.result_file.write_text(json.dumps({**data, "preview_image": "preview.png"}))
    bpy.ops.stereodiff.import_result(directory=str(tmp_path / "out"))
    session.jobs.measure("example")
    tick_until(session, lambda: session.status().jobs["example"].size is not None)
    tick_until(session, lambda: session.status().jobs["example"].outcome is not None)
    view = session.status().jobs["example"]
    assert view.size.total > view.size.cache >= 3_000_000
    pictures = session.jobs.outcomes.thumbnails.pictures
    tick_until(session, lambda: pictures)
    (shown,) = pictures.values()  # A Blender without windows gives its icons no numbers.
    assert (tuple(shown.image_size), tuple(shown.icon_size)) == ((32, 72), (32, 32))
    rows = np.array(shown.image_pixels_float).reshape(72, 32, 4)[..., 0]
    assert rows[:36].max() < 0.3 < 0.7 < rows[36:].min(), "the bright frame above its dark depth"
    text = addon.ui.panels.jobs
    assert text.list_detail("finished", view) == "3 MB"
    assert text.total_text([view]) == "3 MB on disk, 3 MB of it cache"


def test_what_the_list_says(addon):
    text, jobs = addon.ui.panels.jobs, addon.session.session
    views = importlib.import_module(f"{addon.__name__}.jobs.views")
    status = jobs.JobStatus("running", fraction=0.427)
    view = jobs.JobView("walk", "walk.mp4", status, size=views.Size(2_340_000_000, 0))
    assert text.list_detail("running", view) == "43% · 2.3 GB"
    silent = jobs.JobView("walk", "walk.mp4", jobs.JobStatus("running", is_silent=True))
    assert text.list_detail("running", silent) == "no answer"
    assert text.list_detail("interrupted", None) == "interrupted"
    assert text.total_text([view, view, silent]) == "4.7 GB on disk"
    assert text.total_text([silent]) == ""


def test_icons_of_the_list_exist_in_this_blender(addon):
    known = set(bpy.types.UILayout.bl_rna.functions["label"].parameters["icon"].enum_items.keys())
    source = Path(addon.ui.panels.jobs.__file__).read_text(encoding="utf-8")
    used = set(re.findall(r'icon="([A-Z_0-9]+)"', source)) | set(re.findall(r', "([A-Z_]+)"\)', source))
    assert len(used) > 5 and used <= known
    states = addon.ui.properties.STEREODIFF_PG_job.bl_rna.properties["state"].enum_items.keys()
    assert set(addon.ui.panels.solve.STATE_ICONS) == set(states)


def test_a_cache_is_removed_and_the_result_stays(session, settings, tmp_path):
    with pytest.raises(RuntimeError, match="no job in the list"):
        bpy.ops.stereodiff.remove_cache()
    write_job_folder(tmp_path / "out")
    bpy.ops.stereodiff.import_result(directory=str(tmp_path / "out"))
    cache = add_cache(tmp_path / "out")
    assert bpy.ops.stereodiff.remove_cache() == {"FINISHED"}
    assert not cache.exists() and (tmp_path / "out" / "result.json").exists()
    tick_until(session, lambda: (view := session.status().jobs["example"]).size is not None and view.size.cache == 0)
    assert bpy.ops.stereodiff.remove_cache() == {"CANCELLED"}, "nothing was done"


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right on Windows")
def test_where_no_cache_could_be_removed_nobody_says_so(session, settings, tmp_path):
    for name in ("first", "second"):
        write_job_folder(tmp_path / name, Example(job_id=name), clip_folder=tmp_path / "clip")
        bpy.ops.stereodiff.import_result(directory=str(tmp_path / name))
        add_cache(tmp_path / name)
        (tmp_path / name).rename(tmp_path / f"real {name}")
        (tmp_path / name).symlink_to(tmp_path / f"real {name}")
    with pytest.raises(RuntimeError, match="No cache could be removed"):
        bpy.ops.stereodiff.remove_caches()
    with pytest.raises(RuntimeError, match="is a link"):
        bpy.ops.stereodiff.remove_job(job_id="first", delete_files=True)
    assert len(settings.jobs) == 2 and (tmp_path / "real first" / "cache" / "stereo-0a" / "kept.npy").exists()


def test_caches_of_all_that_has_ended_are_removed(session, solve, settings, worker_like, tmp_path):
    for name in ("first", "second"):
        write_job_folder(tmp_path / name, Example(job_id=name), clip_folder=tmp_path / "clip")
        bpy.ops.stereodiff.import_result(directory=str(tmp_path / name))
    worker_like("hang")
    running = solve()
    at_work(session, running)
    caches = [add_cache(item.folder) for item in settings.jobs]
    settings.jobs[1].job_id = "somebody else's"
    assert bpy.ops.stereodiff.remove_caches() == {"FINISHED"}
    assert [cache.exists() for cache in caches] == [False, True, True]
    with pytest.raises(RuntimeError, match="already working"):
        bpy.ops.stereodiff.remove_cache(job_id=running)
    assert caches[2].exists()


def test_undo_brings_back_the_list_but_no_files(session, settings, tmp_path):
    write_job_folder(tmp_path / "example", clip_folder=tmp_path / "clip")
    bpy.ops.stereodiff.import_result(directory=str(tmp_path / "example"))
    bpy.ops.ed.undo_push(message="before")
    bpy.ops.stereodiff.remove_job("EXEC_DEFAULT", True, delete_files=True)
    assert len(settings.jobs) == 0 and not (tmp_path / "example").exists()
    bpy.ops.ed.undo()
    session.jobs.attach_to_file()
    session.tick()
    session.tick()
    assert states(bpy.context.scene.stereodiff) == ["finished"]
    tick_until(session, lambda: session.status().jobs["example"].import_problem is not None)
    assert bpy.ops.stereodiff.remove_job() == {"FINISHED"}


@pytest.mark.slow
def test_jobs_of_a_file_that_was_never_saved_are_found(session, solve, settings, worker_like, addon, tmp_path):
    worker_like("hang")
    running = solve()
    at_work(session, running)
    waiting = solve()
    write_job_folder(tmp_path / "jobs" / "example", clip_folder=tmp_path / "clip")
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    addon.session.session.unregister()
    addon.session.session.register(addon.ui.preferences.find_python)
    session, settings = addon.session.session.current(), bpy.context.scene.stereodiff
    clip = bpy.data.movieclips.load(str(tmp_path / "footage" / "plate_0001.png"))
    assert bpy.ops.stereodiff.find_jobs() == {"FINISHED"}
    found = {item.job_id: item for item in settings.jobs}
    assert set(found) == {running, waiting, "example"}
    assert (found["example"].state, found[waiting].state) == ("finished", "interrupted")
    assert found[running].clip == clip
    assert len(bpy.data.objects) == 0, "what was found is listed, not imported"
    worker_like("finish")
    tick_until(session, lambda: not session.jobs.is_active(running))
    assert found[running].state == "finished" and bpy.context.scene.camera is not None
    bpy.ops.stereodiff.find_jobs()
    assert len(settings.jobs) == 3
    assert bpy.ops.stereodiff.resume(job_id=waiting) == {"FINISHED"}
    assert found[waiting].state == "finished"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
@pytest.mark.parametrize("path", ["/\ud800.mp4", "/a\0b.mp4"])
def test_one_job_of_impossible_names_keeps_no_other_from_being_found(path, session, settings, tmp_path):
    for job_id in ("a-odd-path", os.fsdecode(b"b-odd-id-\xff"), "c-good"):
        folder = tmp_path / "jobs" / f"job {job_id[0]}"
        write_job_folder(folder, Example(job_id=job_id, raster=(16, 9), clip=(16, 9), frame_count=2))
        if job_id == "a-odd-path":
            data = json.loads((folder / "job.json").read_text())
            data["clip"]["path"] = path
            (folder / "job.json").write_text(json.dumps(data))
        folder.rename(folder.with_name(job_id))
    assert bpy.ops.stereodiff.find_jobs() == {"FINISHED"}
    assert [item.job_id for item in settings.jobs] == ["c-good"]


def test_what_is_no_character_can_be_drawn_and_listed(contract):
    warnings = contract.WarningList()
    warnings.add("\ud800", "it is \udcff dark \N{CLAPPER BOARD}")
    told = [contract.StereoDiffError("job_invalid", "\ud800").message, *vars(warnings.kept[0]).values()]
    assert told == ["?", "?", "it is ? dark \N{CLAPPER BOARD}"]
    for text in told:
        bpy.data.texts.new("said").from_string(text)
