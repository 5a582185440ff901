"""What stage 1 finds out about a clip, whichever of its engines did it: cameras, depth, what moves."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .contract import Distortion, LensResult
from .geometry import invert_rigid
from .shutter import RollingShutter, RowCamera

__all__ = ["TRUSTED", "CameraSolution", "KnownCameras", "KnownLens", "StereoResult"]


@dataclass(frozen=True)
class KnownLens:
    """focal_px: fx in pixels of the raster. principal_point: (x, y) there where the axis meets it; None: its center.
    distortion: None where it is not known. sensor_mm: the width it was given with, for what is said of it; None: 36."""

    focal_px: float
    principal_point: tuple[float, float] | None = None
    distortion: Distortion | None = None
    sensor_mm: float | None = None


@dataclass(frozen=True)
class KnownCameras:
    """Cameras of T frames that need not be solved, in a world of their own.

    camera_to_world: (T,4,4) float64, rigid. intrinsics: (T,4) float64 fx, fy, cx, cy, raster pixels. known: (T,) bool;
    where False, both are the identity and 1, and the camera is to be interpolated. distortion: of their lens; None of a
    pinhole.
    """

    camera_to_world: np.ndarray
    intrinsics: np.ndarray
    known: np.ndarray
    distortion: Distortion | None = None


@dataclass(frozen=True)
class CameraSolution:
    """The solved cameras of T frames, in the conventions of the contract.

    kind: "moving", "rotation" (positions all zero) or "static" (all identity).
    camera_to_world: (T,4,4) float64, first identity. intrinsics: (T,4) float64 fx, fy, cx, cy, raster pixels.
    solved: (T,) bool; False where the camera was interpolated.
    reprojection_px: (T,) float64 mean error of the static tracks seen in a frame; nan where none.
    points: (N,3) float64 static points, world axes. point_parallax_deg: (N,) triangulation angle.
    observations: per frame, indices into points (n,) and pixels (n,2) where each is seen.
    is_focal_unreliable: the shot itself speaks against the lens found for it, so camera and depth may be wrong
        throughout, however well they fit.
    lens: what it does beside intrinsics, which are those of the pinhole that it amounts to; pixels are as filmed.
    shutter: how the rows of measured frames are read out; None if at once. A clip's cameras have lens.readout instead.
    unit: how long 1 of these cameras, points and their depth is in the world of given cameras; 1 where there are none.
    """

    kind: str
    camera_to_world: np.ndarray
    intrinsics: np.ndarray
    solved: np.ndarray
    reprojection_px: np.ndarray
    points: np.ndarray
    point_parallax_deg: np.ndarray
    observations: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    is_focal_unreliable: bool = False
    unit: float = 1.0
    lens: LensResult = field(default_factory=LensResult)
    shutter: RollingShutter | None = None

    def row_camera(self, index: int) -> RowCamera | None:
        """Of a frame whose rows are not read at once."""
        if self.shutter is None:
            return None
        return self.shutter.camera(index, invert_rigid(self.camera_to_world[index]), self.intrinsics[index])

    def rolling_shutter(self, size: tuple[int, int]) -> RollingShutter | None:
        """That of a clip's cameras, from the lens; size: (width, height) of the raster of their pixels."""
        return RollingShutter.of_cameras(self.camera_to_world, self.intrinsics, self.solved, self.lens, size)


@dataclass(frozen=True)
class StereoResult:
    """Stage 1's whole answer for a camera that moves; for any other there is none, and so no depth.

    depth: (T,H,W) float32, > 0 everywhere (unmeasured pixels are filled). confidence: (T,H,W) float32 in [0,1];
    above TRUSTED the pixel was measured in two or more views and agrees. motion_mask: (T,H,W) uint8.
    far_limit: depth given to what shows no parallax at all, as the sky; None where an engine does not tell it.
    """

    cameras: CameraSolution
    depth: np.ndarray
    confidence: np.ndarray
    motion_mask: np.ndarray
    far_limit: float | None = None

    def is_sky(self, index: int) -> np.ndarray:
        """Where a frame shows the sky, or what is as far and as still.

        Parameters
        ----------
        index : int
            Of the frame.

        Returns
        -------
        ndarray
            (H,W) bool; nowhere, if the engine does not tell.
        """
        if self.far_limit is None:
            return np.zeros(self.depth[index].shape, bool)
        is_still = np.asarray(self.motion_mask[index]) == 0
        share = np.where(self.confidence[index] > TRUSTED, FAR_SHARE, BEYOND_SHARE)
        return is_still & (self.depth[index] >= share * self.far_limit)


FAR_SHARE, BEYOND_SHARE = 0.95, 0.4
"""Of the far limit: where nothing is measured, and where what was not measured lies beyond everything that was. Clouds
do not stay at the limit, because they seem to move a little."""
TRUSTED = 0.5
