"""Optical flow and looking things up through it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from stereodiff_blender.engine.imaging.flow import LARGE_PX, OUTSIDE_PX, OpticalFlow, flows_in, sample


def textured(height, width, seed=0):
    noise = np.random.default_rng(seed).random((height, width, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.0)
    return cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


@pytest.fixture
def sliding():
    """A wide picture that slides 3 px to the right and 1 px down per frame: (4,96,128,3)."""
    wide = textured(140, 200)
    return np.stack([wide[30 - k:126 - k, 40 - 3 * k:168 - 3 * k] for k in range(4)])


def test_flow_is_where_a_pixel_went(sliding):
    flow = OpticalFlow(sliding, capacity=8).between(0, 2)
    assert flow.shape == (96, 128, 2) and flow.dtype == np.float32
    inner = flow[16:-16, 16:-16]
    assert np.abs(inner - (6.0, 2.0)).max() < 0.3
    assert np.abs(inner - (6.0, 2.0)).mean() < 0.05


def test_flow_in_a_large_picture_is_as_exact():
    """Where patches lie farther apart, and fewer rounds refine."""
    wide = textured(LARGE_PX // 2 + 40, LARGE_PX + 40)
    frames = np.stack([wide[20 - k:20 - k + LARGE_PX // 2, 20 - 3 * k:20 - 3 * k + LARGE_PX] for k in range(3)])
    inner = OpticalFlow(frames, capacity=4).between(0, 2)[16:-16, 16:-16]
    assert np.abs(inner - (6.0, 2.0)).mean() < 0.05 and np.percentile(np.abs(inner - (6.0, 2.0)), 99.9) < 0.3


def test_consistency_is_small_where_seen_and_large_outside(sliding):
    error = OpticalFlow(sliding, capacity=8).consistency(0, 3)
    assert error.shape == (96, 128) and np.isfinite(error).all()
    assert np.median(error[16:-16, 16:-16]) < 0.1
    assert (error[:, -8:] > 100).all() and error.max() <= OUTSIDE_PX


def test_consistency_is_large_for_what_is_not_seen(sliding):
    frames = sliding.copy()
    frames[1, 40:60, 50:80] = textured(20, 30, seed=9)
    error = OpticalFlow(frames, capacity=8).consistency(0, 1)
    assert np.mean(error[42:54, 52:72] > 1.0) > 0.4


def test_sample_looks_up_the_other_frame(sliding):
    flows = OpticalFlow(sliding, capacity=8)
    seen = sample(sliding[2], flows.between(0, 2))
    difference = np.abs(seen.astype(int) - sliding[0].astype(int))[16:-16, 16:-16]
    assert seen.dtype == np.uint8 and np.median(difference) <= 2


def test_sample_keeps_dtype_and_marks_the_outside():
    flow = np.zeros((4, 6, 2), np.float32)
    flow[..., 0] = 2.0
    image = np.arange(24, dtype=np.float32).reshape(4, 6)
    found = sample(image, flow, outside=-1.0)
    assert np.array_equal(found[:, :4], image[:, 2:]) and (found[:, 4:] == -1.0).all()
    mask = sample(image > 10, flow)
    assert mask.dtype == bool and np.array_equal(mask[:, :4], (image > 10)[:, 2:])


def test_sample_nearest_invents_no_value():
    flow = np.full((4, 6, 2), 0.4, np.float32)
    labels = np.array([[0, 7] * 3] * 4, np.uint8)
    assert set(np.unique(sample(labels, flow, nearest=True))) <= {0, 7}
    assert set(np.unique(sample(labels, flow))) - {0, 7}


def test_kept_fields_are_bounded_and_recomputed_alike(sliding):
    flows = OpticalFlow(sliding, capacity=2)
    first = flows.between(0, 1)
    flows.between(1, 2)
    flows.between(2, 3)
    assert not flows.has(0, 1) and flows.has(2, 3)
    assert np.array_equal(flows.between(0, 1), first)


def test_asking_again_keeps_a_field(sliding):
    flows = OpticalFlow(sliding, capacity=2)
    first = flows.between(0, 1)
    flows.between(1, 2)
    assert flows.between(0, 1) is first
    flows.between(2, 3)
    assert flows.has(0, 1) and not flows.has(1, 2)


def test_only_fields_between_past_frames_are_forgotten(sliding):
    flows = OpticalFlow(sliding, capacity=8)
    for pair in ((0, 1), (1, 0), (0, 2), (2, 1)):
        flows.between(*pair)
    flows.forget_before(2)
    assert [flows.has(*pair) for pair in ((0, 1), (1, 0), (0, 2), (2, 1))] == [False, False, True, True]


def test_quick_flow_is_nearly_as_good_where_all_moves_alike(sliding):
    flow = OpticalFlow(sliding, capacity=8, quick=True).between(0, 2)
    assert flow.shape == (96, 128, 2)
    assert np.abs(flow[16:-16, 16:-16] - (6.0, 2.0)).mean() < 0.2


def test_initial_guess_is_not_changed(sliding):
    guess = np.full((96, 128, 2), 4.0, np.float32)
    flow = OpticalFlow(sliding, capacity=2).between(0, 1, lambda: guess)
    assert (guess == 4.0).all()
    assert np.abs(flow[16:-16, 16:-16] - (3.0, 1.0)).mean() < 0.05


def test_a_memory_map_is_read(sliding, tmp_path):
    np.save(tmp_path / "frames.npy", sliding)
    mapped = np.load(tmp_path / "frames.npy", mmap_mode="r")
    assert np.array_equal(OpticalFlow(mapped, capacity=2).between(0, 1), OpticalFlow(sliding, capacity=2).between(0, 1))


@pytest.mark.parametrize("frames", [np.zeros((2, 64, 64), np.uint8), np.zeros((2, 64, 64, 3), np.float32)])
def test_other_arrays_are_refused(frames):
    with pytest.raises(ValueError, match="frames must be"):
        OpticalFlow(frames, capacity=4)


def test_capacity_of_one_is_refused(sliding):
    with pytest.raises(ValueError, match="capacity"):
        OpticalFlow(sliding, capacity=1)


def test_budget_in_fields():
    assert flows_in(100, 360, 640) == 54
    assert flows_in(1, 2160, 3840) == 16


def test_quick_flow_of_a_narrow_picture():
    """Between bars, fourteen lines may be left: too few for half resolution."""
    wide = textured(40, 500)
    frames = np.stack([wide[12:26, k:k + 480] for k in (0, 3)])
    flow = OpticalFlow(frames, capacity=4, quick=True).between(0, 1)
    assert np.abs(flow[4:-4, 16:-16] - (-3.0, 0.0)).mean() < 0.3
