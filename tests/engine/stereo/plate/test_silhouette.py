"""Depth within a matte and beside it, each carried over the outline."""

from __future__ import annotations

import numpy as np

from stereodiff_blender.engine.stereo.plate import depth_beside, depth_within

NEAR, FAR, BETWEEN = 2.0, 8.0, 4.0


def scene() -> tuple[np.ndarray, np.ndarray]:
    """A near block before a wall, its depth wrong at its outline, and a matte of it with a pole two pixels wide."""
    depth, matte = np.full((40, 60), FAR, np.float32), np.zeros((40, 60), bool)
    matte[10:30, 20:40] = matte[4:10, 30:32] = True
    depth[9:31, 19:41] = BETWEEN
    depth[11:29, 21:39] = NEAR
    depth[4:9, 30:32] = 3.0
    return depth, matte


def test_beside_a_matte_nothing_of_it_is_left():
    depth, matte = scene()
    found = depth_beside(depth, matte)
    assert (found[matte] == FAR).all()
    np.testing.assert_array_equal(found[~matte], depth[~matte])


def test_within_a_matte_its_depth_goes_on_beyond_the_outline():
    depth, matte = scene()
    found = depth_within(depth, matte)
    assert (found[10:30, 20:40][5:] == NEAR).all() and (found[25:, :] == NEAR).all()


def test_a_thin_part_keeps_its_own_depth():
    depth, matte = scene()
    found = depth_within(depth, matte)
    assert (found[4:8, 28:34] == 3.0).all()


def test_a_matte_that_marks_nothing_or_all_changes_nothing():
    depth, _ = scene()
    for matte in (np.zeros(depth.shape, bool), np.ones(depth.shape, bool)):
        np.testing.assert_array_equal(depth_beside(depth, matte), depth)
    np.testing.assert_array_equal(depth_within(depth, np.zeros(depth.shape, bool)), depth)
