"""One validated result, and where it plays in the scene's time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import bpy
import numpy as np

from ...engine.contract import Distortion, JobFolder, Result, StereoDiffError
from ...engine.contract.job_files.result_checks import (
    CHANNELS,
    PRODUCTS,
    check_lens_maps,
    check_plate,
    check_product,
    size_of_product,
)
from ...engine.contract.numbered_files import refuse_misnamed
from ...engine.shutter import RollingShutter
from . import camera_math
from .plate import find_plate, load_clip

DEFAULT_SENSOR_MM = 36.0
SAME_MAP_PX = 0.1
"""Of the clip, by which ST maps of two frames may differ in the corners without a word."""


@dataclass(frozen=True)
class ImportedResult:
    """What every product of an import needs to know.

    name: for people, of the footage. key: of the import, which all its tags share: the footage's path, unless another
    import in the file has that already.
    start: scene frame at which the clip shows its frame 1.
    sensor_mm: width of the sensor, the known one or Blender's usual 36 mm.
    plate: the footage on disk: the movie, or the picture that clip frame 1 shows. plate_number: of that picture.
    quality: the preset that the job was solved with.
    """

    result: Result
    folder: Path
    name: str
    key: str
    start: int
    sensor_mm: float
    plate: Path
    plate_number: int
    quality: str = "standard"

    @property
    def footage(self) -> str:
        """The same text for the same path, however it is written."""
        return Path(self.result.clip.path).resolve().as_posix()

    @property
    def pictures(self) -> range:
        """Clip frames that were solved, counted from the movie's own first picture."""
        skipped = self.result.clip.first_number if self.result.clip.kind == "movie" else 0
        return range(self.first_frame + skipped, self.first_frame + skipped + self.frame_count)

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
        """The earliest file of a product, such as "depth" or "plate_depth"; None if there is none."""
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
    def distortion(self) -> Distortion | None:
        """Of the lens; None of a pinhole. It is the same for every raster of the plate."""
        return self.result.lens.distortion

    @property
    def rolling_shutter(self) -> RollingShutter | None:
        """Of all frames; None if all rows of one are read at once."""
        frames, unsolved = self.result.frames, self.result.quality.unsolved_frames
        return RollingShutter.of_cameras(
            np.array([frame.camera_to_world for frame in frames]), self.raster_intrinsics,
            np.array([frame.frame not in unsolved for frame in frames]), self.result.lens, self.raster_size)

    def placed(self, index: int, points: np.ndarray) -> np.ndarray:
        """What a frame's plate shows, below the root: each point stands where the camera of its own row saw it.

        Parameters
        ----------
        index : int
            Of the frame.
        points : ndarray
            (N,3) in the space of the frame's camera object, before it.

        Returns
        -------
        ndarray
            (N,3) float64 on Blender's axes, before the root's transform.
        """
        camera_to_world, shutter = self.result.frames[index].camera_to_world, self.rolling_shutter
        if shutter is None:
            pose = camera_math.matrix_world_from_camera_to_world(camera_to_world)
            return points @ pose[:3, :3].T + pose[:3, 3]
        intrinsics, depth = self.raster_intrinsics[index], -points[:, 2]
        x, y = (points[:, :2] / depth[:, None] * (1.0, -1.0) * intrinsics[:2] + intrinsics[2:]).T
        rows = shutter.camera(index, np.linalg.inv(camera_to_world), intrinsics)
        return camera_math.points_in_blender_world(rows.to_world(x, y, depth))

    @property
    def overscan_size(self) -> tuple[int, int]:
        """Width and height of the undistorted plate with overscan, in pixels of the clip."""
        (width, height), (left, right, top, bottom) = self.clip_size, self.result.lens.overscan
        return width + left + right, height + top + bottom

    @property
    def has_maps_of_middle(self) -> bool:
        """Whether its ST maps are exact in the middle frame alone: of a zoom with distortion, as earlier versions have
        written them."""
        if self.distortion is None or self.result.frames[0].undistort is not None:
            return False
        corners = np.multiply([(0, 0), (0, 1), (1, 0), (1, 1)], self.clip_size)
        ideal = [camera_math.ideal_places(corners, own, self.distortion) * own[:2] for own in self.clip_intrinsics]
        return bool(np.abs(np.subtract(ideal, ideal[self.frame_count // 2])).max() > SAME_MAP_PX)

    @property
    def clip_shape(self) -> float:
        """Width / height of the picture as it is looked at."""
        return self.clip_size[0] * self.pixel_aspect / self.clip_size[1]

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
        "result_invalid": also when the pictures are not of the result's raster or ST maps not of the clip's size.
        "job_missing" or "job_invalid": the folder's job is not there or damaged. "clip_missing": neither the solved
        footage nor what the clip points at is there. "sequence_misnamed": Blender cannot count the footage's pictures.
        "clip_unreadable": Blender cannot read it or finds no picture in it, or its header claims too large a one.
    """
    job_folder = JobFolder(folder)
    result = job_folder.read_result() if result is None else result
    settings = job_folder.read_job().settings
    _check_raster(job_folder.path, result)
    check_lens_maps(job_folder.files, result)
    plate = find_plate(result, clip)
    if result.clip.kind == "sequence":
        refuse_misnamed(plate.path, plate.number + result.frames[-1].frame - 1)
    _check_plate(plate.path)
    clip = plate.clip or load_clip(result)
    name = clip.name.removesuffix(Path(result.clip.path).suffix)
    shot = ImportedResult(result, job_folder.path.absolute(), name, "", clip.frame_start,
                          settings.sensor_mm or DEFAULT_SENSOR_MM, plate.path, plate.number, settings.quality)
    return replace(shot, key=shot.footage), clip


def _check_raster(folder: Path, result: Result) -> None:
    """Look into the first file of each product: a picture Blender cannot read would play as black."""
    for product in PRODUCTS:
        size = size_of_product(result, product)
        path = next((getattr(f, product) for f in result.frames if getattr(f, product)), None)
        if path is None:
            continue
        # First, because Blender makes room for any size.
        check_product(JobFolder(folder).files, path, size, CHANNELS.get(product, 1))
        if _picture_size(folder / path) != size:
            raise StereoDiffError("result_invalid", f"{path} is no picture of {size[0]} x {size[1]} pixels.")


def _picture_size(path: Path) -> tuple[int, int]:
    image = bpy.data.images.load(str(path), check_existing=False)
    size = tuple(image.size)
    bpy.data.images.remove(image)
    return size


def _check_plate(path: Path) -> None:
    check_plate(path)
    try:
        width, _ = _picture_size(path)
    except RuntimeError as error:
        raise StereoDiffError("clip_unreadable", f"Blender cannot read {path}: {error}") from error
    if width == 0:
        raise StereoDiffError("clip_unreadable", f"Blender finds no picture in {path}.")
