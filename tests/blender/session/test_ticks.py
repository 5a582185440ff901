"""Blender's timer with a list of many jobs, some of them from nobody's friend: no tick waits for a disk or a file.

Everything here runs under a limit of time and memory, so that a reader that hangs or swallows all fails alone.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import os
import resource
import statistics
import time
from pathlib import Path

import bpy
import pytest
from bench_ticks import Ticks, list_jobs
from many_jobs import HOSTILE, write_hostile_jobs, write_old_jobs, write_progress

PATIENCE_S = 240.0
MEMORY_BYTES = 3_000_000_000
pytestmark = pytest.mark.skipif(os.name == "nt", reason="pipes, and limits of memory, are POSIX")


@pytest.fixture(autouse=True)
def limited():
    """A tick that never comes back ends the tests; memory has an end."""
    faulthandler.dump_traceback_later(PATIENCE_S, exit=True)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() if os.path.exists(
        "/proc/self/statm") else 0
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture
def short_collections():
    """Whatever ran before in this process leaves objects by the million, and a full collection of them, 0.1 s, falls
    into one tick or another. They are set aside, so that a tick is timed with what it makes itself.
    """
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def opened(session, label: str) -> Ticks:
    """Ticks until all that the list names is known."""
    session.jobs.attach_to_file()
    return Ticks(session, label).until(session.is_at_rest, PATIENCE_S)


def state_of(session, folder: Path) -> tuple[str, str | None]:
    status = session.status().jobs[folder.name].status
    return status.state, status.code


# --- Hostile folders -------------------------------------------------------------------------------------------

ENDS = {
    "pipe as events": ("failed", "job_folder_unsafe"), "pipe as result": ("failed", "result_invalid"),
    "endless events": ("failed", "job_folder_unsafe"), "huge events": ("interrupted", "job_interrupted"),
    "huge result": ("failed", "result_invalid"), "many warnings": ("interrupted", "job_interrupted"),
    "huge preview": ("finished", None),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", HOSTILE)
def test_a_listed_job_of_any_kind_is_judged(session, settings, tmp_path, kind):
    (folder,) = write_hostile_jobs(tmp_path, (kind,))
    settings.import_when_finished = False
    list_jobs([folder], "running")
    session.jobs.attach_to_file()
    end = time.monotonic() + PATIENCE_S / 2
    while not session.jobs.is_attached or not session.jobs.is_settled(folder.name):
        assert time.monotonic() < end
        session.tick()
        time.sleep(0.01)
    assert state_of(session, folder) == ENDS[kind]


@pytest.mark.slow
@pytest.mark.parametrize("kind", HOSTILE)
def test_a_finished_job_of_any_kind_is_listed(session, tmp_path, kind):
    (folder,) = write_hostile_jobs(tmp_path, (kind,))
    list_jobs([folder], "finished")
    opened(session, kind)
    view = session.status().jobs[folder.name]
    assert view.status.state == "finished"
    if kind == "huge preview":
        assert view.outcome.icon_id == 0 and view.import_problem is None
        assert not session.jobs.outcomes.thumbnails.pictures
    else:
        assert view.outcome is None and view.import_problem.code == "result_invalid"


@pytest.mark.slow
@pytest.mark.parametrize("kind", HOSTILE)
def test_buttons_on_a_hostile_job_answer(session, settings, tmp_path, kind):
    (folder,) = write_hostile_jobs(tmp_path / "jobs", (kind,))
    (folder / "worker.log").unlink(missing_ok=True)
    os.mkfifo(folder / "worker.log")
    os.utime(folder / "worker.log", (1e9, 1e9))  # not that of a worker that is just being started
    if kind == "huge preview":
        bpy.ops.stereodiff.import_result(directory=str(folder))
    else:
        with pytest.raises(RuntimeError, match="result"):
            bpy.ops.stereodiff.import_result(directory=str(folder))
        settings.jobs.clear()
        assert bpy.ops.stereodiff.find_jobs() == {"FINISHED"}
        assert [item.job_id for item in settings.jobs] == [folder.name]
    with pytest.raises(RuntimeError, match="no log of this job"):
        bpy.ops.stereodiff.open_log()


@pytest.mark.slow
def test_no_tick_is_long_though_everything_is_listed(session, settings, tmp_path, short_collections):
    """The limits are wide because machines are busy; without threads a tick of these took 33 s, or never ended."""
    settings.import_when_finished = False
    old = write_old_jobs(tmp_path / "jobs", 20, 2000)
    hostile = write_hostile_jobs(tmp_path / "hostile")
    list_jobs(old, "finished")
    list_jobs(hostile[:4], "running")
    list_jobs(hostile[4:], "finished")
    session.jobs.attach_to_file()
    ticks = Ticks(session, "all")
    end = time.monotonic() + PATIENCE_S / 2
    while not session.is_at_rest():
        assert time.monotonic() < end
        ticks.tick()
        time.sleep(0.01)
    assert max(ticks.cpu_ms) < 500.0 and statistics.median(ticks.cpu_ms) < 10.0
    assert statistics.median(ticks.wall_ms) < 50.0
    assert len(ticks.wall_ms) > 20
    views = session.status().jobs
    assert all(views[folder.name].outcome.frame_count == 2000 for folder in old)


# --- One bad entry ---------------------------------------------------------------------------------------------

def test_one_bad_entry_is_one_bad_entry(addon, session, settings, tmp_path):
    good = write_old_jobs(tmp_path / "jobs", 3, 4)
    list_jobs(good[:1], "finished")
    for number, (folder, shots) in enumerate([("", "-5-3"), ("relative/../..", "x"), ("//host/share/job", "1-"),
                                              ("C:\\nowhere", "0-0"), (str(tmp_path / ("n" * 3000)), "")]):
        item = settings.jobs.add()
        item.job_id, item.folder, item.shots, item.state, item.code = f"bad-{number}", folder, shots, "failed", "dance"
    list_jobs(good[1:], "finished")
    opened(session, "bad entries")
    views = session.status().jobs
    assert all(views[folder.name].outcome is not None for folder in good)
    assert {views[f"bad-{number}"].status.state for number in range(5)} == {"failed"}
    assert all(addon.ui.panels.solve.messages.explain(views[f"bad-{number}"].status.code) for number in range(5))


def test_an_entry_that_breaks_what_nobody_foresaw_keeps_nobody_else_from_being_known(addon, session, settings, tmp_path,
                                                                                     monkeypatch, caplog):
    folders = write_old_jobs(tmp_path / "jobs", 3, 4)
    list_jobs(folders, "finished")
    real = addon.session.job_list.status_of

    def status_of(item):
        if item.job_id == folders[0].name:
            raise ZeroDivisionError("nobody foresaw this")
        return real(item)

    monkeypatch.setattr(addon.session.job_list, "status_of", status_of)
    opened(session, "broken")
    views = session.status().jobs
    assert views[folders[0].name].status.code == "internal_error" and "cannot be looked at" in caplog.text
    assert all(views[folder.name].outcome is not None for folder in folders[1:])


def test_a_part_of_a_tick_that_fails_stops_no_other(session, settings, tmp_path, monkeypatch, caplog):
    folders = write_old_jobs(tmp_path / "jobs", 2, 4)
    list_jobs(folders, "finished")
    monkeypatch.setattr(session.weights, "advance", lambda: 1 / 0)
    opened(session, "weights fail")
    assert all(view.outcome is not None for view in session.status().jobs.values())
    assert "A tick of the session failed" in caplog.text


@pytest.mark.slow
def test_a_failed_job_says_so_in_words_for_people(session, settings, addon, tmp_path):
    (folder,) = write_hostile_jobs(tmp_path, ("many warnings",))
    list_jobs([folder], "failed")
    item = settings.jobs[0]
    item.code, item.message, item.shots = "", "", "-5-3 1-2"
    opened(session, "failed")
    view = session.status().jobs[folder.name]
    assert view.status.shots == ((1, 2),)
    assert "Nobody" not in (view.status.message or "")


# --- Looked at once --------------------------------------------------------------------------------------------

def test_a_result_is_read_once_and_again_when_it_has_changed(session, settings, tmp_path, monkeypatch, contract):
    folders = write_old_jobs(tmp_path / "jobs", 2, 4)
    read = []
    real = contract.JobFolder.read_result
    monkeypatch.setattr(contract.JobFolder, "read_result", lambda self: (read.append(self.path.name), real(self))[1])
    list_jobs(folders, "finished")
    for _ in range(3):
        opened(session, "again and again")
    assert sorted(read) == ["old-0", "old-1"]
    entry = session.jobs.queue["old-1"]
    session.jobs.outcomes.look_at(entry)
    opened(session, "looked at again")
    assert len(read) == 2, "it is as it was"
    data = json.loads((folders[1] / "result.json").read_text())
    data["camera_kind"] = "static"
    data["depth_range"] = None
    for frame in data["frames"]:
        frame["depth"] = None
    (folders[1] / "result.json").unlink()
    (folders[1] / "result.json").write_text(json.dumps(data))
    session.jobs.outcomes.look_at(entry)
    opened(session, "changed")
    assert len(read) == 3 and entry.outcome.camera_kind == "static"


def test_an_import_uses_the_result_that_was_read_beside_blender(session, settings, sequence, worker_like, contract,
                                                                monkeypatch):
    import threading
    threads = []
    real = contract.JobFolder.read_result
    monkeypatch.setattr(contract.JobFolder, "read_result",
                        lambda self: (threads.append(threading.current_thread()), real(self))[1])
    worker_like("finish")
    settings.clip = sequence
    assert bpy.ops.stereodiff.solve() == {"FINISHED"}
    assert bpy.context.scene.camera is not None
    bpy.ops.stereodiff.import_result(directory=settings.jobs[0].folder)
    assert threads and threading.main_thread() not in threads


def test_a_log_is_shown_from_its_end(session, settings, tmp_path):
    (folder,) = write_old_jobs(tmp_path / "jobs", 1, 4)
    with open(folder / "worker.log", "wb") as stream:
        stream.write(b"first\n" + b"x" * 9000 + b"\n")
        stream.truncate(300_000_000)
        stream.seek(0, os.SEEK_END)
        stream.write(b"\n" + b"y" * 9000 + b"\nlast")
    list_jobs([folder], "finished")
    assert bpy.ops.stereodiff.open_log() == {"FINISHED"}
    lines = [line.body for line in bpy.data.texts[f"{folder.name}.log"].lines]
    assert lines[1] == "[299.0 MB are left out here]" and lines[-1] == "last" and max(map(len, lines)) <= 2000


def test_events_that_pile_up_are_caught_up_with(session, settings, sequence, worker_like, contract, short_collections):
    worker_like("hang")
    settings.clip = sequence
    bpy.ops.stereodiff.solve(wait=False)
    item = settings.jobs[0]
    ticks = Ticks(session, "flood").until(lambda: session.status().jobs[item.job_id].status.done == 3, PATIENCE_S / 2)
    folder = contract.JobFolder(item.folder)
    write_progress(folder, 60_000_000)
    folder.append_event(contract.Event("progress", time.time(), stage="read", done=4, total=6))
    pid = session.jobs.queue[item.job_id].followed._pid
    folder.append_event(contract.Event("started", time.time(), pid=pid, plan=(("read", 1.0),)))
    folder.append_event(contract.Event("progress", time.time(), stage="read", done=5, total=6))
    ticks.until(lambda: session.status().jobs[item.job_id].status.done == 5, PATIENCE_S / 2)
    assert max(ticks.cpu_ms) < 50.0
