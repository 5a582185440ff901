"""What is marked as moving is given back where what stands still explains it; what truly moves is not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from depth_scenes import HEIGHT, WIDTH, RayCastShot, ray_cast, sliding_path

from stereodiff_blender.engine.stereo.plate.evidence import Evidence, Warps, looked_up
from stereodiff_blender.engine.stereo.plate.propagation import project_bands
from stereodiff_blender.engine.stereo.plate.stillness import Islands, without_still_islands

POSES = sliding_path(21)[::4]
LAST, BEFORE_LAST = 5, (2, 3, 4)
MIDDLE, AROUND_MIDDLE = 3, (1, 2, 4, 5)


@pytest.fixture(scope="module")
def shot() -> RayCastShot:
    return ray_cast(poses=POSES)


@pytest.fixture(scope="module")
def with_thing() -> RayCastShot:
    return ray_cast(poses=POSES, with_object=True)


def disparity_of(shot: RayCastShot, index: int) -> np.ndarray:
    return 1.0 / shot.depth[index].astype(np.float32)


def given_back(shot: RayCastShot, marked: np.ndarray, found: np.ndarray, index: int, sources) -> Islands:
    """marked: (h,w) bool. found: (h,w) disparity of the frame, as it was measured."""
    gray = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in shot.frames])
    moves = [mask > 0 for mask in shot.motion_mask]
    still = [np.where(moves[k], np.float32(0), disparity_of(shot, k)) for k in sources]
    projected = [project_bands(disparity_of(shot, k), moves[k], shot.cameras, k, index) for k in sources]
    return without_still_islands(
        marked, found, projected, still, shot.cameras, index, sources,
        lambda rows, cols, disparity: Evidence(gray.__getitem__, shot.cameras, index, sources, (rows, cols), disparity))


def shown_by_none(shot: RayCastShot, index: int, sources) -> np.ndarray:
    """(h,w) bool: what something stands in front of in every source."""
    rows, cols = (axis.ravel() for axis in np.indices((HEIGHT, WIDTH)))
    own, hidden = disparity_of(shot, index).ravel(), np.ones(HEIGHT * WIDTH, bool)
    warps = Warps(shot.cameras, index, sources, rows, cols)
    for k, source in enumerate(sources):
        columns, lines, ratio = warps.places(k, own)
        hidden &= looked_up(disparity_of(shot, source), columns, lines, len(own), cv2.INTER_NEAREST) * ratio > 1.1 * own
    return hidden.reshape(HEIGHT, WIDTH)


def largest(mask: np.ndarray) -> np.ndarray:
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    return labels == 1 + stats[1:, cv2.CC_STAT_AREA].argmax()


def test_what_only_the_last_frame_shows_stands_still(shot):
    strip, true = largest(shown_by_none(shot, LAST, BEFORE_LAST)), disparity_of(shot, LAST)
    assert strip.sum() > 100
    found = np.where(strip, np.float32(1 / 3.5), true)  # as near as the board that hid it
    islands = given_back(shot, strip, found, LAST, BEFORE_LAST)
    assert not islands.moves.any()
    np.testing.assert_allclose(islands.behind[strip], true[strip], rtol=0.1)
    assert not islands.behind[~strip].any()


@pytest.mark.parametrize(("gray_levels", "is_still"), [(0, True), (40, False)])
def test_what_looks_as_in_other_frames_stands_still(gray_levels, is_still):
    shot = ray_cast(7)
    marked, true = np.zeros((HEIGHT, WIDTH), bool), disparity_of(shot, MIDDLE)
    right = int(np.flatnonzero(true[40] > 0.25).max())
    marked[30:50, right - 7:right - 1] = True  # of the board, beside its edge
    shot.frames[MIDDLE][marked] += np.uint8(gray_levels)
    islands = given_back(shot, marked, np.where(marked, np.float32(0.16), true), MIDDLE, AROUND_MIDDLE)
    np.testing.assert_array_equal(islands.moves, marked & (not is_still))


@pytest.mark.parametrize(("index", "sources"), [(MIDDLE, AROUND_MIDDLE), (LAST, BEFORE_LAST)])
def test_what_moves_goes_on_moving(with_thing, index, sources):
    marked = with_thing.motion_mask[index] > 0
    assert marked.sum() > 300
    islands = given_back(with_thing, marked, disparity_of(with_thing, index), index, sources)
    np.testing.assert_array_equal(islands.moves, marked)
    assert not islands.behind.any()


def test_each_island_is_judged_alone(with_thing):
    thing = with_thing.motion_mask[LAST] > 0
    strip = largest(shown_by_none(with_thing, LAST, BEFORE_LAST) & (cv2.dilate(thing.astype(np.uint8), np.ones((5, 5)))
                                                                    == 0))
    true = disparity_of(with_thing, LAST)
    islands = given_back(with_thing, thing | strip, np.where(strip, np.float32(1 / 3.5), true), LAST, BEFORE_LAST)
    np.testing.assert_array_equal(islands.moves, thing)


def test_nothing_that_moves_is_nothing_to_give_back(shot):
    islands = given_back(shot, np.zeros((HEIGHT, WIDTH), bool), disparity_of(shot, LAST), LAST, BEFORE_LAST)
    assert not islands.moves.any()
    assert not islands.behind.any()


def test_an_island_that_fills_a_corner_has_nothing_to_lie_on(shot):
    marked = np.zeros((HEIGHT, WIDTH), bool)
    marked[:60, :60] = True
    islands = given_back(shot, marked, disparity_of(shot, LAST), LAST, BEFORE_LAST)
    assert islands.behind.max() <= disparity_of(shot, LAST).max()
