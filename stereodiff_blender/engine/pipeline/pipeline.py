"""Frames in, cameras and depth out: the whole method on one page. Knows no files.

Usable from a notebook: estimate_depth(frames, Settings(), context=RunContext()).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..contract import Quality, Refinement, Settings
from ..footage import PreparedFootage, inspect_footage, prepare_footage, refuse_cuts, warn_of_faults
from ..quality.assess import assess
from ..quality.regions import guessed_regions
from ..solution import CameraSolution, KnownCameras, KnownLens, StereoResult
from ..storage import RunContext, Scratch
from .networks import Networks
from .plate_steps import ClipPlateDepth
from .refine_steps import average_over_time, diffuse, fit_to_stereo
from .stages import Stages
from .stereo_steps import (
    match_clip,
    measure_clip,
    refine_clip_boundaries,
    solve_clip,
    take_cameras,
    warn_of_cut_corners,
)

NO_NETWORKS = Networks()


@dataclass(frozen=True)
class Estimate:
    """What the method found out about a clip of T frames, in the conventions of the contract.

    cameras: the solve. quality: the trust report. stereo: stage 1's answer, in one gauge with the cameras; None, and
    with it every depth, unless cameras.kind is "moving". refined_depth: (T,H,W) in the same gauge; None if no
    refinement was asked for. refinement: of the diffusion network, if it ran. plate_depth: the depth to use at the
    plate's size, made as it is asked for; None unless that was asked for, and the plate is larger.
    """

    cameras: CameraSolution
    quality: Quality
    stereo: StereoResult | None = None
    refined_depth: np.ndarray | None = None
    refinement: Refinement | None = None
    plate_depth: ClipPlateDepth | None = None

    @property
    def depth(self) -> np.ndarray | None:
        """The depth to use: refined if there is one."""
        if self.refined_depth is not None or self.stereo is None:
            return self.refined_depth
        return self.stereo.depth


def estimate_depth(frames: np.ndarray, settings: Settings, *, masks: np.ndarray | None = None,
                   pixel_aspect: float = 1.0, lens: KnownLens | None = None, known: KnownCameras | None = None,
                   networks: Networks = NO_NETWORKS, context: RunContext) -> Estimate:
    """Cameras and depth of one clip.

    Parameters
    ----------
    frames : ndarray
        (T,H,W,3) uint8 sRGB, T >= 2, in memory or memory-mapped.
    settings : Settings
        How to solve.
    masks : ndarray or None
        (T,H,W) uint8, 1 where the artist says that something moves; what is found to move is added. None: no matte.
    pixel_aspect : float
        Of the raster: width / height of one of its pixels.
    lens : KnownLens or None
        None where it is not known. Stage 1 by pointmaps takes the center for its principal point, unless the lens has
        distortion: that is taken out around the point that is known.
    known : KnownCameras or None
        Cameras to measure with in place of a solve, which then needs no lens; only of the stereo engine "geometric".
    networks : Networks
        The learned ones that the settings ask for.
    context : RunContext
        Scratch, report and the first frame's number. What an earlier run left in its scratch is used.

    Returns
    -------
    Estimate
        Of all T frames: cameras, the trust report and, if the camera moves, depth (T,H,W).

    Raises
    ------
    StereoDiffError
        Among others "cut_in_range", "camera_unsolved" and "cameras_do_not_fit".
    ValueError
        If frames have another shape or type, or are fewer than two.
    """
    # 0. What is wrong with the footage, and what is worked on instead.
    stage_2 = context.of_stage_2
    footage = inspect_footage(frames)
    refuse_cuts(footage, context.first_frame, context.told_from)
    warn_of_faults(footage, context.told_from, context.report)
    prepared = prepare_footage(frames, masks, footage, stage_2.scratch)  # frames (T,H,W,3)

    # 1. Where the camera was, 2. and how far away everything is; the network of pointmaps tells both at once.
    stages = Stages(context)
    if settings.stereo == "monst3r":
        prepared = prepared.rectified_around(lens)
        warn_of_cut_corners(prepared, context.report)
        measurable = prepared.measurable_frames(stage_2.scratch)  # (D,h,w,3): what is no flash, inside the bars
        clip = stages.run("measured", match_clip, prepared, measurable, networks.matcher, settings, lens)
    else:
        if known is not None:
            solved = stages.run("cameras", take_cameras, prepared, known)  # camera_to_world (T,4,4)
        else:
            solved = stages.run("cameras", solve_clip, prepared, settings, pixel_aspect, lens)
        if solved.cameras.kind != "moving":
            return Estimate(solved.cameras, assess(solved.cameras, context.first_frame))
        prepared = prepared.measured_where_solved(solved.to_measure).rectified(solved.cameras)
        warn_of_cut_corners(prepared, context.report)
        measurable = prepared.measurable_frames(stage_2.scratch)  # (D,h,w,3): those with a camera, inside the bars
        clip = stages.run("measured", measure_clip, prepared, measurable, solved.cameras, settings,
                          lens is not None)

    context.report.show(lambda: _middle(measurable, clip.stereo))

    # 3. Which side of its border each pixel belongs to; finer still, where time allows.
    clip = stages.run("settled", refine_clip_boundaries, measurable, clip, settings)
    stereo = clip.stereo  # depth, confidence, motion_mask (D,h,w)

    # 4. No flicker, 5. and back in the cameras' gauge; the diffusion network brings itself back into it.
    refined_depth = refinement = gauge_residual = None
    if settings.refine == "guided":
        even = average_over_time(measurable, stereo, stage_2)  # (D,h,w)
        refined_depth, gauge_residual = fit_to_stereo(even, stereo, stage_2.scratch)  # (D,h,w)
    elif settings.refine == "depthcrafter":
        networks.rest_matcher()
        diffused, gauge_residual = diffuse(measurable, stereo, networks.refiner, settings, stage_2)
        refined_depth, refinement = diffused.depth, diffused.refinement  # (D,h,w)

    # 6. How far all this can be trusted.
    trust = assess(stereo.cameras, context.first_frame, stereo, refined_depth, gauge_residual)
    trust = replace(trust, reprojection_before_px=clip.reprojection_before_px)
    trust = _with_all_frames(trust, assess(clip.cameras, context.first_frame), prepared.measured_share)

    # 7. What was found out about the scene's frames, as all frames of the clip show it.
    shown, shown_refined = _shown(prepared, clip.cameras, stereo, refined_depth, stage_2.scratch)  # depth (T,H,W)
    trust = replace(trust, guessed=guessed_regions(shown, context.first_frame))
    estimate = Estimate(clip.cameras, trust, shown, shown_refined, refinement)

    # 8. The same at the plate's size, its edges where the plate has them.
    if settings.depth_size == "working" or context.plates is None:
        return estimate
    used = stereo if refined_depth is None else replace(stereo, depth=refined_depth)
    return replace(estimate, plate_depth=ClipPlateDepth(prepared, context.plates, clip.cameras, used, estimate.depth,
                                                        context.plate_matte, context.cores))


def _middle(frames: np.ndarray, stereo: StereoResult) -> tuple[np.ndarray, np.ndarray]:
    """The frame in the middle (h,w,3) and its depth (h,w)."""
    index = len(frames) // 2
    return frames[index], stereo.depth[index]


def _with_all_frames(trust: Quality, of_clip: Quality, measured_share: float) -> Quality:
    """What is told of the measured frames, and of the clip's what cameras alone tell; of the others nothing is trusted.
    """
    return replace(trust, coverage=measured_share * (trust.coverage or 0.0), solved_share=of_clip.solved_share,
                   unsolved_frames=of_clip.unsolved_frames,
                   reprojection_mean_px=of_clip.reprojection_mean_px,
                   reprojection_worst_px=of_clip.reprojection_worst_px)


def _shown(prepared: PreparedFootage, cameras: CameraSolution, stereo: StereoResult, refined_depth: np.ndarray | None,
           scratch: Scratch) -> tuple[StereoResult, np.ndarray | None]:
    """Stage 1's answer and the refined depth, (T,H,W)."""
    found = {"stereo_depth": stereo.depth, "refined_depth": refined_depth, "confidence": stereo.confidence,
             "motion_mask": stereo.motion_mask}
    shown = {name: None if array is None else prepared.shown(array, f"shown_{name}", scratch)
             for name, array in found.items()}
    depth, refined_depth, confidence, motion_mask = shown.values()
    for one in (depth, refined_depth):
        if one is not None:
            prepared.carry_depth(one, confidence, cameras)
    trusted, still_or_not = (_where_solved(array, f"solved_{name}", cameras, scratch)
                             for name, array in (("confidence", confidence), ("motion_mask", motion_mask)))
    return StereoResult(cameras, depth, trusted, still_or_not, stereo.far_limit), refined_depth


def _where_solved(array: np.ndarray, name: str, cameras: CameraSolution, scratch: Scratch) -> np.ndarray:
    """An array (T,H,W) with 0 in the frames that have no camera of their own: nothing was measured there."""
    if cameras.solved.all():
        return array
    known = scratch.allocate(name, array.shape, array.dtype)
    for index in np.flatnonzero(cameras.solved):
        known[index] = array[index]
    return known
