"""The cameras that a job gives, as the engine takes them."""

from __future__ import annotations

import numpy as np

from ..contract import Job, JobFolder, Settings, StereoDiffError, distortion_fault, read_cameras
from ..media.frames import Raster
from ..solution import KnownCameras, KnownLens


def read_known_cameras(job: Job, folder: JobFolder, raster: Raster) -> KnownCameras | None:
    """The cameras of the job's frames in pixels of the raster; None to solve. Raises StereoDiffError "cameras_..."."""
    if not job.cameras:
        return None
    given = read_cameras(folder.cameras_file)
    given.refuse_other_picture(raster.clip_width, raster.clip_height)
    frames = given.of_frames(job.frame_numbers, job.clip.number_of(0))
    scale = np.tile([raster.width / given.width, raster.height / given.height], 2)
    lens = np.array([np.ones(4) if one is None else scale * (one.fx, one.fy, one.cx, one.cy) for one in frames])
    poses = np.array([np.eye(4) if one is None else one.camera_to_world for one in frames], np.float64)
    return KnownCameras(poses, lens, np.array([one is not None for one in frames]), given.distortion)


def placement_of(known: KnownCameras) -> tuple[tuple[float, ...], ...]:
    """Where the first of them stands in their world, as contract.Result has it."""
    return tuple(map(tuple, known.camera_to_world[0].tolist()))


def known_lens(settings: Settings, raster: Raster) -> KnownLens | None:
    """In pixels of the raster, if the settings name it. Raises StereoDiffError "settings_invalid" for a lens that would
    fold the picture over."""
    if settings.focal_mm is None:
        return None
    focal_px, axis = settings.focal_mm / settings.sensor_mm * raster.width, None
    if settings.principal_point_px is not None:
        x, y = settings.principal_point_px
        axis = x * raster.width / raster.clip_width, y * raster.height / raster.clip_height
    lens = KnownLens(focal_px, axis, settings.known_distortion, settings.sensor_mm)
    if lens.distortion is not None:
        fault = distortion_fault(lens.distortion, raster.width, raster.height, lens_intrinsics(lens, raster))
        if fault:
            raise StereoDiffError("settings_invalid", fault)
    return lens


def lens_intrinsics(lens: KnownLens, raster: Raster) -> tuple[float, float, float, float]:
    """fx, fy, cx, cy in pixels of the raster."""
    cx, cy = lens.principal_point or (0.5 * raster.width, 0.5 * raster.height)
    return lens.focal_px, lens.focal_px * raster.pixel_aspect, cx, cy
