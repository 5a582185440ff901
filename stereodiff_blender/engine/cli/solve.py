"""The command that solves clips by hand, without Blender."""

from __future__ import annotations

import argparse
import io
import os
import re
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import TextIO

from ..contract import (
    ClipSource,
    Distortion,
    GivenCameras,
    Job,
    JobFolder,
    Matte,
    Quality,
    Result,
    StereoDiffError,
    as_matte_error,
    read_cameras,
    read_colmap_cameras,
    write_cameras,
    write_refusal,
)
from ..contract.footage_fingerprint import fingerprint, is_other_footage
from ..contract.guarded_files import TEMPORARY
from ..contract.job_files.caches import find_cache, make_cache
from ..contract.job_files.lock import locked
from ..media.frames import probe_clip, source_from_path
from ..parallel import Cores
from ..weights.command import accept_or_refuse
from ..weights.licences import cards_of
from ..worker import run as worker
from ..worker.workspace import discard_foreign
from .lens_file import with_lens_file
from .options import engine_settings, models_folder
from .progress import ProgressLine

__all__ = ["solve"]


def solve(options: argparse.Namespace, tell_failure: Callable[[Exception], None]) -> int:
    """Solve every clip of the command line; what is unfinished is gone on with, what is done is left alone.

    Parameters
    ----------
    options : argparse.Namespace
        Parsed, of add_solve.
    tell_failure : Callable
        Called with the exception of one clip among several; that of a single one is raised.

    Returns
    -------
    int
        The exit status: 0, or 1 if any of several clips failed.

    Raises
    ------
    Exception
        Of a single clip, what kept it from being solved; StereoDiffError if it was foreseen.
    """
    if len(options.clips) == 1:
        _solve_clip(options, options.clips[0], JobFolder(options.out.absolute()))
        return 0
    failed = []
    for clip, folder in zip(options.clips, _folders_of(options.clips, options.out.absolute()), strict=True):
        sys.stdout.write(f"{clip}\n")
        sys.stdout.flush()
        try:
            _solve_clip(options, clip, JobFolder(folder))
        except Exception as error:  # noqa: BLE001 - one clip's fault is not the next one's
            tell_failure(error)
            failed.append(clip)
    if failed:
        sys.stderr.write(f"{len(failed)} of {len(options.clips)} clips failed: {', '.join(failed)}\n")
    return 1 if failed else 0


def _folders_of(clips: list[str], out: Path) -> list[Path]:
    """A folder for each clip, named after it; the same for the same list."""
    names: list[str] = []
    for clip in clips:
        stem = re.sub(r"[^\w.-]+", "_", Path(clip).stem).strip(".") or "clip"
        count = sum(name == stem or name.startswith(f"{stem}-") for name in names)
        names.append(f"{stem}-{count + 1}" if count else stem)
    return [out / name for name in names]


def _solve_clip(options: argparse.Namespace, clip: str, folder: JobFolder) -> None:
    job = _job_from(options, clip, folder.path.name)
    accept_or_refuse(cards_of(job.settings), options.accept_licence)
    worker.examine(job)  # before an earlier result is cleared
    cameras = read_colmap_cameras(options.cameras.absolute(), job.clip, job.frame_numbers) if options.cameras else None
    if _is_solved_already(folder, job, cameras, options.overwrite):
        sys.stdout.write("\n".join([f"{folder.path} holds this very solve already, finished: nothing to do.",
                                    *_where_lines(folder, folder.read_result())]) + "\n")
        return
    make_cache(folder, folder.path.name, options.cache)
    with _open_log(folder) as log, ProgressLine() as line:
        result = worker.run(folder.path, cores=Cores.asked(options.cores), watch=line.show, log=log)
    sys.stdout.write("\n".join([*quality_lines(result), *_where_lines(folder, result)]) + "\n")


def _open_log(folder: JobFolder) -> TextIO:
    """Raises StereoDiffError "output_not_writable", "disk_full" or "job_folder_unsafe"."""
    try:
        return io.TextIOWrapper(folder.files.open_for_writing(folder.log_file.name, "append"), encoding="utf-8")
    except OSError as error:
        raise write_refusal(error, folder.path) from error


def _job_from(options: argparse.Namespace, clip_path: str, job_id: str) -> Job:
    clip = replace(source_from_path(clip_path), fps=options.fps, color_space=options.color_space,
                   ocio_config=_ocio_config(options))
    settings = engine_settings(options, focal_mm=options.focal_mm, sensor_mm=options.sensor_mm,
                               exposure_ev=options.exposure_ev,
                               principal_point_px=tuple(options.principal_point) if options.principal_point else None,
                               readout=options.readout)
    first, last = _clip_frames(clip, options.frames) or (1, probe_clip(clip, settings.max_pixels).frame_count)
    for name, is_given in (("--focal-mm", options.focal_mm is not None), ("--lens-file", options.lens_file),
                           ("--readout", options.readout is not None)):
        if options.cameras and is_given:
            raise StereoDiffError("settings_invalid", f"The model of --cameras has a lens of its own: leave {name} "
                                                      "out.")
    if options.lens_file:
        settings = with_lens_file(settings, options.lens_file, probe_clip(clip, settings.max_pixels))
    if options.undistorted:
        settings = settings.with_distortion(Distortion())
        settings.validate()
    clip = replace(clip, fingerprint=fingerprint(clip, range(first, last + 1)))
    return Job(job_id, clip, first, last, settings, _matte_from(options), models_folder(options),
               "colmap" if options.cameras else "")


def _clip_frames(clip: ClipSource, numbers: tuple[int, int] | None) -> tuple[int, int] | None:
    """Of the plate's own numbers. Raises StereoDiffError "frame_range_invalid" before the clip's first."""
    if numbers is None:
        return None
    first, last = (clip.frame_of(number) for number in numbers)
    if first < 1:
        raise StereoDiffError("frame_range_invalid", f"Frames {numbers[0]} to {numbers[1]} were asked for, but "
                                                     f"{Path(clip.path).name} begins at {clip.number_of(1)}.")
    return first, last


def _ocio_config(options: argparse.Namespace) -> str:
    """Only where a color space is named; without one Blender's own are meant, which need none."""
    if not options.color_space:
        return ""
    named = options.ocio or os.environ.get("OCIO", "")
    return str(named) if not named or str(named).startswith("ocio://") else os.path.abspath(named)


def _matte_from(options: argparse.Namespace) -> Matte | None:
    if options.matte is None:
        if options.invert_matte:
            raise StereoDiffError("settings_invalid", "--invert-matte needs a --matte.")
        return None
    try:
        return Matte("pictures", source_from_path(options.matte), invert=options.invert_matte)
    except StereoDiffError as error:
        raise as_matte_error(error) from error


def _is_solved_already(folder: JobFolder, job: Job, cameras: GivenCameras | None, overwrite: bool) -> bool:
    """Make the folder ready for this job; it may hold its beginning, or with overwrite, another job.

    Only what a job writes is ever cleared, and only in a folder that is a job's. What other settings have in common
    with these is used again. Raises StereoDiffError "output_in_use", "footage_changed", "output_not_writable" or
    "disk_full".
    """
    path = folder.path
    try:
        if _is_empty(folder):
            path.mkdir(parents=True, exist_ok=True)
            _begin(folder, job, cameras)
            return False
    except OSError as error:
        raise write_refusal(error, path) from error
    earlier = _job_there(folder)
    if not overwrite and _with_footage_of(earlier, job) == job and _cameras_there(folder) == cameras:
        return _is_finished(folder, job)
    if not overwrite:
        raise StereoDiffError("output_in_use", f"{path} holds a solve of other settings or another clip; --overwrite "
                                               "replaces it.")
    with locked(folder):
        try:
            _clear(folder)
        except OSError as error:
            raise write_refusal(error, path) from error
        _write_job(folder, job, cameras)
    return False


def _with_footage_of(earlier: Job, job: Job) -> Job:
    """Whatever the same path held then: an unfinished solve begins anew with what it holds now."""
    return replace(earlier, clip=replace(earlier.clip, fingerprint=job.clip.fingerprint))


def _is_finished(folder: JobFolder, job: Job) -> bool:
    """Raises StereoDiffError "footage_changed" if it is, with other footage under the same path."""
    if not folder.files.is_file(folder.result_file.name):
        return False
    if is_other_footage(folder.read_result().clip.fingerprint, job.clip.fingerprint):
        raise StereoDiffError("footage_changed", f"{job.clip.path} holds other pictures than when {folder.path} was "
                                                 "solved.")
    return True


def _is_empty(folder: JobFolder) -> bool:
    """Also while another process writes the job.json that it begins with."""
    path = folder.path
    begun = {folder.job_file.name + TEMPORARY, folder.cameras_file.name + TEMPORARY}
    return not path.exists() or {item.name for item in path.iterdir()} <= begun


def _cameras_there(folder: JobFolder) -> GivenCameras | None:
    return read_cameras(folder.cameras_file) if folder.files.is_file(folder.cameras_file.name) else None


def _begin(folder: JobFolder, job: Job, cameras: GivenCameras | None) -> None:
    """Two processes that begin in one folder write the same job.json, and one of them finds its own gone."""
    try:
        _write(folder, job, cameras)
    except (FileNotFoundError, FileExistsError) as error:
        raise StereoDiffError("job_locked", f"Another process begins in {folder.path}.") from error


def _job_there(folder: JobFolder) -> Job:
    """Only a folder that says itself that it is a job's is ever cleared. Raises StereoDiffError "output_in_use"."""
    try:
        return folder.read_job()
    except StereoDiffError as error:
        found = "no job.json" if error.code == "job_missing" else f"a job.json that is not ours: {error.message}"
        raise StereoDiffError("output_in_use", f"{folder.path} is not a job folder, so it is not overwritten; it has "
                                               f"{found}.") from error


def _clear(folder: JobFolder) -> None:
    worker.discard_products(folder)
    cache = find_cache(folder)
    if cache is not None:
        discard_foreign(cache)
    for file in (folder.events_file, folder.log_file, folder.cancelled_file, folder.matte_file,
                 folder.cameras_file):
        folder.files.unlink(file.name)


def _write_job(folder: JobFolder, job: Job, cameras: GivenCameras | None) -> None:
    try:
        _write(folder, job, cameras)
    except OSError as error:
        raise write_refusal(error, folder.path) from error


def _write(folder: JobFolder, job: Job, cameras: GivenCameras | None) -> None:
    """The job last: it is there when all of it is."""
    if cameras is not None:
        write_cameras(folder.cameras_file, cameras)
    folder.write_job(job)


def quality_lines(result: Result) -> list[str]:
    """The trust report as a table for people, in pixels of the plate; what does not apply to the shot is left out."""
    quality = result.plate_quality
    lines = [f"camera {result.camera_kind}, {len(result.frames)} frames of {result.width}x{result.height}"]
    for entry in fields(Quality):
        value = getattr(quality, entry.name)
        if entry.name == "unsolved_frames":
            value = tuple(result.clip.number_of(frame) for frame in value)
        if entry.name == "guessed":
            value = tuple(f"{one.region} {result.clip.number_of(one.first_frame)}-"
                          f"{result.clip.number_of(one.last_frame)}" for one in value)
        if value is not None and value != ():
            lines.append(f"  {entry.name:<22} {_short(value)}")
    if result.stereo_from is not None:
        lines.append(f"  stage 1 was taken over from the job {result.stereo_from}")
    lines += [f"  note: {warning.message}" for warning in result.warnings]
    seconds = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in result.timings_s.items())
    return [*lines, f"  seconds: {seconds}"]


def _short(value) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else f"{value:.4g}"


def _where_lines(folder: JobFolder, result: Result) -> list[str]:
    kept = (folder.result_file, folder.preview_image, folder.preview_movie, folder.points_file)
    paths = [str(path) for path in kept if folder.files.is_file(path.name)]
    if result.frames[0].depth is not None:
        paths.append(str(folder.product_file("depth", result.frames[0].frame).parent))
    return paths
