"""Finding what moves, following it through time, and standing it on the ground."""

from __future__ import annotations

import numpy as np
import pytest
from known_depth import HEIGHT, WIDTH, boards_shot

from stereodiff_blender.engine.flow import OpticalFlow
from stereodiff_blender.engine.report import Report
from stereodiff_blender.engine.scratch import Scratch
from stereodiff_blender.engine.stereo.geometric.dense import measure_depth
from stereodiff_blender.engine.stereo.geometric.motion import find_moving, neighbours_of, vote
from stereodiff_blender.engine.stereo.geometric.moving_depth import (
    Mover,
    Standing,
    label_movers,
    link_movers,
    measure_standing,
    smooth_tracks,
)
from stereodiff_blender.engine.stereo.geometric.sources import DepthLimits
from stereodiff_blender.engine.stereo.geometric.triangulation import Triangulation
from stereodiff_blender.engine.stereo.geometric.trust import assess

SQUARE = (60, 50)
"""Height and width of the patch that camera_scenes pastes over its boards."""


def place_of_square(index):
    """Against the way the picture slides, and off its lines."""
    return 20 + 5 * index, 20 + 2 * index


def motion_mask(shot):
    return measure_depth(shot.frames, shot.cameras, scratch=Scratch(), report=Report()).motion_mask


# --- Finding --------------------------------------------------------------------------------------------------

def test_a_moving_square_is_found():
    mask = motion_mask(boards_shot(8, travel=0.6, mover=place_of_square)) > 0
    for index in range(8):
        x, y = place_of_square(index)
        truth = np.zeros((HEIGHT, WIDTH), bool)
        truth[y:y + SQUARE[0], x:x + SQUARE[1]] = True
        overlap = (mask[index] & truth).sum() / (mask[index] | truth).sum()
        assert overlap > 0.75, index
        assert (mask[index] & truth).sum() > 0.93 * truth.sum(), index


def test_a_static_scene_is_static():
    assert (motion_mask(boards_shot(8)) > 0).mean() < 0.005


SQUARE_AREA = (slice(30, 70), slice(60, 120))
LIMITS = DepthLimits(2.0, 5.0, 10.0)


def judged(texture=5.0, **square):
    """find_moving without flow to neighbours, where only a square differs from a well measured wall."""
    values = {"disparity": 0.2, "sigma": 0.001, "residual": 0.1, "agreeing": 4, "seen": 4}
    kinds = {"agreeing": np.uint8, "seen": np.uint8}
    arrays = {name: np.full((HEIGHT, WIDTH), value, kinds.get(name, np.float32)) for name, value in values.items()}
    for name, value in square.items():
        arrays[name][SQUARE_AREA] = value
    measured = Triangulation(**arrays)
    detail = np.full((HEIGHT, WIDTH), texture, np.float32)
    frame = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    frame[SQUARE_AREA] = 160
    return find_moving(frame, measured, assess(measured, LIMITS, 4, detail), detail, LIMITS, [], [], [])


@pytest.mark.parametrize("square", [
    {"residual": 3.0, "agreeing": 0},
    {"disparity": -0.1},
    {"disparity": 5.0},
    {"disparity": 0.001},
], ids=["matches disagree", "behind the camera", "nearer than anything", "floating beyond the wall"])
def test_what_no_static_scene_does_is_motion(square):
    mask = judged(**square)
    truth = np.zeros((HEIGHT, WIDTH), bool)
    truth[SQUARE_AREA] = True
    assert mask.dtype == bool and (mask & truth).sum() / (mask | truth).sum() > 0.9
    assert not judged(texture=0.5, **square).any()


def test_an_ordinary_step_in_depth_is_no_motion():
    assert not judged(disparity=0.4).any()


def test_neighbours_exist():
    assert neighbours_of(0, 9) == [1, 2] and neighbours_of(4, 9) == [2, 3, 5, 6] and neighbours_of(8, 9) == [6, 7]
    assert neighbours_of(0, 2) == [1]


@pytest.fixture(scope="module")
def still():
    """Flow of five frames of a picture that does not move."""
    return OpticalFlow(np.repeat(boards_shot(1).frames, 5, axis=0), capacity=32)


def masks_where(present):
    found = np.zeros((5, HEIGHT, WIDTH), np.uint8)
    for index in present:
        found[index, 20:60, 40:90] = 1
    return found


@pytest.mark.parametrize("present, stays", [((2,), False), ((0, 1, 3, 4), True), ((0, 1, 2, 3, 4), True)],
                         ids=["a flash is dropped", "a gap is closed", "what lasts stays"])
def test_neighbours_in_time_vote(still, present, stays):
    voted = vote(2, masks_where(present), still)
    assert voted.dtype == bool
    assert np.array_equal(voted, masks_where([2])[2] > 0) if stays else not voted.any()


def test_specks_do_not_move(still):
    found = np.zeros((5, HEIGHT, WIDTH), np.uint8)
    found[:, 50:54, 80:84] = 1
    assert not vote(2, found, still).any()


# --- Standing -------------------------------------------------------------------------------------------------

HORIZON = 40


def ground_and_wall():
    """Disparity of a wall that stands on a floor: constant above the horizon row, rising below it."""
    rows = np.arange(HEIGHT, dtype=np.float32)[:, None]
    return np.tile(0.1 + 0.01 * np.maximum(rows - HORIZON, 0), (1, WIDTH)).astype(np.float32)


def stand(region, disparity=None, trusted=None):
    labels, count = label_movers(region)
    assert count == 1
    disparity = ground_and_wall() if disparity is None else disparity
    trusted = np.ones(region.shape, bool) if trusted is None else trusted
    return measure_standing(Mover(0, 1, 0), labels, disparity, trusted & ~region)


def box(top, bottom, left=80, right=100):
    region = np.zeros((HEIGHT, WIDTH), bool)
    region[top:bottom, left:right] = True
    return region


@pytest.mark.parametrize("bottom", [60, 80, 95])
def test_a_thing_stands_where_its_feet_are(bottom):
    standing = stand(box(20, bottom))
    assert standing.disparity == pytest.approx(ground_and_wall()[bottom, 0], rel=0.06)
    assert standing.weight == 1.0


def test_a_thing_is_never_behind_what_surrounds_it():
    disparity = np.full((HEIGHT, WIDTH), 0.5, np.float32)
    disparity[80:] = 0.1                                   # a hole in the ground, just below
    assert stand(box(30, 80), disparity).disparity == pytest.approx(0.5)


def test_a_thing_cut_off_by_the_border_is_before_all_around_it_and_weighs_little():
    standing = stand(box(70, HEIGHT))
    beside = ground_and_wall()[70:, 0]
    assert standing.disparity > np.percentile(beside, 80) and standing.weight < 0.5


def test_ground_that_is_not_trusted_is_a_last_resort():
    standing = stand(box(20, 80), trusted=np.zeros((HEIGHT, WIDTH), bool))
    assert standing.disparity == pytest.approx(ground_and_wall()[80, 0], rel=0.06)


def test_one_connected_region_is_one_mover():
    labels, count = label_movers(box(20, 50) | box(60, 70) | box(20, 50, 130, 150))
    assert count == 3 and labels.dtype == np.uint16 and (labels[0] == 0).all()
    assert len(np.unique(labels[20:50, 80:100])) == 1


def shifted_flow(shift):
    """Flow back to where everything was before it moved right by shift."""
    flow = np.zeros((HEIGHT, WIDTH, 2), np.float32)
    flow[..., 0] = -shift
    return flow


def test_movers_keep_their_track_and_new_ones_get_their_own():
    before, count = label_movers(box(20, 60, 30, 50))
    first = link_movers(0, before, count, [], None, None, 5)
    assert [m.track for m in first] == [5]
    labels, count = label_movers(box(20, 60, 40, 60) | box(20, 60, 120, 140))
    second = link_movers(1, labels, count, first, before, shifted_flow(10), 6)
    assert [(m.frame, m.label, m.track) for m in second] == [(1, 1, 5), (1, 2, 6)]
    assert [m.track for m in link_movers(1, labels, count, first, before, shifted_flow(60), 6)] == [6, 7]


def test_coming_out_of_the_background_is_a_new_track():
    before, count = label_movers(box(20, 30, 30, 40))
    first = link_movers(0, before, count, [], None, None, 0)
    labels, count = label_movers(box(40, HEIGHT, 0, WIDTH))
    assert [m.track for m in link_movers(1, labels, count, first, before, shifted_flow(0), 1)] == [1]


def standings(values, track=0, weight=1.0):
    return [Standing(Mover(frame, 1, track), value, weight) for frame, value in enumerate(values)]


def test_smoothing_keeps_constants_order_and_tracks_apart():
    mixed = [s for pair in zip(standings([0.2] * 9), standings([0.8] * 9, track=1), strict=True) for s in pair]
    smoothed = smooth_tracks(mixed)
    assert [s.mover for s in smoothed] == [s.mover for s in mixed]
    assert [s.disparity for s in smoothed] == pytest.approx([0.2, 0.8] * 9)


def test_smoothing_calms_jitter_and_drops_outliers():
    values = 0.3 * np.exp(np.random.default_rng(0).normal(0, 0.1, 40))
    values[20] = 5.0
    smoothed = np.array([s.disparity for s in smooth_tracks(standings(values))])
    assert np.abs(np.diff(smoothed)).max() < 0.01 and np.abs(smoothed / 0.3 - 1).max() < 0.12


def test_what_weighs_little_follows_what_weighs_much():
    cut_off = [Standing(Mover(frame, 1, 0), 1.0, 0.001) for frame in range(6, 12)]
    smoothed = smooth_tracks(standings([0.2] * 6) + cut_off)
    assert smoothed[7].disparity == pytest.approx(0.2, rel=0.05)


def test_depth_of_a_mover_in_the_whole_method_is_flat_and_before_the_wall():
    shot = boards_shot(8, travel=0.6, mover=place_of_square)
    result = measure_depth(shot.frames, shot.cameras, scratch=Scratch(), report=Report())
    x, y = place_of_square(4)
    inside = result.depth[4, y + 6:y + SQUARE[0] - 6, x + 6:x + SQUARE[1] - 6]
    assert np.ptp(inside) < 1e-3 * inside.mean()
    assert inside.mean() <= 1.02 * np.nanmedian(shot.depth[4])
