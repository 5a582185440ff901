"""The one step (paper, section 3.2): noise onto a window of disparity latents, and the network's answer to it.

Latents, noise and noise levels stay in float32 on the host; only the network computes in less.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from ...contract import StereoDiffError
from .networks import DepthCrafterNetworks
from .noise import Noise
from .options import Options
from .schedule import coefficients, network_input, noised, predicted_clean, step
from .windows import Window, merge, plan_windows

LEAST_WINDOW = 32


class Step(NamedTuple):
    """One step of one window, each (n,4,h,w) float32: the noised latents, the network's answer, what it takes the
    latents to be without noise, and the latents at the step's end."""

    noised: torch.Tensor
    output: torch.Tensor
    clean: torch.Tensor
    end: torch.Tensor


class Condition(NamedTuple):
    """What the network sees of the pictures: latents (n,4,h,w) and embeddings (n,C), float32."""

    latents: torch.Tensor
    embeddings: torch.Tensor


def take_step(networks: DepthCrafterNetworks, latents: torch.Tensor, noise: torch.Tensor, condition: Condition,
              options: Options) -> Step:
    """From noise level options.sigma to options.sigma_end. latents, noise: (n,4,h,w) float32."""
    sample = network_input(latents, noise, options.sigma)
    output = _guided_output(networks, sample, condition, options)
    begin = noised(latents, noise, options.sigma)
    clean = predicted_clean(begin, output, options.sigma)
    return Step(begin, output, clean, step(begin, clean, options.sigma, options.sigma_end))


def sample_steps(networks: DepthCrafterNetworks, start: torch.Tensor, condition: Condition, sigmas: np.ndarray,
                 options: Options) -> torch.Tensor:
    """The way without stage 1: from pure noise down all noise levels, as DepthCrafter alone does. To compare with.

    start: (n,4,h,w) noise of the first level's size. sigmas: falling, the last 0. Returns the latents (n,4,h,w).
    """
    state = start
    for sigma, following in zip(sigmas[:-1], sigmas[1:], strict=True):
        output = _guided_output(networks, state * coefficients(sigma).input, condition, options, sigma)
        state = step(state, predicted_clean(state, output, sigma), sigma, following)
    return state


def _guided_output(networks: DepthCrafterNetworks, sample: torch.Tensor, condition: Condition, options: Options,
                   sigma: float | None = None) -> torch.Tensor:
    """The network's answer, driven away from the one it gives without pictures where guidance is asked for."""
    time = coefficients(options.sigma if sigma is None else sigma).time
    ids = (7, 127, options.noise_aug_strength)
    output = networks.predict(torch.cat([sample, condition.latents], dim=1), time, condition.embeddings, ids=ids)
    if options.guidance_scale == 1.0:
        return output
    blind = torch.cat([sample, torch.zeros_like(condition.latents)], dim=1)
    unguided = networks.predict(blind, time, torch.zeros_like(condition.embeddings), ids=ids)
    return unguided + options.guidance_scale * (output - unguided)


def refine_window(networks: DepthCrafterNetworks, latents: torch.Tensor, draws: list[torch.Tensor],
                  condition: Condition, options: Options) -> torch.Tensor:
    """The end latents of a window, the mean over draws of noise; in halves that overlap where memory falls short.

    Raises StereoDiffError "out_of_memory" if not even LEAST_WINDOW frames fit.
    """
    try:
        ends = [take_step(networks, latents, noise, condition, options).end for noise in draws]
        return torch.stack(ends).mean(dim=0)
    except torch.OutOfMemoryError as error:
        if len(latents) <= LEAST_WINDOW:
            raise StereoDiffError("out_of_memory", f"The graphics device has too little memory for {len(latents)} "
                                                   f"frames at once: {error}.") from error
    networks.free_unused()
    return _in_halves(networks, latents, draws, condition, options)


def _in_halves(networks: DepthCrafterNetworks, latents: torch.Tensor, draws: list[torch.Tensor], condition: Condition,
               options: Options) -> torch.Tensor:
    count = len(latents)
    size = max(LEAST_WINDOW, -(-count // 2) + min(options.overlap, count // 4))
    merged = torch.empty_like(latents)
    windows = plan_windows(count, size, max(2 * size - count, 0), "shift")
    for k, window in enumerate(windows):
        part = slice(window.start, window.end)
        end = refine_window(networks, latents[part], [noise[part] for noise in draws],
                            Condition(condition.latents[part], condition.embeddings[part]), options)
        merge(merged, windows, k, end, "crossfade")
    return merged


def draws_of(noises: list[Noise], k: int, window: Window, options: Options) -> list[torch.Tensor]:
    """The noise of window k in every draw; none of it in mode "zero"."""
    return [noise.latents(k, window) for noise in noises[:options.ensemble]]
