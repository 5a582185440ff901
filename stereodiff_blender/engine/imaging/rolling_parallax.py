"""From one frame's pixels to another's behind a rolling shutter: plane plus parallax whose plane goes on with the rows.

The row of a pixel x of frame i with disparity q is read at a time a, that of where frame j shows it at a time b. With
both at a, x' ~ (terms[0] + a terms[1] + a^2 terms[2]) @ (x, y, 1, q), which holds to the second order in the camera's
way while a frame is read; and the rest of the way, b - a, is short, and is gone at frame j's speed. Times are in frames
after the middle row, whose cameras are those of warp.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..geometry import camera_matrix, invert_rigid
from ..shutter import RowCamera, RowTimes

Coordinates = list[np.ndarray]
NEAREST = 1e-4
"""As of warp.BEHIND_CAMERA: what is behind has no row, and is given one far outside."""
MOST_FRAMES = 1.0
"""Between the readings of two rows, also of such that no picture has."""
LEAST_WAY = 0.1
"""Of a point that runs ahead of the rows, which are read at a speed of 1."""


@dataclass(frozen=True)
class LocatedPixels:
    """Pixels of frame i, for one disparity after another: frame j shows them at base + disparity * epipole, at the time
    at which they are read themselves. All in a shape that broadcasts with the pixels'."""

    warp: RollingParallax
    base: Coordinates
    epipole: Coordinates
    time: np.ndarray

    def at(self, disparity: np.ndarray, chosen: np.ndarray | None = None) -> Coordinates:
        """Three homogeneous coordinates of all pixels, or of the chosen ones, (n,) int; disparity has their shape."""
        base, epipole, time = self.base, self.epipole, self.time
        if chosen is not None:
            base, epipole, time = [b.take(chosen) for b in base], [e.take(chosen) for e in epipole], time.take(chosen)
        return self.warp.landed([b + e * disparity for b, e in zip(base, epipole, strict=True)], disparity, time)


@dataclass(frozen=True)
class RollingParallax:
    """As PlaneParallax, with the same methods; for pixels and disparities of any shape, in their type.

    terms: (3,3,4) float64. drift: (3,4) float64, what (x', y', w', q) adds to x' while one frame's time goes by.
    source, target: when the pixels of frames i and j are read.
    """

    terms: np.ndarray
    drift: np.ndarray
    source: RowTimes
    target: RowTimes

    @classmethod
    def between(cls, i: RowCamera, j: RowCamera) -> RollingParallax:
        """From the pixels of one camera to those of another."""
        middle_i, middle_j = (_homogeneous(camera.world_to_camera, 1.0) for camera in (i, j))
        to_j = middle_j @ invert_rigid(middle_i)
        (speed_i, bent_i), (speed_j, bent_j) = (
            [_homogeneous(change, 0.0) @ invert_rigid(middle) for change in (camera.velocity, camera.acceleration)]
            for camera, middle in ((i, middle_i), (j, middle_j)))
        by_time = (to_j, speed_j @ to_j - to_j @ speed_i,
                   0.5 * bent_j @ to_j - speed_j @ to_j @ speed_i + to_j @ (speed_i @ speed_i - 0.5 * bent_i))
        pixels_i, pixels_j = (_in_pixels(camera.times) for camera in (i, j))
        terms = np.stack([(pixels_j @ term @ np.linalg.inv(pixels_i))[:3] for term in by_time])
        return cls(terms, (pixels_j @ speed_j @ np.linalg.inv(pixels_j))[:3], i.times, j.times)

    def located(self, x: np.ndarray, y: np.ndarray) -> LocatedPixels:
        """Pixels, of any shapes that broadcast."""
        time = self.source.at(x, y)
        base, epipole = [], []
        for row in np.moveaxis(self.terms, 0, -1).tolist():
            across, down, one, shift = (term[0] + time * (term[1] + time * term[2]) for term in row)
            base.append(across * x + (one + down * y))
            epipole.append(shift)
        return LocatedPixels(self, base, epipole, time)

    def landed(self, pixel: Coordinates, disparity: np.ndarray, time: np.ndarray) -> Coordinates:
        """Homogeneous pixels of frame j at these times, when the rows that show them are read. In place."""
        u, v, w = pixel
        du, dv, dw = self._going(pixel, disparity)
        ahead = np.maximum(w, NEAREST)
        rows = (self.target.slope / self.target.intrinsics[1]) * (dv - v / ahead * dw) / ahead
        # While the camera goes on to where a row is read, the point goes on to another row.
        gone = (self.target.at(u, v, ahead) - time) / np.maximum(1.0 - rows, LEAST_WAY)
        gone = np.clip(gone, -MOST_FRAMES, MOST_FRAMES)
        for part, going in ((u, du), (v, dv), (w, dw)):
            going *= gone
            part += going
        return pixel

    def _going(self, pixel: Coordinates, disparity: np.ndarray | float) -> Coordinates:
        """What a frame's time adds to homogeneous pixels of frame j."""
        u, v, w = pixel
        going = []
        for across, down, one, shift in self.drift.tolist():
            total = across * u
            for factor, part in ((down, v), (one, w), (shift, disparity)):
                total += factor * part
            going.append(total)
        return going

    def grid(self, x: np.ndarray, y: np.ndarray, disparity: np.ndarray) -> Coordinates:
        """As of PlaneParallax."""
        return self.located(x, y).at(disparity)

    points = grid

    def depth_ratio(self, x: np.ndarray, y: np.ndarray, disparity: np.ndarray) -> np.ndarray:
        """As of PlaneParallax, along the axes of both rows' cameras."""
        return self.located(x, y).at(disparity)[2]

    def towards(self, x: np.ndarray, y: np.ndarray, u: np.ndarray, v: np.ndarray) -> tuple[Coordinates, Coordinates]:
        """As of PlaneParallax: the row of a match is known."""
        there = self.located(x, y)
        gone = np.clip(self.target.at(u, v) - there.time, -MOST_FRAMES, MOST_FRAMES)
        base, epipole = ([part + gone * going for part, going in zip(parts, self._going(parts, disparity), strict=True)]
                         for parts, disparity in ((there.base, 0.0), (there.epipole, 1.0)))
        return base, epipole


def _homogeneous(matrix: np.ndarray, last: float) -> np.ndarray:
    """(4,4) of (3,4)."""
    return np.vstack([matrix, [0.0, 0.0, 0.0, last]])


def _in_pixels(times: RowTimes) -> np.ndarray:
    """(4,4): of a camera's axes and 1, homogeneous pixels and 1."""
    matrix = np.eye(4)
    matrix[:3, :3] = camera_matrix(times.intrinsics)
    return matrix
