"""Sides chosen by the pictures: ramps become steps, fat borders thin, and slopes and what moves stay as they are."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from depth_scenes import RayCastShot, ray_cast

from stereodiff_blender.engine.stereo.boundaries.sides import select_sides

INDEX, SOURCES = 7, (1, 4, 10, 13)
"""Parallax of three and six pixels between board and wall, on both sides in time."""
FAT_PX = 4
BESIDE = slice(35, 70)
"""Rows in which the board has the wall beside it; farther down it stands before the floor."""


@pytest.fixture(scope="module")
def shot() -> RayCastShot:
    return ray_cast(14, with_object=True)


def chosen(shot: RayCastShot, depth: np.ndarray, *, sources=SOURCES, confidence: float = 0.6) -> np.ndarray:
    return select_sides(shot.frames, shot.cameras, INDEX, sources, depth, np.full_like(depth, confidence),
                        shot.motion_mask[INDEX] > 0)


def fat(shot: RayCastShot) -> np.ndarray:
    """The frame's depth (H,W) with a board that reaches too far over the wall; the mover keeps its own."""
    still = np.where(shot.motion_mask[INDEX] > 0, np.float32(1e3), shot.depth[INDEX])
    nearest = cv2.erode(still, np.ones((2 * FAT_PX + 1,) * 2, np.uint8))
    return np.where((still < 1e3) & (still > 1.4 * nearest), nearest, shot.depth[INDEX]).astype(np.float32)


def blurred(shot: RayCastShot) -> np.ndarray:
    """The frame's depth with ramps, some eight pixels wide, in place of its steps."""
    smooth = np.exp(cv2.GaussianBlur(np.log(shot.depth[INDEX]), (0, 0), 2.5))
    return np.where(shot.motion_mask[INDEX] > 0, shot.depth[INDEX], smooth).astype(np.float32)


def near_border(shot: RayCastShot) -> np.ndarray:
    """(H,W) static pixels beside the board, within eight pixels of its border."""
    depth, window = shot.depth[INDEX], np.ones((17, 17), np.uint8)
    near = cv2.dilate(depth, window) > 1.4 * cv2.erode(depth, window)
    near &= cv2.dilate(shot.motion_mask[INDEX], np.ones((31, 31), np.uint8)) == 0
    near[:BESIDE.start] = near[BESIDE.stop:] = False
    return near


def error(shot: RayCastShot, depth: np.ndarray) -> float:
    """Mean relative error near the border."""
    return float(np.abs(depth / shot.depth[INDEX] - 1)[near_border(shot)].mean())


def test_fat_borders_become_thin(shot):
    before, after = error(shot, fat(shot)), error(shot, chosen(shot, fat(shot)))
    assert before > 0.1
    assert after < 0.05 * before


def test_ramps_become_steps(shot):
    before, after = error(shot, blurred(shot)), error(shot, chosen(shot, blurred(shot)))
    assert before > 0.04
    assert after < 0.2 * before


def test_true_borders_stay(shot):
    assert error(shot, chosen(shot, shot.depth[INDEX], confidence=1.0)) < 0.005


def test_the_pictures_decide_not_the_depth_alone(shot):
    """Without parallax, from a camera that stood still, the same fat border is not made thin."""
    still = RayCastShot(np.repeat(shot.frames[INDEX:INDEX + 1], 14, axis=0), *(
        np.repeat(getattr(shot, name)[INDEX:INDEX + 1], 14, axis=0)
        for name in ("depth", "motion_mask", "camera_to_world", "intrinsics")))
    assert error(shot, chosen(still, fat(shot))) > 2 * error(shot, chosen(shot, fat(shot)))


def test_what_is_fixed_keeps_its_bytes_and_lends_no_depth(shot):
    moving = shot.motion_mask[INDEX] > 0
    depth = np.where(moving, np.float32(0.5), shot.depth[INDEX])
    after = chosen(shot, depth)
    assert np.array_equal(after[moving], depth[moving])
    assert after[~moving].min() > 0.9 * depth[~moving].min()


def test_a_slope_is_not_cut_into_steps(shot):
    """A floor that doubles its depth within thirty rows, as near the horizon, has no border anywhere."""
    height, width = shot.depth.shape[1:]
    rows = np.arange(height, dtype=np.float32)[:, None]
    slope = np.broadcast_to(10.0 / (1.0 + rows / 30.0), (height, width)).astype(np.float32)
    still = RayCastShot(shot.frames, np.broadcast_to(slope, shot.depth.shape), np.zeros_like(shot.motion_mask),
                        shot.camera_to_world, shot.intrinsics)
    assert np.array_equal(chosen(still, slope), slope)


def test_without_sources_nothing_changes(shot):
    assert np.array_equal(chosen(shot, fat(shot), sources=()), fat(shot))


def test_the_same_bytes_twice_and_the_input_untouched(shot):
    depth = fat(shot)
    assert np.array_equal(chosen(shot, depth), chosen(shot, depth))
    assert np.array_equal(depth, fat(shot))


def test_where_every_pixel_has_its_surface_s_depth_nothing_is_looked_up():
    """Two even surfaces that meet in an exact step: a band, but no pixel that departs from its side's depth."""
    frames = np.full((3, 48, 64, 3), 60, np.uint8)
    frames[:, :, 32:] = 200
    depth = np.where(np.arange(64) < 32, np.float32(1), np.float32(4)) * np.ones((48, 1), np.float32)
    poses = np.tile(np.eye(4), (3, 1, 1))
    poses[:, 0, 3] = (0.0, 0.02, 0.04)
    still = RayCastShot(frames, np.tile(depth, (3, 1, 1)), np.zeros((3, 48, 64), np.uint8), poses,
                        np.tile((60.0, 60.0, 32.0, 24.0), (3, 1)))
    found = select_sides(frames, still.cameras, 1, (0, 2), depth, np.full_like(depth, 0.6), np.zeros_like(depth, bool))
    assert np.array_equal(found, depth)
