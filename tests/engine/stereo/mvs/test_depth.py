"""The dense half of stage 1 from end to end, on scenes with known depth and cameras."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from camera_scenes import camera_path, render_boards, texture
from known_depth import FOCAL_PX, HEIGHT, WIDTH, KnownShot, boards_depth, boards_shot, known_cameras
from recording_report import RecordingReport

from stereodiff_blender.engine.imaging.flow import OpticalFlow
from stereodiff_blender.engine.quality.assess import assess
from stereodiff_blender.engine.report import Report
from stereodiff_blender.engine.solution import TRUSTED
from stereodiff_blender.engine.stereo.mvs import depth as dense
from stereodiff_blender.engine.stereo.mvs.coverage import warn_of_coverage
from stereodiff_blender.engine.stereo.mvs.depth import MOVING_CONFIDENCE, estimate_depth_maps
from stereodiff_blender.engine.stereo.mvs.filtering import texture_of
from stereodiff_blender.engine.stereo.mvs.sources import depth_limits
from stereodiff_blender.engine.storage import DiskScratch, RunContext, Scratch

COUNT = 8


def measure(shot, scratch=None, report=None, **more):
    context = RunContext(scratch or Scratch(), report or Report())
    return estimate_depth_maps(shot.frames, shot.cameras, context=context, **more)


def check_promises(result, shape):
    """What StereoResult promises, whatever the clip."""
    assert result.depth.shape == result.confidence.shape == result.motion_mask.shape == shape
    assert result.depth.dtype == result.confidence.dtype == np.float32 and result.motion_mask.dtype == np.uint8
    assert np.isfinite(result.depth).all() and (result.depth > 0).all()
    assert result.confidence.min() >= 0 and result.confidence.max() <= 1
    assert set(np.unique(result.motion_mask)) <= {0, 1}


@pytest.fixture(scope="module")
def shot():
    return boards_shot(COUNT)


@pytest.fixture(scope="module")
def result(shot):
    return measure(shot)


@pytest.fixture(scope="module")
def noise():
    """Frames that have nothing to do with one another, seen by cameras that say otherwise."""
    frames = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), np.uint8)
    return replace(boards_shot(4, width=64, height=64), frames=frames)


# --- Accuracy ---------------------------------------------------------------------------------------------------

@pytest.mark.slow
def test_promises_are_kept(result):
    check_promises(result, (COUNT, HEIGHT, WIDTH))


def away_from_edges(depth):
    """Pixels in whose neighborhood the true depth changes little."""
    window = np.ones((9, 9), np.uint8)
    return np.stack([cv2.dilate(z, window) < 1.15 * cv2.erode(z, window) for z in depth])


def test_depth_is_right(shot, result):
    error = np.abs(result.depth / shot.depth - 1)
    assert error.mean() < 0.045 and (error < 0.05).mean() > 0.8


def test_trusted_depth_is_righter_and_covers_most(shot, result):
    trusted = result.confidence > TRUSTED
    error = np.abs(result.depth / shot.depth - 1)
    assert trusted.mean() > 0.75 and error[trusted].mean() < 0.02 < error[~trusted].mean()
    surfaces = trusted & away_from_edges(shot.depth)
    assert surfaces.mean() > 0.55
    assert error[surfaces].mean() < 0.015 and (error[surfaces] < 0.05).mean() > 0.95


def test_depth_has_no_bias(shot, result):
    surfaces = (result.confidence > TRUSTED) & away_from_edges(shot.depth)
    assert abs(np.median((result.depth / shot.depth)[surfaces]) - 1) < 0.01


def test_depth_stays_within_the_limits(shot, result):
    low, high = depth_limits(shot.cameras).disparity
    assert result.depth.max() <= 1.001 / low and result.depth.min() >= 0.999 / high


@pytest.mark.slow
def test_progress_is_told(shot):
    report = RecordingReport()
    measure(shot, report=report)
    assert report.stages == [("depth", COUNT), ("motion", COUNT)] and report.done == COUNT
    assert report.warnings == {}


# --- Small and hopeless clips -----------------------------------------------------------------------------------

@pytest.mark.parametrize("count, height, width", [(2, HEIGHT, WIDTH), (2, 64, 64), (3, 64, 333)])
def test_small_clips(count, height, width):
    shot = boards_shot(count, travel=0.15 * (count - 1), width=width, height=height)
    result = measure(shot)
    check_promises(result, (count, height, width))
    trusted = result.confidence > TRUSTED
    assert trusted.mean() > 0.4
    assert np.nanmedian(np.abs(result.depth / shot.depth - 1)[trusted]) < 0.03


def test_noise_is_little_trusted_and_breaks_nothing(noise):
    report = RecordingReport()
    result = measure(noise, report=report)
    check_promises(result, (4, 64, 64))
    assert (result.confidence > TRUSTED).mean() < 0.3
    assert "low_coverage" in report.warnings


def test_noise_without_points_to_start_from_is_not_trusted_at_all(noise):
    bare = replace(noise, cameras=replace(noise.cameras, points=np.empty((0, 3)), observations=[]))
    assert (measure(bare).confidence > TRUSTED).mean() < 0.02


@pytest.mark.slow
@pytest.mark.parametrize("level", [0, 128, 255])
def test_empty_pictures_break_nothing(shot, level):
    empty = replace(shot, frames=np.full_like(shot.frames, level))
    check_promises(measure(empty), empty.frames.shape[:3])


def test_a_solve_without_points_is_enough(shot):
    bare = replace(shot, cameras=replace(shot.cameras, points=np.empty((0, 3)), observations=[]))
    check_promises(measure(bare), (COUNT, HEIGHT, WIDTH))


# --- Masks --------------------------------------------------------------------------------------------------------

@pytest.mark.slow
def test_masks_of_the_artist_are_honored(shot, result):
    masks = np.zeros((COUNT, HEIGHT, WIDTH), bool)
    masks[2:6, 30:70, 80:110] = True
    masked = measure(shot, masks=masks)
    assert (masked.motion_mask[masks] == 1).all()
    assert (masked.confidence[masks] == np.float32(MOVING_CONFIDENCE)).all()
    inside = masked.depth[3, 30:70, 80:110]
    assert np.ptp(inside) < 0.05 * inside.mean() and np.ptp(inside, axis=1).max() < 2e-3 * inside.mean()
    assert np.array_equal(masked.motion_mask[~masks], result.motion_mask[~masks])


def test_what_outlines_give_back_is_known_by_what_moved_not_by_its_confidence():
    """A filled pixel may have the very confidence of a moving one; it was never taken for moving."""
    raw = dense.RawDepth.allocate(Scratch().allocate, "survey", (1, 1, 4))
    raw.found[0, 0] = 0, 0, 1, 1
    confidence = np.array([[[0.9, MOVING_CONFIDENCE, MOVING_CONFIDENCE, MOVING_CONFIDENCE]]], np.float32)
    dense._finish_mask(raw, np.array([[[0, 0, 0, 7]]], np.uint16), confidence)
    assert raw.mask.tolist() == [[[0, 0, 0, 1]]]
    expected = [0.9, MOVING_CONFIDENCE, dense.BEHIND_CONFIDENCE, MOVING_CONFIDENCE]
    assert np.array_equal(confidence[0, 0], np.array(expected, np.float32))


@pytest.mark.slow
def test_what_was_given_back_is_no_more_as_unsure_as_what_moves():
    square = boards_shot(COUNT, travel=0.6, moving=lambda index: (20 + 5 * index, 20 + 2 * index))
    result = measure(square)
    moves = result.motion_mask > 0
    assert (result.confidence[moves] == np.float32(MOVING_CONFIDENCE)).any()
    assert not (result.confidence[~moves] == np.float32(MOVING_CONFIDENCE)).any()
    assert (result.confidence[~moves] == np.float32(dense.BEHIND_CONFIDENCE)).any()


@pytest.mark.slow
def test_a_picture_that_moves_altogether_is_said_to(shot):
    report = RecordingReport()
    result = measure(shot, report=report, masks=np.ones((COUNT, HEIGHT, WIDTH), bool))
    check_promises(result, (COUNT, HEIGHT, WIDTH))
    assert set(report.warnings) == {"low_coverage", "large_motion"}


# --- Sameness -----------------------------------------------------------------------------------------------------

def assert_same(one, other):
    for name in ("depth", "confidence", "motion_mask"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name


@pytest.mark.slow
def test_twice_is_the_same(shot, result):
    assert_same(measure(shot), result)


@pytest.mark.slow
def test_scratch_on_disk_gives_the_same(shot, result, tmp_path):
    np.save(tmp_path / "frames.npy", shot.frames)
    mapped = replace(shot, frames=np.load(tmp_path / "frames.npy", mmap_mode="r"))
    on_disk = measure(mapped, scratch=DiskScratch(tmp_path / "scratch"))
    assert isinstance(on_disk.depth, np.memmap)
    assert_same(on_disk, result)


@pytest.mark.slow
def test_given_flow_is_used_and_gives_the_same(shot, result):
    flow = OpticalFlow(shot.frames, capacity=200)
    assert_same(measure(shot, flow=flow), result)
    assert not any(flow.has(i, j) for i in range(COUNT) for j in range(COUNT)), "what is not needed any more is let go"
    blind = OpticalFlow(np.zeros_like(shot.frames), capacity=200)
    assert measure(shot, flow=blind).confidence.mean() < 0.5 * result.confidence.mean()


# --- Doors --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", ["rotation", "static"])
def test_only_a_moving_camera_measures(shot, kind):
    with pytest.raises(ValueError, match="moving camera"):
        measure(replace(shot, cameras=replace(shot.cameras, kind=kind)))


@pytest.mark.parametrize("frames, message", [
    (np.zeros((COUNT, HEIGHT, WIDTH), np.uint8), "frames must be"),
    (np.zeros((COUNT, HEIGHT, WIDTH, 3), np.float32), "frames must be"),
    (np.zeros((1, HEIGHT, WIDTH, 3), np.uint8), "frames must be"),
    (np.zeros((COUNT + 1, HEIGHT, WIDTH, 3), np.uint8), "as many cameras"),
])
def test_frames_that_do_not_fit_are_refused(shot, frames, message):
    with pytest.raises(ValueError, match=message):
        measure(replace(shot, frames=frames))


def test_masks_that_do_not_fit_are_refused(shot):
    with pytest.raises(ValueError, match="masks must be"):
        measure(shot, masks=np.zeros((COUNT, HEIGHT, WIDTH + 1), bool))


# --- Texture ------------------------------------------------------------------------------------------------------

def test_texture_is_the_gradient_in_gray_levels():
    ramp = np.repeat((3 * np.arange(60, dtype=np.uint8))[None, :, None], 40, axis=0).repeat(3, axis=2)
    assert np.allclose(texture_of(ramp)[8:-8, 8:-8], 3.0, rtol=1e-3)


def test_texture_of_evenness_beside_strong_detail_is_zero_and_no_error():
    # Running sums that leave a strong pattern behind round to just below zero.
    frame = np.full((200, 200, 3), 90, np.uint8)
    frame[:60] = np.random.default_rng(0).integers(0, 256, (60, 200, 3), np.uint8)
    texture = texture_of(frame)
    assert np.isfinite(texture).all() and texture[80:].max() < 0.2


# --- Sky ----------------------------------------------------------------------------------------------------------

CLEAR_BLUE = (171, 188, 202)


def under_a_sky(shot, color):
    """The same shot with the far board, which fills the picture's top, painted over: an even area behind the rest."""
    frames, cameras = shot.frames.copy(), shot.cameras
    far = np.zeros(shot.depth.shape, bool)
    for index, depth in enumerate(shot.depth):
        far[index] = (depth > 9.5) & (np.arange(HEIGHT)[:, None] < 50)
        frames[index][far[index]] = color
    frames = np.where(far[..., None], frames, (0.55 * frames).astype(np.uint8))
    depth = np.where(far, np.nan, shot.depth)
    return replace(shot, frames=frames, cameras=known_cameras(cameras.camera_to_world, cameras.intrinsics, depth)), far


@pytest.mark.slow
def test_plain_blue_sky_is_far_sharp_and_not_trusted(shot):
    clear, sky = under_a_sky(shot, CLEAR_BLUE)
    result = measure(clear)
    check_promises(result, sky.shape)
    farthest = result.depth > 0.99 / depth_limits(clear.cameras).disparity[0]
    assert (farthest & sky).sum() / (farthest | sky).sum() > 0.9
    told = np.stack([result.is_sky(index) for index in range(len(sky))])
    assert (told & sky).sum() / (told | sky).sum() > 0.9
    assert (result.confidence[farthest] < TRUSTED).all()
    assert np.nanmean(np.abs(result.depth / shot.depth - 1)[~sky & ~farthest]) < 0.06


@pytest.mark.slow
def test_a_plain_white_ceiling_is_not_thrown_to_the_horizon(shot):
    ceiling, textureless = under_a_sky(shot, (205, 203, 198))
    depth = measure(ceiling).depth
    assert depth[textureless].max() < 0.7 / depth_limits(ceiling.cameras).disparity[0]


@pytest.mark.slow
def test_even_surfaces_are_not_vouched_for(shot, result):
    """Without texture matches agree with one another on whatever they were started from."""
    ceiling, textureless = under_a_sky(shot, (205, 203, 198))
    inside = np.stack([cv2.erode(one.astype(np.uint8), np.ones((11, 11), np.uint8)) > 0 for one in textureless])
    assert inside.mean() > 0.03 and (result.confidence > TRUSTED)[inside].mean() > 0.8
    assert (measure(ceiling).confidence > TRUSTED)[inside].mean() < 0.2


# --- What travels along ----------------------------------------------------------------------------------------

PANEL = (slice(0, 60), slice(70, 120))
"""Rows and columns of the patch that render_boards pastes."""


@pytest.fixture(scope="module")
def pacing():
    """A camera that travels without turning, and a panel that keeps pace with it and reaches the top border."""
    poses = camera_path(36, travel=4.0, turn_deg=0.0)
    intrinsics = np.tile((FOCAL_PX, FOCAL_PX, WIDTH / 2, HEIGHT / 2), (36, 1))
    frames = render_boards(poses, focal_px=FOCAL_PX, width=WIDTH, height=HEIGHT, moving=lambda _: (70, 0), noise=0.5)
    depth = np.stack([boards_depth(pose, lens, HEIGHT, WIDTH) for pose, lens in zip(poses, intrinsics, strict=True)])
    hidden = depth.copy()
    hidden[:, *PANEL] = np.nan
    return KnownShot(frames, depth, known_cameras(poses, intrinsics, hidden))


@pytest.mark.slow
def test_a_panel_that_keeps_pace_is_no_sky_and_not_trusted(pacing):
    report = RecordingReport()
    result = measure(pacing, report=report)
    check_promises(result, pacing.depth.shape)
    farthest = result.depth > 0.9 / depth_limits(pacing.cameras).disparity[0]
    middle = (slice(4, 32), slice(8, 52), slice(78, 112))
    assert farthest[middle].mean() < 0.15
    assert (result.motion_mask[middle] > 0).mean() > 0.8
    assert (result.confidence[middle] > TRUSTED).mean() < 0.02
    outside = np.ones(pacing.depth.shape, bool)
    outside[:, :72, 55:135] = False
    assert (result.motion_mask[outside] > 0).mean() < 0.03


@pytest.mark.slow
def test_a_clouded_sky_stays_far_and_still(shot):
    """Faint clouds have no parallax, and hide nothing: they stay where they are in a picture that does not turn."""
    poses = camera_path(COUNT, travel=1.0, turn_deg=0.0)
    intrinsics = np.tile((FOCAL_PX, FOCAL_PX, WIDTH / 2, HEIGHT / 2), (COUNT, 1))
    frames = render_boards(poses, focal_px=FOCAL_PX, width=WIDTH, height=HEIGHT, noise=0.5)
    depth = np.stack([boards_depth(pose, lens, HEIGHT, WIDTH) for pose, lens in zip(poses, intrinsics, strict=True)])
    clouds = (215 + 0.15 * texture(5)[:HEIGHT, :WIDTH, :1].astype(float)).clip(0, 255).astype(np.uint8)
    sky = (depth > 9.5) & (np.arange(HEIGHT)[:, None] < 50)
    frames = np.where(sky[..., None], clouds, (0.55 * frames).astype(np.uint8))
    known = known_cameras(poses, intrinsics, np.where(sky, np.nan, depth))
    result = measure(KnownShot(frames, depth, known))
    inside = np.stack([cv2.erode(one.astype(np.uint8), np.ones((13, 13), np.uint8)) > 0 for one in sky])
    far = depth_limits(known).far
    assert inside.mean() > 0.03 and (result.depth[inside] > far).mean() > 0.6
    told = np.stack([result.is_sky(index) for index in range(len(sky))])
    hidden = told | (result.confidence < 0.2)  # by a mesh as imported
    assert told[inside].mean() > 0.5 and hidden[inside].mean() > 0.99 and (told & ~sky).mean() < 0.001
    assert np.median(result.depth[inside]) > 1.5 * far
    assert result.motion_mask[inside].mean() < 0.02 and (result.confidence[inside] > TRUSTED).mean() < 0.01


@pytest.mark.parametrize(("measured_rows", "open_rows", "warns"), [(12, 20, False), (8, 20, True), (12, 0, True)],
                         ids=["open sky aside", "too little below it", "far, but not seen to be the sky"])
def test_open_sky_alone_does_not_count_against_coverage(measured_rows, open_rows, warns):
    """Half of the picture is far away: of the 20 rows below it, more or less than half are measured."""
    confidence = np.full((3, 40, 16), 0.2, np.float32)
    confidence[:, 20:20 + measured_rows] = 0.9
    report = RecordingReport()
    warn_of_coverage(np.zeros(confidence.shape, np.uint8), confidence, open_rows / 40, report)
    assert ("low_coverage" in report.warnings) == warns


@pytest.mark.parametrize("is_doubtful", [False, True])
def test_a_doubted_lens_leaves_nothing_that_words_call_measured(noise, is_doubtful):
    """As the panel has it, which shows 0 % then, however much agrees."""
    report, doubted = RecordingReport(), replace(noise.cameras, is_focal_unreliable=is_doubtful)
    result = measure(replace(noise, cameras=doubted), report=report)
    agreeing = 100 * float((result.confidence > TRUSTED).mean())
    said = report.warnings["low_coverage"]
    assert f"{agreeing:.0f} % of the picture" in said
    assert said.startswith("None of the picture counts as measured" if is_doubtful else "Only ")
    trust = assess(doubted, 1, result)
    assert trust.coverage == (0.0 if is_doubtful else pytest.approx(agreeing / 100))
