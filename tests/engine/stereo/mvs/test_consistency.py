"""Surfaces carried from frame to frame: what hides nearer things cannot be static, and what is behind what moves."""

from __future__ import annotations

import numpy as np
import pytest
from depth_scenes import ray_cast

from stereodiff_blender.engine.stereo.mvs.consistency import (
    cells_as_pixels,
    find_occlusion_conflicts,
    grid_shape,
    median_background,
    project_surfaces,
)

INDEX, COUNT = 12, 25
PATCH = (slice(30, 60), slice(100, 130))
"""On the wall of ray_cast's scene."""


@pytest.fixture(scope="module")
def shot():
    return ray_cast(COUNT)


def search(shot, change=None, sigma=0.002, index=INDEX):
    """change(index, disparity, sure): what is measured wrongly in each frame, in place."""
    disparity, deviation, projected = surfaces(shot, change, sigma, index)
    return find_occlusion_conflicts(disparity, deviation, projected)


def surfaces(shot, change=None, sigma=0.002, index=INDEX):
    """Disparity (H,W) and standard deviation of one frame, and what the others carry into it."""
    frames = []
    for k, depth in enumerate(shot.depth):
        disparity, sure = (1.0 / depth).astype(np.float32), np.ones(depth.shape, bool)
        if change is not None:
            change(k, disparity, sure)
        frames.append((disparity, np.full(depth.shape, sigma, np.float32), sure))
    projected = project_surfaces(index, lambda k, part: tuple(each[part, part] for each in frames[k]),
                                 shot.depth.shape[1:], len(frames), shot.cameras)
    return *frames[index][:2], projected


def test_a_static_scene_is_possible(shot):
    for index in (0, INDEX, COUNT - 1):
        assert search(shot, index=index).mean() < 0.003


def far_patch(index, disparity, sure):
    """Something travels along with the camera, so that it seems far away, in all frames."""
    disparity[PATCH] = 0.02


def test_what_travels_along_and_hides_the_wall_is_found(shot):
    def change(index, disparity, sure):
        left = 20 + 4 * index
        disparity[30:60, left:left + 30] = 0.02

    found = search(shot, change)
    truth = np.zeros(found.shape, bool)
    truth[30:60, 68:98] = True
    assert (found & truth).sum() / (found | truth).sum() > 0.8


def test_what_is_never_uncovered_is_not(shot):
    """The wall behind is seen by no other frame: nothing contradicts."""
    def change(index, disparity, sure):
        far_patch(index, disparity, sure)
        sure[:] = False

    assert not search(shot, change).any()


def test_what_is_too_uncertain_to_judge_is_not(shot):
    assert not search(shot, far_patch, sigma=np.inf).any()


def test_two_frames_that_err_are_not_believed(shot):
    def change(index, disparity, sure):
        if index in (INDEX - 5, INDEX + 5):
            disparity *= 2.0

    assert search(shot, change).mean() < 0.003


def test_a_thing_nearer_than_its_background_is_ordinary(shot):
    def change(index, disparity, sure):
        if index == INDEX:
            disparity[PATCH] = 0.5

    assert search(shot, change).mean() < 0.003


# --- The background ---------------------------------------------------------------------------------------------

def test_the_background_is_what_other_frames_measured(shot):
    _, _, projected = surfaces(shot)
    background = cells_as_pixels(median_background(projected), shot.depth.shape[1:])
    error = np.abs(background * shot.depth[INDEX] - 1)[background > 0]
    assert (background > 0).mean() > 0.95
    assert np.median(error) < 0.01


def test_the_background_is_known_behind_a_thing_that_moves_on(shot):
    """In no frame is anything measured where the thing is."""
    def change(index, disparity, sure):
        left = 20 + 8 * index
        disparity[30:60, left:left + 30] = 0.9
        sure[30:60, left:left + 30] = False

    _, _, projected = surfaces(shot, change)
    hidden = (slice(34, 56), slice(20 + 8 * INDEX + 4, 20 + 8 * INDEX + 26))
    background = cells_as_pixels(median_background(projected), shot.depth.shape[1:])[hidden]
    assert (background > 0).mean() > 0.9
    assert np.median(np.abs(background * shot.depth[INDEX][hidden] - 1)[background > 0]) < 0.01


def test_one_frame_that_errs_does_not_make_the_background(shot):
    def change(index, disparity, sure):
        if index == INDEX + 5:
            disparity *= 2.0

    _, _, projected = surfaces(shot, change)
    background = cells_as_pixels(median_background(projected), shot.depth.shape[1:])
    assert np.median(np.abs(background * shot.depth[INDEX] - 1)[background > 0]) < 0.01


def test_without_other_frames_there_is_no_background(shot):
    nothing = project_surfaces(0, lambda k, part: pytest.fail("asked for a frame that is not there"),
                               shot.depth.shape[1:], 1, shot.cameras)
    assert nothing.shape == (0, *grid_shape(*shot.depth.shape[1:]))
    assert not median_background(nothing).any()
