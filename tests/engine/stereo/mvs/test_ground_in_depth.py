"""The ground before the camera, from end to end: where little of it is measured, and what travels along before it."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from depth_scenes import RayCastShot, ray_cast
from known_depth import known_cameras

from stereodiff_blender.engine.geometry import exp_so3
from stereodiff_blender.engine.solution import TRUSTED
from stereodiff_blender.engine.stereo.mvs.depth import estimate_depth_maps
from stereodiff_blender.engine.storage import RunContext

COUNT, BONNET_TOP = 12, 98
FLOOR, BONNET = slice(60, 96), slice(101, None)
"""Rows that show the floor alone, and the bonnet alone."""


def drive(start: float) -> RayCastShot:
    """The camera looks down a little and goes ahead over the floor."""
    poses = np.tile(np.eye(4), (COUNT, 1, 1))
    poses[:, 2, 3] = start + 0.12 * np.arange(COUNT)
    poses[:, :3, :3] = exp_so3(np.radians([-12.0, 0.0, 0.0]))
    return ray_cast(COUNT, poses=poses)


def with_bonnet(shot: RayCastShot, drift_px: float, contrast: float) -> RayCastShot:
    """Grainy, and what is mirrored in it drifts a little from frame to frame."""
    grain = 100 + contrast * np.random.default_rng(3).uniform(-60, 60, (12, 40)).astype(np.float32)
    picture, frames = cv2.resize(grain, (160, 36), interpolation=cv2.INTER_CUBIC), shot.frames.copy()
    for index, frame in enumerate(frames):
        drifted = cv2.warpAffine(picture, np.float32([[1, 0, 0], [0, 1, drift_px * index - 10]]), (160, 14))
        frame[BONNET_TOP:] = np.clip(drifted, 0, 255)[..., None]
    return replace(shot, frames=frames)


def measure(shot: RayCastShot):
    visible = shot.depth.copy()
    visible[:, BONNET_TOP:] = np.nan
    return estimate_depth_maps(shot.frames, known_cameras(shot.camera_to_world, shot.intrinsics, visible),
                               context=RunContext())


@pytest.fixture(scope="module")
def far_drive():
    """Far from the wall: what has next to no parallax still lies within the limits of depth."""
    shot = drive(-30.0)
    return shot, measure(with_bonnet(shot, 0.2, 1.0))


def test_what_travels_along_before_the_ground_is_no_pit_and_not_static(far_drive):
    shot, result = far_drive
    beyond = (result.depth / shot.depth)[:, BONNET]
    assert np.percentile(beyond, 95) < 1.1, "it stands before the ground, at least where that begins"
    assert (result.motion_mask[:, BONNET] > 0).mean() > 0.9
    assert (result.confidence[:, BONNET] > TRUSTED).mean() < 0.01


def test_and_the_ground_behind_it_stays(far_drive):
    shot, result = far_drive
    off = np.abs(result.depth / shot.depth - 1)[:, FLOOR]
    assert np.percentile(off, 95) < 0.08 and (result.motion_mask[:, FLOOR] > 0).mean() < 0.01


def test_where_a_plain_floor_is_measured_in_vain_it_goes_on_in_its_plane():
    shot = drive(-4.0)
    frames = shot.frames.astype(np.float32)
    plain = frames[:, FLOOR.start:BONNET_TOP]
    mean = plain.mean(axis=(1, 2), keepdims=True)
    frames[:, FLOOR.start:BONNET_TOP] = mean + 0.05 * (plain - mean)
    shot = with_bonnet(replace(shot, frames=frames.astype(np.uint8)), 0.0, 0.15)
    noise = np.random.default_rng(1).normal(0, 1, shot.frames.shape)
    result = measure(replace(shot, frames=np.clip(shot.frames + noise, 0, 255).astype(np.uint8)))
    deepest = [np.percentile(depth[FLOOR], 98) for depth in result.depth / shot.depth]
    assert max(deepest[1:]) < 1.2, "no pits, but in the first frame, which no earlier one speaks for"


def test_a_plain_road_that_something_mirrored_drifts_over_is_no_pit_and_not_trusted():
    """Its matches follow the faint gleam, and agree on a depth beyond the ground; the pictures show the ground too."""
    shot = drive(-30.0)
    result = measure(with_bonnet(shot, 1.0, 0.15))
    assert np.percentile((result.depth / shot.depth)[:, BONNET], 98) < 1.1
    assert (result.confidence[:, BONNET] > TRUSTED).mean() < 0.01
