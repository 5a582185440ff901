"""Surfaces keep their place from frame to frame, and their edges."""

from __future__ import annotations

import numpy as np
import pytest
from depth_scenes import HEIGHT, WIDTH, ray_cast

from stereodiff_blender.engine.stereo.plate.steadying import steadied

INDEX, SOURCES = 4, (1, 2, 3, 5, 6, 7)
SPREAD = 0.01


@pytest.fixture(scope="module")
def shot():
    return ray_cast(9)


def measured(shot, index: int) -> np.ndarray:
    """Disparity with errors that are another frame's own."""
    return (np.random.default_rng(index).normal(1.0, SPREAD, (HEIGHT, WIDTH)) / shot.depth[index]).astype(np.float32)


def steady(shot, fixed: np.ndarray) -> np.ndarray:
    return steadied(measured(shot, INDEX), fixed, [measured(shot, k) for k in SOURCES], shot.cameras, INDEX, SOURCES)


def test_errors_of_single_frames_are_averaged_out(shot):
    error = np.abs(steady(shot, np.zeros((HEIGHT, WIDTH), bool)) * shot.depth[INDEX] - 1.0)
    before = np.abs(measured(shot, INDEX) * shot.depth[INDEX] - 1.0)
    inside = (slice(10, -10), slice(20, -20))
    assert error[inside].mean() < 0.55 * before[inside].mean()  # of seven: .38, but fewer where some are hidden
    assert error.max() < 0.05  # nothing between two surfaces


def test_what_is_fixed_stays_as_it_is(shot):
    fixed = np.zeros((HEIGHT, WIDTH), bool)
    fixed[30:60, 40:90] = True
    found, before = steady(shot, fixed), measured(shot, INDEX)
    np.testing.assert_array_equal(found[fixed], before[fixed])
    assert (found[~fixed] != before[~fixed]).mean() > 0.9


def test_a_frame_that_says_nothing_changes_nothing(shot):
    nothing = [np.zeros((HEIGHT, WIDTH), np.float32)] * len(SOURCES)
    before = measured(shot, INDEX)
    found = steadied(before, np.zeros((HEIGHT, WIDTH), bool), nothing, shot.cameras, INDEX, SOURCES)
    np.testing.assert_array_equal(found, before)
