"""Filling what was not measured along the planes of the surfaces that were."""

from __future__ import annotations

import numpy as np
from camera_scenes import texture

from stereodiff_blender.engine.stereo.mvs.consistency import grid_shape
from stereodiff_blender.engine.stereo.mvs.filling import fill_static
from stereodiff_blender.engine.stereo.mvs.sources import DepthLimits

HEIGHT, WIDTH = 160, 240
LIMITS = DepthLimits(0.5, 4.0, 12.0)
ROWS, COLUMNS = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)


def filled(frame, true, known, garbage):
    """What is filled where a frame with this true disparity was known so, and measured as garbage elsewhere."""
    measured = np.where(known, true, garbage).astype(np.float32)
    nothing = np.zeros(grid_shape(HEIGHT, WIDTH), np.float32)
    return fill_static(frame, measured, np.full(true.shape, 0.01, np.float32), known, nothing, LIMITS)


def test_a_plain_cupboard_measured_at_its_rim_is_filled_on_its_plane():
    """Its front recedes; inside, all that was found are specks of far away, which nothing vouches for."""
    frame = texture(3)[:HEIGHT, :WIDTH] // 2
    front = (slice(20, 140), slice(40, 210))
    frame[front] = (190, 180, 160)
    true = np.full((HEIGHT, WIDTH), 0.1, np.float32)
    true[front] = (0.2 + 0.002 * COLUMNS)[front]
    known = np.ones((HEIGHT, WIDTH), bool)
    known[26:134, 46:204] = False
    specks = np.random.default_rng(4).random((HEIGHT, WIDTH)) < 0.3
    result = filled(frame, true, known, np.where(specks, LIMITS.disparity[0], 0.9))
    error = np.abs(result.disparity / true - 1)[30:130, 50:200]
    assert error.max() < 0.12 and error.mean() < 0.02
    assert not result.certainty[~known].any() and result.support[75:85, 120:130].max() < 0.01


def test_a_plain_road_goes_on_in_its_plane_up_to_the_bonnet():
    """Measured where it has lanes and grain, far ahead; even before the bonnet, which is near."""
    frame = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    frame[:60] = texture(6)[:60, :WIDTH]
    frame[145:] = (40, 60, 140)
    true = np.where(ROWS < 60, 0.1, 0.1 + 0.008 * (ROWS - 60)).astype(np.float32)
    true[145:] = 3.0
    known = (ROWS < 100) | (ROWS >= 145)
    result = filled(frame, true, known, np.float32(0.03))
    road = slice(100, 143)
    ratio = result.disparity[road] / true[road]
    assert ratio.max() < 1.15, "it does not rise before the bonnet"
    assert ratio.min() > 0.6, "nor does it stop: below the ground it would be lifted, where there is one"
    assert np.abs(result.disparity[146:] / 3.0 - 1).max() < 0.05


def test_what_was_measured_well_stays():
    frame = texture(8)[:HEIGHT, :WIDTH]
    true = (0.3 + 0.1 * np.sin(COLUMNS / 9.0)).astype(np.float32)
    result = filled(frame, true, np.ones((HEIGHT, WIDTH), bool), 0.0)
    inner = (slice(8, -8), slice(8, -8))
    assert np.abs(result.disparity / true - 1)[inner].mean() < 0.02 and result.support[inner].min() > 0.05
