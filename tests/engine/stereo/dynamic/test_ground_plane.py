"""Finding the ground, and what it says about a frame."""

from __future__ import annotations

import numpy as np
import pytest
from known_depth import without_points

from stereodiff_blender.engine.geometry import exp_so3, project
from stereodiff_blender.engine.stereo.dynamic.ground_plane import FLAT_VIEW, find_ground

LENS = (180.0, 180.0, 96.0, 54.0)


def cameras(pitch_deg=12.0, count=5):
    """Cameras 1.5 above the floor y = 1.5, which look down by pitch_deg and move to the right."""
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = exp_so3(np.radians([-pitch_deg, 0.0, 0.0]))
    poses[:, 0, 3] = 0.1 * np.arange(count)
    return without_points(poses, np.tile(LENS, (count, 1)))


def scatter(count, low, high, seed=0):
    return np.random.default_rng(seed).uniform(low, high, (count, 3))


def points_of_a_room(floor=300, wall=600, table=150, noise=0.005):
    parts = [scatter(floor, (-3, 1.5, 3), (3, 1.5, 8)), scatter(wall, (-4, -2, 8), (4, 1.5, 8.5), 1),
             scatter(table, (-1, 0.8, 4), (1, 0.8, 5), 2)]
    points = np.concatenate(parts)
    return points + np.random.default_rng(3).normal(0, noise, points.shape)


def find(points, cams=None):
    return find_ground(points, np.zeros(len(points), int), cams or cameras())


def test_the_floor_is_found_below_walls_and_tables():
    ground = find(points_of_a_room())
    assert ground.up == pytest.approx([0, -1, 0], abs=0.01) and ground.level == pytest.approx(-1.5, abs=0.02)


def points_of_a_road(slope, begins, lane=150, bank=800, noise=0.005):
    """Plain asphalt, of which little is measured, and beside it a bank of grass that rises to the right."""
    road = scatter(lane, (-1.5, 1.5, 5), (1.5, 1.5, 30))
    grass = scatter(bank, (begins, 0, 6), (begins + 9, 0, 30), 1)
    grass[:, 1] = 1.5 - slope * (grass[:, 0] - begins)
    points = np.concatenate([road, grass, scatter(200, (-20, -6, 40), (20, 0, 60), 2)])
    return points + np.random.default_rng(3).normal(0, noise, points.shape)


@pytest.mark.parametrize("turn_deg", [0.0, 360.0], ids=["straight", "all around"])
@pytest.mark.parametrize("slope, begins", [(0.15, 4.0), (0.6, 1.5)], ids=["far to the side", "steep"])
def test_the_ground_is_what_lies_ahead_and_not_the_bank_beside_it(slope, begins, turn_deg):
    """However much better the bank is measured. The camera that turns has the same before it wherever it looks."""
    count = 5
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = exp_so3(np.radians(turn_deg) * np.arange(count)[:, None] / count * (0.0, 1.0, 0.0))
    points = points_of_a_road(slope, begins)
    seen_in = np.arange(len(points)) % count
    turned = np.einsum("nij,nj->ni", poses[seen_in, :3, :3], points)
    ground = find_ground(turned, seen_in, without_points(poses, np.tile(LENS, (count, 1))))
    assert ground.up == pytest.approx([0, -1, 0], abs=0.05) and ground.level == pytest.approx(-1.5, abs=0.1)


def test_a_handful_of_points_ahead_tells_no_ground():
    beside = scatter(400, (6, 1.5, 3), (12, 1.5, 8))
    assert find(np.concatenate([beside, scatter(6, (-0.1, 1.5, 5), (0.1, 1.5, 6))])) is None


def test_a_plane_with_half_as_much_below_it_as_on_it_is_no_ground():
    """It cuts through what is there: a table beside shelves that reach down behind it."""
    points = [scatter(120, (-2, 1.5, 4), (2, 1.5, 8)), scatter(700, (-4, -3, 8), (4, 1.5, 8.5), 1),
              scatter(90, (-2, 2, 6), (2, 3, 8), 2)]
    assert find(np.concatenate(points)) is None


def test_the_same_points_give_the_same_ground():
    one, other = find(points_of_a_room()), find(points_of_a_room())
    assert np.array_equal(one.up, other.up) and one.level == other.level


@pytest.mark.parametrize("points", [
    scatter(10, (-3, 1.5, 3), (3, 1.5, 8)),
    scatter(900, (-4, -2, 8), (4, 1.5, 8)),
    scatter(900, (-4, -3, 3), (4, 3, 9)),
], ids=["too few", "a wall alone", "a cloud"])
def test_where_there_is_no_ground_none_is_made_up(points):
    assert find(points) is None


def test_a_plane_above_the_cameras_is_no_ground():
    assert find(points_of_a_room() - (0, 5, 0)) is None


@pytest.mark.parametrize("pitch_deg", [0.0, 12.0, 30.0])
def test_a_frame_sees_ground_and_upright_boards_where_they_are(pitch_deg):
    cams = cameras(pitch_deg)
    ground = find(points_of_a_room(noise=0.0), cams)
    pose = cams.camera_to_world[3]
    view = ground.seen_by(pose, LENS)
    foot = np.array([0.4, 1.5, 5.0])
    for height in (0.0, 0.6, 1.7):
        seen = (foot - (0, height, 0) - pose[:3, 3]) @ pose[:3, :3]
        x, y = project(seen, LENS)
        # A board through the foot that faces the camera: every point on it has the foot's horizontal depth, 5.
        assert view.distance_per_depth_at(x, y) / 5.0 == pytest.approx(1.0 / seen[2], rel=1e-3)
        if height == 0.0:
            assert view.disparity_at(x, y) == pytest.approx(1.0 / seen[2], rel=1e-3)


def test_all_pixels_at_once():
    view = find(points_of_a_room()).seen_by(np.eye(4), LENS)
    picture = view.disparity_of((108, 192))
    assert picture.shape == (108, 192) and picture.dtype == np.float32
    assert picture[80, 30] == pytest.approx(view.disparity_at(30.5, 80.5), rel=1e-5)
    assert (picture[:50] < 0).all() and (picture[60:] > 0).all()


def test_a_camera_that_looks_straight_down_gets_boards_of_constant_depth():
    cams = cameras(80.0)
    ground = find(points_of_a_room(noise=0.0), cameras())
    assert np.array_equal(ground.seen_by(cams.camera_to_world[0], LENS).distance_per_depth,
                          FLAT_VIEW.distance_per_depth)


# --- Nothing below the ground -----------------------------------------------------------------------------------

@pytest.fixture
def view():
    return find(points_of_a_room(noise=0.0)).seen_by(np.eye(4), LENS)


def test_what_was_guessed_below_the_ground_is_lifted_onto_it(view):
    floor = view.disparity_of((108, 192))
    guessed = np.full(floor.shape, 0.125, np.float32)
    lifted = view.lifted(guessed, np.full(floor.shape, np.inf, np.float32))
    assert lifted[100] == pytest.approx(floor[100], rel=0.021)
    assert np.array_equal(lifted[:70], guessed[:70]), "the wall behind the floor stays, and so does what is above"


def test_what_was_surely_measured_below_the_ground_stays(view):
    floor = view.disparity_of((108, 192))
    ditch = np.where(floor > 0, 0.8 * floor, 0.01).astype(np.float32)
    assert np.array_equal(view.lifted(ditch, np.full(floor.shape, 0.02, np.float32)), ditch)
    unsure = view.lifted(ditch, np.full(floor.shape, 0.2, np.float32))
    assert unsure[100] == pytest.approx(floor[100], rel=0.021)


def test_what_stands_on_the_ground_stays(view):
    floor = view.disparity_of((108, 192))
    thing = np.maximum(1.1 * floor, 0.3).astype(np.float32)
    assert np.array_equal(view.lifted(thing, np.full(floor.shape, np.inf, np.float32)), thing)
