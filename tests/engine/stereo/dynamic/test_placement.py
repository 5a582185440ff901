"""Standing moving things on the ground, and keeping them there through time."""

from __future__ import annotations

import numpy as np
import pytest
from known_depth import HEIGHT, WIDTH, boards_shot

from stereodiff_blender.engine.stereo.dynamic.ground_plane import FLAT_VIEW, GroundView
from stereodiff_blender.engine.stereo.dynamic.placement import GroundContact, fit_tracks, measure_contact
from stereodiff_blender.engine.stereo.dynamic.tracks import UNKNOWN_GROWTH, Growth
from stereodiff_blender.engine.stereo.mvs.depth import estimate_depth_maps
from stereodiff_blender.engine.storage import RunContext

HORIZON = 40
FLOOR = GroundView(np.array([0.0, 0.01, -0.01 * HORIZON]), np.array([0.0, 0.0, 1.0]))
"""Its disparity grows by 0.01 a row below the horizon."""


def floor_and_wall(wall=0.1):
    """Disparity of a wall that stands on the floor, where the floor reaches the wall's disparity."""
    rows = np.arange(HEIGHT, dtype=np.float32)[:, None] + 0.5
    return np.tile(np.maximum(0.01 * (rows - HORIZON), wall), (1, WIDTH)).astype(np.float32)


def box(top, bottom, left=80, right=100):
    region = np.zeros((HEIGHT, WIDTH), bool)
    region[top:bottom, left:right] = True
    return region


def place_on_ground(region, disparity=None, trusted=None, ground=FLOOR):
    disparity = floor_and_wall() if disparity is None else disparity
    trusted = np.ones(region.shape, bool) if trusted is None else trusted
    return measure_contact(0, 1, region.astype(np.uint16), disparity, trusted & ~region, ground, ground or FLAT_VIEW,
                           UNKNOWN_GROWTH)


@pytest.mark.parametrize("bottom", [60, 80, 95])
@pytest.mark.parametrize("ground", [FLOOR, None], ids=["on the plane", "without a plane"])
def test_a_thing_stands_where_its_feet_are(bottom, ground):
    contact = place_on_ground(box(20, bottom), ground=ground)
    assert contact.inverse_ground_distance == pytest.approx(0.01 * (bottom - HORIZON), rel=0.12)
    assert contact.weight == 1.0


def test_a_thing_on_a_table_stands_on_the_table():
    disparity = floor_and_wall()
    disparity[70:] = 0.6
    on_table, on_floor = place_on_ground(box(30, 70), disparity), place_on_ground(box(30, 70))
    assert on_table.inverse_ground_distance == pytest.approx(0.6)
    assert on_floor.inverse_ground_distance == pytest.approx(0.3, rel=0.05)
    assert on_table.weight < on_floor.weight


def test_a_thing_is_never_behind_what_surrounds_it():
    disparity = np.full((HEIGHT, WIDTH), 0.5, np.float32)
    disparity[80:] = 0.1                                   # a hole in the ground, just below
    contact = place_on_ground(box(30, 80), disparity, ground=None)
    assert contact.inverse_ground_distance == contact.least == pytest.approx(0.5)


def test_feet_below_the_picture_stand_nearer_than_the_ground_at_its_border():
    contact = place_on_ground(box(50, HEIGHT))
    at_border = 0.01 * (HEIGHT - HORIZON)
    assert contact.least == pytest.approx(at_border, rel=1e-6)
    assert at_border < contact.inverse_ground_distance < 1.3 * at_border and contact.weight < 0.5


def test_feet_below_the_picture_without_a_ground_stand_before_all_around():
    contact = place_on_ground(box(70, HEIGHT), ground=None)
    assert contact.inverse_ground_distance > np.percentile(floor_and_wall()[70:, 0], 80) and contact.weight < 0.5


def test_a_thing_cut_off_at_the_side_weighs_less():
    assert place_on_ground(box(20, 80, 0, 20)).weight < place_on_ground(box(20, 80)).weight


def test_ground_that_was_not_measured_is_worth_less():
    unseen = np.zeros((HEIGHT, WIDTH), bool)
    for ground in (FLOOR, None):
        contact = place_on_ground(box(20, 80), trusted=unseen, ground=ground)
        assert contact.inverse_ground_distance == pytest.approx(0.4, rel=0.06) and contact.weight < 1.0


# --- Along a track ----------------------------------------------------------------------------------------------

def contacts(values, track=0, weight=1.0, least=0.0, growth=UNKNOWN_GROWTH, first=0):
    return [GroundContact(first + k, track, value, weight, least, growth) for k, value in enumerate(values)]


def fitted(members, track=0):
    curve = fit_tracks(members)
    return np.array([curve[frame, track] for frame in sorted(f for f, t in curve if t == track)])


def test_constants_stay_and_tracks_stay_apart():
    mixed = contacts([0.2] * 9) + contacts([0.8] * 9, track=1)
    assert fitted(mixed) == pytest.approx([0.2] * 9) and fitted(mixed, 1) == pytest.approx([0.8] * 9)
    assert set(fit_tracks(mixed)) == {(frame, track) for frame in range(9) for track in (0, 1)}


def test_a_steady_approach_is_not_bent():
    values = 0.2 * np.exp(0.03 * np.arange(30))
    assert fitted(contacts(values, growth=Growth(0.03, 0.006))) == pytest.approx(values, rel=1e-3)


def test_jitter_is_calmed_and_outliers_are_dropped():
    values = 0.3 * np.exp(np.random.default_rng(0).normal(0, 0.05, 40))
    values[20] = 5.0
    curve = fitted(contacts(values))
    assert np.abs(np.diff(np.log(curve))).max() < 0.03 and np.abs(curve / 0.3 - 1).max() < 0.12


def test_growth_tells_what_hidden_feet_do_not():
    """Feet are seen for ten frames; then only the picture's growth is known, and a bound far below."""
    true = 0.2 * np.exp(0.02 * np.arange(20))
    growth = Growth(0.02, 0.006)
    seen = contacts(true[:10], growth=growth)
    hidden = contacts([0.1] * 10, weight=0.1, least=0.1, growth=growth, first=10)
    assert fitted(seen + hidden) == pytest.approx(true, rel=0.05)


def test_growth_that_contradicts_every_frame_is_not_believed():
    """A rolling ball's pattern seems to shrink all the time."""
    curve = fitted(contacts([0.4] * 30, growth=Growth(-0.06, 0.015)))
    assert curve == pytest.approx([0.4] * 30, rel=0.1)


def test_a_bound_is_kept():
    curve = fitted(contacts([0.2] * 10) + contacts([0.3] * 10, weight=0.1, least=0.3, first=10))
    assert curve[14:].min() > 0.27


def test_feet_that_are_lifted_now_and_then_do_not_push_a_thing_away():
    values = np.full(40, 0.4)
    values[::2] = 0.36
    assert fitted(contacts(values)).mean() > 0.388


# --- In the whole method ----------------------------------------------------------------------------------------

@pytest.mark.slow
def test_depth_of_a_mover_in_the_whole_method_is_upright_and_before_the_wall():
    def place(index):
        return 20 + 5 * index, 20 + 2 * index

    shot = boards_shot(8, travel=0.6, moving=place)
    result = estimate_depth_maps(shot.frames, shot.cameras, context=RunContext())
    x, y = place(4)
    inside = result.depth[4, y + 6:y + 54, x + 6:x + 44]
    assert np.ptp(inside, axis=1).max() < 2e-3 * inside.mean() and np.ptp(inside) < 0.06 * inside.mean()
    assert inside.mean() <= 1.02 * np.nanmedian(shot.depth[4])


@pytest.mark.parametrize("region", [box(0, 1), box(0, 2), box(HEIGHT - 1, HEIGHT), box(50, 51, 90, 91),
                                    box(0, HEIGHT, 0, WIDTH)])
@pytest.mark.parametrize("ground", [FLOOR, None], ids=["on the plane", "without a plane"])
def test_a_thing_may_be_one_line_or_all_of_the_picture(region, ground):
    """A matte may be a single line of pixels where a thing comes into the picture."""
    contact = place_on_ground(region, ground=ground)
    assert 0 < contact.inverse_ground_distance < 10 and 0 < contact.weight <= 1
