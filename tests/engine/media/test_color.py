"""Stored values to the picture that is matched: by tables, by OpenColorIO, and in words where that cannot be."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest
from clips import error_of, movie_source, read, write_movie, write_stills

from stereodiff_blender.engine.contract import ClipSource
from stereodiff_blender.engine.media.color import FootageColor, expose, needs_config
from stereodiff_blender.engine.media.frames import probe_clip, source_from_path

CONFIG = """ocio_profile_version: 2
roles: {default: raw, scene_linear: lin, aces_interchange: aces}
displays: {sRGB: [!<View> {name: Raw, colorspace: raw}]}
colorspaces:
  - !<ColorSpace> {name: raw, isdata: true}
  - !<ColorSpace> {name: Linear Rec.709}
  - !<ColorSpace> {name: lin}
  - !<ColorSpace> {name: aces}
  - !<ColorSpace>
    name: "Half \\u6df1"
    to_scene_reference: !<MatrixTransform> {matrix: [0.5, 0, 0, 0, 0, 0.5, 0, 0, 0, 0, 0.5, 0, 0, 0, 0, 1]}
"""


def srgb(light: np.ndarray) -> np.ndarray:
    light = np.clip(light, 0, 1)
    return np.rint(255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055))


def gray(value: float, dtype=np.float32) -> np.ndarray:
    top = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1
    return np.full((2, 3, 3), value * top).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32])
def test_tables_are_the_arithmetic(dtype):
    values = (np.linspace(0, 1, 3 * 4096) * (np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1.2))
    values = values.astype(dtype).reshape(64, 64, 3)
    top = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1
    for stops in (0.0, -1.5, 3.0):
        shown = FootageColor("Linear Rec.709").display(values, exposure_ev=stops)
        assert np.abs(shown - srgb(values.astype(float) / top * 2.0**stops)).max() <= 1
    assert np.array_equal(FootageColor("Non-Color").display(values), FootageColor("Linear Rec.709").display(values))


def test_pictures_in_srgb_are_never_touched():
    values = np.arange(3 * 64, dtype=np.uint8).reshape(8, 8, 3)
    for space in ("", "sRGB"):
        assert np.array_equal(FootageColor(space, "/nowhere.ocio").display(values, exposure_ev=5.0), values)
    assert not any(map(needs_config, ("", "sRGB", "Linear Rec.709", "Non-Color"))) and needs_config("ACEScg")


def test_what_is_no_number_is_black():
    light = np.array([[[np.nan, np.inf, -np.inf], [-1.0, 1e30, 0.0]]])
    for dtype in (np.float16, np.float32):
        with np.errstate(over="ignore"):
            shown = FootageColor("Linear Rec.709").display(light.astype(dtype))
        assert shown.tolist() == [[[0, 255, 0], [0, 255, 0]]]


@pytest.mark.parametrize(("space", "stored", "light"), [
    ("ACEScg", 0.18, 0.18), ("Linear Rec.2020", 0.5, 0.5), ("ARRI LogC3 (EI800)", 400 / 1023, 0.18),
    ("S-Log3 S-Gamut3", 420 / 1023, 0.18), ("Rec.1886", 0.5, 0.5**2.4), ("Display P3", 1.0, 1.0),
    ("Rec.2100-PQ", 0.58068888, 1.0)])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_spaces_of_cameras_and_renderers(space, stored, light, dtype):
    """By what their makers publish: mid gray of LogC at code 400 of 1023, of S-Log3 at 420; 203 nits at 58 % of PQ."""
    found = FootageColor(space).light(gray(stored, dtype), kind="png")
    assert np.allclose(found, light, rtol=6e-3)
    shown = FootageColor(space).display(gray(stored, dtype), kind="png", exposure_ev=1.0)
    assert np.abs(shown - srgb(2 * found)).max() <= 1


def test_white_of_hdr_is_twice_as_bright_in_movies_as_in_blender():
    still, movie = (FootageColor("Rec.2100-PQ").light(gray(0.58068888), kind=kind) for kind in ("png", ""))
    assert np.allclose(movie / still, 2.03)


def test_a_wide_gamut_is_brought_to_that_of_the_display():
    red = np.array([[[0.5, 0.0, 0.0]]], np.float32)
    assert np.allclose(FootageColor("ACEScg").light(red), [[[0.8525, -0.065, -0.012]]], atol=1e-3)


@pytest.mark.parametrize("space", ["Nothing of the kind", "AgX Log", "Filmic sRGB"])
def test_a_name_that_is_not_known_is_refused_by_name(space, tmp_path):
    first = write_stills(tmp_path, range(1, 3))
    for source in (source_from_path(first), movie_source(write_movie(tmp_path / "a.mp4", 3))):
        error = error_of(read, replace(source, color_space=space), 1, 1)
        assert error.code == "color_space_unknown" and repr(space) in error.message


@pytest.mark.parametrize("content", [None, "", "no configuration", CONFIG.replace("lin}", "gone}", 1)])
def test_a_configuration_that_is_none_is_refused_in_words(content, tmp_path):
    path = tmp_path / "config.ocio"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    source = replace(source_from_path(write_stills(tmp_path / "s", [1])), color_space="ACEScg", ocio_config=str(path))
    error = error_of(probe_clip, source)
    assert error.code in ("color_config_unreadable", "color_space_unknown") and str(path) in error.message
    assert error.code == "color_config_unreadable" or "gone" in str(content)


def test_a_configuration_of_ones_own(tmp_path):
    path = tmp_path / "Größe 深.ocio"
    path.write_text(CONFIG, encoding="utf-8")
    assert np.allclose(FootageColor("Half 深", str(path)).light(gray(0.5)), 0.25)
    plain = tmp_path / "plain.ocio"
    plain.write_text(CONFIG.replace("Linear Rec.709", "something else"), encoding="utf-8")
    red = FootageColor("aces", str(plain)).light(np.array([[[1.0, 0.0, 0.0]]], np.float32))
    assert np.allclose(red, [[[2.5217, -0.2765, -0.0154]]], atol=2e-3), "by its interchange role"


def test_alpha_covers_light_not_codes():
    color, half = gray(1.0, np.uint16), np.full((2, 3), 32768, np.uint16)
    assert FootageColor("").display(color, half, kind="png")[0, 0].tolist() == [128] * 3
    assert FootageColor("ACEScg").display(color, half, kind="png")[0, 0].tolist() == [188] * 3


def test_a_movie_in_a_space_of_its_own(tmp_path):
    """10 bits of LogC: mid gray and what is a stop above and below."""
    path = tmp_path / "log.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "gbrp10le"
        for code in (400, 474, 327):
            values = np.full((64, 96, 3), code * 64, np.uint16)
            frame = av.VideoFrame.from_ndarray(values, format="rgb48le").reformat(format="gbrp10le")
            frame.pts, frame.time_base = None, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    source = ClipSource("movie", str(path), color_space="ARRI LogC3 (EI800)")
    for frame, light in zip(read(source, 1, 3), (0.18, 0.36, 0.09), strict=True):
        assert np.abs(frame - srgb(np.array(light))).max() <= 2
    assert read(replace(source, color_space="sRGB"), 1, 1)[0][0, 0].tolist() == [100] * 3


def test_points_are_brought_back_by_the_same_curve():
    light = np.linspace(0.0, 0.05, 50).repeat(3).reshape(50, 3)
    assert np.abs(expose(light, 4.0).astype(int) - srgb(16 * light)).max() <= 1
