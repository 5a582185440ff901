"""What a job folder is given when its clip is solved: the products, pictures for looking, and what its result says."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..contract import ENGINE_VERSION, ClipSource, FrameResult, Job, JobFolder, LensResult, Result, WeightsUsed
from ..contract.guarded_files import TEMPORARY
from ..media.color import expose, light_from_srgb
from ..media.frames import ClipInfo
from ..pipeline import Estimate
from ..quality.spectrum import mean_disparities
from ..quality.static_spectrum import static_spectrum
from ..solution import CameraSolution
from ..storage import RunContext
from . import lens_maps, products
from .event_report import EventReport
from .reading import Request

DEPTH_PRODUCTS = ("depth", "confidence", "motion_mask")
PLATE_PRODUCTS, MESH_DEPTH = ("plate_depth", "edge"), "mesh_depth"


def publish(request: Request, frames: np.ndarray, estimate: Estimate, weights: tuple[WeightsUsed, ...],
            context: RunContext, report: EventReport) -> Result:
    """Write every file of the job folder but the result's own, and say what belongs into that.

    frames: (T,H,W,3) uint8. weights: that the estimate was made with. context: of stage 2. Raises StereoDiffError
    "disk_full", "output_not_writable" or, for depth that is nowhere valid, "result_invalid".
    """
    folder, numbers, depth = request.folder, request.job.file_numbers, estimate.depth
    report.stage("write", len(numbers))
    if not products.has_begun(context.scratch):
        discard_products(folder)  # of an earlier run on other footage
    if depth is not None:
        if estimate.plate_depth is not None:
            context = replace(context, cores=estimate.plate_depth.cores)
        products.write_depth_products(folder, numbers, replace(estimate.stereo, depth=depth), weights, context,
                                      _of_plate(estimate), estimate.stereo.is_sky)
    else:
        report.progress(len(numbers))
    if len(estimate.cameras.points):
        products.write_points(folder.file(folder.points_file), estimate.cameras.points * estimate.cameras.unit,
                              as_filmed(point_colors(frames, estimate.cameras), request.exposure_ev))
    middle = len(numbers) // 2
    products.write_preview_image(folder.file(folder.preview_image), frames[middle],
                                 None if depth is None else depth[middle])
    products.write_preview_movie(folder.file(folder.preview_movie), frames, depth, request.info.fps)
    _write_camera_plot(request, estimate)
    if estimate.refined_depth is not None:
        _write_plot(request.job, folder, estimate)
    return _result(request, estimate, weights, report)


def _of_plate(estimate: Estimate) -> dict[str, products.FramesOfDepth]:
    """PLATE_PRODUCTS, where there are any."""
    plate_depth = estimate.plate_depth
    return {} if plate_depth is None else dict(zip(PLATE_PRODUCTS, (plate_depth, plate_depth.edges), strict=True))


def _write_camera_plot(request: Request, estimate: Estimate) -> None:
    """How well the camera fits, if points tell. Loaded only here, because drawing takes a second to load."""
    from ..quality.plots import write_camera_plot
    cameras, folder = estimate.cameras, request.folder
    if np.isfinite(cameras.reprojection_px).any():
        write_camera_plot(folder.file(folder.camera_plot_file),
                          reprojection_px=request.raster.plate_scale * cameras.reprojection_px,
                          solved=cameras.solved, first_frame=request.job.plate_numbers[0])


def _write_plot(job: Job, folder: JobFolder, estimate: Estimate) -> None:
    """What stage 2 did to the flicker. Loaded only here, because drawing takes a second to load."""
    from ..quality.plots import write_refinement_plot
    cameras, stereo = estimate.cameras, estimate.stereo
    found = static_spectrum(stereo.depth, estimate.refined_depth, stereo.confidence, stereo.motion_mask,
                            cameras.camera_to_world, cameras.intrinsics, cameras.lens.distortion,
                            cameras.rolling_shutter((stereo.depth.shape[2], stereo.depth.shape[1])))
    stereo_mean, refined_mean = mean_disparities(stereo.depth, estimate.refined_depth)
    seams = estimate.refinement.seam_frames if estimate.refinement else ()
    write_refinement_plot(folder.file(folder.plot_file), spectrum=found, stereo_disparity=stereo_mean,
                          refined_disparity=refined_mean, first_frame=job.plate_numbers[0],
                          seams=tuple(job.clip.number_of(frame) for frame in seams))


def point_colors(frames: np.ndarray, cameras: CameraSolution) -> np.ndarray:
    """(N,3) uint8: every point's color in the frame where it is first seen; gray if it is seen in none."""
    colors = np.full((len(cameras.points), 3), 128, np.uint8)
    is_colored = np.zeros(len(cameras.points), bool)
    height, width = frames.shape[1:3]
    for frame, (points, pixels) in zip(frames, cameras.observations, strict=True):
        new = ~is_colored[points]
        cols = np.clip(pixels[new, 0].astype(int), 0, width - 1)
        rows = np.clip(pixels[new, 1].astype(int), 0, height - 1)
        colors[points[new]] = frame[rows, cols]
        is_colored[points[new]] = True
    return colors


def as_filmed(colors: np.ndarray, exposure_ev: float) -> np.ndarray:
    """(N,3) uint8 sRGB without the stops that were added for the solve: as Blender shows the plate."""
    if not exposure_ev:
        return colors
    return expose(light_from_srgb(colors / np.float32(255.0)), -exposure_ev)


def _result(request: Request, estimate: Estimate, weights: tuple[WeightsUsed, ...], report: EventReport) -> Result:
    job, folder, info, raster = request.job, request.folder, request.info, request.raster
    lens, maps = _with_maps(request, estimate, weights)
    return Result(
        job_id=job.id, clip=_clip_as_read(job.clip, info), width=raster.width, height=raster.height,
        clip_width=raster.clip_width, clip_height=raster.clip_height, clip_pixel_aspect=raster.clip_pixel_aspect,
        fps=info.fps, stereo=job.settings.stereo, refine=job.settings.refine, camera_kind=estimate.cameras.kind,
        frames=tuple(_frame_result(job, folder, index, estimate, own) for index, own in enumerate(maps)),
        quality=estimate.quality,
        depth_range=_depth_range(estimate),
        plate_size=None if estimate.plate_depth is None else estimate.plate_depth.size[::-1],
        warnings=report.warnings, points=_relative_if_there(folder, folder.points_file),
        preview_image=_relative_if_there(folder, folder.preview_image),
        preview_movie=_relative_if_there(folder, folder.preview_movie),
        refinement=estimate.refinement, plot=_relative_if_there(folder, folder.plot_file),
        camera_plot=_relative_if_there(folder, folder.camera_plot_file),
        lens=lens, weights=weights, timings_s=report.timings_s(),
        engine_version=ENGINE_VERSION)


def _with_maps(request: Request, estimate: Estimate, weights: tuple[WeightsUsed, ...]
               ) -> tuple[LensResult, list[dict[str, str]]]:
    """The lens, with its ST maps of the middle frame written; and each frame's own, where those do not serve it."""
    raster, cameras, attributes = request.raster, estimate.cameras, products.weights_attributes(weights)
    size = (raster.clip_width, raster.clip_height)
    on_clip = cameras.intrinsics * np.tile(np.divide(size, (raster.width, raster.height)), 2)
    lens, middle, numbers = cameras.lens, on_clip[len(on_clip) // 2], request.job.file_numbers
    if lens.distortion is None or not lens_maps.maps_differ(lens.distortion, on_clip, size):
        return lens_maps.write_lens_maps(request.folder, lens, middle, size, attributes), [{} for _ in numbers]
    overscan = lens_maps.common_overscan(lens.distortion, on_clip, size)
    lens = lens_maps.write_lens_maps(request.folder, lens, middle, size, attributes, overscan)
    return lens, lens_maps.write_frame_maps(request.folder, lens, on_clip, size, numbers, attributes)


def _depth_range(estimate: Estimate) -> tuple[float, float] | None:
    if estimate.stereo is None:
        return None
    near, far = products.depth_range(estimate.depth, estimate.stereo.confidence)
    return near * estimate.cameras.unit, far * estimate.cameras.unit


def _frame_result(job: Job, folder: JobFolder, index: int, estimate: Estimate, maps: dict[str, str]) -> FrameResult:
    fx, fy, cx, cy = (float(value) for value in estimate.cameras.intrinsics[index])
    camera = estimate.cameras.camera_to_world[index].copy()
    camera[:3, 3] *= estimate.cameras.unit
    reprojection = float(estimate.cameras.reprojection_px[index])
    files = dict.fromkeys(DEPTH_PRODUCTS)
    if estimate.depth is not None:
        number = job.file_numbers[index]
        written = (*DEPTH_PRODUCTS, MESH_DEPTH, *(() if estimate.plate_depth is None else PLATE_PRODUCTS))
        files = {name: folder.relative(folder.product_file(name, number)) for name in written}
    return FrameResult(job.frame_numbers[index], fx, fy, cx, cy,
                       tuple(tuple(float(value) for value in row) for row in camera),
                       reprojection_px=reprojection if math.isfinite(reprojection) else None, **files, **maps)


def _clip_as_read(clip: ClipSource, info: ClipInfo) -> ClipSource:
    return replace(clip, width=info.width, height=info.height, pixel_aspect=info.pixel_aspect, fps=info.fps)


def _relative_if_there(folder: JobFolder, path: Path) -> str | None:
    return folder.relative(path) if folder.files.is_file(folder.relative(path)) else None


def discard_products(folder: JobFolder) -> None:
    """Remove everything a solve writes except job.json, events and log; a link in its place, but not what it leads to.

    Parameters
    ----------
    folder : JobFolder
        Of the job.

    Raises
    ------
    OSError
        If something cannot be removed.
    """
    for name in (*DEPTH_PRODUCTS, *PLATE_PRODUCTS, MESH_DEPTH, folder.undistort_file.parent.name):
        folder.files.remove_tree(name)
    for path in (folder.points_file, folder.preview_image, folder.preview_movie, folder.plot_file,
                 folder.camera_plot_file, folder.result_file):
        folder.files.unlink(folder.relative(path))
        folder.files.unlink(folder.relative(path) + TEMPORARY)
