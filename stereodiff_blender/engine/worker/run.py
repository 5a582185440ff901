"""One job from its folder back into its folder: contract in, pipeline, contract out.

The one place where exceptions become error codes, and the only writer of a job folder while it is solved.
"""

from __future__ import annotations

import os
import shutil
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TextIO

import numpy as np

from ..contract import MIN_FRAMES, Distortion, Event, Job, JobFolder, Result, Settings, StereoDiffError
from ..contract.disk_use import result_bytes, scratch_bytes
from ..contract.failures import error_from_exception
from ..contract.footage_fingerprint import fingerprint, is_other_footage
from ..contract.guarded_files import GuardedFolder
from ..contract.job_files.caches import RESERVED, find_cache, make_cache
from ..contract.job_files.lock import beating, locked
from ..contract.redaction import traceback_text
from ..media.frames import ClipInfo, Raster, check_files, plan_raster, probe_clip
from ..media.mattes import examine_matte
from ..memory import memory_bytes
from ..parallel import ONE_CORE, Cores
from ..pipeline import estimate_depth, load_networks, refuse_missing
from ..solution import KnownCameras
from ..storage import RunContext
from .event_report import EventReport
from .known_cameras import known_lens, lens_intrinsics, placement_of, read_known_cameras
from .lens_maps import bytes_of_frame_maps, bytes_of_lens_maps
from .picture_so_far import PictureSoFar
from .provenance import refuse_changed_footage
from .publication import discard_products, publish
from .reading import (
    Request,
    exposed,
    read_masks,
    read_plate_masks,
    read_plates,
)
from .workspace import Workspace

__all__ = ["discard_products", "examine", "run"]

# Share of each stage in the time of a whole job, measured on two cores: draft on 40 frames of 480x270, standard on 48
# of 640x360, high on 40 and 48 of 960x540.
PLANS = {
    "draft": (("read", 0.01), ("track", 0.05), ("solve", 0.11), ("depth", 0.48), ("motion", 0.05), ("borders", 0.19),
              ("refine", 0.09), ("write", 0.02)),
    "standard": (("read", 0.01), ("track", 0.07), ("solve", 0.09), ("depth", 0.43), ("motion", 0.10),
                 ("borders", 0.12), ("refine", 0.11), ("write", 0.07)),
    "high": (("read", 0.01), ("track", 0.03), ("solve", 0.03), ("depth", 0.57), ("motion", 0.06), ("borders", 0.14),
             ("refine", 0.13), ("write", 0.03)),
}

# On a CPU the network is nearly all of it; on a GPU about half.
MONST3R_PLAN = (("read", 0.01), ("match", 0.80), ("solve", 0.04), ("motion", 0.08), ("refine", 0.05), ("write", 0.02))
MONST3R_REFINED_PLAN = (*MONST3R_PLAN[:4], ("track", 0.03), *MONST3R_PLAN[4:])

# Of an HD plate at Standard.
PLATE_DEPTH_SHARE = 0.25

# In place of the weight-free refinement; on a GPU, after either stage 1.
REFINE_PLANS = {"none": (), "depthcrafter": (("encode", 0.10), ("refine", 0.25))}

RESERVED_BYTES = 262_144

# Of memory, for each pixel of a frame that is worked on at once, measured; and how much of what is free they may take.
FRAME_BYTES_PER_PIXEL, MEMORY_SHARE = 750, 0.5


def run(folder: str | os.PathLike, *, cores: Cores = ONE_CORE, watch: Callable[[Event], None] | None = None,
        log: TextIO | None = None) -> Result:
    """Solve the job in folder and publish its result.

    A run that was broken off, in whatever way, is gone on with from the last unit of work that it finished; a failed
    run leaves what it has for that, in the cache.

    Parameters
    ----------
    folder : str or PathLike
        The job's folder, with a job.json.
    cores : Cores
        How many frames are worked on at once; the result does not depend on it.
    watch : Callable or None
        Called with every event as it is written.
    log : TextIO or None
        Where a traceback goes; None: standard error.

    Returns
    -------
    Result
        As it was written to the folder.

    Raises
    ------
    StereoDiffError
        After the failure is in the folder's events. Left alone is a folder that has no job.json ("job_missing") or
        holds a result already ("output_in_use"), one where another worker is at work ("job_locked") and, but for the
        event, one where a link stands in place of a file ("job_folder_unsafe").
    """
    job_folder = JobFolder(Path(folder).resolve())
    if job_folder.files.stat(job_folder.result_file.name) is not None:
        raise StereoDiffError("output_in_use", f"{job_folder.path} holds a result already.")
    if not job_folder.files.is_file(job_folder.job_file.name):
        job_folder.read_job()
    log = log or sys.stderr
    picture = PictureSoFar(job_folder, log)
    report = EventReport(job_folder, watch, picture)
    with locked(job_folder) as is_locked, beating(job_folder, report.steps):
        job = _read_job(job_folder, report)
        try:
            cache = _begin(job, job_folder, report, is_locked)
            with picture:
                result = _run(job, job_folder, cache, cores, report, log)
        except Exception as error:
            raise _record_failure(error, job_folder, report, log) from error
        report.finished()
    return result


def _read_job(folder: JobFolder, report: EventReport) -> Job:
    """Nothing is cleared up when this fails: a folder without a good job.json may be anything."""
    try:
        return folder.read_job()
    except StereoDiffError as error:
        if folder.files.is_file(folder.job_file.name):
            report.failed(error)
        raise


def _begin(job: Job, folder: JobFolder, report: EventReport, is_locked: bool) -> GuardedFolder:
    """Nothing is written, made or removed where a link stands in a file's place. Returns the cache."""
    folder.refuse_unsafe()
    folder.files.unlink(folder.cancelled_file.name)  # of an earlier run
    cache = make_cache(folder, job.id)
    cache.refuse_unsafe_below()
    cache.write_bytes(RESERVED, b"\0" * RESERVED_BYTES)
    report.started(plan_of(job.settings))
    if not is_locked:
        report.note("This folder cannot be locked: see to it that no other Blender solves in it.")
    return cache


def _run(job: Job, folder: JobFolder, cache: GuardedFolder, cores: Cores, report: EventReport,
         log: TextIO) -> Result:
    info, raster = examine(job)
    found = fingerprint(job.clip, job.frame_numbers)
    if is_other_footage(job.clip.fingerprint, found):
        report.note("The footage is not what it was when this job was made. It is solved as it is now.")
    workspace = Workspace.from_job(job, folder, cache, raster)
    if workspace.stereo_from is not None:
        log.write(f"Stage 1 was taken over from the job {workspace.stereo_from}.\n")
    result = _solve(Request(job, folder, info, raster), workspace, cores, report)
    result = replace(result, clip=replace(result.clip, fingerprint=found), stereo_from=workspace.stereo_from)
    folder.write_result(result)
    workspace.finish()
    cache.unlink(RESERVED)
    return result


def plan_of(settings: Settings) -> tuple[tuple[str, float], ...]:
    """Stages in order, with their share of the expected time."""
    plan = PLANS[settings.quality]
    if settings.stereo == "monst3r":
        plan = MONST3R_REFINED_PLAN if settings.refine_cameras else MONST3R_PLAN
    stages = []
    for entry in plan:
        stages += REFINE_PLANS.get(settings.refine, (entry,)) if entry[0] == "refine" else (entry,)
    return _with_plate_depth(stages) if settings.depth_size == "plate" else tuple(stages)


def _with_plate_depth(stages: list[tuple[str, float]]) -> tuple[tuple[str, float], ...]:
    """Depth at the plate's size is made while it is written."""
    return tuple((name, PLATE_DEPTH_SHARE if name == "write" else share) for name, share in stages)


# --- The job, step by step -------------------------------------------------------------------------------------

def _solve(request: Request, workspace: Workspace, cores: Cores, report: EventReport) -> Result:
    job, raster = request.job, request.raster
    known = read_known_cameras(job, request.folder, raster)
    _check_disk_space(request, known, workspace.cache)
    networks = load_networks(job.settings, job.models_folder)
    cores = within_memory(cores, raster)
    with workspace.input.relieved(), cores.in_opencv():
        # Before the frames, so that a matte that cannot be used is found out at once.
        masks = read_masks(request, workspace.input, report)  # (T,H,W) uint8, or None
        plate_masks = read_plate_masks(request, workspace.input, report)  # (T,h,w) uint8, or None
        request = exposed(request, report)
        frames, plates = read_plates(request, workspace.input, report)  # (T,H,W,3), (T,h,w) uint8
        refuse_changed_footage(job, request.folder, raster, workspace.input_key)
        context = RunContext(workspace.stereo, report, job.first_frame, workspace.refine, job.plate_numbers[0],
                             raster.plate_scale, plates, plate_masks, cores)
        estimate = estimate_depth(frames, job.settings, masks=masks, pixel_aspect=raster.pixel_aspect,
                                  lens=known_lens(job.settings, raster), known=known, networks=networks,
                                  context=context)
        result = publish(request, frames, estimate, networks.used, context.of_stage_2, report)
        return result if known is None else replace(result, placement=placement_of(known))


def within_memory(cores: Cores, raster: Raster) -> Cores:
    """As many as there is memory for; all of them where the system does not tell."""
    _, free = memory_bytes()
    if free is None:
        return cores
    return cores.fewer(int(MEMORY_SHARE * free / (FRAME_BYTES_PER_PIXEL * raster.width * raster.height)))


def examine(job: Job) -> tuple[ClipInfo, Raster]:
    """Look at everything that can be refused before any work: settings, clip, frame range, size, a matte's footage.

    Parameters
    ----------
    job : Job
        What is asked for.

    Returns
    -------
    tuple of ClipInfo and Raster
        What the footage says of itself, and the raster that it will be worked on.

    Raises
    ------
    StereoDiffError
        What Job.validate raises, "torch_missing", "weights_missing", "weights_damaged",
        "clip_...", "picture_too_large", "sequence_gap", "frame_range_invalid", "matte_..." and the like.
    """
    job.validate()
    refuse_missing(job.settings, job.models_folder)
    info = probe_clip(job.clip, job.settings.max_pixels)
    _check_length(job, info)
    check_files(job.clip, job.frame_numbers)
    if job.matte is not None:
        examine_matte(job.matte, job.frame_numbers, info, job.settings.max_pixels, told_from=job.plate_numbers[0])
    raster = plan_raster(info, job.settings.working_side_px, job.settings.max_enlargement)
    known_lens(job.settings, raster)  # refuses one that folds the picture over
    return info, raster


def _check_length(job: Job, info: ClipInfo) -> None:
    if info.frame_count < MIN_FRAMES:
        raise StereoDiffError("clip_too_short", f"The clip has {info.frame_count} frame; a solve needs {MIN_FRAMES}.")
    if job.last_frame <= info.frame_count:
        return
    # Blender counts the frames of a file by its header: one that was cut short promises more than it has.
    code = "clip_truncated" if job.first_frame <= info.frame_count else "frame_range_invalid"
    raise StereoDiffError(code, f"Frames {job.plate_numbers[0]} to {job.plate_numbers[-1]} were asked for, but the "
                                f"clip ends at frame {job.clip.number_of(info.frame_count)}.")


# --- The folder around it --------------------------------------------------------------------------------------

def _check_disk_space(request: Request, known: KnownCameras | None, cache: GuardedFolder) -> None:
    """What an earlier run left counts as free: it is used, or written over."""
    folder, raster, frames = request.folder.path, request.raster, len(request.job.frame_numbers)
    there, sizes = cache.total_bytes(), ((raster.width, raster.height), raster.plate_size)
    settings = request.job.settings
    scratch = frames * scratch_bytes(*sizes, settings, has_matte=request.job.matte is not None)
    written = frames * result_bytes(*sizes, settings) + _map_bytes(request, known)
    if os.stat(folder).st_dev == os.stat(cache.path).st_dev:
        _refuse_full(folder, scratch + written, there)
    else:
        _refuse_full(cache.path, scratch, there)
        _refuse_full(folder, written, 0)


def _map_bytes(request: Request, known: KnownCameras | None) -> int:
    """What the lens's ST maps take; nothing of a lens that is known to have no distortion, or is taken as free of it.
    Those of every frame, of a zoom with distortion, only where it is given: hardly any lens that is yet to be found
    needs them.
    """
    raster, settings = request.raster, request.job.settings
    size = raster.clip_width, raster.clip_height
    if known is not None:
        distortion, intrinsics = known.distortion or Distortion(), np.median(known.intrinsics[known.known], axis=0)
    else:
        lens = known_lens(settings, raster)
        distortion, intrinsics = (None, None) if lens is None else (lens.distortion, lens_intrinsics(lens, raster))
    if (distortion is None and settings.stereo == "monst3r") or (distortion is not None and not distortion.bends):
        return 0
    to_clip = np.tile(np.divide(size, (raster.width, raster.height)), 2)
    of_clip = bytes_of_lens_maps(size, distortion, None if intrinsics is None else to_clip * intrinsics)
    of_frames = bytes_of_frame_maps(size, distortion, to_clip * known.intrinsics[known.known]) if known else 0
    return of_clip + of_frames


def _refuse_full(folder: Path, needed: float, there: int) -> None:
    free = shutil.disk_usage(folder).free + there
    if free < needed:
        raise StereoDiffError("disk_full", f"The solve needs about {needed / 1e6:.0f} MB, but {folder} has "
                                           f"{free / 1e6:.0f} MB left.")


# --- Failure ---------------------------------------------------------------------------------------------------

def _record_failure(error: Exception, folder: JobFolder, report: EventReport, log: TextIO) -> StereoDiffError:
    """The traceback to the log and a code and a sentence to the events. Returns the error to raise.

    The frames of a traceback hold memory-mapped files open, which Windows would not let anybody delete.
    """
    text = traceback_text(error)
    traceback.clear_frames(error.__traceback__)
    cache = find_cache(folder)
    if cache is not None:
        with suppress(OSError):
            cache.unlink(RESERVED)
    known = error_from_exception(error)
    log.write(text)
    try:
        report.failed(known)
    except OSError as unwritable:
        log.write(f"error {known.code}: {known.message} (the event could not be written: {unwritable})\n")
    return known
