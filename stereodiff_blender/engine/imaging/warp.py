"""From one frame's pixels to another's, by depth: plane plus parallax (Hartley and Zisserman 2003, chapter 13).

With both cameras known, a pixel x of frame i with disparity q (1 / z-depth) is seen in frame j at
x' ~ infinite_homography @ x + q * epipole, in homogeneous pixels. The third of them is the point's depth in frame j
over its depth in frame i. Behind a rolling shutter both change from row to row (rolling_parallax.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from ..geometry import camera_matrix, invert_rigid, relative_pose
from ..shutter import RollingShutter
from .rolling_parallax import Coordinates, RollingParallax

BEHIND_CAMERA = 1e-4
"""Depth in the other frame, as a share of that in a pixel's own, up to which its point counts as behind the camera."""
FAR_OUTSIDE_PX = -1e4
"""Column of what is behind the camera: in no picture, and still a number that OpenCV can count with."""
MOST_ROWS = 32_000
"""OpenCV counts rows and columns of places in 16 bits."""


class Cameras(Protocol):
    """camera_to_world: (T,4,4). intrinsics: (T,4) fx, fy, cx, cy. shutter: None if all rows of a frame are read at
    once. A CameraSolution is one."""

    @property
    def camera_to_world(self) -> np.ndarray: ...

    @property
    def intrinsics(self) -> np.ndarray: ...

    @property
    def shutter(self) -> RollingShutter | None: ...


class Located(Protocol):
    """Pixels of one frame, for one disparity after another."""

    def at(self, disparity: np.ndarray) -> Coordinates: ...


class Warp(Protocol):
    """From the pixels of one frame to those of another: a PlaneParallax, or a RollingParallax."""

    def grid(self, x: np.ndarray, y: np.ndarray, disparity: np.ndarray) -> Coordinates: ...

    def points(self, x: np.ndarray, y: np.ndarray, disparity: np.ndarray) -> Coordinates: ...

    def located(self, x: np.ndarray, y: np.ndarray) -> Located: ...

    def depth_ratio(self, x: np.ndarray, y: np.ndarray, disparity: np.ndarray) -> np.ndarray: ...

    def towards(self, x: np.ndarray, y: np.ndarray, u: np.ndarray, v: np.ndarray
                ) -> tuple[Coordinates, Coordinates]: ...


@dataclass(frozen=True)
class PlaneParallax:
    """Where pixels of one frame lie in another, up to scale: infinite_homography (3,3) @ x + disparity * epipole (3,).

    Both float64; what is computed has the type of the pixels that are handed in. There are two ways to say which
    pixels are meant, because there are two orders to add in: whole lines of a grid share their sums, which saves a
    picture's worth of products, while scattered pixels share none. The orders differ in the last bit of a float32,
    and depth is to be the same to the last bit: so who works on a grid stays with grid(), who does not with points().
    """

    infinite_homography: np.ndarray
    epipole: np.ndarray

    @classmethod
    def from_motion(cls, rotation: np.ndarray, translation: np.ndarray, intrinsics_i, intrinsics_j) -> PlaneParallax:
        """rotation (3,3), translation (3,): from camera i's coordinates to camera j's, as of relative_pose."""
        matrix_i, matrix_j = camera_matrix(intrinsics_i), camera_matrix(intrinsics_j)
        return cls(matrix_j @ rotation @ np.linalg.inv(matrix_i), matrix_j @ translation)

    def grid_at_infinity(self, x: np.ndarray, y: np.ndarray) -> Coordinates:
        """Three homogeneous coordinates, (H,W) each, of pixels without end. x: (1,W), y: (H,1), as of pixel_axes."""
        matrix = self.infinite_homography.astype(x.dtype)
        return [(row[0] * x + row[2]) + row[1] * y for row in matrix]

    def grid(self, x: np.ndarray, y: np.ndarray, disparity: np.ndarray) -> Coordinates:
        """Three homogeneous coordinates, (H,W) each. x: (1,W), y: (H,1), as of pixel_axes. disparity: (H,W)."""
        return [row + shift * disparity for row, shift in zip(self.grid_at_infinity(x, y), self.epipole.astype(x.dtype),
                                                              strict=True)]

    def points(self, x: np.ndarray, y: np.ndarray, disparity: np.ndarray) -> Coordinates:
        """Three homogeneous coordinates of any pixels, in the shape that x, y and disparity have."""
        return [self._coordinate(k, x, y, disparity) for k in range(3)]

    def located(self, x: np.ndarray, y: np.ndarray) -> PlanePixels:
        """Any pixels, for one disparity after another, as of points()."""
        return PlanePixels(self, x, y)

    def depth_ratio(self, x: np.ndarray, y: np.ndarray, disparity: np.ndarray) -> np.ndarray:
        """Depth in the other frame over depth here: the third coordinate of points() alone, not positive behind."""
        return self._coordinate(2, x, y, disparity)

    def towards(self, x: np.ndarray, y: np.ndarray, u: np.ndarray, v: np.ndarray) -> tuple[Coordinates, Coordinates]:
        """Coordinates (H,W) of a grid's pixels without end, and what a disparity of 1 adds to them, if they are matched
        with the places (u, v): here any, because all rows are read at once."""
        return self.grid_at_infinity(x, y), list(self.epipole.astype(x.dtype))

    def _coordinate(self, k: int, x: np.ndarray, y: np.ndarray, disparity: np.ndarray) -> np.ndarray:
        row, shift = self.infinite_homography[k].astype(x.dtype), self.epipole[k].astype(x.dtype)
        return row[0] * x + row[1] * y + row[2] + shift * disparity


@dataclass(frozen=True)
class PlanePixels:
    """Pixels of any shape. Nothing is kept: what is shared between disparities is less than a lookup."""

    warp: PlaneParallax
    x: np.ndarray
    y: np.ndarray

    def at(self, disparity: np.ndarray) -> Coordinates:
        """Three homogeneous coordinates, in the shape that the pixels and disparity have."""
        return self.warp.points(self.x, self.y, disparity)


def warp_between(cameras: Cameras, i: int, j: int) -> Warp:
    """The warp from frame i to frame j.

    Parameters
    ----------
    cameras : Cameras
        Of the clip: camera_to_world (T,4,4), intrinsics (T,4) and the shutter.
    i, j : int
        Indices, 0-based.

    Returns
    -------
    PlaneParallax or RollingParallax
        Of pixels of frame i to pixels of frame j; the latter behind a rolling shutter.
    """
    if cameras.shutter is not None:
        return RollingParallax.between(*(
            cameras.shutter.camera(k, invert_rigid(cameras.camera_to_world[k]), cameras.intrinsics[k]) for k in (i, j)))
    motion = relative_pose(cameras.camera_to_world[i], cameras.camera_to_world[j])
    return PlaneParallax.from_motion(*motion, cameras.intrinsics[i], cameras.intrinsics[j])


def pixel_axes(height: int, width: int, *, top: int = 0, left: int = 0,
               dtype: type[np.floating] = np.float32) -> tuple[np.ndarray, np.ndarray]:
    """Pixel centers of a grid that begins at (top, left).

    Parameters
    ----------
    height, width : int
        Of the grid, pixels.
    top, left : int
        Row and column of its first pixel.
    dtype : dtype
        Of the result, a float.

    Returns
    -------
    x : ndarray
        (1,W), pixels; left + 0.5 first.
    y : ndarray
        (H,1), pixels; top + 0.5 first.
    """
    half = np.dtype(dtype).type(0.5)
    x = np.arange(left, left + width, dtype=dtype)[None, :] + half
    y = np.arange(top, top + height, dtype=dtype)[:, None] + half
    return x, y


# --- Pixels ------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class WarpedPixels:
    """Where pixels lie in another frame, each array in the shape that was asked for.

    columns, rows: pixels, the center of the first at 0.5. depth_ratio: depth there over depth here. in_front: bool;
    what is behind the camera has a depth_ratio of 1, and lies far outside the picture.
    """

    columns: np.ndarray
    rows: np.ndarray
    depth_ratio: np.ndarray
    in_front: np.ndarray

    @property
    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """Columns and rows as sample_at counts them."""
        return self.columns - np.float32(0.5), self.rows - np.float32(0.5)

    def inside(self, size: tuple[int, int]) -> np.ndarray:
        """Which of them a picture of size (H,W) shows, between pixel centers on all sides: bool."""
        column, row = self.places
        return self.in_front & (column > 0) & (row > 0) & (column < size[1] - 1) & (row < size[0] - 1)


def warp_pixels(warp: Warp, x: np.ndarray, y: np.ndarray, disparity: np.ndarray) -> WarpedPixels:
    """Where scattered pixels of any shape lie in another frame.

    Parameters
    ----------
    warp : Warp
        From their frame to the other.
    x, y : ndarray
        Pixels, float; the center of the first pixel is 0.5.
    disparity : ndarray
        Of the same shape, 1 / scene unit; 0 is infinitely far.

    Returns
    -------
    WarpedPixels
        Each array in that shape.
    """
    return warp_located(warp.located(x, y), disparity)


def warp_located(located: Located, disparity: np.ndarray) -> WarpedPixels:
    """Where scattered pixels lie in another frame, for one disparity after another.

    Parameters
    ----------
    located : Located
        As of Warp.located.
    disparity : ndarray
        Of the pixels' shape, 1 / scene unit; 0 is infinitely far.

    Returns
    -------
    WarpedPixels
        Each array in that shape.
    """
    return _divided(*located.at(disparity))


def warp_grid(warp: Warp, x: np.ndarray, y: np.ndarray, disparity: np.ndarray) -> WarpedPixels:
    """Where a grid of pixels lies in another frame.

    Parameters
    ----------
    warp : Warp
        From its frame to the other.
    x, y : ndarray
        (1,W) and (H,1) pixels, as of pixel_axes.
    disparity : ndarray
        (H,W), 1 / scene unit; 0 is infinitely far.

    Returns
    -------
    WarpedPixels
        Each array (H,W).
    """
    return _divided(*warp.grid(x, y, disparity))


def _divided(u: np.ndarray, v: np.ndarray, w: np.ndarray) -> WarpedPixels:
    in_front = w > BEHIND_CAMERA
    if in_front.all():
        return WarpedPixels(u / w, v / w, w, in_front)
    w = np.where(in_front, w, w.dtype.type(1.0))
    return WarpedPixels(np.where(in_front, u / w, w.dtype.type(FAR_OUTSIDE_PX)), v / w, w, in_front)


def induced_flow(disparity: np.ndarray, warp: Warp) -> np.ndarray:
    """Flow of a static scene with this disparity.

    Points that come to lie behind the other camera are sent to a great distance, in their direction.

    Parameters
    ----------
    disparity : ndarray
        (H,W) float32, 1 / scene unit.
    warp : Warp
        From its frame to the other.

    Returns
    -------
    ndarray
        (H,W,2) float32, pixels, x and y.
    """
    x, y = pixel_axes(*disparity.shape)
    u, v, w = warp.grid(x, y, disparity)
    inverse_depth = 1.0 / np.maximum(w, np.float32(BEHIND_CAMERA))
    flow = np.empty((*disparity.shape, 2), np.float32)
    flow[..., 0] = u * inverse_depth - x
    flow[..., 1] = v * inverse_depth - y
    return flow


# --- Pictures ----------------------------------------------------------------------------------------------------

def sample_at(image: np.ndarray, columns: np.ndarray, rows: np.ndarray, method: int = cv2.INTER_LINEAR, *,
              border: int = cv2.BORDER_REPLICATE) -> np.ndarray:
    """What an image holds at places, counted from the center of its first pixel.

    Parameters
    ----------
    image : ndarray
        (H,W) or (H,W,C), of a dtype that OpenCV's remap takes.
    columns, rows : ndarray
        (n,k) float32, contiguous, pixels; n may be anything, 0 too, k less than 32767.
    method : int
        OpenCV's interpolation.
    border : int
        OpenCV's border mode, for places outside the image.

    Returns
    -------
    ndarray
        (n,k) or (n,k,C), of the image's dtype.
    """
    if 0 < len(columns) <= MOST_ROWS:
        return cv2.remap(image, columns, rows, method, borderMode=border)
    found = np.empty((*columns.shape, *image.shape[2:]), image.dtype)
    for start in range(0, len(columns), MOST_ROWS):
        part = slice(start, start + MOST_ROWS)
        found[part] = cv2.remap(image, columns[part], rows[part], method, borderMode=border)
    return found
