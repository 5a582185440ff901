"""Depth behind a rolling shutter: each row measured from where the camera was when it was read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from depth_scenes import FOCAL_PX, HEIGHT, WIDTH, RollingShot, rolling_cast

from stereodiff_blender.engine.quality.assess import flicker
from stereodiff_blender.engine.report import Report
from stereodiff_blender.engine.solution import TRUSTED, CameraSolution
from stereodiff_blender.engine.stereo.dynamic import GroundPlane
from stereodiff_blender.engine.stereo.mvs.depth import estimate_depth_maps
from stereodiff_blender.engine.stereo.mvs.sources import point_depths
from stereodiff_blender.engine.storage import RunContext, Scratch

COUNT = 8


@pytest.fixture(scope="module", params=[0.5, -0.5], ids=["top first", "bottom first"])
def shot(request):
    return rolling_cast(COUNT, request.param)


def measure(shot: RollingShot, cameras: CameraSolution):
    return estimate_depth_maps(shot.frames, cameras, context=RunContext(Scratch(), Report()))


def test_depth_is_as_right_as_that_of_rows_read_at_once(shot):
    at_once = rolling_cast(COUNT, 0.0)
    (found, error), (_, of_middle_rows), (_, of_plain) = (
        (result, np.abs(result.depth / each.depth - 1))
        for each, cameras in ((shot, shot.cameras), (shot, replace(shot.cameras, shutter=None)),
                              (at_once, at_once.cameras))
        for result in [measure(each, cameras)])
    assert np.median(error) < 1.3 * np.median(of_plain) and np.median(error) < 0.5 * np.median(of_middle_rows)
    trusted = found.confidence > TRUSTED
    assert trusted.mean() > 0.4 and error[trusted].mean() < 0.025
    assert found.motion_mask.mean() < 0.01


def test_exact_depth_flickers_only_for_who_forgets_the_rows(shot):
    cameras = shot.cameras
    scene = (shot.depth, shot.confidence, shot.motion_mask, cameras.camera_to_world, cameras.intrinsics)
    assert flicker(*scene, cameras.row_camera) < 0.04 and flicker(*scene, cameras.row_camera) < flicker(*scene)


def test_solved_points_have_the_depth_that_their_rows_see(shot):
    """The shot's points are pixels of it, with their true depth."""
    x, y = (each.ravel() for each in np.meshgrid(np.arange(8, WIDTH, 16) + 0.5, np.arange(8, HEIGHT, 16) + 0.5))
    depth = shot.depth[3][y.astype(int), x.astype(int)]
    points = shot.cameras.row_camera(3).to_world(x, y, depth)
    seen = (np.arange(len(x)), np.stack([x, y], axis=1))
    cameras = replace(shot.cameras, points=points, observations=[seen] * COUNT)
    np.testing.assert_allclose(point_depths(cameras, 3)[1], depth, rtol=1e-6)
    assert np.abs(point_depths(replace(cameras, shutter=None), 3)[1] / depth - 1).max() > 0.002


def test_the_ground_is_seen_row_by_row(shot):
    """The scene's floor lies 1.4 below the first camera."""
    floor = GroundPlane(np.array([0.0, -1.0, 0.0]), -1.4)
    cameras, index = shot.cameras, 4
    camera = (cameras.camera_to_world[index], cameras.intrinsics[index])
    rows, columns = np.mgrid[HEIGHT - 20:HEIGHT, 20:WIDTH:30]
    points = cameras.row_camera(index).to_world(columns.ravel() + 0.5, rows.ravel() + 0.5,
                                               shot.depth[index][rows, columns].ravel())
    assert np.abs(points[:, 1] - 1.4).max() < 1e-3, "else these pixels show no floor"
    true = 1.0 / shot.depth[index][rows, columns]
    by_rows, by_middle = (np.abs(view.disparity_at(columns + 0.5, rows + 0.5) / true - 1).max()
                          for view in (floor.seen_by(*camera, cameras.row_camera(index)), floor.seen_by(*camera)))
    assert by_rows < 0.002 < 0.2 * by_middle, f"of a camera with a focal length of {FOCAL_PX} pixels"
