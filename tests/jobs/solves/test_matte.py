"""A matte through the real engine: from pictures on the command line, and from outlines in a job folder."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from command_line import engine_here
from tiny_jobs import FRAMES, HEIGHT, LENS, LENS_OPTIONS, WIDTH, render_boards, wait_for_end, write_movie

from stereodiff_blender.engine.contract import (
    ClipSource,
    Job,
    JobFolder,
    Matte,
    MatteDrawing,
    MatteLayer,
    MatteShapes,
    Settings,
    StereoDiffError,
)
from stereodiff_blender.engine.media import exr
from stereodiff_blender.jobs import worker_process as jobs

QUICK = Settings(quality="draft", refine="none", **LENS)


def left_of(frame: int) -> int:
    """Where the marked box begins."""
    return 60 + 2 * frame


def inside(frame: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[40:90, left_of(frame):left_of(frame) + 40] = True
    return mask


@pytest.fixture(scope="module")
def matte_folder(tmp_path_factory) -> Path:
    """At half size; pictures 101 to 110 belong to frames 1 to 10."""
    folder = tmp_path_factory.mktemp("matte")
    for frame in range(1, FRAMES + 1):
        half = cv2.resize(inside(frame).astype(np.uint8) * 255, (WIDTH // 2, HEIGHT // 2), interpolation=cv2.INTER_AREA)
        assert cv2.imwrite(str(folder / f"m.{100 + frame}.png"), half)
    return folder


@pytest.fixture
def solve(tiny_clip, tmp_path):
    """solve(*options) -> what the command line says, and the folder it was to make."""
    return lambda *options: (engine_here("solve", tiny_clip, tmp_path / "out", "--quality", "draft", "--refine", "none",
                                         *LENS_OPTIONS, *options), tmp_path / "out")


def motion_mask(folder: Path, frame: int) -> np.ndarray:
    (mask,) = exr.read_exr(JobFolder(folder).product_file("motion_mask", frame)).values()
    return mask > 0.5


@pytest.mark.slow
def test_pictures_on_the_command_line(solve, matte_folder):
    done, out = solve("--frames", "2-8", "--matte", matte_folder)
    assert done.returncode == 0, done.stderr
    assert JobFolder(out).read_job().matte.footage.first_number == 101
    for frame in (2, 5, 8):
        marked = motion_mask(out, frame)
        assert marked[inside(frame)].all()
        assert marked[~inside(frame)].mean() < 0.05


@pytest.mark.slow
def test_outlines_in_the_folder(worker_python, repository, tiny_clip, tmp_path):
    drawings = tuple(MatteDrawing(frame, (MatteLayer(((
        left_of(frame) / WIDTH, 40 / HEIGHT, (left_of(frame) + 40) / WIDTH, 40 / HEIGHT,
        (left_of(frame) + 40) / WIDTH, 90 / HEIGHT, left_of(frame) / WIDTH, 90 / HEIGHT),)),)) for frame in range(1, 9))
    job = Job("shapes", ClipSource("movie", str(tiny_clip)), 1, 8, QUICK, Matte("shapes"))
    folder = jobs.create_job(job, tmp_path, MatteShapes(drawings))
    followed = jobs.FollowedJob(folder, jobs.start(folder, worker_python, repository))
    assert wait_for_end(followed).state == "finished"
    for frame in (1, 8):
        assert motion_mask(folder, frame)[inside(frame)].all()
    assert (folder / "matte.json").is_file(), "what was asked stays with the result"


def test_outlines_that_were_taken_away(worker_python, repository, tiny_clip, tmp_path):
    job = Job("shapes", ClipSource("movie", str(tiny_clip)), 1, 8, QUICK, Matte("shapes"))
    folder = jobs.create_job(job, tmp_path)
    status = wait_for_end(jobs.FollowedJob(folder, jobs.start(folder, worker_python, repository)))
    assert (status.state, status.code) == ("failed", "matte_missing")


def test_a_folder_is_made_of_a_whole_matte_or_not_at_all(tiny_clip, tmp_path):
    job = Job("shapes", ClipSource("movie", str(tiny_clip)), 1, 8, QUICK, Matte("shapes"))
    with pytest.raises(StereoDiffError, check=lambda error: error.code == "matte_invalid"):
        jobs.create_job(job, tmp_path, MatteShapes(()))
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(("options", "code"), [
    (["--matte", "{matte}/none"], "matte_missing"), (["--matte", "{matte}/m.103.png"], "matte_incomplete"),
    (["--matte", "{wide}"], "matte_wrong_size"), (["--invert-matte"], "settings_invalid"),
    (["--matte", "{matte}", "--frames", "1-20"], "clip_truncated"),
])
def test_a_matte_that_cannot_serve_makes_no_folder(solve, matte_folder, tmp_path, options, code):
    write_movie(tmp_path / "wide.mp4", [picture[:96] for picture in render_boards(2)] * 5)
    done, out = solve(*(text.format(matte=matte_folder, wide=tmp_path / "wide.mp4") for text in options))
    assert done.returncode == 1 and done.stderr.startswith(f"error {code}: "), done.stderr
    assert not out.exists()


def test_a_full_matte_fails_in_words(solve, tmp_path):
    (tmp_path / "m").mkdir()
    for frame in range(1, FRAMES + 1):
        cv2.imwrite(str(tmp_path / "m" / f"m.{frame}.png"), np.full((HEIGHT, WIDTH), 255, np.uint8))
    done, out = solve("--matte", tmp_path / "m")
    assert done.returncode == 1 and "error matte_full: " in done.stderr and "Invert" in done.stderr
    assert "matte.json" not in {path.name for path in out.iterdir()}


@pytest.mark.slow
def test_an_empty_matte_is_mentioned_and_solves(solve, tmp_path):
    (tmp_path / "m").mkdir()
    for frame in range(1, FRAMES + 1):
        cv2.imwrite(str(tmp_path / "m" / f"m.{frame}.png"), np.full((HEIGHT, WIDTH), 255, np.uint8))
    done, out = solve("--frames", "1-4", "--matte", tmp_path / "m", "--invert-matte")
    assert done.returncode == 0, done.stderr
    assert "matte_empty" in {warning.code for warning in JobFolder(out).read_result().warnings}
