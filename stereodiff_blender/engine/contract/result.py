"""What comes back: a result, and the one check of it."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from .cameras.given import GivenCamera, Row
from .errors import StereoDiffError
from .guarded_files import GuardedFolder
from .job import ENGINE_VERSION, MAX_FRAME, MOST_EXACT, SCHEMA_VERSION, ClipSource, can_be_fingerprint, can_be_path
from .job_files.turns import taking_turns
from .lens import LensResult
from .numbered_files import numbered_name

CAMERA_KINDS = ("moving", "rotation", "static")
REGIONS = ("left", "right", "top", "bottom", "middle")
"""Parts of the picture that are judged on their own: its edges, and what lies between."""
MOST_REGIONS = 100
SKY, STILL, MOVING = -1, 0, 1
"""What a pixel of mesh_depth shows, in B; SKY is also what is as far."""
MAX_NAME = 1000
MAX_CLIP_SIDE_PX, MAX_FPS, MAX_EXTENT = 1_000_000, 100_000.0, 1e12
"""Of a result, in pixels, frames a second, and scene units or pixels."""


@dataclass(frozen=True)
class FrameResult:
    """One frame: its files (relative POSIX paths; None where nothing was measured), lens and camera.

    fx, fy, cx, cy: pixels of the result's raster. camera_to_world: four rows of four, OpenCV axes.
    reprojection_px: mean reprojection error of the tracks seen here, in pixels of the raster; None if interpolated or
        without tracks.
    plate_depth: depth at the plate's size; None where none was asked for. edge: of the same size, the share of the
        nearer surface in each pixel near an edge of it; None without it, as of earlier versions.
    mesh_depth: what the mesh is made of, in one picture: R z-depth, G confidence, B SKY, STILL or MOVING; None
        in results of earlier versions.
    undistort, redistort: ST maps of this frame, of the size of the lens's own; None where those serve all frames.
    """

    frame: int
    fx: float
    fy: float
    cx: float
    cy: float
    camera_to_world: tuple[tuple[float, float, float, float], ...]
    depth: str | None = None
    confidence: str | None = None
    motion_mask: str | None = None
    reprojection_px: float | None = None
    plate_depth: str | None = None
    edge: str | None = None
    mesh_depth: str | None = None
    undistort: str | None = None
    redistort: str | None = None


@dataclass(frozen=True)
class GuessedRegion:
    """A part of the picture that is mostly guessed in a run of frames, because no other frame shows what is seen there.

    region: one of REGIONS. first_frame, last_frame: clip frames. share: of what stands still there, the sky aside, that
    is guessed, 0..1.
    """

    region: str
    first_frame: int
    last_frame: int
    share: float


@dataclass(frozen=True)
class Quality:
    """The trust report. None = does not apply to this shot (a static camera has no parallax).

    reprojection_*_px: of the solved static tracks (mean; worst frame's mean). In pixels of the raster as a job's file
        has them; whoever shows or judges them takes Result.plate_quality, where they are in pixels of the plate.
    reprojection_before_px: of the points that "refine cameras" tracked, under the cameras it began with; what it left
        is in reprojection_mean_px. None if it did not run, or changed nothing.
    solved_share: frames whose camera was measured, 0..1; unsolved_frames: the others, interpolated.
    parallax_deg: median triangulation angle of the solved points.
    coverage: share of the picture whose depth was measured and is trusted, 0..1; 0 where the shot contradicts its lens.
    moving_share: share of the picture marked as moving, 0..1.
    flicker_before, flicker_after: high-band energy of static depth over time, before and after stage 2, in
        percent of depth (quality/assess.py says how).
    gauge_residual: median relative disparity difference of stage 2 to stage 1 after the one scale and shift.
    guessed: where and when depth is mostly guessed; empty in results of earlier versions.
    """

    solved_share: float
    unsolved_frames: tuple[int, ...] = ()
    reprojection_mean_px: float | None = None
    reprojection_worst_px: float | None = None
    reprojection_before_px: float | None = None
    parallax_deg: float | None = None
    coverage: float | None = None
    moving_share: float | None = None
    flicker_before: float | None = None
    flicker_after: float | None = None
    gauge_residual: float | None = None
    guessed: tuple[GuessedRegion, ...] = ()

    def scaled(self, scale: float) -> Quality:
        """With the lengths in pixels times scale.

        Parameters
        ----------
        scale : float
            Pixels of the new unit in one of the old.

        Returns
        -------
        Quality
            What is None stays so.
        """
        names = ("reprojection_mean_px", "reprojection_worst_px", "reprojection_before_px")
        found = {name: getattr(self, name) for name in names}
        return replace(self, **{name: None if value is None else scale * value for name, value in found.items()})


@dataclass(frozen=True)
class Refinement:
    """How the diffusion network refined the clip.

    width, height: its own raster. window, overlap: frames. noise_level, end_level: of the one step. precision: of the
    network's numbers, such as "float16".
    alignment: how it was brought back to stage 1's scale: "clip" (one scale and one shift), "windows" (one of each per
    window, because the windows' borders asked for it) or "inverse" (none could be fitted: the normalization undone).
    border_step: largest relative step of depth at a border of windows that one scale and one shift left, above what
    stage 1 does there; None with one window. seam_frames: clip frames at which a window begins, after the first.
    """

    width: int
    height: int
    window: int
    overlap: int
    noise_level: float
    end_level: float
    precision: str
    alignment: str
    border_step: float | None = None
    seam_frames: tuple[int, ...] = ()
    peak_device_mb: float | None = None


@dataclass(frozen=True)
class ResultWarning:
    """Something the artist should know about a finished solve; code is one of WARNING_CODES."""

    code: str
    message: str


@dataclass(frozen=True)
class WeightsUsed:
    """Learned weights a result was made with, and their license."""

    name: str
    licence: str
    commercial_use: bool


@dataclass(frozen=True)
class Result:
    """A finished job. Written last and atomically: its file's existence is success.

    width, height: the raster of every product but plate_depth and edge. plate_size: width and height of those, which
        show the same picture, edge to edge; None without them. clip_width, clip_height, clip_pixel_aspect: the footage.
    camera_kind: "moving", or "rotation" / "static", for which depth cannot be measured and no depth is written.
    depth_range: nearest and farthest trusted depth over the clip; None without depth.
    refinement: of the diffusion network; None if it did not run. plot: what stage 2 did to the flicker, as a picture;
        camera_plot: how well the camera fits in each frame.
    placement: with given cameras, where the first of them stands in their own world: its camera_to_world there, four
        rows of four, OpenCV camera axes. Depth, points and cameras have that world's units.
    lens: what it does beside the frames' focal lengths; of results of earlier versions, a pinhole.
    stereo_from: the id of an earlier job whose stage 1 was taken over, None if this job computed its own.
    """

    job_id: str
    clip: ClipSource
    width: int
    height: int
    clip_width: int
    clip_height: int
    clip_pixel_aspect: float
    fps: float
    stereo: str
    refine: str
    camera_kind: str
    frames: tuple[FrameResult, ...]
    quality: Quality
    depth_range: tuple[float, float] | None = None
    warnings: tuple[ResultWarning, ...] = ()
    weights: tuple[WeightsUsed, ...] = ()
    points: str | None = None
    preview_image: str | None = None
    preview_movie: str | None = None
    refinement: Refinement | None = None
    plot: str | None = None
    camera_plot: str | None = None
    stereo_from: str | None = None
    plate_size: tuple[int, int] | None = None
    placement: tuple[Row, Row, Row, Row] | None = None
    lens: LensResult = field(default_factory=LensResult)
    timings_s: dict[str, float] = field(default_factory=dict)
    engine_version: str = ENGINE_VERSION
    schema_version: int = SCHEMA_VERSION

    @property
    def plate_scale(self) -> float:
        """Pixels of the plate in one of the raster, as plate_scale() has it."""
        return plate_scale((self.width, self.height), (self.clip_width, self.clip_height))

    @property
    def plate_quality(self) -> Quality:
        """The trust report with lengths in pixels of the plate: what sliding looks like to whoever watches it."""
        return self.quality.scaled(self.plate_scale)

    @property
    def first_file_number(self) -> int:
        """The number in the name of the first frame's files, by the first file that there is.

        The plate's own, or, in results of earlier versions, the clip frame.
        """
        first = self.frames[0].frame
        files = ((f.frame, f.depth or f.undistort) for f in self.frames)
        frame, file = next(((frame, file) for frame, file in files if file is not None), (first, ""))
        name = numbered_name(PurePosixPath(file))
        number = name.number - (frame - first) if name is not None else first
        return number if 0 <= number <= MOST_EXACT else first

    def validate(self, folder: str | os.PathLike) -> None:
        """Check this result against its job folder: the one check of worker, Blender and tests.

        Frames are exactly those of job.json, files exist inside the folder and are not empty, cameras are finite
        and rigid with the first at the origin, fx and fy > 0. Raises StereoDiffError "result_invalid".
        """
        from .folder import JobFolder
        job_folder = JobFolder(folder)
        asked = job_folder.read_job().frame_numbers
        if len(self.frames) != len(asked) or any(f.frame != n for f, n in zip(self.frames, asked, strict=True)):
            raise _invalid_result(f"The frames are not exactly those asked for ({asked[0]} to {asked[-1]}).")
        if min(self.width, self.height, self.clip_width, self.clip_height) < 1 or self.clip_pixel_aspect <= 0:
            raise _invalid_result("The raster or clip size is not positive.")
        _check_clip(self.clip)
        if self.camera_kind not in CAMERA_KINDS:
            raise _invalid_result(f"The camera kind {self.camera_kind!r} is unknown.")
        for frame in taking_turns(self.frames):
            _check_camera(frame)
        _check_extent(self)
        for frame in taking_turns(self.frames if self.lens.distortion is not None else self.frames[:1]):
            self.lens.validate(self.width, self.height, (frame.fx, frame.fy, frame.cx, frame.cy))
        if self.placement is not None:
            _check_placement(self.placement)
        if not _is_identity(self.frames[0].camera_to_world):
            raise _invalid_result("The first camera is not at the origin.")
        _check_files(job_folder.files, self._files())
        if self.depth_range is not None and not 0 < self.depth_range[0] <= self.depth_range[1]:
            raise _invalid_result(f"The depth range {self.depth_range} is not positive and ordered.")
        if (self.depth_range is None) != all(f.depth is None for f in self.frames):
            raise _invalid_result("Depth files and depth range must come together.")
        _check_guessed(self.quality.guessed, self.frames[0].frame, self.frames[-1].frame)
        _check_other_depth(self)
        _check_frame_maps(self)

    def _files(self) -> list[str]:
        per_frame = [path for f in self.frames
                     for path in (f.depth, f.confidence, f.motion_mask, f.plate_depth, f.edge, f.mesh_depth,
                                  f.undistort, f.redistort)]
        of_the_clip = (self.points, self.preview_image, self.preview_movie, self.plot, self.camera_plot,
                       self.lens.undistort, self.lens.redistort)
        return [path for path in (*per_frame, *of_the_clip) if path is not None]


def plate_scale(raster: tuple[int, int], clip: tuple[int, int]) -> float:
    """Pixels of the plate in one of the raster.

    Parameters
    ----------
    raster, clip : tuple of int
        Width and height of both, which show the same picture, edge to edge.

    Returns
    -------
    float
        Where the sides differ (a squeezed plate), the root mean square of the two: what an error that points anywhere
        grows by.
    """
    across, down = clip[0] / raster[0], clip[1] / raster[1]
    return math.sqrt((across**2 + down**2) / 2)


def _invalid_result(message: str) -> StereoDiffError:
    return StereoDiffError("result_invalid", message)


def _check_clip(clip: ClipSource) -> None:
    if not can_be_path(clip.path):
        raise _invalid_result("The clip's path is none that a file could have.")
    if clip.kind == "movie" and not 0 <= clip.first_number <= MAX_FRAME:
        raise _invalid_result(f"A movie has no picture {clip.first_number}.")
    if not can_be_fingerprint(clip.fingerprint):
        raise _invalid_result("The clip's fingerprint is none.")


def _check_extent(result: Result) -> None:
    """No solve has such numbers, and Blender's integers and single precision cannot hold them."""
    sides = (result.width, result.height, result.clip_width, result.clip_height, *(result.plate_size or ()))
    if max(sides) > MAX_CLIP_SIDE_PX or result.fps > MAX_FPS or not 1e-3 <= result.clip_pixel_aspect <= 1e3:
        raise _invalid_result("The raster, the clip's size, its pixels' shape or its frame rate is beyond measure.")
    if result.depth_range is not None and not 1 / MAX_EXTENT < min(result.depth_range) <= MAX_EXTENT > max(
            result.depth_range):
        raise _invalid_result(f"The depth range {result.depth_range} is beyond all measure.")
    for frame in result.frames:
        x, y, z = (row[3] for row in frame.camera_to_world[:3])
        if max(abs(x), abs(y), abs(z), frame.fx, frame.fy, abs(frame.cx), abs(frame.cy)) > MAX_EXTENT:
            raise _invalid_result(f"Frame {frame.frame}: the camera or its lens is beyond all measure.")
        if min(frame.fx, frame.fy) < 1 / MAX_EXTENT:
            raise _invalid_result(f"Frame {frame.frame}: the focal length is not positive.")


def _check_guessed(guessed: tuple[GuessedRegion, ...], first: int, last: int) -> None:
    """first, last: frames of the result."""
    if len(guessed) > MOST_REGIONS:
        raise _invalid_result("More parts of the picture are called guessed than anybody could look at.")
    for one in guessed:
        if one.region not in REGIONS or not first <= one.first_frame <= one.last_frame <= last:
            raise _invalid_result(f"What is guessed in the frames {one.first_frame} to {one.last_frame} is not of this "
                                  "result.")


def _check_other_depth(result: Result) -> None:
    if any((frame.plate_depth is None) != (result.plate_size is None) for frame in result.frames):
        raise _invalid_result("Depth at the plate's size and that size must come together.")
    if min(result.plate_size or (1,)) < 1:
        raise _invalid_result("The size of depth at the plate's size is not positive.")
    if any(frame.edge is not None and frame.plate_depth is None for frame in result.frames):
        raise _invalid_result("A frame has edges without depth at the plate's size.")
    if len({frame.mesh_depth is None for frame in result.frames if frame.depth is not None}) > 1:
        raise _invalid_result("Some frames have no picture for the mesh, and others have one.")


def _check_frame_maps(result: Result) -> None:
    kinds = {(frame.undistort is not None, frame.redistort is not None) for frame in result.frames}
    if kinds not in ({(False, False)}, {(True, True)}) or ((True, True) in kinds and result.lens.undistort is None):
        raise _invalid_result("ST maps of frames are there for all frames, in pairs and beside the lens's own, or not.")


def _check_camera(frame: FrameResult) -> None:
    matrix = frame.camera_to_world
    if len(matrix) != 4 or tuple(matrix[3]) != (0.0, 0.0, 0.0, 1.0):
        raise _invalid_result(f"Frame {frame.frame}: the last row of camera_to_world is not 0 0 0 1.")
    (a, b, c), (d, e, f), (g, h, i) = (row[:3] for row in matrix[:3])
    products = (a * a + d * d + g * g - 1, b * b + e * e + h * h - 1, c * c + f * f + i * i - 1,
                a * b + d * e + g * h, a * c + d * f + g * i, b * c + e * f + h * i)
    if not all(abs(product) <= 1e-5 for product in products):  # of its columns; what overflows is refused, too
        raise _invalid_result(f"Frame {frame.frame}: the camera's rotation is not rigid.")
    if a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g) < 0:
        raise _invalid_result(f"Frame {frame.frame}: the camera's rotation is a reflection.")
    if not (frame.fx > 0 and frame.fy > 0):
        raise _invalid_result(f"Frame {frame.frame}: the focal length is not positive.")


def _check_placement(placement: tuple[Row, Row, Row, Row]) -> None:
    try:
        GivenCamera(1, 1.0, 1.0, 0.0, 0.0, placement).validate()
    except StereoDiffError as error:
        raise _invalid_result(f"The placement is none: {error.message}") from error


def _is_identity(matrix) -> bool:
    return all(abs(matrix[r][c] - (r == c)) < 1e-6 for r in range(4) for c in range(4))


def _check_files(folder: GuardedFolder, relatives: list[str]) -> None:
    sizes: dict[str, dict[str, int]] = {}
    for relative in taking_turns(relatives):
        _check_name(relative)
        parent, _, name = relative.rpartition("/")
        if parent not in sizes:
            sizes[parent] = _sizes_in(folder.inside(parent) if parent else folder)
        if sizes[parent].get(name, 0) == 0:
            raise _invalid_result(f"{relative} is missing, empty or a link.")


def _check_name(relative: str) -> None:
    is_odd = len(relative) > MAX_NAME or any(sign in relative for sign in "\\:\0")
    if is_odd or not {"", ".", ".."}.isdisjoint(relative.split("/")):
        raise _invalid_result(f"{relative[:80]!r} is not a path inside the job folder.")


def _sizes_in(folder: GuardedFolder) -> dict[str, int]:
    try:
        return folder.file_sizes()
    except OSError as error:  # a name that is too long, for one
        raise _invalid_result(f"{folder.path} cannot be looked at: {error.strerror}.") from error
