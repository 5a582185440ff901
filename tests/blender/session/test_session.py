"""Jobs followed, queued, imported and found again; the workers are real processes."""

from __future__ import annotations

import time
from pathlib import Path

import bpy
import pytest
from job_folder import Example, write_job_folder
from scene_checks import key_frames


@pytest.fixture
def solve(settings, sequence):
    """Queue a solve of the sequence and return its item in the list."""
    settings.clip = sequence

    def start():
        assert bpy.ops.stereodiff.solve(wait=False) == {"FINISHED"}
        return settings.jobs[-1]

    return start


def tick_until(session, reached, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end, "it did not come to that"
        session.tick()
        time.sleep(0.02)


def view_of(session, item):
    return session.status().jobs[item.job_id]


def is_over(session, item) -> bool:
    return not session.jobs.is_active(item.job_id)


def test_idle_session_stops_its_timer(session):
    assert session.tick() is None
    status = session.status()
    assert (status.running, status.waiting, status.engine_problem) == (None, (), None)


def test_job_is_followed_and_imported(session, solve, worker_like):
    worker_like("hang")
    item = solve()
    tick_until(session, lambda: view_of(session, item).status.done == 3)
    view = session.status().running
    assert (view.job_id, view.status.state, view.status.stage, view.status.total) == (item.job_id, "running", "read", 6)
    assert item.state == "running"
    assert session.tick() == pytest.approx(0.25)
    worker_like("finish")
    tick_until(session, lambda: is_over(session, item))
    assert item.state == "finished"
    assert bpy.context.scene.camera is not None and bpy.context.scene.camera.animation_data is not None
    outcome = view_of(session, item).outcome
    assert (outcome.camera_kind, outcome.frame_count, outcome.quality.solved_share) == ("moving", 6, 1.0)
    assert session.tick() is None


def test_no_import_when_not_wanted(session, solve, settings, worker_like):
    worker_like("finish")
    settings.import_when_finished = False
    item = solve()
    tick_until(session, lambda: is_over(session, item))
    assert item.state == "finished" and view_of(session, item).outcome is not None
    assert len(bpy.data.objects) == 0


def test_a_better_import_stays_and_the_job_says_so(session, solve, worker_like, tmp_path):
    example = Example(frame_count=8, job_id="better", knows_footage=False)
    write_job_folder(tmp_path / "better", example, clip_folder=tmp_path / "footage")
    assert bpy.ops.stereodiff.import_result(directory=str(tmp_path / "better")) == {"FINISHED"}
    keys = key_frames(bpy.context.scene.camera)
    worker_like("finish")
    item = solve()
    tick_until(session, lambda: is_over(session, item))
    assert (item.state, view_of(session, item).import_problem.code) == ("finished", "better_import")
    assert key_frames(bpy.context.scene.camera) == keys == list(range(1, 9))
    folder = item.folder
    assert bpy.ops.stereodiff.import_result(directory=folder, replace_better=True) == {"FINISHED"}
    assert key_frames(bpy.context.scene.camera) == list(range(1, 7))


def test_a_job_that_leaves_the_scene_as_it_is_says_so(session, solve, worker_like):
    worker_like("finish")
    bpy.context.scene.render.fps = 25
    item = solve()
    tick_until(session, lambda: is_over(session, item))
    assert view_of(session, item).import_note.startswith("The scene stays as it is")
    assert bpy.context.scene.render.fps == 25 and bpy.context.scene.camera is None

def test_import_goes_to_the_scene_that_asked(session, solve, worker_like):
    worker_like("hang")
    asked = bpy.context.scene
    item = solve()
    bpy.context.window.scene = bpy.data.scenes.new("Other")
    worker_like("finish")
    tick_until(session, lambda: is_over(session, item))
    assert asked.camera is not None
    assert bpy.data.scenes["Other"].camera is None


def test_two_jobs_run_one_after_the_other(session, solve, settings, worker_like):
    worker_like("hang")
    solve(), solve()
    first, second = settings.jobs
    tick_until(session, lambda: view_of(session, first).status.done == 3)
    for _ in range(3):
        session.tick()
    status = session.status()
    assert status.running.job_id == first.job_id
    assert [view.job_id for view in status.waiting] == [second.job_id]
    assert not (Path(second.folder) / "worker.log").exists(), "the second has not been started"
    worker_like("finish")
    tick_until(session, lambda: is_over(session, second))
    assert (first.state, second.state) == ("finished", "finished")


@pytest.mark.parametrize(("behavior", "code"), [("fail", "clip_truncated"), ("crash", "worker_died")])
def test_failure_is_told(session, solve, worker_like, behavior, code):
    worker_like(behavior)
    item = solve()
    tick_until(session, lambda: is_over(session, item))
    assert (item.state, item.code) == ("failed", code)
    assert item.message == view_of(session, item).status.message != ""
    assert view_of(session, item).import_problem is None


def test_failed_job_lets_the_next_begin(session, solve, settings, worker_like):
    worker_like("fail")
    solve(), solve()
    tick_until(session, lambda: all(is_over(session, item) for item in settings.jobs))
    assert [item.state for item in settings.jobs] == ["failed", "failed"]


def test_worker_that_cannot_start_is_a_failed_job(session, solve, settings, worker_like):
    worker_like("finish")
    settings.clip = settings.clip
    first = solve()
    (Path(first.folder) / "job.json").unlink(missing_ok=True)
    tick_until(session, lambda: is_over(session, first))
    second = solve()
    assert second.job_id != first.job_id
    tick_until(session, lambda: is_over(session, second))
    assert second.state == "finished"


def test_cancel_ends_running_and_waiting(session, solve, settings, worker_like):
    worker_like("hang")
    solve(), solve()
    first, second = settings.jobs
    tick_until(session, lambda: view_of(session, first).status.done == 3)
    session.jobs.cancel(second.job_id)
    tick_until(session, lambda: is_over(session, second), 3.0)
    assert (first.state, second.state) == ("running", "cancelled")
    session.jobs.cancel(first.job_id)
    tick_until(session, lambda: is_over(session, first), 3.0)
    assert first.state == "cancelled"
    assert len(bpy.data.objects) == 0


def test_result_that_cannot_be_imported_is_told_beside_the_solve(session, solve, worker_like, tmp_path):
    worker_like("hang")
    item = solve()
    tick_until(session, lambda: view_of(session, item).status.done == 3)
    for picture in (tmp_path / "footage").iterdir():
        picture.unlink()
    item.clip = None
    bpy.data.movieclips.remove(bpy.context.scene.stereodiff.clip)
    worker_like("finish")
    tick_until(session, lambda: is_over(session, item))
    assert item.state == "finished"
    assert view_of(session, item).import_problem.code == "clip_missing"


def new_session(addon):
    """What a Blender that starts anew has: no memory, only the file."""
    addon.session.session.unregister()
    addon.session.session.register(addon.ui.preferences.find_python)
    return addon.session.session.current()


def settle(session) -> None:
    """Tick until it is known how the jobs of a file stand."""
    tick_until(session, lambda: session.jobs.is_attached)
    session.jobs.settle()


def reopen(path: Path) -> bpy.types.PropertyGroup:
    bpy.ops.wm.save_as_mainfile(filepath=str(path), check_existing=False)
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    bpy.ops.wm.open_mainfile(filepath=str(path))
    return bpy.context.scene.stereodiff


def test_new_blender_finds_a_running_job(addon, session, solve, worker_like, tmp_path):
    worker_like("hang")
    item = solve()
    tick_until(session, lambda: view_of(session, item).status.done == 3)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"), check_existing=False)
    session = new_session(addon)
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "shot.blend"))
    item = bpy.context.scene.stereodiff.jobs[0]
    tick_until(session, lambda: session.status().running is not None)
    assert session.status().running.job_id == item.job_id
    worker_like("finish")
    tick_until(session, lambda: is_over(session, item))
    assert item.state == "finished"
    assert bpy.context.scene.camera is not None


def test_loading_another_file_keeps_following(session, solve, worker_like, tmp_path):
    worker_like("hang")
    item = solve()
    tick_until(session, lambda: view_of(session, item).status.done == 3)
    job_id = item.job_id
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    session.tick()
    assert session.status().running.job_id == job_id
    assert len(bpy.context.scene.stereodiff.jobs) == 0
    worker_like("finish")
    tick_until(session, lambda: not session.jobs.is_active(job_id))
    assert session.status().jobs[job_id].status.state == "finished"
    assert len(bpy.data.objects) == 0, "the scene that asked is gone"


def test_opening_a_file_starts_nothing(addon, session, solve, settings, worker_like, tmp_path):
    worker_like("hang")
    solve(), solve()
    waiting = settings.jobs[1].job_id
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"), check_existing=False)
    running = settings.jobs[0].job_id
    later = new_session(addon)
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "shot.blend"))
    settle(later)
    assert later.status().jobs[waiting].status.state == "interrupted"
    assert bpy.context.scene.stereodiff.jobs[1].state == "interrupted"
    assert later.jobs.is_active(running)


def test_quality_is_read_after_loading(addon, session, settings, tmp_path):
    write_job_folder(tmp_path / "example")
    bpy.ops.stereodiff.import_result(directory=str(tmp_path / "example"))
    reopen(tmp_path / "shot.blend")
    session = new_session(addon)
    tick_until(session, lambda: session.status().jobs.get("example") is not None)
    tick_until(session, lambda: session.status().jobs["example"].outcome is not None)
    assert session.status().jobs["example"].status.state == "finished"


def test_failure_is_remembered_in_the_file(addon, session, solve, worker_like, tmp_path):
    worker_like("fail")
    item = solve()
    tick_until(session, lambda: is_over(session, item))
    reopen(tmp_path / "shot.blend")
    session = new_session(addon)
    settle(session)
    view = next(iter(session.status().jobs.values()))
    assert (view.status.code, view.status.message) == ("clip_truncated", "Frame 5 is not there.")


def test_undo_takes_back_the_scene_but_not_the_job(session, solve, settings, worker_like):
    worker_like("hang")
    bpy.ops.ed.undo_push(message="before")
    item = solve()
    job_id = item.job_id
    bpy.ops.ed.undo_push(message="after")
    bpy.ops.ed.undo()
    session.tick()
    group = bpy.context.scene.stereodiff
    assert [item.job_id for item in group.jobs] == [job_id]
    worker_like("finish")
    tick_until(session, lambda: not session.jobs.is_active(job_id))
    assert bpy.context.scene.stereodiff.jobs[0].state == "finished"
    assert bpy.context.scene.camera is not None


def test_engine_that_is_missing_is_known(addon, session, preferences):
    preferences.runtime_python = "/nowhere/python"
    session.engine.find_out_again()
    session.tick()
    assert session.status().engine_problem.code == "runtime_missing"
    preferences.runtime_python = ""


def test_tick_survives_anything(session, solve, worker_like, caplog):
    worker_like("hang")
    item = solve()
    tick_until(session, lambda: view_of(session, item).status.done == 3)
    events = Path(item.folder) / "events.jsonl"
    session.jobs.cancel(item.job_id)
    tick_until(session, lambda: is_over(session, item))
    again = solve()
    tick_until(session, lambda: view_of(session, again).status.done == 3)
    events = Path(again.folder) / "events.jsonl"
    events.unlink()
    events.mkdir()  # Reading it now raises what no code expects.
    tick_until(session, lambda: is_over(session, again))
    assert again.state == "failed" and again.code == "internal_error"
    assert "Reading beside Blender failed" in caplog.text


def test_installation_runs_beside_blender(session, preferences):
    def install(work):
        work.say("Fetching numpy: 3 of 17 MB", 0.2)

    session.engine.install(install)
    tick_until(session, lambda: not session.engine.is_installing())
    view = session.status().installation
    assert (view.last_line, view.fraction, view.problem, view.is_running) == ("Fetching numpy: 3 of 17 MB", 0.2, None,
                                                                              False)


def test_an_installation_is_told_that_it_is_cancelled(session):
    def install(work):
        while not work.is_cancelled:
            time.sleep(0.01)
        work.say("Cancelled.")

    session.engine.install(install)
    session.engine.cancel_installation()
    tick_until(session, lambda: not session.engine.is_installing())
    assert session.status().installation.last_line == "Cancelled."


def test_installation_that_fails_says_why(session, contract):
    def install(work):
        raise contract.StereoDiffError("disk_full", "No room for numpy.")

    session.engine.install(install)
    tick_until(session, lambda: not session.engine.is_installing())
    assert session.status().installation.problem.code == "disk_full"


def test_second_installation_is_refused(session):
    import threading
    go_on = threading.Event()
    session.engine.install(lambda work: go_on.wait(10))
    with pytest.raises(ValueError, match="running"):
        session.engine.install(lambda work: None)
    go_on.set()
    tick_until(session, lambda: not session.engine.is_installing())
