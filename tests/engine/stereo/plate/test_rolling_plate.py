"""What sharpens depth at the plate's size looks where each row was seen when it was read."""

from __future__ import annotations

import numpy as np
from depth_scenes import HEIGHT, WIDTH, rolling_cast

from stereodiff_blender.engine.imaging import warp_between, warp_pixels
from stereodiff_blender.engine.stereo.plate.evidence import Evidence, ScaledCameras, Warps

SCALE, FROM, SOURCES = 3, 3, (1, 5)
SHOT = rolling_cast(7, 0.5)
FINER = ScaledCameras.on(SHOT.cameras, (HEIGHT, WIDTH), (SCALE * HEIGHT, SCALE * WIDTH))
ROWS, COLS = (each.ravel() for each in np.mgrid[20:HEIGHT - 20:3, 20:WIDTH - 20:3])
DISPARITY = (1.0 / SHOT.depth[FROM][ROWS, COLS]).astype(np.float32)


def test_places_are_those_of_the_warp_on_every_raster():
    x, y = COLS + np.float32(0.5), ROWS + np.float32(0.5)
    finer = Warps(FINER, FROM, SOURCES, SCALE * ROWS + 1, SCALE * COLS + 1)  # centers of the same pixels
    chosen = np.array([5, 2, 77])
    for k, source in enumerate(SOURCES):
        expected = warp_pixels(warp_between(SHOT.cameras, FROM, source), x, y, DISPARITY)
        columns, lines, ratio = finer.places(k, DISPARITY)
        for found, wanted in ((columns, expected.columns), (lines, expected.rows)):
            np.testing.assert_allclose(found.ravel()[:len(x)], SCALE * wanted - 0.5, atol=2e-3)
        np.testing.assert_allclose(ratio, expected.depth_ratio, rtol=1e-5)
        some = finer.places(k, DISPARITY[chosen], chosen)
        np.testing.assert_allclose(some[0].ravel()[:3], columns.ravel()[chosen], atol=1e-4)
        np.testing.assert_allclose(some[2], ratio[chosen], rtol=1e-6)


def test_true_disparity_agrees_best_with_the_frames_around():
    """With the middle row's cameras alone, it does not."""
    gray = SHOT.frames.mean(axis=3).astype(np.uint8)
    cost = {name: Evidence(gray.__getitem__, cameras, FROM, SOURCES, (ROWS, COLS), DISPARITY).cost(DISPARITY).mean()
            for name, cameras in (("rows", ScaledCameras.on(SHOT.cameras, (HEIGHT, WIDTH), (HEIGHT, WIDTH))),
                                  ("middle", ScaledCameras(SHOT.camera_to_world, SHOT.intrinsics, None)))}
    assert cost["rows"] < 0.9 * cost["middle"]
