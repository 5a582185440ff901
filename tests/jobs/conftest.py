"""Real jobs at tiny size: a rendered clip of a few frames, and the worker as a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tiny_jobs import FRAMES, render_boards, write_movie

from stereodiff_blender.engine.contract import ClipSource, Job, Settings, user_folders
from stereodiff_blender.engine.weights import cards, licences
from stereodiff_blender.jobs import worker_process as jobs


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("footage") / "tiny.mp4"
    write_movie(path, render_boards())
    return path


@pytest.fixture
def make_job(tiny_clip, tmp_path) -> Callable[..., Path]:
    """make_job(clip=..., first=..., last=..., **settings) -> folder of a job that has not been started."""

    def make(clip: Path | None = None, first: int = 1, last: int = FRAMES, **settings) -> Path:
        source = ClipSource("movie", str(clip or tiny_clip))
        job = Job(f"job-{len(list(tmp_path.glob('jobs/*')))}", source, first, last, Settings(**settings))
        return jobs.create_job(job, tmp_path / "jobs")

    return make


@pytest.fixture
def start(worker_python, repository) -> Iterator[Callable[[Path], jobs.FollowedJob]]:
    """start(folder) -> the job, followed; whatever still runs after the test is ended."""
    started = []

    def begin(folder: Path) -> jobs.FollowedJob:
        process = jobs.start(folder, worker_python, repository)
        started.append(process)
        return jobs.FollowedJob(folder, process)

    yield begin
    for process in started:
        if process.poll() is None:
            jobs.end_process_tree(process.pid, force=True)
        process.wait()


@pytest.fixture
def user_folder(tmp_path, monkeypatch) -> Path:
    """A user's folder of this test's own, here and in every process that is started."""
    for name in ("HOME", "XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path / "user"))
    return user_folders.user_folder()


@pytest.fixture
def accepted(user_folder) -> None:
    """Every license of weights was accepted."""
    for card in cards.read_cards():
        licences.accept(user_folder, card)
