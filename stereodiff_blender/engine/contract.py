"""The contract between Blender and the worker: what a job folder says, defined once.

Standard library only, because both programs import it. Nothing else crosses between them.

Conventions, valid everywhere in this project
---------------------------------------------
frames            decoded clip, display-referred sRGB, (T,H,W,3) uint8, RGB order, row 0 at the top
frame             number as Blender's clip counts it: 1 is the first frame of the footage
index             0-based position of a frame in the job: frame = first_frame + index
raster            working size (height, width) of every array; its pixels are square up to rounding
pixel             (col, row) has its centre at (col + 0.5, row + 0.5); the raster's left edge is x = 0
intrinsics        fx, fy, cx, cy in pixels of the raster; cx = width / 2 for a centred lens
camera_to_world   (T,4,4), OpenCV axes (x right, y down, z forward); identity at the first frame
depth             (T,H,W) float32 z-depth along the optical axis (not ray length), scene units; 0 = invalid
disparity         1 / depth, in 1 / scene unit
confidence        (T,H,W) float32 in [0,1], larger is surer; measured pixels only, filled ones are near 0
motion_mask       (T,H,W) uint8, 1 where the thing itself moves
stereo_ / refined_  prefixes: after stage 1 / after stage 2

Scale is relative: depth and camera positions share one gauge, in which the median depth of the first
frame's static points is of order 1, unless a scale was set in Blender.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from . import event_lines
from .errors import (  # noqa: F401 - said on both ends
    ERROR_CODES,
    WARNING_CODES,
    StereoDiffError,
    UnsafeFileError,
    as_matte_error,
    shortened,
    write_refusal,
)
from .guarded_files import TEMPORARY, GuardedFile, GuardedFolder
from .health import (  # noqa: F401 - said on both ends
    FAULT,
    NOTE,
    OK,
    Capabilities,
    Finding,
    Health,
    private,
    text_lines,
)
from .large_json import read_json
from .redaction import redact  # noqa: F401 - said on both ends
from .settings import (  # noqa: F401 - said on both ends
    DIFFUSION_PRESETS,
    MAX_ENSEMBLE,
    MAX_MEGAPIXELS,
    MAX_PIXELS,
    MAX_SIDE_PX,
    MIN_SIDE_PX,
    MOST_MEGAPIXELS,
    NOISE_LEVELS,
    NOISE_SCHEDULES,
    PAPER_NOISE_LEVEL,
    QUALITIES,
    REFINE_ENGINES,
    STEREO_ENGINES,
    DiffusionSettings,
    Settings,
)
from .shapes import MatteDrawing, MatteLayer, MatteShapes, read_shapes, write_shapes  # noqa: F401 - said on both ends
from .strict_json import as_json, from_dict, to_dict
from .turns import taking_turns

SCHEMA_VERSION = 1
ENGINE_VERSION = "0.1.0"

MATTE_KINDS = ("pictures", "shapes")
CAMERA_KINDS = ("moving", "rotation", "static")
EVENT_KINDS = ("started", "stage", "progress", "note", "warning", "failed", "finished")
MIN_FRAMES = 2
MAX_FRAME = 10_000_000
"""Four and a half days at 24 frames a second; what a damaged or hostile file claims beyond is not counted out."""
MAX_NAME = 1000
MOST_WARNINGS = 100
MOST_SHOTS = 500
MOST_CANDIDATES = 100
"""Lines looked at for the start of a job; others may hold the word."""
MAX_JOB_BYTES, MAX_RESULT_BYTES = 1_000_000, 64_000_000
"""What a job.json or result.json may have; the largest is that of eighty thousand frames."""
MAX_CLIP_SIDE_PX, MAX_FPS, MAX_EXTENT = 1_000_000, 100_000.0, 1e12
"""Of a result, in pixels, frames a second, and scene units or pixels."""


# --- What is asked for -----------------------------------------------------------------------------------------

@dataclass(frozen=True)
class ClipSource:
    """Footage on disk.

    kind: "movie" (any file ffmpeg reads) or "sequence" (numbered still images).
    path: absolute; for a sequence, the file that clip frame 1 shows.
    first_number: a movie's 0-based picture that clip frame 1 shows (normally 0); a sequence's file number there.
    width, height: stored pixels as displayed (after rotation metadata); 0 = not known, ask the file.
    pixel_aspect: width / height of one stored pixel; 0 = not known, ask the file.
    fps: frames per second; 0 = not known, ask the file (24 for a sequence).
    """

    kind: str
    path: str
    first_number: int = 0
    width: int = 0
    height: int = 0
    pixel_aspect: float = 0.0
    fps: float = 0.0


def _can_be_path(path: str) -> bool:
    """Other texts end whoever looks for such a file with a ValueError."""
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        return False


@dataclass(frozen=True)
class Matte:
    """What the artist says moves by itself: nothing is tracked there, and its depth is that of a moving thing.

    kind: "pictures" (footage that shows it white) or "shapes" (outlines, in the job folder's matte.json).
    footage: only of "pictures". A pixel counts where the picture as displayed is lighter than mid grey; what is
    transparent is black. Any size of the clip's proportions.
    first_frame: the clip frame to which the footage's frame 1 belongs; may be below 1.
    invert: black, or the outside of all shapes, is what moves.
    """

    kind: str
    footage: ClipSource | None = None
    first_frame: int = 1
    invert: bool = False

    def validate(self) -> None:
        """Raises StereoDiffError "job_invalid"."""
        if self.kind not in MATTE_KINDS:
            raise StereoDiffError("job_invalid", f"matte kind must be one of {', '.join(MATTE_KINDS)}, got "
                                                 f"{self.kind!r}")
        if self.footage is not None and not _can_be_path(self.footage.path):
            raise StereoDiffError("job_invalid", "the matte's path is none that a file could have")
        if (self.kind == "pictures") != (self.footage is not None):
            raise StereoDiffError("job_invalid", "a matte of pictures has footage, and one of shapes has none")

    def footage_frames(self, clip_frames: range) -> range:
        """The footage's own frames that belong to these frames of the clip."""
        shift = self.first_frame - 1
        return range(clip_frames.start - shift, clip_frames.stop - shift, clip_frames.step)


@dataclass(frozen=True)
class Job:
    """One request: this footage, these frames (first and last included), these settings, and perhaps a matte.

    models_folder: where the weights of learned engines are, one folder for each; needed only by those.
    """

    id: str
    clip: ClipSource
    first_frame: int
    last_frame: int
    settings: Settings = field(default_factory=Settings)
    matte: Matte | None = None
    models_folder: str = ""
    engine_version: str = ENGINE_VERSION
    schema_version: int = SCHEMA_VERSION

    @property
    def frame_numbers(self) -> range:
        return range(self.first_frame, self.last_frame + 1)

    def validate(self) -> None:
        """Raises StereoDiffError: "settings_invalid", "frame_range_invalid", "clip_too_short" or "job_invalid"."""
        self.settings.validate()
        if self.clip.kind not in ("movie", "sequence"):
            raise StereoDiffError("job_invalid", f"clip kind must be movie or sequence, got {self.clip.kind!r}")
        if not _can_be_path(self.clip.path):
            raise StereoDiffError("job_invalid", "the clip's path is none that a file could have")
        if self.first_frame < 1 or self.last_frame < self.first_frame or self.last_frame > MAX_FRAME:
            raise StereoDiffError("frame_range_invalid",
                                  f"frames {self.first_frame} to {self.last_frame} are no range from 1 to {MAX_FRAME}")
        if len(self.frame_numbers) < MIN_FRAMES:
            raise StereoDiffError("clip_too_short", f"a solve needs at least {MIN_FRAMES} frames, got one")
        if self.matte is not None:
            self.matte.validate()


# --- What comes back -------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class FrameResult:
    """One frame: its files (relative POSIX paths; None where nothing was measured), lens and camera.

    fx, fy, cx, cy: pixels of the result's raster. camera_to_world: four rows of four, OpenCV axes.
    reprojection_px: mean reprojection error of the tracks seen here; None if interpolated or without tracks.
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


@dataclass(frozen=True)
class Quality:
    """The trust report. None = does not apply to this shot (a static camera has no parallax).

    reprojection_*_px: of the solved static tracks, in pixels of the raster (mean; worst frame's mean).
    reprojection_before_px: of the points that "refine cameras" tracked, under the cameras it began with; what it left
        is in reprojection_mean_px. None if it did not run, or changed nothing.
    solved_share: frames whose camera was measured, 0..1; unsolved_frames: the others, interpolated.
    parallax_deg: median triangulation angle of the solved points.
    coverage: share of the picture whose depth was measured and is trusted, 0..1; 0 where the shot contradicts its lens.
    moving_share: share of the picture marked as moving, 0..1.
    flicker_before, flicker_after: high-band energy of static depth over time, before and after stage 2, in
        percent of depth (quality.py says how).
    gauge_residual: median relative disparity difference of stage 2 to stage 1 after the one scale and shift.
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


@dataclass(frozen=True)
class Refinement:
    """How the diffusion network refined the clip.

    width, height: its own raster. window, overlap: frames. noise_level, end_level: of the one step. precision: of the
    network's numbers, such as "float16".
    alignment: how it was brought back to stage 1's scale: "clip" (one scale and one shift), "windows" (one of each per
    window, because the windows' borders asked for it) or "inverse" (none could be fitted: the normalisation undone).
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
    """Learned weights a result was made with, and their licence."""

    name: str
    licence: str
    commercial_use: bool


@dataclass(frozen=True)
class Result:
    """A finished job. Written last and atomically: its file's existence is success.

    width, height: the raster of every product. clip_width, clip_height, clip_pixel_aspect: the footage.
    camera_kind: "moving", or "rotation" / "static", for which depth cannot be measured and no depth is written.
    depth_range: nearest and farthest trusted depth over the clip; None without depth.
    refinement: of the diffusion network; None if it did not run. plot: what stage 2 did to the flicker, as a picture;
        camera_plot: how well the camera fits in each frame.
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
    timings_s: dict[str, float] = field(default_factory=dict)
    engine_version: str = ENGINE_VERSION
    schema_version: int = SCHEMA_VERSION

    def validate(self, folder: str | os.PathLike) -> None:
        """Check this result against its job folder: the one check of worker, Blender and tests.

        Frames are exactly those of job.json, files exist inside the folder and are not empty, cameras are finite
        and rigid with the first at the origin, fx and fy > 0. Raises StereoDiffError "result_invalid".
        """
        folder = JobFolder(folder)
        asked = folder.read_job().frame_numbers
        if len(self.frames) != len(asked) or any(f.frame != n for f, n in zip(self.frames, asked, strict=True)):
            raise _invalid_result(f"the frames are not exactly those asked for ({asked[0]} to {asked[-1]})")
        if min(self.width, self.height, self.clip_width, self.clip_height) < 1 or self.clip_pixel_aspect <= 0:
            raise _invalid_result("the raster or clip size is not positive")
        if not _can_be_path(self.clip.path):
            raise _invalid_result("the clip's path is none that a file could have")
        if self.camera_kind not in CAMERA_KINDS:
            raise _invalid_result(f"unknown camera kind {self.camera_kind!r}")
        for frame in taking_turns(self.frames):
            _check_camera(frame)
        _check_extent(self)
        if not _is_identity(self.frames[0].camera_to_world):
            raise _invalid_result("the first camera is not at the origin")
        _check_files(folder.files, self._files())
        if self.depth_range is not None and not 0 < self.depth_range[0] <= self.depth_range[1]:
            raise _invalid_result(f"the depth range {self.depth_range} is not positive and ordered")
        if (self.depth_range is None) != all(f.depth is None for f in self.frames):
            raise _invalid_result("depth files and depth range must come together")

    def _files(self) -> list[str]:
        per_frame = [path for f in self.frames for path in (f.depth, f.confidence, f.motion_mask)]
        of_the_clip = (self.points, self.preview_image, self.preview_movie, self.plot, self.camera_plot)
        return [path for path in (*per_frame, *of_the_clip) if path is not None]


def _invalid_result(message: str) -> StereoDiffError:
    return StereoDiffError("result_invalid", message)


def _check_extent(result: Result) -> None:
    """No solve has such numbers, and Blender's integers and single precision cannot hold them."""
    sides = (result.width, result.height, result.clip_width, result.clip_height)
    if max(sides) > MAX_CLIP_SIDE_PX or result.fps > MAX_FPS or not 1e-3 <= result.clip_pixel_aspect <= 1e3:
        raise _invalid_result("the raster, the clip's size, its pixels' shape or its frame rate is beyond all measure")
    if result.depth_range is not None and not 1 / MAX_EXTENT < min(result.depth_range) <= MAX_EXTENT > max(
            result.depth_range):
        raise _invalid_result(f"the depth range {result.depth_range} is beyond all measure")
    for frame in result.frames:
        x, y, z = (row[3] for row in frame.camera_to_world[:3])
        if max(abs(x), abs(y), abs(z), frame.fx, frame.fy, abs(frame.cx), abs(frame.cy)) > MAX_EXTENT:
            raise _invalid_result(f"frame {frame.frame}: the camera or its lens is beyond all measure")
        if min(frame.fx, frame.fy) < 1 / MAX_EXTENT:
            raise _invalid_result(f"frame {frame.frame}: the focal length is not positive")


def _check_camera(frame: FrameResult) -> None:
    matrix = frame.camera_to_world
    if len(matrix) != 4 or tuple(matrix[3]) != (0.0, 0.0, 0.0, 1.0):
        raise _invalid_result(f"frame {frame.frame}: the last row of camera_to_world is not 0 0 0 1")
    (a, b, c), (d, e, f), (g, h, i) = (row[:3] for row in matrix[:3])
    products = (a * a + d * d + g * g - 1, b * b + e * e + h * h - 1, c * c + f * f + i * i - 1,
                a * b + d * e + g * h, a * c + d * f + g * i, b * c + e * f + h * i)
    if not all(abs(product) <= 1e-5 for product in products):  # of its columns; what overflows is refused, too
        raise _invalid_result(f"frame {frame.frame}: the camera's rotation is not rigid")
    if a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g) < 0:
        raise _invalid_result(f"frame {frame.frame}: the camera's rotation is a reflection")
    if not (frame.fx > 0 and frame.fy > 0):
        raise _invalid_result(f"frame {frame.frame}: the focal length is not positive")


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
            raise _invalid_result(f"{relative} is missing, empty or a link")


def _check_name(relative: str) -> None:
    is_odd = len(relative) > MAX_NAME or any(sign in relative for sign in "\\:\0")
    if is_odd or not {"", ".", ".."}.isdisjoint(relative.split("/")):
        raise _invalid_result(f"{relative[:80]!r} is not a path inside the job folder")


def _sizes_in(folder: GuardedFolder) -> dict[str, int]:
    try:
        return folder.file_sizes()
    except OSError as error:  # a name that is too long, for one
        raise _invalid_result(f"{folder.path} cannot be looked at: {error.strerror}") from error


# --- What is said meanwhile ------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Event:
    """One line of events.jsonl.

    started: pid, plan = ((stage, share of the expected time), ...) in order.   stage: stage, total units.
    progress: stage, done, total.   note: message.   warning, failed: code, message.   finished: nothing more.
    shots: of a failure for a cut, the first and last clip frame of each shot.
    time_s: seconds since the epoch.
    """

    kind: str
    time_s: float
    pid: int | None = None
    plan: tuple[tuple[str, float], ...] | None = None
    stage: str | None = None
    done: int | None = None
    total: int | None = None
    code: str | None = None
    message: str | None = None
    shots: tuple[tuple[int, int], ...] | None = None


def valid_shots(shots: Iterable) -> tuple[tuple[int, int], ...]:
    """Those that are frame ranges, MOST_SHOTS at most: a file may name anything. shots: (first, last) each."""
    return tuple((first, last) for first, last in shots if 1 <= first <= last <= MAX_FRAME)[:MOST_SHOTS]


class WarningList:
    """Warnings, each different one once, in the order in which they came: the first MOST_WARNINGS, and how many others.
    """

    def __init__(self, warnings: Iterable[ResultWarning] = ()):
        self.others = 0
        self._kept: dict[ResultWarning, None] = {}
        for warning in warnings:
            self.add(warning.code, warning.message)

    @property
    def kept(self) -> tuple[ResultWarning, ...]:
        return tuple(self._kept)

    def add(self, code: str, message: str) -> bool:
        """Whether it is one of the first, and new."""
        warning = ResultWarning(shortened(code), shortened(message))
        if warning in self._kept:
            return False
        if len(self._kept) == MOST_WARNINGS:
            self.others += 1
            return False
        self._kept[warning] = None
        return True


PROGRESS_TOLD = re.compile(rb"^idle ([0-9]{1,9}) s, work ([0-9]{1,9}) s$", re.MULTILINE)
"""In a heartbeat file: for how long there was no progress, and how much a processor worked meanwhile."""

STAGE_LABELS = {
    "read": "Reading frames",
    "match": "Matching frames",
    "track": "Tracking points",
    "solve": "Solving the camera",
    "depth": "Measuring depth",
    "motion": "Finding what moves",
    "borders": "Settling borders",
    "edges": "Sharpening borders",
    "encode": "Encoding frames",
    "refine": "Removing flicker",
    "write": "Writing results",
}


# --- The folder ------------------------------------------------------------------------------------------------

class JobFolder:
    """Names inside one job folder, and how its files are read and written.

    files: the way to everything in it. The paths are for words, for comparing, and for what only reads.
    """

    OWN_NAMES = frozenset({
        "job.json", "matte.json", "events.jsonl", "worker.log", "cancelled", "lock", "heartbeat", "cache", "cache.json",
        "result.json", "points.ply", "preview.png", "preview.mp4", "flicker.png", "camera.png", "depth", "confidence",
        "motion_mask",
    })
    """What a job makes in its folder, besides temporary files."""
    ONLY_READ = frozenset({"job.json", "matte.json", "cache", "cache.json", "result.json"})
    """Of these, what is never written in its place, so that it may have further names (hard links)."""

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        self.files = GuardedFolder(self.path)
        self.job_file = self.path / "job.json"
        self.matte_file = self.path / "matte.json"
        self.events_file = self.path / "events.jsonl"
        self.log_file = self.path / "worker.log"
        self.cancelled_file = self.path / "cancelled"
        self.lock_file = self.path / "lock"
        self.heartbeat_file = self.path / "heartbeat"
        self.cache = self.path / "cache"
        self.result_file = self.path / "result.json"
        self.points_file = self.path / "points.ply"
        self.preview_image = self.path / "preview.png"
        self.preview_movie = self.path / "preview.mp4"
        self.plot_file = self.path / "flicker.png"
        self.camera_plot_file = self.path / "camera.png"

    def product_file(self, product: str, frame: int) -> Path:
        """product: "depth", "confidence" or "motion_mask"; numbered by clip frame, four digits or more."""
        return self.path / product / f"{frame:04d}.exr"

    def relative(self, path: Path) -> str:
        return path.relative_to(self.path).as_posix()

    def file(self, path: Path) -> GuardedFile:
        """One of the paths above as a file to write, which leads nowhere else."""
        return GuardedFile(self.files, self.relative(path))

    def refuse_unsafe(self) -> None:
        """Raises StereoDiffError "job_folder_unsafe" if a link or a special file stands where a job's own belongs."""
        try:
            for name in sorted(self.OWN_NAMES):
                for own in (name, name + TEMPORARY):
                    self.files.refuse_unsafe(own, may_be_shared=name in self.ONLY_READ)
        except OSError as error:
            raise write_refusal(error, self.path) from error

    def read_job(self) -> Job:
        """Raises StereoDiffError "job_missing" or "job_invalid"."""
        job = self._read(Job, self.job_file.name, MAX_JOB_BYTES, missing="job_missing", invalid="job_invalid")
        job.validate()
        return job

    def write_job(self, job: Job) -> None:
        self.files.replace(self.job_file.name, as_json(to_dict(job)))

    def read_result(self) -> Result:
        """The result, validated against this folder. Raises StereoDiffError "result_invalid" or "job_..."."""
        result = self._read(Result, self.result_file.name, MAX_RESULT_BYTES, missing="result_invalid",
                            invalid="result_invalid")
        result.validate(self.path)
        return result

    def write_result(self, result: Result) -> None:
        """Validate, then publish; a job whose result does not validate has no result."""
        result.validate(self.path)
        data = to_dict(result)
        if result.stereo_from is None:
            del data["stereo_from"]  # so that earlier versions read it, too
        self.files.replace(self.result_file.name, as_json(data))

    def _read(self, cls, name: str, max_bytes: int, *, missing: str, invalid: str):
        try:
            data = read_json(self.files.read_text(name, max_bytes))
            if isinstance(data, dict) and data.get("schema_version") != SCHEMA_VERSION:
                raise StereoDiffError(invalid, f"{name} has schema {data.get('schema_version')}, this version reads "
                                               f"{SCHEMA_VERSION}")
            return from_dict(cls, data)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise StereoDiffError(missing, f"{self.path / name} does not exist") from error
        except (OSError, ValueError, RecursionError) as error:
            raise StereoDiffError(invalid, f"{name} cannot be used: {_reason(error)}") from error

    def append_event(self, event: Event) -> None:
        line = json.dumps({k: v for k, v in to_dict(event).items() if v is not None}, allow_nan=False)
        with self.files.open_for_writing(self.events_file.name, "append") as stream:
            # A run that was killed may have left half a line, which must not swallow this one.
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - 1))
            begin = b"" if stream.read() in (b"", b"\n") else b"\n"
            stream.write(begin + line.encode() + b"\n")

    def read_events(self, offset: int = 0) -> tuple[list[Event], int]:
        """Events from byte offset on, and the offset to go on from; a half-written last line waits.

        At most event_lines.MAX_BYTES are read. A line that is no event (a crash can leave one), or is too long for
        one, is passed over.
        """
        try:
            with self.files.open_for_reading(self.events_file.name) as stream:
                lines, end = event_lines.whole_lines(stream, offset)
        except FileNotFoundError:
            return [], offset
        return _events(lines), end

    def read_news(self, offset: int) -> tuple[list[Event], int]:
        """As read_events, but always up to the end of the file, which may be shorter now than it was.

        Where too much is new to be read, it is the last start, the last warnings, and what was said last.
        """
        try:
            with self.files.open_for_reading(self.events_file.name) as stream:
                size = event_lines.size_of(stream)
                offset = offset if offset <= size else 0
                if size - offset <= event_lines.MAX_BYTES:
                    lines, end = event_lines.whole_lines(stream, offset)
                    return _events(lines), end
                started, offset = _last_start(stream, offset)
                warnings = itertools.islice(event_lines.lines_with(b'"warning"', stream, offset), MOST_WARNINGS)
                lines, end = event_lines.last_lines(stream, offset)
                return started + _events([line for line, _ in warnings][::-1]) + _events(lines), end
        except FileNotFoundError:
            return [], 0


def _last_start(stream: BinaryIO, offset: int) -> tuple[list[Event], int]:
    """The last "started" after byte offset, if there is one, and the offset behind it."""
    candidates = event_lines.lines_with(b'"started"', stream, offset)
    for line, behind in itertools.islice(candidates, MOST_CANDIDATES):
        event = _parse_event(line)
        if event is not None and event.kind == "started":
            return [event], behind
    return [], offset


def _events(lines: list[bytes]) -> list[Event]:
    return [event for line in taking_turns(lines) if (event := _parse_event(line)) is not None]


def _parse_event(line: bytes) -> Event | None:
    try:
        event = from_dict(Event, json.loads(line))
    except (ValueError, RecursionError):
        return None
    return event if event.kind in EVENT_KINDS else None


def _reason(error: Exception) -> str:
    return f"it {error.strerror}" if isinstance(error, UnsafeFileError) else str(error)
