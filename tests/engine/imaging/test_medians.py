"""Medians of a stack, against sorting each pixel by itself."""

from __future__ import annotations

import numpy as np
import pytest

from stereodiff_blender.engine.imaging.medians import lower_median

HEIGHT, WIDTH = 9, 11


def stack(size: int, kind=np.float32, channels: tuple[int, ...] = ()) -> tuple[np.ndarray, np.ndarray]:
    """Values of random pictures, and how many of them show each pixel."""
    generator = np.random.default_rng(size)
    values = generator.integers(0, 200, (size, HEIGHT, WIDTH, *channels)).astype(kind)
    return values, generator.integers(1, size + 1, (HEIGHT, WIDTH)).astype(np.uint8)


@pytest.mark.parametrize("size", [1, 2, 3, 6, 7])
def test_of_the_smallest(size):
    values, count = stack(size)
    expected = np.take_along_axis(np.sort(values, axis=0), (count.astype(int)[None] - 1) // 2, axis=0)[0]
    assert np.array_equal(lower_median(values.copy(), count), expected)


@pytest.mark.parametrize("kind", [np.float32, np.uint16])
def test_of_those_that_show_a_pixel(kind):
    """What the others hold is put at the end, as larger than anything."""
    values, _ = stack(6, kind)
    seen = np.random.default_rng(1).random(values.shape) < 0.6
    found = lower_median(np.where(seen, values, kind(60_000)), seen.sum(axis=0))
    for row, column in np.argwhere(seen.any(axis=0)):
        shown = sorted(values[seen[:, row, column], row, column].tolist())
        assert found[row, column] == shown[(len(shown) - 1) // 2]
    assert found.dtype == kind and (found[~seen.any(axis=0)] == 60_000).all()


def test_channels_have_a_median_each():
    values, count = stack(5, np.uint16, channels=(3,))
    found = lower_median(values.copy(), count)
    assert found.shape == (HEIGHT, WIDTH, 3)
    for channel in range(3):
        assert np.array_equal(found[..., channel], lower_median(values[..., channel].copy(), count))


def test_of_nothing():
    found = lower_median(np.zeros((0, HEIGHT, WIDTH), np.float32), np.zeros((HEIGHT, WIDTH), int))
    assert found.shape == (HEIGHT, WIDTH) and not found.any()
