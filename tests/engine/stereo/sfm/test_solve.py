"""The camera solve from end to end: rendered frames with a known camera in, cameras, lens and points out."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from camera_scenes import (
    FOCAL_PX,
    HEIGHT,
    WIDTH,
    camera_path,
    path_error,
    render_boards,
    render_wall,
    texture,
    turned,
)
from recording_report import RecordingReport

from stereodiff_blender.engine.contract import Distortion, StereoDiffError
from stereodiff_blender.engine.geometry import (
    fill_unsolved,
    interpolate_rotations,
    invert_rigid,
    rotation_angle_deg,
)
from stereodiff_blender.engine.solution import CameraSolution, KnownLens
from stereodiff_blender.engine.stereo.sfm.solve import solve_cameras
from stereodiff_blender.engine.stereo.sfm.warnings import frame_ranges, warn_rotation
from stereodiff_blender.engine.storage import DiskScratch, RunContext, Scratch

COUNT = 14

pytestmark = pytest.mark.slow


def solve(frames: np.ndarray, first_frame: int = 1, *, focal_px: float | None = None,
          **options) -> tuple[CameraSolution, dict[str, str]]:
    lens = None if focal_px is None else KnownLens(focal_px)
    report = RecordingReport()
    context = RunContext(report=report, first_frame=first_frame)
    solution = solve_cameras(frames, lens=lens, context=context, **options)
    assert report.stages[0][0] == "track"
    assert {stage for stage, _ in report.stages[1:]} == {"solve"}
    return solution, report.warnings


def rotation_error_deg(solution: CameraSolution, rotations: np.ndarray) -> float:
    found = solution.camera_to_world[:, :3, :3]
    return float(rotation_angle_deg(np.swapaxes(found, 1, 2) @ (rotations[0].T @ rotations)).max())


def crossing(index: int) -> tuple[int, int]:
    return 40 + 11 * index, 60


@pytest.fixture(scope="module")
def poses() -> np.ndarray:
    return camera_path(COUNT)


@pytest.fixture(scope="module")
def frames(poses) -> np.ndarray:
    return render_boards(poses)


@pytest.fixture(scope="module")
def solved(frames) -> tuple[CameraSolution, dict[str, str]]:
    return solve(frames)


def test_a_fit_is_rough_by_what_it_is_on_the_plate(frames, solved):
    """The same frames, as those of a plate that is 20 times as large."""
    solution, warnings = solved
    report = RecordingReport()
    solve_cameras(frames, context=RunContext(report=report, plate_scale=20.0))
    error_px = float(np.nanmean(solution.reprojection_px))
    assert "high_residual" not in warnings and error_px < 1.0 < 20 * error_px
    assert "pixels of the plate" in report.warnings["high_residual"]


def test_a_larger_plate_makes_the_path_truer(poses, tmp_path):
    """And a run that goes on after the tracks were measured does not look at it again."""
    plates = render_boards(poses, focal_px=3 * FOCAL_PX, width=3 * WIDTH, height=3 * HEIGHT)
    frames = np.stack([cv2.resize(plate, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA) for plate in plates])
    gray, scratch = np.stack([cv2.cvtColor(plate, cv2.COLOR_RGB2GRAY) for plate in plates]), DiskScratch(tmp_path)
    before, after, again = (solve_cameras(frames, context=RunContext(scratch=kept, plates=found))
                            for kept, found in ((Scratch(), None), (scratch, gray), (scratch, np.zeros_like(gray))))
    off = [path_error(one.camera_to_world[:, :3, 3], poses[:, :3, 3]) for one in (before, after)]
    assert off[1] < 0.7 * off[0]
    assert np.nanmean(after.reprojection_px) < np.nanmean(before.reprojection_px)
    assert np.array_equal(again.camera_to_world, after.camera_to_world)


def test_plates_as_large_as_the_frames_change_nothing(frames, solved):
    gray = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames])
    solution = solve_cameras(frames, context=RunContext(plates=gray))
    assert np.array_equal(solution.camera_to_world, solved[0].camera_to_world)


def test_plates_of_another_clip_are_refused(frames):
    for plates in (np.zeros((COUNT - 1, 8, 8), np.uint8), np.zeros((COUNT, 8, 8), np.float32)):
        with pytest.raises(ValueError, match="plates"):
            solve_cameras(frames, context=RunContext(plates=plates))


def test_a_moving_camera_and_its_lens_are_found(solved, poses):
    solution, warnings = solved
    assert solution.kind == "moving" and solution.solved.all()
    assert path_error(solution.camera_to_world[:, :3, 3], poses[:, :3, 3]) < 0.005
    assert rotation_error_deg(solution, poses[:, :3, :3]) < 0.1
    assert solution.intrinsics[0, 0] == pytest.approx(FOCAL_PX, rel=0.03)
    np.testing.assert_array_equal(solution.intrinsics[:, 2:], [[WIDTH / 2, HEIGHT / 2]] * COUNT)
    assert "frames_unsolved" not in warnings and "focal_assumed" not in warnings


def test_points_project_to_where_they_are_seen(solved):
    solution, _ = solved
    to_camera = invert_rigid(solution.camera_to_world)
    assert len(solution.observations) == COUNT
    for index, (points, pixels) in enumerate(solution.observations):
        local = solution.points[points] @ to_camera[index, :3, :3].T + to_camera[index, :3, 3]
        fx, fy, cx, cy = solution.intrinsics[index]
        off = np.linalg.norm(local[:, :2] / local[:, 2:] * (fx, fy) + (cx, cy) - pixels, axis=1)
        assert len(points) > 100 and (local[:, 2] > 0).all()
        assert off.mean() == pytest.approx(solution.reprojection_px[index], rel=1e-6)
        assert off.mean() < 0.4
    assert len(solution.point_parallax_deg) == len(solution.points)
    assert (solution.point_parallax_deg > 0.4).all()


def test_the_gauge_is_the_first_camera_and_unit_depth(solved):
    solution, _ = solved
    np.testing.assert_array_equal(solution.camera_to_world[0], np.eye(4))
    assert np.median(solution.points[solution.observations[0][0], 2]) == pytest.approx(1.0)


def test_a_known_lens_is_kept(frames, poses):
    solution, warnings = solve(frames, focal_px=FOCAL_PX)
    np.testing.assert_allclose(solution.intrinsics[:, :2], FOCAL_PX)
    assert path_error(solution.camera_to_world[:, :3, 3], poses[:, :3, 3]) < 0.005
    assert not {"weak_focal", "focal_assumed"} & set(warnings)


def test_the_same_frames_give_the_same_bytes(frames, solved):
    again, _ = solve(frames, seed=0)
    assert again.camera_to_world.tobytes() == solved[0].camera_to_world.tobytes()
    assert again.points.tobytes() == solved[0].points.tobytes()


def test_what_moves_by_itself_is_rejected(poses):
    solution, _ = solve(render_boards(poses, moving=crossing), focal_px=FOCAL_PX)
    assert solution.kind == "moving"
    assert path_error(solution.camera_to_world[:, :3, 3], poses[:, :3, 3]) < 0.01


def test_masked_places_are_not_used(frames, poses):
    masks = np.zeros(frames.shape[:3], np.uint8)
    masks[:, :, 240:] = 1
    solution, _ = solve(frames, focal_px=FOCAL_PX, masks=masks)
    assert path_error(solution.camera_to_world[:, :3, 3], poses[:, :3, 3]) < 0.01
    assert max(pixels[:, 0].max() for _, pixels in solution.observations) < 240.0


def test_pixels_need_not_be_square(poses):
    squeezed = render_boards(poses)[:, :, ::2]
    solution, _ = solve(np.ascontiguousarray(squeezed), pixel_aspect=2.0, focal_px=FOCAL_PX / 2)
    np.testing.assert_allclose(solution.intrinsics[0], [FOCAL_PX / 2, FOCAL_PX, WIDTH / 4, HEIGHT / 2])
    assert path_error(solution.camera_to_world[:, :3, 3], poses[:, :3, 3]) < 0.01


def test_a_spoilt_frame_is_interpolated_and_named(frames, poses):
    spoilt = frames.copy()
    spoilt[5:7] = 0
    solution, warnings = solve(spoilt, focal_px=FOCAL_PX, first_frame=101)
    np.testing.assert_array_equal(np.flatnonzero(~solution.solved), [5, 6])
    assert np.isnan(solution.reprojection_px[5:7]).all()
    assert warnings["frames_unsolved"] == "Frames 106-107 could not be solved; their camera is interpolated."
    assert path_error(solution.camera_to_world[:, :3, 3], poses[:, :3, 3]) < 0.02
    assert not len(solution.observations[5][0])


def test_a_camera_that_only_turns_gives_rotations_and_lens():
    rotations = turned([[2.0 * np.sin(0.3 * i), 1.1 * i, 0.3 * np.sin(i)] for i in range(COUNT)])
    solution, warnings = solve(render_wall(rotations))
    assert solution.kind == "rotation" and solution.solved.all()
    assert solution.intrinsics[0, 0] == pytest.approx(FOCAL_PX, rel=0.02)
    assert rotation_error_deg(solution, rotations) < 0.1
    np.testing.assert_array_equal(solution.camera_to_world[:, :3, 3], 0.0)
    assert "rotation_only" in warnings and "focal_assumed" not in warnings
    assert np.nanmax(solution.reprojection_px) < 0.5 and not len(solution.points)


def test_a_turning_camera_is_not_fooled_by_a_mover():
    rotations = turned([[0.5 * np.sin(0.3 * i), 0.8 * i, 0.0] for i in range(COUNT)])
    solution, _ = solve(render_wall(rotations, moving=crossing))
    assert solution.kind == "rotation"
    assert rotation_error_deg(solution, rotations) < 0.1


def test_a_slight_turn_does_not_tell_the_lens():
    rotations = turned([[0.0, 0.03 * (i % 2), 0.0] for i in range(4)])
    solution, warnings = solve(render_wall(rotations, focal_px=2000.0))
    assert solution.kind == "rotation" and "focal_assumed" in warnings
    np.testing.assert_allclose(solution.intrinsics[:, 0], 1.1 * WIDTH)


def test_a_locked_camera_stands_still_whatever_passes():
    solution, warnings = solve(render_wall(turned(np.zeros((8, 3))), moving=crossing))
    assert solution.kind == "static" and solution.solved.all()
    np.testing.assert_array_equal(solution.camera_to_world, np.tile(np.eye(4), (8, 1, 1)))
    assert {"static_camera", "focal_assumed"} <= set(warnings)
    known, warnings = solve(render_wall(turned(np.zeros((4, 3)))), focal_px=500.0)
    assert known.intrinsics[0, 0] == 500.0 and "focal_assumed" not in warnings


@pytest.mark.parametrize("count", [2, 3])
def test_two_or_three_frames_suffice(count):
    poses = camera_path(count, travel=0.35, turn_deg=1.0)
    solution, warnings = solve(render_boards(poses), focal_px=FOCAL_PX)
    assert solution.kind == "moving" and solution.solved.all()
    assert rotation_error_deg(solution, poses[:, :3, :3]) < 0.3
    heading = solution.camera_to_world[-1, :3, 3] / np.linalg.norm(solution.camera_to_world[-1, :3, 3])
    assert heading @ poses[-1, :3, 3] / np.linalg.norm(poses[-1, :3, 3]) > 0.98
    assert "focal_assumed" not in warnings
    _, warnings = solve(render_boards(poses))
    assert "focal_assumed" in warnings


@pytest.mark.parametrize("count", [4, 6, 9])
def test_a_little_travel_is_enough(count):
    """The nearest board moves against the farthest by 8 pixels, much more than the tracking noise."""
    poses = camera_path(count, travel=0.15, turn_deg=1.0)
    solution, warnings = solve(render_boards(poses))
    assert solution.kind == "moving" and solution.solved.all()
    assert rotation_error_deg(solution, poses[:, :3, :3]) < 0.3
    assert "little_parallax" in warnings and "rotation_only" not in warnings


def hopeless_shots() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {
        "black": np.zeros((6, 96, 128, 3), np.uint8),
        "gray": np.full((6, 96, 128, 3), 90, np.uint8),
        "noise": generator.integers(0, 255, (6, 96, 128, 3), dtype=np.uint8),
        "tiny": generator.integers(0, 255, (3, 8, 8, 3), dtype=np.uint8),
        "slides": np.stack([texture(seed, 160) for seed in range(6)]),
    }


@pytest.mark.parametrize("shot", hopeless_shots())
def test_a_hopeless_shot_says_so(shot):
    with pytest.raises(StereoDiffError) as caught:
        solve(hopeless_shots()[shot])
    assert caught.value.code == "camera_unsolved"
    assert caught.value.message.startswith("The camera could not be solved: ")


def test_any_seed_will_do(frames, poses):
    solution, _ = solve(frames, focal_px=FOCAL_PX, seed=2**40 + 7)
    assert path_error(solution.camera_to_world[:, :3, 3], poses[:, :3, 3]) < 0.005


def test_a_wrong_lens_is_no_crash(frames):
    try:
        solution, _ = solve(frames, focal_px=20.0 * FOCAL_PX)
    except StereoDiffError as error:
        assert error.code == "camera_unsolved"
    else:
        assert np.isfinite(solution.camera_to_world).all()


def test_after_a_cut_the_longer_part_is_solved(frames, poses):
    other = render_wall(turned([[0.0, 2.0 * i, 0.0] for i in range(5)]))
    solution, warnings = solve(np.concatenate([frames, other]), focal_px=FOCAL_PX)
    np.testing.assert_array_equal(np.flatnonzero(~solution.solved), np.arange(COUNT, COUNT + 5))
    assert "15-19" in warnings["frames_unsolved"]
    np.testing.assert_array_equal(solution.camera_to_world[-1], solution.camera_to_world[COUNT - 1])


@pytest.mark.parametrize(("options", "code"), [
    ({"lens": KnownLens(-3.0)}, "settings_invalid"), ({"lens": KnownLens(float("nan"))}, "settings_invalid"),
    ({"lens": KnownLens(FOCAL_PX, distortion=Distortion(-3.0))}, "settings_invalid"),
    ({"pixel_aspect": 0.0}, "settings_invalid"),
])
def test_bad_settings_are_refused(frames, options, code):
    with pytest.raises(StereoDiffError) as caught:
        solve_cameras(frames, context=RunContext(), **options)
    assert caught.value.code == code


def test_bad_arrays_are_refused(frames):
    with pytest.raises(ValueError, match="uint8"):
        solve_cameras(frames.astype(np.float32), context=RunContext())
    with pytest.raises(ValueError, match="masks"):
        solve_cameras(frames, masks=np.zeros((2, 3, 4)), context=RunContext())
    with pytest.raises(StereoDiffError) as caught:
        solve_cameras(frames[:1], context=RunContext())
    assert caught.value.code == "clip_too_short"


def test_unsolved_frames_lie_between_their_neighbors():
    rotations = turned([[0.0, 10.0 * i, 0.0] for i in range(6)])
    centers = np.arange(18.0).reshape(6, 3)
    solved = np.array([False, True, False, False, True, False])
    spoilt_rotations, spoilt_centers = rotations.copy(), centers.copy()
    spoilt_rotations[~solved], spoilt_centers[~solved] = np.eye(3), 99.0
    filled, moved = fill_unsolved(spoilt_rotations, spoilt_centers, solved)
    np.testing.assert_allclose(filled[1:5], rotations[1:5], atol=1e-12)
    np.testing.assert_allclose(moved[1:5], centers[1:5])
    np.testing.assert_allclose(filled[[0, 5]], rotations[[1, 4]], atol=1e-12)
    np.testing.assert_allclose(moved[[0, 5]], centers[[1, 4]])


def test_halfway_is_half_the_turn():
    middle = interpolate_rotations(turned([[0.0, 0.0, 0.0]]), turned([[0.0, 0.0, 30.0]]), np.array([0.5]))
    np.testing.assert_allclose(middle, turned([[0.0, 0.0, 15.0]]), atol=1e-12)


def test_frame_ranges_in_words():
    assert frame_ranges(np.array([7])) == "frame 7"
    assert frame_ranges(np.array([3, 4, 5, 9])) == "frames 3-5 and 9"
    assert frame_ranges(np.array([1, 2, 5, 8, 9])) == "frames 1-2, 5 and 8-9"


@pytest.mark.parametrize(("is_certain", "words"), [(True, "only rotates"), (False, "travels too little, if at all")])
def test_a_doubtful_turn_is_not_called_certain(is_certain, words):
    report = RecordingReport()
    warn_rotation(report, is_certain=is_certain, tracks_per_frame=500)
    assert words in report.warnings["rotation_only"] and "low_texture" not in report.warnings


def test_a_turn_on_few_tracks_names_the_texture():
    report = RecordingReport()
    warn_rotation(report, is_certain=False, tracks_per_frame=90)
    assert "only about 90 points" in report.warnings["low_texture"]
