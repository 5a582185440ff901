"""Depth and motion where a jerk of the camera blurred some frames."""

from __future__ import annotations

import numpy as np
import pytest
from known_depth import HEIGHT, WIDTH, blurred, boards_shot

from stereodiff_blender.engine.solution import TRUSTED
from stereodiff_blender.engine.stereo.mvs.depth import estimate_depth_maps
from stereodiff_blender.engine.storage import RunContext

COUNT = 14
BLURRED = {5: 17, 9: 17}
"""Frames, and how far the camera went in each, pixels."""
SQUARE = (60, 50)
"""Height and width of the patch that camera_scenes pastes over its boards."""

pytestmark = pytest.mark.slow


def measure(shot, lengths_px):
    return estimate_depth_maps(blurred(shot.frames, lengths_px, 70.0), shot.cameras, context=RunContext())


def relative_error(shot, result):
    return np.abs(result.depth / shot.depth - 1.0)


@pytest.fixture(scope="module")
def shot():
    return boards_shot(COUNT, travel=1.2)


@pytest.fixture(scope="module")
def result(shot):
    return measure(shot, BLURRED)


def test_nothing_moves_in_a_static_scene(result):
    assert (result.motion_mask > 0).mean(axis=(1, 2)).max() < 0.003


def test_nothing_pops_near(shot, result):
    sharp = measure(shot, {})
    near, near_when_sharp = ((each.depth < 0.75 * shot.depth).mean(axis=(1, 2)) for each in (result, sharp))
    assert (near < near_when_sharp + 0.015).all()


def test_blurred_frames_have_the_depth_of_those_around(shot, result):
    error = np.nanmean(relative_error(shot, result), axis=(1, 2))
    assert (error[list(BLURRED)] < 0.06).all()
    trusted = result.confidence > TRUSTED
    for index in BLURRED:
        assert (relative_error(shot, result)[index][trusted[index]] > 0.1).mean() < 0.14
        assert trusted[index].mean() > 0.8, "even surfaces are not vouched for in any frame"


def test_sharp_frames_are_as_if_there_were_no_blurred_ones(shot, result):
    error, when_sharp = (np.delete(np.nanmean(relative_error(shot, each), axis=(1, 2)), list(BLURRED))
                         for each in (result, measure(shot, {})))
    assert error.mean() < 1.05 * when_sharp.mean()


def place_of_square(index):
    """Against the way the picture slides, and off its lines."""
    return 20 + 5 * index, 20 + 2 * index


def test_a_thing_that_moves_is_still_found_in_them():
    moving = boards_shot(COUNT, travel=1.2, moving=place_of_square)
    mask = measure(moving, BLURRED).motion_mask > 0
    for index in BLURRED:
        x, y = place_of_square(index)
        truth = np.zeros((HEIGHT, WIDTH), bool)
        truth[y:y + SQUARE[0], x:x + SQUARE[1]] = True
        assert (mask[index] & truth).sum() > 0.65 * (mask[index] | truth).sum(), index
