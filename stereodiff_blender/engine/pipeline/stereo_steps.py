"""Stage 1, step by step. What a step gives is whole, so that it can be kept (stages.py).

Provenance covers what is imported here, and below: worker/provenance.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..contract import Settings, StereoDiffError
from ..footage import Plate
from ..imaging import OpticalFlow, flows_in
from ..solution import CameraSolution, StereoResult
from ..stereo.boundaries import agree_on_borders, settle_borders
from ..stereo.mvs import measure_depth, select_sources
from ..stereo.sfm import refine_cameras, solve_cameras
from ..storage import RunContext
from .stages import MeasuredClip, SolvedClip

if TYPE_CHECKING:
    from ..stereo.monst3r.network import TwoViewNetwork

FLOW_MEMORY_MB = 600.0


def solve_clip(plate: Plate, settings: Settings, pixel_aspect: float, focal_px: float | None, *,
               context: RunContext) -> SolvedClip:
    """The cameras of all T frames, by tracked points."""
    cameras = solve_cameras(plate.frames, masks=plate.masks, focal_px=focal_px, pixel_aspect=pixel_aspect,
                            seed=settings.seed, context=context)
    return SolvedClip(plate.with_equal_repeats(cameras))


def measure_clip(plate: Plate, scene: np.ndarray, cameras: CameraSolution, settings: Settings, is_focal_known: bool,
                 *, context: RunContext) -> MeasuredClip:
    """Depth (D,h,w) of the scene's frames, from every frame's neighbours."""
    flow = OpticalFlow(scene, capacity=flows_in(FLOW_MEMORY_MB, *scene.shape[1:3]))
    stereo = measure_depth(scene, plate.scene_cameras(cameras), masks=plate.scene_matte(context.of_stage_2.scratch),
                           flow=flow, context=context)
    return _finished(plate, scene, MeasuredClip(cameras, stereo), settings, is_focal_known, context)


def match_clip(plate: Plate, scene: np.ndarray, network: TwoViewNetwork, settings: Settings, focal_px: float | None,
               *, context: RunContext) -> MeasuredClip:
    """Cameras, and depth (D,h,w) of the scene's frames, by the network. Loaded only here: it brings torch with it."""
    from ..stereo.monst3r.clip import match_clip as match
    stereo = match(scene, network, masks=plate.scene_matte(context.of_stage_2.scratch), focal_px=focal_px,
                   context=context)
    clip = MeasuredClip(plate.clip_cameras(stereo.cameras), stereo)
    return _finished(plate, scene, clip, settings, focal_px is not None, context)


def _finished(plate: Plate, scene: np.ndarray, clip: MeasuredClip, settings: Settings, is_focal_known: bool,
              context: RunContext) -> MeasuredClip:
    """With cameras truer to points tracked in the pictures, if that is asked for, and with depth behind lettering."""
    if settings.refine_cameras:
        refinement = refine_cameras(scene, clip.stereo, is_focal_known=is_focal_known, seed=settings.seed,
                                    report=context.report)
        if refinement.is_refined:
            before_px = refinement.reprojection_before_px
            clip = MeasuredClip(plate.clip_cameras(refinement.stereo.cameras), refinement.stereo,
                                before_px if np.isfinite(before_px) else None)
    plate.fill_overlays(clip.stereo.depth, clip.stereo.confidence, clip.stereo.motion_mask)
    return clip


def settle_clip(scene: np.ndarray, clip: MeasuredClip, settings: Settings, *, context: RunContext) -> MeasuredClip:
    """Every pixel on its side of a depth boundary; sharper still, where time allows. Pointmaps stay as they are."""
    if settings.stereo != "geometric":
        return clip
    stereo = replace(clip.stereo, depth=settle_borders(scene, clip.stereo, context=context))
    if settings.quality == "high":
        stereo = replace(stereo, depth=_with_sharp_edges(scene, stereo, settings.device, context))
    return replace(clip, stereo=stereo)


def _with_sharp_edges(scene: np.ndarray, stereo: StereoResult, device: str, context: RunContext) -> np.ndarray:
    """Depth (D,h,w). Loaded only here, because it brings torch with it."""
    try:
        from ..stereo.boundaries.plane_sweep import refine_edges
    except ImportError as error:
        raise StereoDiffError("torch_missing", f"The High preset needs PyTorch: {error}.") from error
    sources = select_sources(stereo.cameras, *scene.shape[1:3])
    sharp = refine_edges(scene, stereo, sources, device=device, context=context)
    # Frames were sharpened one by one; a last vote makes them agree again.
    return agree_on_borders(scene, replace(stereo, depth=sharp), context=context)
