"""Outlines of what moves, drawn by what the pictures show: tight where they were fat or thin."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from depth_scenes import RayCastShot, ray_cast

from stereodiff_blender.engine.stereo.dynamic.outlines import draw_outlines
from stereodiff_blender.engine.stereo.mvs.sources import select_sources

COUNT, TRACK = 14, 3
INDEX = 7


@pytest.fixture(scope="module")
def shot() -> RayCastShot:
    return ray_cast(COUNT, with_object=True)


@pytest.fixture(scope="module")
def behind() -> np.ndarray:
    """Depth (T,H,W) of the still scene alone."""
    return ray_cast(COUNT).depth


def grown(mask: np.ndarray, pixels: int) -> np.ndarray:
    """Tracks (T,H,W) of one thing whose outline is so many pixels too far out."""
    window = np.ones((2 * abs(pixels) + 1,) * 2, np.uint8)
    change = cv2.dilate if pixels > 0 else cv2.erode
    return np.stack([change(frame.astype(np.uint8), window) for frame in mask]).astype(np.uint16) * TRACK


def drawn(shot: RayCastShot, behind: np.ndarray, tracks: np.ndarray, masks: np.ndarray | None = None) -> np.ndarray:
    result = tracks.copy()
    sources = select_sources(shot.cameras, *shot.frames.shape[1:3])
    draw_outlines(shot.frames, shot.cameras, behind, result, sources, masks)
    return result


def overlap(tracks: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union of all frames."""
    marked, moving = tracks > 0, truth > 0
    return float((marked & moving).sum() / (marked | moving).sum())


@pytest.mark.parametrize(("pixels", "before", "after"), [(1, 0.90, 0.93), (3, 0.74, 0.78), (-1, 0.90, 0.94)])
def test_outlines_become_tight(shot, behind, pixels, before, after):
    tracks = grown(shot.motion_mask, pixels)
    assert overlap(tracks, shot.motion_mask) < before
    result = drawn(shot, behind, tracks)
    assert overlap(result, shot.motion_mask) > after
    assert set(np.unique(result)) == {0, TRACK}


def test_true_outlines_stay(shot, behind):
    assert overlap(drawn(shot, behind, grown(shot.motion_mask, 0)), shot.motion_mask) > 0.95


def test_the_depth_behind_decides(shot, behind):
    """With the still scene at a wrong depth nothing is explained, and nothing is given back."""
    tracks = grown(shot.motion_mask, 6)
    assert drawn(shot, 0.6 * behind, tracks)[tracks > 0].mean() > 0.95 * TRACK


def test_what_the_artist_marked_keeps_its_outline(shot, behind):
    tracks = grown(shot.motion_mask, 6)
    assert np.array_equal(drawn(shot, behind, tracks, tracks > 0), tracks)


def test_a_frame_without_movers_stays_empty(shot, behind):
    tracks = grown(shot.motion_mask, 6)
    tracks[INDEX] = 0
    assert not drawn(shot, behind, tracks)[INDEX].any()


def test_same_bytes_twice(shot, behind):
    tracks = grown(shot.motion_mask, 6)
    assert np.array_equal(drawn(shot, behind, tracks), drawn(shot, behind, tracks))
