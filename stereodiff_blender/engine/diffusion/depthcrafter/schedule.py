"""Noise levels, and what the network is told and asked at each (Karras et al. 2022, with unit data variance).

sigma is the standard deviation of the noise where the data's is 1. Everything in float32 and more: near the highest
level the network's own precision would lose what is left of the data.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, sqrt

import numpy as np

TRAINING_STEPS, BETA_RANGE = 1000, (0.00085, 0.012)
"""Of Stable Video Diffusion: the betas rise linearly in their square roots."""


def karras_sigmas(steps: int, *, sigma_min: float = 0.002, sigma_max: float = 700.0, rho: float = 7.0) -> np.ndarray:
    """(steps + 1,) float64, falling, the last 0: the published scheduler's. Its spacing and its betas have no say."""
    share = np.linspace(0.0, 1.0, steps) if steps > 1 else np.zeros(1)
    high, low = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    return np.append((high + share * (low - high)) ** rho, 0.0)


def trailing_sigmas(steps: int) -> np.ndarray:
    """(steps + 1,) float64, falling, the last 0: the plain schedule of the betas, counted from its noisiest end."""
    betas = np.linspace(*np.sqrt(BETA_RANGE), TRAINING_STEPS) ** 2
    kept = np.cumprod(1.0 - betas)
    chosen = np.round(np.arange(TRAINING_STEPS, 0, -TRAINING_STEPS / steps)).astype(int)[:steps] - 1
    return np.append(np.sqrt((1.0 - kept[chosen]) / kept[chosen]), 0.0)


@dataclass(frozen=True)
class Coefficients:
    """clean estimate = skip * noised + out * network(input * noised, time)."""

    skip: float
    out: float
    input: float
    time: float


def coefficients(sigma: float) -> Coefficients:
    """At sigma > 0."""
    total = sigma**2 + 1.0
    return Coefficients(1.0 / total, -sigma / sqrt(total), 1.0 / sqrt(total), 0.25 * log(sigma))


def noised(latents, noise, sigma: float):
    """Arrays or tensors of one shape, float32."""
    return latents + sigma * noise


def network_input(latents, noise, sigma: float):
    """The noised latents as the network takes them. Both weights are at most 1, whatever sigma is."""
    scale = coefficients(sigma).input
    return scale * latents + (sigma * scale) * noise


def predicted_clean(noised_latents, output, sigma: float):
    """What the network takes the latents to be without noise."""
    known = coefficients(sigma)
    return known.skip * noised_latents + known.out * output


def step(noised_latents, clean, sigma: float, sigma_end: float):
    """Latents at sigma_end on the straight way from the noised ones to the clean estimate."""
    return clean + (sigma_end / sigma) * (noised_latents - clean)
