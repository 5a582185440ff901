"""Scale and shift back to stage 1: one pair for the clip, or one for each window where that would show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from golden import golden_file, golden_json, tensors

from stereodiff_blender.engine.diffusion.depthcrafter.alignment import (
    MODES,
    Samples,
    align,
    border_steps,
    fit_affine,
    fit_affine_huber,
)
from stereodiff_blender.engine.diffusion.depthcrafter.windows import merge, plan_windows, shares

PART = "depthcrafter"
COUNT, WINDOW, OVERLAP, PIXELS = 330, 110, 25, 40
VARIANTS = ("paper_window_overlap", "no_overlap_shift", "no_overlap_short", "overlap_shift", "sigma700")
"""One of every way of aligning."""


# --- Against reference vectors -----------------------------------------------------------------------------------

def test_least_squares_golden():
    said = tensors(golden_file(PART, "analysis.safetensors"))
    refined, stereo, weight = (said[f"al/{name}"].ravel() for name in ("pred", "target", "weight"))
    np.testing.assert_allclose(fit_affine(refined, stereo, np.ones_like(weight)), said["al/lsq_unweighted"], rtol=1e-6)
    np.testing.assert_allclose(fit_affine(refined, stereo, weight), said["al/lsq_weighted"], rtol=1e-6)
    np.testing.assert_allclose(fit_affine_huber(refined, stereo, weight), said["al/huber_weighted"], rtol=1e-6)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_mode_golden(name):
    """The fit of each variant from its own relative disparity and stage 1's, in every pixel, holes and all."""
    said = tensors(golden_file(PART, f"s2_{name}.safetensors"))
    whole = tensors(golden_file(PART, "s2_paper_window_overlap.safetensors"))
    confidence = tensors(golden_file(PART, "inputs.safetensors"))["stage1_conf"]
    index = golden_json(PART, "index.json")["checks"][f"s2_{name}"]
    count, height, width = said["disp_stage2"].shape
    rows, cols = (np.arange(size) * old // size for size, old in
                  zip((height, width), confidence.shape[1:], strict=True))
    weight = np.ones(whole["valid"].shape) if "noconf" in name else confidence[:, rows[:, None], cols]
    samples = Samples(np.repeat(np.arange(count), height * width), said["disp_stage2"].ravel(),
                      np.where(whole["valid"], whole["disp_stage1"], np.nan).ravel(),
                      np.where(whole["valid"], weight, 0.0).ravel())
    windows = plan_windows(count, index["params"]["W"], index["params"]["O"], index["params"].get("tail", "short"))
    found = align(samples, windows, count, index["params"].get("align", "lstsq_clip"), tuple(said["lo_hi"]),
                  index["params"].get("merge", "crossfade"))
    np.testing.assert_allclose(np.stack([found.scale, found.shift], axis=-1), said["align_scale_shift"], rtol=1e-5)


# --- Properties --------------------------------------------------------------------------------------------------

@pytest.fixture
def truth() -> np.ndarray:
    """(T,P) disparity of points that drift slowly, as a camera that travels sees them."""
    generator = np.random.default_rng(4)
    points = generator.uniform(0.2, 1.0, PIXELS)
    return points * (1.0 + 0.1 * np.sin(np.linspace(0, 5, COUNT))[:, None] * generator.uniform(0.5, 1.0, PIXELS))


@pytest.fixture
def windows():
    return plan_windows(COUNT, WINDOW, OVERLAP, "short")


def samples_of(truth: np.ndarray, relative: np.ndarray, jitter: float = 0.03) -> Samples:
    """Stage 1 is the truth with every frame's scale off by chance."""
    noisy = truth * np.random.default_rng(9).normal(1.0, jitter, (len(truth), 1))
    frame = np.repeat(np.arange(len(truth)), truth.shape[1])
    return Samples(frame, relative.ravel(), noisy.ravel(), np.ones(truth.size))


def biased(truth: np.ndarray, windows, share: float, kind: str = "crossfade") -> np.ndarray:
    """Relative disparity whose windows come back a share too large and too small in turn."""
    merged = np.empty_like(truth)
    for k, (start, end) in enumerate(windows):
        merge(merged, windows, k, (truth[start:end] - 0.1) / 2.0 * (1.0 + share * (-1) ** k), kind)
    return merged


def smooth(values: np.ndarray, most: int) -> np.ndarray:
    """An ideal low-pass over time, of `most` waves, with the ends mirrored."""
    spectrum = np.fft.rfft(np.concatenate([values, values[::-1]]), axis=0)
    spectrum[2 * most + 1:] = 0.0
    return np.fft.irfft(spectrum, 2 * len(values), axis=0)[:len(values)]


def error_of(alignment, relative: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(T,): how far each frame's disparity is off, as a whole, relative."""
    fitted = alignment.scale[:, None] * relative + alignment.shift[:, None]
    return np.median(np.log(fitted / truth), axis=1)


def test_one_pair_serves_a_clip_whose_windows_agree(truth, windows):
    found = align(samples_of(truth, (truth - 0.1) / 2.0), windows, COUNT, "auto", (0.0, 1.0))
    assert found.mode == "clip" and max(found.border_steps) < 0.01
    assert np.ptp(found.scale) == np.ptp(found.shift) == 0
    assert (found.scale[0], found.shift[0]) == (pytest.approx(2.0, rel=0.03), pytest.approx(0.1, abs=0.02))
    assert found.residual == pytest.approx(0.02, abs=0.01)  # stage 1's own jitter, which does not come back


def test_windows_that_came_back_with_bias_get_a_pair_each(truth, windows):
    samples = samples_of(truth, biased(truth, windows, 0.03))
    found = align(samples, windows, COUNT, "auto", (0.0, 1.0))
    assert found.mode == "windows" and max(found.border_steps) > 0.02 and found.window_spread > 0.01
    fitted = found.scale[:, None] * biased(truth, windows, 0.03) + found.shift[:, None]
    whole = align(samples, windows, COUNT, "huber_clip", (0.0, 1.0))
    left = whole.scale[:, None] * biased(truth, windows, 0.03) + whole.shift[:, None]
    assert np.abs(fitted / truth - 1).mean() < 0.5 * np.abs(left / truth - 1).mean()


def test_pairs_go_over_linearly_where_windows_overlap(truth, windows):
    found = align(samples_of(truth, biased(truth, windows, 0.05)), windows, COUNT, "auto", (0.0, 1.0))
    shared = found.scale[windows[1].start:windows[0].end]
    np.testing.assert_allclose(np.diff(shared), (found.scale[windows[0].end] - found.scale[0]) / (OVERLAP - 1))


@pytest.mark.parametrize("share", [0.0, 0.03])
@pytest.mark.parametrize("seed", range(5))
def test_windows_of_an_ideal_smoother_of_a_flickering_drifting_stage_1(truth, windows, share, seed):
    """Stage 1: 3 % jitter of each frame, 2 % slow drift. Stage 2 smooths each window of it, and may come back off."""
    generator = np.random.default_rng(seed)
    wobble = generator.normal(0, 0.03, COUNT) + 0.02 * np.sin(np.arange(COUNT) * 2 * np.pi / COUNT)
    stereo, merged = truth * np.exp(wobble[:, None]), np.empty_like(truth)
    for k, (start, end) in enumerate(windows):
        smoothed = np.exp(smooth(np.log(stereo[start:end]), 2))
        merge(merged, windows, k, (smoothed - 0.1) / 2.0 * (1.0 + share * (-1) ** k), "crossfade")
    samples = Samples(np.repeat(np.arange(COUNT), PIXELS), merged.ravel(), stereo.ravel(), np.ones(truth.size))
    found = align(samples, windows, COUNT, "auto", (0.0, 1.0))
    assert found.mode == ("windows" if share else "clip")
    error = error_of(found, merged, truth)
    assert np.abs(error).mean() < 0.02 and np.abs(np.diff(error)).max() < 0.005 < np.abs(np.diff(wobble)).mean()


@pytest.mark.parametrize("count", [200, 281, 290])
def test_no_step_where_a_last_window_slid_back_over_two_others(count, truth):
    """Such frames come from three windows; their pairs go over just as their latents do."""
    truth, windows = truth[:count], plan_windows(count, WINDOW, OVERLAP, "shift")
    assert windows[-1].start < windows[-3].end, "or nothing is tested"
    relative = biased(truth, windows, 0.03)
    found = align(samples_of(truth, relative), windows, count, "auto", (0.0, 1.0))
    assert found.mode == "windows"
    assert np.abs(np.diff(error_of(found, relative, truth))).max() < 0.003


@pytest.mark.parametrize("count", [150, 250])
def test_pairs_change_at_the_cut_where_windows_are_cut(count, truth):
    """Though the last window slid back over frames of the one before, none of them is in the result."""
    truth, windows = truth[:count], plan_windows(count, WINDOW, 0, "shift")
    relative = biased(truth, windows, 0.05, "cut")
    samples = samples_of(truth, relative)
    found = align(samples, windows, count, "auto", (0.0, 1.0), "cut")
    assert found.mode == "windows"
    assert np.flatnonzero(np.diff(found.scale)).tolist() == [window.end - 1 for window in windows[:-1]]
    whole = align(samples, windows, count, "huber_clip", (0.0, 1.0))
    step, left = (np.abs(np.diff(error_of(which, relative, truth))).max() for which in (found, whole))
    assert step < 0.5 * left


def test_a_step_of_stage_1_itself_is_none_of_the_windows(truth, windows):
    """Where stage 1 and stage 2 step alike, say at a jump of the camera, there is nothing to mend."""
    stepped = truth.copy()
    stepped[windows[0].end:] *= 1.5
    samples = samples_of(stepped, (stepped - 0.1) / 2.0)
    assert max(border_steps(samples, shares(windows, COUNT, "crossfade"), (2.0, 0.1))) < 0.01


def test_outliers_do_not_pull_the_robust_fit():
    generator = np.random.default_rng(2)
    refined = generator.uniform(0, 1, 5000)
    stereo = 2.0 * refined + 0.3
    stereo[:250] += generator.uniform(5, 20, 250)
    plain, robust = (fit(refined, stereo, np.ones(5000)) for fit in (fit_affine, fit_affine_huber))
    assert abs(robust[1] - 0.3) < 0.1 * abs(plain[1] - 0.3)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fault", ["flat", "turned over", "no weight"])
def test_what_cannot_be_fitted_is_normalized_back(truth, windows, mode, fault):
    relative = {"flat": np.full_like(truth, 0.5), "turned over": 1.0 - truth, "no weight": truth}[fault]
    samples = samples_of(truth, relative)
    if fault == "no weight":
        samples = replace(samples, weight=np.zeros(truth.size))
    found = align(samples, windows, COUNT, mode, (0.25, 1.75))
    assert (found.scale == 1.5).all() and (found.shift == 0.25).all()
    assert found.mode == {"lstsq_window": "windows", "lstsq_frame": "frames"}.get(mode, "inverse")


def test_a_window_without_samples_takes_the_clips_pair(truth, windows):
    samples = samples_of(truth, biased(truth, windows, 0.05))
    weight = np.where(samples.frame >= windows[2].start, 0.0, 1.0)
    found = align(replace(samples, weight=weight), windows, COUNT, "auto", (0.0, 1.0))
    assert np.isfinite(found.scale).all() and np.isfinite(found.shift).all()


@pytest.mark.parametrize("mode", MODES)
def test_holes_change_nothing_and_never_yield_nan(truth, windows, mode):
    """Whole frames and scattered pixels that count for nothing, whatever stands in them."""
    samples = samples_of(truth, biased(truth, windows, 0.05))
    generator = np.random.default_rng(7)
    hole = (generator.random(truth.size) < 0.2) | np.isin(samples.frame, (0, 84, 85, 200, COUNT - 1))
    without = replace(samples, weight=np.where(hole, 0.0, 1.0))
    nonsense = generator.choice([np.nan, np.inf, 0.0], truth.size)
    broken = replace(without, stereo=np.where(hole, nonsense, samples.stereo),
                     refined=np.where(hole, np.nan, samples.refined))
    found = align(broken, windows, COUNT, mode, (0.25, 1.75))
    assert np.isfinite(found.scale).all() and np.isfinite(found.shift).all() and np.isfinite(found.residual)
    np.testing.assert_array_equal(found.scale, align(without, windows, COUNT, mode, (0.25, 1.75)).scale)
