"""Each pixel is judged by itself, however few are asked; and the light of two frames may differ."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from depth_scenes import ray_cast

from stereodiff_blender.engine.stereo.plate.evidence import Evidence

INDEX, SOURCES = 2, (0, 1, 3, 4)
SHOT = ray_cast(5)
GRAY = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in SHOT.frames])
ROWS, COLS = (each.ravel() for each in np.mgrid[20:90:7, 30:120:9])
DISPARITY = (1.1 / SHOT.depth[INDEX][ROWS, COLS]).astype(np.float32)


def evidence_of(gray: np.ndarray, pixels: slice) -> Evidence:
    return Evidence(gray.__getitem__, SHOT.cameras, INDEX, SOURCES, (ROWS[pixels], COLS[pixels]),
                    (1.0 / SHOT.depth[INDEX][ROWS, COLS]).astype(np.float32)[pixels])


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_a_few_pixels_cost_what_they_cost_among_many(count):
    chosen = np.arange(40, 40 + count)
    many = evidence_of(GRAY, slice(None))
    expected = many.cost(DISPARITY)
    assert np.ptp(expected[40:45]) > 0.5
    np.testing.assert_array_equal(many.cost(DISPARITY[chosen], chosen), expected[chosen])
    alone = evidence_of(GRAY, slice(40, 40 + count)).cost(DISPARITY[chosen])
    assert alone.shape == (count,)


def test_brighter_light_costs_nothing():
    brighter = GRAY.copy()
    brighter[1::2] = np.minimum(brighter[1::2].astype(np.int16) + 4, 255).astype(np.uint8)
    costs = [evidence_of(gray, slice(None)).cost(DISPARITY) for gray in (GRAY, brighter)]
    np.testing.assert_allclose(costs[1], costs[0], atol=1e-4)
