"""A shot as every step of the solve needs it: its tracks, its frames, what is known of the lens, and who is told."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...contract import Distortion, StereoDiffError
from ...lens import distorted, undistorted
from ...parallel import ONE_CORE, Cores
from ...report import Report
from ..tracking import Tracks
from .rotation import guess_focal

MIN_SOLVED_SHARE = 0.5
MIN_FRAMES_FOR_FOCAL = 4


@dataclass(frozen=True)
class TrackedShot:
    """tracks: thinned, raster pixels; square: the same with square pixels from the principal point.

    frames: those that tracks link. focal: in rows, or None where unknown. principal_point: (x, y), raster pixels.
    sensor_mm: width, for what is said about lenses. distortion: of the lens, where it is known; square is without it.
    plate_scale: as of RunContext. readout: of the shutter, in frames, where it is known. is_of_middle_rows: square is
    as if all rows of a frame had been taken with its middle one. cores: on how many of them what is tried is tried.
    """

    tracks: Tracks
    square: Tracks
    frames: np.ndarray
    focal: float | None
    principal_point: tuple[float, float]
    pixel_aspect: float
    sensor_mm: float
    seed: int
    first_frame: int
    report: Report
    distortion: Distortion | None = None
    plate_scale: float = 1.0
    readout: float | None = None
    is_of_middle_rows: bool = False
    cores: Cores = ONE_CORE

    @property
    def linked(self) -> np.ndarray:
        """(T,) bool, true at frames."""
        return np.isin(np.arange(self.tracks.frame_count), self.frames)

    @property
    def guessed_focal(self) -> float:
        return self.focal or guess_focal(self.square)

    def raster_pixels(self, square_pixels: np.ndarray) -> np.ndarray:
        """Square pixels (N,2) from the principal point as pixels of the raster, as they were filmed."""
        if self.distortion is not None and self.focal is not None:
            square_pixels = self.focal * distorted(square_pixels / self.focal, self.distortion)
        return square_pixels / (self.pixel_aspect, 1.0) + self.principal_point

    def intrinsics(self, focal: float) -> np.ndarray:
        """(T,4) of every frame."""
        return np.tile([focal / self.pixel_aspect, focal, *self.principal_point], (self.tracks.frame_count, 1))


def square_tracks(tracks: Tracks, principal_point: tuple[float, float], pixel_aspect: float,
                  focal: float | None = None, distortion: Distortion | None = None) -> Tracks:
    """The tracks in square pixels counted from the principal point, which is in raster pixels; without distortion, if
    that of the lens is known, and focal with it."""
    width, height = tracks.size
    pixels = (tracks.pixels - principal_point) * (pixel_aspect, 1.0)
    if distortion is not None and focal is not None:
        pixels = focal * undistorted(pixels / focal, distortion)
    return replace(tracks, pixels=pixels, size=(width * pixel_aspect, height))


class Steps:
    """Progress of the solve in equal steps."""

    def __init__(self, report: Report, total: int):
        self.report, self.done = report, 0
        report.stage("solve", total)

    def step(self) -> None:
        self.done += 1
        self.report.progress(self.done)


def unsolved(reason: str) -> StereoDiffError:
    return StereoDiffError("camera_unsolved", f"The camera could not be solved: {reason}.")
