"""What a job gives to be worked on: its frames, the artist's matte, and the lens, if it is known.

Provenance covers what is imported here, and below: provenance.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..contract import Job, JobFolder
from ..contract.sizes import has_plate_depth, reads_plates
from ..media.exposure import choose_exposure, takes_exposure
from ..media.frames import ClipInfo, Raster, check_not_frozen, read_pictures, to_plate, to_raster
from ..media.mattes import read_matte, read_plate_matte
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


def read_plate_masks(request: Request, scratch: Scratch, report: Report) -> np.ndarray | None:
    """The artist's matte at the plate's size, (T,h,w) uint8, or None where depth of that size is not asked for, or is
    none. Raises StereoDiffError "matte_..."."""
    if not wants_plate_masks(request):
        return None
    job, size = request.job, request.raster.plate_size[::-1]
    masks = scratch.allocate("plate_matte", (len(job.frame_numbers), *size), np.uint8)
    report.stage("read", len(masks))
    read_plate_matte(job, request.folder, request.raster, masks, report)
    return masks


def wants_plate_masks(request: Request) -> bool:
    """Whether a matte is to be honored at the plate's size."""
    job = request.job
    return job.matte is not None and has_plate_depth(*_sizes(request), job.settings)


def read_plates(request: Request, scratch: Scratch, report: Report) -> tuple[np.ndarray, np.ndarray | None]:
    """The frames, (T,H,W,3) uint8, and the plates that tracks are measured in, (T,h,w) uint8 gray, or None where those
    show no more; as an earlier run has left them, if it has left all. Raises StereoDiffError "clip_..."."""
    job, raster, count = request.job, request.raster, len(request.job.frame_numbers)
    frames = scratch.open_array("frames", (count, raster.height, raster.width, 3), np.uint8)
    size = raster.plate_size[::-1]
    plates = scratch.open_array("plates", (count, *size), np.uint8) if wants_plates(request) else None
    arrays = [array for array in (frames, plates) if array is not None]
    journal = scratch.journal("frames", lambda index: [array[index] for array in arrays])
    report.stage("read", count)
    if journal.done == count:
        report.progress(count)
        return frames, plates
    scratch.drop_journal("frames")  # a movie is read from its beginning
    journal = scratch.journal("frames", lambda index: [array[index] for array in arrays])
    pictures = read_pictures(job.clip, job.frame_numbers, raster, exposure_ev=request.exposure_ev,
                             max_pixels=job.settings.max_pixels, report=report)
    for index, picture in enumerate(pictures):
        frames[index] = to_raster(picture, raster)
        if plates is not None:
            plates[index] = to_plate(picture, raster)
        report.progress(index + 1)
    check_not_frozen(frames)
    for index in range(count):
        journal.note(index)
    return frames, plates


def wants_plates(request: Request) -> bool:
    """Whether the plate shows more than the raster to what looks at it; the network of pointmaps tracks nothing."""
    return reads_plates(*_sizes(request), request.job.settings)


def _sizes(request: Request) -> tuple[tuple[int, int], tuple[int, int]]:
    """Of the raster and of the plate."""
    return (request.raster.width, request.raster.height), request.raster.plate_size
