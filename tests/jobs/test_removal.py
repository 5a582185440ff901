"""Removing jobs and caches: only what is the job's, only at rest, whole or not at all, and said as it is."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path

import pytest

from stereodiff_blender.engine.contract import ClipSource, Job, JobFolder, StereoDiffError
from stereodiff_blender.engine.contract.guarded_files import ASIDE
from stereodiff_blender.engine.contract.job_files import lock as job_lock
from stereodiff_blender.engine.contract.job_files.caches import MARK, NOTE, find_cache, make_cache
from stereodiff_blender.engine.contract.job_files.lock import beating, beats_elsewhere, locked, this_computer
from stereodiff_blender.jobs import disk as job_files
from stereodiff_blender.jobs import worker_process as jobs

posix_only = pytest.mark.skipif(os.name == "nt", reason="links need a right on Windows")
CLIP = ClipSource("movie", "/footage/walk.mp4")


@pytest.fixture
def make_job(tmp_path):
    """make_job(name) -> folder of a job with what a solve leaves."""
    def make(name: str = "walk", parent: Path | None = None) -> Path:
        folder = jobs.create_job(Job(name, CLIP, 1, 3), parent or tmp_path / "jobs")
        for made in ("depth/0001.exr", "lens/undistort.exr", "lens/redistort.exr", "cache/stereo-0a/kept.npy",
                     "events.jsonl", "worker.log", "preview.png"):
            (folder / made).parent.mkdir(parents=True, exist_ok=True)
            (folder / made).write_bytes(b"")
        (folder / "cache" / "stereo-0a" / "kept.npy").write_bytes(b"k" * 50_000)
        return folder

    return make


def refused(code: str, match: str | None = None):
    return pytest.raises(StereoDiffError, match=match, check=lambda error: error.code == code)


# --- Only what is the job's ------------------------------------------------------------------------------------

def test_a_folder_named_otherwise_is_not_deleted(make_job):
    home = make_job()
    home = home.rename(home.with_name("home"))
    with refused("job_folder_mixed", "is not named after its job, walk"):
        job_files.delete_job(home, "walk")
    assert (home / "depth" / "0001.exr").exists()


@pytest.mark.parametrize("name", ["thesis.txt", "Documents/a.txt", "depth/render.0001.exr", "cache/houdini/sim",
                                  "lens/distort.exr"])
def test_a_folder_that_holds_more_is_not_deleted_and_what_it_holds_is_named(make_job, name):
    folder = make_job()
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("precious")
    with refused("job_folder_mixed", name.split("/")[0]):
        job_files.delete_job(folder, "walk")
    assert (folder / name).read_text() == "precious" and (folder / "job.json").exists()


def test_what_file_browsers_leave_stands_in_no_way(make_job):
    folder = make_job()
    for name in (".DS_Store", "Thumbs.db", "._preview.png", "depth/.DS_Store", "result.json.tmp"):
        (folder / name).write_bytes(b"")
    job_files.delete_job(folder, "walk")
    assert not folder.exists()


def test_a_cache_is_cleared_of_what_jobs_make_and_keeps_the_rest(make_job):
    folder = make_job()
    (folder / "cache" / "houdini").mkdir()
    with refused("job_folder_mixed", "houdini"):
        job_files.remove_cache(folder, "walk")
    assert os.listdir(folder / "cache") == ["houdini"]


@posix_only
def test_a_job_folder_that_is_a_link_is_not_called_deleted(make_job, tmp_path):
    folder = make_job()
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    for remove in (job_files.delete_job, job_files.remove_cache):
        with refused("job_folder_unsafe", "is a link"):
            remove(folder, "walk")
    assert folder.is_symlink() and (tmp_path / "elsewhere" / "cache" / "stereo-0a" / "kept.npy").exists()


@posix_only
@pytest.mark.parametrize("name", ["cache", "depth", "cache/stereo-0a/kept.npy", "depth/0002.exr", "worker.log"])
def test_deleting_a_job_leaves_what_its_links_lead_to(make_job, tmp_path, name):
    folder, home = make_job(), tmp_path / "home"
    (home / "Documents").mkdir(parents=True)
    (home / "Documents" / "thesis.txt").write_text("precious")
    place = folder / name
    if place.is_dir():
        place.rename(tmp_path / "aside")
    place.unlink(missing_ok=True)
    place.symlink_to(home)
    job_files.delete_job(folder, "walk")
    assert not os.path.lexists(folder) and (home / "Documents" / "thesis.txt").read_text() == "precious"


def test_a_job_that_is_no_json_or_anothers_is_not_deleted(make_job):
    folder = make_job()
    with refused("job_invalid", "does not belong to run"):
        job_files.delete_job(folder, "run")
    (folder / "job.json").rename(folder.parent / "job.json")
    if os.name != "nt":
        (folder / "job.json").symlink_to(folder.parent / "job.json")
        with refused("job_invalid", "is a link"):
            job_files.delete_job(folder, "walk")
        (folder / "job.json").unlink()
    (folder / "job.json").write_text("{")
    with refused("job_invalid"):
        job_files.delete_job(folder, "walk")
    assert (folder / "depth" / "0001.exr").exists()


def test_a_cache_that_is_a_file_is_refused_in_words(make_job):
    folder = make_job()
    (folder / "cache" / "stereo-0a" / "kept.npy").unlink()
    (folder / "cache" / "stereo-0a").rmdir()
    (folder / "cache").rmdir()
    (folder / "cache").write_text("in the way")
    with refused("output_not_writable"):
        job_files.remove_cache(folder, "walk")
    assert (folder / "cache").read_text() == "in the way"


# --- Only at rest ----------------------------------------------------------------------------------------------

def test_a_job_in_whose_folder_another_lies_is_not_deleted(make_job):
    outer = make_job("outer")
    inner = make_job("inner", outer)
    with locked(JobFolder(inner)), beating(JobFolder(inner), lambda: 0), refused("job_folder_mixed", "inner"):
        job_files.delete_job(outer, "outer")
    assert (inner / "job.json").exists() and (outer / "job.json").exists()


def test_a_job_at_which_another_computer_works_is_left_alone(make_job):
    folder = make_job()
    (folder / "heartbeat").write_bytes(b"another computer")
    for remove in (job_files.delete_job, job_files.remove_cache):
        with refused("job_locked"):
            remove(folder, "walk")
    with refused("job_locked", "Another computer"), locked(JobFolder(folder)):
        pass
    long_ago = time.time() - job_lock.FRESH_S - 60
    os.utime(folder / "heartbeat", (long_ago, long_ago))
    assert job_files.remove_cache(folder, "walk") > 0


@pytest.mark.slow
def test_a_heartbeat_that_does_not_say_whose_it_is_counts_while_it_changes(make_job):
    """What workers of earlier versions leave."""
    folder, done = make_job(), threading.Event()

    def beat():
        while not done.wait(0.2):
            (folder / "heartbeat").touch()

    thread = threading.Thread(target=beat)
    (folder / "heartbeat").touch()
    thread.start()
    try:
        with refused("job_locked"):
            job_files.delete_job(folder, "walk")
    finally:
        done.set()
        thread.join()
    job_files.delete_job(folder, "walk")
    assert not folder.exists()


def test_what_a_killed_worker_of_this_computer_leaves_keeps_nobody_waiting(make_job):
    folder = make_job()
    (folder / "heartbeat").write_bytes(this_computer())
    (folder / "lock").touch()
    began_s = time.monotonic()
    job_files.delete_job(folder, "walk")
    assert not folder.exists() and time.monotonic() - began_s < 1.0


def test_a_heartbeat_tells_whose_it_is_and_nobodys_name(make_job):
    import socket
    folder = JobFolder(make_job())
    with beating(folder, lambda: 0):
        while not folder.heartbeat_file.exists() or not folder.heartbeat_file.read_bytes():
            time.sleep(0.01)
        assert folder.heartbeat_file.read_bytes().splitlines()[:1] == this_computer().splitlines()
        assert not beats_elsewhere(folder)
        assert socket.gethostname().encode() not in this_computer()
    assert not folder.heartbeat_file.exists()


# --- Whole, and again ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("gone", ["job.json", "events.jsonl"])
def test_a_half_removed_job_can_be_removed(make_job, gone):
    folder = make_job()
    for name in {"job.json", gone}:
        (folder / name).unlink()
    job_files.delete_job(folder, "walk")
    assert not folder.exists()


def test_a_folder_without_any_trace_of_a_job_is_not_called_half_removed(tmp_path):
    render = tmp_path / "walk"
    (render / "depth").mkdir(parents=True)
    (render / "depth" / "0001.exr").write_text("precious")
    with refused("job_missing"):
        job_files.delete_job(render, "walk")
    assert (render / "depth" / "0001.exr").read_text() == "precious"


def test_a_removal_that_was_broken_off_is_ended_by_the_next(make_job):
    folder = make_job()
    folder.rename(folder.with_name(f"{ASIDE}0123456789abcdef"))
    job_files.delete_job(folder, "walk")
    assert list(folder.parent.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="a folder that may not be renamed is a mounted one")
def test_where_a_job_cannot_be_moved_aside_nothing_is_deleted(make_job):
    import subprocess
    folder = make_job()
    if os.geteuid() != 0 or subprocess.run(["mount", "--bind", folder, folder], capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        with refused("output_not_writable"):
            job_files.delete_job(folder, "walk")
        assert (folder / "job.json").exists() and (folder / "cache" / "stereo-0a" / "kept.npy").exists()
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


# --- Caches elsewhere ------------------------------------------------------------------------------------------

@pytest.fixture
def elsewhere(make_job, tmp_path):
    """A job whose cache lies in a folder for caches, beside something of the artist's."""
    folder = make_job()
    job_files.remove_cache(folder, "walk")
    (tmp_path / "scratch" / "Photos").mkdir(parents=True)
    cache = make_cache(JobFolder(folder), "walk", tmp_path / "scratch")
    cache.make_folder("stereo-0a").write_bytes("kept.npy", b"k" * 50_000)
    return folder, cache


def test_a_cache_elsewhere_is_found_measured_and_removed(elsewhere, tmp_path):
    folder, cache = elsewhere
    assert cache.path == tmp_path / "scratch" / "walk" and find_cache(JobFolder(folder)).path == cache.path
    assert make_cache(JobFolder(folder), "walk", tmp_path / "another").path == cache.path, "it stays where it is"
    size = job_files.measure(folder)
    assert size.total > size.cache >= 50_000
    assert job_files.remove_cache(folder, "walk") >= 50_000
    assert os.listdir(tmp_path / "scratch") == ["Photos"] and find_cache(JobFolder(folder)) is None
    assert job_files.remove_cache(folder, "walk") == 0


def test_a_cache_elsewhere_goes_with_its_job_and_nothing_beside_it(elsewhere, tmp_path):
    folder, _ = elsewhere
    job_files.delete_job(folder, "walk")
    assert os.listdir(tmp_path / "scratch") == ["Photos"] and not folder.exists()


def test_a_job_that_was_moved_still_has_its_cache(elsewhere, tmp_path):
    folder, cache = elsewhere
    moved = folder.rename(tmp_path / "moved")
    assert find_cache(JobFolder(moved)).path == cache.path


def test_two_jobs_of_one_name_have_a_cache_each(make_job, tmp_path):
    caches = set()
    for project in ("one", "two"):
        folder = make_job("walk", tmp_path / project)
        job_files.remove_cache(folder, "walk")
        caches.add(make_cache(JobFolder(folder), "walk", tmp_path / "scratch").path)
    assert len(caches) == 2


@pytest.mark.parametrize("job_id", ["../../home", "/home", "..", "", "a/b", "con:x"])
def test_a_jobs_id_leads_to_no_other_place(make_job, tmp_path, job_id):
    folder = make_job()
    job_files.remove_cache(folder, "walk")
    cache = make_cache(JobFolder(folder), job_id, tmp_path / "scratch")
    assert cache.path.parent == tmp_path / "scratch" and cache.path.name == "job"


@pytest.mark.parametrize("forgery", ["another folder", "a folder with another's mark", "a relative path", "a link"])
def test_a_note_leads_to_no_folder_but_one_made_for_it(elsewhere, make_job, tmp_path, forgery):
    folder, cache = elsewhere
    note = json.loads((folder / NOTE).read_text())
    if forgery == "another folder":
        (tmp_path / "home" / "stereo-0a").mkdir(parents=True)
        note["folder"] = str(tmp_path / "home")
    elif forgery == "a folder with another's mark":
        (cache.path / MARK).write_text(json.dumps({"job": "walk", "token": "0" * 32}))
    elif forgery == "a relative path":
        note["folder"] = os.path.relpath(cache.path)
    elif os.name != "nt":
        cache.path.rename(tmp_path / "real")
        cache.path.symlink_to(tmp_path / "real")
    (folder / NOTE).write_text(json.dumps(note))
    assert find_cache(JobFolder(folder)) is None
    with refused("output_not_writable", "not this job's"):
        job_files.remove_cache(folder, "walk")
    assert (tmp_path / "scratch" / "walk").exists()


@posix_only
def test_a_cache_that_somebody_linked_is_refused_with_the_preference_in_the_remedy(make_job, tmp_path):
    from stereodiff_blender.engine.contract.messages import explain
    folder = make_job()
    job_files.remove_cache(folder, "walk")
    (tmp_path / "scratch").mkdir()
    (folder / "cache").symlink_to(tmp_path / "scratch")
    for caches in (None, tmp_path / "caches"):
        with refused("job_folder_unsafe", "cache is a link"):
            make_cache(JobFolder(folder), "walk", caches)
    remedy = explain("job_folder_unsafe").remedy
    assert "Cache Folder" in remedy and "--cache" in remedy
