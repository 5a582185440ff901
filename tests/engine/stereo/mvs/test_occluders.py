"""Things that move as something far behind them would: told by what they hide."""

from __future__ import annotations

import numpy as np
import pytest
from depth_scenes import box_that_seems_far, ray_cast
from known_depth import known_cameras

from stereodiff_blender.engine.stereo.dynamic import coarse_flow
from stereodiff_blender.engine.stereo.mvs.depth import estimate_depth_maps
from stereodiff_blender.engine.stereo.mvs.occluders import mark_occluders
from stereodiff_blender.engine.stereo.mvs.raw_depth import TRUSTED_STATIC, RawDepth
from stereodiff_blender.engine.storage import RunContext, Scratch

TIMES = 3.0
MERGED = 11
"""The first of two frames in which the box seems to be as far as the wall."""


@pytest.fixture(scope="module")
def shot():
    return box_that_seems_far(TIMES)


def raw_of(shot, seems=TIMES, sigma=0.005):
    """What the first pass leaves of exact matches: the box seems so many times as far as the wall."""
    raw = RawDepth.allocate(Scratch().allocate, "survey", shot.depth.shape)
    wall = 7.0 * seems
    raw.disparity[:] = 1.0 / np.where(shot.motion_mask > 0, wall, shot.depth)
    raw.uncertainty[:], raw.status[:] = sigma, TRUSTED_STATIC
    for index in range(1, len(shot.depth)):
        before, now = (np.argwhere(shot.motion_mask[k]).mean(axis=0)[::-1] for k in (index - 1, index))
        field = np.zeros((*shot.depth.shape[1:], 2), np.float32)
        field[:] = before - now
        raw.flow_back[index] = coarse_flow(field)
    return raw


def shares(shot, marked):
    """Of the box, and of what stands still, that is marked."""
    moves = shot.motion_mask > 0
    return (marked > 0)[moves].mean(), (marked > 0)[~moves].mean()


@pytest.mark.slow
@pytest.mark.parametrize("times", [2.0, 5.0])
def test_a_box_that_seems_to_be_behind_the_wall_moves_and_stands_before_it(times):
    shot = box_that_seems_far(times)
    still = np.where(shot.motion_mask > 0, np.nan, shot.depth)
    cameras = known_cameras(shot.camera_to_world, shot.intrinsics, still)
    result = estimate_depth_maps(shot.frames, cameras, context=RunContext())
    inside, outside = shares(shot, result.motion_mask)
    assert inside > 0.8 and outside < 0.005
    error = np.abs(result.depth / shot.depth - 1)[shot.motion_mask > 0]
    assert error.mean() < 0.3 and np.median(error) < 0.05


def test_a_thing_is_marked_as_a_whole_though_only_its_sides_are_uncovered(shot):
    raw = raw_of(shot)
    mark_occluders(shot.cameras, raw)
    inside, outside = shares(shot, raw.mask)
    assert inside > 0.9 and outside < 0.03


def test_a_static_scene_has_none():
    still = ray_cast(25)
    raw = RawDepth.allocate(Scratch().allocate, "survey", still.depth.shape)
    raw.disparity[:], raw.uncertainty[:], raw.status[:] = 1.0 / still.depth, 0.005, TRUSTED_STATIC
    mark_occluders(still.cameras, raw)
    assert not raw.mask.any()


def test_what_is_measured_roughly_does_not_make_what_is_behind_it_move():
    """As bricks behind a pane: some frames measure what the glass reflects, far too near."""
    still = ray_cast(25)
    raw = RawDepth.allocate(Scratch().allocate, "survey", still.depth.shape)
    raw.disparity[:], raw.uncertainty[:], raw.status[:] = 1.0 / still.depth, 0.005, TRUSTED_STATIC
    height, width = still.depth.shape[1:]
    pane = (slice(5, 16), slice(height // 4, height // 2), slice(width // 4, width // 2))
    raw.disparity[pane] *= 1.4
    raw.uncertainty[pane] = 0.04
    mark_occluders(still.cameras, raw)
    assert not raw.mask.any()


def test_what_is_too_uncertain_to_judge_is_not_marked(shot):
    raw = raw_of(shot, sigma=10.0)
    mark_occluders(shot.cameras, raw)
    assert not raw.mask.any()


def test_a_thing_that_is_not_told_for_a_frame_or_two_is_marked_all_along(shot):
    raw = raw_of(shot)
    merged = slice(MERGED, MERGED + 2)
    raw.disparity[merged][shot.motion_mask[merged] > 0] = 1.0 / 7.0
    mark_occluders(shot.cameras, raw)
    assert (raw.mask[merged] > 0)[shot.motion_mask[merged] > 0].mean() > 0.8


def test_the_background_is_known_without_it(shot):
    raw = raw_of(shot)
    mark_occluders(shot.cameras, raw)
    behind = raw.background[shot.motion_mask[:, 2::4, 2::4] > 0]
    assert (behind > 1.0 / (0.9 * 7.0 * TIMES)).sum() > 0.95 * (behind > 0).sum() > 0


def test_the_shadow_of_what_is_known_to_move_is_no_thing_by_itself(shot):
    """All but the lowest strip of the box was found by the vote."""
    raw = raw_of(shot)
    for mask, moves in zip(raw.mask, shot.motion_mask, strict=True):
        bottom = np.flatnonzero(moves.any(axis=1))[-1]
        mask[:bottom - 24] = moves[:bottom - 24]
    before = raw.mask.copy()
    mark_occluders(shot.cameras, raw)
    assert np.array_equal(raw.mask, before)
