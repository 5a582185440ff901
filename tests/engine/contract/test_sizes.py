"""How large the pictures of a solve are, and what they take on disk, by hand."""

from __future__ import annotations

import pytest

from stereodiff_blender.engine.contract import Settings
from stereodiff_blender.engine.contract.disk_use import result_bytes, scratch_bytes
from stereodiff_blender.engine.contract.sizes import (
    has_plate_depth,
    is_finer_plate,
    plate_size,
    reads_plates,
    working_size,
)

HD, RASTER = (1920, 1080), (640, 360)


@pytest.mark.parametrize(("clip", "aspect", "side", "enlarged", "size"), [
    (HD, 1.0, 640, 1.0, (640, 360)), (HD, 1.0, 960, 2.0, (960, 540)), ((1080, 1920), 1.0, 640, 1.0, (360, 640)),
    ((1440, 1080), 4 / 3, 640, 1.0, (640, 360)), ((1440, 1080), 0.5, 640, 1.0, (427, 640)),
    ((480, 270), 1.0, 960, 1.0, (480, 270)), ((480, 270), 1.0, 960, 2.0, (960, 540)),
])
def test_the_working_size_has_square_pixels(clip, aspect, side, enlarged, size):
    assert working_size(clip, aspect, side, enlarged) == size


def test_a_plate_beyond_4096_pixels_is_reduced():
    assert plate_size(HD) == HD and plate_size((8192, 4320)) == (4096, 2160)


@pytest.mark.parametrize(("plate", "is_finer"), [((800, 450), True), ((799, 450), False), ((800, 449), False)])
def test_a_plate_hardly_larger_shows_no_more(plate, is_finer):
    settings = Settings(depth_size="plate")
    assert is_finer_plate(RASTER, plate) is has_plate_depth(RASTER, plate, settings) is is_finer
    assert reads_plates(RASTER, plate, settings) is is_finer


def test_depth_of_the_plates_size_takes_its_room():
    working = result_bytes(RASTER, HD, Settings(depth_size="working"))
    assert working == 640 * 360 * 12
    assert result_bytes(RASTER, HD, Settings(depth_size="plate")) == pytest.approx(working + 1920 * 1080 * 3.3)
    assert result_bytes(RASTER, (700, 394), Settings(depth_size="plate")) == working


@pytest.mark.parametrize(("settings", "has_matte", "plates"), [
    (Settings(), False, 1), (Settings(), True, 1), (Settings(depth_size="plate"), True, 2),
    (Settings(stereo="monst3r"), True, 0), (Settings(stereo="monst3r", depth_size="plate"), False, 1),
])
def test_what_lies_there_meanwhile(settings, has_matte, plates):
    expected = 640 * 360 * 46 + plates * 1920 * 1080
    assert scratch_bytes(RASTER, HD, settings, has_matte=has_matte) == expected
