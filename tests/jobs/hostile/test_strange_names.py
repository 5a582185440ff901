"""Footage with names that shells, ffmpeg, patterns and encodings take for something else: solved, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from job_folder import write_png
from tiny_jobs import LENS_OPTIONS, render_boards, write_movie

from stereodiff_blender.engine.contract import Job, JobFolder, Settings
from stereodiff_blender.engine.media.frames import plan_raster, probe_clip, read_frames, source_from_path
from stereodiff_blender.jobs import worker_process as jobs

NAMES = (
    "-rf.mp4", "--help.mp4", "it's \"quoted\".mp4", "$(touch marker).mp4", "`touch marker`.mp4", "; touch marker.mp4",
    "| touch marker.mp4", "shot_%04d.mp4", "shot_####.mp4", "a#b?c&d.mp4", "line\nbreak.mp4",
    os.fsdecode(b"\xff\xfe.mp4"), "\N{CLAPPER BOARD}.mp4", "x" * 240 + ".mp4", "concat:x", "file:x.mp4", "http:x.mp4",
    "pipe:0", "%s%n.mp4", "\u202egpj.mp4", " .mp4", "$HOME.mp4", "~.mp4", "*.mp4", "name:password@host.mp4",
)
QUICK = ("--quality", "draft", "--max-side", "96", *LENS_OPTIONS)
SOLVED = (0, 1, 2, 3, 7, 9, 10, 11, 13, 14)
"""Of these, those that are solved by the command line."""


@pytest.fixture(scope="module")
def movie(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("tiny") / "tiny.mp4"
    write_movie(path, render_boards(3))
    return path


@pytest.fixture
def footage(movie, tmp_path) -> Path:
    """A folder with the clip under every name that this system takes."""
    folder = tmp_path / "footage"
    folder.mkdir()
    for name in NAMES:
        try:
            shutil.copyfile(movie, folder / name)
        except OSError:  # not every file system takes every name
            continue
    assert len(list(folder.iterdir())) > 3
    return folder


def test_every_name_is_the_file_of_that_name(footage, tmp_path):
    """Probed, made a job of, read back, and its frames read."""
    before = sorted(os.listdir(footage))
    for number, path in enumerate(sorted(footage.iterdir())):
        clip = source_from_path(path)
        assert clip.path == str(path)
        info = probe_clip(clip)
        assert info.frame_count == 3
        job = Job(f"job-{number}", clip, 1, 3, Settings())
        assert JobFolder(jobs.create_job(job, tmp_path / "jobs")).read_job() == job
        assert len(list(read_frames(clip, range(1, 4), plan_raster(info, 128)))) == 3
    assert sorted(os.listdir(footage)) == before
    assert len(os.listdir(tmp_path / "jobs")) == len(before)


@pytest.mark.slow
def test_names_on_the_command_line(footage, worker_python, repository, tmp_path):
    """Relative, as they come out of a shell's pattern, after the sign that no option follows; solved by one command."""
    before = sorted(os.listdir(footage))
    out, names = tmp_path / "out", [NAMES[number] for number in SOLVED if NAMES[number] in before]
    command = [worker_python, "-s", "-m", jobs.WORKER_MODULE, "solve", *QUICK, "--refine", "none", "--", *names, out]
    done = subprocess.run(command, cwd=footage, env=jobs.worker_environment(repository), capture_output=True,
                          check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    assert sorted(os.listdir(footage)) == before
    solved = [JobFolder(folder) for folder in out.iterdir()]
    assert {os.path.basename(folder.read_job().clip.path) for folder in solved} == set(names)
    assert all(len(folder.read_result().frames) == 3 for folder in solved)
    assert {path.name for path in tmp_path.iterdir()} == {"footage", "out"}


@pytest.mark.slow
def test_an_output_with_a_strange_name(footage, worker_python, repository, tmp_path):
    command = [worker_python, "-s", "-m", jobs.WORKER_MODULE, "solve", *QUICK, "--", "-rf.mp4",
               "$(touch marker); -out\n#"]
    done = subprocess.run(command, cwd=footage, env=jobs.worker_environment(repository), capture_output=True,
                          check=False)
    assert done.returncode == 0, done.stderr
    assert JobFolder(footage / "$(touch marker); -out\n#").read_result().frames
    assert not (footage / "marker").exists()


def test_pictures_among_very_many_files(tmp_path):
    """A folder is listed once, not once for every picture of it."""
    for number in range(5_000):
        (tmp_path / f"other_{number:06d}.txt").touch()
    picture = render_boards(1)[0]
    for number in range(1, 21):
        write_png(tmp_path / f"plate_{number:04d}.png", picture)
    began = time.process_time()
    clip = source_from_path(tmp_path / "plate_0001.png")
    info = probe_clip(clip)
    assert len(list(read_frames(clip, range(1, 21), plan_raster(info, 128)))) == info.frame_count == 20
    assert time.process_time() - began < 2.0
