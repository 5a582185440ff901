"""Cameras that are given: kept as they are, with the clip's tracks as points under them, and judged by these."""

from __future__ import annotations

import re

import numpy as np
import pytest
from camera_scenes import FOCAL_PX, HEIGHT, WIDTH, camera_path, render_boards, render_wall, turned
from recording_report import RecordingReport
from track_scenes import KeptTracks, filmed_through, path, room, walk_through_room

from stereodiff_blender.engine.contract import Distortion, LensResult, StereoDiffError
from stereodiff_blender.engine.geometry import invert_rigid, project
from stereodiff_blender.engine.solution import CameraSolution, KnownCameras
from stereodiff_blender.engine.stereo.sfm import use_cameras
from stereodiff_blender.engine.storage import RunContext

COUNT = 14
LENS = np.tile([FOCAL_PX, FOCAL_PX, WIDTH / 2, HEIGHT / 2], (COUNT, 1))
POSES = camera_path(COUNT)
WORLD = np.eye(4)
WORLD[:3, :3], WORLD[:3, 3] = turned([[40.0, -70.0, 20.0]])[0], (3.0, -20.0, 500.0)
ALL = np.ones(COUNT, bool)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return render_boards(POSES)


def use(frames: np.ndarray, known: KnownCameras, masks=None,
        plate_scale: float = 1.0) -> tuple[CameraSolution, RecordingReport]:
    report = RecordingReport()
    context = RunContext(report=report, first_frame=101, plate_scale=plate_scale)
    solution = use_cameras(frames, known, masks=masks, context=context)
    assert [stage for stage, _ in report.stages] == ["track", "solve"]
    return solution, report


@pytest.mark.parametrize("scale", [1.0, 1000.0, 1e-3])
def test_true_cameras_are_kept_and_their_points_lie_on_the_scene(frames, scale):
    poses = WORLD @ POSES
    poses[:, :3, 3] *= scale
    solution, report = use(frames, KnownCameras(poses, LENS, ALL))
    assert solution.kind == "moving" and solution.solved.all() and not solution.is_focal_unreliable
    expected = POSES.copy()
    expected[:, :3, 3] *= scale / solution.unit
    assert np.abs(solution.camera_to_world - expected).max() < 1e-8
    assert 0.9 < np.median(solution.points[solution.observations[0][0], 2]) < 1.1
    assert np.array_equal(solution.camera_to_world[0], np.eye(4)) and np.array_equal(solution.intrinsics, LENS)
    assert set(report.warnings) <= {"low_texture"} and np.nanmax(solution.reprojection_px) < 0.5
    for index, (points, pixels) in enumerate(solution.observations):
        to_camera = invert_rigid(expected[index])
        in_camera = solution.points[points] @ to_camera[:3, :3].T + to_camera[:3, 3]
        assert np.median(np.linalg.norm(project(in_camera, LENS[index]) - pixels, axis=1)) < 0.5
    depth = solution.points[:, 2] * solution.unit / scale
    assert len(depth) > 200 and 3.5 < np.percentile(depth, 2) < np.percentile(depth, 98) < 15.0


def test_a_lens_off_the_middle_and_one_that_moves():
    """The picture is a part of a larger one, another in every frame, and scaled."""
    width, height = WIDTH + 60, HEIGHT + 40
    whole = render_boards(POSES, width=width, height=height)
    left = np.arange(COUNT) * 4
    cut = np.stack([picture[10:10 + HEIGHT, x:x + WIDTH] for picture, x in zip(whole, left, strict=True)])
    lens = np.stack([np.full(COUNT, FOCAL_PX), np.full(COUNT, FOCAL_PX), width / 2 - left,
                     np.full(COUNT, height / 2 - 10)], axis=1)
    solution, report = use(cut, KnownCameras(POSES, lens, ALL))
    assert np.nanmax(solution.reprojection_px) < 0.5 and "cameras_doubtful" not in report.warnings


def test_frames_without_a_camera_are_interpolated_and_named(frames):
    known = np.isin(np.arange(COUNT), [3, 8, 9], invert=True)
    poses, lens = POSES.copy(), LENS.copy()
    poses[~known], lens[~known] = np.eye(4), 1.0
    solution, report = use(frames, KnownCameras(poses, lens, known))
    assert "frames 104 and 109-110" in report.warnings["frames_unsolved"]
    assert np.array_equal(solution.solved, known) and np.isnan(solution.reprojection_px[~known]).all()
    off = solution.camera_to_world[~known, :3, 3] * solution.unit - POSES[~known, :3, 3]
    assert np.abs(off).max() < 0.02
    assert np.array_equal(solution.intrinsics, LENS)


def test_cameras_of_another_shot_are_refused(frames):
    other = camera_path(COUNT)
    other[:, :3, 3] = other[:, :3, 3] @ turned([[0.0, 0.0, 90.0]])[0]
    other[:, :3, :3] = turned(np.linspace(0, 1, COUNT)[:, None] * (12.0, 0.0, 0.0))
    with pytest.raises(StereoDiffError) as caught:
        use(frames, KnownCameras(other, LENS, ALL))
    assert caught.value.code == "cameras_do_not_fit" and "%" in caught.value.message


def test_cameras_that_fit_roughly_are_doubted(frames):
    """They are two frames early; and the lens is twice as long."""
    late = camera_path(COUNT + 2)
    pictures = render_boards(late[:COUNT])
    misses = []
    for scale in (1.0, 10.0):
        _, report = use(pictures, KnownCameras(late[2:], LENS, ALL), plate_scale=scale)
        misses.append(float(re.search(r"by ([0-9.]+) pixels of the plate", report.warnings["cameras_doubtful"])[1]))
    assert misses[0] == pytest.approx(misses[1] / 10, abs=0.06)
    _, report = use(frames, KnownCameras(POSES, LENS * (2.0, 2.0, 1.0, 1.0), ALL))
    assert "cameras_doubtful" in report.warnings


@pytest.mark.parametrize("places", [
    camera_path(COUNT, travel=1e-3)[:, :3, 3], np.random.default_rng(3).normal(0.0, 1e-6, (COUNT, 3))])
def test_a_path_too_short_to_measure_by_is_a_turn(places):
    """A little travel; and what single precision makes of none."""
    rotations = turned(np.linspace(0, 1, COUNT)[:, None] * (1.0, 6.0, 0.0))
    poses = camera_path(COUNT)
    poses[:, :3, :3], poses[:, :3, 3] = rotations, places
    solution, report = use(render_wall(rotations), KnownCameras(poses, LENS, ALL))
    assert solution.kind == "rotation" and not solution.camera_to_world[:, :3, 3].any()
    assert "travels too little" in report.warnings["rotation_only"]


def test_a_camera_that_only_turns_has_no_depth():
    rotations = turned(np.linspace(0, 1, COUNT)[:, None] * (1.0, 6.0, 0.0))
    poses = np.tile(np.eye(4), (COUNT, 1, 1))
    poses[:, :3, :3] = rotations
    solution, report = use(render_wall(rotations), KnownCameras(WORLD @ poses, LENS, ALL))
    assert solution.kind == "rotation" and set(report.warnings) == {"rotation_only"}
    still, report = use(render_wall(rotations[:1].repeat(COUNT, 0)), KnownCameras(np.tile(WORLD, (COUNT, 1, 1)), LENS,
                                                                                  ALL))
    assert still.kind == "static" and "static_camera" in report.warnings


def test_nothing_to_follow():
    with pytest.raises(StereoDiffError) as caught:
        use(np.full((COUNT, HEIGHT, WIDTH, 3), 90, np.uint8), KnownCameras(POSES, LENS, ALL))
    assert caught.value.code == "camera_unsolved"


BENT = {"fisheye": (Distortion(-0.05, 0.01, 0.004, k4=-0.001, is_fisheye=True), 0.48),
        "brown": (Distortion(-0.2, 0.06, -0.01, 0.004, -0.003), 0.875)}


@pytest.mark.parametrize(("lens", "share"), BENT.values(), ids=BENT)
def test_cameras_of_a_lens_that_bends_the_picture(lens, share):
    """Points lie where they are, and are seen where the lens shows them; without it the cameras are doubted."""
    count, walk, points = 24, walk_through_room(24), room(400)
    poses = path(*walk(np.arange(float(count))))
    tracks = filmed_through(points, walk, count, lens=lens, focal_px=share * 480)
    width, height = tracks.size
    intrinsics = np.tile([share * 480, share * 480, width / 2, height / 2], (count, 1))
    frames = np.broadcast_to(np.uint8(0), (count, height, width, 3))
    found = {}
    for distortion in (lens, None):
        report = RecordingReport()
        solution = use_cameras(frames, KnownCameras(poses, intrinsics, np.ones(count, bool), distortion),
                               context=RunContext(KeptTracks(tracks), report))
        found[distortion] = solution, report
    solution, report = found[lens]
    assert solution.lens == LensResult(lens.model, lens, is_given=True) and "cameras_doubtful" not in report.warnings
    assert np.nanmean(solution.reprojection_px) < 0.15
    world = solution.points * solution.unit @ poses[0, :3, :3].T + poses[0, :3, 3]
    off = np.linalg.norm(world[:, None] - points[None], axis=2).min(axis=1)
    assert len(world) > 300 and np.median(off) < 0.01
    filmed_px = {tuple(pixel) for pixel in np.round(tracks.observed(0)[1], 6)}
    assert all(tuple(pixel) in filmed_px for pixel in np.round(solution.observations[0][1], 6)), "as filmed"
    assert "cameras_doubtful" in found[None][1].warnings and found[None][0].lens == LensResult()
