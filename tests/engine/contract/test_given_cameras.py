"""cameras.json: what round-trips, and what is refused whoever wrote it."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from stereodiff_blender.engine.contract import (
    ClipSource,
    Distortion,
    GivenCamera,
    GivenCameras,
    Job,
    JobFolder,
    Settings,
    StereoDiffError,
    read_cameras,
    write_cameras,
)

COSINE, SINE = math.cos(0.3), math.sin(0.3)
TURNED = ((COSINE, 0.0, SINE, 1.5), (0.0, 1.0, 0.0, -2.0), (-SINE, 0.0, COSINE, 1000.0), (0.0, 0.0, 0.0, 1.0))
CAMERA = GivenCamera(3, 500.0, 510.0, 321.0, 179.5, TURNED)


def cameras(*frames: int) -> GivenCameras:
    return GivenCameras(640, 360, tuple(replace(CAMERA, frame=frame) for frame in frames))


def error_of(call, *arguments) -> StereoDiffError:
    with pytest.raises(StereoDiffError) as caught:
        call(*arguments)
    return caught.value


def test_what_is_written_is_read(tmp_path):
    write_cameras(tmp_path / "cameras.json", cameras(3, 4, 7))
    assert read_cameras(tmp_path / "cameras.json") == cameras(3, 4, 7)
    bent = replace(cameras(3, 4), distortion=Distortion(-0.05, 0.01, k4=-0.001, is_fisheye=True))
    write_cameras(tmp_path / "cameras.json", bent)
    assert read_cameras(tmp_path / "cameras.json") == bent


def test_cameras_of_earlier_versions_have_no_distortion(tmp_path):
    write_cameras(tmp_path / "cameras.json", cameras(3))
    data = json.loads((tmp_path / "cameras.json").read_text())
    del data["distortion"]
    (tmp_path / "cameras.json").write_text(json.dumps(data))
    assert read_cameras(tmp_path / "cameras.json").distortion is None


@pytest.mark.parametrize(("distortion", "words"), [
    (Distortion(-2.0), "fold"), (Distortion(float("nan")), "beyond measure"),
    (Distortion(p1=0.1, is_fisheye=True), "K1 to K4")])
def test_a_lens_that_none_can_be_is_refused(distortion, words):
    error = error_of(replace(cameras(3), distortion=distortion).validate)
    assert error.code == "cameras_invalid" and words in error.message


def with_rows(*rows) -> GivenCamera:
    return replace(CAMERA, camera_to_world=(*rows, TURNED[3]))


@pytest.mark.parametrize(("camera", "words"), [
    (replace(CAMERA, fx=0.0), "focal length"), (replace(CAMERA, fy=math.nan), "focal length"),
    (replace(CAMERA, fx=math.inf), "focal length"), (replace(CAMERA, cx=math.nan), "beyond all measure"),
    (with_rows((1.0, 0.0, 0.0, math.nan), TURNED[1], TURNED[2]), "beyond all measure"),
    (with_rows((-1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0)), "mirrored"),
    (with_rows((2.0, 0.0, 0.0, 0.0), (0.0, 2.0, 0.0, 0.0), (0.0, 0.0, 2.0, 0.0)), "scaled"),
    (with_rows((math.nan, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0)), "scaled"),
    (replace(CAMERA, camera_to_world=(*TURNED[:3], (0.0, 0.0, 0.0, 2.0))), "scaled"),
])
def test_a_camera_that_is_none_is_not_written(camera, words, tmp_path):
    error = error_of(write_cameras, tmp_path / "cameras.json", GivenCameras(640, 360, (camera,)))
    assert error.code == "cameras_invalid" and words in error.message and "frame 3" in error.message
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("given", [cameras(), cameras(4, 3), cameras(3, 3), replace(cameras(3), width=0)])
def test_cameras_that_make_no_sense(given):
    assert error_of(given.validate).code == "cameras_invalid"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"width": 1}', "{" * 100_000,
                                  '{"width": 6, "height": 4, "cameras": 1}'])
def test_what_is_none_is_not_read(text, tmp_path):
    (tmp_path / "cameras.json").write_text(text)
    assert error_of(read_cameras, tmp_path / "cameras.json").code == "cameras_invalid"


def test_no_file_and_another_schema(tmp_path):
    assert error_of(read_cameras, tmp_path / "cameras.json").code == "cameras_missing"
    write_cameras(tmp_path / "cameras.json", cameras(3))
    data = json.loads((tmp_path / "cameras.json").read_text()) | {"schema_version": 2}
    (tmp_path / "cameras.json").write_text(json.dumps(data))
    assert "schema 2" in error_of(read_cameras, tmp_path / "cameras.json").message


def test_small_gaps_are_left_open_and_others_named():
    given = cameras(1, 2, 7, 8, 9)
    assert [camera and camera.frame for camera in given.of_frames(range(2, 9))] == [2, None, None, None, None, 7, 8]
    for frames, named in ((range(1, 11), "10 "), (range(3, 9), "3-6 ")):
        error = error_of(given.of_frames, frames)
        assert error.code == "cameras_incomplete" and named in error.message
    assert "3-7 " in error_of(cameras(1, 2, 8).of_frames, range(1, 9)).message


def test_pictures_of_other_proportions():
    cameras(1).refuse_other_picture(1920, 1080)
    cameras(1).refuse_other_picture(213, 120)
    error = error_of(cameras(1).refuse_other_picture, 640, 480)
    assert error.code == "cameras_wrong_size" and "640 x 360" in error.message


def test_a_job_without_them_is_written_as_before(tmp_path):
    job = Job("one", ClipSource("movie", "/a.mp4"), 1, 9)
    JobFolder(tmp_path).write_job(job)
    assert "cameras" not in json.loads((tmp_path / "job.json").read_text())
    assert JobFolder(tmp_path).read_job() == job
    JobFolder(tmp_path).write_job(replace(job, cameras="scene"))
    assert JobFolder(tmp_path).read_job().cameras == "scene"


@pytest.mark.parametrize(("change", "code"), [
    ({"cameras": "elsewhere"}, "job_invalid"), ({"settings": Settings(stereo="monst3r")}, "settings_invalid"),
    ({"settings": Settings(refine_cameras=True)}, "settings_invalid"),
])
def test_what_given_cameras_do_not_go_with(change, code):
    job = replace(Job("one", ClipSource("movie", "/a.mp4"), 1, 9, cameras="colmap"), **change)
    assert error_of(job.validate).code == code
