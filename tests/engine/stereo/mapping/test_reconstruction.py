"""A solve that grows: from which pair, and past what does not fit."""

from __future__ import annotations

import numpy as np
import pytest
from track_scenes import FOCAL_PX, filmed, joined, path

from stereodiff_blender.engine.stereo.mapping.reconstruction import Reconstruction, reconstruct
from stereodiff_blender.engine.stereo.mapping.registration import register_all_frames
from stereodiff_blender.engine.stereo.mapping.two_view import pair_candidates, rival_pairs
from stereodiff_blender.engine.stereo.sfm.shot import square_tracks
from stereodiff_blender.engine.stereo.tracking.tracks import Tracks

COUNT = 12


def world(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform((-4, -2.5, 4), (5, 2.5, 10), (count, 3))


def walk() -> np.ndarray:
    step = np.arange(COUNT)[:, None]
    return path(step * (0.12, 0.02, 0.03), step * (0.2, -0.5, 0.0))


def square(tracks: Tracks) -> Tracks:
    return square_tracks(tracks, (tracks.size[0] / 2, tracks.size[1] / 2), 1.0)


def seen_only_in(tracks: Tracks, frames: list[int]) -> Tracks:
    return tracks.select(np.isin(tracks.frame, frames))


def lasting(tracks: Tracks, frames: int) -> Tracks:
    """Every track cut to so many frames, beginning at different ones."""
    first = tracks.point % (tracks.frame_count - 1)
    return tracks.select((tracks.frame >= first) & (tracks.frame < first + frames))


def a_pair_from_which_nothing_grows() -> Tracks:
    """Two frames far apart share many points that no other frame sees; all others see theirs for four frames."""
    apart = seen_only_in(filmed(world(600, 1), walk()), [0, COUNT - 1])
    return square(joined(apart, lasting(filmed(world(900, 2), walk(), seed=1), 4)))


def test_the_next_pair_is_tried_where_nothing_grows_from_the_best():
    tracks, keyframes = a_pair_from_which_nothing_grows(), np.arange(COUNT)
    candidates = pair_candidates(tracks, keyframes, 0)
    # As far as a pair of keyframes may be apart, which here is less than the two are.
    common = tracks.common(0, COUNT - 1)
    candidates = [type(candidates[0])(0, COUNT - 1, *common[1:], 0.2), *candidates]
    best = rival_pairs(candidates, FOCAL_PX, 0)[0]
    assert (best.frame_i, best.frame_j) == (0, COUNT - 1)
    alone = Reconstruction(tracks, FOCAL_PX, free_focal=False, seed=0)
    assert alone.initialize(best)
    alone.register_frames(keyframes)
    assert alone.registered.sum() < COUNT / 2
    grown = reconstruct(tracks, candidates, keyframes, FOCAL_PX, free_focal=False, seed=0)
    assert grown is not None and grown.registered.all()


def test_rival_pairs_share_no_frame():
    tracks = square(filmed(world(500, 3), walk()))
    rivals = rival_pairs(pair_candidates(tracks, np.arange(COUNT), 0), FOCAL_PX, 0)
    frames = [frame for pair in rivals for frame in (pair.frame_i, pair.frame_j)]
    assert len(rivals) > 1 and len(set(frames)) == len(frames)
    assert [pair.score for pair in rivals] == sorted((pair.score for pair in rivals), reverse=True)


def with_noise_in(tracks: Tracks, frame: int) -> Tracks:
    """The same with the pixels of one frame anywhere."""
    generator = np.random.default_rng(7)
    pixels = tracks.pixels.copy()
    there = tracks.frame == frame
    pixels[there] = generator.uniform(0, tracks.size, (there.sum(), 2))
    return Tracks(tracks.frame_count, tracks.size, tracks.points, tracks.frame, tracks.point, pixels)


def test_one_frame_that_cannot_be_added_does_not_end_the_growth():
    tracks = square(with_noise_in(lasting(filmed(world(1500, 4), walk()), 5), 8))
    keyframes = np.arange(COUNT)
    found = reconstruct(tracks, pair_candidates(tracks, keyframes, 0), keyframes, FOCAL_PX, free_focal=False, seed=0)
    assert found is not None
    np.testing.assert_array_equal(found.registered, keyframes != 8)


@pytest.mark.slow
def test_a_frame_that_saw_too_little_at_first_gets_a_second_chance():
    """The last frame sees only what two frames saw that are no keyframes."""
    late = seen_only_in(filmed(world(500, 5), walk(), seed=2), [7, 9, COUNT - 1])
    early = filmed(world(500, 6), walk(), seed=3)
    tracks = square(joined(early.select(early.frame < COUNT - 1), late))
    keyframes = np.array([0, 2, 4, 6, 8])
    found = reconstruct(tracks, pair_candidates(tracks, keyframes, 0), keyframes, FOCAL_PX, free_focal=False, seed=0)
    assert found is not None
    fit = register_all_frames(found, lambda: None)
    assert fit.solved.all()
