"""What is asked for: a job, its footage and its matte."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from .errors import StereoDiffError
from .settings import Settings

SCHEMA_VERSION = 1
ENGINE_VERSION = "0.1.0"

MATTE_KINDS = ("pictures", "shapes")
CAMERA_SOURCES = ("colmap", "clip", "scene")
MIN_FRAMES = 2
MAX_FINGERPRINT = 200
MAX_FRAME = 10_000_000
"""Four and a half days at 24 frames a second; what a damaged or hostile file claims beyond is not counted out."""

MOST_EXACT = 2**24
"""Up to here, Blender's nodes hold every whole number (as 32-bit float)."""

@dataclass(frozen=True)
class ClipSource:
    """Footage on disk.

    kind: "movie" (any file ffmpeg reads) or "sequence" (numbered still images).
    path: absolute; for a sequence, the file that clip frame 1 shows.
    first_number: a movie's 0-based picture that clip frame 1 shows (normally 0); a sequence's file number there.
    width, height: stored pixels as displayed (after rotation metadata); 0 = not known, ask the file.
    pixel_aspect: width / height of one stored pixel; 0 = not known, ask the file.
    fps: frames per second; 0 = not known, ask the file.
    color_space: of the stored values, as Blender names it; "" = as Blender takes it for this kind of file.
    ocio_config: path of the OpenColorIO configuration that knows the color space; "" = OpenColorIO's own.
    fingerprint: of what the files hold, over the frames of the job (footage_fingerprint.py); empty = not known.
    """

    kind: str
    path: str
    first_number: int = 0
    width: int = 0
    height: int = 0
    pixel_aspect: float = 0.0
    fps: float = 0.0
    color_space: str = ""
    ocio_config: str = ""
    fingerprint: str = ""

    def number_of(self, frame: int) -> int:
        """The plate's own number of a clip frame: the file's of a sequence, and of a movie the frame."""
        return frame + self._numbers_before

    def frame_of(self, number: int) -> int:
        """The clip frame of one of the plate's own numbers."""
        return number - self._numbers_before

    @property
    def _numbers_before(self) -> int:
        return self.first_number - 1 if self.kind == "sequence" else 0


def can_be_path(path: str) -> bool:
    """Other texts end whoever looks for such a file with a ValueError."""
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        return False


def can_be_fingerprint(text: str) -> bool:
    """Of this version or another, or empty; Blender keeps it with every datablock of an import."""
    return len(text) <= MAX_FINGERPRINT and text.isascii() and (text.isprintable() or not text)


@dataclass(frozen=True)
class Matte:
    """What the artist says moves by itself: nothing is tracked there, and its depth is that of a moving thing.

    kind: "pictures" (footage that shows it white) or "shapes" (outlines, in the job folder's matte.json).
    footage: only of "pictures". A pixel counts where the picture as displayed is lighter than mid gray; what is
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
            raise StereoDiffError("job_invalid", f"The matte's kind must be one of {', '.join(MATTE_KINDS)}, got "
                                                 f"{self.kind!r}.")
        if self.footage is not None and not can_be_path(self.footage.path):
            raise StereoDiffError("job_invalid", "The matte's path is none that a file could have.")
        if (self.kind == "pictures") != (self.footage is not None):
            raise StereoDiffError("job_invalid", "A matte of pictures has footage, and one of shapes has none.")

    def footage_frames(self, clip_frames: range) -> range:
        """The footage's own frames that belong to these frames of the clip."""
        shift = self.first_frame - 1
        return range(clip_frames.start - shift, clip_frames.stop - shift, clip_frames.step)


@dataclass(frozen=True)
class Job:
    """One request: this footage, these frames (first and last included), these settings, and perhaps a matte.

    models_folder: where the weights of learned engines are, one folder for each; needed only by those.
    cameras: where the cameras in the job folder's cameras.json come from, one of CAMERA_SOURCES; "": they are solved.
    """

    id: str
    clip: ClipSource
    first_frame: int
    last_frame: int
    settings: Settings = field(default_factory=Settings)
    matte: Matte | None = None
    models_folder: str = ""
    cameras: str = ""
    engine_version: str = ENGINE_VERSION
    schema_version: int = SCHEMA_VERSION

    @property
    def frame_numbers(self) -> range:
        return range(self.first_frame, self.last_frame + 1)

    @property
    def plate_numbers(self) -> range:
        """The same frames by the plate's own numbers, as people speak of them."""
        return range(self.clip.number_of(self.first_frame), self.clip.number_of(self.last_frame) + 1)

    @property
    def file_numbers(self) -> range:
        """Of the files that are written for the frames: the plate's own, so that they load beside it; beyond what
        Blender's nodes count exactly, the clip's frames."""
        own = self.plate_numbers
        return own if own[-1] <= MOST_EXACT else self.frame_numbers

    def validate(self) -> None:
        """Raises StereoDiffError: "settings_invalid", "frame_range_invalid", "clip_too_short" or "job_invalid"."""
        self.settings.validate()
        if self.clip.kind not in ("movie", "sequence"):
            raise StereoDiffError("job_invalid", f"The clip's kind must be movie or sequence, got {self.clip.kind!r}.")
        if not can_be_path(self.clip.path):
            raise StereoDiffError("job_invalid", "The clip's path is none that a file could have.")
        if self.first_frame < 1 or self.last_frame < self.first_frame or self.last_frame > MAX_FRAME:
            raise StereoDiffError("frame_range_invalid",
                                  f"Frames {self.first_frame} to {self.last_frame} are no range from 1 to {MAX_FRAME}.")
        if len(self.frame_numbers) < MIN_FRAMES:
            raise StereoDiffError("clip_too_short", f"A solve needs at least {MIN_FRAMES} frames, got one.")
        if self.matte is not None:
            self.matte.validate()
        if self.cameras:
            self._check_cameras()

    def _check_cameras(self) -> None:
        """Given cameras are used as they are."""
        if self.cameras not in CAMERA_SOURCES:
            raise StereoDiffError("job_invalid", f"The cameras must be one of {', '.join(CAMERA_SOURCES)}, got "
                                                 f"{self.cameras!r}.")
        if self.settings.stereo != "geometric":
            raise StereoDiffError("settings_invalid", "Only Geometric measures depth with given cameras.")
        if self.settings.refine_cameras:
            raise StereoDiffError("settings_invalid", "Refine Cameras would change the given cameras.")
