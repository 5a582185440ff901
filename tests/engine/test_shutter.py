"""Cameras row by row against a path that is known at every time."""

from __future__ import annotations

import numpy as np
import pytest
from depth_scenes import shaken_pose

from stereodiff_blender.engine.contract import Distortion, LensResult
from stereodiff_blender.engine.geometry import invert_rigid
from stereodiff_blender.engine.lens import distorted
from stereodiff_blender.engine.shutter import RollingShutter, path_derivatives

COUNT, WIDTH, HEIGHT, READOUT = 6, 320, 180, 0.5
LENS = np.array([300.0, 290.0, 170.0, 83.0])
BENT = {"pinhole": None, "barrel": Distortion(-0.12, 0.03), "fisheye": Distortion(0.05, -0.01, 0.002, is_fisheye=True)}
POSES = shaken_pose(np.arange(COUNT, dtype=float))


def shutter_of(distortion: Distortion | None, readout: float = READOUT) -> RollingShutter | None:
    lens = LensResult("radial" if distortion else "pinhole", distortion, readout=readout)
    return RollingShutter.of_cameras(POSES, np.tile(LENS, (COUNT, 1)), np.ones(COUNT, bool), lens, (WIDTH, HEIGHT))


def pixels() -> tuple[np.ndarray, np.ndarray]:
    x, y = np.meshgrid(np.linspace(5, WIDTH - 5, 14), np.linspace(5, HEIGHT - 5, 11))
    return x.ravel(), y.ravel()


def row_times(x: np.ndarray, y: np.ndarray, distortion: Distortion | None) -> np.ndarray:
    """When the rows of the plate are read that show these pixels of a pinhole."""
    places = (np.stack([x, y], axis=1) - LENS[2:]) / LENS[:2]
    row = (places if distortion is None else distorted(places, distortion))[:, 1] * LENS[1] + LENS[3]
    return READOUT * (row / HEIGHT - 0.5)


def test_without_a_readout_there_is_no_shutter():
    assert shutter_of(None, readout=0.0) is None


@pytest.mark.parametrize("distortion", BENT.values(), ids=BENT)
def test_times_go_by_the_rows_of_the_plate_as_it_was_shot(distortion):
    x, y = pixels()
    times = shutter_of(distortion).times(0, LENS)
    np.testing.assert_allclose(times.at(x, y), row_times(x, y, distortion), atol=2e-4)
    np.testing.assert_allclose(times.at(3.0 * x, 3.0 * y, 3.0), times.at(x, y), atol=1e-12)


def test_times_are_the_same_on_every_raster():
    x, y = pixels()
    shutter = shutter_of(BENT["barrel"])
    finer = shutter.times(2, 4.0 * (LENS - (0, 0, 10, 20)))
    np.testing.assert_allclose(finer.at(4.0 * (x - 10), 4.0 * (y - 20)), shutter.times(2, LENS).at(x, y), atol=1e-12)


@pytest.mark.parametrize("distortion", BENT.values(), ids=BENT)
def test_each_pixel_has_the_camera_of_its_time(distortion):
    x, y = pixels()
    depth = np.linspace(2.0, 9.0, len(x))
    camera = shutter_of(distortion).camera(3, invert_rigid(POSES[3]), LENS)
    found = camera.to_world(x, y, depth)
    local = np.stack([(x - LENS[2]) / LENS[0], (y - LENS[3]) / LENS[1], np.ones(len(x))], axis=1) * depth[:, None]
    poses = shaken_pose(3 + row_times(x, y, distortion))
    expected = np.einsum("nij,nj->ni", poses[:, :3, :3], local) + poses[:, :3, 3]
    middle = local @ POSES[3][:3, :3].T + POSES[3][:3, 3]
    assert np.abs(found - expected).max() < 2e-3 < 0.1 * np.abs(middle - expected).max()
    np.testing.assert_allclose(camera.seen(found, x, y), local, atol=1e-9)
    np.testing.assert_allclose(camera.shown(found), local, atol=1e-4)


def test_what_is_behind_the_camera_has_a_finite_place():
    camera = shutter_of(None).camera(1, invert_rigid(POSES[1]), LENS)
    assert np.isfinite(camera.shown(np.array([[0.0, 0.0, -5.0], [0.0, 0.0, 0.0]]))).all()


def test_derivatives_are_of_known_neighbors_alone():
    """A path of the second order is told exactly; beside an unknown frame, and at the ends, its speed is a step's."""
    time = np.arange(5.0)[:, None, None]
    path = np.ones((5, 3, 4)) * (2.0 * time + 0.5 * time**2)
    known = np.array([True, True, True, True, False])
    velocity, acceleration = path_derivatives(path, np.array([0, 1, 2, 3]), known)
    assert velocity[:, 0, 0].tolist() == [2.5, 3.0, 4.0, 4.5]
    assert acceleration[:, 0, 0].tolist() == [0.0, 1.0, 1.0, 0.0]
