"""Every choice of the diffusion step in one place, and the presets that artists pick from."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...contract import DiffusionSettings, Settings
from .schedule import karras_sigmas, trailing_sigmas

__all__ = ["options_from"]

STEPS, BEGIN = 4, 2
"""The paper's step is that from the third to the fourth noise level of four."""
FAST_SIDE_PX = 640


@dataclass(frozen=True)
class Options:
    """How the step is done. Where the paper leaves something open, the default is ours.

    sigma, sigma_end: noise level before and after the step. sigma_end = 0 takes the network's estimate whole.
    window, overlap: frames at once, and shared by neighbors. tail: of the last window, "shift" (full length, slid
        back) or "short". merge: of shared frames, "crossfade" or "cut".
    share_latents: the shared frames of a window begin as the window before ended them. The paper found it harmful.
    noise_mode: "per_frame", "window", "shared" or "zero"; see noise.py. seed: of all noise. ensemble: draws averaged.
    guidance_scale: 1 = none. noise_aug_strength: of noise on the pictures, which the network is told of.
    norm: of disparity over the whole clip, "quantile" (quantiles) or "minmax". fill: normalized disparity where there
        is none. depth_resize: of stage 1's depth, "nearest" (the paper) or "bilinear", in disparity.
    max_side_px: longest side of the network's raster. decode_chunk, decode_halo: frames decoded at once, and how many
        more on either side that are dropped. clamp: decoded disparity to 0..1.
    align: mode of alignment.align. near, far: how far outside stage 1's range of depth the result may lie, as factors.
    keep_static: 0..1, weight of stage 1 on still things that it measured.
    """

    sigma: float
    sigma_end: float = 0.0
    window: int = 110
    overlap: int = 25
    tail: str = "shift"
    merge: str = "crossfade"
    share_latents: bool = False
    noise_mode: str = "per_frame"
    seed: int = 42
    ensemble: int = 1
    guidance_scale: float = 1.0
    noise_aug_strength: float = 0.02
    norm: str = "quantile"
    quantiles: tuple[float, float] = (0.0, 0.999)
    fill: float = 0.0
    depth_resize: str = "nearest"
    max_side_px: int = 1024
    decode_chunk: int = 8
    decode_halo: int = 2
    clamp: bool = True
    align: str = "auto"
    near: float = 0.5
    far: float = 2.0
    keep_static: float = 0.0


def options_from(settings: Settings) -> Options:
    """What an artist's settings mean.

    Parameters
    ----------
    settings : Settings
        Of which diffusion and seed are read.

    Returns
    -------
    Options
        Every choice of the diffusion step.
    """
    diffusion = settings.diffusion
    sigma, sigma_end = _noise_levels(diffusion)
    options = Options(sigma, sigma_end, seed=settings.seed, ensemble=diffusion.ensemble,
                      keep_static=diffusion.keep_static)
    if diffusion.preset == "paper":
        return replace(options, tail="short", norm="minmax", decode_halo=0)
    if diffusion.preset == "fast":
        return replace(options, overlap=0, merge="cut", max_side_px=FAST_SIDE_PX)
    return options


def _noise_levels(diffusion: DiffusionSettings) -> tuple[float, float]:
    """Before and after the step. Only the published schedule names a second level that is worth stopping at."""
    if diffusion.schedule == "free":
        return diffusion.noise_level, 0.0
    if diffusion.schedule == "trailing":
        return float(trailing_sigmas(STEPS)[BEGIN]), 0.0
    levels = karras_sigmas(STEPS)
    return float(levels[BEGIN]), float(levels[BEGIN + 1])
