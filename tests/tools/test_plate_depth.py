"""What the scorer of depth at the plate's size says of depth whose errors are known because they were put in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from plate_depth import plate_scores
from truth import Truth

WIDTH, HEIGHT, FOCAL_PX, COUNT = 192, 108, 160.0, 4
PLATE_SIZE = 1920, 1080
NEAR, FAR = 4.0, 8.0
BOX, POST = slice(20, 80), slice(130, 132)
"""Columns of the truth's raster: 600 and 20 pixels of the plate wide."""


def depth_of(index: int) -> np.ndarray:
    """(h,w): a box and a post before a wall, which slide by one pixel of the truth a frame, and the wall by half."""
    depth = np.full((HEIGHT, WIDTH), FAR)
    for columns in (BOX, POST):
        depth[30:, columns.start - index:columns.stop - index] = NEAR
    return depth


@pytest.fixture(scope="module")
def truth() -> Truth:
    poses = np.tile(np.eye(4), (COUNT, 1, 1))
    poses[:, 0, 3] = np.arange(COUNT) * NEAR / FOCAL_PX
    scale = PLATE_SIZE[0] / WIDTH
    intrinsics = np.tile(scale * np.array([FOCAL_PX, FOCAL_PX, WIDTH / 2, HEIGHT / 2]), (COUNT, 1))
    return Truth(poses, intrinsics, PLATE_SIZE, depth_of, lambda index: np.zeros((HEIGHT, WIDTH), bool))


def test_the_truth_itself_has_no_error_in_any_unit(truth):
    found = plate_scores(lambda index: 0.5 * depth_of(index), COUNT, truth)
    assert found.size == (WIDTH, HEIGHT)
    assert (found.static, found.edges, found.inside, found.changing) == pytest.approx((0, 0, 0, 0))
    assert found.posts == 1.0


def test_a_lost_post_is_counted_at_the_post_and_at_its_edges(truth):
    def without_post(index: int) -> np.ndarray:
        depth = depth_of(index)
        depth[:, 120:] = FAR
        return depth

    found = plate_scores(without_post, COUNT, truth)
    assert found.posts == 0.0
    assert found.inside == 0.0
    assert found.edges > found.static > 0.0


def test_an_edge_that_jumps_changes_sides(truth):
    def fat(index: int, by: int) -> np.ndarray:
        depth = depth_of(index)
        depth[30:, BOX.stop - index:BOX.stop - index + by] = NEAR
        return depth

    steady = plate_scores(lambda index: fat(index, 2), COUNT, truth)
    jumping = plate_scores(lambda index: fat(index, 2 * (index % 2)), COUNT, truth)
    assert steady.edges > jumping.edges > 0.0
    # What a steady one hides of the wall comes out from behind it as the camera goes by.
    assert jumping.changing > 1.2 * steady.changing > 0.0


def test_what_moves_is_not_compared(truth):
    moving = replace(truth, dynamic=lambda index: depth_of(index) == NEAR)
    found = plate_scores(lambda index: np.where(depth_of(index) == NEAR, 1.0, FAR), COUNT, moving)
    assert (found.static, found.edges) == (0.0, 0.0)


def test_depth_of_any_size_is_looked_up(truth):
    finer = plate_scores(lambda index: np.repeat(np.repeat(depth_of(index), 3, 0), 3, 1), COUNT, truth)
    assert finer.size == (3 * WIDTH, 3 * HEIGHT)
    assert finer.static == 0.0


def test_a_truth_without_depth_is_refused(truth):
    with pytest.raises(ValueError, match="no depth"):
        plate_scores(depth_of, COUNT, replace(truth, depth=None))
