"""What a job gives to be worked on: its frames, the artist's matte, and the lens, if it is known.

Provenance covers what is imported here, and below: provenance.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..contract import Job, JobFolder
from ..media.exposure import choose_exposure, takes_exposure
from ..media.frames import ClipInfo, Raster, check_not_frozen, read_frames
from ..media.mattes import read_matte
from ..report import Report
from ..storage import Scratch


@dataclass(frozen=True)
class Request:
    """A job that was examined. folder: where its result goes. info: of the clip. raster: that it is solved on.
    exposure_ev: stops added to its light."""

    job: Job
    folder: JobFolder
    info: ClipInfo
    raster: Raster
    exposure_ev: float = 0.0


def exposed(request: Request, report: Report) -> Request:
    """With the stops that the settings name or, where they name none, that the footage needs; which is told.

    Raises StereoDiffError "clip_...", as read_plates does.
    """
    job = request.job
    if job.settings.exposure_ev:
        is_light = takes_exposure(job.clip, job.frame_numbers, job.settings.max_pixels)
        return replace(request, exposure_ev=job.settings.exposure_ev if is_light else 0.0)
    stops = choose_exposure(job.clip, job.frame_numbers, job.settings.max_pixels)
    if stops:
        report.warn("exposure_chosen", f"The plate's light is far too {'dark' if stops > 0 else 'bright'} to match; it "
                                       f"was solved with Exposure {stops:+.0f}.")
    return replace(request, exposure_ev=stops)


def read_masks(request: Request, scratch: Scratch, report: Report) -> np.ndarray | None:
    """The artist's matte, (T,H,W) uint8, or None. Raises StereoDiffError "matte_..."."""
    job, raster = request.job, request.raster
    if job.matte is None:
        return None
    masks = scratch.allocate("matte", (len(job.frame_numbers), raster.height, raster.width), np.uint8)
    report.stage("read", len(masks))
    read_matte(job, request.folder, raster, masks, report)
    return masks


def read_plates(request: Request, scratch: Scratch, report: Report) -> np.ndarray:
    """The frames, (T,H,W,3) uint8; those that an earlier run has left, if it has left all. Raises StereoDiffError
    "clip_..."."""
    job, raster, numbers = request.job, request.raster, request.job.frame_numbers
    frames = scratch.open_array("frames", (len(numbers), raster.height, raster.width, 3), np.uint8)
    journal = scratch.journal("frames", lambda index: [frames[index]])
    report.stage("read", len(numbers))
    if journal.done == len(frames):
        report.progress(len(frames))
        return frames
    scratch.drop_journal("frames")  # a movie is read from its beginning
    journal = scratch.journal("frames", lambda index: [frames[index]])
    pictures = read_frames(job.clip, numbers, raster, exposure_ev=request.exposure_ev,
                           max_pixels=job.settings.max_pixels, report=report)
    for index, picture in enumerate(pictures):
        frames[index] = picture
        report.progress(index + 1)
    check_not_frozen(frames)
    for index in range(len(frames)):
        journal.note(index)
    return frames
