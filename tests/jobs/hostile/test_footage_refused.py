"""Footage that would fill the machine or be waited for without end is refused in words: on the command line, and in the
worker as Blender starts it. Every process here has a time limit, and where it matters one of memory."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from picture_headers import jpeg, png, tga, tiff
from tiny_jobs import LENS_OPTIONS, render_boards, wait_for_end

from stereodiff_blender.engine.__main__ import tell_failure
from stereodiff_blender.engine.contract import ClipSource, Job, JobFolder, Matte, Settings
from stereodiff_blender.engine.media.footage_file import refuse_irregular
from stereodiff_blender.engine.media.sequences import source_from_path
from stereodiff_blender.jobs import worker_process as jobs

SECONDS = 120
"""Far more than a refusal takes, far less than for ever."""
needs_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")


@pytest.fixture
def engine(worker_python, repository) -> Callable[..., subprocess.CompletedProcess]:
    """engine(*arguments, memory=None) -> the finished process. memory: bytes of address space it may have."""

    def call(*arguments, memory: int | None = None) -> subprocess.CompletedProcess:
        command = [worker_python, "-s", "-m", jobs.WORKER_MODULE, *map(str, arguments)]
        return subprocess.run(command, env=jobs.worker_environment(repository), capture_output=True, text=True,
                              check=False, timeout=SECONDS, stdin=subprocess.DEVNULL,
                              preexec_fn=None if memory is None else lambda: _limit(memory))

    return call


def _limit(memory: int) -> None:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


def assert_refused(done: subprocess.CompletedProcess, code: str, *words: str) -> None:
    assert done.returncode == 1
    assert f"error {code}: " in done.stderr and "\nremedy: " in done.stderr
    assert "Traceback" not in done.stderr and "cv2." not in done.stderr
    assert all(word in done.stderr for word in words), done.stderr


def write_sequence(folder: Path, count: int = 6) -> Path:
    """PNG pictures of a shot that solves. Returns the first."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(render_boards(count), start=1):
        cv2.imwrite(str(folder / f"shot_{number:04d}.png"), frame[..., ::-1])
    return folder / "shot_0001.png"


# --- Too large -------------------------------------------------------------------------------------------------

HUGE = {"a_1.png": png(60000, 60000), "b_1.png": png(20000, 20000, bits=16), "c_1.tif": tiff(60000, 60000),
        "d_1.jpg": jpeg(65500, 65500), "e_1.tga": tga(60000, 60000)}


def test_a_tiny_file_that_claims_to_be_huge_makes_no_folder(engine, tmp_path):
    (tmp_path / "a_1.png").write_bytes(HUGE["a_1.png"])
    assert_refused(engine("solve", tmp_path / "a_1.png", tmp_path / "out"), "picture_too_large", "a_1.png",
                   "135 million", "--max-megapixels")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_bad_clips_are_refused_one_by_one_and_the_good_one_is_solved(engine, tiny_clip, tmp_path):
    for name, data in HUGE.items():
        (tmp_path / name).write_bytes(data)
    done = engine("solve", *(tmp_path / name for name in HUGE), tiny_clip, tmp_path / "out", "--frames", "2-5",
                  "--quality", "draft", *LENS_OPTIONS)
    assert_refused(done, "picture_too_large", *HUGE, "5 of 6 clips failed")
    assert done.stderr.count("error picture_too_large") == 5
    assert [path.parent.name for path in (tmp_path / "out").glob("*/result.json")] == ["tiny"]


@pytest.mark.slow
def test_the_limit_can_be_set(engine, tmp_path):
    (tmp_path / "wide_1.png").write_bytes(png(1500, 1000))
    solve = ("solve", tmp_path / "wide_1.png", tmp_path / "out", "--max-megapixels")
    assert_refused(engine(*solve, "1"), "picture_too_large", "1500 x 1000", "the limit is 1 million")
    assert_refused(engine(*solve, "2"), "clip_unreadable")


@pytest.mark.slow
def test_the_worker_says_the_same_of_a_picture_in_the_middle(start, tmp_path):
    first = write_sequence(tmp_path / "shot")
    (tmp_path / "shot" / "shot_0003.png").write_bytes(png(60000, 60000))
    folder = jobs.create_job(Job("huge", source_from_path(first), 1, 6, Settings(quality="draft")), tmp_path / "jobs")
    status = wait_for_end(start(folder))
    assert (status.state, status.code) == ("failed", "picture_too_large") and "shot_0003.png" in status.message


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="a limit of address space that holds")
def test_too_little_memory_has_a_code(engine, tmp_path):
    """A black picture is small on the disk, and as large as any once it is decoded."""
    black = np.zeros((8192, 16384, 3), np.uint16)
    cv2.imwrite(str(tmp_path / "black_1.png"), black, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    assert_refused(engine("solve", tmp_path / "black_1.png", tmp_path / "out", memory=1_800_000_000), "out_of_memory")


# --- No file ---------------------------------------------------------------------------------------------------

@needs_pipes
def test_a_pipe_or_a_device_is_no_clip(engine, tmp_path):
    pipes, devices = ("pipe_1.png", "pipe_1.exr", "pipe_1.dpx", "pipe.mp4"), ("zero_1.png", "zero.mp4")
    for name in pipes:
        os.mkfifo(tmp_path / name)
    for name in devices:
        (tmp_path / name).symlink_to("/dev/zero")
    done = engine("solve", *(tmp_path / name for name in (*pipes, *devices)), tmp_path / "out")
    assert_refused(done, "clip_unreadable", *pipes, *devices, "6 of 6 clips failed")
    assert (done.stderr.count("a pipe"), done.stderr.count("a device")) == (4, 2)


@pytest.mark.slow
@needs_pipes
def test_a_folder_that_begins_with_a_pipe(engine, tmp_path):
    write_sequence(tmp_path / "shot").unlink()
    os.mkfifo(tmp_path / "shot" / "shot_0001.png")
    assert_refused(engine("solve", tmp_path / "shot", tmp_path / "out"), "clip_unreadable", "shot_0001.png", "a pipe")


@pytest.mark.slow
@needs_pipes
@pytest.mark.parametrize("option", [(), ("--frames", "1-6")])
def test_a_pipe_among_the_pictures(engine, tmp_path, option):
    first = write_sequence(tmp_path / "shot")
    (tmp_path / "shot" / "shot_0004.png").unlink()
    os.mkfifo(tmp_path / "shot" / "shot_0004.png")
    assert_refused(engine("solve", first, tmp_path / "out", *option), "clip_unreadable", "shot_0004.png", "a pipe")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@needs_pipes
@pytest.mark.parametrize("name", ["matte_0002.png", "matte.mov"])
def test_a_pipe_as_matte(engine, tiny_clip, tmp_path, name):
    (tmp_path / "matte").mkdir()
    if name.endswith(".png"):
        for picture in write_sequence(tmp_path / "shot").parent.iterdir():
            picture.rename(tmp_path / "matte" / picture.name.replace("shot", "matte"))
        (tmp_path / "matte" / name).unlink()
    os.mkfifo(tmp_path / "matte" / name)
    matte = tmp_path / "matte" / name.replace("0002", "0001")
    done = engine("solve", tiny_clip, tmp_path / "out", "--matte", matte, "--frames", "1-5")
    assert_refused(done, "matte_unreadable", name, "a pipe")


@pytest.mark.slow
@needs_pipes
@pytest.mark.parametrize("name", ["pipe_1.png", "pipe.mp4"])
def test_the_worker_does_not_wait_for_a_pipe(start, tmp_path, name):
    os.mkfifo(tmp_path / name)
    kind = "sequence" if name.endswith(".png") else "movie"
    source = ClipSource(kind, str(tmp_path / name), first_number=1 if kind == "sequence" else 0)
    status = wait_for_end(start(jobs.create_job(Job("pipe", source, 1, 5, Settings()), tmp_path / "jobs")))
    assert (status.state, status.code) == ("failed", "clip_unreadable") and "a pipe" in status.message


@needs_pipes
def test_the_worker_does_not_wait_for_a_pipe_as_matte(start, tiny_clip, tmp_path):
    os.mkfifo(tmp_path / "matte.mp4")
    matte = Matte("pictures", ClipSource("movie", str(tmp_path / "matte.mp4")))
    job = Job("pipe", ClipSource("movie", str(tiny_clip)), 1, 5, Settings(), matte)
    assert wait_for_end(start(jobs.create_job(job, tmp_path / "jobs"))).code == "matte_unreadable"


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no sockets among the files of this system")
def test_a_socket_and_a_folder_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's name may not be long
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("ear_1.png")
        for path, words in ((tmp_path / "ear_1.png", "a socket"), (tmp_path, "a folder")):
            with pytest.raises(Exception, match=words):
                refuse_irregular(path)
        refuse_irregular(tmp_path / "nothing.png")


# --- Other faults ----------------------------------------------------------------------------------------------

def told(call: Callable[[], object], capsys) -> str:
    """What the command line says of the exception that a call ends in."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 - as the command line does
        tell_failure(error)
    return capsys.readouterr().err


def test_a_fault_that_nobody_foresaw_has_a_code_and_a_log(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    nothing = np.zeros((0, 0))
    for call in (lambda: 1 / 0, lambda: cv2.resize(nothing, (5, 5)), lambda: av.CodecContext.create("no", "r")):
        text = told(call, capsys)
        assert text.startswith("error internal_error: ") and "\nremedy: " in text and "Traceback" not in text
        (log,) = tmp_path.glob("stereodiff-*.log")
        assert str(log) in text and "Traceback" in log.read_text()
        log.unlink()


def test_too_little_memory_needs_no_log(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    text = told(lambda: np.empty(2**60, np.uint8), capsys)
    assert text.startswith("error out_of_memory: ") and "\nremedy: " in text
    assert not list(tmp_path.iterdir())


def test_an_old_job_without_the_limit_is_read(tmp_path, tiny_clip):
    folder = jobs.create_job(Job("old", ClipSource("movie", str(tiny_clip)), 1, 5), tmp_path)
    data = json.loads((folder / "job.json").read_text())
    del data["settings"]["max_megapixels"]
    (folder / "job.json").write_text(json.dumps(data))
    assert JobFolder(folder).read_job().settings.max_megapixels == Settings().max_megapixels
