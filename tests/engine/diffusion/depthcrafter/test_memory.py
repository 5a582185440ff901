"""What memory allows: the plan before the run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stereodiff_blender.engine.contract import StereoDiffError
from stereodiff_blender.engine.diffusion.depthcrafter.memory import (
    LEAST_WINDOW,
    needed_bytes,
    plan_memory,
    smaller_raster,
)

GIB = 2**30
WEIGHTS = {"unet": int(2.84 * GIB), "vae": int(0.18 * GIB), "image_encoder": int(1.18 * GIB)}


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


@pytest.mark.parametrize("free_gib", [6, 9, 12, 16, 20, 24, 30])
@pytest.mark.parametrize("frames", [20, 60, 300])
def test_networks_take_turns_before_chunks_shrink(free_gib, frames):
    """A smaller chunk decodes more halo for every frame it keeps, turns cost three moves a clip."""
    found = plan(free_gib, (1080, 1920), frames)
    turns = replace(found, offload=True)
    for chunk in range(found.decode_chunk * 2, 9, 2):
        larger = replace(turns, decode_chunk=chunk, encode_chunk=chunk)
        assert needed_bytes(larger, WEIGHTS) > 0.9 * free_gib * GIB


def test_what_is_reduced_first():
    """Turns, then chunks, then the window, and the raster last."""
    full, size = plan(80, (1080, 1920)), (576, 1024)
    some = [plan(free, (1080, 1920)) for free in (31, 24, 14.5)]
    assert [found.offload for found in (full, some[0])] == [False, True] and some[0].window == full.window == 110
    assert all((found.height, found.width) == size for found in (full, *some))
    assert 110 > some[1].window > some[2].window >= LEAST_WINDOW
    least = plan(7.2, (1080, 1920))
    assert least.window == LEAST_WINDOW and LEAST_WINDOW <= least.height < size[0]


def test_bytes_are_counted_for_what_is_at_work():
    """Turns: the largest of the networks with what it holds. Otherwise all weights, and the most that one holds."""
    whole = plan(80, (1080, 1920))
    heavier = WEIGHTS | {"image_encoder": WEIGHTS["image_encoder"] + GIB}
    assert needed_bytes(whole, heavier) - needed_bytes(whole, WEIGHTS) == GIB
    turns = replace(whole, offload=True)
    assert needed_bytes(turns, heavier) == needed_bytes(turns, WEIGHTS) < needed_bytes(whole, WEIGHTS)
    shorter = replace(turns, window=turns.window // 2)
    assert needed_bytes(shorter, WEIGHTS) < needed_bytes(turns, WEIGHTS)


def test_the_sentence_says_turns_and_no_graphics_memory_without_a_card():
    assert "graphics memory" not in plan(None).sentence() and "turns" not in plan(None).sentence()
    small = plan(7.2)
    assert "turns" in small.sentence() and f"{small.needed_bytes / GIB:.1f} GB of graphics memory" in small.sentence()
