"""How far from an edge pixels choose: as far as the raster before may have put it wrong."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from stereodiff_blender.engine.stereo.plate.choice import prepare_choice

NEAR, FAR, EDGE = 0.5, 0.25, 60


@pytest.mark.parametrize(("factor", "pixels"), [(1.5, 6), (2.0, 6), (3.0, 9), (4.0, 12)])
def test_pixels_choose_within_three_of_the_raster_before(factor, pixels):
    disparity = np.full((40, 120), FAR, np.float32)
    disparity[:, :EDGE] = NEAR
    evidence = SimpleNamespace(cost=lambda hypotheses: np.where(hypotheses > 0.4, 12, 0).astype(np.float32))
    choice = prepare_choice(0, np.full((40, 120), 90, np.uint8), disparity, np.zeros((40, 120), bool), factor,
                            lambda *asked: evidence)
    settled = choice.settled()
    first = EDGE - pixels  # what is within reach of the far surface takes it
    assert (np.abs(settled[:, first:] - FAR) < 1e-6).all()
    assert (np.abs(settled[:, :first - round(5 * factor)] - NEAR) < 1e-6).all()
