"""Which frames are matched with which, and what the solved points say about depth."""

from __future__ import annotations

import numpy as np
import pytest
from known_depth import FOCAL_PX, HEIGHT, WIDTH, boards_shot, known_cameras, without_points

from stereodiff_blender.engine.stereo.mvs.sources import (
    MAX_OFFSET,
    PARALLAX_TARGETS,
    depth_limits,
    interpolated_disparity,
    near_sources,
    point_depths,
    select_sources,
)

DISTANCE = 5.0


def wall_cameras(count, step_px, *, turn_deg=0.0):
    """Cameras sliding past a wall, which moves by step_px from frame to frame, and turning."""
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, 0, 3] = np.arange(count) * step_px * DISTANCE / FOCAL_PX
    angle = np.radians(turn_deg * np.arange(count))
    poses[:, 0, 0] = poses[:, 2, 2] = np.cos(angle)
    poses[:, 0, 2], poses[:, 2, 0] = np.sin(angle), -np.sin(angle)
    depth = np.full((count, HEIGHT, WIDTH), DISTANCE)
    return known_cameras(poses, np.tile((FOCAL_PX, FOCAL_PX, WIDTH / 2, HEIGHT / 2), (count, 1)), depth)


def offsets_wanted(step_px):
    return {min(round(target * WIDTH / step_px), MAX_OFFSET) for target in PARALLAX_TARGETS}


@pytest.mark.slow
@pytest.mark.parametrize("step_px", [0.2, 0.6])
def test_sources_are_as_far_apart_as_their_parallax_wants(step_px):
    sources = select_sources(wall_cameras(101, step_px), HEIGHT, WIDTH)
    offsets = offsets_wanted(step_px)
    assert len(offsets) == 4
    assert sources[50] == tuple(sorted(50 + sign * offset for offset in offsets for sign in (-1, 1)))


@pytest.mark.slow
def test_near_sources_are_all_but_the_longest():
    cameras = wall_cameras(101, 0.6)
    sources = select_sources(cameras, HEIGHT, WIDTH)[50]
    near = near_sources(cameras, 50, sources, HEIGHT, WIDTH)
    assert near == [False] + [True] * 6 + [False]


def test_turning_is_no_parallax():
    still = select_sources(wall_cameras(25, 0.6), HEIGHT, WIDTH)
    turning = select_sources(wall_cameras(25, 0.6, turn_deg=0.1), HEIGHT, WIDTH)
    assert turning[12] == still[12]


def test_sources_are_mutual_ascending_and_never_the_frame_itself():
    sources = select_sources(boards_shot(9).cameras, HEIGHT, WIDTH)
    assert len(sources) == 9
    for i, chosen in enumerate(sources):
        assert chosen and list(chosen) == sorted(set(chosen)) and i not in chosen and set(chosen) <= set(range(9))
        later = [j for j in chosen if j > i]
        assert all(i in sources[j] for j in later)
    assert all(min(chosen) < i for i, chosen in enumerate(sources) if i > 0)


def test_frames_that_share_too_little_are_not_matched():
    # The parallax wants up to 20 frames between, but each turns the picture by a twelfth of its width.
    sources = select_sources(wall_cameras(9, 0.3, turn_deg=5.0), HEIGHT, WIDTH)
    assert 1 < max(abs(j - i) for i, chosen in enumerate(sources) for j in chosen) <= 3


def test_a_pair_serves_both_frames_on_an_uneven_path():
    cameras = wall_cameras(30, 1.0)
    steps = np.random.default_rng(0).choice([0.1, 0.5, 3.0], 30)
    cameras.camera_to_world[:, 0, 3] = np.cumsum(steps) * DISTANCE / FOCAL_PX
    cameras = known_cameras(cameras.camera_to_world, cameras.intrinsics, np.full((30, HEIGHT, WIDTH), DISTANCE))
    sources = select_sources(cameras, HEIGHT, WIDTH)
    assert all(i in sources[j] for i, chosen in enumerate(sources) for j in chosen if j > i)


@pytest.mark.parametrize("count", [2, 3])
def test_without_points_neighbors_are_matched(count):
    cameras = without_points(wall_cameras(count, 1.0).camera_to_world, wall_cameras(count, 1.0).intrinsics)
    assert select_sources(cameras, HEIGHT, WIDTH) == {2: [(1,), (0,)], 3: [(1,), (0, 2), (1,)]}[count]


def sharp_but(count, *blurred):
    sharpness = np.ones(count)
    sharpness[list(blurred)] = 0.6
    return sharpness


def test_blurred_frames_are_passed_over_and_have_sharp_sources():
    cameras = wall_cameras(25, 0.6)
    unmoved = select_sources(cameras, HEIGHT, WIDTH)
    sources = select_sources(cameras, HEIGHT, WIDTH, sharp_but(25, 12, 13))
    assert any({12, 13} & set(chosen) for chosen in unmoved)
    assert not any({12, 13} & set(chosen) for chosen in sources)
    assert all(len(sources[k]) >= 3 and min(sources[k]) < k < max(sources[k]) for k in (12, 13))
    assert select_sources(cameras, HEIGHT, WIDTH, np.ones(25)) == unmoved


def test_blurred_frames_are_matched_with_where_there_are_no_others():
    # In each direction a frame sees the same as its three neighbors, no more.
    cameras = wall_cameras(9, 0.3, turn_deg=5.0)
    sources = select_sources(cameras, HEIGHT, WIDTH, sharp_but(9, *range(9)))
    assert all(sources)
    assert {1, 2, 3} & set(select_sources(cameras, HEIGHT, WIDTH, sharp_but(9, 1, 2, 3))[0])


def test_depth_limits_are_percentiles_of_the_points():
    shot = boards_shot(3)
    limits = depth_limits(shot.cameras)
    near, middle, far = np.nanpercentile(shot.depth[:, 3::6, 3::6], (1, 50, 99))
    assert (limits.near, limits.middle, limits.far) == pytest.approx((near, middle, far), rel=1e-6)
    assert limits.disparity == pytest.approx((0.3 / far, 3 / near))


def test_depth_limits_without_points_are_of_order_one():
    low, high = depth_limits(without_points(np.tile(np.eye(4), (2, 1, 1)), np.ones((2, 4)))).disparity
    assert 0 < low < 1 < high < 1000


def test_points_behind_the_camera_are_left_out():
    cameras = wall_cameras(2, 1.0)
    cameras.points[::2, 2] *= -1
    pixels, depth = point_depths(cameras, 0)
    assert len(depth) == len(pixels) == len(cameras.observations[0][0]) // 2
    assert np.allclose(depth, DISTANCE)


def test_first_guess_is_near_the_truth_and_within_the_limits():
    shot = boards_shot(2)
    limits = depth_limits(shot.cameras)
    guess = interpolated_disparity(shot.cameras, 0, HEIGHT, WIDTH, limits)
    assert guess.shape == (HEIGHT, WIDTH) and guess.dtype == np.float32
    assert limits.disparity[0] <= guess.min() and guess.max() <= limits.disparity[1]
    assert np.nanmedian(np.abs(guess * shot.depth[0] - 1)) < 0.02


def test_first_guess_without_points_is_the_middle():
    cameras = without_points(np.tile(np.eye(4), (2, 1, 1)), np.ones((2, 4)))
    limits = depth_limits(cameras)
    assert np.allclose(interpolated_disparity(cameras, 0, 12, 16, limits), 1 / limits.middle)
