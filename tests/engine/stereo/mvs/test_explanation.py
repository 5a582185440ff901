"""What a static scene explains and what it does not."""

from __future__ import annotations

import numpy as np
import pytest
from known_depth import HEIGHT, WIDTH, blurred, boards_shot

from stereodiff_blender.engine.imaging.warp import warp_between
from stereodiff_blender.engine.stereo.mvs.explanation import StaticScene, scene_features
from stereodiff_blender.engine.stereo.mvs.sources import depth_limits

SQUARE = (60, 50)
"""Height and width of the patch that camera_scenes pastes over its boards."""
EVERYWHERE = np.ones((HEIGHT, WIDTH), bool)
OTHERS = (1, 3, 5, 7)


def place_of_square(index):
    return 20 + 5 * index, 20 + 2 * index


def static_cost(shot, frames=None, asked=EVERYWHERE, others=OTHERS):
    """Of frame 4, with surroundings that say nothing."""
    features = scene_features(shot.frames if frames is None else frames)
    scene = StaticScene(4, [(j, warp_between(shot.cameras, 4, j)) for j in others], features,
                        depth_limits(shot.cameras))
    return scene.static_cost(asked, np.full((HEIGHT, WIDTH), 0.1, np.float32))


@pytest.fixture(scope="module")
def still():
    return boards_shot(9, travel=0.6)


def test_what_stands_still_is_explained_and_what_moves_is_not(still):
    x, y = place_of_square(4)
    square = (slice(y + 6, y + SQUARE[0] - 6), slice(x + 6, x + SQUARE[1] - 6))
    moving = static_cost(boards_shot(9, travel=0.6, moving=place_of_square))
    static = static_cost(still)
    assert moving.dtype == np.float32 and moving.shape == (HEIGHT, WIDTH)
    assert np.median(static[4:-4, 8:-8]) < 0.4 and np.percentile(static[4:-4, 8:-8], 90) < 0.7
    assert np.percentile(moving[square], 10) > 0.8


@pytest.mark.parametrize("share", [0.25, 0.15])
def test_nor_in_the_dark_where_any_depth_looks_alike(still, share):
    x, y = place_of_square(4)
    square = (slice(y + 6, y + SQUARE[0] - 6), slice(x + 6, x + SQUARE[1] - 6))
    moving = boards_shot(9, travel=0.6, moving=place_of_square)
    assert np.percentile(static_cost(moving, (share * moving.frames).astype(np.uint8))[square], 10) > 0.8
    assert np.median(static_cost(still, (share * still.frames).astype(np.uint8))[4:-4, 8:-8]) < 0.4


def test_an_even_thing_is_explained_by_anything(still):
    frames = still.frames.copy()
    for index, frame in enumerate(frames):
        x, y = place_of_square(index)
        frame[y:y + SQUARE[0], x:x + SQUARE[1]] = 90
    x, y = place_of_square(4)
    assert static_cost(still, frames)[y + 20:y + 40, x + 15:x + 35].max() < 0.1


def test_what_no_other_frame_shows_is_no_sign(still):
    turned_away = still.cameras.camera_to_world.copy()
    turned_away[list(OTHERS), :3, :3] = np.diag([-1.0, 1.0, -1.0])
    cameras = type(still.cameras)(**{**vars(still.cameras), "camera_to_world": turned_away})
    assert not static_cost(type(still)(still.frames, still.depth, cameras)).any()


def test_only_what_is_asked_is_answered(still):
    asked = np.zeros((HEIGHT, WIDTH), bool)
    assert not static_cost(still, asked=asked).any()
    asked[40:41, 60:61] = True
    answered = static_cost(still, asked=asked)
    assert answered[40, 60] > 0 and (answered > 0).sum() == 1
    assert not static_cost(still, others=()).any()


def test_one_blurred_frame_among_others_explains_as_well(still):
    frames = blurred(still.frames, {3: 11})
    assert np.median(static_cost(still, frames)[4:-4, 8:-8]) < 0.5
