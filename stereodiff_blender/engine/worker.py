"""One job from its folder back into its folder: contract in, pipeline, contract out.

The one place where exceptions become error codes, and the only writer of a job folder while it is solved.
"""

from __future__ import annotations

import errno
import math
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TextIO

import numpy as np

from . import products
from .contract import (
    ENGINE_VERSION,
    MIN_FRAMES,
    WARNING_CODES,
    ClipSource,
    Event,
    FrameResult,
    Job,
    JobFolder,
    Result,
    ResultWarning,
    Settings,
    StereoDiffError,
    WeightsUsed,
    write_refusal,
)
from .errors import WRITE_REFUSALS
from .frames import ClipInfo, Raster, check_not_frozen, plan_raster, probe_clip, read_frames
from .mattes import examine_matte, read_matte
from .networks import load_networks, refuse_missing
from .pipeline import Estimate, estimate_depth, refuse_unavailable
from .report import Report
from .scratch import DiskScratch
from .spectrum import mean_disparities, static_spectrum

EVENTS_PER_SECOND = 5.0
DEPTH_PRODUCTS = ("depth", "confidence", "motion_mask")
OPENCV_NO_MEMORY = -4

# Share of each stage in the time of a whole job, measured on two cores: draft on 40 frames of 480x270, standard on 48
# of 640x360. High is standard with the sharpening of borders added, whose share depends on the device.
PLANS = {
    "draft": (("read", 0.01), ("track", 0.05), ("solve", 0.11), ("depth", 0.48), ("motion", 0.05), ("borders", 0.19),
              ("refine", 0.09), ("write", 0.02)),
    "standard": (("read", 0.01), ("track", 0.03), ("solve", 0.05), ("depth", 0.50), ("motion", 0.04),
                 ("borders", 0.21), ("refine", 0.13), ("write", 0.03)),
    "high": (("read", 0.01), ("track", 0.01), ("solve", 0.01), ("depth", 0.14), ("motion", 0.01), ("borders", 0.06),
             ("edges", 0.72), ("refine", 0.03), ("write", 0.01)),
}

# On a CPU the network is nearly all of it; on a GPU about half.
MONST3R_PLAN = (("read", 0.01), ("match", 0.80), ("solve", 0.04), ("motion", 0.08), ("refine", 0.05), ("write", 0.02))
MONST3R_REFINED_PLAN = (*MONST3R_PLAN[:4], ("track", 0.03), *MONST3R_PLAN[4:])

# In place of the weight-free refinement; on a GPU, after either stage 1.
REFINE_PLANS = {"none": (), "depthcrafter": (("encode", 0.10), ("refine", 0.25))}

# What one pixel of one frame takes on disk. Scratch: 3 bytes of picture, 1 of a matte, 19 of measuring depth, 12 of
# refining it, by either way. Products, measured: floats that compress to about half, and the preview.
SCRATCH_BYTES_PER_PIXEL = 35
PRODUCT_BYTES_PER_PIXEL = 8


def run(folder: str | os.PathLike, *, watch: Callable[[Event], None] | None = None,
        log: TextIO | None = None) -> Result:
    """Solve the job in folder and publish its result.

    watch: called with every event as it is written. log: where a traceback goes (standard error).
    Raises StereoDiffError after the failure is in the folder's events; a failed run leaves job.json, events and log,
    but no result and no half products. A folder that holds a result already is left alone ("output_in_use").
    """
    job_folder = JobFolder(Path(folder).resolve())
    if job_folder.result_file.exists():
        raise StereoDiffError("output_in_use", f"{job_folder.path} holds a result already.")
    report, log = EventReport(job_folder, watch), log or sys.stderr
    job = _read_job(job_folder, report)
    try:
        result = _run(job, job_folder, report)
    except Exception as error:
        raise _record_failure(error, job_folder, report, log) from error
    except BaseException:  # Asked to end, or interrupted at the keyboard.
        _discard_everything(job_folder)
        raise
    _discard_scratch(job_folder)
    report.finished()
    return result


def _read_job(folder: JobFolder, report: EventReport) -> Job:
    """Nothing is cleared up when this fails: a folder without a good job.json may be anything."""
    try:
        return folder.read_job()
    except StereoDiffError as error:
        if folder.job_file.is_file():
            report.failed(error)
        raise


def _run(job: Job, folder: JobFolder, report: EventReport) -> Result:
    folder.cache.mkdir(exist_ok=True)
    report.started(plan_of(job.settings))
    result = _solve(job, folder, report)
    folder.write_result(result)
    return result


def plan_of(settings: Settings) -> tuple[tuple[str, float], ...]:
    """Stages in order, with their share of the expected time."""
    plan = PLANS[settings.quality]
    if settings.stereo == "monst3r":
        plan = MONST3R_REFINED_PLAN if settings.refine_cameras else MONST3R_PLAN
    stages = []
    for entry in plan:
        stages += REFINE_PLANS.get(settings.refine, (entry,)) if entry[0] == "refine" else (entry,)
    return tuple(stages)


# --- The job, step by step -------------------------------------------------------------------------------------

def _solve(job: Job, folder: JobFolder, report: EventReport) -> Result:
    info, raster = examine(job)
    _check_disk_space(folder.path, len(job.frame_numbers) * raster.width * raster.height)
    scratch = DiskScratch(_scratch_folder(folder))
    networks = load_networks(job.settings, job.models_folder)
    with scratch.relieved():
        masks = _read_matte(job, folder, raster, scratch, report)  # (T,H,W) uint8, or None
        frames = _read_frames(job, raster, scratch, report)  # (T,H,W,3) uint8
        estimate = estimate_depth(frames, job.settings, masks=masks, pixel_aspect=raster.pixel_aspect,
                                  focal_px=known_focal_px(job.settings, raster), first_frame=job.first_frame,
                                  networks=networks, scratch=scratch, report=report)
        result = _write_products(job, folder, info, raster, frames, estimate, report, networks.used)
        return replace(result, weights=networks.used)


def examine(job: Job) -> tuple[ClipInfo, Raster]:
    """Look at everything that can be refused before any work: settings, clip, frame range, size, a matte's footage.

    Raises StereoDiffError "torch_missing", "weights_missing", "clip_...", "frame_range_invalid", "matte_..." and
    the like.
    """
    job.validate()
    refuse_unavailable(job.settings)
    refuse_missing(job.settings, job.models_folder)
    info = probe_clip(job.clip)
    _check_length(job, info)
    if job.matte is not None:
        examine_matte(job.matte, job.frame_numbers, info)
    return info, plan_raster(info, job.settings.working_side_px, job.settings.max_enlargement)


def _check_length(job: Job, info: ClipInfo) -> None:
    if info.frame_count < MIN_FRAMES:
        raise StereoDiffError("clip_too_short", f"The clip has {info.frame_count} frame; a solve needs {MIN_FRAMES}.")
    if job.last_frame <= info.frame_count:
        return
    # Blender counts the frames of a file by its header: one that was cut short promises more than it has.
    code = "clip_truncated" if job.first_frame <= info.frame_count else "frame_range_invalid"
    raise StereoDiffError(code, f"Frames {job.first_frame} to {job.last_frame} were asked for, but the clip ends at "
                                f"frame {info.frame_count}.")


def known_focal_px(settings: Settings, raster: Raster) -> float | None:
    """The lens in pixels of the raster, if the settings name it."""
    if settings.focal_mm is None:
        return None
    return settings.focal_mm / settings.sensor_mm * raster.width


def _read_matte(job: Job, folder: JobFolder, raster: Raster, scratch: DiskScratch,
                report: Report) -> np.ndarray | None:
    """Before the frames, so that a matte that cannot be used is found out at once."""
    if job.matte is None:
        return None
    masks = scratch.allocate("matte", (len(job.frame_numbers), raster.height, raster.width), np.uint8)
    report.stage("read", len(masks))
    read_matte(job, folder, raster, masks, report)
    return masks


def _read_frames(job: Job, raster: Raster, scratch: DiskScratch, report: Report) -> np.ndarray:
    numbers = job.frame_numbers
    frames = scratch.allocate("frames", (len(numbers), raster.height, raster.width, 3), np.uint8)
    report.stage("read", len(numbers))
    pictures = read_frames(job.clip, numbers, raster, exposure_ev=job.settings.exposure_ev)
    for index, picture in enumerate(pictures):
        frames[index] = picture
        report.progress(index + 1)
    check_not_frozen(frames)
    return frames


def _write_products(job: Job, folder: JobFolder, info: ClipInfo, raster: Raster, frames: np.ndarray,
                    estimate: Estimate, report: EventReport, weights: tuple[WeightsUsed, ...]) -> Result:
    numbers = job.frame_numbers
    report.stage("write", len(numbers))
    has_depth = estimate.depth is not None
    if has_depth:
        products.write_depth_products(folder, numbers, estimate.depth, estimate.confidence, estimate.motion_mask,
                                      report, weights)
    else:
        report.progress(len(numbers))
    if len(estimate.cameras.points):
        products.write_points(folder.points_file, estimate.cameras.points, point_colours(frames, estimate.cameras))
    middle = len(numbers) // 2
    products.write_preview_image(folder.preview_image, frames[middle], estimate.depth[middle] if has_depth else None)
    products.write_preview_movie(folder.preview_movie, frames, estimate.depth, info.fps)
    if estimate.refined_depth is not None:
        _write_plot(job, folder, estimate)
    return _result(job, folder, info, raster, estimate, report)


def _write_plot(job: Job, folder: JobFolder, estimate: Estimate) -> None:
    """What stage 2 did to the flicker. Loaded only here, because drawing takes a second to load."""
    from .plots import write_refinement_plot
    cameras = estimate.cameras
    found = static_spectrum(estimate.stereo_depth, estimate.refined_depth, estimate.confidence, estimate.motion_mask,
                            cameras.camera_to_world, cameras.intrinsics)
    stereo_mean, refined_mean = mean_disparities(estimate.stereo_depth, estimate.refined_depth)
    write_refinement_plot(folder.plot_file, spectrum=found, stereo_disparity=stereo_mean,
                          refined_disparity=refined_mean, first_frame=job.first_frame,
                          seams=estimate.refinement.seam_frames if estimate.refinement else ())


def point_colours(frames: np.ndarray, cameras) -> np.ndarray:
    """(N,3) uint8: every point's colour in the frame where it is first seen; grey if it is seen in none."""
    colours = np.full((len(cameras.points), 3), 128, np.uint8)
    is_coloured = np.zeros(len(cameras.points), bool)
    height, width = frames.shape[1:3]
    for frame, (points, pixels) in zip(frames, cameras.observations, strict=True):
        new = ~is_coloured[points]
        cols = np.clip(pixels[new, 0].astype(int), 0, width - 1)
        rows = np.clip(pixels[new, 1].astype(int), 0, height - 1)
        colours[points[new]] = frame[rows, cols]
        is_coloured[points[new]] = True
    return colours


def _result(job: Job, folder: JobFolder, info: ClipInfo, raster: Raster, estimate: Estimate,
            report: EventReport) -> Result:
    has_depth = estimate.depth is not None
    return Result(
        job_id=job.id, clip=_clip_as_read(job.clip, info), width=raster.width, height=raster.height,
        clip_width=raster.clip_width, clip_height=raster.clip_height, clip_pixel_aspect=raster.clip_pixel_aspect,
        fps=info.fps, stereo=job.settings.stereo, refine=job.settings.refine, camera_kind=estimate.cameras.kind,
        frames=tuple(_frame_result(folder, frame, index, estimate) for index, frame in enumerate(job.frame_numbers)),
        quality=estimate.quality,
        depth_range=products.depth_range(estimate.depth, estimate.confidence) if has_depth else None,
        warnings=report.warnings, points=_relative_if_there(folder, folder.points_file),
        preview_image=_relative_if_there(folder, folder.preview_image),
        preview_movie=_relative_if_there(folder, folder.preview_movie),
        refinement=estimate.refinement, plot=_relative_if_there(folder, folder.plot_file),
        timings_s=report.timings_s(), engine_version=ENGINE_VERSION)


def _frame_result(folder: JobFolder, frame: int, index: int, estimate: Estimate) -> FrameResult:
    fx, fy, cx, cy = (float(value) for value in estimate.cameras.intrinsics[index])
    camera = estimate.cameras.camera_to_world[index]
    reprojection = float(estimate.cameras.reprojection_px[index])
    files = dict.fromkeys(DEPTH_PRODUCTS)
    if estimate.depth is not None:
        files = {name: folder.relative(folder.product_file(name, frame)) for name in DEPTH_PRODUCTS}
    return FrameResult(frame, fx, fy, cx, cy, tuple(tuple(float(value) for value in row) for row in camera),
                       reprojection_px=reprojection if math.isfinite(reprojection) else None, **files)


def _clip_as_read(clip: ClipSource, info: ClipInfo) -> ClipSource:
    return ClipSource(clip.kind, clip.path, clip.first_number, info.width, info.height, info.pixel_aspect, info.fps)


def _relative_if_there(folder: JobFolder, path: Path) -> str | None:
    return folder.relative(path) if path.is_file() else None


# --- The folder around it --------------------------------------------------------------------------------------

def _check_disk_space(folder: Path, pixels: int) -> None:
    needed = pixels * (SCRATCH_BYTES_PER_PIXEL + PRODUCT_BYTES_PER_PIXEL)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise StereoDiffError("disk_full", f"The solve needs about {needed / 1e6:.0f} MB, but {folder} has "
                                           f"{free / 1e6:.0f} MB left.")


def _scratch_folder(folder: JobFolder) -> Path:
    return folder.cache / "scratch"


def _discard_scratch(folder: JobFolder) -> None:
    shutil.rmtree(_scratch_folder(folder), ignore_errors=True)
    if folder.cache.is_dir() and not any(folder.cache.iterdir()):
        folder.cache.rmdir()


def _discard_everything(folder: JobFolder) -> None:
    _discard_scratch(folder)
    discard_products(folder)


def discard_products(folder: JobFolder) -> None:
    """Remove everything a solve writes except job.json, events and log."""
    for name in DEPTH_PRODUCTS:
        shutil.rmtree(folder.path / name, ignore_errors=True)
    for path in (folder.points_file, folder.preview_image, folder.preview_movie, folder.plot_file, folder.result_file,
                 folder.result_file.with_name(folder.result_file.name + ".tmp")):
        path.unlink(missing_ok=True)


# --- Failure ---------------------------------------------------------------------------------------------------

def _record_failure(error: Exception, folder: JobFolder, report: EventReport, log: TextIO) -> StereoDiffError:
    """Clear up, then the traceback to the log and a code and a sentence to the events. Returns the error to raise.

    In this order: on a full disk neither log nor events could be written before there is room again, and the frames
    of a traceback hold memory-mapped files open, which Windows would not delete.
    """
    text = "".join(traceback.format_exception(error))
    traceback.clear_frames(error.__traceback__)
    _discard_everything(folder)
    known = error_with_code(error)
    log.write(text)
    try:
        report.failed(known)
    except OSError as unwritable:
        log.write(f"error {known.code}: {known.message} (the event could not be written: {unwritable})\n")
    return known


def error_with_code(error: Exception) -> StereoDiffError:
    """What any exception of the engine means to the artist."""
    if isinstance(error, StereoDiffError):
        return error
    if isinstance(error, MemoryError) or _is_memory_error_of_a_library(error):
        return StereoDiffError("out_of_memory", "The solve needed more memory than there is.")
    if isinstance(error, OSError) and error.errno in WRITE_REFUSALS:
        return write_refusal(error, error.filename or "a file of the job")
    kind = type(error)
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
    return StereoDiffError("internal_error", f"There was a {name}; the log has the details.")


def _is_memory_error_of_a_library(error: Exception) -> bool:
    """OpenCV and torch have exceptions of their own, known by name so that neither is loaded for it."""
    kind = type(error)
    if kind.__name__ == "OutOfMemoryError" or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    return kind.__module__.startswith("cv2") and getattr(error, "code", None) == OPENCV_NO_MEMORY


# --- Report ----------------------------------------------------------------------------------------------------

class EventReport(Report):
    """Writes what the engine reports as events of the job folder, and keeps warnings and times for the result."""

    def __init__(self, folder: JobFolder, watch: Callable[[Event], None] | None = None):
        self.warnings: tuple[ResultWarning, ...] = ()
        self._folder = folder
        self._watch = watch
        self._stage: str | None = None
        self._total = 0
        self._stage_began_s = 0.0
        self._last_progress_s = 0.0
        self._timings_s: dict[str, float] = {}

    def started(self, plan: tuple[tuple[str, float], ...]) -> None:
        self._write("started", pid=os.getpid(), plan=plan)

    def stage(self, stage: str, total: int) -> None:
        self._close_stage()
        self._stage, self._total, self._stage_began_s = stage, int(total), time.monotonic()
        self._write("stage", stage=stage, total=int(total))

    def progress(self, done: int) -> None:
        """At most EVENTS_PER_SECOND are written, but always a stage's last."""
        now = time.monotonic()
        if now - self._last_progress_s < 1.0 / EVENTS_PER_SECOND and done < self._total:
            return
        self._last_progress_s = now
        self._write("progress", stage=self._stage, done=int(done), total=self._total)

    def note(self, message: str) -> None:
        self._write("note", message=message)

    def warn(self, code: str, message: str) -> None:
        if code not in WARNING_CODES:
            raise ValueError(f"unknown warning code {code!r}")
        self.warnings += (ResultWarning(code, message),)
        self._write("warning", code=code, message=message)

    def failed(self, error: StereoDiffError) -> None:
        self._write("failed", code=error.code, message=error.message, shots=error.shots or None)

    def finished(self) -> None:
        self._write("finished")

    def timings_s(self) -> dict[str, float]:
        """Seconds spent in each stage so far, by the clock on the wall."""
        self._close_stage()
        return {stage: round(seconds, 3) for stage, seconds in self._timings_s.items()}

    def _close_stage(self) -> None:
        now = time.monotonic()
        if self._stage is not None:
            spent = now - self._stage_began_s
            self._timings_s[self._stage] = self._timings_s.get(self._stage, 0.0) + spent
        self._stage_began_s = now

    def _write(self, kind: str, **values) -> None:
        event = Event(kind, time.time(), **values)
        self._folder.append_event(event)
        if self._watch is not None:
            self._watch(event)
