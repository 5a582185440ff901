"""Plates of light, windows and color spaces through the real engine, from the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from command_line import engine_here
from stills_of_every_kind import by_oiio, colors, exr
from tiny_jobs import FRAMES, HEIGHT, LENS, LENS_OPTIONS, WIDTH, render_boards

from stereodiff_blender.engine.contract import JobFolder, Result
from stereodiff_blender.engine.media.color import light_from_srgb

FOCAL = LENS["focal_mm"] / LENS["sensor_mm"] * WIDTH
EDGE = 6
"""Pixels that a window leaves out on each side."""


@pytest.fixture(scope="module")
def lights() -> list[np.ndarray]:
    return [light_from_srgb(frame / np.float32(255)) for frame in render_boards()]


def solve(folder: Path, *options: object) -> tuple[Result, np.ndarray]:
    """The result, and the colors of its points."""
    out = folder / "out"
    done = engine_here("solve", folder / "plates", out, "--quality", "draft", "--refine", "none", *LENS_OPTIONS,
                       *options)
    assert done.returncode == 0, done.stderr
    result = JobFolder(out).read_result()
    table = (out / result.points).read_bytes().partition(b"end_header\n")[2]
    return result, np.frombuffer(table, [("position", "<f4", 3), ("color", "u1", 3)])["color"]


def travels(result: Result) -> bool:
    """As the camera that was rendered does: to the right, by the same step each frame."""
    places = np.array([np.array(frame.camera_to_world)[:3, 3] for frame in result.frames])
    steps = np.diff(places[:, 0])
    return result.camera_kind == "moving" and bool((steps > 0).all()) and float(steps.std() / steps.mean()) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize(("factor", "words", "levels"), [
    (1.0, None, (60, 200)), (1 / 2048, "+", (0, 4)), (400.0, "-", (255, 255))])
def test_light_of_any_scale_solves_and_points_keep_its_colors(factor, words, levels, lights, tmp_path):
    (tmp_path / "plates").mkdir()
    for number, light in enumerate(lights, 1):
        exr(tmp_path / "plates" / f"p.{number:04d}.exr", colors((light * factor).astype(np.float16)))
    result, points = solve(tmp_path)
    assert travels(result)
    told = [warning.message for warning in result.warnings if warning.code == "exposure_chosen"]
    assert bool(told) == bool(words) and all(f"Exposure {words}" in message for message in told)
    assert levels[0] <= float(np.median(points)) <= levels[1]


@pytest.mark.slow
def test_a_window_that_slides_is_solved_as_the_whole_plate_is(lights, tmp_path):
    """Same size, another place in each picture: taken for the picture itself, it would hide the camera's move."""
    (tmp_path / "plates").mkdir()
    for index, light in enumerate(lights):
        left = min(index, 2 * EDGE)
        piece = light[EDGE:HEIGHT - EDGE, left:WIDTH - 2 * EDGE + left]
        exr(tmp_path / "plates" / f"p.{index + 1:04d}.exr", colors(piece.astype(np.float16)), at=(left, EDGE),
            display=(WIDTH, HEIGHT))
    result, _ = solve(tmp_path)
    assert (result.clip_width, result.clip_height) == (WIDTH, HEIGHT) and len(result.frames) == FRAMES
    assert travels(result) and result.frames[0].fx == pytest.approx(FOCAL, rel=0.01)


@pytest.mark.slow
def test_tga_in_a_color_space(lights, tmp_path):
    (tmp_path / "plates").mkdir()
    for number, light in enumerate(lights, 1):
        by_oiio(tmp_path / "plates" / f"p.{number:04d}.tga", light ** (1 / 2.4), "uint8")
    result, points = solve(tmp_path, "--color-space", "Rec.1886")
    assert travels(result) and result.clip.color_space == "Rec.1886" and 60 < float(np.median(points)) < 200


@pytest.mark.slow
@pytest.mark.parametrize(("options", "words"), [
    (("--color-space", "LogZ"), "'LogZ'"), (("--color-space", "ACEScg", "--ocio", "nowhere.ocio"), "nowhere.ocio")])
def test_what_is_not_known_is_refused_before_any_work(options, words, lights, tmp_path):
    (tmp_path / "plates").mkdir()
    for number in (1, 2, 3):
        by_oiio(tmp_path / "plates" / f"p.{number:04d}.png", lights[number], "uint8")
    done = engine_here("solve", tmp_path / "plates", tmp_path / "out", *options)
    assert done.returncode != 0 and words in done.stderr and not (tmp_path / "out").exists()
    assert "color_space_unknown" in done.stderr or "color_config_unreadable" in done.stderr
