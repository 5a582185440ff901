"""Stage 1, step by step. What a step gives is whole, so that it can be kept (stages.py).

Provenance covers what is imported here, and below: worker/provenance.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..contract import LensResult, Settings
from ..footage import PreparedFootage
from ..imaging import OpticalFlow, flows_in
from ..report import Report
from ..solution import CameraSolution, KnownCameras, KnownLens
from ..stereo.boundaries import refine_boundaries
from ..stereo.mvs import estimate_depth_maps
from ..stereo.sfm import refine_cameras, solve_cameras, use_cameras
from ..storage import RunContext
from .stages import MeasuredClip, SolvedClip

if TYPE_CHECKING:
    from ..stereo.monst3r.network import TwoViewNetwork

FLOW_MEMORY_MB = 600.0
SEEN_SHARE = 0.005
"""Of the picture, from which an artist would see that it was left out."""


def solve_clip(prepared: PreparedFootage, settings: Settings, pixel_aspect: float, lens: KnownLens | None, *,
               context: RunContext) -> SolvedClip:
    """The cameras of all T frames, by tracked points."""
    cameras = solve_cameras(prepared.frames, masks=prepared.masks, lens=lens, pixel_aspect=pixel_aspect,
                            readout=settings.readout, seed=settings.seed, context=context)
    return SolvedClip(prepared.with_equal_repeats(cameras))


def take_cameras(prepared: PreparedFootage, known: KnownCameras, *, context: RunContext) -> SolvedClip:
    """The cameras of all T frames as they are given, with tracked points under them."""
    cameras = use_cameras(prepared.frames, known, masks=prepared.masks, context=context)
    return SolvedClip(prepared.with_equal_repeats(cameras))


def warn_of_cut_corners(prepared: PreparedFootage, report: Report) -> None:
    """Say that a part of the picture lies too far off the lens's axis to be measured."""
    if prepared.cut_share > SEEN_SHARE:
        report.warn("lens_corners_cut", f"Depth was not measured in {100 * prepared.cut_share:.0f} % of the picture, "
                                        "in its corners, which the lens shows too far off its axis.")


def measure_clip(prepared: PreparedFootage, measurable: np.ndarray, cameras: CameraSolution, settings: Settings,
                 is_focal_known: bool,
                 *, context: RunContext) -> MeasuredClip:
    """Depth (D,h,w) of the scene's frames, from every frame's neighbors."""
    flow = OpticalFlow(measurable, capacity=flows_in(FLOW_MEMORY_MB, *measurable.shape[1:3]))
    stereo = estimate_depth_maps(measurable, prepared.measurable_cameras(cameras),
                                 masks=prepared.measurable_matte(context.of_stage_2.scratch),
                                 flow=flow, context=context)
    clip = MeasuredClip(cameras, stereo, measured=cameras.solved)
    return _finished(prepared, measurable, clip, settings, is_focal_known, context)


def match_clip(prepared: PreparedFootage, measurable: np.ndarray, network: TwoViewNetwork, settings: Settings,
               lens: KnownLens | None, *, context: RunContext) -> MeasuredClip:
    """Cameras, and depth (D,h,w) of the scene's frames, by the network. Loaded only here: it brings torch with it.

    What it is shown has no distortion, where that is known; so its cameras are the ideal ones, and their intrinsics
    exactly those that the pictures were rectified for.
    """
    from ..stereo.monst3r.clip import match_clip as match
    stereo = match(measurable, network, masks=prepared.measurable_matte(context.of_stage_2.scratch),
                   focal_px=None if lens is None else lens.focal_px, context=context)
    of_clip = LensResult.as_given(None if lens is None else lens.distortion)
    if lens is not None and of_clip.distortion is not None:
        stereo = replace(stereo, cameras=replace(stereo.cameras, intrinsics=prepared.measurable_intrinsics(lens)))
    clip = MeasuredClip(prepared.clip_cameras(stereo.cameras, of_clip), stereo)
    return _finished(prepared, measurable, clip, settings, lens is not None, context)


def _finished(prepared: PreparedFootage, measurable: np.ndarray, clip: MeasuredClip, settings: Settings,
              is_focal_known: bool,
              context: RunContext) -> MeasuredClip:
    """With cameras truer to points tracked in the pictures, if that is asked for, and with depth behind lettering."""
    lens = clip.cameras.lens
    if settings.refine_cameras and lens.readout:
        context.report.warn("rolling_shutter", "The cameras are not refined, because refining takes all rows of a "
                                               "frame as shot at once.")
    elif settings.refine_cameras:
        is_held = is_focal_known or lens.distortion is not None or lens.zooms  # what is measured was rectified for it
        refinement = refine_cameras(measurable, clip.stereo, is_focal_known=is_held, seed=settings.seed,
                                    report=context.report)
        if refinement.is_refined:
            before_px = refinement.reprojection_before_px
            cameras = prepared.clip_cameras(refinement.stereo.cameras, lens)
            clip = replace(clip, cameras=cameras, stereo=refinement.stereo,
                           reprojection_before_px=before_px if np.isfinite(before_px) else None)
    prepared.fill_overlays(clip.stereo.depth, clip.stereo.confidence, clip.stereo.motion_mask)
    return clip


def refine_clip_boundaries(measurable: np.ndarray, clip: MeasuredClip, settings: Settings, *,
                           context: RunContext) -> MeasuredClip:
    """Every pixel on its side of a depth boundary. Pointmaps stay as they are."""
    if settings.stereo != "geometric":
        return clip
    depth = refine_boundaries(measurable, clip.stereo, context=context)
    return replace(clip, stereo=replace(clip.stereo, depth=depth))
