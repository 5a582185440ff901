"""Handheld shots with parts that cannot be used: what can be solved is, and the rest is named."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from camera_scenes import camera_path, path_error, render_boards, turned
from recording_report import RecordingReport

from stereodiff_blender.engine.contract import StereoDiffError
from stereodiff_blender.engine.solution import CameraSolution
from stereodiff_blender.engine.stereo.sfm.solve import solve_cameras
from stereodiff_blender.engine.storage import RunContext

COUNT = 26

pytestmark = pytest.mark.slow


def solve(frames: np.ndarray) -> tuple[CameraSolution, dict[str, str]]:
    report = RecordingReport()
    return solve_cameras(frames, context=RunContext(report=report)), report.warnings


def off_path(solution: CameraSolution, poses: np.ndarray) -> float:
    """Of the solved frames."""
    return path_error(solution.camera_to_world[solution.solved, :3, 3], poses[solution.solved, :3, 3])


@pytest.fixture(scope="module")
def poses() -> np.ndarray:
    return camera_path(COUNT, travel=1.6)


@pytest.fixture(scope="module")
def frames(poses) -> np.ndarray:
    return render_boards(poses)


@pytest.mark.parametrize("dark", [4, 9])
def test_a_shot_that_goes_dark_in_the_middle_is_solved_on_both_sides(frames, poses, dark):
    spoilt = frames.copy()
    spoilt[10:10 + dark] = 2
    solution, warnings = solve(spoilt)
    assert solution.kind == "moving"
    np.testing.assert_array_equal(np.flatnonzero(~solution.solved), np.arange(10, 10 + dark))
    assert off_path(solution, poses) < 0.01
    assert f"11-{10 + dark}" in warnings["frames_unsolved"]


def test_one_frame_in_five_may_be_blurred(frames, poses):
    spoilt = frames.copy()
    for index in range(2, COUNT, 5):
        spoilt[index] = cv2.blur(frames[index], (25, 1))
    solution, warnings = solve(spoilt)
    assert solution.kind == "moving"
    assert set(np.flatnonzero(~solution.solved)) <= set(range(2, COUNT, 5))
    assert off_path(solution, poses) < 0.01
    assert ("frames_unsolved" in warnings) == (not solution.solved.all())


def test_a_whip_pan_inside_a_shot_leaves_both_of_its_sides(poses):
    away = poses.copy()
    angles = np.interp(np.arange(COUNT), [11, 14, 17], [0.0, 70.0, 0.0])
    away[:, :3, :3] = away[:, :3, :3] @ turned(np.stack([0 * angles, angles, 0 * angles], axis=1))
    frames = render_boards(away)
    for index in range(12, 17):
        frames[index] = cv2.blur(frames[index], (61, 1))
    solution, warnings = solve(frames)
    assert solution.kind == "moving"
    assert solution.solved[:12].all() and solution.solved[17:].all()
    assert off_path(solution, poses) < 0.01
    assert "frames_unsolved" in warnings


def test_where_nothing_stands_still_it_is_said():
    """Every point of the picture goes its own way."""
    generator = np.random.default_rng(2)
    crowd = [generator.integers(0, 255, (12, 12, 3), np.uint8) for _ in range(90)]
    start, way = generator.uniform((0, 0), (300, 160), (90, 2)), generator.uniform(-6, 6, (90, 2))
    frames = np.full((16, 180, 320, 3), 90, np.uint8)
    for index, frame in enumerate(frames):
        for thing, place in zip(crowd, (start + index * way) % (300, 160), strict=True):
            x, y = place.astype(int)
            frame[y:y + 12, x:x + 12] = thing
    try:
        solution, warnings = solve(frames)
    except StereoDiffError as error:
        assert error.code == "camera_unsolved" and len(error.message) > 40
    else:
        assert solution.kind in ("static", "rotation") or {"large_motion", "high_residual", "travel_doubtful",
                                                           "frames_unsolved"} & set(warnings)
