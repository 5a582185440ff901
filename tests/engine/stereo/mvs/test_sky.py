"""Plain sky told from plain walls and ceilings."""

from __future__ import annotations

import numpy as np
import pytest
from camera_scenes import texture

from stereodiff_blender.engine.stereo.mvs.filtering import texture_of
from stereodiff_blender.engine.stereo.mvs.sky import SkyCandidate, find_plain_sky, is_sky

HEIGHT, WIDTH = 120, 200
BLUE = (120, 160, 205)
NOWHERE = np.empty((0, 2))


def picture(top=BLUE, bottom_level=0.5, split=50, noise=0.0):
    """An even top of one color over textured things: (frame, truth of the top)."""
    frame = (bottom_level * texture(4)[:HEIGHT, :WIDTH]).astype(np.uint8)
    textureless = np.zeros((HEIGHT, WIDTH), bool)
    textureless[:split] = True
    textureless[split - 20:split, 60:90] = False                 # a house
    frame[textureless] = top
    grain = np.random.default_rng(0).normal(0, noise, frame.shape)
    return np.clip(frame + grain, 0, 255).astype(np.uint8), textureless


def found(frame, points=NOWHERE):
    return find_plain_sky(frame, texture_of(frame), points)


@pytest.mark.parametrize("noise", [0.0, 1.5])
def test_clear_sky_is_found_to_its_outline(noise):
    frame, textureless = picture(noise=noise)
    region, candidate = found(frame)
    assert candidate.looks_like_sky and candidate.area == region.sum()
    assert (region & textureless).sum() / (region | textureless).sum() > 0.95


@pytest.mark.parametrize("color", [(235, 235, 235), (200, 190, 175), (160, 205, 120), (228, 232, 240)],
                         ids=["white", "cream", "green", "bluish white"])
def test_other_colors_are_no_sky(color):
    region, candidate = found(picture(color)[0])
    assert not region.any() and candidate == SkyCandidate(0, False)


def test_a_blue_wall_darker_than_the_room_is_no_sky():
    frame, _ = picture((60, 80, 110), bottom_level=1.0)
    assert not found(frame)[1].looks_like_sky


def test_a_wall_with_pictures_on_it_is_no_sky():
    frame, _ = picture()
    frame[8:22, 120:150] = 40
    assert not found(frame)[1].looks_like_sky


def test_a_wall_with_solved_points_on_it_is_no_sky():
    frame, textureless = picture()
    grid = np.stack(np.meshgrid(np.arange(5, WIDTH, 10), np.arange(5, HEIGHT, 10)), axis=-1).reshape(-1, 2) + 0.5
    inside = textureless[grid[:, 1].astype(int), grid[:, 0].astype(int)]
    assert not found(frame, grid)[1].looks_like_sky
    assert found(frame, grid[~inside])[1].looks_like_sky


def test_a_textured_top_is_no_candidate():
    frame, textureless = picture()
    clouds = texture(5)[:HEIGHT, :WIDTH, :1] // 3
    frame[textureless] = np.clip(frame + clouds.astype(int) - 40, 0, 255).astype(np.uint8)[textureless]
    assert found(frame)[1].area == 0


def test_blue_that_does_not_reach_the_top_is_no_candidate():
    assert found(picture()[0][::-1].copy())[1].area == 0


def test_small_patches_are_no_candidates():
    frame, _ = picture(split=0)
    frame[:10, 20:28] = BLUE
    assert found(frame)[1].area == 0


def test_points_outside_the_picture_are_ignored():
    frame, _ = picture()
    assert found(frame, np.array([[-3.0, 5.0], [1e4, 2.0]]))[1].looks_like_sky


@pytest.mark.parametrize("candidates, verdict", [
    ([], False),
    ([(0, False)] * 3, False),
    ([(100, True)] * 9 + [(100, False)], True),
    ([(100, True)] * 7 + [(100, False)] * 3, False),
    ([(1000, True), (10, False), (0, False)], True),
])
def test_one_verdict_for_all_frames(candidates, verdict):
    assert is_sky([SkyCandidate(*candidate) for candidate in candidates]) is verdict
