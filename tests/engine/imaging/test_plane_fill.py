"""Planes through what is known, along the picture's surfaces."""

from __future__ import annotations

import numpy as np
import pytest

from stereodiff_blender.engine.imaging import fill_along_planes

HEIGHT, WIDTH = 120, 200
ROWS, COLUMNS = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
EVEN = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
SLOPE = 1.0 + 0.004 * COLUMNS + 0.002 * ROWS


def test_a_plane_goes_on_beyond_what_is_known_of_it():
    weights = ((COLUMNS > 20) & (COLUMNS < 110)).astype(np.float32)
    found = fill_along_planes(EVEN, np.where(weights > 0, SLOPE, 9.0).astype(np.float32), weights)
    inner = (slice(8, -8), slice(8, 180))
    assert np.abs(found / SLOPE - 1)[inner].max() < 0.07


def test_a_small_patch_tells_no_slope():
    weights = ((np.abs(COLUMNS - 100) < 5) & (np.abs(ROWS - 60) < 5)).astype(np.float32)
    steep = (1.0 + 0.05 * (COLUMNS - 100)).astype(np.float32)
    found = fill_along_planes(EVEN, steep, weights)
    assert np.abs(found - 1.0).max() < 0.5 < np.abs(steep - 1.0).max()


def test_no_plane_crosses_an_edge_of_the_picture():
    frame, weights = EVEN.copy(), np.ones((HEIGHT, WIDTH), np.float32)
    frame[:, 100:] = 20
    values = np.where(COLUMNS < 100, 1.0, 3.0).astype(np.float32)
    weights[40:80] = 0
    found = fill_along_planes(frame, values, weights)
    assert np.abs(found[50:70, :92] / 1.0 - 1).max() < 0.05 and np.abs(found[50:70, 108:] / 3.0 - 1).max() < 0.05


def test_a_few_wrong_values_do_not_bend_it():
    generator = np.random.default_rng(2)
    known = generator.random((HEIGHT, WIDTH)) < 0.2
    wrong = known & (generator.random((HEIGHT, WIDTH)) < 0.1)
    values = np.where(wrong, 0.2, SLOPE).astype(np.float32)
    found = fill_along_planes(EVEN, values, known.astype(np.float32))
    assert np.abs(found / SLOPE - 1)[10:-10, 10:-10].max() < 0.1


@pytest.mark.parametrize("known", [0.0, 1e-9])
def test_where_nothing_is_known_values_are_finite(known):
    found = fill_along_planes(EVEN[:5, :3], SLOPE[:5, :3], np.full((5, 3), known, np.float32))
    assert found.shape == (5, 3) and np.isfinite(found).all()
