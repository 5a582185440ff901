"""What a bundle adjustment is about: observations, and the cameras, points and lens that are to explain them.

NumPy only. Pixels are square and counted from the principal point; poses are world to camera, x_camera = R x + t. The
lens is one for all cameras, but for a zoom: its focal length, how far it bends the picture (contract.Distortion: k1 and
k2), and how its rows are read out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...contract import Distortion
from ...lens import distorted, radial_scale

MIN_DEPTH = 1e-6


@dataclass(frozen=True)
class Observations:
    """What is seen where: camera (N,) and point (N,) int, pixels (N,2) float64."""

    camera: np.ndarray
    point: np.ndarray
    pixels: np.ndarray

    def select(self, chosen: np.ndarray) -> Observations:
        """Those observations, chosen (N,) bool, with points numbered as before."""
        return Observations(self.camera[chosen], self.point[chosen], self.pixels[chosen])


@dataclass(frozen=True)
class Shutter:
    """A rolling shutter: the picture's rows are taken one after the other, while the camera goes on.

    readout: from the first row to the last, in frames. height: of the picture, in rows. velocity, acceleration (C,3,4):
    first and second derivative of each world-to-camera matrix by time, in frames; the pose is that of the middle row.
    middle: of the picture, in rows below the principal point. distortion, focal: of a lens whose distortion has been
    taken out of the pixels; rows are those of the plate, where it bends them.
    """

    readout: float
    height: float
    velocity: np.ndarray
    acceleration: np.ndarray
    middle: float = 0.0
    distortion: Distortion | None = None
    focal: float = 1.0

    def rows(self, pixels: np.ndarray) -> np.ndarray:
        """(N,) of pixels (N,2), counted from the middle, on the plate as it was filmed."""
        if self.distortion is not None:
            pixels = self.focal * distorted(pixels / self.focal, self.distortion)
        return pixels[:, 1] - self.middle

    def shift(self, row: np.ndarray, camera: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(N,3) how far points (N,3) of the world have gone on in the cameras (N,) when their rows (N,), counted from
        the middle, are taken; and the derivative of that by readout."""
        share = (row / self.height)[:, None]
        gone, bent = (np.einsum("nij,nj->ni", change[camera, :, :3], points) + change[camera, :, 3]
                      for change in (self.velocity, self.acceleration))
        time = self.readout * share
        return time * gone + 0.5 * time**2 * bent, share * (gone + time * bent)

    def select(self, cameras: np.ndarray) -> Shutter:
        """That of the cameras chosen, (C,) bool."""
        return replace(self, velocity=self.velocity[cameras], acceleration=self.acceleration[cameras])

    def matrices(self, middle: np.ndarray, observations: Observations) -> np.ndarray:
        """(N,3,4) world to camera when the row of each observation is taken; middle (C,3,4): of the middle rows."""
        time = self.readout * (self.rows(observations.pixels) / self.height)[:, None, None]
        camera = observations.camera
        return middle[camera] + time * self.velocity[camera] + 0.5 * time**2 * self.acceleration[camera]


@dataclass(frozen=True)
class BundleState:
    """The unknowns. rotations (C,3,3), translations (C,3), points (P,3); focal in pixels, k1 and k2, shared by all
    cameras. zoom (C,): natural logarithm of each camera's focal length over focal; None where all have the same.
    shutter: None if all rows are taken at once. is_fisheye: what k1 and k2 mean.
    """

    rotations: np.ndarray
    translations: np.ndarray
    points: np.ndarray
    focal: float
    k1: float = 0.0
    k2: float = 0.0
    zoom: np.ndarray | None = None
    shutter: Shutter | None = None
    is_fisheye: bool = False

    @property
    def is_pinhole(self) -> bool:
        return self.k1 == self.k2 == 0.0 and not self.is_fisheye

    @property
    def distortion(self) -> Distortion:
        return Distortion(self.k1, self.k2, is_fisheye=self.is_fisheye)

    def focals(self, camera: np.ndarray) -> np.ndarray | float:
        """Focal lengths (N,1) of the cameras (N,); one for all if it is the same."""
        return self.focal if self.zoom is None else self.focal * np.exp(self.zoom[camera])[:, None]

    def projected(self, places: np.ndarray, camera: np.ndarray) -> np.ndarray:
        """Pixels (N,2) of ideal places (N,2), x / z and y / z, in the cameras (N,)."""
        if self.is_pinhole:
            return self.focals(camera) * places
        squared = (places**2).sum(1, keepdims=True)
        return self.focals(camera) * places * radial_scale(squared, self.distortion)

    def in_camera(self, observations: Observations) -> np.ndarray:
        """The observed points in the axes of the observing cameras, when their rows are taken, (N,3)."""
        turned = np.einsum("nij,nj->ni", self.rotations[observations.camera], self.points[observations.point])
        in_camera = turned + self.translations[observations.camera]
        return in_camera if self.shutter is None else in_camera + self.row_shift(observations)[0]

    def row_shift(self, observations: Observations) -> tuple[np.ndarray, np.ndarray]:
        """As of Shutter.shift; of a state that has a shutter."""
        assert self.shutter is not None
        return self.shutter.shift(self.shutter.rows(observations.pixels), observations.camera,
                                  self.points[observations.point])

    def residual_px(self, observations: Observations) -> np.ndarray:
        """Distance from observation to projection, (N,); infinite behind the camera or where a point is nan."""
        in_camera = self.in_camera(observations)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            error = self.projected(in_camera[:, :2] / in_camera[:, 2:], observations.camera) - observations.pixels
            distance = np.hypot(error[:, 0], error[:, 1])
        return np.where((in_camera[:, 2] > MIN_DEPTH) & np.isfinite(distance), distance, np.inf)
