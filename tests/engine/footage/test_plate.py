"""Spoilt footage through the whole method: what comes back for bars, repeats, lettering and flashes."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from recording_report import RecordingReport
from tiny_jobs import FOCAL_PX, HEIGHT, WIDTH, render_boards

from stereodiff_blender.engine.contract import Distortion, LensResult, Settings, StereoDiffError
from stereodiff_blender.engine.footage.inspection import inspect_footage
from stereodiff_blender.engine.footage.plate import prepare_footage
from stereodiff_blender.engine.lens import undistorted
from stereodiff_blender.engine.pipeline.pipeline import Estimate, estimate_depth
from stereodiff_blender.engine.pipeline.stereo_steps import warn_of_cut_corners
from stereodiff_blender.engine.solution import TRUSTED, CameraSolution, KnownCameras, KnownLens
from stereodiff_blender.engine.storage import RunContext, Scratch

pytestmark = pytest.mark.slow

COUNT = 10


def solve(frames: np.ndarray, masks: np.ndarray | None = None) -> tuple[Estimate, list[str]]:
    report = RecordingReport()
    given = frames.copy()
    estimate = estimate_depth(frames, Settings(), masks=masks, lens=KnownLens(FOCAL_PX),
                              context=RunContext(report=report))
    np.testing.assert_array_equal(frames, given)
    return estimate, list(report.warnings)


@pytest.fixture(scope="module")
def boards() -> np.ndarray:
    return np.stack(render_boards(COUNT))


@pytest.fixture(scope="module")
def clean(boards) -> tuple[Estimate, list[str]]:
    return solve(boards)


def relative_difference(depth: np.ndarray, reference: np.ndarray) -> np.ndarray:
    return np.abs(depth / reference - 1)


def test_clean_footage_is_neither_copied_nor_masked(boards):
    matte = np.zeros(boards.shape[:3], np.uint8)
    prepared = prepare_footage(boards, matte, inspect_footage(boards), Scratch())
    assert prepared.frames is boards and prepared.masks is matte
    assert prepared.measurable_frames(Scratch()) is boards and prepared.measurable_matte(Scratch()) is matte


def test_a_cut_is_refused_before_anything_is_solved(boards):
    turned = np.ascontiguousarray(255 - boards[:, ::-1, ::-1])
    with pytest.raises(StereoDiffError) as caught:
        solve(np.concatenate([boards, turned]))
    assert caught.value.code == "cut_in_range" and caught.value.shots == ((1, 10), (11, 20))


def test_bars_have_no_depth_and_the_picture_between_them_is_as_good(boards, clean):
    barred = boards.copy()
    barred[:, :18] = barred[:, -18:] = 0
    estimate, codes = solve(barred)
    assert codes.count("black_bars") == 1
    top, bottom, left, right = inspect_footage(barred).picture
    assert (left, right) == (0, WIDTH) and 18 <= top <= 20
    inside = np.zeros((HEIGHT, WIDTH), bool)
    inside[top:bottom] = True
    for array in (estimate.depth, estimate.stereo.depth, estimate.stereo.confidence, estimate.stereo.motion_mask):
        assert array.shape == (COUNT, HEIGHT, WIDTH) and not array[:, ~inside].any()
    assert (estimate.depth[:, inside] > 0).all()
    np.testing.assert_allclose(estimate.cameras.intrinsics[0, 2:], (WIDTH / 2, HEIGHT / 2))
    assert estimate.quality.coverage > clean[0].quality.coverage - 0.05
    scale = np.median(clean[0].depth[:, inside] / estimate.depth[:, inside])
    difference = relative_difference(scale * estimate.depth, clean[0].depth)[:, inside]
    assert np.median(difference) < 0.01 and difference.mean() < 0.05


def test_repeats_share_camera_and_depth(boards, clean):
    shown = np.array([0, 1, 2, 2, 3, 4, 5, 5, 6, 7, 8, 9])
    grain = np.random.default_rng(5).normal(0, 2, (len(shown), HEIGHT, WIDTH, 1))
    estimate, codes = solve(np.clip(boards[shown] + grain, 0, 255).astype(np.uint8))
    assert codes.count("repeated_frames") == 1
    for twin, repeat in ((2, 3), (6, 7)):
        np.testing.assert_array_equal(*estimate.cameras.camera_to_world[[twin, repeat]])
        for array in (estimate.depth, estimate.stereo.confidence, estimate.stereo.motion_mask):
            np.testing.assert_array_equal(array[twin], array[repeat])
    assert len(estimate.depth) == len(shown)
    ratio = estimate.depth / clean[0].depth[shown]
    assert np.median(relative_difference(ratio, np.median(ratio))) < 0.01


def written_on(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frames with a word on them, and (H,W) where it stands."""
    written = frames.copy()
    for frame in written:
        cv2.putText(frame, "ROUGH", (20, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 2, cv2.LINE_AA)
    return written, (written != frames).any(axis=(0, 3))


def test_lettering_becomes_what_is_around_it(boards, clean):
    written, drawn = written_on(boards)
    estimate, codes = solve(written)
    assert codes.count("burnt_in_text") == 1
    box = inspect_footage(written).overlay_mask()
    assert (box & drawn).sum() > 0.9 * drawn.sum()
    assert not estimate.stereo.confidence[:, box].any() and not estimate.stereo.motion_mask[:, box].any()
    ratio = estimate.depth / clean[0].depth
    error = relative_difference(ratio, np.median(ratio))
    assert error[:, drawn].mean() < 0.12 and error[:, ~box].mean() < 0.03


def test_lettering_is_added_to_the_matte_only_for_tracking(boards):
    written, _ = written_on(boards)
    matte = np.zeros(boards.shape[:3], np.uint8)
    matte[:, 100:120, 60:90] = 1
    footage = inspect_footage(written)
    prepared = prepare_footage(written, matte, footage, Scratch())
    for index in range(COUNT):
        np.testing.assert_array_equal(np.asarray(prepared.masks[index]) > 0,
                                      (matte[index] > 0) | footage.overlay_mask())
    np.testing.assert_array_equal(prepared.measurable_matte(Scratch()), matte)


def test_a_flash_gets_the_depth_of_the_frame_before_seen_from_its_own_camera(boards, clean):
    lit = boards.copy()
    lit[5] = np.clip(lit[5].astype(int) * 3 + 110, 0, 255)
    estimate, codes = solve(lit)
    assert codes.count("flash_frames") == 1
    ratio = estimate.depth[5] / clean[0].depth[5]
    assert np.median(relative_difference(ratio, np.median(ratio))) < 0.02
    assert estimate.stereo.confidence[5].max() <= 0.4
    not_carried = relative_difference(estimate.depth[4], estimate.depth[5])
    assert (not_carried > 0.05).mean() > 0.005


def known_but(lost: tuple[int, ...], poses: np.ndarray) -> KnownCameras:
    known = ~np.isin(np.arange(len(poses)), lost)
    return KnownCameras(np.where(known[:, None, None], poses, np.eye(4)),
                        np.where(known[:, None], (FOCAL_PX, FOCAL_PX, WIDTH / 2, HEIGHT / 2), 1.0), known)


def test_a_frame_without_a_camera_shows_depth_that_is_carried_and_trusts_none_of_it(boards, clean):
    """Frames 4 to 6 have a camera of no use: what they would measure with it, and what others with them, is wrong."""
    estimate = estimate_depth(boards, Settings(), known=known_but((4, 5, 6), clean[0].cameras.camera_to_world),
                              context=RunContext())
    lost = ~estimate.cameras.solved
    assert np.flatnonzero(lost).tolist() == [4, 5, 6]
    assert not estimate.stereo.confidence[lost].any() and not estimate.stereo.motion_mask[lost].any()
    for depth in (estimate.depth, estimate.stereo.depth):
        assert (depth > 0).all()
    ratio = estimate.depth / clean[0].depth
    error = relative_difference(ratio, np.median(ratio))
    assert np.median(error[lost]) < 0.03 and np.median(error[~lost]) < 0.01
    trusted = (estimate.stereo.confidence[~lost] > TRUSTED).mean()
    assert trusted > 0.5 and estimate.quality.coverage == pytest.approx(0.7 * trusted)
    assert estimate.quality.unsolved_frames == (5, 6, 7)


def test_where_hardly_a_camera_is_known_all_frames_are_measured_and_the_others_not_trusted(boards):
    prepared = prepare_footage(boards, None, inspect_footage(boards), Scratch())
    assert prepared.measured_where_solved(np.arange(COUNT) == 3) is prepared
    two = prepared.measured_where_solved(np.isin(np.arange(COUNT), (2, 6)))
    assert two.measured_in.tolist() == [2, 2, 2, 2, 2, 6, 6, 6, 6, 6] and two.measured_share == 0.2


def test_even_light_is_restored(boards):
    gain = 1 + 0.2 * np.sin(2 * np.pi * np.arange(COUNT) / 2.7)
    flickering = np.clip(0.7 * boards * gain[:, None, None, None], 0, 255).astype(np.uint8)
    prepared = prepare_footage(flickering, None, inspect_footage(flickering), Scratch())
    swing_before = np.std(flickering.mean(axis=(1, 2, 3)))
    assert np.std(np.asarray(prepared.frames).mean(axis=(1, 2, 3))) < 0.5 * swing_before


# --- Through a lens that distorts ----------------------------------------------------------------------------------

LENS = LensResult("radial", Distortion(-0.12))


def cameras_of(count: int, lens: LensResult = LENS) -> CameraSolution:
    """Side by side, all ahead; each sees the same two points."""
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, 0, 3] = 0.1 * np.arange(count)
    seen = [(np.arange(2), np.array([[20.0, 30.0], [150.0, 100.0]]))] * count
    return CameraSolution("moving", poses, np.tile([FOCAL_PX, FOCAL_PX, WIDTH / 2, HEIGHT / 2], (count, 1)),
                          np.ones(count, bool), np.zeros(count), np.ones((2, 3)), np.ones(2), seen, lens=lens)


def bent(frames: np.ndarray, lens: Distortion = LENS.distortion) -> np.ndarray:
    """The frames as a lens shows them that distorts."""
    centers = np.stack(np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5), axis=-1) - (WIDTH / 2, HEIGHT / 2)
    ideal = (undistorted(centers / FOCAL_PX, lens) * FOCAL_PX + (WIDTH / 2 - 0.5, HEIGHT / 2 - 0.5)).astype(np.float32)
    return np.stack([cv2.remap(frame, ideal, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
                     for frame in frames])


def test_a_pinholes_plate_is_not_copied(boards):
    prepared = prepare_footage(boards, None, inspect_footage(boards), Scratch())
    assert prepared.rectified(cameras_of(COUNT, LensResult())) is prepared
    assert prepared.rectified(cameras_of(COUNT, LensResult())).measurable_frames(Scratch()) is boards


def test_a_distorted_plate_is_measured_as_a_pinhole_would_have_shown_it(boards):
    plate = bent(boards)
    cameras = cameras_of(COUNT)
    prepared = prepare_footage(plate, None, inspect_footage(plate), Scratch()).rectified(cameras)
    measurable = prepared.measurable_frames(Scratch())
    scene = prepared.measurable_cameras(cameras)
    left, top = (scene.intrinsics[0, 2:] - (WIDTH / 2, HEIGHT / 2)).astype(int)
    assert left > 0 and top > 0 and scene.lens == LensResult()
    part = measurable[:, top + 8:top + HEIGHT - 8, left + 8:left + WIDTH - 8].astype(int)
    assert np.abs(part - boards[:, 8:-8, 8:-8]).mean() < 6.0
    assert np.abs(plate[:, 8:-8, 8:-8].astype(int) - boards[:, 8:-8, 8:-8]).mean() > 10.0
    place = (np.array([20.0, 30.0]) - (WIDTH / 2, HEIGHT / 2)) / FOCAL_PX
    ideal = undistorted(place, LENS.distortion) * FOCAL_PX + (WIDTH / 2 + left, HEIGHT / 2 + top)
    np.testing.assert_allclose(scene.observations[0][1][0], ideal)


@pytest.mark.parametrize("barred", [False, True])
def test_what_was_measured_comes_back_to_the_plate(boards, barred):
    """The left part is near: so it is on the plate, up to the edge where the lens shows it, and bars have nothing."""
    plate = bent(boards)
    if barred:
        plate[:, :18] = plate[:, -18:] = 0
    cameras = cameras_of(COUNT)
    footage = inspect_footage(plate)
    prepared = prepare_footage(plate, None, footage, Scratch()).rectified(cameras)
    height, width = prepared.measurable_frames(Scratch()).shape[1:3]
    edge = int(prepared.measurable_cameras(cameras).intrinsics[0, 2]) - 60
    measured = np.full((COUNT, height, width), 5.0, np.float32)
    measured[:, :, :edge] = 2.0
    shown = prepared.shown(measured, "stereo_depth", Scratch())
    top, bottom, _, _ = footage.picture
    assert shown.shape == (COUNT, HEIGHT, WIDTH) and not shown[:, :top].any() and not shown[:, bottom:].any()
    near = np.isclose(shown[:, top:bottom], 2.0, rtol=0.03)
    assert (near | np.isclose(shown[:, top:bottom], 5.0, rtol=0.03)).all(), "no depth between the two"
    for row in (top + 2, HEIGHT // 2, bottom - 3):
        places = np.stack([np.arange(WIDTH) + 0.5 - WIDTH / 2, np.full(WIDTH, row + 0.5 - HEIGHT / 2)], axis=-1)
        x = undistorted(places / FOCAL_PX, LENS.distortion)[:, 0] * FOCAL_PX
        clear = np.abs(x + 60) > 1.0
        np.testing.assert_allclose(shown[0, row][clear], np.where(x < -60, 2.0, 5.0)[clear], rtol=1e-6)


def test_beyond_the_plate_nothing_is_trusted(boards):
    plate = bent(boards)
    prepared = prepare_footage(plate, None, inspect_footage(plate), Scratch()).rectified(cameras_of(COUNT))
    shape = prepared.measurable_frames(Scratch()).shape[:3]
    depth, confidence, moves = np.ones(shape, np.float32), np.ones(shape, np.float32), np.zeros(shape, np.uint8)
    prepared.fill_overlays(depth, confidence, moves)
    assert not confidence[:, 0, 0].any() and confidence[:, shape[1] // 2, shape[2] // 2].all()
    assert (prepared.shown(confidence, "confidence", Scratch()) == 1.0).mean() > 0.99


def test_what_a_fisheye_shows_beyond_the_measured_raster_is_not_trusted(boards):
    wide = replace(cameras_of(COUNT, LensResult("fisheye", Distortion(is_fisheye=True))),
                   intrinsics=np.tile([0.46 * WIDTH, 0.46 * WIDTH, WIDTH / 2, HEIGHT / 2], (COUNT, 1)))
    prepared = prepare_footage(boards, None, inspect_footage(boards), Scratch()).rectified(wide)
    shape = (COUNT, *prepared.measurable_frames(Scratch()).shape[1:3])
    confidence, depth = (prepared.shown(np.ones(shape, np.float32), name, Scratch())[0]
                         for name in ("confidence", "stereo_depth"))
    assert not confidence[[0, 0, -1, -1], [0, -1, 0, -1]].any() and (depth > 0.0).all()
    assert prepared.cut_share == pytest.approx((confidence == 0.0).mean()) and 0.02 < prepared.cut_share < 0.15
    assert prepared.rectified(cameras_of(COUNT)).cut_share == 0.0
    report = RecordingReport()
    warn_of_cut_corners(prepared, report)
    assert f"{100 * prepared.cut_share:.0f} %" in report.warnings["lens_corners_cut"]
    warn_of_cut_corners(prepared.rectified(cameras_of(COUNT)), refused := RecordingReport())
    assert not refused.warnings


def test_a_repeated_distorted_frame_is_its_twins_and_a_matte_goes_along(boards):
    shown = np.array([0, 1, 2, 2, 3, 4, 5, 6, 7, 8])
    grain = np.random.default_rng(5).normal(0, 2, (len(shown), HEIGHT, WIDTH, 1))
    plate = np.clip(bent(boards)[shown] + grain, 0, 255).astype(np.uint8)
    matte = np.zeros(plate.shape[:3], np.uint8)
    matte[:, 60:90, 80:110] = 1
    prepared = prepare_footage(plate, matte, inspect_footage(plate), Scratch()).rectified(cameras_of(len(shown)))
    measurable, mask = prepared.measurable_frames(Scratch()), prepared.measurable_matte(Scratch())
    assert measurable.shape[1] > HEIGHT and measurable.shape[2] > WIDTH, "the plate's corners reach beyond it"
    assert len(measurable) == len(mask) == 9 and mask.shape == measurable.shape[:3]
    assert set(np.unique(mask)) == {0, 1}
    np.testing.assert_allclose(prepared.shown(mask, "motion_mask", Scratch()).mean(), matte.mean(), rtol=0.05)
    numbered = np.broadcast_to(np.arange(9, dtype=np.float32)[:, None, None] + 1, measurable.shape[:3])
    back = prepared.shown(np.ascontiguousarray(numbered), "stereo_depth", Scratch())
    assert [round(float(np.median(one)), 5) for one in back] == [1, 2, 3, 3, 4, 5, 6, 7, 8, 9]


def test_a_carried_frame_is_carried_through_the_lens(boards):
    """A near part on the left, which goes out of the picture as the camera goes to the right."""
    plate = bent(boards)
    cameras = cameras_of(COUNT)
    prepared = prepare_footage(plate, None, inspect_footage(plate), Scratch())
    prepared = prepared.measured_where_solved(np.arange(COUNT) != 4).rectified(cameras)
    height, width = prepared.measurable_frames(Scratch()).shape[1:3]
    assert height > HEIGHT and width > WIDTH
    measured = np.full((COUNT - 1, height, width), 4.0, np.float32)
    for place, index in enumerate(prepared.measurable):
        measured[place, :, :width // 2 - round(0.1 * FOCAL_PX / 2.0 * index)] = 2.0
    depth = prepared.shown(measured, "stereo_depth", Scratch())
    confidence = np.ones_like(depth)
    prepared.carry_depth(depth, confidence, cameras)
    assert (np.isclose(depth[4], 2.0) | np.isclose(depth[4], 4.0)).all() and confidence[4].max() <= 0.4
    share = [float((one < 3.0).mean()) for one in depth]
    behind = 0.1 * FOCAL_PX / 4.0 / WIDTH  # what comes into view beside the near part, nobody has measured
    assert share[4] == pytest.approx(0.5 * (share[3] + share[5]), abs=behind + 0.005)
    assert share[4] < share[3] - 0.5 * behind


def test_cameras_come_back_to_the_plate_through_the_lens(boards):
    plate = bent(boards)
    plate[:, :18] = plate[:, -18:] = 0
    cameras = cameras_of(COUNT)
    prepared = prepare_footage(plate, None, inspect_footage(plate), Scratch()).rectified(cameras)
    back = prepared.clip_cameras(prepared.measurable_cameras(cameras), LENS)
    np.testing.assert_allclose(back.intrinsics, cameras.intrinsics)
    np.testing.assert_allclose(back.observations[3][1], cameras.observations[3][1], atol=1e-9)
    assert back.lens == LENS


# --- Behind a rolling shutter --------------------------------------------------------------------------------------

@pytest.mark.parametrize("lens", [LensResult(readout=0.5), replace(LENS, readout=0.5)], ids=["pinhole", "barrel"])
def test_rows_of_what_is_measured_have_the_times_of_the_plates(boards, lens):
    """Inside bars, without distortion, and without a frame that has no camera of its own."""
    plate = boards.copy()
    plate[:, :18] = plate[:, -18:] = 0
    cameras = cameras_of(COUNT, lens)
    cameras.camera_to_world[:, 1, 3] = 0.01 * np.arange(COUNT) ** 2
    prepared = prepare_footage(plate, None, inspect_footage(plate), Scratch())
    prepared = prepared.measured_where_solved(np.arange(COUNT) != 4).rectified(cameras)
    scene = prepared.measurable_cameras(cameras)
    times = scene.row_camera(5).times
    for x, y in ((30.0, 40.0), (150.0, 100.0)):
        place = (np.array([x, y]) - (WIDTH / 2, HEIGHT / 2)) / FOCAL_PX
        ideal = place if lens.distortion is None else undistorted(place, lens.distortion)
        assert times.at(*(ideal * scene.intrinsics[5, :2] + scene.intrinsics[5, 2:])) == pytest.approx(
            0.5 * (y / HEIGHT - 0.5), abs=1e-9)
    assert scene.shutter.velocity.shape == (COUNT - 1, 3, 4)
    assert scene.shutter.velocity[5, 1, 3] == pytest.approx(-0.12), "of frame 6, by its neighbors in the clip"


def test_a_carried_frame_is_carried_row_by_row(boards):
    """The camera pans to and fro, and turns back in the frame that is carried: there the edge of what is near stands
    upright, and in those beside it leans."""
    def pan(time: np.ndarray) -> np.ndarray:
        return 0.03 * (time - 4.0) ** 2

    rows = (np.arange(HEIGHT) + 0.5) / HEIGHT - 0.5
    edges = WIDTH / 2 - FOCAL_PX * np.tan(pan(np.arange(COUNT)[:, None] + rows))  # column of each row
    off = {}
    for readout in (1.0, 0.0):
        cameras = cameras_of(COUNT, LensResult(readout=readout))
        angle, poses = pan(np.arange(COUNT)), cameras.camera_to_world
        poses[:, 0, 3], poses[:, 0, 0], poses[:, 2, 2] = 0.0, np.cos(angle), np.cos(angle)
        poses[:, 0, 2], poses[:, 2, 0] = np.sin(angle), -np.sin(angle)
        prepared = prepare_footage(boards, None, inspect_footage(boards), Scratch())
        prepared = prepared.measured_where_solved(np.arange(COUNT) != 4)
        near = (np.arange(WIDTH) + 0.5)[None, None] < edges[prepared.measurable, :, None]
        depth = prepared.shown(np.where(near, 2.0, 4.0).astype(np.float32), "stereo_depth", Scratch())
        prepared.carry_depth(depth, np.ones_like(depth), cameras)
        off[readout] = np.abs((depth[4] < 2.9).sum(axis=1) - edges[4]).max()
    assert off[1.0] < 1.5 < 0.5 * off[0.0]
