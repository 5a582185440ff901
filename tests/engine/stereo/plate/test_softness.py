"""The share of the nearer surface at depth edges, against mixtures that were made."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from stereodiff_blender.engine.stereo.plate import nearer_share

HEIGHT, WIDTH = 270, 960
NEAR, FAR = 2.0, 6.0


def mixed(blur_px: float, near_gray: float, far_gray: float, texture: float = 0.0):
    """A disk that fades into what is behind it: its true share, depth that cuts it at one half, and the picture."""
    disk = cv2.circle(np.zeros((HEIGHT, WIDTH), np.float32), (480, 135), 80, 1.0, cv2.FILLED)
    share = cv2.GaussianBlur(disk, (0, 0), blur_px)
    noise = np.random.default_rng(1)
    surfaces = [level + texture * cv2.GaussianBlur(noise.normal(0, 6, disk.shape).astype(np.float32), (0, 0), 3)
                for level in (near_gray, far_gray)]
    picture = share * surfaces[0] + (1 - share) * surfaces[1] + noise.normal(0, 1, disk.shape)
    depth = np.where(share >= 0.5, np.float32(NEAR), np.float32(FAR))
    return share, depth, np.clip(picture, 0, 255).astype(np.uint8)


def error(found: np.ndarray, share: np.ndarray) -> float:
    """Mean of what is wrong where the truth is a mixture."""
    fades = (share > 0.02) & (share < 0.98)
    return float(np.abs(found - share)[fades].mean())


@pytest.mark.parametrize(("near_gray", "far_gray"), [(60, 180), (180, 60), (110, 150)])
def test_a_fade_is_told_by_the_picture(near_gray, far_gray):
    share, depth, picture = mixed(1.0, near_gray, far_gray)
    found, hard = nearer_share(depth, picture), (depth == NEAR).astype(np.float32)
    assert error(found, share) < 0.25 * error(hard, share)


def test_an_edge_that_the_picture_does_not_tell_is_as_hard_as_depth():
    _, depth, picture = mixed(1.0, 120, 124, texture=4.0)
    found, hard = nearer_share(depth, picture), depth == NEAR
    near_edge = cv2.dilate(hard.astype(np.uint8), np.ones((5, 5), np.uint8)) > cv2.erode(hard.astype(np.uint8),
                                                                                         np.ones((5, 5), np.uint8))
    assert np.abs(found - hard)[near_edge].mean() < 0.02


def test_without_an_edge_all_is_the_nearer_surface():
    rows = np.linspace(1.0, 4.0, HEIGHT, dtype=np.float32)[:, None]
    slope = 1.0 / np.broadcast_to(rows, (HEIGHT, WIDTH)).astype(np.float32)
    picture = np.random.default_rng(2).integers(0, 255, slope.shape).astype(np.uint8)
    assert (nearer_share(slope, picture) == 1.0).all()


def test_within_surfaces_it_is_one_and_never_beyond_its_range():
    _, depth, picture = mixed(1.0, 60, 180)
    found = nearer_share(depth, picture)
    assert found.dtype == np.float32 and found.min() >= 0.0 and found.max() == 1.0
    assert found[135, 480] == found[10, 10] == 1.0


def test_what_has_no_depth_is_behind_all():
    share, depth, picture = mixed(1.0, 60, 180)
    found = nearer_share(np.where(depth == NEAR, depth, np.float32(0.0)), picture)
    assert error(found, share) < 0.1
