"""Jobs of a file that is opened again, moved, or another Blender's: Blenders that crash and quit are real processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import bpy
import pytest
from followed_jobs import add_cache, at_work, end, states, tick_until
from job_folder import write_job_folder, write_sequence

OTHER = Path(__file__).resolve().parents[1] / "support" / "other_blender.py"
posix_only = pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")


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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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
