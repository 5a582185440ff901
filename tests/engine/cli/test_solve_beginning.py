"""Two command lines that begin in one folder at once: one solves, the other is told that somebody does."""

from __future__ import annotations

import os

import pytest

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
