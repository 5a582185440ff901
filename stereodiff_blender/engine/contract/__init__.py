"""The contract between Blender and the worker: what a job folder says, defined once.

Standard library only, because both programs import it. Nothing else crosses between them.

Conventions, valid everywhere in this project
---------------------------------------------
frames            decoded clip, display-referred sRGB, (T,H,W,3) uint8, RGB order, row 0 at the top
frame             number as Blender's clip counts it: 1 is the first frame of the footage
number            a frame as its footage numbers it: of a sequence the file's (1001), of a movie the frame
index             0-based position of a frame in the job: frame = first_frame + index
raster            working size (height, width) of every array; its pixels are square up to rounding
pixel             (col, row) has its center at (col + 0.5, row + 0.5); the raster's left edge is x = 0
intrinsics        fx, fy, cx, cy in pixels of the raster; cx = width / 2 for a centered lens
camera_to_world   (T,4,4), OpenCV axes (x right, y down, z forward); identity at the first frame
depth             (T,H,W) float32 z-depth along the optical axis (not ray length), scene units; 0 = invalid
disparity         1 / depth, in 1 / scene unit
confidence        (T,H,W) float32 in [0,1], larger is surer; measured pixels only, filled ones are near 0
motion_mask       (T,H,W) uint8, 1 where the thing itself moves
stereo_ / refined_  prefixes: after stage 1 / after stage 2

Scale is relative: depth and camera positions share one gauge, in which the median depth of the first
frame's static points is of order 1, unless a scale was set in Blender or cameras were given: then it is theirs.
"""

from __future__ import annotations

from .cameras import (
    GivenCamera,
    GivenCameras,
    GivenLens,
    invalid_lens_file,
    is_exr,
    read_calibration,
    read_cameras,
    read_colmap_cameras,
    read_lens_bytes,
    write_cameras,
)
from .errors import (
    ERROR_CODES,
    WARNING_CODES,
    StereoDiffError,
    UnsafeFileError,
    as_matte_error,
    shortened,
    write_refusal,
)
from .events import EVENT_KINDS, MOST_SHOTS, MOST_WARNINGS, PROGRESS_TOLD, STAGE_LABELS, Event, WarningList, valid_shots
from .folder import MAX_JOB_BYTES, MAX_RESULT_BYTES, MOST_CANDIDATES, JobFolder
from .health import (
    FAULT,
    NOTE,
    OK,
    Capabilities,
    Finding,
    Health,
    redacted,
    text_lines,
)
from .job import (
    CAMERA_SOURCES,
    ENGINE_VERSION,
    MATTE_KINDS,
    MAX_FRAME,
    MIN_FRAMES,
    SCHEMA_VERSION,
    ClipSource,
    Job,
    Matte,
)
from .lens import LENS_MODELS, Distortion, LensResult, distortion_fault
from .matte_shapes import MatteDrawing, MatteLayer, MatteShapes, read_shapes, write_shapes
from .redaction import redact
from .result import (
    CAMERA_KINDS,
    MAX_CLIP_SIDE_PX,
    MAX_EXTENT,
    MAX_FPS,
    MAX_NAME,
    MOVING,
    REGIONS,
    SKY,
    STILL,
    FrameResult,
    GuessedRegion,
    Quality,
    Refinement,
    Result,
    ResultWarning,
    WeightsUsed,
    plate_scale,
)
from .settings import (
    DEPTH_SIZES,
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
    depth_size_of,
)

__all__ = [
    "CAMERA_KINDS",
    "CAMERA_SOURCES",
    "DEPTH_SIZES",
    "DIFFUSION_PRESETS",
    "ENGINE_VERSION",
    "ERROR_CODES",
    "EVENT_KINDS",
    "FAULT",
    "LENS_MODELS",
    "MATTE_KINDS",
    "MAX_CLIP_SIDE_PX",
    "MAX_ENSEMBLE",
    "MAX_EXTENT",
    "MAX_FPS",
    "MAX_FRAME",
    "MAX_JOB_BYTES",
    "MAX_MEGAPIXELS",
    "MAX_NAME",
    "MAX_PIXELS",
    "MAX_RESULT_BYTES",
    "MAX_SIDE_PX",
    "MIN_FRAMES",
    "MIN_SIDE_PX",
    "MOST_CANDIDATES",
    "MOST_MEGAPIXELS",
    "MOST_SHOTS",
    "MOST_WARNINGS",
    "MOVING",
    "NOISE_LEVELS",
    "NOISE_SCHEDULES",
    "NOTE",
    "OK",
    "PAPER_NOISE_LEVEL",
    "PROGRESS_TOLD",
    "QUALITIES",
    "REFINE_ENGINES",
    "REGIONS",
    "SCHEMA_VERSION",
    "SKY",
    "STAGE_LABELS",
    "STEREO_ENGINES",
    "STILL",
    "WARNING_CODES",
    "Capabilities",
    "ClipSource",
    "DiffusionSettings",
    "Distortion",
    "Event",
    "Finding",
    "FrameResult",
    "GivenCamera",
    "GivenCameras",
    "GivenLens",
    "GuessedRegion",
    "Health",
    "Job",
    "JobFolder",
    "LensResult",
    "Matte",
    "MatteDrawing",
    "MatteLayer",
    "MatteShapes",
    "Quality",
    "Refinement",
    "Result",
    "ResultWarning",
    "Settings",
    "StereoDiffError",
    "UnsafeFileError",
    "WarningList",
    "WeightsUsed",
    "__all__",
    "as_matte_error",
    "depth_size_of",
    "distortion_fault",
    "invalid_lens_file",
    "is_exr",
    "plate_scale",
    "read_calibration",
    "read_cameras",
    "read_colmap_cameras",
    "read_lens_bytes",
    "read_shapes",
    "redact",
    "redacted",
    "shortened",
    "text_lines",
    "valid_shots",
    "write_cameras",
    "write_refusal",
    "write_shapes",
]
