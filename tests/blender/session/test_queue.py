"""Resume, the queue, the list and its clean-up, as buttons do it; and Blenders that crash, quit or get in each other's
way, as real processes."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import bpy
import pytest
from job_folder import Example, write_job_folder, write_png, write_sequence

OTHER = Path(__file__).resolve().parents[1] / "support" / "other_blender.py"
posix_only = pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")


@pytest.fixture
def solve(settings, sequence):
    settings.clip = sequence

    def start() -> str:
        assert bpy.ops.stereodiff.solve(wait=False) == {"FINISHED"}
        return settings.jobs[-1].job_id

    return start


def tick_until(session, reached, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end, "it did not come to that"
        session.tick()
        time.sleep(0.02)


def at_work(session, job_id: str) -> None:
    tick_until(session, lambda: session.status().jobs[job_id].status.done == 3)


def states(settings) -> list[str]:
    return [item.state for item in settings.jobs]


def end(session, job_id: str) -> None:
    session.jobs.cancel(job_id)
    tick_until(session, lambda: not session.jobs.is_active(job_id))


# --- Resume ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("behaviour", ["fail", "crash"])
def test_a_failed_job_is_resumed_and_imported(session, solve, settings, worker_like, behaviour):
    worker_like(behaviour)
    job_id = solve()
    tick_until(session, lambda: not session.jobs.is_active(job_id))
    assert states(settings) == ["failed"]
    worker_like("finish")
    assert bpy.ops.stereodiff.resume() == {"FINISHED"}
    assert states(settings) == ["finished"] and settings.jobs[0].code == ""
    assert [item.job_id for item in settings.jobs] == [job_id]
    assert bpy.context.scene.camera is not None


def test_a_cancelled_job_is_resumed(session, solve, settings, worker_like):
    worker_like("hang")
    job_id = solve()
    at_work(session, job_id)
    end(session, job_id)
    assert states(settings) == ["cancelled"]
    bpy.ops.stereodiff.resume(job_id=job_id, wait=False)
    at_work(session, job_id)
    assert states(settings) == ["running"]
    end(session, job_id)
    assert states(settings) == ["cancelled"]


def test_a_resumed_job_waits_for_its_turn_and_may_be_taken_off(session, solve, settings, worker_like):
    worker_like("hang")
    first = solve()
    at_work(session, first)
    end(session, first)
    second = solve()
    at_work(session, second)
    bpy.ops.stereodiff.resume(job_id=first, wait=False)
    session.tick()
    assert states(settings) == ["waiting", "running"]
    bpy.ops.stereodiff.cancel(job_id=first)
    assert states(settings) == ["cancelled", "running"]


def test_what_runs_or_is_finished_is_not_resumed(session, solve, settings, worker_like, tmp_path):
    with pytest.raises(RuntimeError, match="no job in the list"):
        bpy.ops.stereodiff.resume()
    worker_like("hang")
    job_id = solve()
    at_work(session, job_id)
    with pytest.raises(RuntimeError, match="already working on this job"):
        bpy.ops.stereodiff.resume()
    with pytest.raises(RuntimeError, match="not in the list"):
        bpy.ops.stereodiff.resume(job_id="nobody")
    write_job_folder(tmp_path / "out")
    bpy.ops.stereodiff.import_result(directory=str(tmp_path / "out"))
    with pytest.raises(RuntimeError, match="is finished"):
        bpy.ops.stereodiff.resume(job_id="example")


@posix_only
def test_a_job_whose_engine_hangs_is_started_anew(addon, session, solve, settings, worker_like, monkeypatch):
    monkeypatch.setattr(addon.jobs.worker_process.FollowedJob, "HANG_AFTER_S", 0.5)
    worker_like("hang")
    job_id = solve()
    at_work(session, job_id)
    tick_until(session, lambda: session.status().running.status.is_silent)
    assert states(settings) == ["running"]
    bpy.ops.stereodiff.resume(job_id=job_id, wait=False)
    worker_like("finish")
    tick_until(session, lambda: not session.jobs.is_active(job_id))
    assert states(settings) == ["finished"]
    events = (Path(settings.jobs[0].folder) / "events.jsonl").read_text()
    assert events.count('"started"') == 2


def test_a_job_that_makes_no_progress_is_told_of_and_started_anew(addon, session, solve, settings, worker_like):
    worker_like("hang")
    job_id = solve()
    at_work(session, job_id)
    folder = Path(settings.jobs[0].folder)
    (folder / "heartbeat").write_text("0a1b\nidle 000000400 s, work 000000000 s\n")
    tick_until(session, lambda: session.status().running.status.is_stalled)
    status = session.status().running.status
    assert not status.is_silent and states(settings) == ["running"]
    assert addon.ui.panels.solve.stuck_text(status) == "No progress for 6:40. It does not compute either."
    assert addon.ui.panels.jobs.list_detail("running", session.status().running).startswith("no progress")
    (folder / "heartbeat").write_text("0a1b\nidle 000002000 s, work 000001900 s\n")
    tick_until(session, lambda: session.status().running.status.is_working)
    assert "a long step" in addon.ui.panels.solve.stuck_text(session.status().running.status)
    bpy.ops.stereodiff.resume(job_id=job_id, wait=False)
    (folder / "heartbeat").unlink()
    worker_like("finish")
    tick_until(session, lambda: not session.jobs.is_active(job_id))
    assert states(settings) == ["finished"]
    assert (folder / "events.jsonl").read_text().count('"started"') == 2


# --- The queue -------------------------------------------------------------------------------------------------

def test_waiting_jobs_change_places(session, solve, worker_like):
    worker_like("hang")
    running, *waiting = [solve() for _ in range(4)]
    at_work(session, running)
    bpy.ops.stereodiff.move_job(job_id=waiting[2], direction="UP")
    bpy.ops.stereodiff.move_job(job_id=waiting[0], direction="DOWN")
    order = [waiting[2], waiting[0], waiting[1]]
    assert [view.job_id for view in session.status().waiting] == order
    assert bpy.ops.stereodiff.move_job(job_id=order[0], direction="UP") == {"CANCELLED"}
    assert bpy.ops.stereodiff.move_job(job_id=running, direction="DOWN") == {"CANCELLED"}
    end(session, running)
    tick_until(session, lambda: session.status().running is not None)
    assert session.status().running.job_id == order[0]


def test_all_jobs_are_cancelled_at_once(session, solve, settings, worker_like):
    with pytest.raises(RuntimeError, match="No job is running"):
        bpy.ops.stereodiff.cancel_all()
    worker_like("hang")
    running, *_ = [solve() for _ in range(3)]
    at_work(session, running)
    assert bpy.ops.stereodiff.cancel_all() == {"FINISHED"}
    assert states(settings) == ["cancelled"] * 3
    started = [item for item in settings.jobs if (Path(item.folder) / "worker.log").exists()]
    assert [item.job_id for item in started] == [running]


def test_all_clips_are_queued(session, sequence, settings, worker_like, tmp_path, contract):
    worker_like("hang")
    second = bpy.data.movieclips.load(str(write_sequence(tmp_path / "second", stem="second_", count=4)))
    matte = bpy.data.movieclips.load(str(write_sequence(tmp_path / "matte", stem="matte_")))
    broken = bpy.data.movieclips.load(str(write_sequence(tmp_path / "broken", stem="broken_")))
    shutil.rmtree(tmp_path / "broken")
    settings.clip, settings.matte, settings.matte_clip = sequence, "CLIP", matte
    settings.use_clip_range, settings.first_frame, settings.last_frame = False, 2, 5
    settings.quality = "draft"
    assert bpy.ops.stereodiff.solve_all(wait=False) == {"FINISHED"}
    asked = {item.clip.name: contract.JobFolder(item.folder).read_job() for item in settings.jobs}
    assert set(asked) == {sequence.name, second.name}, "neither the matte nor what is missing"
    assert broken.name not in asked
    chosen, other = asked[sequence.name], asked[second.name]
    assert (chosen.first_frame, chosen.last_frame, chosen.matte.kind) == (2, 5, "pictures")
    assert (other.first_frame, other.last_frame, other.matte) == (1, 4, None)
    assert {job.settings.quality for job in asked.values()} == {"draft"}
    assert bpy.ops.stereodiff.solve_all(wait=False) == {"CANCELLED"}, "all of them wait already"
    bpy.ops.stereodiff.cancel_all()


def test_all_clips_are_solved(sequence, settings, worker_like):
    worker_like("finish")
    settings.clip = sequence
    assert bpy.ops.stereodiff.solve_all() == {"FINISHED"}
    assert states(settings) == ["finished"]


def test_no_clip_no_batch():
    with pytest.raises(RuntimeError, match="no clip in this file"):
        bpy.ops.stereodiff.solve_all()


# --- The list --------------------------------------------------------------------------------------------------

def add_cache(folder: str | Path, size: int = 3_000_000) -> Path:
    cache = Path(folder) / "cache"
    (cache / "stereo-0a").mkdir(parents=True)
    (cache / "stereo-0a" / "kept.npy").write_bytes(b"k" * size)
    return cache


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


# --- Files that were opened again ------------------------------------------------------------------------------

def opened_again(addon, file: Path):
    """As in a Blender that was started for it. Returns session and settings."""
    addon.session.session.unregister()
    addon.session.session.register(addon.ui.preferences.find_python)
    bpy.ops.wm.open_mainfile(filepath=str(file))
    tick_until(addon.session.session.current(), lambda: addon.session.session.current().jobs.is_attached)
    addon.session.session.current().jobs.settle()
    return addon.session.session.current(), bpy.context.scene.stereodiff


def save(file: Path) -> Path:
    bpy.ops.wm.save_as_mainfile(filepath=str(file), check_existing=False)
    return file


@posix_only
def test_a_job_without_a_worker_is_interrupted_until_it_is_resumed(addon, session, solve, worker_like, tmp_path):
    worker_like("hang")
    job_id = solve()
    at_work(session, job_id)
    file = save(tmp_path / "shot.blend")
    os.killpg(session.jobs.queue[job_id].followed._pid, signal.SIGKILL)  # As a power cut does.
    session.jobs.queue[job_id].followed._process.wait()
    session, settings = opened_again(addon, file)
    assert (states(settings), settings.jobs[0].code) == (["interrupted"], "job_interrupted")
    assert session.tick() is None or session.status().running is None, "nothing was started"
    save(file)
    session, settings = opened_again(addon, file)
    assert states(settings) == ["interrupted"]
    worker_like("finish")
    assert bpy.ops.stereodiff.resume() == {"FINISHED"}
    assert states(settings) == ["finished"] and bpy.context.scene.camera is not None


def test_a_file_older_than_its_job_is_brought_up_to_date(addon, session, solve, worker_like, tmp_path):
    worker_like("hang")
    job_id = solve()
    at_work(session, job_id)
    end(session, job_id)
    file = save(tmp_path / "shot.blend")
    worker_like("finish")
    bpy.ops.stereodiff.resume()
    session, settings = opened_again(addon, file)
    tick_until(session, lambda: not session.jobs.is_active(job_id))
    assert states(settings) == ["finished"] and bpy.context.scene.camera is not None


def test_a_file_whose_job_folder_is_gone_says_so(addon, session, solve, worker_like, tmp_path):
    worker_like("hang")
    job_id = solve()
    at_work(session, job_id)
    file = save(tmp_path / "shot.blend")
    end(session, job_id)
    shutil.rmtree(tmp_path / "jobs")
    session, settings = opened_again(addon, file)
    assert (states(settings), settings.jobs[0].code) == (["failed"], "job_missing")


def test_a_moved_job_imports_where_neither_it_nor_its_clip_were(addon, session, settings, tmp_path):
    """As on another computer: other folders, another place for the footage, and perhaps none."""
    here, there = tmp_path / "here", tmp_path / "there"
    write_job_folder(here / "job", clip_folder=here / "clip")
    text = (here / "job" / "result.json").read_text()
    assert all(not value.startswith("/") for frame in json.loads(text)["frames"] for value in frame.values()
               if isinstance(value, str))
    shutil.move(here, there)
    with pytest.raises(RuntimeError, match="not where it was"):
        bpy.ops.stereodiff.import_result(directory=str(there / "job"))
    assert len(bpy.data.objects) == 0 and len(settings.jobs) == 0
    clip = bpy.data.movieclips.load(str(there / "clip" / "plate_0001.png"))
    other = bpy.data.movieclips.load(str(write_sequence(tmp_path / "other", size=(128, 72))))
    assert bpy.ops.stereodiff.import_result(directory=str(there / "job")) == {"FINISHED"}
    camera = bpy.context.scene.camera
    assert camera.data.background_images[0].clip == clip != other
    depth = next(image for image in bpy.data.images if "depth" in image.name.lower() and image.source == "SEQUENCE")
    assert Path(bpy.path.abspath(depth.filepath)).is_relative_to(there / "job")


def test_a_list_follows_a_folder_that_was_moved(addon, session, settings, tmp_path):
    write_job_folder(tmp_path / "here", clip_folder=tmp_path / "clip")
    bpy.ops.stereodiff.import_result(directory=str(tmp_path / "here"))
    shutil.move(tmp_path / "here", tmp_path / "there")
    bpy.ops.stereodiff.import_result(directory=str(tmp_path / "there"))
    assert [item.folder for item in settings.jobs] == [str(tmp_path / "there")]
    add_cache(tmp_path / "there")
    assert bpy.ops.stereodiff.remove_cache() == {"FINISHED"}


# --- Other Blenders --------------------------------------------------------------------------------------------

@pytest.fixture
def other(tmp_path, sequence, worker_like):
    """other(orders...) -> a Blender of its own that does them; ended after the test, and its workers with it."""
    worker_like("hang")
    started = []

    def start(*orders: str) -> subprocess.Popen:
        environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path / "user")}
        started.append(subprocess.Popen([sys.executable, str(OTHER), str(tmp_path), *orders], env=environment,
                                        stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    worker_like("crash")
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def until(process: subprocess.Popen, order: str) -> list[str]:
    """What another Blender prints before it has done an order."""
    said = []
    for line in process.stdout:
        if line.strip() == f"done {order}":
            return said
        said.append(line.strip())
    raise AssertionError(f"it never came to {order}: {said}")


def state_of(process: subprocess.Popen) -> dict:
    return json.loads(until(process, "state")[-1])


@pytest.mark.slow
@posix_only
def test_a_crash_of_blender_loses_nothing(other, worker_like, tmp_path):
    file = str(tmp_path / "shot.blend")
    first = other("solve", "save", file, "follow", "idle")
    until(first, "idle")
    first.send_signal(signal.SIGKILL)
    first.wait()
    second = other("open", file, "follow", "state", "wait", "state")
    (job,) = state_of(second)["jobs"]
    assert job["state"] == "running"
    worker_like("finish")
    after = state_of(second)
    assert [job["state"] for job in after["jobs"]] == ["finished"] and after["camera"]
    assert (Path(job["folder"]) / "events.jsonl").read_text().count('"started"') == 1
    assert second.wait(20) == 0


@posix_only
def test_two_blenders_take_turns(other, session, solve, settings, worker_like):
    first = other("solve", "follow", "idle")
    until(first, "idle")
    job_id = solve()
    for _ in range(5):
        session.tick()
    (waiting,) = session.status().waiting
    assert (waiting.status.note, waiting.status.state) == ("Waiting for another Blender's job", "waiting")
    assert not (Path(settings.jobs[0].folder) / "worker.log").exists()
    first.send_signal(signal.SIGKILL)  # Its job goes on, and is still waited for.
    first.wait()
    session.tick()
    assert session.status().running is None
    worker_like("finish")
    tick_until(session, lambda: not session.jobs.is_active(job_id))
    assert states(settings) == ["finished"]


@pytest.mark.slow
@posix_only
@pytest.mark.parametrize(("orders", "state"), [(("ends-jobs",), "cancelled"), ((), "running")])
def test_quitting_ends_jobs_or_lets_them_go_on(other, addon, tmp_path, orders, state):
    file = str(tmp_path / "shot.blend")
    first = other(*orders, "solve", "follow", "save", file)
    until(first, "save")
    assert first.wait(20) == 0
    session, settings = opened_again(addon, Path(file))
    assert session.status().jobs[settings.jobs[0].job_id].status.state in (state, "waiting")
    session.tick()
    assert states(settings) == [state]
