"""Plates of light that is far from display are brought there; all others stay as they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from clips import picture, write_encoded, write_linear_exr, write_movie
from stills_of_every_kind import colors, exr

from stereodiff_blender.engine.contract import ClipSource
from stereodiff_blender.engine.media.exposure import choose_exposure, stops_for
from stereodiff_blender.engine.media.frames import source_from_path


def plate(folder: Path, factor: float, numbers=range(1, 6)) -> ClipSource:
    """A sunlit shot times factor, half float."""
    folder.mkdir(exist_ok=True)
    light = np.random.default_rng(2).lognormal(np.log(0.12), 0.9, (90, 120, 3)).clip(0, 0.95) * factor
    for number in numbers:
        exr(folder / f"p.{number}.exr", colors(light.astype(np.float16)))
    return source_from_path(folder / f"p.{numbers[0]}.exr")


@pytest.mark.parametrize("factor", [1.0, 0.1, 4.0])
def test_normal_plates_are_left_alone(factor, tmp_path):
    assert choose_exposure(plate(tmp_path / "p", factor), range(1, 6)) == 0.0


@pytest.mark.parametrize("factor", [0.0005, 0.00003, 400.0, 5000.0])
def test_plates_far_from_display_are_brought_there(factor, tmp_path):
    stops = choose_exposure(plate(tmp_path / "p", factor), range(1, 6))
    assert abs(stops + np.log2(factor)) < 1.5 and stops == round(stops)


def test_a_few_pictures_stand_for_the_clip_and_all_frames_get_the_same(tmp_path):
    source = plate(tmp_path / "p", 0.001, range(1, 10))
    stops = choose_exposure(source, range(1, 10))
    for number in (2, 4, 6, 8):
        Path(source.path).with_name(f"p.{number}.exr").write_bytes(b"damaged")
    assert choose_exposure(source, range(1, 10)) == stops > 5
    assert choose_exposure(source, range(1, 3)[:1]) == stops


def test_a_flash_or_a_title_does_not_decide(tmp_path):
    source = plate(tmp_path / "p", 1.0)
    exr(Path(source.path), colors(np.zeros((90, 120, 3), np.float16)))
    assert choose_exposure(source, range(1, 6)) == 0.0


@pytest.mark.parametrize("light", [np.empty(0), np.full(100, 0.2), np.r_[np.full(980, 1e-5), np.full(20, 0.5)],
                                   np.r_[np.full(700, 9.0), np.full(300, 0.1)]],
                         ids=["nothing", "gray", "a lamp at night", "a bright sky"])
def test_what_a_screen_can_show_stays(light):
    assert stops_for(light) == 0.0


def test_stops_have_an_end():
    assert (stops_for(np.full(10, 1e-12)), stops_for(np.full(10, 1e12))) == (20.0, -20.0)


def test_display_referred_footage_and_data_are_no_light(tmp_path):
    black = (picture(3) // 60).astype(np.uint8)
    write_encoded(tmp_path / "d_1.png", black)
    png = source_from_path(tmp_path / "d_1.png")
    assert choose_exposure(png, range(1, 2)) == 0.0
    assert choose_exposure(replace(png, color_space="Linear Rec.709"), range(1, 2)) > 0.0
    write_linear_exr(tmp_path / "e_1.exr", np.full((96, 96, 3), 1e-4, np.float32))
    data = replace(source_from_path(tmp_path / "e_1.exr"), color_space="Non-Color")
    assert choose_exposure(data, range(1, 2)) == 0.0
    movie = ClipSource("movie", str(write_movie(tmp_path / "m.mp4", 3)))
    assert choose_exposure(movie, range(1, 4)) == 0.0
