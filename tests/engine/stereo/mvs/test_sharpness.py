"""Which frames of a clip are blurred."""

from __future__ import annotations

import numpy as np
import pytest
from camera_scenes import texture
from known_depth import blurred, boards_shot

from stereodiff_blender.engine.stereo.mvs.sharpness import BLURRED, relative_sharpness


@pytest.fixture(scope="module")
def frames():
    return boards_shot(12, travel=1.2).frames


def test_frames_that_no_jerk_blurred_are_all_sharp(frames):
    assert relative_sharpness(frames).min() > 0.9


@pytest.mark.parametrize("angle_deg", [0, 40, 90, 150])
def test_a_blur_by_motion_is_seen_whichever_way_it_goes(frames, angle_deg):
    sharpness = relative_sharpness(blurred(frames, {5: 7, 9: 15}, angle_deg))
    assert set(np.flatnonzero(sharpness < BLURRED)) == {5, 9}
    assert sharpness[9] < sharpness[5]


def test_less_to_see_is_no_blur(frames):
    emptier = frames.copy()
    emptier[5, :, 60:] = 128
    assert relative_sharpness(emptier)[5] > BLURRED


def test_the_same_blur_counts_alike_on_any_raster():
    wide = np.stack([texture(3, 960)[:300]] * 5)
    wide[2] = blurred(wide, {2: 25}, 30)[2]
    half = np.stack([frame[::2, ::2] for frame in wide])
    assert relative_sharpness(wide)[2] < BLURRED and relative_sharpness(half)[2] < BLURRED


@pytest.mark.parametrize("shape", [(3, 1, 1, 3), (3, 1, 40, 3), (2, 40, 1, 3), (4, 30, 2000, 3)])
def test_frames_without_anything_in_them_are_sharp(shape):
    assert np.array_equal(relative_sharpness(np.full(shape, 90, np.uint8)), np.ones(shape[0]))
