"""Resume and the queue, as buttons do it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import bpy
import pytest
from followed_jobs import at_work, end, states, tick_until
from job_folder import write_job_folder, write_sequence

posix_only = pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")


# --- Resume ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("behavior", ["fail", "crash"])
def test_a_failed_job_is_resumed_and_imported(session, solve, settings, worker_like, behavior):
    worker_like(behavior)
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


@pytest.mark.slow
@posix_only
def test_a_job_whose_engine_hangs_is_started_anew(addon, session, solve, settings, worker_like, monkeypatch):
    monkeypatch.setattr(addon.jobs.worker_process.FollowedJob, "SILENT_AFTER_S", 0.5)
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
