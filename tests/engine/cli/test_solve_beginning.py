"""What a command line finds in its folder: another that begins, and a solve of footage that was replaced since."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from job_folder import write_job_folder

from stereodiff_blender.engine.cli.solve import _is_solved_already
from stereodiff_blender.engine.contract import ClipSource, Job, JobFolder, Settings, StereoDiffError
from stereodiff_blender.engine.contract.guarded_files import TEMPORARY


@pytest.fixture
def job(tmp_path) -> Job:
    return Job("walk", ClipSource("movie", str(tmp_path / "walk.mp4")), 1, 4, Settings())


@pytest.fixture
def folder(tmp_path) -> JobFolder:
    return JobFolder(tmp_path / "out")


def test_a_folder_in_which_another_is_just_beginning_counts_as_empty(folder, job):
    folder.path.mkdir()
    (folder.path / (folder.job_file.name + TEMPORARY)).touch()
    assert not _is_solved_already(folder, job, None, overwrite=False)
    assert folder.read_job() == job


def test_whoever_finds_its_job_file_moved_away_is_told_that_another_begins(folder, job, monkeypatch):
    def moved_by_another(descriptor: int) -> None:
        (folder.path / (folder.job_file.name + TEMPORARY)).rename(folder.job_file)

    monkeypatch.setattr(os, "fsync", moved_by_another)
    with pytest.raises(StereoDiffError, match="Another process begins", check=lambda error: error.code == "job_locked"):
        _is_solved_already(folder, job, None, overwrite=False)


# --- Footage that was replaced under the same path ---------------------------------------------------------------

@pytest.fixture
def solved(tmp_path):
    """solved(known=..., now=...) -> a finished folder and the job that is asked for again, by their fingerprints."""

    def write(known: str, now: str) -> tuple[JobFolder, Job]:
        result = write_job_folder(tmp_path / "out")
        folder = JobFolder(tmp_path / "out")
        folder.write_result(replace(result, clip=replace(result.clip, fingerprint=known)))
        job = folder.read_job()
        return folder, replace(job, clip=replace(job.clip, fingerprint=now))

    return write


def test_other_footage_under_the_same_path_is_not_called_finished(solved):
    folder, job = solved("1-old", "1-new")
    before = folder.result_file.read_bytes()
    with pytest.raises(StereoDiffError, check=lambda error: error.code == "footage_changed"):
        _is_solved_already(folder, job, None, overwrite=False)
    assert folder.result_file.read_bytes() == before
    assert not _is_solved_already(folder, job, None, overwrite=True)
    assert folder.read_job() == job and not folder.result_file.exists()


@pytest.mark.parametrize(("known", "now"), [("1-old", "1-old"), ("", "1-new")])
def test_the_same_footage_is_finished_and_so_is_what_an_earlier_version_solved(solved, known, now):
    assert _is_solved_already(*solved(known, now), None, overwrite=False)


def test_an_unfinished_solve_begins_anew_with_the_footage_as_it_is(solved):
    folder, job = solved("1-old", "1-new")
    folder.result_file.unlink()
    assert not _is_solved_already(folder, job, None, overwrite=False)
