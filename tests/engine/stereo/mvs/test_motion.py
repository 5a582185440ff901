"""Finding what moves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from camera_scenes import texture
from known_depth import HEIGHT, WIDTH, boards_shot

from stereodiff_blender.engine.imaging.flow import OpticalFlow
from stereodiff_blender.engine.imaging.matching_cost import cost_features
from stereodiff_blender.engine.imaging.warp import PlaneParallax
from stereodiff_blender.engine.stereo.mvs.depth import estimate_depth_maps
from stereodiff_blender.engine.stereo.mvs.explanation import StaticScene
from stereodiff_blender.engine.stereo.mvs.filtering import filter_depth
from stereodiff_blender.engine.stereo.mvs.motion import Neighbor, find_moving, neighbors_of, vote
from stereodiff_blender.engine.stereo.mvs.sources import DepthLimits
from stereodiff_blender.engine.stereo.mvs.triangulation import Triangulation
from stereodiff_blender.engine.storage import RunContext

SQUARE = (60, 50)
"""Height and width of the patch that camera_scenes pastes over its boards."""


def place_of_square(index):
    """Against the way the picture slides, and off its lines."""
    return 20 + 5 * index, 20 + 2 * index


def motion_mask(shot):
    return estimate_depth_maps(shot.frames, shot.cameras, context=RunContext()).motion_mask


# --- Finding --------------------------------------------------------------------------------------------------

@pytest.mark.slow
def test_a_moving_square_is_found():
    mask = motion_mask(boards_shot(8, travel=0.6, moving=place_of_square)) > 0
    for index in range(8):
        x, y = place_of_square(index)
        truth = np.zeros((HEIGHT, WIDTH), bool)
        truth[y:y + SQUARE[0], x:x + SQUARE[1]] = True
        overlap = (mask[index] & truth).sum() / (mask[index] | truth).sum()
        assert overlap > 0.75, index
        assert (mask[index] & truth).sum() > 0.93 * truth.sum(), index


@pytest.mark.slow
def test_a_static_scene_is_static():
    assert (motion_mask(boards_shot(8)) > 0).mean() < 0.005


SQUARE_AREA = (slice(30, 70), slice(60, 120))
LIMITS = DepthLimits(2.0, 5.0, 10.0)
WALL_SLIDE = (4.0, 0.0)


def judged(texture=5.0, near_flow=(), scene=None, **square):
    """find_moving where only a square differs from a well measured wall; near_flow: (H,W,2) to each neighbor, between
    which and this frame the wall slides by WALL_SLIDE; scene: what else may explain the square."""
    values = {"disparity": 0.2, "sigma": 0.001, "residual": 0.1, "agreeing": 4, "view_count": 4}
    kinds = {"agreeing": np.uint8, "view_count": np.uint8}
    arrays = {name: np.full((HEIGHT, WIDTH), value, kinds.get(name, np.float32)) for name, value in values.items()}
    for name, value in square.items():
        arrays[name][SQUARE_AREA] = value
    measured = Triangulation(**arrays)
    detail = np.full((HEIGHT, WIDTH), texture, np.float32)
    frame = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    frame[SQUARE_AREA] = 160
    slide = PlaneParallax(np.eye(3), np.array([WALL_SLIDE[0] / 0.2, 0.0, 0.0]))
    neighbors = [Neighbor(flow, np.zeros((HEIGHT, WIDTH), np.float32), slide) for flow in near_flow]
    return find_moving(frame, measured, filter_depth(measured, LIMITS, 4, detail), detail, LIMITS, neighbors, scene)


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


@pytest.mark.parametrize("slide, moves", [
    (WALL_SLIDE, False),
    ((5.0, 0.0), False),
    ((4.0, 3.0), True),
    ((-4.0, 0.0), True),
], ids=["with the wall", "a little nearer", "across", "against"])
def test_where_distant_frames_contradict_each_other_the_near_ones_decide(slide, moves):
    field = np.full((HEIGHT, WIDTH, 2), WALL_SLIDE, np.float32)
    field[SQUARE_AREA] = slide
    found = judged(residual=3.0, agreeing=0, near_flow=[field, field])
    assert found[SQUARE_AREA].mean() > 0.9 if moves else not found.any()


def test_regions_that_near_frames_cannot_judge_stay():
    field = np.full((HEIGHT, WIDTH, 2), WALL_SLIDE, np.float32)
    assert judged(residual=3.0, agreeing=0, near_flow=[])[SQUARE_AREA].mean() > 0.9
    assert not judged(residual=3.0, agreeing=0, near_flow=[field]).any()


def scene_with(place_in_others):
    """A picture in which the wall slides by WALL_SLIDE to both sides, its square to place_in_others; None: with it."""
    wall = texture(5, 256)[:HEIGHT, :WIDTH + 20]
    patch = texture(6, 96)[:40, :60]
    features = []
    for shift in (0, WALL_SLIDE[0], -WALL_SLIDE[0]):
        picture = np.roll(wall, int(shift), axis=1)[:, :WIDTH].copy()
        x, y = (60, 30) if shift == 0 or place_in_others is None else place_in_others
        x += int(shift) if place_in_others is None else 0
        picture[y:y + 40, x:x + 60] = patch
        features.append(cost_features(picture))
    slides = [PlaneParallax(np.eye(3), np.array([sign * WALL_SLIDE[0] / 0.2, 0.0, 0.0])) for sign in (1, -1)]
    return StaticScene(0, list(zip((1, 2), slides, strict=True)), features, LIMITS)


@pytest.mark.parametrize("place_in_others, moves", [(None, False), ((60, 45), True), ((64, 20), True)],
                         ids=["with the wall", "down", "up"])
def test_what_matches_call_moving_is_still_if_one_depth_explains_it(place_in_others, moves):
    found = judged(residual=3.0, agreeing=0, scene=scene_with(place_in_others))
    assert found[SQUARE_AREA].mean() > 0.9 if moves else not found.any()


def test_what_keeps_pace_with_the_camera_is_not_explained_by_being_far_beyond_what_is_around():
    scene = replace(scene_with((60, 30)), limits=DepthLimits(2.0, 5.0, 1000.0))
    asked = np.zeros((HEIGHT, WIDTH), bool)
    asked[40:60, 75:105] = True
    surroundings = (np.full((HEIGHT, WIDTH), around, np.float32) for around in (0.2, 0.001))
    before_a_wall, in_the_distance = (np.median(scene.static_cost(asked, each)[asked]) for each in surroundings)
    assert before_a_wall > 0.7 and in_the_distance < 0.2


def test_even_parts_of_a_moving_thing_stay_with_the_rest_of_it():
    scene = scene_with((60, 45))
    for number, (color, gradient) in enumerate(scene.features):
        part = slice(32, 68) if number == 0 else slice(47, 83)
        color[part, 75:105], gradient[part, 75:105] = 30.0, 0.0
    asked = np.zeros((HEIGHT, WIDTH), bool)
    asked[52:64, 85:95] = True
    assert scene.static_cost(asked, np.full((HEIGHT, WIDTH), 0.2, np.float32))[asked].max() < 0.1
    assert judged(residual=3.0, agreeing=0, scene=scene)[SQUARE_AREA].mean() > 0.97


def test_neighbors_exist():
    assert neighbors_of(0, 9) == [1, 2] and neighbors_of(4, 9) == [2, 3, 5, 6] and neighbors_of(8, 9) == [6, 7]
    assert neighbors_of(0, 2) == [1]


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
def test_neighbors_in_time_vote(still, present, stays):
    voted = vote(2, masks_where(present), still)
    assert voted.dtype == bool
    assert np.array_equal(voted, masks_where([2])[2] > 0) if stays else not voted.any()


def sharp_but(*blurred):
    sharpness = np.ones(5)
    sharpness[list(blurred)] = 0.6
    return sharpness


def test_a_blurred_frame_has_less_to_say(still):
    # Two frames of five are too few; and so they are where the third is the blurred one itself.
    assert vote(2, masks_where((1, 2, 3)), still).any()
    assert not vote(2, masks_where((1, 2)), still, sharp_but(2)).any()
    assert vote(2, masks_where((1, 2)), still, sharp_but(0, 3, 4)).any()
    assert vote(2, masks_where((0, 1, 3, 4)), still, sharp_but(2)).any()


def test_among_blurred_frames_the_vote_is_as_among_sharp_ones(still):
    for present in ((2,), (1, 2), (0, 1, 3, 4)):
        among_sharp, among_blurred = (vote(2, masks_where(present), still, sharp_but(*blurred))
                                      for blurred in ((), range(5)))
        assert np.array_equal(among_sharp, among_blurred)


def test_what_a_blurred_frame_alone_can_show_does_not_move():
    # The picture slides away so fast that no neighbor shows the square.
    picture = boards_shot(1).frames[0]
    frames = np.stack([np.roll(picture, 60 * index, axis=1) for index in range(5)])
    flow = OpticalFlow(frames, capacity=32)
    assert not vote(2, masks_where((2,)), flow, sharp_but(2)).any()


def test_specks_do_not_move(still):
    found = np.zeros((5, HEIGHT, WIDTH), np.uint8)
    found[:, 50:54, 80:84] = 1
    assert not vote(2, found, still).any()
