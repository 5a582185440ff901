"""EXRs whose data window is not the display window: cropped, with overscan, or moving from picture to picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from clips import error_of, read
from stills_of_every_kind import exr

from stereodiff_blender.engine.contract import ClipSource, Matte
from stereodiff_blender.engine.media.frames import ClipInfo, Raster, probe_clip, read_frames, source_from_path
from stereodiff_blender.engine.media.mattes import examine_matte

FORMAT = (120, 96)
SCENE = np.random.default_rng(5).random((160, 200, 3)).astype(np.float16)
"""What lies in and around the format, whose corner is at row 20, column 30."""


def shot(folder: Path, windows: list[tuple[int, int, int, int]]) -> ClipSource:
    """windows: of each picture, left, top, width and height of the data in the format."""
    for number, (left, top, width, height) in enumerate(windows, 1):
        piece = SCENE[20 + top:20 + top + height, 30 + left:30 + left + width]
        exr(folder / f"shot.{number:04d}.exr", {name: piece[..., place] for place, name in enumerate("RGB")},
            at=(left, top), display=FORMAT)
    return source_from_path(folder / "shot.0001.exr")


def in_blender(source: ClipSource, width: int, height: int) -> ClipSource:
    return replace(source, width=width, height=height)


def whole(tmp_path: Path) -> np.ndarray:
    folder = tmp_path / "whole"
    folder.mkdir()
    return read(shot(folder, [(0, 0, *FORMAT)]), 1, 1)[0]


@pytest.mark.parametrize("windows", [
    [(20, 10, 70, 60), (22, 11, 70, 60), (24, 12, 70, 60)],
    [(20, 10, 70, 60), (18, 9, 76, 64), (0, 0, *FORMAT)],
    [(20, 10, 70, 60)] * 3,
    [(-10, 10, 100, 60)] * 3,
    [(0, 0, *FORMAT), (20, 10, 70, 60), (110, 90, 40, 40)],
    [(-10, -8, 140, 112), (-10, -8, 140, 112), (-9, -8, 140, 112)],
], ids=["slides", "grows", "cropped", "cropped on one side", "empties", "overscan that moves"])
def test_by_hand_data_lies_where_compositing_shows_it(windows, tmp_path):
    source, expected = shot(tmp_path, windows), whole(tmp_path)
    info = probe_clip(source)
    assert (info.width, info.height) == FORMAT
    for frame, (left, top, width, height) in zip(read(source, 1, len(windows)), windows, strict=True):
        rows, cols = slice(max(top, 0), max(top + height, 0)), slice(max(left, 0), max(left + width, 0))
        there = np.zeros(expected.shape[:2], bool)
        there[rows, cols] = True
        assert np.array_equal(frame, np.where(there[..., None], expected, 0))


def test_data_beside_the_format_is_a_black_picture(tmp_path):
    frames = read(shot(tmp_path, [(0, 0, *FORMAT), (-30, 20, 20, 20)]), 1, 2)
    assert frames[0].any() and not frames[1].any()


def test_steady_overscan_stays_whole(tmp_path):
    source = shot(tmp_path, [(-10, -8, 140, 112)] * 3)
    info, frames = probe_clip(source), read(source, 1, 3)
    assert (info.width, info.height) == (140, 112)
    assert np.array_equal(frames[0][8:104, 10:130], whole(tmp_path)) and np.array_equal(frames[0], frames[2])


def test_a_file_that_is_damaged_further_on_does_not_keep_the_rest_from_being_read(tmp_path):
    source = shot(tmp_path, [(-10, -8, 140, 112)] * 3)
    (tmp_path / "shot.0003.exr").write_bytes(b"half rendered")
    assert read(source, 1, 2)[1].shape == (112, 140, 3)
    assert "shot.0003.exr" in error_of(read, source, 1, 3).message


@pytest.mark.parametrize("window", [(20, 10, 70, 66), (-10, -8, 140, 112)])
def test_blender_shows_the_data_of_a_steady_window(window, tmp_path):
    source = in_blender(shot(tmp_path, [window] * 3), *window[2:])
    assert probe_clip(source).width == window[2]
    assert read(source, 1, 3)[2].shape == (window[3], window[2], 3)


@pytest.mark.parametrize("last", [(21, 10, 70, 66), (20, 11, 70, 66), (20, 10, 72, 66), (0, 0, *FORMAT)])
def test_a_window_that_moves_is_refused_in_blender(last, tmp_path):
    """It would show a picture that stands still where the camera moves, or the other way round."""
    source = in_blender(shot(tmp_path, [(20, 10, 70, 66), (20, 10, 70, 66), last]), 70, 66)
    error = error_of(read, source, 1, 3)
    assert error.code == "clip_window_moves" and "shot.0003.exr" in error.message
    assert f"{last[2]} x {last[3]} at ({last[0]}, {last[1]})" in error.message


def test_a_later_range_goes_by_the_first_picture_too(tmp_path):
    source = in_blender(shot(tmp_path, [(20, 10, 70, 66), (24, 10, 70, 66), (24, 10, 70, 66)]), 70, 66)
    assert error_of(read, source, 2, 3).code == "clip_window_moves"


def test_a_matte_has_the_same_windows(tmp_path):
    matte = Matte("pictures", shot(tmp_path, [(20, 10, 70, 66), (24, 10, 70, 66)]))
    examine_matte(matte, range(1, 3), ClipInfo(*FORMAT, 1.0, 24.0, 2))


def test_a_display_window_of_any_size_is_not_made(tmp_path):
    path = exr(tmp_path / "shot.0001.exr", {"Y": np.zeros((96, 96), np.float16)}, display=(60_000, 60_000))
    assert error_of(probe_clip, source_from_path(path)).code == "picture_too_large"
    frames = read_frames(source_from_path(path), range(1, 2), Raster(96, 96, 96, 96, 1.0))
    assert error_of(list, frames).code == "picture_too_large"
