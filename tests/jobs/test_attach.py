"""Jobs that outlive who started them, one at a time on a device, and what is left of them on disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from stand_in import install
from tiny_jobs import wait_for_end, wait_until

from stereodiff_blender.engine.contract import ClipSource, Job, JobFolder, Settings, StereoDiffError
from stereodiff_blender.jobs import disk as job_files
from stereodiff_blender.jobs import queue as job_queue
from stereodiff_blender.jobs import worker_process as jobs
from stereodiff_blender.jobs.device_lock import device_of, take_device

posix_only = pytest.mark.skipif(os.name == "nt", reason="signals and the stand-in's lock are POSIX")
CLIP = ClipSource("movie", "/footage/walk.mp4")


@pytest.fixture
def make_job(tmp_path):
    """make_job(name) -> folder of a job that was not started."""
    def make(name: str = "walk", **settings) -> Path:
        return jobs.create_job(Job(name, CLIP, 1, 3, Settings(**settings)), tmp_path / "jobs")

    return make


@pytest.fixture
def root(tmp_path) -> Path:
    return install(tmp_path / "engine")


@pytest.fixture
def launch(root, tmp_path):
    return job_queue.Launch(Path(sys.executable), root, tmp_path / "locks")


@pytest.fixture
def end_later():
    """Jobs to end after the test."""
    followed = []
    yield followed
    jobs.end_together(followed)


def refused(code: str):
    return pytest.raises(StereoDiffError, check=lambda error: error.code == code)


HOST = """
import sys, time
from pathlib import Path
sys.path.insert(0, {repository!r})
from stereodiff_blender.jobs import worker_process as jobs
from stereodiff_blender.jobs.device_lock import take_device
device = take_device(Path({locks!r}), "cpu")
with device:
    jobs.start({folder!r}, sys.executable, {root!r}, device)
print("started", flush=True)
time.sleep(600)
"""


def killed_host(folder: Path, root: Path, locks: Path, repository: Path) -> None:
    """A program that starts the job as Blender does, and is killed as soon as it has."""
    code = HOST.format(repository=str(repository), locks=str(locks), folder=str(folder), root=str(root))
    host = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert host.stdout.readline() == "started\n"
    host.send_signal(signal.SIGKILL)
    host.wait()
    host.stdout.close()


# --- Outliving -------------------------------------------------------------------------------------------------

@posix_only
def test_a_job_outlives_who_started_it_and_so_does_its_lock(make_job, root, tmp_path, repository, end_later):
    folder, locks = make_job(), tmp_path / "locks"
    killed_host(folder, root, locks, repository)
    job = jobs.FollowedJob(folder)
    end_later.append(job)
    wait_until(lambda: job.poll().done == 3)
    assert job.poll().state == "running"
    assert take_device(locks, "cpu") is None, "the device is the worker's"
    with take_device(locks, "gpu") as other:
        assert other.descriptor is not None
    os.killpg(job._pid, signal.SIGKILL)
    assert wait_for_end(job).code == "worker_died"
    wait_until(lambda: is_free(locks))


def is_free(locks: Path) -> bool:
    device = take_device(locks, "cpu")
    if device is None:
        return False
    device.release()
    return True


@posix_only
def test_a_job_waits_for_another_programs(make_job, root, launch, tmp_path, repository, end_later):
    killed_host(make_job("first"), root, launch.locks, repository)
    first = jobs.FollowedJob(tmp_path / "jobs" / "first")
    end_later.append(first)
    queue = job_queue.Queue()
    entry = queue.add(job_queue.Entry("second", make_job("second"), "walk", 0, launch))
    assert queue.step(entry) == jobs.JobStatus("waiting", note="Waiting for another Blender's job")
    assert not JobFolder(entry.folder).log_file.exists()
    wait_until(lambda: first.poll().done == 3)
    jobs.end_together([first])
    wait_until(lambda: queue.step(entry).done == 3)
    end_later.append(entry.followed)


@posix_only
def test_where_nothing_can_be_locked_jobs_still_run(tmp_path, caplog):
    (tmp_path / "locks").write_text("a file where the folder should be")
    with take_device(tmp_path / "locks", "cpu") as device:
        assert device.descriptor is None
    assert "two jobs may compute at the same time" in caplog.text


@posix_only
def test_a_lock_is_no_way_to_write_through_a_link(tmp_path):
    take_device(tmp_path / "locks", "cpu").release()
    (lock,) = (tmp_path / "locks").iterdir()
    lock.unlink()
    (tmp_path / "precious").write_text("precious")
    lock.symlink_to(tmp_path / "precious")
    assert take_device(tmp_path / "locks", "cpu").descriptor is None
    assert (tmp_path / "precious").read_text() == "precious"


@pytest.mark.parametrize(("settings", "device"), [
    ({}, "cpu"), ({"device": "cuda"}, "cpu"), ({"quality": "high"}, "cpu"), ({"stereo": "monst3r"}, "gpu"),
    ({"refine": "depthcrafter"}, "gpu"), ({"refine": "depthcrafter", "device": "cpu"}, "cpu"),
])
def test_the_device_is_what_a_job_could_use(settings, device):
    assert device_of(Settings(**settings)) == device


# --- The queue -------------------------------------------------------------------------------------------------

def waiting(queue: job_queue.Queue) -> list[str]:
    return [entry.job_id for entry in queue if entry.is_queued]


@pytest.fixture
def queue(make_job, launch) -> job_queue.Queue:
    queue = job_queue.Queue()
    for name in "abcd":
        queue.add(job_queue.Entry(name, make_job(name), name, 0, launch))
    return queue


def test_jobs_change_places(queue):
    assert queue.move("a", 1) and queue.move("d", -1)
    assert waiting(queue) == ["b", "a", "d", "c"]
    assert not queue.move("b", -1) and not queue.move("c", 1) and not queue.move("nobody", 1)
    assert waiting(queue) == ["b", "a", "d", "c"]


def test_only_what_waits_can_be_moved(queue):
    queue.take_off(queue["b"])
    assert not queue.move("b", 1)
    assert queue.move("a", 1)
    assert waiting(queue) == ["c", "a", "d"]
    assert (queue["b"].folder / "cancelled").exists()


@posix_only
def test_one_job_is_started_at_a_time_and_a_resumed_one_comes_last(queue, root, launch, end_later):
    install(root, "crash")
    first, second = queue["a"], queue["b"]
    assert queue.step(first).state == "running"
    assert queue.step(second) == jobs.JobStatus("waiting")
    first.status = wait_for_end(first.followed)
    queue.requeue(first, launch)
    assert waiting(queue) == ["b", "c", "d", "a"]
    install(root, "hang")
    assert queue.step(second).state == "running"
    end_later.append(second.followed)
    assert queue.step(first) == jobs.JobStatus("waiting")


# --- On disk ---------------------------------------------------------------------------------------------------

def with_cache(folder: Path) -> Path:
    (JobFolder(folder).cache / "stereo-0a").mkdir(parents=True)
    (JobFolder(folder).cache / "stereo-0a" / "kept.npy").write_bytes(b"k" * 100_000)
    return folder


def test_a_folder_is_measured_beside_the_caller(make_job):
    folder, meter = with_cache(make_job()), job_files.SizeMeter()
    assert meter.size("walk") is None
    meter.ask("walk", folder)
    wait_until(lambda: not meter.is_busy)
    assert 100_000 <= meter.size("walk").cache < meter.size("walk").total < 150_000
    meter.ask("gone", folder.parent / "gone")
    wait_until(lambda: not meter.is_busy)
    assert meter.size("gone").total == 0


def test_the_cache_goes_and_the_rest_stays(make_job):
    folder = with_cache(make_job())
    JobFolder(folder).result_file.write_text("{}")
    assert job_files.remove_cache(folder, "walk") >= 100_000
    assert {path.name for path in folder.iterdir()} == {"job.json", "result.json"}
    assert job_files.remove_cache(folder, "walk") == 0


@posix_only
def test_nothing_is_removed_from_a_job_at_work(make_job, root, end_later):
    folder = make_job()
    job = jobs.FollowedJob(folder, jobs.start(folder, sys.executable, root))
    end_later.append(job)
    wait_until(lambda: job.poll().done == 3)
    with refused("job_locked"):
        job_files.remove_cache(folder, "walk")
    with refused("job_locked"):
        job_files.delete_job(folder, "walk")
    job.folder.events_file.unlink()  # So that only the lock tells.
    with refused("job_locked"):
        job_files.remove_cache(folder, "walk")
    os.killpg(job._pid, signal.SIGKILL)
    wait_for_end(job)
    assert job_files.remove_cache(folder, "walk") > 0


def test_nothing_is_removed_from_a_folder_of_another_job(make_job, tmp_path):
    folder = with_cache(make_job())
    with refused("job_invalid"):
        job_files.remove_cache(folder, "another")
    (tmp_path / "precious" / "cache").mkdir(parents=True)
    with refused("job_missing"):
        job_files.delete_job(tmp_path / "precious", "walk")
    assert (folder / "cache" / "stereo-0a").exists() and (tmp_path / "precious" / "cache").exists()


@posix_only
def test_a_cache_that_is_a_link_leads_nowhere(make_job, tmp_path):
    folder = make_job()
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("precious" * 10_000)
    JobFolder(folder).cache.symlink_to(tmp_path / "precious")
    assert job_files.measure(folder).total < 50_000
    with refused("job_folder_unsafe"):
        job_files.remove_cache(folder, "walk")
    job_files.delete_job(folder, "walk")
    assert not folder.exists() and (tmp_path / "precious" / "thesis.txt").exists()


def test_deleting_takes_the_whole_folder(make_job):
    folder = with_cache(make_job())
    job_files.delete_job(folder, "walk")
    assert not folder.exists()
    job_files.delete_job(folder, "walk")


def test_jobs_are_found_oldest_first(make_job, tmp_path):
    for age, name in ((30, "old"), (10, "new"), (20, "middle")):
        file = JobFolder(make_job(name)).job_file
        os.utime(file, (1e9 - age, 1e9 - age))
    (tmp_path / "jobs" / "notes").mkdir()
    (tmp_path / "jobs" / "damaged").mkdir()
    (tmp_path / "jobs" / "damaged" / "job.json").write_text("{")
    os.rename(make_job("renamed"), tmp_path / "jobs" / "other name")
    assert [found.job.id for found in job_files.find_jobs(tmp_path / "jobs")] == ["old", "middle", "new"]
    assert list(job_files.find_jobs(tmp_path / "nowhere")) == []
