"""The normal equations of a bundle adjustment: how residuals change with poses, points and lens, and their products.

NumPy only. There are some ten products for each of 100,000 observations, so arrays have an observation to a column
here: NumPy goes along them without a step. What a zoom does is what the focal length does, times a factor of the
camera: its columns are never written out for each observation, but multiplied in where they are summed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...lens import radial_derivatives
from .bundle_state import MIN_DEPTH, BundleState, Observations

BEHIND_CAMERA_PX = 50.0
"""Residual of a point behind its camera. From there on an observation has no say in how the lens bends and is read out:
that changes a place by the cube of how far out it is, and one stray point before a camera's plane would hold it."""


@dataclass(frozen=True)
class Fit:
    """A state's residuals (N,2), points in camera axes (N,3), robust weights (N,) and cost."""

    residuals: np.ndarray
    in_camera: np.ndarray
    weights: np.ndarray
    cost: float


@dataclass(frozen=True)
class Normal:
    """Normal equations in blocks.

    frames (C,7+S,7+S): products of the columns pose (6), lens (S), residual, summed over each camera's observations.
    points (P,3,4+S): products of a point's columns with point (3), lens, residual, summed over its observations.
    coupling (6,3,N): pose times point columns of each observation.
    prior: curvature and gradient that the focal prior adds.
    """

    frames: np.ndarray
    points: np.ndarray
    coupling: np.ndarray
    prior: tuple[float, float]


@dataclass(frozen=True)
class Derivatives:
    """Of the projection, x and y, by pose (6,2,N; left rotation, translation), point (3,2,N) and lens (L,2,N): focal;
    or focal, k1, k2, readout."""

    pose: np.ndarray
    point: np.ndarray
    lens: np.ndarray


class Layout:
    """Which observations, sorted by point, belong to which camera and zoom.

    zoom (C,K): what its ways do to the natural logarithm of each camera's focal length. lens_columns: L, 1 or 4.
    """

    def __init__(self, observations: Observations, cameras: int, points: int, zoom: np.ndarray, lens_columns: int):
        self.observations, self.cameras, self.points = observations, cameras, points
        self.zoom, self.lens_columns = zoom, lens_columns
        self.point_starts = np.searchsorted(observations.point, np.arange(points))
        by_camera = np.argsort(observations.camera, kind="stable")
        self.camera_ends = np.searchsorted(observations.camera[by_camera], np.arange(cameras + 1))
        self.by_camera = by_camera
        self.zoomed = [np.flatnonzero(way[observations.camera]) for way in zoom.T]

    def derivatives(self, state: BundleState, fit: Fit) -> Derivatives:
        in_camera = np.ascontiguousarray(fit.in_camera.T)
        depth = np.maximum(in_camera[2], MIN_DEPTH)
        place, camera = in_camera[:2] / depth, self.observations.camera
        by_place, by_lens = _lens_derivatives(state, place, camera, self.lens_columns)
        by_camera_point = np.empty((3, 2, len(depth)))
        by_camera_point[:2] = by_place / depth
        by_camera_point[2] = -(by_camera_point[0] * place[0] + by_camera_point[1] * place[1])
        x, y, z = in_camera - np.ascontiguousarray(state.translations.T)[:, camera]
        by_x, by_y, by_z = by_camera_point
        by_rotation = np.stack([y * by_z - z * by_y, z * by_x - x * by_z, x * by_y - y * by_x])
        rotations = np.ascontiguousarray(state.rotations.reshape(-1, 9).T)[:, camera].reshape(3, 3, 1, -1)
        by_point = by_x * rotations[0] + by_y * rotations[1] + by_z * rotations[2]
        if state.shutter is not None:
            shift_x, shift_y, shift_z = state.row_shift(self.observations)[1].T
            by_lens[3] = by_x * shift_x + by_y * shift_y + by_z * shift_z
        by_lens[1:, :, (fit.residuals**2).sum(1) >= BEHIND_CAMERA_PX**2] = 0.0
        return Derivatives(np.concatenate([by_rotation, by_camera_point]), by_point, by_lens)

    def normal(self, state: BundleState, fit: Fit, prior: tuple[float, float]) -> Normal:
        """Weighted by the fit's weights. prior: as Normal has it."""
        by, root = self.derivatives(state, fit), np.sqrt(fit.weights)
        pose, point = by.pose * root, by.point * root
        rest = np.concatenate([by.lens, fit.residuals.T[None]]) * root
        zoom = state.focal * self.zoom
        return Normal(self._of_frames(np.concatenate([pose, rest]), zoom), self._of_points(point, rest, zoom),
                      _products(pose, point), prior)

    def _of_frames(self, rows: np.ndarray, zoom: np.ndarray) -> np.ndarray:
        """rows (7+L,2,N): pose, lens, residual. zoom (C,K): by how much more than focal it changes a pixel."""
        columns, lens = len(rows), 6 + self.lens_columns
        rows = np.take(rows, self.by_camera, axis=2)
        few = np.empty((self.cameras, columns, columns))
        for camera, block in enumerate(few):
            shown = rows[:, :, self.camera_ends[camera]:self.camera_ends[camera + 1]]
            block[:] = shown[:, 0] @ shown[:, 0].T + shown[:, 1] @ shown[:, 1].T
        ways = zoom.shape[1]
        if not ways:
            return few
        frames = np.empty((self.cameras, columns + ways, columns + ways))
        old, new = np.r_[:lens, columns + ways - 1], np.arange(lens, lens + ways)
        frames[:, old[:, None], old] = few
        by_focal = few[:, 6, :, None] * zoom[:, None, :]
        frames[:, old[:, None], new] = by_focal
        frames[:, new[:, None], old] = np.swapaxes(by_focal, 1, 2)
        frames[:, new[:, None], new] = few[:, 6, 6, None, None] * zoom[:, :, None] * zoom[:, None, :]
        return frames

    def _of_points(self, point: np.ndarray, rest: np.ndarray, zoom: np.ndarray) -> np.ndarray:
        """point (3,2,N), rest (L+1,2,N): lens, residual. zoom: as of _of_frames."""
        products = _products(point, np.concatenate([point, rest]))
        sums = np.ascontiguousarray(np.add.reduceat(products, self.point_starts, axis=2).transpose(2, 0, 1))
        if not self.zoomed:
            return sums
        by_zoom = np.empty((self.points, 3, len(self.zoomed)))
        for way, chosen in enumerate(self.zoomed):
            factor, name = zoom[self.observations.camera[chosen], way], self.observations.point[chosen]
            for axis in range(3):
                by_zoom[:, axis, way] = np.bincount(name, factor * products[axis, 3, chosen], self.points)
        return np.concatenate([sums[:, :, :-1], by_zoom, sums[:, :, -1:]], axis=2)


def _products(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(A,B,N) of columns (A,2,N) and (B,2,N), summed over x and y."""
    return one[:, None, 0] * other[None, :, 0] + one[:, None, 1] * other[None, :, 1]


def _lens_derivatives(state: BundleState, place: np.ndarray, camera: np.ndarray,
                      columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Of the pixels of ideal places (2,N) in cameras (N,), by these (2,2,N) and by the lens (L,2,N): focal, or focal,
    k1, k2 and 0 for the shutter."""
    x, y = place
    by_place, by_lens = np.zeros((2, 2, len(x))), np.zeros((columns, 2, len(x)))
    focal = state.focal if state.zoom is None else state.focal * np.exp(state.zoom[camera])
    if state.is_pinhole and columns == 1:
        by_place[0, 0] = by_place[1, 1] = focal
        by_lens[0] = place * (focal / state.focal)
        return by_place, by_lens
    scale, bend, by_k1, by_k2 = radial_derivatives(x * x + y * y, state.distortion)
    by_place[0, 0], by_place[1, 1] = focal * (scale + bend * x * x), focal * (scale + bend * y * y)
    by_place[0, 1] = by_place[1, 0] = focal * (bend * x * y)
    for column, factor in zip(by_lens, (scale * focal / state.focal, focal * by_k1, focal * by_k2), strict=False):
        column[:] = place * factor
    return by_place, by_lens
