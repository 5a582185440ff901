"""The plate at its own size: the picture that was measured, as finely as it was shot, and depth back on its pixels."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from camera_scenes import FOCAL_PX, HEIGHT, WIDTH, camera_path, render_boards
from recording_report import RecordingReport

from stereodiff_blender.engine.contract import Distortion, LensResult, Settings
from stereodiff_blender.engine.footage import PlateRaster, inspect_footage, prepare_footage
from stereodiff_blender.engine.lens import undistorted
from stereodiff_blender.engine.pipeline import estimate_depth
from stereodiff_blender.engine.pipeline.plate_steps import ClipPlateDepth
from stereodiff_blender.engine.solution import CameraSolution, KnownLens, StereoResult
from stereodiff_blender.engine.storage import RunContext, Scratch

COUNT, SCALE = 4, 3
PLATE = (SCALE * HEIGHT, SCALE * WIDTH)
BARREL, FISHEYE = Distortion(-0.15, 0.03), Distortion(-0.02, 0.01, is_fisheye=True)


def cameras_with(distortion: Distortion | None) -> CameraSolution:
    lens = LensResult() if distortion is None else LensResult(distortion.model, distortion)
    intrinsics = np.tile([FOCAL_PX, FOCAL_PX, 0.5 * WIDTH + 1.5, 0.5 * HEIGHT - 1.0], (COUNT, 1))
    return CameraSolution("moving", np.tile(np.eye(4), (COUNT, 1, 1)), intrinsics, np.ones(COUNT, bool),
                          np.zeros(COUNT), np.zeros((0, 3)), np.zeros(0),
                          [(np.zeros(0, np.int64), np.zeros((0, 2)))] * COUNT, lens=lens)


def raster_of(frames: np.ndarray, plates: np.ndarray, distortion: Distortion | None) -> PlateRaster:
    cameras = cameras_with(distortion)
    prepared = prepare_footage(frames, None, inspect_footage(frames), Scratch()).rectified(cameras)
    measurable = prepared.measurable_frames(Scratch())
    return PlateRaster(prepared, cameras, plates, measurable.shape[1:3])


def smooth_plates() -> np.ndarray:
    """(T,H,W) uint8 gray, no detail that any resampling could lose."""
    y, x = np.mgrid[:PLATE[0], :PLATE[1]]
    return np.stack([127 + 60 * np.sin(x / 23.0 + k) + 60 * np.cos(y / 19.0) for k in range(COUNT)]).astype(np.uint8)


def shrunk(plates: np.ndarray) -> np.ndarray:
    return np.stack([cv2.cvtColor(cv2.resize(plate, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA),
                                  cv2.COLOR_GRAY2RGB) for plate in plates])


def test_a_clean_plate_is_the_plate_itself():
    plates = smooth_plates()
    raster = raster_of(shrunk(plates), plates, None)
    assert raster.shape == plates.shape
    np.testing.assert_array_equal(raster[2], plates[2])
    depth = np.ones(PLATE, np.float32)
    assert raster.shown(depth, 2) is depth


@pytest.mark.parametrize("distortion", [BARREL, FISHEYE])
def test_it_shows_what_was_measured_edge_to_edge(distortion):
    plates = smooth_plates()
    frames = shrunk(plates)
    raster = raster_of(frames, plates, distortion)
    measured = raster.prepared.measurable_frames(Scratch())[1][..., 0]
    seen = cv2.resize(raster[1], measured.shape[::-1], interpolation=cv2.INTER_AREA)
    inside = slice(8, -8), slice(8, -8)
    difference = np.abs(seen.astype(float) - measured)[inside]
    assert difference.mean() < 1.5, "a shift of a plate's pixel makes 2.5"


@pytest.mark.parametrize("distortion", [BARREL, FISHEYE])
def test_depth_comes_back_onto_the_plates_pixels(distortion):
    """A slanted plane's disparity is linear in the ideal picture; on the plate it follows the lens."""
    plates = smooth_plates()
    raster = raster_of(shrunk(plates), plates, distortion)
    height, width = raster.shape[1:]
    coarse = np.divide(raster.measured, (height, width))
    x = (np.arange(width) + 0.5) * coarse[1] + raster.prepared.corner[0]
    y = (np.arange(height) + 0.5) * coarse[0] + raster.prepared.corner[1]
    plane = (0.5 + 0.002 * x[None] + 0.003 * y[:, None]).astype(np.float32)
    shown = raster.shown(1.0 / plane, 0)
    across, down = np.meshgrid((np.arange(PLATE[1]) + 0.5) / SCALE, (np.arange(PLATE[0]) + 0.5) / SCALE)
    intrinsics = raster.cameras.intrinsics[0]
    places = undistorted((np.stack([across, down], axis=-1) - intrinsics[2:]) / intrinsics[:2], distortion)
    ideal = places * intrinsics[:2] + intrinsics[2:]
    expected = 0.5 + 0.002 * ideal[..., 0] + 0.003 * ideal[..., 1]
    inside = slice(6, -6), slice(6, -6)
    np.testing.assert_allclose((1.0 / shown)[inside], expected[inside], atol=1e-4)


def test_bars_have_no_depth():
    plates = smooth_plates()
    bar = 6 * SCALE
    plates[:, :bar] = plates[:, -bar:] = 0
    raster = raster_of(shrunk(plates), plates, None)
    top, bottom, *_ = raster.prepared.footage.picture
    shown = raster.shown(np.full(raster.shape[1:], 2.0, np.float32), 1)
    assert raster.shape[1] == SCALE * (bottom - top) < PLATE[0]
    assert not shown[:SCALE * top].any() and not shown[SCALE * bottom:].any()
    assert (shown[SCALE * top:SCALE * bottom] == 2.0).all()
    np.testing.assert_array_equal(raster[1], plates[1, SCALE * top:SCALE * bottom])


@pytest.mark.parametrize("distortion", [None, BARREL])
@pytest.mark.parametrize("fat", [0, 1])
def test_a_mattes_outline_holds_to_the_pixel(distortion, fat):
    """Whatever the working size knows of it: its own pixels, or something fatter."""
    plates = smooth_plates()
    matte = np.zeros(plates.shape, np.uint8)
    cv2.circle(matte[1], (PLATE[1] // 2 + 1, PLATE[0] // 2), PLATE[0] // 4, 1, cv2.FILLED)
    coarse = np.stack([cv2.resize(cv2.dilate(each, np.ones((1 + 2 * SCALE * fat,) * 2)), (WIDTH, HEIGHT),
                                  interpolation=cv2.INTER_NEAREST) for each in matte])
    frames, cameras = shrunk(plates), cameras_with(distortion)
    prepared = prepare_footage(frames, coarse, inspect_footage(frames), Scratch()).rectified(cameras)
    marked = np.stack([prepared.measured_matte(place) for place in range(COUNT)])
    depth = np.where(marked, np.float32(2.0), np.float32(5.0))
    measured = StereoResult(prepared.measurable_cameras(cameras), depth, np.ones_like(depth), marked.astype(np.uint8))
    shown = np.full((COUNT, HEIGHT, WIDTH), 5.0, np.float32)
    found = ClipPlateDepth(prepared, plates, cameras, measured, shown, matte)[1]
    assert matte[1].sum() > 1000
    np.testing.assert_array_equal(found < 3.0, matte[1] > 0)
    without = ClipPlateDepth(prepared, plates, cameras, measured, shown)[1]
    assert ((without < 3.0) != (matte[1] > 0)).sum() > 100


@pytest.mark.slow
def test_repeats_and_what_was_not_measured_have_a_plates_depth_too():
    """A flash is shown what the frame beside it has, a repeated picture exactly what its twin has."""
    large = render_boards(camera_path(9), focal_px=2 * FOCAL_PX, width=2 * WIDTH, height=2 * HEIGHT)
    lit = large[[0, 1, 2, 2, 3, 4, 5, 6, 7, 8]].copy()
    lit[6] = np.clip(lit[6].astype(int) * 3 + 110, 0, 255)
    frames = np.stack([cv2.resize(frame, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA) for frame in lit])
    plates = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in lit])
    context = RunContext(report=RecordingReport(), plate_scale=2.0)
    found = estimate_depth(frames, Settings(depth_size="plate"), lens=KnownLens(FOCAL_PX),
                           context=replace(context, plates=plates))
    depth = [found.plate_depth[index] for index in range(len(frames))]
    assert found.plate_depth.size == (2 * HEIGHT, 2 * WIDTH) == depth[0].shape
    np.testing.assert_array_equal(depth[2], depth[3])
    np.testing.assert_array_equal(depth[6][::2, ::2], found.depth[6])
    for index in (0, 5, 9):
        coarse = cv2.resize(1.0 / depth[index], (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        assert np.median(np.abs(coarse * found.depth[index] - 1)) < 0.01
