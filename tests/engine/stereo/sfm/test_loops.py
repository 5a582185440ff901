"""A camera that comes back to where it was: what is seen again is found, and the loop closes."""

from __future__ import annotations

import numpy as np
import pytest
from camera_scenes import FOCAL_PX, HEIGHT, WIDTH, path_error, render_boards, turned

from stereodiff_blender.engine.report import Report
from stereodiff_blender.engine.stereo.mapping.reconstruction import Reconstruction
from stereodiff_blender.engine.stereo.mapping.registration import register_all_frames
from stereodiff_blender.engine.stereo.mapping.triangulation import triangulate_points
from stereodiff_blender.engine.stereo.sfm import loops
from stereodiff_blender.engine.stereo.sfm.loops import close_loops, find_links, tie
from stereodiff_blender.engine.stereo.sfm.shot import TrackedShot, square_tracks
from stereodiff_blender.engine.stereo.sfm.traveling import Travel
from stereodiff_blender.engine.stereo.tracking.tracking import track_features
from stereodiff_blender.engine.stereo.tracking.tracks import Tracks

AXIS = (WIDTH / 2, HEIGHT / 2)


def poses_of(places: np.ndarray, turns_deg: np.ndarray) -> np.ndarray:
    """(T,4,4) at x = places, turned about the vertical axis."""
    poses = np.tile(np.eye(4), (len(places), 1, 1))
    poses[:, 0, 3] = places
    poses[:, :3, :3] = turned(np.outer(turns_deg, [0.0, 1.0, 0.0]))
    return poses


def reconstruction_of(tracks: Tracks, poses: np.ndarray) -> Reconstruction:
    """As if a solve had found the poses. tracks: square pixels from the principal point."""
    found = Reconstruction(tracks, FOCAL_PX, free_focal=False, seed=0)
    found.rotations = np.swapaxes(poses[:, :3, :3], 1, 2)
    found.translations = -np.einsum("nij,nj->ni", found.rotations, poses[:, :3, 3])
    found.registered[:] = True
    frames, observations = found.observations(found.registered)
    found.points = triangulate_points(found.rotations[frames], found.translations[frames], FOCAL_PX, observations,
                                      tracks.points)
    return found


# --- From bare tracks --------------------------------------------------------------------------------------------

WALK, TURN, LINKING, POINTS = 10, 4, 3, 90


def there_and_back(seed: int, points: int = POINTS) -> tuple[Tracks, np.ndarray, np.ndarray]:
    """A walk past points, a turn, a walk past others, the turn and the walk back to where it began; in both turns few
    points are followed. Tracks, true poses, and the pairs of tracks of the points that are seen again."""
    generator = np.random.default_rng(seed)
    spans = [(0, WALK + 1), (WALK, WALK + TURN), (WALK + TURN - 1, 3 * WALK + TURN)]
    spans += [(3 * WALK + TURN - 1, 3 * WALK + 2 * TURN), (3 * WALK + 2 * TURN - 1, 4 * WALK + 2 * TURN)]
    count = spans[-1][1]
    inner = np.r_[np.linspace(0.0, 0.7, WALK), np.full(TURN, 0.7), 0.7 + np.linspace(0.0, 0.7, WALK)]
    places = np.r_[inner, inner[::-1]]
    turn = np.r_[np.zeros(WALK), np.linspace(0.0, 24.0, TURN), np.full(WALK, 24.0)]
    poses = poses_of(places, np.r_[turn, turn[::-1]])
    here, there, links, links_back = (generator.uniform((-2, -2, 4), (4, 2, 12), (number, 3))
                                      for number in (points, points, LINKING, LINKING))
    world = np.concatenate([here, links, there, links_back, here])
    span = np.repeat([spans[0], (spans[1][0] - 3, spans[1][1] + 3), spans[2], (spans[3][0] - 3, spans[3][1] + 3),
                      spans[4]], [points, LINKING, points, LINKING, points], axis=0)
    frame, point = (index.ravel() for index in np.meshgrid(np.arange(count), np.arange(len(world)), indexing="ij"))
    visible = (frame >= span[point, 0]) & (frame < span[point, 1])
    frame, point = frame[visible], point[visible]
    local = np.einsum("nji,nj->ni", poses[frame, :3, :3], world[point] - poses[frame, :3, 3])
    pixels = FOCAL_PX * local[:, :2] / local[:, 2:] + generator.normal(0.0, 0.3, (len(frame), 2))
    tracks = Tracks(count, (WIDTH, HEIGHT), len(world), frame, point, pixels)
    again = np.arange(points)[:, None] + [0, len(world) - points]
    return tracks, poses, again


def gap_percent(found: Reconstruction) -> float:
    """Between the first and the last camera, which stand in one place, of the extent of the path."""
    centers = -np.einsum("nji,nj->ni", found.rotations, found.translations)
    return float(100 * np.linalg.norm(centers[-1] - centers[0]) / np.ptp(centers[:, 0]))


@pytest.mark.slow
def test_a_loop_is_open_without_links_and_closes_with_them():
    tracks, poses, again = there_and_back(seed=2)
    found = reconstruction_of(tracks, poses)
    fitted = register_all_frames(found, lambda: None)
    before = gap_percent(found)
    assert before > 10.0 and loops._is_open(found, again, fitted)
    tie(found, again)
    register_all_frames(found, lambda: None)
    assert gap_percent(found) < 1.0
    assert found.focal == FOCAL_PX, "it is known, and stays"


def test_a_part_of_the_points_ties_two_visits_and_every_frame_keeps_enough():
    tracks, poses, again = there_and_back(seed=2, points=300)
    again = again[:30]
    found = reconstruction_of(tracks, poses)
    frames, observations = found.observations(found.registered)
    drawn = loops._drawn(observations, tracks.points, again)
    seen_by = np.bincount(observations.camera, minlength=len(frames))
    left = np.bincount(observations.camera[drawn[observations.point]], minlength=len(frames))
    assert drawn[again].all() and np.count_nonzero(drawn) < 0.5 * tracks.points
    assert (left >= np.minimum(seen_by, loops.MIN_IN_FRAME)).all()
    tie(found, again)
    assert np.isnan(found.points[~drawn]).all(), "the cameras have left them"


def test_pairs_become_one_track_but_never_twice_in_a_frame():
    frame, point = np.array([0, 0, 1, 2, 2, 3]), np.array([0, 1, 0, 1, 2, 2])
    tracks = Tracks(4, (WIDTH, HEIGHT), 3, frame, point, np.arange(12.0).reshape(6, 2))
    tied = loops._with_common(tracks, np.array([[0, 2], [0, 1]]))
    assert tied.frame.tolist() == [0, 0, 1, 2, 2, 3]
    assert tied.point.tolist() == [0, 1, 0, 0, 1, 0], "0 and 1 are both seen in frame 0"
    assert sorted(tied.pixels[:, 0]) == sorted(tracks.pixels[:, 0])


# --- From pictures -----------------------------------------------------------------------------------------------

def shot_of(frames: np.ndarray, poses: np.ndarray) -> tuple[TrackedShot, Travel]:
    """Real tracks of the frames, and the true cameras as the travel that was found."""
    tracks = track_features(frames, None, Report())
    tracks = tracks.select(tracks.lengths[tracks.point] >= 3)
    square = square_tracks(tracks, AXIS, 1.0)
    shot = TrackedShot(tracks, square, np.arange(len(frames)), FOCAL_PX, AXIS, 1.0, 36.0, 0, 1, Report())
    found = reconstruction_of(square, poses)
    return shot, Travel(found, register_all_frames(found, lambda: None), 1.0, np.zeros(len(frames), bool))


def off_path(travel: Travel, poses: np.ndarray) -> float:
    fitted = travel.fitted
    return path_error(-np.einsum("nji,nj->ni", fitted.rotations, fitted.translations), poses[:, :3, 3])


def look_away_and_back() -> np.ndarray:
    """So far to the side that nothing of the first picture is left."""
    away = np.r_[np.linspace(-30.0, 32.0, 12), np.linspace(32.0, -30.0, 12)[1:]]
    return poses_of(np.linspace(0.0, 0.9, len(away)), away)


@pytest.mark.slow
def test_what_is_seen_again_is_found_in_the_pictures():
    poses = look_away_and_back()
    frames = render_boards(poses)
    shot, travel = shot_of(frames, poses)
    links = find_links(shot, travel.reconstruction, travel.traveling, lambda index: frames[index])
    assert len(links) >= 20
    places = travel.reconstruction.points[links]
    apart = np.linalg.norm(places[:, 0] - places[:, 1], axis=1)
    assert np.nanmedian(apart / np.linalg.norm(places[:, 0], axis=1)) < 0.1
    assert off_path(close_loops(shot, travel, frames), poses) < 1.02 * off_path(travel, poses) < 0.005


@pytest.mark.slow
def test_a_walk_that_never_comes_back_is_left_as_it_is():
    poses = poses_of(np.linspace(0.0, 1.2, 12), np.linspace(0.0, 40.0, 12))
    frames = render_boards(poses)
    shot, travel = shot_of(frames, poses)
    before = travel.reconstruction.rotations.tobytes()
    assert close_loops(shot, travel, frames) is travel
    assert travel.reconstruction.rotations.tobytes() == before
