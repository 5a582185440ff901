"""Warps of rows that are read one after the other, against points in space and the camera of each row."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from depth_scenes import shaken_pose
from known_depth import without_points

from stereodiff_blender.engine.contract import Distortion, LensResult
from stereodiff_blender.engine.geometry import invert_rigid
from stereodiff_blender.engine.imaging import (
    PlaneParallax,
    RollingParallax,
    induced_flow,
    pixel_axes,
    warp_between,
    warp_grid,
    warp_pixels,
)
from stereodiff_blender.engine.lens import distorted
from stereodiff_blender.engine.solution import CameraSolution

COUNT, WIDTH, HEIGHT, READOUT, FROM = 8, 320, 180, 0.5, 3
LENS = np.array([300.0, 300.0, 170.0, 83.0])
BENT = {"pinhole": None, "barrel": Distortion(-0.12, 0.03)}
PATH_PX, MODEL_PX = 0.1, 0.03
"""Off the path itself, which its neighbors tell but to the third order; and off what they tell."""


def cameras_of(distortion: Distortion | None = None) -> CameraSolution:
    cameras = replace(without_points(shaken_pose(np.arange(COUNT, dtype=float)), np.tile(LENS, (COUNT, 1))),
                      lens=LensResult("radial" if distortion else "pinhole", distortion, readout=READOUT))
    return replace(cameras, shutter=cameras.rolling_shutter((WIDTH, HEIGHT)))


def scattered() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    pixels = generator.uniform((5, 5), (WIDTH - 5, HEIGHT - 5), (300, 2)).astype(np.float32)
    return *pixels.T.copy(), (1 / generator.uniform(2, 15, 300)).astype(np.float32)


def times(x: np.ndarray, y: np.ndarray, distortion: Distortion | None) -> np.ndarray:
    places = (np.stack([x, y], axis=1) - LENS[2:]) / LENS[:2]
    row = (places if distortion is None else distorted(places, distortion))[:, 1] * LENS[1] + LENS[3]
    return READOUT * (row / HEIGHT - 0.5)


def exact(x, y, disparity, j: int, distortion: Distortion | None) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (n,2) and depth (n,) in frame j, by the pose of the path at the time of each row."""
    local = np.stack([(x - LENS[2]) / LENS[0], (y - LENS[3]) / LENS[1], np.ones(len(x))], axis=1) / disparity[:, None]
    own = shaken_pose(FROM + times(x, y, distortion))
    world, pixels = np.einsum("nij,nj->ni", own[:, :3, :3], local) + own[:, :3, 3], np.tile(LENS[2:], (len(x), 1))
    for _ in range(12):
        pose = invert_rigid(shaken_pose(j + times(*pixels.T, distortion)))
        local = np.einsum("nij,nj->ni", pose[:, :3, :3], world) + pose[:, :3, 3]
        pixels = LENS[:2] * local[:, :2] / local[:, 2:] + LENS[2:]
    return pixels, local[:, 2]


@pytest.mark.parametrize("distortion", BENT.values(), ids=BENT)
@pytest.mark.parametrize("j", [2, 4, 6])
def test_pixels_lie_where_the_camera_of_their_row_sees_them(j, distortion):
    cameras, (x, y, disparity) = cameras_of(distortion), scattered()
    expected, depth = exact(x, y, disparity, j, distortion)
    near = ((expected > 0) & (expected < (WIDTH, HEIGHT))).all(axis=1)
    off = {}
    for name, each in (("rows", cameras), ("middle", replace(cameras, shutter=None))):
        found = warp_pixels(warp_between(each, FROM, j), x, y, disparity)
        assert found.columns.dtype == np.float32 and found.in_front.all()
        off[name] = np.hypot(found.columns - expected[:, 0], found.rows - expected[:, 1])[near]
    assert off["rows"].max() < PATH_PX and off["rows"].mean() < 0.1 * off["middle"].mean()
    ratio = warp_between(cameras, FROM, j).depth_ratio(x, y, disparity)
    np.testing.assert_allclose((ratio / disparity)[near], depth[near], rtol=1e-3)


@pytest.mark.parametrize("j", [2, 6])
def test_pixels_lie_where_the_cameras_rows_have_them(j):
    cameras, (x, y, disparity) = cameras_of(), scattered()
    camera, other = (cameras.row_camera(index) for index in (FROM, j))
    local = other.shown(camera.to_world(x, y, 1 / disparity))
    found = warp_pixels(warp_between(cameras, FROM, j), x, y, disparity)
    np.testing.assert_allclose(found.columns, LENS[0] * local[:, 0] / local[:, 2] + LENS[2], atol=MODEL_PX)
    np.testing.assert_allclose(found.rows, LENS[1] * local[:, 1] / local[:, 2] + LENS[3], atol=MODEL_PX)


@pytest.mark.parametrize("distortion", BENT.values(), ids=BENT)
def test_a_match_is_explained_by_the_disparity_that_made_it(distortion):
    x, y, disparity = scattered()
    u, v = exact(x, y, disparity, 5, distortion)[0].T
    base, epipole = warp_between(cameras_of(distortion), FROM, 5).towards(x, y, u, v)
    column, row, ahead = (at_infinity + shift * disparity for at_infinity, shift in zip(base, epipole, strict=True))
    assert max(np.abs(column / ahead - u).max(), np.abs(row / ahead - v).max()) < PATH_PX


@pytest.mark.parametrize("distortion", BENT.values(), ids=BENT)
def test_a_grid_is_its_pixels(distortion):
    warp = warp_between(cameras_of(distortion), FROM, 5)
    x, y = pixel_axes(HEIGHT, WIDTH)
    disparity = np.full((HEIGHT, WIDTH), 0.2, np.float32)
    by_grid = warp_grid(warp, x, y, disparity)
    by_pixels = warp_pixels(warp, *(np.ascontiguousarray(each) for each in np.broadcast_arrays(x, y)), disparity)
    np.testing.assert_allclose(by_grid.columns, by_pixels.columns, atol=1e-3)
    np.testing.assert_allclose(by_grid.rows, by_pixels.rows, atol=1e-3)
    flow = induced_flow(disparity, warp)
    np.testing.assert_allclose(flow[..., 1], by_grid.rows - y, atol=1e-3)
    chosen = np.array([7, 3, WIDTH * 50 + 9])
    flat = [each.ravel() for each in np.broadcast_arrays(x, y)]
    some = warp.located(*flat).at(disparity.ravel()[chosen], chosen)
    np.testing.assert_allclose(some[0] / some[2], by_grid.columns.ravel()[chosen], atol=1e-3)


def test_a_camera_that_stands_still_while_rows_are_read_is_a_plain_one():
    still = np.zeros((COUNT, 3, 4))
    cameras = cameras_of()
    stopped = replace(cameras, shutter=replace(cameras.shutter, velocity=still, acceleration=still))
    x, y, disparity = scattered()
    rolling, plain = (warp_pixels(warp_between(each, FROM, 5), x, y, disparity)
                      for each in (stopped, replace(cameras, shutter=None)))
    np.testing.assert_allclose(rolling.columns, plain.columns, atol=1e-3)
    np.testing.assert_allclose(rolling.rows, plain.rows, atol=1e-3)


def test_behind_the_camera_nothing_is_seen_and_all_is_finite():
    x, y, _ = scattered()
    found = warp_pixels(warp_between(cameras_of(), 0, COUNT - 1), x, y, np.full(len(x), 50.0, np.float32))
    assert not found.in_front.any() and np.isfinite(found.rows).all() and np.isfinite(found.columns).all()


def test_only_a_shutter_makes_it_roll():
    cameras = cameras_of()
    assert isinstance(warp_between(cameras, 0, 1), RollingParallax)
    assert isinstance(warp_between(replace(cameras, shutter=None), 0, 1), PlaneParallax)
