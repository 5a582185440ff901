"""Calibration files: what OpenCV and COLMAP write is read, anything else is refused in words."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from stereodiff_blender.engine.contract import Distortion, Settings, StereoDiffError, read_calibration

MATRIX = np.array([[1500.0, 0.0, 979.5], [0.0, 1500.0, 519.5], [0.0, 0.0, 1.0]])
LENS = Distortion(-0.21, 0.08, 0.015, 0.002, -0.001)
IN_ORDER = (LENS.k1, LENS.k2, LENS.p1, LENS.p2, LENS.k3)
FISHEYE = Distortion(-0.05, 0.01, 0.004, k4=-0.001, is_fisheye=True)
ENDINGS = ("yml", "json", "xml")


def write_opencv(path, *, matrix=MATRIX, coefficients=IN_ORDER, size=(1920, 1080)):
    """As OpenCV's calibration sample writes it, with what it writes besides."""
    storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    storage.write("calibration_time", "Mon 30 Nov 2026")
    storage.write("image_width", size[0])
    storage.write("image_height", size[1])
    storage.write("flags", 0)
    storage.write("camera_matrix", matrix)
    storage.write("distortion_coefficients", np.array(coefficients, float).reshape(-1, 1))
    storage.write("avg_reprojection_error", 0.25)
    storage.write("image_points", np.random.default_rng(0).uniform(0, 1000, (4, 30, 2)))
    storage.release()
    return path


def refusal(path, size=(1920, 1080), **options) -> StereoDiffError:
    with pytest.raises(StereoDiffError) as caught:
        read_calibration(path, *size, **options)
    return caught.value


def written(path, text: str):
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_opencv_writes_is_read(tmp_path, ending):
    lens = read_calibration(write_opencv(tmp_path / f"lens.{ending}"), 1920, 1080)
    assert lens.distortion == LENS
    assert (lens.fx, lens.fy, lens.cx, lens.cy) == pytest.approx((1500, 1500, 980, 520)), "its pixels begin at .5"


@pytest.mark.parametrize("coefficients", [(-0.1, 0.02, 0.001, 0.002), (-0.1, 0.02, 0.001, 0.002, 0.0, 0.0, 0.0, 0.0),
                                          (-0.1, 0.02, 0.001, 0.002, 0.0, *[0.0] * 9)])
@pytest.mark.parametrize("ending", ENDINGS)
def test_four_eight_and_fourteen_coefficients_are_read_if_the_last_are_zero(tmp_path, ending, coefficients):
    lens = read_calibration(write_opencv(tmp_path / f"lens.{ending}", coefficients=coefficients), 1920, 1080)
    assert lens.distortion == Distortion(-0.1, 0.02, 0.0, 0.001, 0.002)


@pytest.mark.parametrize("ending", ENDINGS)
def test_rational_coefficients_are_refused(tmp_path, ending):
    path = write_opencv(tmp_path / f"lens.{ending}", coefficients=(*IN_ORDER, 0.1, 0.0, 0.0))
    error = refusal(path)
    assert error.code == "lens_not_followed" and "0.1" in error.message


def write_fisheye(path, **options):
    """As OpenCV's calibration sample writes it with cv2.fisheye."""
    text = write_opencv(path, **options).read_text()
    flag = {".yml": ("flags: 0", "fisheye_model: 1"), ".json": ('"flags": 0', '"fisheye_model": 1'),
            ".xml": ("<flags>0</flags>", "<fisheye_model>1</fisheye_model>")}[path.suffix]
    assert flag[0] in text
    return written(path, text.replace(*flag))


@pytest.mark.parametrize("lens", [FISHEYE, Distortion(is_fisheye=True)])
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_fisheye_is_read(tmp_path, ending, lens):
    path = write_fisheye(tmp_path / f"lens.{ending}", coefficients=lens.coefficients)
    assert read_calibration(path, 1920, 1080).distortion == lens


@pytest.mark.parametrize(("coefficients", "code", "words"), [
    (IN_ORDER, "lens_not_followed", "K1 to K4"), ((0.1, 0.0), "lens_file_invalid", "four"),
    ((), "lens_file_invalid", "without")])
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_fisheye_of_other_than_four_coefficients_is_refused(tmp_path, ending, coefficients, code, words):
    error = refusal(write_fisheye(tmp_path / f"lens.{ending}", coefficients=coefficients))
    assert error.code == code and words in error.message


def test_a_fisheye_flag_that_is_none_is_refused(tmp_path):
    text = json.dumps({"K": MATRIX.tolist(), "D": [0.1, 0, 0, 0], "fisheye_model": ["yes"]})
    assert refusal(written(tmp_path / "lens.json", text)).code == "lens_file_invalid"
    text = json.dumps({"K": MATRIX.tolist(), "D": [0.1, 0, 0, 0], "fisheye_model": False})
    assert read_calibration(written(tmp_path / "lens.json", text), 1920, 1080).distortion == Distortion(0.1)


@pytest.mark.parametrize("ending", ENDINGS)
def test_zeros_are_known_and_nothing_is_not(tmp_path, ending):
    zeros = read_calibration(write_opencv(tmp_path / f"lens.{ending}", coefficients=[0.0] * 5), 1920, 1080)
    assert zeros.distortion == Distortion()
    assert zeros.in_settings(Settings(), 1920, 36.0).known_distortion == Distortion()
    nothing = read_calibration(written(tmp_path / "lens.json", json.dumps({"K": MATRIX.tolist()})), 1920, 1080)
    assert nothing.distortion is None and nothing.in_settings(Settings(), 1920, 36.0).known_distortion is None


def test_the_yaml_of_ros_is_read(tmp_path):
    text = ("image_width: 1920\nimage_height: 1080\ncamera_name: left # the one\ncamera_matrix:\n  rows: 3\n  cols: 3\n"
            "  data: [1500, 0, 979.5, 0, 1500, 519.5,\n    0, 0, 1]\ndistortion_model: plumb_bob\n"
            "distortion_coefficients:\n  rows: 1\n  cols: 5\n  data: [-0.21, 0.08, 0.002, -0.001, 0.015]\n")
    assert read_calibration(written(tmp_path / "left.yaml", text), 1920, 1080).distortion == LENS
    text = text.replace("plumb_bob", "equidistant").replace("cols: 5", "cols: 4").replace(", 0.015", "")
    assert read_calibration(written(tmp_path / "left.yaml", text), 1920, 1080).distortion == Distortion(
        -0.21, 0.08, 0.002, k4=-0.001, is_fisheye=True)


def test_lists_in_lists_are_read(tmp_path):
    text = json.dumps({"K": MATRIX.tolist(), "D": [list(IN_ORDER)], "width": 1920, "height": 1080, "names": ["a"]})
    assert read_calibration(written(tmp_path / "lens.json", text), 1920, 1080).distortion == LENS


@pytest.mark.parametrize(("line", "expected"), [
    ("SIMPLE_PINHOLE 1920 1080 1500 980 520", Distortion()),
    ("PINHOLE 1920 1080 1500 1500 980 520", Distortion()),
    ("SIMPLE_RADIAL 1920 1080 1500 980 520 -0.1", Distortion(-0.1)),
    ("RADIAL 1920 1080 1500 980 520 -0.1 0.02", Distortion(-0.1, 0.02)),
    ("OPENCV 1920 1080 1500 1500 980 520 -0.1 0.02 0.003 0.004", Distortion(-0.1, 0.02, 0.0, 0.003, 0.004)),
    ("FULL_OPENCV 1920 1080 1500 1500 980 520 -0.1 0.02 0.003 0.004 0.005 0 0 0",
     Distortion(-0.1, 0.02, 0.005, 0.003, 0.004)),
    ("OPENCV_FISHEYE 1920 1080 1500 1500 980 520 -0.05 0.01 0.004 -0.001", FISHEYE),
    ("OPENCV_FISHEYE 1920 1080 1500 1500 980 520 0 0 0 0", Distortion(is_fisheye=True)),
    ("SIMPLE_RADIAL_FISHEYE 1920 1080 1500 980 520 -0.05", Distortion(-0.05, is_fisheye=True)),
    ("RADIAL_FISHEYE 1920 1080 1500 980 520 -0.05 0.01", Distortion(-0.05, 0.01, is_fisheye=True)),
    ("THIN_PRISM_FISHEYE 1920 1080 1500 1500 980 520 -0.05 0.01 0 0 0.004 -0.001 0 0", FISHEYE)])
def test_a_camera_of_colmap_is_read(tmp_path, line, expected):
    path = written(tmp_path / "cameras.txt", f"# Camera list\n# Number of cameras: 1\n1 {line}\n")
    lens = read_calibration(path, 1920, 1080)
    assert (lens.fx, lens.fy, lens.cx, lens.cy) == pytest.approx((1500, 1500, 980, 520)), "as ours, from the edge"
    assert lens.distortion == expected


def test_of_several_cameras_the_one_of_the_clips_size_is_taken(tmp_path):
    path = written(tmp_path / "cameras.txt", "1 SIMPLE_RADIAL 640 480 500 320 240 -0.3\n"
                                             "2 SIMPLE_RADIAL 1920 1080 1500 960 540 -0.1\n")
    assert read_calibration(path, 1920, 1080).distortion.k1 == -0.1
    assert read_calibration(path, 640, 480).distortion.k1 == -0.3
    error = refusal(path, (1280, 720))
    assert error.code == "lens_file_invalid" and "2 cameras" in error.message


@pytest.mark.parametrize("kind", ["FOV 1920 1080 1 1 1 1 1",
                                  "THIN_PRISM_FISHEYE 1920 1080 1500 1500 980 520 0 0 0.01 0 0 0 0 0",
                                  "FULL_OPENCV 1920 1080 1500 1500 980 520 0 0 0 0 0 0.1 0 0"])
def test_a_lens_of_colmap_that_is_none_of_ours_is_refused(tmp_path, kind):
    assert refusal(written(tmp_path / "cameras.txt", f"1 {kind}\n")).code == "lens_not_followed"


def test_another_size_of_the_same_shape_is_scaled(tmp_path):
    path = write_opencv(tmp_path / "lens.yml", size=(3840, 2160))
    lens = read_calibration(path, 1920, 1080)
    assert (lens.fx, lens.cx, lens.cy) == pytest.approx((750.0, 490.0, 260.0)) and lens.distortion == LENS


def test_another_shape_is_refused(tmp_path):
    error = refusal(write_opencv(tmp_path / "lens.yml", size=(1440, 1080)))
    assert error.code == "lens_file_wrong_size" and "1440 x 1080" in error.message


def test_the_focal_lengths_of_squeezed_pixels_are_two(tmp_path):
    squeezed = MATRIX.copy()
    squeezed[0] *= 0.5
    path = write_opencv(tmp_path / "lens.yml", matrix=squeezed, size=(960, 1080))
    lens = read_calibration(path, 960, 1080, pixel_aspect=2.0)
    assert (lens.fx, lens.fy) == pytest.approx((750.0, 1500.0)) and lens.distortion == LENS
    assert refusal(path, (960, 1080)).code == "lens_file_wrong_size"


def test_the_lens_of_a_file_becomes_the_known_lens_of_the_settings(tmp_path):
    settings = read_calibration(write_opencv(tmp_path / "lens.yml"), 1920, 1080).in_settings(Settings(), 1920, 24.0)
    settings.validate()
    assert settings.focal_mm == pytest.approx(1500.0 / 1920 * 24.0) and settings.sensor_mm == 24.0
    assert settings.principal_point_px == pytest.approx((980.0, 520.0))
    assert settings.distortion == (LENS.k1, LENS.k2, LENS.k3, LENS.p1, LENS.p2) and not settings.is_fisheye
    assert settings.known_distortion == LENS


def test_a_fisheye_of_a_file_becomes_the_known_lens_of_the_settings(tmp_path):
    path = write_fisheye(tmp_path / "lens.yml", coefficients=FISHEYE.coefficients)
    settings = read_calibration(path, 1920, 1080).in_settings(Settings(), 1920, 24.0)
    settings.validate()
    assert settings.distortion == (-0.05, 0.01, 0.004, -0.001) and settings.is_fisheye
    assert settings.known_distortion == FISHEYE
    other = settings.with_distortion(LENS)
    other.validate()
    assert other.known_distortion == LENS and settings.with_distortion(None).known_distortion is None


BOMB = ('<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;">]>'
        "<opencv_storage><camera_matrix>&b;</camera_matrix></opencv_storage>")


@pytest.mark.parametrize("text", [
    "", "hello", "{", "[1, 2]", "{}", "<a", "<a/>", "%YAML:1.0\n---\n", BOMB, "{" + '"a":{' * 100_000,
    '{"K": [1, 2, 3]}', '{"K": [[1e999, 0, 1], [0, 1, 1], [0, 0, 1]], "D": [0]}', '{"K": "$base64$AAAA", "D": [0]}',
    '{"K": [[0, 0, 9], [0, 0, 9], [0, 0, 1]], "D": [0]}', '{"K": [[9, 0, -1], [0, 9, 9], [0, 0, 1]], "D": [0]}',
    '{"K": [[9, 3, 9], [0, 9, 9], [0, 0, 1]], "D": [0]}', '{"K": [[9, 0, 9], [0, 9, 9], [0, 0, 1]], "D": ["x"]}',
    '{"K": [[9, 0, 9], [0, 9, 9], [0, 0, 1]], "D": "none"}', '{"K": [[9, 0, 9], [0, 9, 9], [0, 0, 1]], "width": 0}',
    f'{{"K": [{"9" * 5000}, 0, 9, 0, 9, 9, 0, 0, 1]}}',
    "camera_matrix: [1, 2, nan]", "1 SIMPLE_RADIAL 1920 1080 1500 980 520", "1 SIMPLE_RADIAL 1920 x 1 1 1 1",
    "1 SIMPLE_RADIAL 1920 1080 nan 980 520 0", "1 radial 1 1 1 1 1",
    "\n".join(f"{i} PINHOLE 1 1 1 1 0.5 0.5" for i in range(2000)),
], ids=lambda text: text[:30])
def test_what_gives_no_lens_is_refused(tmp_path, text):
    error = refusal(written(tmp_path / "lens.yml", text))
    assert error.code == "lens_file_invalid" and "lens.yml" in error.message and len(error.message) < 400


def test_neither_bytes_nor_a_large_file_nor_none_is_read(tmp_path):
    path = tmp_path / "lens.yml"
    assert refusal(path).code == refusal(tmp_path).code == "lens_file_missing"
    path.write_bytes(b"\xff\xfe\x00<")
    assert refusal(path).code == "lens_file_invalid"
    path.write_bytes(b"# \n" * 400_000)
    error = refusal(path)
    assert error.code == "lens_file_invalid" and "1 million bytes" in error.message


def test_xml_with_entities_is_refused_though_it_holds_a_lens(tmp_path):
    text = write_opencv(tmp_path / "lens.xml").read_text()
    begin, end = text.split("<opencv_storage>")
    written(tmp_path / "lens.xml", f'{begin}<!DOCTYPE opencv_storage [<!ENTITY w "1920">]><opencv_storage>'
                                   f'{end.replace("<image_width>1920", "<image_width>&w;")}')
    error = refusal(tmp_path / "lens.xml")
    assert error.code == "lens_file_invalid" and "document type" in error.message
