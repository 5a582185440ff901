"""The engine's command line, as pipeline people call it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import cv2
import pytest
from command_line import engine_here
from tiny_jobs import FRAMES, LENS_OPTIONS, render_boards, write_movie

from stereodiff_blender.engine.contract import JobFolder
from stereodiff_blender.jobs import worker_process as jobs

pytestmark = pytest.mark.slow

QUICK = ("--quality", "draft", *LENS_OPTIONS)


@pytest.fixture
def engine(worker_python, repository):
    """engine(*arguments) -> the finished process. engine_here() does the same without one."""

    def call(*arguments) -> subprocess.CompletedProcess:
        command = [worker_python, "-s", "-m", jobs.WORKER_MODULE, *map(str, arguments)]
        return subprocess.run(command, env=jobs.worker_environment(repository), capture_output=True, text=True,
                              check=False)

    return call


@pytest.fixture(scope="module")
def solved(worker_python, repository, tiny_clip, tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess]:
    """A short solve into a folder that was not there."""
    out = tmp_path_factory.mktemp("solve") / "new" / "room"
    command = [worker_python, "-m", jobs.WORKER_MODULE, "solve", tiny_clip, out, "--frames", "3-10",
               "--max-side", "160", "--quality", "draft", "--seed", "4"]
    return out, subprocess.run(command, env=jobs.worker_environment(repository), capture_output=True, text=True,
                               check=False)


def test_solve_makes_a_job_folder(solved):
    out, done = solved
    assert done.returncode == 0, done.stderr
    job, result = JobFolder(out).read_job(), JobFolder(out).read_result()
    assert (job.settings.quality, job.settings.seed, job.settings.max_side_px) == ("draft", 4, 160)
    assert [frame.frame for frame in result.frames] == list(range(3, 11))
    assert (result.width, result.height) == (160, 120)


def test_a_sequence_goes_by_its_files_numbers(engine, tmp_path):
    """What is asked for, what is written, and what is told."""
    for index, picture in enumerate(render_boards(5)):
        cv2.imwrite(str(tmp_path / f"board.{1001 + index}.png"), picture)
    clip, out = tmp_path / "board.1001.png", tmp_path / "out"
    assert engine("solve", clip, out, "--frames", "1002-1005", "--max-side", "96", *QUICK).returncode == 0
    result = JobFolder(out).read_result()
    assert [frame.frame for frame in result.frames] == [2, 3, 4, 5]
    assert [frame.depth for frame in result.frames] == [f"depth/{number}.exr" for number in range(1002, 1006)]
    assert sorted(path.name for path in (out / "depth").iterdir()) == [f"{number}.exr" for number in range(1002, 1006)]
    assert "board.1001.png begins at 1001" in engine("solve", clip, tmp_path / "b", "--frames", "2-5").stderr
    assert "1001 to 1006 were asked for" in engine("solve", clip, tmp_path / "c", "--frames", "1001-1006").stderr
    (tmp_path / "board.1003.png").unlink()
    assert "Frame 1003 is missing" in engine("solve", clip, tmp_path / "d").stderr


@pytest.mark.parametrize("folder", [True, False])
def test_names_that_blender_reads_another_way_are_told(engine, tmp_path, folder):
    for index, picture in enumerate(render_boards(2)):
        cv2.imwrite(str(tmp_path / f"board_{1001 + index}_4k.png"), picture)
    done = engine("solve", tmp_path if folder else tmp_path / "board_1001_4k.png", tmp_path / "out")
    assert done.returncode == 1 and "sequence_misnamed" in done.stderr and "its number, 4" in done.stderr


def test_solve_prints_the_report_and_where_things_are(solved):
    out, done = solved
    assert "camera moving, 8 frames of 160x120" in done.stdout
    assert "solved_share" in done.stdout and "reprojection_mean_px" in done.stdout
    assert str(out / "result.json") in done.stdout.splitlines()
    assert "Solving the camera" in done.stderr
    assert "Solving the camera" not in done.stdout


def test_a_result_is_not_overwritten_unasked(solved, tiny_clip):
    out, _ = solved
    before = (out / "result.json").read_bytes()
    done = engine_here("solve", tiny_clip, out, "--frames", "1-3")
    assert done.returncode == 1
    assert done.stderr.startswith("error output_in_use: ") and "\nremedy: " in done.stderr
    assert (out / "result.json").read_bytes() == before


def test_overwriting_clears_only_what_a_job_writes(tiny_clip, tmp_path):
    out = tmp_path / "room"
    assert engine_here("solve", tiny_clip, out, "--frames", "1-4", *QUICK).returncode == 0
    (out / "notes.txt").write_text("mine")
    done = engine_here("solve", tiny_clip, out, "--frames", "2-6", "--refine", "none", "--overwrite", *QUICK)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (out / "depth").iterdir()) == [f"{frame:04d}.exr" for frame in range(2, 7)]
    assert JobFolder(out).read_result().refine == "none"
    assert (out / "notes.txt").read_text() == "mine"
    assert sum(event.kind == "started" for event in JobFolder(out).read_events()[0]) == 1


def test_a_folder_that_is_no_jobs_is_never_overwritten(tiny_clip, tmp_path):
    (tmp_path / "depth").mkdir()
    (tmp_path / "depth" / "0001.exr").write_bytes(b"precious")
    done = engine_here("solve", tiny_clip, tmp_path, "--overwrite")
    assert done.returncode == 1 and "output_in_use" in done.stderr
    assert (tmp_path / "depth" / "0001.exr").read_bytes() == b"precious"


def test_running_a_folder_that_is_no_job_changes_nothing(engine, tmp_path):
    (tmp_path / "preview.png").write_bytes(b"precious")
    done = engine("run", tmp_path)
    assert done.returncode == 1 and done.stderr.startswith("error job_missing: ")
    assert [path.name for path in tmp_path.iterdir()] == ["preview.png"]


def test_an_output_below_a_file(tiny_clip, tmp_path):
    (tmp_path / "file").write_text("a file")
    done = engine_here("solve", tiny_clip, tmp_path / "file" / "room")
    assert done.returncode == 1 and done.stderr.startswith("error output_not_writable: ")


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="there is no /proc here")
def test_an_output_where_nobody_may_write(tiny_clip):
    done = engine_here("solve", tiny_clip, "/proc/room")
    assert done.returncode == 1 and done.stderr.startswith("error output_not_writable: ")


def test_a_missing_clip_makes_no_folder(engine, tmp_path):
    done = engine("solve", tmp_path / "gone.mp4", tmp_path / "room")
    assert done.returncode == 1 and done.stderr.startswith("error clip_missing: ")
    assert not (tmp_path / "room").exists()


def test_a_failed_solve_keeps_job_events_and_log(engine, tmp_path):
    write_movie(tmp_path / "still.mp4", render_boards(1) * 3)
    done = engine("solve", tmp_path / "still.mp4", tmp_path / "room")
    assert done.returncode == 1 and "\nerror clip_frozen: " in done.stderr
    assert "Traceback" not in done.stderr
    assert "Traceback" in (tmp_path / "room" / "worker.log").read_text()
    assert {path.name for path in (tmp_path / "room").iterdir()} == {"job.json", "events.jsonl", "worker.log", "cache"}


def test_a_request_that_is_refused_leaves_the_earlier_result(solved, tiny_clip):
    out, _ = solved
    before = (out / "result.json").read_bytes()
    for options in (["--stereo", "monst3r"], ["--frames", f"1-{FRAMES + 1}"], ["--max-side", "70"]):
        assert engine_here("solve", tiny_clip, out, "--overwrite", *options).returncode == 1
        assert (out / "result.json").read_bytes() == before


def test_wrong_usage_of_the_program(engine):
    done = engine("dance")
    assert done.returncode == 2 and done.stderr.startswith("usage: ")


@pytest.mark.parametrize("arguments", [
    [], ["solve"], ["solve", "a.mp4", "out", "--frames", "8"], ["solve", "a.mp4", "out", "--stereo", "x"],
])
def test_wrong_usage(arguments):
    done = engine_here(*arguments)
    assert done.returncode == 2 and done.stderr.startswith("usage: ")


@pytest.mark.parametrize(("options", "code"), [
    (["--focal-mm", "35"], "settings_invalid"), (["--max-side", "8"], "settings_invalid"),
    (["--device", "gpu"], "settings_invalid"), (["--frames", "7-3"], "frame_range_invalid"),
    (["--frames", "3-3"], "clip_too_short"), (["--stereo", "monst3r"], "licence_not_accepted"),
    (["--refine", "depthcrafter"], "licence_not_accepted"), (["--noise-level", "0"], "settings_invalid"),
    (["--ensemble", "99"], "settings_invalid"),
])
def test_options_that_make_no_sense(tiny_clip, tmp_path, options, code):
    done = engine_here("solve", tiny_clip, tmp_path / "room", *options)
    assert done.returncode == 1 and f"error {code}: " in done.stderr
    assert not (tmp_path / "room").exists()


def test_doctor_names_what_is_installed(engine):
    done = engine("doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the default engine can run here" in done.stdout.splitlines()[0]
    assert all(f" {name} " in done.stdout for name in ("Python", "NumPy", "PyAV", "OpenEXR", "PyTorch"))


# --- Again, and several ------------------------------------------------------------------------------------------

def test_a_finished_solve_is_left_alone_and_named(tiny_clip, tmp_path):
    options = ("solve", tiny_clip, tmp_path / "room", "--frames", "2-6", *QUICK)
    assert engine_here(*options).returncode == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "room").rglob("*")}
    again = engine_here(*options)
    assert again.returncode == 0 and "nothing to do" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "room").rglob("*")} == before


def test_an_unfinished_solve_with_the_same_settings_goes_on(tiny_clip, tmp_path):
    options = ("solve", tiny_clip, tmp_path / "room", "--frames", "2-6", *QUICK)
    assert engine_here(*options).returncode == 0
    (tmp_path / "room" / "result.json").unlink()
    done = engine_here(*options)
    assert done.returncode == 0 and "Solving the camera" not in done.stderr, "stage 1 was there already"
    assert JobFolder(tmp_path / "room").read_result().frames[0].frame == 2


def test_several_clips_get_a_folder_each_and_one_fault_stops_no_other(tiny_clip, tmp_path):
    still = tmp_path / "still.mp4"
    write_movie(still, render_boards(1) * 5)
    done = engine_here("solve", tiny_clip, still, tiny_clip, tmp_path / "out", "--frames", "2-5", *QUICK)
    assert done.returncode == 1 and "error clip_frozen" in done.stderr and "1 of 3 clips failed" in done.stderr
    finished = sorted(path.parent.name for path in (tmp_path / "out").glob("*/result.json"))
    assert finished == ["tiny", "tiny-2"]
