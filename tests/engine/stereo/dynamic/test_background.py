"""Cast shadows and rims are background, a thing is not; and what a clip's movers become without them."""

from __future__ import annotations

import numpy as np
import pytest
from depth_scenes import ray_cast

from stereodiff_blender.engine.imaging import CostFeatures
from stereodiff_blender.engine.stereo.dynamic.background import find_background
from stereodiff_blender.engine.stereo.dynamic.ground_parallax import SOFTENING_PX
from stereodiff_blender.engine.stereo.dynamic.ground_plane import GroundPlane
from stereodiff_blender.engine.stereo.dynamic.objects import DynamicObjects
from stereodiff_blender.engine.stereo.dynamic.tracks import coarse_shape
from stereodiff_blender.engine.storage.scratch import Scratch

INDEX = 6
FLOOR = GroundPlane(np.array([0.0, -1.0, 0.0]), -1.4)
SHADOW = (slice(92, 110), slice(20, 60))
"""On the floor of ray_cast's scene."""
BOARD = (slice(60, 80), slice(64, 96))
"""On the static board in its middle."""
BLUE = (40, 60, 200)


@pytest.fixture(scope="module")
def shot():
    return ray_cast(13)


def marked(shot, *places):
    mask = np.zeros(shot.depth.shape, np.uint8)
    for place in places:
        mask[INDEX][place] = 1
    return mask


def darkened(shot, place, share):
    frames = shot.frames.copy()
    frames[INDEX][place] = (share * frames[INDEX][place]).astype(np.uint8)
    return frames


def painted(shot, place, color):
    frames = shot.frames.copy()
    frames[INDEX][place] = color
    return frames


def search(shot, frames, mask, ground=FLOOR):
    surroundings = (1.0 / shot.depth[INDEX]).astype(np.float32)
    floor = None
    if ground is not None:
        floor = ground.seen_by(shot.camera_to_world[INDEX], shot.intrinsics[INDEX]).disparity_of(mask.shape[1:])
    return find_background(INDEX, frames, mask, surroundings, floor, shot.cameras, CostFeatures(frames, SOFTENING_PX))


@pytest.mark.parametrize("share", [0.5, 0.75, 0.95])
def test_ground_in_shadow_and_in_light_is_background(shot, share):
    found = search(shot, darkened(shot, SHADOW, share), marked(shot, SHADOW))
    assert found[SHADOW].mean() > 0.8 and found.sum() == found[SHADOW].sum()


def test_a_thing_of_another_hue_is_not(shot):
    assert not search(shot, painted(shot, SHADOW, BLUE), marked(shot, SHADOW)).any()


def test_a_brighter_thing_of_the_same_hue_is_not(shot):
    assert not search(shot, np.minimum(darkened(shot, SHADOW, 1.3), 255), marked(shot, SHADOW)).any()


def test_off_the_ground_a_darker_surface_is_hardly_background(shot):
    same = search(shot, shot.frames, marked(shot, BOARD))
    darker = search(shot, darkened(shot, BOARD, 0.6), marked(shot, BOARD))
    assert same[BOARD].mean() > 0.8 and darker[BOARD].mean() < 0.5 * same[BOARD].mean()


def test_no_hole_is_torn_into_a_thing(shot):
    inside = (slice(98, 104), slice(36, 44))
    frames = painted(shot, SHADOW, BLUE)
    frames[INDEX][inside] = shot.frames[INDEX][inside]
    assert not search(shot, frames, marked(shot, SHADOW)).any()


def test_what_is_never_seen_free_stays(shot):
    mask = np.ones(shot.depth.shape, np.uint8)
    assert not search(shot, shot.frames, mask).any()
    assert not search(shot, shot.frames, np.zeros_like(mask)).any()


FLOOR_AHEAD, BONNET = (slice(92, 112), slice(0, 160)), (slice(104, 112), slice(0, 160))


def with_bonnet(shot):
    """Something that travels along with the camera stands before the floor, at the same place in every frame."""
    stripes = 90 + 40 * np.sin(np.arange(160) / 1.5)
    frames = shot.frames.copy()
    frames[:, *BONNET] = stripes.astype(np.uint8)[:, None]
    return frames


def going_ahead(step: float):
    """The camera goes ahead over the floor, by so much a frame."""
    poses = np.tile(np.eye(4), (13, 1, 1))
    poses[:, 2, 3] = step * np.arange(13)
    return ray_cast(13, poses=poses)


def test_ground_that_every_frame_takes_for_moving_is_ground_and_what_travels_along_is_not():
    """So the road comes free of the bonnet before it, beside which matches fail."""
    shot = going_ahead(0.3)
    mask = np.zeros(shot.depth.shape, np.uint8)
    mask[:, *FLOOR_AHEAD] = 1
    found = search(shot, with_bonnet(shot), mask)
    assert found[92:98].mean() > 0.9 and found[107:].mean() < 0.05


def test_a_plain_thing_before_ground_that_goes_by_slowly_stays():
    """A pixel or two further on it looks the same, so it would pass for the ground."""
    shot = going_ahead(0.03)
    trousers, mask = (slice(88, 108), slice(60, 76)), np.zeros(shot.depth.shape, np.uint8)
    frames, walker = shot.frames.copy(), np.random.default_rng(2).normal(90, 1.5, (120, 160, 1))
    frames[:, *trousers] = np.clip(walker[trousers], 0, 255).astype(np.uint8)
    mask[:, *trousers] = 1
    assert not search(shot, frames, mask).any()


@pytest.mark.parametrize("count", [1, 2])
def test_short_clips_break_nothing(count):
    short = ray_cast(count)
    mask = np.ones(short.depth.shape, np.uint8)
    found = find_background(0, short.frames, mask, (1 / short.depth[0]).astype(np.float32), None, short.cameras,
                            CostFeatures(short.frames, SOFTENING_PX))
    assert found.shape == mask.shape[1:] and not found.any()


def objects_of(shot, frames, mask, masks=None):
    back = np.zeros((len(mask), *coarse_shape(*mask.shape[1:]), 2), np.float16)
    return DynamicObjects(frames, shot.cameras, mask, back, FLOOR, Scratch(), masks)


def observed(objects, shot):
    for index, depth in enumerate(shot.depth):
        moving = objects.moving_in(index, 1.0 / depth)
        objects.observe(index, moving, 1.0 / depth, np.ones(depth.shape, bool))
        if index == INDEX:
            result = moving
    return result


THING = (slice(60, 100), slice(30, 48))


def test_a_thing_stands_without_its_shadow(shot):
    frames = darkened(shot, SHADOW, 0.6)
    frames[INDEX][THING] = BLUE
    mask = marked(shot, SHADOW, THING)
    objects = objects_of(shot, frames, mask)
    truth = marked(shot, THING)[INDEX] > 0
    moving = observed(objects, shot)
    assert (moving & truth).sum() / (moving | truth).sum() > 0.8
    depth = shot.depth.copy()
    objects.place_on_ground(depth, (1e-3, 1e3))
    # The floor, 1.4 below a camera that looks along it, is seen in row 100 at this depth.
    view = FLOOR.seen_by(shot.camera_to_world[INDEX], shot.intrinsics[INDEX])
    assert depth[INDEX][THING].mean() == pytest.approx(1 / view.disparity_at(39, 100), rel=0.06)
    assert np.array_equal(depth[INDEX][~moving], shot.depth[INDEX][~moving])


def test_what_the_artist_marked_is_never_background(shot):
    masks = marked(shot, SHADOW) > 0
    objects = objects_of(shot, darkened(shot, SHADOW, 0.6), masks.astype(np.uint8), masks)
    assert np.array_equal(observed(objects, shot), masks[INDEX])
