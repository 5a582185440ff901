"""Frames in, cameras and depth out: the whole method on one page. Knows no files.

Usable from a notebook: estimate_depth(frames, Settings(), scratch=Scratch(), report=Report()).
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..contract import Quality, Refinement, Settings, StereoDiffError
from ..diffusion.guided import refine_guided
from ..footage import Plate, inspect_footage, make_plate, refuse_cuts, warn_of_faults
from ..geometry import fit_scale_shift
from ..imaging import OpticalFlow, flows_in
from ..quality import assess as quality
from ..report import Report
from ..solution import TRUSTED, CameraSolution, StereoResult
from ..stereo.boundaries import KEPT_BORDERS, run_turn, settle_borders, vote_on_borders
from ..stereo.mvs import measure_depth, select_sources
from ..stereo.sfm import refine_cameras, solve_cameras
from ..storage import Scratch
from .networks import Networks
from .stages import StereoStage, files_of, kept_cameras, kept_stage

if TYPE_CHECKING:
    from ..diffusion.depthcrafter.refine import DiffusionResult

FLOW_MEMORY_MB, NEAR_FLOW_MEMORY_MB = 600.0, 40.0
NO_NETWORKS = Networks()
GAUGE_STEP_PX = 4
MIN_GAUGE_SAMPLES = 100


@dataclass(frozen=True)
class Estimate:
    """What the method found out about a clip of T frames, in the conventions of the contract.

    cameras: the solve. quality: the trust report. refinement: of the diffusion network, if it ran.
    stereo_depth, refined_depth, confidence, motion_mask: (T,H,W), in one gauge with the cameras; all None unless
    cameras.kind is "moving"; refined_depth also None if no refinement was asked for.
    """

    cameras: CameraSolution
    quality: Quality
    refinement: Refinement | None = None
    stereo_depth: np.ndarray | None = None
    refined_depth: np.ndarray | None = None
    confidence: np.ndarray | None = None
    motion_mask: np.ndarray | None = None

    @property
    def depth(self) -> np.ndarray | None:
        """The depth to use: refined if there is one."""
        return self.stereo_depth if self.refined_depth is None else self.refined_depth


def estimate_depth(frames: np.ndarray, settings: Settings, *, masks: np.ndarray | None = None,  # noqa: PLR0913
                   pixel_aspect: float = 1.0, focal_px: float | None = None, first_frame: int = 1,
                   networks: Networks = NO_NETWORKS, scratch: Scratch, refine_scratch: Scratch | None = None,
                   report: Report) -> Estimate:
    """Cameras and depth of one clip.

    frames: (T,H,W,3) uint8 sRGB, in memory or memory-mapped. masks: (T,H,W) uint8 or None, 1 where the artist
    says that something moves; what is found to move is added. focal_px: known focal length in pixels of the raster.
    pixel_aspect: of the raster. first_frame: number of frames[0], for what is said to people. networks: the learned
    ones that the settings ask for. scratch: what a run that was broken off left there of stage 1 is used, so it must
    be of the same input. refine_scratch: the same for stage 2; None: scratch. Raises StereoDiffError, among others
    "torch_missing", "cut_in_range" and "camera_unsolved".
    """
    refuse_unavailable(settings)
    shot = _Shot(settings, pixel_aspect, focal_px, first_frame, scratch, refine_scratch or scratch, report)

    # 0. What is wrong with the footage, and what is worked on instead.
    footage = inspect_footage(frames)
    refuse_cuts(footage, first_frame)
    warn_of_faults(footage, first_frame, report)
    plate = make_plate(frames, masks, footage, shot.refine_scratch)
    scene = plate.scene_frames(shot.refine_scratch)  # the D measurable frames, inside the bars

    # 1. to 3. Stage 1, or what is left of it from an earlier run.
    stage = kept_stage("settled", lambda witness: _stage_one(plate, scene, networks, replace(shot, report=witness)),
                       scratch, report)
    scratch.keep_only(*files_of("settled"))
    stereo, cameras = stage.stereo, stage.cameras  # depth (D,h,w)
    if stereo is None:
        return Estimate(cameras, quality.assess(cameras, None, None, None, None, first_frame, None))

    # 4. No flicker.
    refined_depth = refinement = gauge_residual = None
    if settings.refine == "guided":
        # What moves is followed to the next two frames only: half resolution tells enough.
        near_flow = OpticalFlow(scene, capacity=flows_in(NEAR_FLOW_MEMORY_MB, *scene.shape[1:3]), quick=True)
        even = refine_guided(scene, stereo.depth, stereo.confidence, stereo.motion_mask,
                             stereo.cameras.camera_to_world, stereo.cameras.intrinsics, flow=near_flow,
                             scratch=shot.refine_scratch, report=report)  # (D,h,w)
        # 5. Back into the cameras' gauge.
        refined_depth, gauge_residual = fit_to_stereo(even, stereo, shot.refine_scratch)
    elif settings.refine == "depthcrafter":
        diffused = _diffuse(scene, stereo, networks, shot)  # brings itself back into the gauge
        refined_depth, refinement = diffused.depth, diffused.refinement
        if diffused.alignment is not None and np.isfinite(diffused.alignment.residual):
            gauge_residual = diffused.alignment.residual

    # 6. How far all this can be trusted.
    trust = quality.assess(stereo.cameras, stereo.depth, refined_depth, stereo.confidence, stereo.motion_mask,
                           first_frame, gauge_residual)
    trust = replace(trust, reprojection_before_px=stage.reprojection_before_px)
    return replace(_shown(plate, cameras, trust, stereo, refined_depth, shot), refinement=refinement)


@dataclass(frozen=True)
class _Shot:
    """What every step may need to know; see estimate_depth."""

    settings: Settings
    pixel_aspect: float
    focal_px: float | None
    first_frame: int
    scratch: Scratch
    refine_scratch: Scratch
    report: Report


def _stage_one(plate: Plate, scene: np.ndarray, networks: Networks, shot: _Shot) -> StereoStage:
    """Steps 1 to 3. Each is kept, so that a run that goes on takes up the last that was done."""
    # 1. and 2. Where the camera was, and how far away everything is.
    stage = kept_stage("measured", lambda witness: _measured(plate, scene, networks, replace(shot, report=witness)),
                       shot.scratch, shot.report)
    shot.scratch.keep_only(*files_of("measured"), *KEPT_BORDERS, "edges", "edges_agreed")
    if stage.stereo is None or shot.settings.stereo != "geometric":
        return stage

    # 3. Which side of its border each pixel belongs to; finer still, where time allows.
    stereo = stage.stereo
    depth = settle_borders(scene, stereo.cameras, stereo.depth, stereo.confidence, stereo.motion_mask,
                           scratch=shot.scratch, report=shot.report)
    if shot.settings.quality == "high":
        depth = _with_sharp_edges(scene, replace(stereo, depth=depth), shot)
    return replace(stage, stereo=replace(stereo, depth=depth))


def _measured(plate: Plate, scene: np.ndarray, networks: Networks, shot: _Shot) -> StereoStage:
    # 1. Where the camera was, and how far away everything is.
    if shot.settings.stereo == "monst3r":
        stereo = _match(plate, scene, networks, shot)  # depth (D,h,w)
        cameras = plate.clip_cameras(stereo.cameras)
    else:
        cameras = kept_cameras("cameras", lambda witness: _solve(plate, replace(shot, report=witness)), shot.scratch,
                               shot.report)
        if cameras.kind != "moving":
            return StereoStage(cameras)
        stereo = _measure(plate, scene, cameras, shot)  # depth (D,h,w)

    # 2. Truer to points tracked in the pictures.
    before_px = None
    if shot.settings.refine_cameras:
        refinement = refine_cameras(scene, stereo, is_focal_known=shot.focal_px is not None, seed=shot.settings.seed,
                                    report=shot.report)
        if refinement.is_refined:
            stereo, cameras = refinement.stereo, plate.clip_cameras(refinement.stereo.cameras)
            before_px = refinement.reprojection_before_px
    plate.fill_overlays(stereo.depth, stereo.confidence, stereo.motion_mask)
    return StereoStage(cameras, stereo, before_px if before_px is not None and np.isfinite(before_px) else None)


def _solve(plate: Plate, shot: _Shot) -> CameraSolution:
    """The cameras of all T frames, by tracked points."""
    cameras = solve_cameras(plate.frames, masks=plate.masks, focal_px=shot.focal_px, pixel_aspect=shot.pixel_aspect,
                            seed=shot.settings.seed, first_frame=shot.first_frame, scratch=shot.scratch,
                            report=shot.report)
    return plate.with_equal_repeats(cameras)


def _measure(plate: Plate, scene: np.ndarray, cameras: CameraSolution, shot: _Shot) -> StereoResult:
    """Depth of the scene's frames, from every frame's neighbours."""
    flow = OpticalFlow(scene, capacity=flows_in(FLOW_MEMORY_MB, *scene.shape[1:3]))
    return measure_depth(scene, plate.scene_cameras(cameras), masks=plate.scene_matte(shot.refine_scratch),
                         scratch=shot.scratch, report=shot.report, flow=flow)


def _match(plate: Plate, scene: np.ndarray, networks: Networks, shot: _Shot) -> StereoResult:
    """Cameras and depth of the scene's frames, by the network. Loaded only here, because it brings torch with it."""
    from ..stereo.monst3r.clip import match_clip
    return match_clip(scene, networks.matcher, masks=plate.scene_matte(shot.refine_scratch), focal_px=shot.focal_px,
                      scratch=shot.scratch, report=shot.report)


def _diffuse(scene: np.ndarray, stereo: StereoResult, networks: Networks, shot: _Shot) -> DiffusionResult:
    """The scene's depth by one step of the diffusion network. Loaded only here, because it brings torch with it."""
    from ..diffusion.depthcrafter.options import options_from
    from ..diffusion.depthcrafter.refine import refine_by_diffusion
    networks.rest_matcher()
    return refine_by_diffusion(scene, stereo.depth, stereo.confidence, stereo.motion_mask, networks.refiner,
                               options_from(shot.settings), first_frame=shot.first_frame,
                               scratch=shot.refine_scratch, report=shot.report)


def _shown(plate: Plate, cameras: CameraSolution, scene_trust: Quality, stereo: StereoResult,
           refined_depth: np.ndarray | None, shot: _Shot) -> Estimate:
    """What was found out about the scene's frames, as all frames of the clip show it."""
    solve = quality.assess(cameras, None, None, None, None, shot.first_frame, None)
    trust = replace(scene_trust, solved_share=solve.solved_share, unsolved_frames=solve.unsolved_frames,
                    reprojection_mean_px=solve.reprojection_mean_px,
                    reprojection_worst_px=solve.reprojection_worst_px)
    found = {"stereo_depth": stereo.depth, "refined_depth": refined_depth, "confidence": stereo.confidence,
             "motion_mask": stereo.motion_mask}
    shown = {name: plate.shown(array, f"shown_{name}", shot.refine_scratch) for name, array in found.items()
             if array is not None}
    for name in ("stereo_depth", "refined_depth"):
        if name in shown:
            plate.carry_into_flashes(shown[name], shown["confidence"], cameras)
    return Estimate(cameras, trust, **shown)


def refuse_unavailable(settings: Settings) -> None:
    """Turn down at the door what cannot be done here, before any work.

    Raises StereoDiffError "torch_missing" or "device_unavailable".
    """
    if settings.quality != "high":
        return
    if importlib.util.find_spec("torch") is None:
        raise StereoDiffError("torch_missing", "The High preset needs PyTorch.")
    if settings.stereo == "geometric" and settings.device not in ("auto", "cpu"):
        from ..torch_support.device import torch_device
        torch_device(settings.device)


def _with_sharp_edges(frames: np.ndarray, stereo: StereoResult, shot: _Shot) -> np.ndarray:
    """Depth (D,h,w). Loaded only here, because it brings torch with it."""
    try:
        from ..stereo.boundaries.plane_sweep import refine_edges
    except ImportError as error:
        raise StereoDiffError("torch_missing", f"The High preset needs PyTorch: {error}.") from error
    sources = select_sources(stereo.cameras, *frames.shape[1:3])
    sharp = refine_edges(frames, stereo.cameras, stereo.depth, stereo.motion_mask, sources,
                         device=shot.settings.device, scratch=shot.scratch, report=shot.report)
    # Frames were sharpened one by one; a last vote makes them agree again.
    return run_turn(vote_on_borders, "edges_agreed", frames, stereo.cameras, sharp, stereo.confidence,
                    stereo.motion_mask, shot.scratch, lambda done: None)


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
