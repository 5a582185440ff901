"""Between the plate's raster and the network's."""

from __future__ import annotations

import numpy as np
import pytest
from golden import golden_file, golden_json, tensors

from stereodiff_blender.engine.diffusion.depthcrafter.raster import (
    disparity_to_plate,
    nearest,
    network_size,
    to_network,
)


def test_size_golden():
    for case in golden_json("depthcrafter", "tables.json")["resolution"]:
        found = network_size(case["h"], case["w"], case["max_res"])
        assert list(found) == [max(side, 64) for side in case["out"]], case


def test_a_size_is_never_nothing():
    assert network_size(20, 400, 1024) == (64, 384)


def test_nearest_takes_the_pixel_of_the_rule():
    image = np.arange(6 * 8).reshape(6, 8)
    rows, cols = [i * 6 // 9 for i in range(9)], [j * 8 // 5 for j in range(5)]
    np.testing.assert_array_equal(nearest(image, (9, 5)), image[np.ix_(rows, cols)])
    np.testing.assert_array_equal(nearest(np.stack([image, image]), (9, 5))[1], nearest(image, (9, 5)))


def test_nearest_golden():
    """Of depth: it commutes with 1 / depth, holes included."""
    depth = tensors(golden_file("depthcrafter", "inputs.safetensors"))["stage1_depth"]
    said = tensors(golden_file("depthcrafter", "s2_paper_window_overlap.safetensors"))
    found, valid = nearest(depth, said["disp_stage1"].shape[1:]), said["valid"].astype(bool)
    np.testing.assert_array_equal(np.isfinite(found) & (found > 0), valid)
    np.testing.assert_allclose(1.0 / found[valid], said["disp_stage1"][valid], rtol=1e-6)


def test_a_picture_of_the_networks_size_passes_as_it_is():
    frame = np.random.default_rng(0).integers(0, 256, (64, 128, 3), dtype=np.uint8)
    np.testing.assert_array_equal(to_network(frame, (64, 128)), frame.transpose(2, 0, 1).astype(np.float32) / 255)


@pytest.mark.parametrize("size", [(64, 64), (128, 192), (320, 640)])
def test_a_picture_keeps_its_range_and_its_mean(size):
    frame = np.random.default_rng(0).integers(0, 256, (180, 320, 3), dtype=np.uint8)
    picture = to_network(frame, size)
    assert picture.shape == (3, *size) and picture.dtype == np.float32 and 0 <= picture.min() <= picture.max() <= 1
    np.testing.assert_allclose(picture.mean(axis=(1, 2)), frame.mean(axis=(0, 1)) / 255, atol=0.01)


def test_a_plane_of_disparity_stays_one():
    plane = np.add.outer(np.arange(64) * 0.01, np.arange(128) * 0.02) + 1
    larger = disparity_to_plate(plane, (96, 192))[4:-4, 4:-4]
    assert np.abs(np.diff(larger, 2, axis=0)).max() < 1e-3 and larger.shape == (88, 184)
