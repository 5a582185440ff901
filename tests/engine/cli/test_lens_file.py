"""--lens-file and --readout: what a file knows of the lens goes into the job's settings, so its folder can move."""

from __future__ import annotations

import argparse

import numpy as np
import pytest
from clips import write_encoded

from stereodiff_blender.engine.cli.lens_file import with_lens_file
from stereodiff_blender.engine.cli.options import add_solve
from stereodiff_blender.engine.cli.solve import _job_from
from stereodiff_blender.engine.contract import Distortion, JobFolder, LensResult, Settings, StereoDiffError
from stereodiff_blender.engine.media import exr
from stereodiff_blender.engine.media.frames import ClipInfo
from stereodiff_blender.engine.worker import run as worker
from stereodiff_blender.engine.worker.lens_maps import write_lens_maps

LENS = Distortion(-0.15, 0.02, 0.0, 0.002, -0.001)
SIZE = (320, 180)
CLIP = ClipInfo(*SIZE, 1.0, 24.0, 4)
KNOWN = Settings(focal_mm=28.0, sensor_mm=36.0)
FX = 28.0 / 36.0 * 320


@pytest.fixture
def redistort(tmp_path):
    """As a finished job has it, with overscan."""
    folder = JobFolder(tmp_path / "job")
    folder.path.mkdir()
    write_lens_maps(folder, LensResult("brown", LENS), np.array([FX, FX, 160.0, 90.0]), SIZE, {})
    return folder.redistort_file


@pytest.fixture
def clip(tmp_path):
    for number in range(1, 4):
        write_encoded(tmp_path / f"plate_{number:04d}.png", np.full((180, 320, 3), 40 + number, np.uint8))
    return tmp_path / "plate_0001.png"


def job_of(clip, *words):
    parser = argparse.ArgumentParser()
    add_solve(parser, lambda options: 0)
    return _job_from(parser.parse_args([str(clip), "out", *map(str, words)]), str(clip), "walk")


def refusal(call, *arguments) -> StereoDiffError:
    with pytest.raises(StereoDiffError) as caught:
        call(*arguments)
    return caught.value


def test_the_st_map_of_a_result_gives_its_lens_back(redistort):
    found = with_lens_file(KNOWN, redistort, CLIP)
    assert found.distortion == pytest.approx((LENS.k1, LENS.k2, LENS.k3, LENS.p1, LENS.p2), abs=2e-4)
    assert (found.focal_mm, found.sensor_mm, found.principal_point_px) == (28.0, 36.0, None)


def test_an_st_map_needs_the_focal_length(redistort):
    error = refusal(with_lens_file, Settings(), redistort, CLIP)
    assert error.code == "settings_invalid" and "--focal-mm" in error.message


def test_the_other_map_and_other_sizes_are_refused(redistort):
    undistort = redistort.with_name("undistort.exr")
    assert refusal(with_lens_file, KNOWN, undistort, CLIP).code == "lens_file_wrong_size"
    other = ClipInfo(640, 360, 1.0, 24.0, 4)
    assert refusal(with_lens_file, KNOWN, redistort, other).code == "lens_file_wrong_size"


@pytest.mark.parametrize("channels", [("V",), ("R", "B"), ("G",)])
def test_what_is_no_map_is_refused(tmp_path, channels):
    path = tmp_path / "map.exr"
    exr.write_exr(path, {name: np.zeros((180, 320)) for name in channels})
    assert refusal(with_lens_file, KNOWN, path, CLIP).code == "lens_file_invalid"
    path.write_bytes(path.read_bytes()[:100])
    assert refusal(with_lens_file, KNOWN, path, CLIP).code == "lens_file_invalid"


def test_the_command_line_puts_a_calibration_into_the_job(clip, tmp_path):
    path = tmp_path / "cameras.txt"
    path.write_text("1 OPENCV 640 360 500 500 330 175 -0.1 0.02 0.003 0.004\n")
    job = job_of(clip, "--lens-file", path, "--readout", "-0.25")
    assert job.settings.focal_mm == pytest.approx(250.0 / 320 * 36.0) and job.settings.sensor_mm == 36.0
    assert job.settings.principal_point_px == pytest.approx((165.0, 87.5))
    assert job.settings.distortion == (-0.1, 0.02, 0.0, 0.003, 0.004) and job.settings.readout == -0.25
    worker.examine(job)
    folder = JobFolder(tmp_path / "out")
    folder.path.mkdir()
    folder.write_job(job)
    assert folder.read_job() == job
    with_sensor = job_of(clip, "--lens-file", path, "--focal-mm", "9", "--sensor-mm", "24").settings
    assert with_sensor.focal_mm == pytest.approx(250.0 / 320 * 24.0), "the file's"


def test_the_command_line_puts_a_fisheye_into_the_job(clip, tmp_path):
    path = tmp_path / "cameras.txt"
    path.write_text("1 OPENCV_FISHEYE 640 360 300 300 330 175 -0.05 0.01 0.004 -0.001\n")
    job = job_of(clip, "--lens-file", path)
    assert job.settings.distortion == (-0.05, 0.01, 0.004, -0.001) and job.settings.is_fisheye
    worker.examine(job)
    folder = JobFolder(tmp_path / "out")
    folder.path.mkdir()
    folder.write_job(job)
    assert folder.read_job() == job
    path.write_text("1 OPENCV_FISHEYE 320 180 110 110 160 90 0 0 0 0\n")
    error = refusal(worker.examine, job_of(clip, "--lens-file", path))
    assert error.code == "settings_invalid" and "170 degrees" in error.message


def test_a_plate_without_distortion_is_told(clip, tmp_path):
    known = ("--focal-mm", "28", "--sensor-mm", "36")
    assert job_of(clip, *known).settings.known_distortion is None
    assert job_of(clip, *known, "--undistorted").settings.known_distortion == Distortion()
    path = tmp_path / "cameras.txt"
    path.write_text("1 RADIAL 320 180 250 160 90 -0.1 0\n")
    assert job_of(clip, "--lens-file", path, "--undistorted").settings.known_distortion == Distortion(), "the lens's"
    error = refusal(job_of, clip, "--undistorted")
    assert error.code == "settings_invalid" and "focal_mm" in error.message


def test_a_lens_that_folds_the_picture_over_is_refused_before_any_work(clip, tmp_path):
    path = tmp_path / "cameras.txt"
    path.write_text("1 RADIAL 320 180 250 160 90 -2 0\n")
    error = refusal(worker.examine, job_of(clip, "--lens-file", path))
    assert error.code == "settings_invalid" and "fold" in error.message


def test_a_readout_above_the_frame_time_is_refused(clip):
    error = refusal(job_of, clip, "--readout", "1.2")
    assert error.code == "settings_invalid" and "1.2" in error.message


@pytest.mark.parametrize("words", [("--lens-file", "lens.yml"), ("--readout", "0.5"),
                                   ("--focal-mm", "3", "--sensor-mm", "4")])
def test_given_cameras_have_a_lens_of_their_own(clip, words):
    error = refusal(job_of, clip, "--cameras", "sparse", *words)
    assert error.code == "settings_invalid" and words[0] in error.message
