"""From the plate to the network's raster and back: the original's pixels, and a scene that must fit the whole plate."""

from __future__ import annotations

import re

import numpy as np
import pytest

pytest.importorskip("PIL")

from golden import golden_file, golden_json, tensors

from stereodiff_blender.engine.contract import StereoDiffError
from stereodiff_blender.engine.stereo.monst3r.raster import (
    NetworkFrames,
    network_raster,
    normalized,
)

PLATES = [(1080, 1920), (1920, 1080), (480, 640), (375, 1242), (200, 300), (512, 512), (436, 1024)]


def test_golden_sizes():
    """Not those of size 224, of which there is no released network, nor those where the original fails."""
    rows = [row for row in golden_json("monst3r", "preprocess_sizes.json")
            if row["size"] != 224 and "error" not in row["out_wh"]]
    assert rows
    for row in rows:
        raster = network_raster((row["h"], row["w"]), long_side_px=row["size"], crops=row["crop"],
                                keeps_square=row["square_ok"])
        assert list(raster.shape[::-1]) == row["out_wh"], row


def test_golden_pixels():
    stored = tensors(golden_file("monst3r", "preprocess.safetensors"))
    compared = 0
    for name, expected in stored.items():
        named = re.fullmatch(r"(\d+)_out_size(\d+)_crop([01])_(u8|norm)", name)
        if named is None:
            continue
        frame = stored[f"{named[1]}_in_u8"]
        prepared = network_raster(frame.shape[:2], long_side_px=int(named[2]), crops=named[3] == "1").prepare(frame)
        if named[4] == "u8":
            np.testing.assert_array_equal(prepared, expected, err_msg=name)
        else:
            np.testing.assert_allclose(normalized(prepared)[None], expected, atol=1e-6, err_msg=name)
        compared += 1
    assert compared == len(stored) - sum(name.endswith("_in_u8") for name in stored) > 0


@pytest.mark.parametrize("plate", PLATES)
@pytest.mark.parametrize("crops", [True, False])
def test_sides_are_multiples_of_the_patch(plate, crops):
    raster = network_raster(plate, crops=crops)
    assert all(side % 16 == 0 and 0 < side <= 512 for side in raster.shape) and max(raster.shape) == 512
    assert raster.prepare(np.zeros((*plate, 3), np.uint8)).shape == (*raster.shape, 3)


@pytest.mark.parametrize("plate", PLATES)
@pytest.mark.parametrize("crops", [True, False])
def test_intrinsics_there_and_back(plate, crops):
    raster = network_raster(plate, crops=crops)
    intrinsics = np.array([[900.0, 905.0, plate[1] / 2, plate[0] / 2], [1200.0, 1200.0, 100.0, 50.0]])
    there = raster.intrinsics_to_network(intrinsics)
    np.testing.assert_allclose(raster.intrinsics_to_plate(there), intrinsics)
    np.testing.assert_allclose(raster.pixels_to_plate(there[:, 2:]), intrinsics[:, 2:])
    assert np.abs(there[0, 2:] - np.array(raster.shape[::-1]) / 2).max() <= 0.5


@pytest.mark.parametrize("plate", PLATES)
@pytest.mark.parametrize("crops", [True, False])
def test_picture_and_intrinsics_move_together(plate, crops):
    """A soft spot at a known place is found where the intrinsics say that place has gone."""
    raster = network_raster(plate, crops=crops)
    spot = np.array([0.4 * plate[1], 0.6 * plate[0]])
    rows, cols = np.mgrid[:plate[0], :plate[1]] + 0.5
    wide = 0.03 * max(plate)
    gray = 255 * np.exp(-((cols - spot[0]) ** 2 + (rows - spot[1]) ** 2) / (2 * wide**2))
    prepared = raster.prepare(np.repeat(gray[..., None], 3, axis=2).round().astype(np.uint8))[..., 0].astype(float)
    rows, cols = np.mgrid[:raster.shape[0], :raster.shape[1]] + 0.5
    seen = np.array([(cols * prepared).sum(), (rows * prepared).sum()]) / prepared.sum()
    np.testing.assert_allclose(seen, raster.intrinsics_to_network(np.array([1, 1, *spot]))[2:], atol=0.05)


def plane_depth(shape: tuple[int, int], intrinsics: np.ndarray) -> np.ndarray:
    """z-depth of a slanted plane: its disparity is linear over the picture."""
    fx, fy, cx, cy = intrinsics
    rows, cols = np.mgrid[:shape[0], :shape[1]] + 0.5
    return 1 / (0.5 + 0.2 * (cols - cx) / fx - 0.1 * (rows - cy) / fy)


@pytest.mark.slow
@pytest.mark.parametrize("plate", PLATES)
@pytest.mark.parametrize("crops", [True, False])
def test_depth_of_a_plane_covers_the_whole_plate(plate, crops):
    raster = network_raster(plate, crops=crops)
    intrinsics = np.array([0.9 * plate[1], 0.9 * plate[1], plate[1] / 2, plate[0] / 2])
    seen = plane_depth(raster.shape, raster.intrinsics_to_network(intrinsics))
    depth = raster.depth_to_plate(seen.astype(np.float32))
    truth = plane_depth(plate, intrinsics)
    error = np.abs(depth / truth - 1)
    is_seen = raster.confidence_to_plate(np.ones(raster.shape, np.float32)) > 0
    inside = is_seen & shrunk(is_seen)
    assert depth.shape == plate and depth.dtype == np.float32
    assert inside.mean() > 0.7 and error[inside].max() < 1e-5
    assert error.max() < (0.05 if plate[0] == plate[1] else 0.01)  # a square loses an eighth above and below


def shrunk(mask: np.ndarray) -> np.ndarray:
    """Without the pixels at its border, nor those at the plate's that lie half outside the network's last pixels."""
    inner = np.zeros_like(mask)
    inner[2:-2, 2:-2] = mask[4:, 2:-2] & mask[:-4, 2:-2] & mask[2:-2, 4:] & mask[2:-2, :-4]
    return inner


def test_nothing_grows_between_two_surfaces():
    raster = network_raster((720, 1280))
    depth = np.full(raster.shape, 5.0, np.float32)
    depth[:, raster.shape[1] // 2:] = 1.0
    depth[:40] = 0
    on_plate = raster.depth_to_plate(depth)
    assert set(np.unique(on_plate)) == {0.0, 1.0, 5.0}
    assert (on_plate[:90] == 0).all() and (on_plate[110:] > 0).all()


def test_what_was_cropped_has_no_confidence_but_depth():
    raster = network_raster((436, 1024))  # 512x218 is cropped to 512x208
    confidence = raster.confidence_to_plate(np.full(raster.shape, 0.8, np.float32))
    cropped = (confidence == 0).all(axis=1)
    assert cropped.sum() == pytest.approx(2 * 10, abs=2) and cropped[:9].all() and cropped[-9:].all()
    assert confidence.dtype == np.float32 and set(np.unique(confidence)) == {np.float32(0), np.float32(0.8)}
    assert (raster.depth_to_plate(np.full(raster.shape, 2.0)) == 2).all()


def test_mask_keeps_its_type_and_values():
    raster = network_raster((300, 400))
    mask = np.zeros(raster.shape, np.uint8)
    mask[:, :256] = 1
    on_plate = raster.mask_to_plate(mask)
    assert on_plate.shape == (300, 400) and on_plate.dtype == np.uint8
    assert (on_plate[:, :200] == 1).all() and (on_plate[:, 200:] == 0).all()


def test_frames_are_made_one_at_a_time():
    frames = np.random.default_rng(0).integers(0, 256, (3, 90, 160, 3), np.uint8)
    prepared = NetworkFrames(frames, network_raster((90, 160), long_side_px=64))
    assert len(prepared) == 3
    np.testing.assert_array_equal(prepared[2], prepared.raster.prepare(frames[2]))


def test_picture_too_narrow_for_the_network_is_refused():
    with pytest.raises(StereoDiffError) as raised:
        network_raster((64, 4096))
    assert raised.value.code == "clip_too_small"
