"""Jobs that an earlier version made, as tests/data has them: read, gone on with, cleared up."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from earlier_version import Shots, copy_shots_in_place
from tiny_jobs import wait_for_end

from stereodiff_blender.engine.contract import JobFolder
from stereodiff_blender.engine.media import exr
from stereodiff_blender.jobs import disk
from stereodiff_blender.jobs import worker_process as jobs


@pytest.fixture
def shots(tmp_path) -> Shots:
    return copy_shots_in_place(tmp_path / "shots")


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}


def depths(folder: Path) -> np.ndarray:
    """(T,H,W), read as the result names them."""
    result = JobFolder(folder).read_result()
    return np.stack([next(iter(exr.read_exr(folder / frame.depth).values())) for frame in result.frames])


def test_a_finished_job_is_read(shots):
    folder = JobFolder(shots.finished)
    result = folder.read_result()  # validates it
    assert (result.camera_kind, result.width, result.height, len(result.frames)) == ("moving", 64, 64, 6)
    assert result.job_id == folder.read_job().id == shots.finished.name
    assert result.stereo_from is None
    depth = depths(shots.finished)
    assert depth.shape == (6, 64, 64) and (depth > 0).mean() > 0.9


def test_what_was_said_meanwhile_is_read(shots):
    status = jobs.FollowedJob(shots.finished).poll()
    assert (status.state, status.fraction) == ("finished", 1.0)
    events = JobFolder(shots.finished).read_events()[0]
    lines = JobFolder(shots.finished).events_file.read_text().splitlines()
    assert len(events) == len(lines) and events[-1].kind == "finished"
    broken_off = jobs.FollowedJob(shots.interrupted).poll()
    assert (broken_off.code, broken_off.can_resume) == ("worker_died", True)


def test_its_jobs_are_found(shots):
    assert {found.folder for found in disk.find_jobs(shots.jobs)} == {shots.finished, shots.interrupted}


@pytest.mark.slow
def test_a_job_that_was_broken_off_is_gone_on_with(shots, start):
    folder = shots.interrupted
    footage = digests(shots.footage)
    asked, said = ((folder / name).read_bytes() for name in ("job.json", "events.jsonl"))
    assert list(folder.glob("cache/stereo-*/kept-settled.npz")), "stage 1 is kept"
    assert wait_for_end(start(folder)).state == "finished"
    assert len(JobFolder(folder).read_result().frames) == 5
    both = np.stack([depths(folder), depths(shots.finished)[:5]])
    assert np.median(np.abs(both[0] / both[1] - 1)[both.min(axis=0) > 0]) < 0.05
    assert digests(shots.footage) == footage and (folder / "job.json").read_bytes() == asked
    assert (folder / "events.jsonl").read_bytes().startswith(said)


def test_what_it_keeps_is_cleared_up_and_the_job_deleted(shots):
    folder = shots.interrupted
    (folder / "cache" / "reserved").write_bytes(b"\0" * 262_144)
    assert disk.remove_cache(folder, folder.name) > 0
    assert not (folder / "cache").exists() and (folder / "job.json").exists()
    disk.delete_job(folder, folder.name)
    assert not folder.exists() and shots.finished.exists()
