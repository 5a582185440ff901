"""What is fixed to the camera: a bonnet before a car's camera."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from depth_scenes import RayCastShot, ray_cast
from known_depth import known_cameras

from stereodiff_blender.engine.stereo.dynamic import DynamicObjects, GroundPlane, find_attached
from stereodiff_blender.engine.stereo.dynamic.objects import ATTACHED_TRACK
from stereodiff_blender.engine.stereo.mvs import depth
from stereodiff_blender.engine.storage import RunContext, Scratch

GROUND = GroundPlane(np.array([0.0, -1.0, 0.0]), -1.4)
"""The floor of ray_cast's scene."""
COUNT = 14
ROAD_SPEED, WALKING_SPEED = 0.2, 0.005
"""Scene units a frame, forward."""


def drive(speed: float) -> RayCastShot:
    poses = np.tile(np.eye(4), (COUNT, 1, 1))
    poses[:, 2, 3] = speed * np.arange(COUNT)
    poses[:, 0, 3] = 0.3 * speed * np.arange(COUNT)
    return ray_cast(poses=poses, scale=2)


def bonnet_in(shape: tuple[int, int]) -> np.ndarray:
    """An arch (H,W) bool at the lower border."""
    rows, columns = np.mgrid[:shape[0], :shape[1]]
    return rows > shape[0] - 34 + 14 * (2 * columns / shape[1] - 1) ** 2


def with_bonnet(shot: RayCastShot) -> np.ndarray:
    """The frames of a shot with a bonnet before them, in which the same things are reflected all along."""
    inside = bonnet_in(shot.frames.shape[1:3])
    noise = np.random.default_rng(3).normal(0, 1, inside.shape).astype(np.float32)
    paint = 130 + 150 * cv2.GaussianBlur(noise, (0, 0), 2.0)[..., None] * np.ones(3, np.float32)
    return np.where(inside[..., None], paint, shot.frames).astype(np.uint8)


@pytest.fixture(scope="module")
def road():
    return drive(ROAD_SPEED)


def test_a_bonnet_is_found_whole(road):
    found, inside = find_attached(with_bonnet(road), road.cameras, GROUND), bonnet_in(road.frames.shape[1:3])
    assert found.dtype == bool and (found & inside).sum() / (found | inside).sum() > 0.85


def test_a_road_alone_has_none(road):
    assert not find_attached(road.frames, road.cameras, GROUND).any()


def test_without_a_ground_nothing_is_told(road):
    assert not find_attached(with_bonnet(road), road.cameras, None).any()


def test_where_the_ground_goes_by_slowly_nothing_is_told():
    slow = drive(WALKING_SPEED)
    assert not find_attached(with_bonnet(slow), slow.cameras, GROUND).any()


def test_it_stays_a_thing_by_itself_whatever_touches_it(road):
    attached = bonnet_in(road.frames.shape[1:3])
    mask = np.zeros(road.depth.shape, np.uint8)
    mask[:, 100:, 140:180] = 1
    matte = mask.copy()
    mask |= attached
    flow_back = np.zeros((COUNT, *attached[2::4, 2::4].shape, 2), np.float16)
    objects = DynamicObjects(road.frames, road.cameras, mask, flow_back, GROUND, Scratch(), matte, attached)
    for index in range(2):
        disparity = 1.0 / road.depth[index]
        objects.observe(index, objects.moving_in(index, disparity), disparity, mask[index] == 0)
        assert (objects.tracks[index][attached] == ATTACHED_TRACK).all()
        others = np.unique(objects.tracks[index][(mask[index] > 0) & ~attached])
        assert len(others) == 1 and others[0] != ATTACHED_TRACK


@pytest.mark.slow
def test_what_touches_a_bonnet_does_not_stand_with_it(road, monkeypatch):
    """Something sways to and fro on the road, right above the bonnet: together they would be one board."""
    monkeypatch.setattr(depth, "find_ground", lambda *_: GROUND)
    frames, inside = road.frames.copy(), bonnet_in(road.frames.shape[1:3])
    patch = np.random.default_rng(4).integers(0, 256, (110, 40, 3), np.uint8)
    swaying = np.zeros(road.depth.shape, bool)
    for index, frame in enumerate(frames):
        left = 130 + 9 * (index % 2)
        frame[100:210, left:left + 40] = cv2.GaussianBlur(patch, (0, 0), 1.5)
        swaying[index, 100:210, left:left + 40] = True
    swaying &= ~inside
    frames = with_bonnet(replace(road, frames=frames))
    still = np.where(inside | swaying, np.nan, road.depth)
    cameras = known_cameras(road.camera_to_world, road.intrinsics, still)
    result = depth.estimate_depth_maps(frames, cameras, context=RunContext())
    core = cv2.erode(inside.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    for index in range(2, COUNT - 2):
        moves = result.motion_mask[index] > 0
        assert moves[core].mean() > 0.95 and moves[swaying[index]].mean() > 0.6
        ratio = np.median(result.depth[index][moves & swaying[index]]) / np.median(result.depth[index][core])
        assert abs(ratio - 1) > 0.05
