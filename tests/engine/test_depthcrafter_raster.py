"""Between plate and network, and what memory allows."""

from __future__ import annotations

import numpy as np
import pytest
from golden import golden_json

from stereodiff_blender.engine.contract import StereoDiffError
from stereodiff_blender.engine.diffusion.depthcrafter.memory import (
    LEAST_WINDOW,
    needed_bytes,
    plan_memory,
    smaller_raster,
)
from stereodiff_blender.engine.diffusion.depthcrafter.raster import (
    disparity_to_plate,
    nearest,
    network_size,
    to_network,
)

GIB = 2**30
WEIGHTS = {"unet": int(2.84 * GIB), "vae": int(0.18 * GIB), "image_encoder": int(1.18 * GIB)}


def test_size_golden():
    for case in golden_json("depthcrafter", "tables.json")["resolution"]:
        found = network_size(case["h"], case["w"], case["max_res"])
        assert list(found) == [max(side, 64) for side in case["out"]], case


def test_a_size_is_never_nothing():
    assert network_size(20, 400, 1024) == (64, 384)


def test_nearest_takes_the_pixel_of_the_rule():
    image = np.arange(6 * 8).reshape(6, 8)
    rows, cols = [i * 6 // 9 for i in range(9)], [j * 8 // 5 for j in range(5)]
    np.testing.assert_array_equal(nearest(image, (9, 5)), image[np.ix_(rows, cols)])
    np.testing.assert_array_equal(nearest(np.stack([image, image]), (9, 5))[1], nearest(image, (9, 5)))


def test_a_picture_of_the_networks_size_passes_as_it_is():
    frame = np.random.default_rng(0).integers(0, 256, (64, 128, 3), dtype=np.uint8)
    np.testing.assert_array_equal(to_network(frame, (64, 128)), frame.transpose(2, 0, 1).astype(np.float32) / 255)


@pytest.mark.parametrize("size", [(64, 64), (128, 192), (320, 640)])
def test_a_picture_keeps_its_range_and_its_mean(size):
    frame = np.random.default_rng(0).integers(0, 256, (180, 320, 3), dtype=np.uint8)
    picture = to_network(frame, size)
    assert picture.shape == (3, *size) and picture.dtype == np.float32 and 0 <= picture.min() <= picture.max() <= 1
    np.testing.assert_allclose(picture.mean(axis=(1, 2)), frame.mean(axis=(0, 1)) / 255, atol=0.01)


def test_a_plane_of_disparity_stays_one():
    plane = np.add.outer(np.arange(64) * 0.01, np.arange(128) * 0.02) + 1
    larger = disparity_to_plate(plane, (96, 192))[4:-4, 4:-4]
    assert np.abs(np.diff(larger, 2, axis=0)).max() < 1e-3 and larger.shape == (88, 184)


# --- Memory ------------------------------------------------------------------------------------------------------

def plan(free_gib: float | None, plate=(360, 640), frames=300, **more):
    asked = {"max_side_px": 1024, "window": 110, "overlap": 25, "decode_chunk": 8, "weights_bytes": WEIGHTS} | more
    return plan_memory(None if free_gib is None else int(free_gib * GIB), plate=plate, frames=frames, **asked)


def test_the_computers_own_memory_reduces_nothing():
    found = plan(None, (1080, 1920))
    assert (found.height, found.width, found.window, found.overlap, found.offload) == (576, 1024, 110, 25, False)


def test_a_card_of_8_gb_works_at_640_pixels():
    found = plan(7.2)
    assert (found.width, found.height) == (640, 384) and found.offload and found.window >= LEAST_WINDOW
    assert found.needed_bytes < 7.2 * GIB and found.overlap <= found.window // 4


def test_a_large_card_gets_everything():
    found = plan(46, (1080, 1920))
    assert (found.height, found.width, found.window, found.decode_chunk, found.offload) == (576, 1024, 110, 8, False)


@pytest.mark.parametrize("free_gib", [5, 6, 8, 11, 15, 22, 30, 46, 80])
@pytest.mark.parametrize("plate", [(360, 640), (1080, 1920), (1920, 1080), (480, 640)])
def test_a_plan_fits_and_says_what_it_needs(free_gib, plate):
    found = plan(free_gib, plate)
    assert found.needed_bytes == needed_bytes(found, WEIGHTS) <= 0.9 * free_gib * GIB
    assert f"{found.width} x {found.height}" in found.sentence() and f"{found.window} frames" in found.sentence()


def test_more_memory_never_gives_less():
    sizes = [plan(free, (1080, 1920)) for free in (5, 6, 8, 11, 15, 22, 30, 46)]
    pixels = [found.height * found.width for found in sizes]
    assert pixels == sorted(pixels)


def test_a_short_clip_needs_no_long_window():
    found = plan(46, frames=20)
    assert (found.window, found.overlap) == (20, 19) and plan(46, frames=1).overlap == 0


def test_a_card_that_is_too_small():
    with pytest.raises(StereoDiffError, match="at the least", check=lambda error: error.code == "out_of_memory"):
        plan(2)


def test_smaller_rasters_come_to_an_end():
    found, pixels = plan(None, (1080, 1920)), []
    while found is not None:
        pixels.append(found.height * found.width)
        found = smaller_raster(found)
    assert pixels == sorted(set(pixels), reverse=True) and pixels[-1] == 64 * 64
