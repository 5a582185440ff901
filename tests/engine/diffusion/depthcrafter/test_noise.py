"""Noise from a seed: by frame, so that neither windows nor devices nor the length of a clip change it."""

from __future__ import annotations

import numpy as np
import pytest
from golden import golden_file, golden_json, tensors

torch = pytest.importorskip("torch")

from stereodiff_blender.engine.diffusion.depthcrafter.noise import MODES, GivenNoise, SeededNoise  # noqa: E402
from stereodiff_blender.engine.diffusion.depthcrafter.windows import Window, plan_windows  # noqa: E402

LATENT, PICTURE = (4, 8, 16), (3, 64, 128)
WINDOWS = plan_windows(20, 8, 3, "shift")


def noise(mode: str = "per_frame", seed: int = 1, windows=WINDOWS) -> SeededNoise:
    return SeededNoise(seed, mode, LATENT, PICTURE, windows)


def test_a_frame_has_the_same_noise_in_every_window_and_layout():
    own, other = noise(), noise(windows=plan_windows(20, 12, 4, "short"))
    first, second = own.latents(0, Window(0, 8)), own.latents(1, Window(5, 13))
    assert torch.equal(first[5:], second[:3])
    assert torch.equal(other.latents(0, Window(0, 12))[5:], own.latents(1, Window(5, 12)))
    assert torch.equal(own.latents(0, Window(0, 8)), first), "asking again changes nothing"


def test_the_published_buffer_keeps_what_windows_share():
    """The last frames of a window's noise are the first of the next; what follows are the rest of the same numbers."""
    own = noise("window")
    first, second = own.latents(0, WINDOWS[0]), own.latents(1, WINDOWS[1])
    assert torch.equal(second[:3], first[5:]) and torch.equal(second[3:], first[:5])


def test_the_published_buffers_turning_golden():
    """Which of the buffer's frames stand where in each window's start, where that is not shared with the one before."""
    said = tensors(golden_file("depthcrafter", "upstream_5step.safetensors"))
    buffer = tensors(golden_file("depthcrafter", "inputs.safetensors"))["noise_latents_window"][0]
    params = golden_json("depthcrafter", "index.json")["checks"]["upstream_5step"]["params"]
    windows = plan_windows(params["n"], params["W"], params["O"], "short")
    own = SeededNoise(1, "window", buffer.shape[1:], PICTURE, windows)
    first = own.latents(0, windows[0])
    for k, window in enumerate(windows):
        places = [int((first == frame).flatten(1).all(dim=1).nonzero()) for frame in own.latents(k, window)]
        begin, new = said[f"win{k}/step0/latents_in"][0], params["O"] if k else 0
        np.testing.assert_allclose(begin[new:], buffer[places][new:] * said["init_noise_sigma"], rtol=1e-6)
        if k == 1:  # shared frames begin at what the window before came to, with the noise they had there
            ended = said[f"win0/step{params['steps'] - 1}/latents_out"][0]
            begun = ended[-new:] + buffer[places][:new] * said["sigmas"][0]
            np.testing.assert_allclose(begin[:new], begun, rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize("mode", MODES)
def test_the_order_of_asking_does_not_matter(mode):
    forwards, backwards = noise(mode), noise(mode)
    there = [forwards.latents(k, window) for k, window in enumerate(WINDOWS)]
    back = [backwards.latents(k, WINDOWS[k]) for k in reversed(range(len(WINDOWS)))][::-1]
    assert all(torch.equal(one, other) for one, other in zip(there, back, strict=True))


def test_shared_and_no_noise():
    shared = noise("shared").latents(1, WINDOWS[1])
    assert (shared == shared[:1]).all() and shared.std() == pytest.approx(1.0, abs=0.1)
    assert not noise("zero").latents(0, WINDOWS[0]).any()


def test_seeds_and_frames_and_purposes_differ():
    one = noise().latents(0, Window(0, 2))
    assert not torch.equal(one[0], one[1]) and not torch.equal(one, noise(seed=2).latents(0, Window(0, 2)))
    pictures = SeededNoise(1, "per_frame", LATENT, LATENT, WINDOWS)
    assert not torch.equal(pictures.pixels(0), one[0])


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "zero"])
def test_it_is_normal(mode):
    numbers = noise(mode).latents(0, WINDOWS[0])
    assert numbers.dtype == torch.float32 and numbers.shape == (8, *LATENT)
    picture = noise(mode).pixels(3)
    assert picture.mean() == pytest.approx(0, abs=0.03) and picture.std() == pytest.approx(1, abs=0.03)


def test_an_unknown_mode():
    with pytest.raises(ValueError, match="white"):
        noise("white")


def test_given_noise_is_cut_by_frame():
    latents, pixels = np.random.default_rng(0).standard_normal((2, 6, 4, 2, 2))
    given = GivenNoise(latents, pixels)
    np.testing.assert_allclose(given.latents(3, Window(2, 5)), latents[2:5], rtol=1e-6)
    np.testing.assert_allclose(given.pixels(4), pixels[4], rtol=1e-6)
