"""What one frame has grown alone is given back; what others have grown, too, is kept."""

from __future__ import annotations

import numpy as np
import pytest
from depth_scenes import ray_cast

from stereodiff_blender.engine.stereo.plate.confirmation import confirmed

INDEX, SOURCES = 2, (0, 1, 3, 4)
PATCH = (slice(8, 18), slice(60, 80))
NEARER = 1.4


@pytest.fixture(scope="module")
def shot():
    return ray_cast(5)


def result_of(shot, shown_by: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Disparity after confirmation, and as it was before, of a patch that the frame took for nearer; and so did those
    of shown_by, where they show it."""
    before = 1.0 / shot.depth[INDEX].astype(np.float32)
    grown = before.copy()
    grown[PATCH] *= np.float32(NEARER)
    still = [np.float32(NEARER if k in shown_by else 1.0) / shot.depth[k].astype(np.float32) for k in SOURCES]
    return confirmed(grown, before, still, shot.cameras, INDEX, SOURCES), before


@pytest.mark.parametrize(("shown_by", "is_kept"), [((), False), ((1,), True), (SOURCES, True)])
def test_a_surface_needs_another_frame_that_shows_it(shot, shown_by, is_kept):
    found, before = result_of(shot, shown_by)
    is_another = np.abs(found - before) > 0.05 * before
    assert is_another[PATCH].mean() == pytest.approx(float(is_kept), abs=0.1)
    assert not np.delete(is_another, np.arange(8, 18), axis=0).any()
