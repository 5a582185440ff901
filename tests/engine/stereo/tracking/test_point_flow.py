"""Pictures that move far between two frames, or go away and come back."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from camera_scenes import texture
from recording_report import RecordingReport

from stereodiff_blender.engine.stereo.tracking.point_flow import flow_by_features, flow_of_points
from stereodiff_blender.engine.stereo.tracking.tracking import MAX_BLIND, track_features
from stereodiff_blender.engine.stereo.tracking.tracks import Tracks, longest_linked_run

WIDTH, HEIGHT = 360, 200


def wall() -> np.ndarray:
    """(H,W,3) uint8, wide enough for a long pan."""
    return np.hstack([cv2.resize(texture(seed), (700, 700))[:400] for seed in (1, 2, 3)])


def view(x: float, y: float = 100.0, noise: float = 1.0) -> np.ndarray:
    """What shows with the picture's corner at (x, y) of the wall."""
    shift = np.array([[1, 0, -x], [0, 1, -y]], np.float64)
    frame = cv2.warpAffine(wall(), shift, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)
    grain = np.random.default_rng(int(10 * x)).normal(0, noise, frame.shape)
    return np.clip(frame + grain, 0, 255).astype(np.uint8)


def blurred(x: float, length_px: int) -> np.ndarray:
    """The same in a frame's time in which the picture moves by length_px."""
    return cv2.blur(view(x), (length_px, 1))


def tracked(frames: list[np.ndarray]) -> Tracks:
    return track_features(np.array(frames), None, RecordingReport())


def off_px(tracks: Tracks, i: int, j: int, moved_px: float) -> np.ndarray:
    """How far the tracks that both frames see are from where the motion takes them."""
    _, start, end = tracks.common(i, j)
    return np.linalg.norm(start - (moved_px, 0.0) - end, axis=1)


def gray(frame: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)


@pytest.mark.parametrize(("moved_px", "flows"), [
    (0.0, [flow_of_points, flow_by_features]), (5.0, [flow_of_points, flow_by_features]),
    (40.0, [flow_of_points, flow_by_features]), (70.0, [flow_of_points, flow_by_features]),
    (130.0, [flow_by_features])])
def test_points_are_found_however_far_they_went(moved_px, flows):
    picture, later = gray(view(100.0)), gray(view(100.0 + moved_px))
    generator = np.random.default_rng(0)
    pixels = generator.uniform((150, 20), (WIDTH - 20, HEIGHT - 20), (150, 2)).astype(np.float32)
    for flow in flows:
        there, returns = flow(picture, later, pixels)
        assert returns.mean() > 0.9
        assert np.median(np.linalg.norm(there - (pixels - (moved_px, 0.0)), axis=1)[returns]) < 0.1


def test_nothing_returns_from_another_picture():
    other = gray(cv2.resize(texture(9), (WIDTH, HEIGHT)))
    pixels = np.random.default_rng(0).uniform((20, 20), (WIDTH - 20, HEIGHT - 20), (150, 2)).astype(np.float32)
    for flow in (flow_of_points, flow_by_features):
        assert flow(gray(view(100.0)), other, pixels)[1].mean() < 0.05


@pytest.mark.slow
def test_a_fast_turn_loses_no_track_that_stays_in_the_picture():
    """As far a frame as ten degrees are with an ordinary lens."""
    tracks = tracked([view(50.0 + 70.0 * index) for index in range(6)])
    for index in range(5):
        off = off_px(tracks, index, index + 1, 70.0)
        assert len(off) > 0.6 * len(tracks.observed(index)[0]) and np.percentile(off, 95) < 0.5


@pytest.mark.slow
@pytest.mark.parametrize("dark", [3, MAX_BLIND + 6])
def test_tracks_are_found_again_after_the_dark(dark):
    frames = [view(100.0 + 2 * index) for index in range(10 + dark)]
    for frame in frames[5:5 + dark]:
        frame[:] = 3
    tracks = tracked(frames)
    off = off_px(tracks, 4, len(frames) - 1, 2.0 * (len(frames) - 5))
    assert len(off) > 60 and np.median(off) < 0.2
    assert longest_linked_run(tracks)[[0, len(frames) - 1]].all()


@pytest.mark.slow
def test_a_whip_pan_does_not_part_what_it_comes_back_to():
    there = [200.0, 203.0, 206.0, 209.0]
    whip = [300.0, 520.0, 800.0, 1050.0, 1200.0, 1000.0, 700.0, 450.0]
    back = [225.0, 222.0, 219.0, 216.0]
    tracks = tracked([view(x) for x in there] + [blurred(x, 120) for x in whip] + [view(x) for x in back])
    off = off_px(tracks, 3, len(there) + len(whip) + 3, 7.0)
    assert len(off) > 60 and np.median(off) < 0.2


@pytest.mark.slow
def test_tracks_do_not_go_on_across_a_cut():
    shot = [view(100.0 + 2 * index) for index in range(6)]
    tracks = tracked(shot + [cv2.resize(np.roll(texture(9), 3 * index, axis=1), (WIDTH, HEIGHT))
                             for index in range(20)])
    assert not len(tracks.common(5, len(shot) + MAX_BLIND + 4)[0])


@pytest.mark.slow
def test_the_same_tracks_on_any_number_of_cores():
    frames = [view(50.0 + 70.0 * index) for index in range(4)] + [np.zeros((HEIGHT, WIDTH, 3), np.uint8)] * 8 + [
        view(260.0)] * 2
    cores = cv2.getNumThreads()
    found = []
    for count in (1, 3):
        cv2.setNumThreads(count)
        found.append(tracked(frames))
    cv2.setNumThreads(cores)
    np.testing.assert_array_equal(found[0].pixels, found[1].pixels)
    np.testing.assert_array_equal(found[0].point, found[1].point)
