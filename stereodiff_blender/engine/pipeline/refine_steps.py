"""Stage 2, step by step: stage 1's depth without its flicker, in stage 1's gauge.

Provenance covers what is imported here, and below: worker/provenance.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..contract import Settings
from ..diffusion.guided import refine_guided
from ..geometry import fit_scale_shift
from ..imaging import OpticalFlow, flows_in
from ..solution import TRUSTED, StereoResult
from ..storage import RunContext, Scratch

if TYPE_CHECKING:
    from ..diffusion.depthcrafter.networks import DepthCrafterNetworks
    from ..diffusion.depthcrafter.refine import DiffusionResult

FLOW_MEMORY_MB = 40.0
GAUGE_STEP_PX = 4
MIN_GAUGE_SAMPLES = 100


def average_over_time(measurable: np.ndarray, stereo: StereoResult, context: RunContext) -> np.ndarray:
    """Depth (D,h,w) without flicker. What moves is followed to the next two frames only: half resolution tells enough.
    """
    flow = OpticalFlow(measurable, capacity=flows_in(FLOW_MEMORY_MB, *measurable.shape[1:3]), quick=True)
    return refine_guided(measurable, stereo, flow=flow, context=context)


def diffuse(measurable: np.ndarray, stereo: StereoResult, networks: DepthCrafterNetworks, settings: Settings,
            context: RunContext) -> tuple[DiffusionResult, float | None]:
    """Depth (D,h,w) by one step of the diffusion network, which brings itself back into the gauge, and the residual.

    Loaded only here, because it brings torch with it.
    """
    from ..diffusion.depthcrafter.options import options_from
    from ..diffusion.depthcrafter.refine import refine_by_diffusion
    diffused = refine_by_diffusion(measurable, stereo, networks, options_from(settings), context=context)
    is_fitted = diffused.alignment is not None and np.isfinite(diffused.alignment.residual)
    return diffused, diffused.alignment.residual if is_fitted else None


def fit_to_stereo(refined_depth: np.ndarray, stereo: StereoResult,
                  scratch: Scratch) -> tuple[np.ndarray, float | None]:
    """Refined depth (T,H,W) in stage 1's gauge, from scratch: one scale and shift of disparity for the clip.

    Fitted on a grid of trusted static pixels of all frames. The second is the median relative disparity difference
    that remains there; None, with the depth as it was given, if too few such pixels exist to tell.
    """
    source, target = _gauge_samples(refined_depth, stereo)
    if len(source) < MIN_GAUGE_SAMPLES or np.ptp(source) <= 0:
        return refined_depth, None
    scale, shift, _ = fit_scale_shift(source, target)
    if scale <= 0:
        raise ValueError(f"refined depth is turned inside out: its disparity fits stage 1 with scale {scale}")
    # A shift can push the sky through infinity; nothing is farther than ten times stage 1's farthest.
    least = 0.1 / max(float(depth.max()) for depth in stereo.depth)
    fitted = scratch.allocate("refined_depth", refined_depth.shape, np.float32)
    for target_depth, depth in zip(fitted, refined_depth, strict=True):
        disparity = np.maximum(scale / np.where(depth > 0, depth, 1.0) + shift, least)
        target_depth[:] = np.where(depth > 0, 1.0 / disparity, 0.0)
    return fitted, float(np.median(np.abs(scale * source + shift - target) / target))


def _gauge_samples(refined_depth: np.ndarray, stereo: StereoResult) -> tuple[np.ndarray, np.ndarray]:
    """Refined and stereo disparity of the same trusted static pixels, (N,) float64 each."""
    grid = (slice(None, None, GAUGE_STEP_PX),) * 2
    sources, targets = [], []
    per_frame = zip(refined_depth, stereo.depth, stereo.confidence, stereo.motion_mask, strict=True)
    for refined, depth, confidence, moves in per_frame:
        good = (confidence[grid] > TRUSTED) & (moves[grid] == 0) & (refined[grid] > 0) & (depth[grid] > 0)
        sources.append(1.0 / refined[grid][good].astype(np.float64))
        targets.append(1.0 / depth[grid][good].astype(np.float64))
    return np.concatenate(sources), np.concatenate(targets)
