"""What a matte changes: a board that travels along with the camera, which geometry alone takes for something far."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from depth_scenes import FOCAL_PX, HEIGHT, WIDTH, RayCastShot, ray_cast
from known_depth import known_cameras
from recording_report import RecordingReport

from stereodiff_blender.engine.contract import Settings
from stereodiff_blender.engine.pipeline.pipeline import Estimate, estimate_depth
from stereodiff_blender.engine.solution import TRUSTED, KnownLens, StereoResult
from stereodiff_blender.engine.stereo.dynamic.matte import motion_beyond, with_gaps_bridged, without_matte
from stereodiff_blender.engine.stereo.mvs.depth import estimate_depth_maps
from stereodiff_blender.engine.storage import RunContext

pytestmark = pytest.mark.slow

COUNT = 10


@pytest.fixture(scope="module")
def shot() -> RayCastShot:
    return ray_cast(COUNT, with_object=True)


def measured(shot: RayCastShot, masks: np.ndarray | None) -> StereoResult:
    still = np.where(shot.motion_mask > 0, np.nan, shot.depth)
    cameras = known_cameras(shot.camera_to_world, shot.intrinsics, still)
    return estimate_depth_maps(shot.frames, cameras, masks=masks, context=RunContext())


@pytest.fixture(scope="module")
def bare(shot) -> StereoResult:
    return measured(shot, None)


@pytest.fixture(scope="module")
def matted(shot) -> StereoResult:
    return measured(shot, shot.motion_mask)


def beside(shot: RayCastShot, reach_px: int = 6) -> np.ndarray:
    """(T,H,W) bool: still pixels close to the mover."""
    window = np.ones((2 * reach_px + 1, 2 * reach_px + 1), np.uint8)
    return np.stack([cv2.dilate(mask, window) > mask for mask in shot.motion_mask])


def error(result: StereoResult, shot: RayCastShot, where: np.ndarray) -> float:
    return float(np.abs(result.depth[where] / shot.depth[where] - 1).mean())


# --- The dense half --------------------------------------------------------------------------------------------

def test_the_matte_finds_what_geometry_does_not(shot, bare, matted):
    moving = shot.motion_mask > 0
    assert bare.motion_mask[moving].mean() < 0.1, "not a shot that needs a matte"
    assert matted.motion_mask[moving].all()
    assert error(matted, shot, moving) < 0.3 * error(bare, shot, moving)


def test_nothing_leaks_over_the_outline(shot, bare, matted):
    assert not matted.motion_mask[shot.motion_mask == 0].any()
    assert error(matted, shot, beside(shot)) <= error(bare, shot, beside(shot))
    assert error(matted, shot, shot.motion_mask == 0) < 1.02 * error(bare, shot, shot.motion_mask == 0)


def test_only_what_is_sure_is_trusted_beside_it(shot, matted):
    assert (matted.confidence[shot.motion_mask > 0] < TRUSTED).all()
    assert not (matted.confidence[beside(shot, 2)] > TRUSTED).any()
    assert (matted.confidence[~(beside(shot, 20) | (shot.motion_mask > 0))] > TRUSTED).mean() > 0.85


def test_two_shapes_with_a_gap_are_one_thing(shot):
    """The upper part has no feet of its own: it stands where the lower one stands."""
    masks = shot.motion_mask.copy()
    middle = int(np.nonzero(masks[0].any(axis=1))[0].mean())
    masks[:, middle - 2:middle + 3] = 0
    result = measured(shot, masks)
    for depth, mask in zip(result.depth, masks, strict=True):
        rows, columns = np.nonzero(mask)
        disparity = 1.0 / depth[rows, columns].astype(float)
        board = np.stack([columns, rows, np.ones(len(rows))], axis=1)
        off = board @ np.linalg.lstsq(board, disparity, rcond=None)[0] - disparity
        assert np.ptp(off) < 1e-3 * disparity.mean(), "one upright board, without a step at the gap"


# --- The whole method ------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def estimate(shot) -> Estimate:
    return estimate_depth(shot.frames, Settings(), masks=shot.motion_mask, lens=KnownLens(FOCAL_PX),
                          context=RunContext(report=RecordingReport()))


def test_no_point_of_the_camera_solve_lies_on_the_matte(shot, estimate):
    seen = 0
    for mask, (_, pixels) in zip(shot.motion_mask, estimate.cameras.observations, strict=True):
        columns, rows = np.clip(np.floor(pixels).astype(int), 0, (WIDTH - 1, HEIGHT - 1)).T
        assert not mask[rows, columns].any()
        seen += len(pixels)
    assert seen > 50 * COUNT


def test_the_matte_is_in_every_product(shot, estimate):
    moving = shot.motion_mask > 0
    assert estimate.stereo.motion_mask[moving].all()
    assert (estimate.stereo.confidence[moving] < TRUSTED).all()
    assert estimate.quality.moving_share == pytest.approx(moving.mean(), abs=0.01)


# --- The pieces ------------------------------------------------------------------------------------------------

def marks(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    """(96,192) bool, true in boxes left, top, right, bottom."""
    mask = np.zeros((96, 192), bool)
    for left, top, right, bottom in boxes:
        mask[top:bottom, left:right] = True
    return mask


PERSON = marks((80, 20, 110, 70))


def test_a_halo_is_no_motion():
    halo = marks((77, 17, 113, 73))
    assert not motion_beyond(halo, PERSON).any()


def test_a_shadow_is_kept_up_to_the_matte():
    shadow = marks((80, 70, 160, 78))
    kept = motion_beyond(shadow | marks((77, 17, 113, 73)), PERSON)
    assert kept[70:78, 113:160].all() and kept[74:78, 84:106].any()
    assert not kept[:66].any() and not kept[PERSON].any()


def test_motion_far_from_the_matte_stays_as_it_is():
    other = marks((10, 10, 30, 40))
    assert np.array_equal(motion_beyond(other, PERSON), other)
    assert np.array_equal(motion_beyond(other, np.zeros_like(PERSON)), other)


def test_gaps_are_bridged_but_not_streets():
    parts = marks((80, 20, 110, 40), (80, 46, 110, 70), (150, 20, 170, 40))
    count, _ = cv2.connectedComponents(with_gaps_bridged(parts).astype(np.uint8))
    assert count == 3


def test_matches_on_the_matte_give_way_to_others():
    """Three sources; the first one shows the pixel's match on the matte, then two of them do."""
    flow = np.zeros((96, 192, 2), np.float32)
    usable, nothing = np.ones((96, 192), bool), np.zeros((96, 192), bool)
    first, second, third = without_matte([usable] * 3, [flow] * 3, nothing, [PERSON, nothing, nothing])
    assert np.array_equal(first, ~PERSON) and second.all() and third.all()
    first, second, third = without_matte([usable] * 3, [flow] * 3, nothing, [PERSON, PERSON, nothing])
    assert first.all() and second.all() and third.all(), "one match alone could not be judged"
    assert not any(matches[PERSON].any() for matches in without_matte([usable] * 3, [flow] * 3, PERSON, [nothing] * 3))
