"""Shots that look like another kind of camera's: what each is called, and what is said of it."""

from __future__ import annotations

import numpy as np
import pytest
from camera_scenes import path_error
from track_scenes import FOCAL_PX, HEIGHT, WIDTH, filmed, filmed_through, joined, path, room, solved

from stereodiff_blender.engine.geometry import rotation_angle_deg
from stereodiff_blender.engine.stereo.tracking.tracks import Tracks

COUNT = 14

pytestmark = pytest.mark.slow


def turn_error_deg(found: np.ndarray, true: np.ndarray) -> float:
    """Mean angle between the found and the true turn from each frame to the next."""
    steps = [np.swapaxes(poses[:-1, :3, :3], 1, 2) @ poses[1:, :3, :3] for poses in (found, true)]
    return float(rotation_angle_deg(np.swapaxes(steps[0], 1, 2) @ steps[1]).mean())


def land(houses: bool) -> np.ndarray:
    """Points of flat land 30 m below a camera that looks straight down, z; and of the roofs of low houses."""
    generator = np.random.default_rng(3)
    points = generator.uniform((-30, -20, 30), (30, 20, 30), (700, 3))
    if houses:
        points[:150, 2] -= generator.choice((2.0, 2.5, 3.5), 150)
    return points


def flight(count: int = COUNT) -> np.ndarray:
    step = np.arange(count)[:, None]
    return path(step * (0.5, 0.15, 0.0), np.zeros((count, 3)))


@pytest.mark.parametrize("houses", [False, True])
def test_a_flight_over_flat_land_travels(houses):
    true = flight()
    solution, warnings = solved(filmed(land(houses), true, noise_px=0.015))
    assert solution.kind == "moving" and solution.solved.all()
    assert path_error(solution.camera_to_world[:, :3, 3], true[:, :3, 3]) < 0.005
    assert "focal_assumed" in warnings or "weak_focal" in warnings


def test_a_long_lens_that_turns_is_no_flight():
    pan = path(np.zeros((COUNT, 3)), np.arange(COUNT)[:, None] * (0.05, 0.4, 0.0))
    far = np.random.default_rng(5).uniform((-2.0, -0.7, 6.0), (2.5, 0.7, 12.0), (700, 3))
    solution, warnings = solved(filmed(far, pan, focal_px=5 * FOCAL_PX))
    assert solution.kind == "rotation"
    assert "flat ground" in warnings["weak_focal"] or "focal_assumed" in warnings


def walk_and_swing(reverse: bool = False) -> np.ndarray:
    """Nine frames of a walk forward, then thirteen of a turn by 78 degrees on the spot."""
    step = np.minimum(np.arange(22), 8)[:, None]
    turn = np.maximum(np.arange(22) - 8, 0)[:, None]
    poses = path(step * (0.02, 0.0, 0.14) + (0.0, 0.0, -4.0), turn * (0.0, 6.0, 0.0))
    return poses[::-1] if reverse else poses


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("focal_px", [None, FOCAL_PX])
def test_a_walk_that_ends_in_a_turn_is_solved_whole(reverse, focal_px):
    true = walk_and_swing(reverse)
    solution, warnings = solved(filmed(room(), true, noise_px=0.03), focal_px=focal_px)
    assert solution.kind == "moving" and solution.solved.all()
    assert path_error(solution.camera_to_world[:, :3, 3], true[:, :3, 3]) < 0.01
    assert turn_error_deg(solution.camera_to_world, true) < 0.2
    assert "only turns" in warnings["turns_in_part"]
    assert abs(solution.intrinsics[0, 0] / FOCAL_PX - 1) < 0.02
    assert "rotation_only" not in warnings


def crossed_by_a_figure(share: float) -> tuple[np.ndarray, np.ndarray]:
    """Points of a wall and those, (T,P,3), of a figure before it that covers this share of the picture's width."""
    generator = np.random.default_rng(4)
    wall = generator.uniform((-4, -3, 6), (4, 3, 6.5), (700, 3))
    half = 0.5 * share * 2 * WIDTH / FOCAL_PX
    figure = generator.uniform((-half, -1.5, 2.0), (half, 1.5, 2.1), (900, 3))
    return wall, figure + np.arange(16)[:, None, None] * (0.05, 0.0, 0.0) - (0.35, 0.0, 0.0)


def test_a_locked_camera_behind_a_large_figure_stands_still():
    wall, figure = crossed_by_a_figure(0.7)
    still = path(np.zeros((16, 3)), np.zeros((16, 3)))
    front, behind = filmed(figure, still), filmed(wall, still, seed=1)
    reach = 0.5 * 0.7 * WIDTH
    middle = WIDTH / 2 + (-0.35 + 0.05 * behind.frame) * FOCAL_PX / 2.0
    behind = behind.select(np.abs(behind.pixels[:, 0] - middle) > reach)
    solution, warnings = solved(joined(front, behind))
    assert len(front.frame) > 2 * len(behind.frame)
    assert solution.kind == "static" and not solution.camera_to_world[:, :3, 3].any()
    assert "matte" in warnings["large_motion"]


def test_a_slow_camera_behind_a_large_figure_does_not_stand_still():
    wall, figure = crossed_by_a_figure(0.5)
    slow = path(np.arange(16)[:, None] * (0.004, 0.0, 0.0), np.arange(16)[:, None] * (0.0, 0.02, 0.0))
    solution, _ = solved(joined(filmed(figure, slow), filmed(wall, slow, seed=1)))
    assert solution.kind != "static"


def handheld(count: int = 24) -> np.ndarray:
    share = np.linspace(0, 1, count)
    return path(np.stack([1.2 * share, 0.1 * np.sin(5 * share), 0.4 * share], axis=1) - (0.6, 0.0, 4.0),
                np.stack([2 * np.sin(4 * share), -6 * share, np.sin(3 * share)], axis=1))


@pytest.mark.parametrize("focal_px", [0.152 * FOCAL_PX, 0.6 * FOCAL_PX, 8 * FOCAL_PX])
def test_a_given_lens_that_contradicts_the_shot_is_doubted(focal_px):
    solution, warnings = solved(filmed(room(), handheld()), focal_px=focal_px, sensor_mm=36.0)
    assert solution.intrinsics[0, 0] == pytest.approx(focal_px)
    assert solution.is_focal_unreliable
    named = float(warnings["lens_doubtful"].split(" mm")[0].split()[-1])
    assert abs(named / (36 * FOCAL_PX / WIDTH) - 1) < 0.1


@pytest.mark.parametrize("off", [0.93, 1.0, 1.07])
def test_a_given_lens_that_is_nearly_right_is_not_doubted(off):
    solution, warnings = solved(filmed(room(), handheld()), focal_px=off * FOCAL_PX)
    assert solution.kind == "moving" and "lens_doubtful" not in warnings


def test_a_principal_point_that_is_given_is_used():
    axis = np.array([WIDTH / 2 + 60.0, HEIGHT / 2 - 20.0])
    true = handheld()
    tracks = filmed(room(), true, axis=axis)
    right, _ = solved(tracks, focal_px=FOCAL_PX, principal_point=tuple(axis))
    wrong, _ = solved(tracks, focal_px=FOCAL_PX)
    assert right.intrinsics[:, 2:] == pytest.approx(np.tile(axis, (24, 1)))
    off_right, off_wrong = (path_error(each.camera_to_world[:, :3, 3], true[:, :3, 3]) for each in (right, wrong))
    assert off_right < 0.3 * off_wrong
    assert np.nanmean(right.reprojection_px) < 0.7 * np.nanmean(wrong.reprojection_px)
    place, pixels = right.observations[5]
    pose = np.linalg.inv(right.camera_to_world[5])
    in_camera = right.points[place] @ pose[:3, :3].T + pose[:3, 3]
    assert np.abs(FOCAL_PX * in_camera[:, :2] / in_camera[:, 2:] + axis - pixels).max() < 1.0


def test_a_crop_that_wanders_makes_the_lens_doubtful():
    index = np.arange(24)
    shift = np.stack([14 * np.sin(0.55 * index) * np.cos(0.13 * index), 9 * np.sin(0.4 * index + 1)], axis=1)
    axis = (WIDTH / 2, HEIGHT / 2) - shift
    _, warnings = solved(filmed(room(), handheld(), axis=axis))
    assert "weak_focal" in warnings and "stabilized" in warnings["weak_focal"]
    _, warnings = solved(filmed(room(), handheld()))
    assert "weak_focal" not in warnings


def turntable(count: int = 16) -> np.ndarray:
    """Points (T,P,3) of a thing on a disc that turns by three degrees a frame."""
    generator = np.random.default_rng(6)
    points = generator.normal(size=(500, 3))
    points = np.r_[0.5 * points / np.linalg.norm(points, axis=1, keepdims=True),
                   generator.uniform((-0.8, 0.5, -0.8), (0.8, 0.52, 0.8), (300, 3))]
    turns = path(np.zeros((count, 3)), np.arange(count)[:, None] * (0.0, 3.0, 0.0))[:, :3, :3]
    return np.einsum("tij,pj->tpi", turns, points) + (0.0, 0.0, 4.2)


def test_a_turntable_is_called_an_object_track():
    still = path(np.zeros((16, 3)), np.zeros((16, 3)))
    solution, warnings = solved(filmed(turntable(), still))
    assert solution.kind == "moving" and "object_track" in warnings


def test_a_walk_around_a_thing_in_a_room_is_not():
    index = np.arange(16)[:, None]
    orbit = path(np.concatenate([4.2 * np.sin(np.radians(3 * index)), 0 * index, -4.2 * np.cos(np.radians(3 * index))],
                                axis=1), index * (0.0, -3.0, 0.0))
    solution, warnings = solved(filmed(np.r_[turntable()[0] - (0.0, 0.0, 4.2), room()], orbit))
    assert solution.kind == "moving" and "object_track" not in warnings


def lasting(tracks: Tracks, most: int, seed: int) -> Tracks:
    """Every track lost by chance after 2 to most frames."""
    generator = np.random.default_rng(seed)
    first = generator.integers(1 - most, tracks.frame_count, tracks.points)[tracks.point]
    length = generator.integers(2, most + 1, tracks.points)[tracks.point]
    return tracks.select((tracks.frame >= first) & (tracks.frame < first + length))


def behind_walkers(travel: float, length: int = 14, count: int = 40) -> Tracks:
    """Short tracks of a background three to six units away, and more of two people who walk across before it, filmed
    from the hand by a camera that turns, and travels so far."""
    share, generator = np.linspace(0, 1, count), np.random.default_rng(0)
    places = travel * np.stack([share, 0.1 * np.sin(6 * share), 0.3 * share], axis=1)
    turns = np.stack([2 * np.sin(5 * share), 8 * share + 3 * np.sin(4 * share), 0 * share], axis=1)
    camera = path(places, turns + np.cumsum(generator.normal(0, 0.15, (count, 3)), axis=0))
    background = generator.uniform((-4, -2, 3), (5, 2, 6.5), (4000, 3))
    people, which = generator.uniform((-1.2, -1, 1.5), (1.2, 1, 2.2), (6000, 3)), generator.integers(0, 2, 6000)
    way = (1.6 * share - 0.8)[:, None, None] * np.array([[1.0, 0, 0], [-1.0, 0, 0.4]])[which]
    walk = people + np.array([[-0.8, 0, 0], [0.9, 0, 0.3]])[which] + way
    walk = walk + 0.06 * np.sin(20 * share)[:, None, None] * np.array([0.0, 1.0, 0.0])
    return joined(lasting(filmed(background, camera, noise_px=0.2), length, 1),
                  lasting(filmed(walk, camera, noise_px=0.4, seed=1), 4, 2))


@pytest.mark.parametrize("travel", [0.3, 0.6])
def test_a_walk_behind_people_travels_though_most_points_have_two_views(travel):
    """A free ray swallows what two views of a point do not share, so a turn explains nearly as much."""
    solution, warnings = solved(behind_walkers(travel))
    assert solution.kind == "moving" and solution.solved.all()
    assert "rotation_only" not in warnings
    if travel < 0.5:  # Further, the travel gains so much that nothing is in doubt.
        assert "tripod" in warnings["travel_doubtful"]
        assert solution.is_focal_unreliable == ("weak_focal" in warnings)
    true = np.linspace(0, 1, 40)[:, None] * (1.0, 0.0, 0.3)
    steps = solution.camera_to_world[-1, :3, 3]
    assert steps @ true[-1] / np.linalg.norm(steps) / np.linalg.norm(true[-1]) > 0.9


@pytest.mark.parametrize("length", [8, 14, 30])
def test_a_tripod_behind_people_only_turns(length):
    solution, warnings = solved(behind_walkers(0.0, length))
    assert solution.kind == "rotation" and "travel_doubtful" not in warnings


ZOOM_COUNT = 30


def pan(across_deg: float):
    """On the spot, across so many degrees, with a slow nod."""
    def turn(times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        share = times / (ZOOM_COUNT - 1)
        turns = np.stack([2 * np.sin(5 * share), across_deg * (share - 0.5), 0 * share], axis=1)
        return np.zeros((len(times), 3)), turns
    return turn


@pytest.mark.parametrize(("across_deg", "ratio", "noise_px"), [(20, 1.5, 0.05), (20, 1.05, 0.05), (40, 2.0, 0.05),
                                                                (0, 1.5, 0.05), (20, 1.4, 0.2)])
def test_a_zoom_on_a_tripod_is_a_turn_with_a_focal_length_for_each_frame(across_deg, ratio, noise_px):
    zoom = ratio ** (0.5 - 0.5 * np.cos(np.linspace(0.0, np.pi, ZOOM_COUNT)))
    solution, warnings = solved(filmed_through(room(400), pan(across_deg), ZOOM_COUNT, zoom=zoom, noise_px=noise_px))
    assert solution.kind == "rotation" and solution.solved.all() and solution.lens.zooms
    np.testing.assert_allclose(solution.intrinsics[:, :2], FOCAL_PX * zoom[:, None] * [1, 1], rtol=3e-3)
    turns = path(*pan(across_deg)(np.arange(float(ZOOM_COUNT))))
    assert turn_error_deg(solution.camera_to_world, turns) < 0.02
    assert f"{ratio:.2f}" in warnings["lens_zooms"] and "rotation_only" in warnings


def test_a_walk_towards_a_wall_is_no_zoom():
    """Ten centimeters, and hardly anything stands before the wall."""
    def walk(times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        share = times[:, None] / (ZOOM_COUNT - 1)
        return share * (0.0, 0.0, 0.1) - (0.0, 0.0, 1.0), 0 * share * np.ones(3)
    solution, warnings = solved(filmed_through(room(400), walk, ZOOM_COUNT))
    assert solution.kind == "moving" and not solution.lens.zooms
    assert "travel_doubtful" in warnings and "weak_focal" in warnings
