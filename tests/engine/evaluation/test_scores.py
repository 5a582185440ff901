"""Depth against truth by the published protocol: the original evaluator's figures, and cases worked out by hand."""

from __future__ import annotations

import re

import numpy as np
import pytest
from golden import golden_file, golden_json, tensors

from stereodiff_blender.engine.evaluation.scores import score_disparity


def test_the_original_evaluators_figures_golden():
    given = tensors(golden_file("depthcrafter", "eval_inputs.safetensors"))
    for name, expected in golden_json("depthcrafter", "eval_expected.json").items():
        frames, farthest = map(int, re.fullmatch(r"seq(\d+)_max(\d+)", name).groups())
        found = score_disparity(given["pred_disp"][:frames], given["gt_depth"][:frames], farthest=farthest)
        assert (found.absrel, found.rmse, found.delta1) == pytest.approx(
            tuple(expected[key] for key in ("absrel", "rmse", "delta1")), rel=1e-6)


@pytest.fixture
def truth() -> np.ndarray:
    return np.random.default_rng(0).uniform(1.0, 8.0, (5, 20, 30))


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (3.0, 0.2), (0.1, 0.5)])
def test_any_scale_and_shift_of_the_right_disparity_is_right(truth, scale, shift):
    found = score_disparity(scale / truth + shift, truth, farthest=70.0)
    assert (found.absrel, found.rmse) == pytest.approx((0.0, 0.0), abs=1e-6)
    assert (found.delta1, found.delta2, found.frames) == (1.0, 1.0, 5)


def test_a_frame_of_another_scale_is_an_error(truth):
    """One fit for the clip: what a fit of each frame would hide."""
    disparity = 1.0 / truth
    disparity[2] *= 1.3
    found = score_disparity(disparity, truth, farthest=70.0)
    assert found.absrel > 0.03 and found.delta1 < 1.0


def test_deltas_count_pixels_by_factor():
    truth = np.array([[[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 4.0, 4.0]]]).repeat(100, axis=0)
    disparity = 1.0 / truth
    disparity[0, 0, :2] = 1.0 / 1.4, 1.0 / 1.7  # so few that the fit hardly moves
    found = score_disparity(disparity, truth, farthest=70.0)
    assert found.delta1 == pytest.approx(1 - 2 / 800, abs=1e-9)
    assert found.delta2 == pytest.approx(1 - 1 / 800, abs=1e-9)


def test_what_has_no_truth_is_left_out(truth):
    disparity, holed = 1.0 / truth, truth.copy()
    holed[1], holed[2, :10], holed[3, 0, 0] = -1.0, 0.0, 500.0
    found = score_disparity(disparity, holed, farthest=70.0)
    assert found.frames == 4 and found.absrel == pytest.approx(0.0, abs=1e-6)


def test_a_smaller_prediction_is_looked_up_between_pixels():
    ramp = np.tile(np.linspace(0.2, 1.0, 60), (2, 40, 1))
    found = score_disparity(ramp[:, ::2, ::2] * 0.5, 1.0 / ramp, farthest=70.0)
    assert found.absrel < 0.02


@pytest.mark.parametrize(("disparity", "words"), [(None, "no frame"), (np.ones((5, 20, 30)), "same everywhere")])
def test_nothing_to_tell(truth, disparity, words):
    with pytest.raises(ValueError, match=words):
        score_disparity(1.0 / truth if disparity is None else disparity, -truth if disparity is None else truth,
                        farthest=70.0)
