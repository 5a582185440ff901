"""The three networks against reference vectors of the original programs."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from golden import golden_file, golden_json, tensors  # noqa: E402

from stereodiff_blender.engine.diffusion.depthcrafter.checkpoint import load_folders  # noqa: E402
from stereodiff_blender.engine.diffusion.depthcrafter.schedule import coefficients  # noqa: E402

PART = "depthcrafter"
CPU = torch.device("cpu")
UPSTREAM = ("upstream_5step", "upstream_1step", "upstream_cfg")
VARIANTS = ("paper_window_overlap", "x0_single_window", "no_overlap_shift", "no_overlap_short", "latent_sharing",
            "overlap_shift", "percentile_noconf", "sigma700", "sigma14p6")
LATENTS = 3e-5


@pytest.fixture(scope="module")
def golden_networks():
    folder = golden_file(PART, "model/unet/config.json").parents[1]
    return load_folders(folder / "unet", folder / "vae", folder / "image_encoder", device=CPU,
                        precision=torch.float32)


@pytest.fixture(scope="module")
def inputs():
    return {name: torch.from_numpy(array) for name, array in
            tensors(golden_file(PART, "inputs.safetensors")).items()}


def golden_tensors(name: str) -> dict[str, torch.Tensor]:
    return {key: torch.from_numpy(array) for key, array in tensors(golden_file(PART, f"{name}.safetensors")).items()}


def close(found, expected, atol: float = LATENTS) -> None:
    torch.testing.assert_close(found, expected, atol=atol, rtol=0)


@pytest.mark.parametrize("name", [*UPSTREAM, "s2_paper_window_overlap"])
def test_embeddings_golden(golden_networks, inputs, name):
    expected = golden_tensors(name)["image_embeds"][0]
    close(golden_networks.embed(2 * inputs["frames"][:len(expected)] - 1), expected)


@pytest.mark.parametrize("name", [*UPSTREAM, "s2_paper_window_overlap"])
def test_picture_latents_golden(golden_networks, inputs, name):
    given = golden_tensors(name)
    expected = given["cond_latents"][0]
    strength = float(given["added_time_ids"][0, 2]) if "added_time_ids" in given else 0.02
    pictures = 2 * inputs["frames"] - 1 + strength * inputs["noise_pixels"]
    close(golden_networks.encode(pictures[:len(expected)]), expected)


def test_disparity_latents_golden(golden_networks):
    given = golden_tensors("s2_paper_window_overlap")
    pictures = (2 * given["disp_norm"] - 1)[:, None].expand(-1, 3, -1, -1)
    close(golden_networks.scaling_factor * golden_networks.encode(pictures), given["z0"][0])


def test_time_ids_golden():
    """What DepthCrafter is told besides the noise level."""
    from stereodiff_blender.engine.diffusion.depthcrafter.networks import TIME_IDS
    assert golden_tensors("upstream_1step")["added_time_ids"][0].tolist() == pytest.approx(TIME_IDS)


@pytest.mark.parametrize("name", UPSTREAM)
def test_every_step_of_every_window_golden(golden_networks, name):
    given, said = golden_tensors(name), golden_json(PART, "index.json")["checks"][name]["params"]
    outputs = [key for key in given if key.endswith("unet_out")]
    assert len(outputs) >= said["steps"]
    for key in outputs:
        window, step, _ = key.split("/")
        noisy = given[f"{window}/{step}/unet_in_noisy4"][0]
        start = int(window.removeprefix("win")) * (said["W"] - said["O"])
        part = slice(start, start + len(noisy))
        pictures, embeddings = given["cond_latents"][0, part], given["image_embeds"][0, part]
        time, ids = float(given["timesteps"][int(step.removeprefix("step"))]), given["added_time_ids"][0].tolist()
        found = golden_networks.predict(torch.cat([noisy, pictures], dim=1), time, embeddings, ids=tuple(ids))
        close(found, given[key][0])
        if f"{key}_uncond" in given:
            blind = torch.cat([noisy, torch.zeros_like(pictures)], dim=1)
            found = golden_networks.predict(blind, time, torch.zeros_like(embeddings), ids=tuple(ids))
            close(found, given[f"{key}_uncond"][0])


@pytest.mark.parametrize("name", VARIANTS)
def test_single_step_output_golden(golden_networks, name):
    given, clip = golden_tensors(f"s2_{name}"), golden_tensors("s2_paper_window_overlap")
    index = golden_json(PART, "index.json")["checks"][f"s2_{name}"]
    windows = [k for k in range(len(index["windows"])) if f"win{k}/x_sigma" in given]
    assert windows
    for k in windows:
        part, known = slice(*index["windows"][k]), coefficients(index["params"]["sigma"])
        sample = torch.cat([known.input * given[f"win{k}/x_sigma"][0], clip["cond_latents"][0, part]], dim=1)
        close(golden_networks.predict(sample, known.time, clip["image_embeds"][0, part]),
              given[f"win{k}/unet_out"][0])
