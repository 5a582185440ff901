"""Looking up at any number of places, by arithmetic."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from stereodiff_blender.engine.imaging.lookup import MOST_ROWS, look_up
from stereodiff_blender.engine.imaging.matching_cost import mean_of_better_half, unlikeness
from stereodiff_blender.engine.stereo.sfm.patch_alignment import align_patches, take_templates

PICTURE = np.arange(24, dtype=np.float32).reshape(4, 6)


def places(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Columns and rows (count,1) of pixels, over and over again."""
    place = np.arange(count)[:, None] % PICTURE.size
    return (place % 6).astype(np.float32), (place // 6).astype(np.float32)


@pytest.mark.parametrize("count", [0, 1, MOST_ROWS, MOST_ROWS + 1, 2 * MOST_ROWS + 700])
@pytest.mark.parametrize("method", [cv2.INTER_LINEAR, cv2.INTER_CUBIC])
def test_every_place_is_looked_up_however_many_there_are(count, method):
    found = look_up(PICTURE, *places(count), method)
    assert np.array_equal(found, np.arange(count, dtype=np.float32)[:, None] % 24)


@pytest.mark.parametrize("count", [0, 7, MOST_ROWS + 3])
def test_channels_are_kept(count):
    found = look_up(np.dstack([PICTURE, -PICTURE, PICTURE + 1]), *places(count))
    assert found.shape == (count, 1, 3) and found.dtype == np.float32
    assert np.array_equal(found[:, 0, 1], -(np.arange(count, dtype=np.float32) % 24))


def test_outside_is_the_border_or_nothing():
    beyond = (np.full((2, 1), -50, np.float32), np.zeros((2, 1), np.float32))
    assert look_up(PICTURE + 1, *beyond).ravel().tolist() == [1, 1]
    assert look_up(PICTURE + 1, *beyond, border=cv2.BORDER_CONSTANT).ravel().tolist() == [0, 0]


def test_no_pixels_are_like_nothing():
    own = [np.zeros((0, 3), np.float32), np.zeros((0, 2), np.float32)]
    features = np.zeros((8, 9, 3), np.float32), np.zeros((8, 9, 2), np.float32)
    found = unlikeness(own, features, np.zeros(0, np.float32), np.zeros(0, np.float32))
    assert found.shape == mean_of_better_half([found, found]).shape == (0,)


def test_no_tracks_are_aligned():
    nothing = np.zeros((0, 2), np.float32)
    pixels, warps, correlation = align_patches(PICTURE, take_templates(PICTURE, nothing), nothing,
                                               np.zeros((0, 2, 2), np.float32))
    assert (pixels.shape, warps.shape, correlation.shape) == ((0, 2), (0, 2, 2), (0,))
