"""Feature tracking on pictures that move in a known way, and the choices among tracks."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from camera_scenes import texture
from recording_report import RecordingReport

from stereodiff_blender.engine.stereo.tracking.patch_alignment import align_patches, take_templates
from stereodiff_blender.engine.stereo.tracking.tracking import track_features
from stereodiff_blender.engine.stereo.tracking.tracks import Tracks, longest_linked_run, thin_tracks

WIDTH, HEIGHT = 256, 160


def warped(matrices: list[np.ndarray], noise: float = 1.0) -> np.ndarray:
    """Frames in which the scene point p of the first shows at matrix @ p; pixel centers at +0.5."""
    center = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    picture = texture(5)
    middle = np.array([[1, 0, -128.0], [0, 1, -176.0], [0, 0, 1]])
    generator = np.random.default_rng(0)
    frames = []
    for matrix in matrices:
        view = np.linalg.inv(center) @ matrix @ middle @ center
        frame = cv2.warpPerspective(picture, view, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC)
        frames.append(np.clip(frame + generator.normal(0, noise, frame.shape), 0, 255).astype(np.uint8))
    return np.array(frames)


def shifted(x: float, y: float) -> np.ndarray:
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]])


def miss_px(tracks: Tracks, matrices: list[np.ndarray], index: int) -> np.ndarray:
    """Distance of the tracks seen in frame 0 and in frame index from where they truly are there."""
    _, start, end = tracks.common(0, index)
    moved = np.column_stack([start, np.ones(len(start))]) @ matrices[index].T
    return np.linalg.norm(moved[:, :2] / moved[:, 2:] - end, axis=1)


@pytest.mark.slow
def test_tracks_follow_a_shift_to_a_fraction_of_a_pixel():
    matrices = [shifted(1.37 * i, -0.61 * i) for i in range(12)]
    tracks = track_features(warped(matrices), None, RecordingReport())
    miss = miss_px(tracks, matrices, 11)
    assert len(miss) > 150
    assert np.median(miss) < 0.06 and np.percentile(miss, 95) < 0.25


@pytest.mark.slow
def test_tracks_follow_turning_and_zooming_without_drift():
    matrices = []
    for i in range(20):
        angle, zoom = np.radians(0.8 * i), 1.02**i
        turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        middle = np.array([WIDTH / 2, HEIGHT / 2])
        matrices.append(np.vstack([np.column_stack([turn, middle - turn @ middle]), [0, 0, 1]]))
    tracks = track_features(warped(matrices), None, RecordingReport())
    miss = miss_px(tracks, matrices, 19)
    assert len(miss) > 80
    assert np.median(miss) < 0.12


def test_observations_are_sorted_and_unique():
    tracks = track_features(warped([shifted(2.0 * i, 0) for i in range(5)]), None, RecordingReport())
    assert tracks.frame_count == 5 and tracks.size == (WIDTH, HEIGHT)
    keys = tracks.frame * tracks.points + tracks.point
    assert (np.diff(keys) > 0).all()
    assert (tracks.pixels > 0).all() and (tracks.pixels < (WIDTH, HEIGHT)).all()
    assert tracks.per_frame.sum() == tracks.lengths.sum() == len(tracks.frame)


def test_nothing_is_tracked_inside_the_mask():
    frames = warped([shifted(2.0 * i, 0) for i in range(6)])
    masks = np.zeros(frames.shape[:3], bool)
    masks[:, :, :100] = True
    tracks = track_features(frames, masks, RecordingReport())
    assert len(tracks.frame) > 200
    assert tracks.pixels[:, 0].min() > 102.0


def test_a_thing_that_passes_ends_the_tracks_behind_it():
    frames = warped([np.eye(3)] * 8)
    for i in range(1, 8):
        frames[i, 40:100, 20 * i:20 * i + 60] = texture(6, 64)[:60, :60]
    tracks = track_features(frames, None, RecordingReport())
    _, start, end = tracks.common(0, 7)
    hidden = (start[:, 1] > 46) & (start[:, 1] < 94) & (start[:, 0] > 46) & (start[:, 0] < 134)
    assert not hidden.any()
    assert np.percentile(np.linalg.norm(end - start, axis=1), 95) < 0.3


@pytest.mark.parametrize("trouble", ["black", "white", "noise"])
def test_tracks_bridge_a_spoilt_frame(trouble):
    matrices = [shifted(1.5 * i, 0) for i in range(8)]
    frames = warped(matrices)
    spoilt = {"black": 0, "white": 255, "noise": np.random.default_rng(0).integers(0, 255, frames[4].shape)}
    frames[4] = spoilt[trouble]
    tracks = track_features(frames, None, RecordingReport())
    assert tracks.per_frame[4] == 0
    miss = miss_px(tracks, matrices, 7)
    assert len(miss) > 100 and np.median(miss) < 0.1
    np.testing.assert_array_equal(longest_linked_run(tracks), np.arange(8) != 4)


def test_tracks_bridge_a_frame_that_is_masked_altogether():
    """Something that the artist marked passes right before the lens."""
    matrices = [shifted(1.5 * i, 0) for i in range(8)]
    frames = warped(matrices)
    masks = np.zeros(frames.shape[:3], np.uint8)
    masks[4] = 1
    tracks = track_features(frames, masks, RecordingReport())
    assert tracks.per_frame[4] == 0
    miss = miss_px(tracks, matrices, 7)
    assert len(miss) > 100 and np.median(miss) < 0.1


def test_light_may_jump():
    matrices = [shifted(1.5 * i, 0) for i in range(6)]
    frames = warped(matrices)
    frames[3:] = (0.45 * frames[3:]).astype(np.uint8)
    tracks = track_features(frames, None, RecordingReport())
    miss = miss_px(tracks, matrices, 5)
    assert len(miss) > 100 and np.median(miss) < 0.1


def test_nothing_is_found_where_there_is_nothing():
    assert not len(track_features(np.full((4, 64, 96, 3), 128, np.uint8), None, RecordingReport()).frame)
    noise = np.random.default_rng(0).integers(0, 255, (6, 96, 128, 3), dtype=np.uint8)
    tracks = track_features(noise, None, RecordingReport())
    assert tracks.lengths.max() < 3


def test_no_tracks_are_aligned():
    nothing, picture = np.zeros((0, 2), np.float32), np.arange(24, dtype=np.float32).reshape(4, 6)
    pixels, warps, correlation = align_patches(picture, take_templates(picture, nothing), nothing,
                                               np.zeros((0, 2, 2), np.float32))
    assert (pixels.shape, warps.shape, correlation.shape) == ((0, 2), (0, 2, 2), (0,))


def test_the_same_frames_give_the_same_bytes():
    frames = warped([shifted(1.5 * i, 0.3 * i) for i in range(5)])
    first, second = (track_features(frames, None, RecordingReport()) for _ in range(2))
    assert first.pixels.tobytes() == second.pixels.tobytes()
    assert first.point.tobytes() == second.point.tobytes()


def test_progress_counts_frames():
    report = RecordingReport()
    track_features(warped([np.eye(3)] * 4), None, report)
    assert report.stages == [("track", 4)] and report.done == 4


def made_tracks(lengths: list[int], frame_count: int, seed: int = 0) -> Tracks:
    """Tracks that all begin in frame 0, at random places of a 120 x 120 raster."""
    generator = np.random.default_rng(seed)
    point = np.concatenate([np.full(length, p) for p, length in enumerate(lengths)])
    frame = np.concatenate([np.arange(length) for length in lengths])
    order = np.lexsort((point, frame))
    places = generator.uniform(0, 120, (len(lengths), 2))
    return Tracks(frame_count, (120, 120), len(lengths), frame[order], point[order], places[point[order]])


def test_thinning_keeps_long_tracks_spread_out():
    tracks = made_tracks([10] * 300 + [4] * 700 + [2] * 100, 10)
    thinned = thin_tracks(tracks, per_frame=288, min_length=3, cells=6)
    assert thinned.lengths.min() >= 3
    assert 230 < thinned.per_frame[0] <= 288
    assert (thinned.lengths == 10).sum() > 200
    cell = (thinned.observed(0)[1] // 20).astype(int)
    counts = np.bincount(cell[:, 1] * 6 + cell[:, 0], minlength=36)
    assert counts.min() >= 3 and counts.max() <= 13


def test_thinning_leaves_few_tracks_alone():
    tracks = made_tracks([5] * 30, 5)
    assert thin_tracks(tracks, per_frame=700, min_length=3).points == 30
    assert thin_tracks(tracks, per_frame=700, min_length=6).points == 0


def test_a_cut_ends_the_run():
    before, after = made_tracks([6] * 40, 6), made_tracks([9] * 40, 9)
    joined = Tracks(15, (120, 120), 80, np.r_[before.frame, after.frame + 6], np.r_[before.point, after.point + 40],
                    np.concatenate([before.pixels, after.pixels]))
    np.testing.assert_array_equal(longest_linked_run(joined), np.arange(15) >= 6)
