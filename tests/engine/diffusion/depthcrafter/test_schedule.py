"""Noise levels and the update rules, against tables and single steps of the original."""

from __future__ import annotations

import numpy as np
import pytest
from golden import golden_file, golden_json, tensors

from stereodiff_blender.engine.diffusion.depthcrafter.schedule import (
    coefficients,
    karras_sigmas,
    network_input,
    noised,
    predicted_clean,
    step,
    trailing_sigmas,
)

PART = "depthcrafter"
ORIGINALS = ("upstream_5step.safetensors", "upstream_1step.safetensors", "upstream_cfg.safetensors")
VARIANTS = ("paper_window_overlap", "x0_single_window", "no_overlap_shift", "no_overlap_short", "latent_sharing",
            "overlap_shift", "percentile_noconf", "sigma700", "sigma14p6")
ROUNDING = {"upstream_5step.safetensors": 3e-5}
"""Of the original's own steps in float32; the others carry more of it (the vectors' README)."""


def test_noise_levels_golden():
    for steps, levels in golden_json(PART, "tables.json")["karras"].items():
        np.testing.assert_allclose(karras_sigmas(int(steps)), levels, rtol=1e-9)


def test_preconditioning_golden():
    for sigma, expected in golden_json(PART, "tables.json")["edm"].items():
        found = coefficients(float(sigma))
        told = [expected[name] for name in ("c_skip", "c_out", "c_in", "c_noise")]
        np.testing.assert_allclose([found.skip, found.out, found.input, found.time], told, rtol=1e-9)


@pytest.mark.parametrize("name", ORIGINALS)
def test_the_originals_levels_golden(name):
    said = tensors(golden_file(PART, name))
    np.testing.assert_allclose(karras_sigmas(len(said["timesteps"])), said["sigmas"], rtol=2e-6)
    times = [coefficients(float(sigma)).time for sigma in said["sigmas"][:-1]]
    np.testing.assert_allclose(times, said["timesteps"], rtol=1e-5)


@pytest.mark.parametrize("name", ORIGINALS)
def test_the_originals_steps_golden(name):
    said = tensors(golden_file(PART, name))
    for key in [key.removesuffix("latents_in") for key in said if key.endswith("latents_in")]:
        sigma, following = (float(value) for value in said["sigmas"][int(key.split("step")[1][:-1]):][:2])
        begin = said[f"{key}latents_in"]
        np.testing.assert_allclose(begin * coefficients(sigma).input, said[f"{key}unet_in_noisy4"], atol=3e-5)
        clean = predicted_clean(begin, _guided(said, key), sigma)
        np.testing.assert_allclose(clean, said[f"{key}x0"], atol=1e-3)
        np.testing.assert_allclose(step(begin, clean, sigma, following), said[f"{key}latents_out"],
                                   rtol=2e-6, atol=ROUNDING.get(name, 1e-3))


def _guided(said, key: str) -> np.ndarray:
    output, blind = said[f"{key}unet_out"], said.get(f"{key}unet_out_uncond")
    if blind is None:
        return output
    scale = golden_json(PART, "index.json")["checks"]["upstream_cfg"]["params"]["guidance"]
    return blind + scale * (output - blind)


@pytest.mark.parametrize("name", VARIANTS)
def test_the_single_step_golden(name):
    """From each window's noised latents and the network's answer to the step's end."""
    said = tensors(golden_file(PART, f"s2_{name}.safetensors"))
    index = golden_json(PART, "index.json")["checks"][f"s2_{name}"]
    sigma, sigma_end = (index["params"][key] for key in ("sigma", "sigma_end"))
    for k in range(len(index["windows"])):
        begin, output, clean, end = (said[f"win{k}/{key}"] for key in ("x_sigma", "unet_out", "x0", "x_end"))
        np.testing.assert_allclose(predicted_clean(begin, output, sigma), clean, rtol=2e-6, atol=3e-5)
        np.testing.assert_allclose(step(begin, clean, sigma, sigma_end), end, rtol=2e-6, atol=3e-5)


@pytest.mark.parametrize("name", [name for name in VARIANTS if name != "percentile_noconf"])
def test_noise_onto_latents_golden(name):
    """Where the variant begins at the latents that are known: the same normalization, and no latents shared."""
    index = golden_json(PART, "index.json")["checks"]
    params, windows = index[f"s2_{name}"]["params"], index[f"s2_{name}"]["windows"]
    said, whole = (tensors(golden_file(PART, f"s2_{which}.safetensors")) for which in (name, "paper_window_overlap"))
    assert params["norm"] == index["s2_paper_window_overlap"]["params"]["norm"]
    noise = tensors(golden_file(PART, "inputs.safetensors"))["noise_latents_frames"]
    for k, (start, end) in enumerate(windows[:1] if params.get("share") else windows):
        begin = noised(whole["z0"][:, start:end], noise[:, start:end], params["sigma"])
        np.testing.assert_allclose(begin, said[f"win{k}/x_sigma"], rtol=2e-6, atol=3e-5)


def test_trailing_spacing_begins_at_the_last_step_of_training():
    """sqrt((1 - kept) / kept) of the betas' own last step, and the table of the specification."""
    np.testing.assert_allclose(trailing_sigmas(4), [14.61, 4.082, 1.613, 0.693, 0.0], atol=5e-3)


@pytest.mark.parametrize("sigma", [0.002, 0.678, 2.269, 15.59, 700.0, 4096.0])
def test_the_networks_input_has_unit_variance_at_any_level(sigma):
    generator = np.random.default_rng(0)
    latents, noise = generator.standard_normal((2, 200_000)).astype(np.float32)
    given = network_input(latents, noise, sigma)
    assert given.dtype == np.float32 and given.var() == pytest.approx(1.0, rel=0.02)
    np.testing.assert_allclose(given, noised(latents, noise, sigma) * coefficients(sigma).input, atol=1e-3)


def test_the_update_is_exact_at_the_highest_level():
    """Where the difference form loses four digits, this one keeps what the network said."""
    generator = np.random.default_rng(1)
    latents, noise, output = generator.standard_normal((3, 10_000)).astype(np.float32)
    clean = predicted_clean(noised(latents, noise, 700.0), output, 700.0)
    whole = np.float64(noised(latents, noise, 700.0)) / (700.0**2 + 1) - 700.0 / np.sqrt(700.0**2 + 1) * output
    np.testing.assert_allclose(step(noised(latents, noise, 700.0), clean, 700.0, 0.0), whole, atol=2e-6)


def test_without_noise_nothing_changes():
    latents, noise, output = np.random.default_rng(2).standard_normal((3, 1000)).astype(np.float32)
    begin = noised(latents, noise, 1e-6)
    np.testing.assert_allclose(step(begin, predicted_clean(begin, output, 1e-6), 1e-6, 0.0), latents, atol=1e-5)
