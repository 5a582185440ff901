"""COLMAP's models: read in both forms, and refused in words where they are damaged or cannot be used."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from camera_scenes import camera_path
from colmap_folders import write_model

from stereodiff_blender.engine.contract import (
    ClipSource,
    Distortion,
    GivenCameras,
    StereoDiffError,
    read_colmap_cameras,
)

SIZE, LENS = (640, 360), (500.0, 510.0, 321.0, 179.5)
SEQUENCE = ClipSource("sequence", "/shot/plate.1001.exr", 1001)
MOVIE = ClipSource("movie", "/shot/walk.mp4")
WORLD = np.array([[0.0, 0.0, 1.0, 3.0], [1.0, 0.0, 0.0, -20.0], [0.0, 1.0, 0.0, 500.0], [0.0, 0.0, 0.0, 1.0]])
POSES = WORLD @ camera_path(9, travel=40.0, turn_deg=25.0)


def names_of(stem: str, first: int, count: int = 9) -> list[str]:
    return [f"images/{stem}{first + index:04d}.png" for index in range(count)]


@pytest.fixture
def model(tmp_path):
    """model(names, **options) -> its folder."""
    def write(names: list[str], **options) -> Path:
        return write_model(tmp_path / "sparse" / "0", names, POSES[:len(names)],
                           **({"size": SIZE, "parameters": LENS} | options))
    return write


def error_of(*arguments) -> StereoDiffError:
    with pytest.raises(StereoDiffError) as caught:
        read_colmap_cameras(*arguments)
    return caught.value


def frames_of(given: GivenCameras) -> list[int]:
    return [camera.frame for camera in given.cameras]


@pytest.mark.parametrize("binary", [False, True])
def test_cameras_come_as_they_are(model, binary):
    given = read_colmap_cameras(model(names_of("walk_", 1), binary=binary), MOVIE, range(2, 9))
    assert (given.width, given.height) == SIZE and frames_of(given) == list(range(2, 9))
    for camera in given.cameras:
        assert (camera.fx, camera.fy, camera.cx, camera.cy) == pytest.approx(LENS)
        assert np.abs(np.array(camera.camera_to_world) - POSES[camera.frame - 1]).max() < 1e-9


def test_the_binary_one_counts_of_both(model):
    model(names_of("walk_", 1), parameters=(1.0, 1.0, 1.0, 1.0))
    folder = model(names_of("walk_", 1), binary=True)
    assert read_colmap_cameras(folder, MOVIE, range(1, 10)).cameras[0].fx == 500.0


@pytest.mark.parametrize(("kind", "parameters", "lens"), [
    ("SIMPLE_PINHOLE", (500, 320, 180), (500, 500, 320, 180)), ("PINHOLE", LENS, LENS),
    ("SIMPLE_RADIAL", (500, 320, 180, 0), (500, 500, 320, 180)),
    ("RADIAL", (500, 320, 180, 0, 0), (500, 500, 320, 180)),
    ("OPENCV", (*LENS, 0, 0, 0, 0), LENS), ("FULL_OPENCV", (*LENS, *[0] * 8), LENS),
])
@pytest.mark.parametrize("binary", [False, True])
def test_lenses_without_distortion(model, kind, parameters, lens, binary):
    folder = model(names_of("a", 1), model=kind, parameters=parameters, binary=binary)
    given = read_colmap_cameras(folder, MOVIE, range(1, 10))
    camera = given.cameras[0]
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == pytest.approx(lens) and given.distortion is None


@pytest.mark.parametrize(("kind", "parameters", "distortion"), [
    ("SIMPLE_RADIAL", (500, 320, 180, -0.02), Distortion(-0.02)),
    ("OPENCV", (*LENS, -0.1, 0.02, 1e-3, 1e-4), Distortion(-0.1, 0.02, 0.0, 1e-3, 1e-4)),
    ("FULL_OPENCV", (*LENS, -0.1, 0.02, 1e-3, 1e-4, 0.01, 0, 0, 0), Distortion(-0.1, 0.02, 0.01, 1e-3, 1e-4)),
    ("OPENCV_FISHEYE", (*LENS, 0, 0, 0, 0), Distortion(is_fisheye=True)),
    ("OPENCV_FISHEYE", (*LENS, -0.05, 0.01, 0.004, -0.001), Distortion(-0.05, 0.01, 0.004, k4=-0.001, is_fisheye=True)),
    ("SIMPLE_RADIAL_FISHEYE", (500, 320, 180, -0.05), Distortion(-0.05, is_fisheye=True)),
    ("RADIAL_FISHEYE", (500, 320, 180, -0.05, 0.01), Distortion(-0.05, 0.01, is_fisheye=True)),
])
@pytest.mark.parametrize("binary", [False, True])
def test_distortion_comes_with_the_cameras(model, kind, parameters, distortion, binary):
    folder = model(names_of("a", 1), model=kind, parameters=parameters, binary=binary)
    assert read_colmap_cameras(folder, MOVIE, range(1, 10)).distortion == distortion


def test_pictures_of_lenses_that_bend_differently_are_refused(model):
    folder = model(names_of("a", 1), model="SIMPLE_RADIAL", parameters=(500, 320, 180, -0.02))
    with open(folder / "cameras.txt", "a", encoding="utf-8") as stream:
        stream.write("7 SIMPLE_RADIAL 640 360 500 320 180 -0.03\n")
    assert read_colmap_cameras(folder, MOVIE, range(1, 10)).distortion == Distortion(-0.02), "no picture has the other"
    lines = (folder / "images.txt").read_text()
    (folder / "images.txt").write_text(lines.replace(" 3 images/a0004", " 7 images/a0004"))
    error = error_of(folder, MOVIE, range(1, 10))
    assert error.code == "cameras_distorted" and "2 lenses" in error.message
    assert read_colmap_cameras(folder, MOVIE, range(5, 10)).distortion == Distortion(-0.02)


def test_a_lens_that_folds_the_picture_over_is_refused(model):
    folder = model(names_of("a", 1), model="RADIAL", parameters=(500, 320, 180, -2, 0))
    error = error_of(folder, MOVIE, range(1, 10))
    assert error.code == "cameras_invalid" and "fold" in error.message


@pytest.mark.parametrize(("kind", "parameters"), [
    ("FULL_OPENCV", (*LENS, 0, 0, 0, 0, 0, 0.1, 0, 0)), ("FOV", (*LENS, 0.1)),
    ("THIN_PRISM_FISHEYE", (*LENS, 0, 0, 0, 0, 0, 0, 0.01, 0)),
])
@pytest.mark.parametrize("binary", [False, True])
def test_distortion_that_ours_cannot_be_is_refused(model, kind, parameters, binary):
    error = error_of(model(names_of("a", 1), model=kind, parameters=parameters, binary=binary), MOVIE, range(1, 10))
    assert error.code == "cameras_distorted"


# --- Which frame a picture is --------------------------------------------------------------------------------------

@pytest.mark.parametrize(("clip", "names", "frames", "expected"), [
    (SEQUENCE, names_of("plate.", 1001), range(1, 10), range(1, 10)),
    (SEQUENCE, names_of("plate.", 1003), range(3, 8), range(3, 8)),  # its first pictures are not in the model
    (SEQUENCE, names_of("undistorted_", 1001), range(1, 10), range(1, 10)),
    (SEQUENCE, names_of("frame", 1), range(1, 10), range(1, 10)),
    (SEQUENCE, names_of("frame", 0), range(1, 10), range(1, 10)),
    (MOVIE, names_of("frame", 0), range(1, 10), range(1, 10)),
    (MOVIE, names_of("walk_", 1), range(1, 10), range(1, 10)),
    (MOVIE, [f"cam\\frame_{number}.jpg" for number in (1, 3, 5, 7, 9)], range(1, 10), range(1, 10, 2)),
    (MOVIE, [f"walk left {number}.png" for number in range(1, 10)], range(1, 10), range(1, 10)),
])
@pytest.mark.parametrize("binary", [False, True])
def test_pictures_are_told_by_their_numbers(model, clip, names, frames, expected, binary):
    assert frames_of(read_colmap_cameras(model(names, binary=binary), clip, frames)) == list(expected)


@pytest.mark.parametrize(("clip", "names", "frames", "code", "words"), [
    (MOVIE, ["left.png", "right.png"], range(1, 3), "cameras_invalid", "no number"),
    (MOVIE, ["left/0001.png", "right/0001.png"], range(1, 3), "cameras_invalid", "same number"),
    (ClipSource("sequence", "/shot/plate.0003.png", 3), names_of("frame", 3), range(4, 6), "cameras_invalid", "plate"),
    (MOVIE, names_of("walk_", 1), range(1, 13), "cameras_incomplete", "10-12"),
    (MOVIE, names_of("walk_", 1), range(20, 30), "cameras_incomplete", "None of the 9"),
    (SEQUENCE, names_of("plate.", 1), range(1, 10), "cameras_incomplete", "None of the 9"),
])
def test_pictures_that_cannot_be_told(model, clip, names, frames, code, words):
    error = error_of(model(names), clip, frames)
    assert error.code == code and words in error.message


# --- Damage --------------------------------------------------------------------------------------------------------

def test_no_model(tmp_path, model):
    assert error_of(tmp_path, MOVIE, range(1, 3)).code == "cameras_missing"
    folder = model(names_of("walk_", 1))
    (folder / "images.txt").unlink()
    assert error_of(folder, MOVIE, range(1, 10)).code == "cameras_missing"


@pytest.mark.parametrize("part", ["cameras", "images"])
def test_every_place_where_a_binary_model_can_end(model, part):
    """But where what is left is a model of fewer pictures, which lacks frames."""
    folder = model(names_of("walk_", 1), binary=True)
    whole = (folder / f"{part}.bin").read_bytes()
    for length in range(len(whole)):
        (folder / f"{part}.bin").write_bytes(whole[:length])
        assert error_of(folder, MOVIE, range(1, 10)).code == "cameras_invalid", length


@pytest.mark.parametrize("count", [2**64 - 1, 10**9, 10])
def test_a_count_that_lies(model, count):
    folder = model(names_of("walk_", 1), binary=True)
    for part in ("cameras", "images"):
        data = (folder / f"{part}.bin").read_bytes()
        (folder / f"{part}.bin").write_bytes(struct.pack("<Q", count) + data[8:])
        assert error_of(folder, MOVIE, range(1, 10)).code == "cameras_invalid"
        (folder / f"{part}.bin").write_bytes(data)


@pytest.mark.parametrize(("part", "old", "new"), [
    ("cameras", "500.0", "nan"), ("cameras", "500.0", "-500.0"), ("cameras", "500.0", "inf"), ("cameras", "640", "0"),
    ("cameras", "3 PINHOLE", "4 PINHOLE"), ("cameras", "PINHOLE 640", "PINHOLE 6e2"), ("cameras", "179.5", ""),
    ("images", " 3 images", " images"), ("images", "# Image list", "# Image list\n1 2 3"),
    ("images", "# Image list", "#" + "x" * 70_000), ("images", "# Image list", "\x00"),
])
def test_a_text_that_is_damaged(model, part, old, new):
    folder = model(names_of("walk_", 1))
    text = (folder / f"{part}.txt").read_text()
    assert old in text
    (folder / f"{part}.txt").write_text(text.replace(old, new))
    assert error_of(folder, MOVIE, range(1, 10)).code == "cameras_invalid"


@pytest.mark.parametrize("value", [0.0, np.nan, 2.0, 1e300])
def test_a_rotation_that_is_none(model, value):
    folder = model(names_of("walk_", 1), binary=True)
    data = (folder / "images.bin").read_bytes()
    (folder / "images.bin").write_bytes(data[:12] + struct.pack("<4d", *[value] * 4) + data[44:])
    assert error_of(folder, MOVIE, range(1, 10)).code == "cameras_invalid"


def test_a_model_without_pictures(model):
    folder = model(names_of("walk_", 1))
    (folder / "images.txt").write_text("# Image list\n")
    assert "no picture" in error_of(folder, MOVIE, range(1, 10)).message


def test_points_that_a_picture_sees_may_be_any_number(model):
    folder = model(names_of("walk_", 1))
    lines = (folder / "images.txt").read_text().splitlines()
    lines[3] = "1.0 2.0 3 " * 30_000
    lines[5] = ""
    (folder / "images.txt").write_text("\n".join(lines))
    assert len(read_colmap_cameras(folder, MOVIE, range(1, 10)).cameras) == 9


@pytest.mark.slow
@pytest.mark.parametrize("binary", [False, True])
def test_what_colmap_itself_writes_is_read(model, tmp_path, binary):
    """Its own library reads a model of ours, and writes it anew."""
    import pycolmap
    folder = model(names_of("walk_", 1), binary=not binary)
    own = pycolmap.Reconstruction(str(folder))
    (tmp_path / "own").mkdir()
    (own.write_binary if binary else own.write_text)(str(tmp_path / "own"))
    given = read_colmap_cameras(tmp_path / "own", MOVIE, range(1, 10))
    assert frames_of(given) == list(range(1, 10)) and (given.width, given.height) == SIZE
    for camera in given.cameras:
        assert (camera.fx, camera.fy, camera.cx, camera.cy) == pytest.approx(LENS)
        assert np.abs(np.array(camera.camera_to_world) - POSES[camera.frame - 1]).max() < 1e-9
