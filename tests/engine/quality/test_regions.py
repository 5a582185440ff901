"""Where in the picture, and in which frames, depth is guessed: on confidence that is made up."""

from __future__ import annotations

import numpy as np
import pytest

from stereodiff_blender.engine.contract import REGIONS, GuessedRegion
from stereodiff_blender.engine.quality.regions import MOST_TOLD, guessed_regions
from stereodiff_blender.engine.solution import StereoResult

COUNT, HEIGHT, WIDTH = 40, 48, 80
FIRST = 7
MEASURED, GUESS = 0.9, 0.1
BANDS = {"left": (slice(None), slice(0, 10)), "right": (slice(None), slice(70, 80)), "top": (slice(0, 6), slice(None)),
         "bottom": (slice(42, 48), slice(None)), "middle": (slice(6, 42), slice(10, 70))}


@pytest.fixture
def stereo() -> StereoResult:
    """All of it measured and still, nothing of it sky."""
    depth = np.full((COUNT, HEIGHT, WIDTH), 2.0, np.float32)
    return StereoResult(None, depth, np.full_like(depth, MEASURED), np.zeros(depth.shape, np.uint8), far_limit=30.0)


def told(stereo: StereoResult) -> list[tuple[str, int, int]]:
    return [(one.region, one.first_frame, one.last_frame) for one in guessed_regions(stereo, FIRST)]


def test_of_what_was_measured_nothing_is_said(stereo):
    assert guessed_regions(stereo, FIRST) == ()


@pytest.mark.parametrize("region", REGIONS)
def test_a_region_is_told_with_its_run_of_frames(stereo, region):
    for index in range(3, 11):
        stereo.confidence[(index, *BANDS[region])] = GUESS
    assert guessed_regions(stereo, FIRST) == (GuessedRegion(region, FIRST + 3, FIRST + 10, 1.0),)


def test_a_region_that_is_guessed_in_less_than_half_is_not_told(stereo):
    stereo.confidence[:, :23, :10] = GUESS
    assert told(stereo) == []
    stereo.confidence[:, :26, :10] = GUESS
    assert told(stereo) == [("left", FIRST, FIRST + COUNT - 1)]


def test_runs_that_are_hardly_apart_are_one(stereo):
    stereo.confidence[[0, 1, 4, 5, 12, 39], :, 70:] = GUESS
    assert told(stereo) == [("right", FIRST, FIRST + 5), ("right", FIRST + 12, FIRST + 12),
                            ("right", FIRST + 39, FIRST + 39)]


def test_what_is_filled_from_beside_it_is_no_guess(stereo):
    stereo.confidence[:, :, :10] = 0.3
    assert told(stereo) == []


def test_the_sky_and_what_moves_do_not_count(stereo):
    """A top edge of which all but a corner is sky or a mover is judged by that corner."""
    stereo.confidence[:, :6] = GUESS
    stereo.depth[:, :6, :40] = 30.0
    stereo.motion_mask[:, :6, 40:70] = 1
    stereo.confidence[:, :6, 70:] = MEASURED
    assert told(stereo) == []
    stereo.confidence[:, :6, 70:] = GUESS
    assert told(stereo) == [("top", FIRST, FIRST + COUNT - 1)]


def test_nothing_is_said_of_a_region_that_is_all_sky(stereo):
    stereo.depth[:, :6], stereo.confidence[:, :6] = 30.0, GUESS
    assert told(stereo) == []


def test_frames_without_a_camera_are_guessed_as_a_whole(stereo):
    stereo.confidence[20:24] = 0.0
    assert told(stereo) == [(region, FIRST + 20, FIRST + 23) for region in REGIONS]


def test_of_many_runs_the_longest_are_told(stereo):
    stereo.confidence[::4] = GUESS
    stereo.confidence[:8, :, :10] = GUESS
    found = told(stereo)
    assert len(found) == MOST_TOLD and ("left", FIRST, FIRST + 8) in found
