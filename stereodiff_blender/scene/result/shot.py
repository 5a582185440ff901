"""One validated result, and where it plays in the scene's time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np

from ...engine.contract import JobFolder, Result, StereoDiffError
from ...engine.contract.job_files.result_checks import check_plate, check_product
from ...engine.contract.numbered_files import file_further_on, refuse_misnamed
from . import camera_math

DEFAULT_SENSOR_MM = 36.0


@dataclass(frozen=True)
class ImportedResult:
    """What every product of an import needs to know.

    name: for people, of the footage. key: which footage this is; an import of the same key replaces the one before.
    start: scene frame at which the clip shows its frame 1.
    sensor_mm: width of the sensor, the known one or Blender's usual 36 mm.
    plate: the footage on disk: the movie, or the picture that clip frame 1 shows. plate_number: of that picture.
    """

    result: Result
    folder: Path
    name: str
    key: str
    start: int
    sensor_mm: float
    plate: Path
    plate_number: int

    @property
    def first_frame(self) -> int:
        return self.result.frames[0].frame

    @property
    def frame_count(self) -> int:
        return len(self.result.frames)

    @property
    def scene_frames(self) -> np.ndarray:
        """Scene frame of every solved frame, (T,) int."""
        return self.scene_frame(self.first_frame) + np.arange(self.frame_count)

    def scene_frame(self, clip_frame: int) -> int:
        return clip_frame + self.start - 1

    @property
    def first_file_number(self) -> int:
        """Of the first solved frame's files."""
        return self.result.first_file_number

    def first_file(self, product: str) -> Path | None:
        """The earliest file of a product ("depth", "confidence", "motion_mask"); None if there is none."""
        files = [getattr(frame, product) for frame in self.result.frames]
        return next((self.folder / file for file in files if file is not None), None)

    @property
    def raster_size(self) -> tuple[int, int]:
        return self.result.width, self.result.height

    @property
    def clip_size(self) -> tuple[int, int]:
        return self.result.clip_width, self.result.clip_height

    @property
    def raster_intrinsics(self) -> np.ndarray:
        """(T,4) fx, fy, cx, cy in pixels of the result's raster."""
        return np.array([(f.fx, f.fy, f.cx, f.cy) for f in self.result.frames])

    @property
    def clip_intrinsics(self) -> np.ndarray:
        """(T,4) fx, fy, cx, cy in pixels of the clip."""
        return camera_math.scale_intrinsics(self.raster_intrinsics, self.raster_size, self.clip_size)

    @property
    def pixel_aspect(self) -> float:
        """Width / height of a pixel of the render; the middle frame's lens speaks for a moving one."""
        middle = self.clip_intrinsics[self.frame_count // 2]
        return camera_math.render_pixel_aspect(middle, self.clip_size, self.result.clip_pixel_aspect)


def read_imported_result(folder: Path, clip: bpy.types.MovieClip | None, result: Result | None = None
              ) -> tuple[ImportedResult, bpy.types.MovieClip]:
    """Read and validate a job folder and find its clip; touches no scene.

    Parameters
    ----------
    folder : Path
        The job folder.
    clip : bpy.types.MovieClip or None
        The footage; None looks for it among the open clips, then loads it.
    result : Result or None
        The folder's, if it was read and checked already; None reads it.

    Returns
    -------
    shot : ImportedResult
        The result, and where it plays in the scene's time.
    clip : bpy.types.MovieClip
        The one that was given, found or loaded.

    Raises
    ------
    StereoDiffError
        "result_invalid": also when the pictures are not of the result's raster. "job_missing" or "job_invalid": the
        folder's job is not there or damaged. "clip_missing": neither the solved footage nor what the clip points at is
        there. "sequence_misnamed": Blender cannot count the footage's pictures. "clip_unreadable": Blender cannot read
        it or finds no picture in it, or its header claims too large a one.
    """
    job_folder = JobFolder(folder)
    result = job_folder.read_result() if result is None else result
    sensor_mm = job_folder.read_job().settings.sensor_mm or DEFAULT_SENSOR_MM
    _check_raster(job_folder.path, result)
    clip = clip or _find_clip(result)
    plate, number = _plate(result, clip)
    if result.clip.kind == "sequence":
        refuse_misnamed(plate, number + result.frames[-1].frame - 1)
    _check_plate(plate)
    clip = clip or _load_clip(result)
    name = clip.name.removesuffix(Path(result.clip.path).suffix)
    shot = ImportedResult(result, job_folder.path.absolute(), name, _footage(result.clip.path),
                          clip.frame_start, sensor_mm, plate, number)
    return shot, clip


def _check_raster(folder: Path, result: Result) -> None:
    """Look into the first file of each product: a picture Blender cannot read would play as black."""
    for product in ("depth", "confidence", "motion_mask"):
        path = next((getattr(f, product) for f in result.frames if getattr(f, product)), None)
        if path is None:
            continue
        check_product(JobFolder(folder).files, path, result)  # first, because Blender makes room for any size
        if _picture_size(folder / path) != (result.width, result.height):
            raise StereoDiffError("result_invalid", f"{path} is no picture of {result.width} x {result.height} pixels")


def _picture_size(path: Path) -> tuple[int, int]:
    image = bpy.data.images.load(str(path), check_existing=False)
    size = tuple(image.size)
    bpy.data.images.remove(image)
    return size


def _footage(path: str) -> str:
    """The same text for the same footage, however its path is written."""
    return Path(path).resolve().as_posix()


def _find_clip(result: Result) -> bpy.types.MovieClip | None:
    return next((clip for clip in bpy.data.movieclips if _shows(clip, result)), None)


def _shows(clip: bpy.types.MovieClip, result: Result) -> bool:
    """The same footage, from the same picture on."""
    path, wanted = _first_picture(clip)[0].resolve(), Path(result.clip.path).resolve()
    return path == wanted and (result.clip.kind == "sequence" or clip.frame_offset == result.clip.first_number)


def _first_picture(clip: bpy.types.MovieClip) -> tuple[Path, int]:
    """What the clip shows at its frame 1: the movie and the number of the picture in it, or the still and its own."""
    path = Path(bpy.path.abspath(clip.filepath, library=clip.library)).absolute()
    first = file_further_on(path, clip.frame_offset) if clip.source == "SEQUENCE" else None
    return first or (path, clip.frame_offset)


def _plate(result: Result, clip: bpy.types.MovieClip | None) -> tuple[Path, int]:
    """The solved footage, or, if it was moved, what the clip points at; and the number of its first picture."""
    if Path(result.clip.path).is_file():
        return Path(result.clip.path), result.clip.first_number
    if clip is not None and (found := _first_picture(clip))[0].is_file():
        return found
    raise StereoDiffError("clip_missing", f"{result.clip.path} is not there, and no open clip shows it")


def _check_plate(path: Path) -> None:
    check_plate(path)
    try:
        width, _ = _picture_size(path)
    except RuntimeError as error:
        raise StereoDiffError("clip_unreadable", f"Blender cannot read {path}: {error}") from error
    if width == 0:
        raise StereoDiffError("clip_unreadable", f"Blender finds no picture in {path}")


def _load_clip(result: Result) -> bpy.types.MovieClip:
    clip = bpy.data.movieclips.load(result.clip.path, check_existing=False)
    if result.clip.kind == "movie":
        clip.frame_offset = result.clip.first_number
    return clip

