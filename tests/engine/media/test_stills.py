"""Sequences of still pictures, and which clip a path means."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import OpenEXR
import pytest
from clips import (
    HEIGHT,
    WIDTH,
    error_of,
    index_of,
    picture,
    read,
    write_dpx,
    write_encoded,
    write_linear_exr,
    write_movie,
    write_stills,
)

from stereodiff_blender.engine.contract import ClipSource
from stereodiff_blender.engine.media.frames import ClipInfo, probe_clip, source_from_path

DISPLAY = {".dpx": "sRGB"}
"""Color space in which these hold what is displayed; to Blender they are linear unless told."""


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".dpx", ".exr"])
def test_sequences_of_every_format(suffix, tmp_path):
    for number in range(7, 13):
        path = tmp_path / f"shot_{number:04d}{suffix}"
        if suffix == ".dpx":
            write_dpx(path, picture(number))
        elif suffix == ".exr":
            write_linear_exr(path, picture(number))
        else:
            write_encoded(path, picture(number)[..., ::-1])
    source = replace(source_from_path(tmp_path / f"shot_0007{suffix}"), color_space=DISPLAY.get(suffix, ""))
    assert probe_clip(source) == ClipInfo(WIDTH, HEIGHT, 1.0, 0.0, 6)
    for number, frame in zip(range(9, 13), read(source, 3, 6), strict=True):
        difference = np.abs(frame.astype(int) - picture(number))
        assert difference.mean() < 3 if suffix == ".jpg" else difference.max() <= 1


def test_linear_light_is_exposed_then_encoded(tmp_path):
    light = np.full((96, 96, 3), 0.18, np.float32)
    light[:10], light[10:20], light[20:30], light[30:40] = 40.0, -1.0, np.nan, np.inf
    write_linear_exr(tmp_path / "hdr.0001.exr", light)
    source = source_from_path(tmp_path / "hdr.0001.exr")
    plain, brighter = (read(source, 1, 1, exposure_ev=stops)[0] for stops in (0.0, 1.0))
    assert (plain[50, 0, 0], brighter[50, 0, 0]) == (118, 162)  # sRGB of 0.18 and 0.36
    assert [plain[row, 0, 0] for row in (0, 15, 25, 35)] == [255, 0, 0, 255]


def test_exr_layers_gray_and_pixel_aspect(tmp_path):
    value = np.full((96, 96), 0.5, np.float32)
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, "pixelAspectRatio": 2.0}
    layered = {f"ViewLayer.Combined.{c}": value * k for k, c in enumerate("RGB")} | {"ViewLayer.Depth.Z": value}
    for name, channels in (("layers_1.exr", layered), ("gray_1.exr", {"Y": value}), ("normals_1.exr",
                                                                                    {"N.X": value, "N.Y": value})):
        with OpenEXR.File(header, channels) as file:
            file.write(str(tmp_path / name))
    layers = source_from_path(tmp_path / "layers_1.exr")
    assert probe_clip(layers).pixel_aspect == 2.0
    assert read(ClipSource("sequence", layers.path, 1, pixel_aspect=1.0), 1, 1)[0][0, 0].tolist() == [0, 188, 255]
    gray = source_from_path(tmp_path / "gray_1.exr")
    assert read(ClipSource("sequence", gray.path, 1, pixel_aspect=1.0), 1, 1)[0][0, 0].tolist() == [188] * 3
    error = error_of(probe_clip, source_from_path(tmp_path / "normals_1.exr"))
    assert error.code == "clip_unreadable" and "N.X" in error.message


def test_deep_and_float_files(tmp_path):
    source = source_from_path(write_stills(tmp_path / "deep", range(3, 5), sixteen_bit=True))
    assert np.array_equal(read(source, 2, 2)[0], picture(4))


def test_a_float_tiff_is_srgb_unless_told_as_in_blender(tmp_path):
    write_encoded(tmp_path / "float_1.tif", np.full((96, 96, 3), (0.0, 0.18, 1.0), np.float32))
    source = source_from_path(tmp_path / "float_1.tif")
    assert read(source, 1, 1)[0][0, 0].tolist() == [255, 46, 0]
    assert read(replace(source, color_space="Linear Rec.709"), 1, 1)[0][0, 0].tolist() == [255, 118, 0]
    assert read(source, 1, 1, exposure_ev=1.0)[0][0, 0].tolist() == [255, 66, 0], "floats are exposed in every space"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_alpha_of_a_still_is_flattened_over_black(dtype, tmp_path):
    top = np.iinfo(dtype).max
    image = np.full((96, 96, 4), top, dtype)
    image[:48, :, 3], image[48:, :, 3] = 0, top // 2 + 1
    write_encoded(tmp_path / "cut_1.png", image)
    frame = read(source_from_path(tmp_path / "cut_1.png"), 1, 1)[0]
    assert (frame[0, 0].tolist(), frame[60, 0].tolist()) == ([0, 0, 0], [128, 128, 128])


def test_gray_stills_become_three_equal_channels(tmp_path):
    write_encoded(tmp_path / "gray_1.png", np.full((96, 96), 77, np.uint8))
    frame = read(source_from_path(tmp_path / "gray_1.png"), 1, 1)[0]
    assert frame.shape == (96, 96, 3) and np.unique(frame).tolist() == [77]


def test_exif_rotation_is_ignored_as_in_blender(tmp_path):
    path = write_encoded(tmp_path / "exif_1.jpg", picture(9)[..., ::-1])
    turned_right = bytes.fromhex("ffe1 0022 457869660000 4d4d002a00000008 0001 0112 0003 00000001 00060000 00000000")
    path.write_bytes(path.read_bytes()[:2] + turned_right + path.read_bytes()[2:])
    assert cv2.imread(str(path)).shape[:2] == (WIDTH, HEIGHT)  # OpenCV does see the tag
    assert index_of(read(source_from_path(path), 1, 1)[0]) == 9


# --- Paths -----------------------------------------------------------------------------------------------------

def test_what_a_path_means(tmp_path, monkeypatch):
    folder = tmp_path / "take 2" / "plates"
    folder.parent.mkdir()
    first = write_stills(folder, range(98, 103), name="v2_shot.{:04d}.png")
    lowest = ClipSource("sequence", str(first), first_number=98)
    assert source_from_path(folder) == lowest
    assert source_from_path(folder / "v2_shot.####.png") == lowest
    assert source_from_path(folder / "v2_shot.%04d.png") == lowest
    third = folder / "v2_shot.0100.png"
    assert source_from_path(third) == ClipSource("sequence", str(third), first_number=100)
    monkeypatch.chdir(folder)
    assert source_from_path("v2_shot.0098.png") == lowest
    movie = write_movie(tmp_path / "clip_0001.mp4", 2)
    assert source_from_path(movie) == ClipSource("movie", str(movie))


def test_numbers_outgrow_their_padding(tmp_path):
    first = write_stills(tmp_path / "long", range(98, 103), name="f{:02d}.png")
    assert probe_clip(source_from_path(first)).frame_count == 5
    assert [index_of(f) for f in read(source_from_path(first), 1, 5)] == list(range(98, 103))
    assert source_from_path(tmp_path / "long" / "f%d.png").first_number == 98


@pytest.mark.parametrize("name, code", [
    ("nothing.mp4", "clip_missing"), ("nothing_####.png", "clip_missing"), ("empty_folder", "clip_missing"),
    ("two_sequences", "clip_unreadable"), ("single.png", "clip_too_short"),
])
def test_paths_that_mean_no_clip(name, code, tmp_path):
    (tmp_path / "empty_folder").mkdir()
    write_stills(tmp_path / "two_sequences", range(1, 3), name="a{:03d}.png")
    write_stills(tmp_path / "two_sequences", range(1, 3), name="b{:03d}.png")
    write_encoded(tmp_path / "single.png", picture(1))
    error = error_of(source_from_path, tmp_path / name)
    assert error.code == code and (name.split("_#")[0] in error.message)
