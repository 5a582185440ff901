"""The plane that things stand on, found in the clip's measured static points.

One plane for the clip: steep walls and ceilings are excluded by the cameras' own idea of up, table tops by how much
lies below them, and what rises beside a road by where it lies. Where a clip has no such plane there is none, and
nothing is made up. (RANSAC: Fischler and Bolles 1981, refined by iteratively reweighted least squares.)
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...geometry import camera_matrix
from ...shutter import RowCamera, RowTimes
from ...solution import CameraSolution

SUNK = 0.02
"""Share by which measured ground may lie farther away than the plane says."""
MAX_SIGMAS = 3.0
TRIPLES = 400
MIN_UPRIGHT = 0.7
"""Cosine of the angle that the ground's normal may be off the cameras' mean up."""
PLANE_TOLERANCE = 0.012
"""Height above the plane, as a share of the distance to the camera, within which a point lies on it."""
BELOW = 0.03
AHEAD = 0.25
"""Sine of the angle to the side at which a point counts 1/e: the ground in question is the one before the camera, not
the bank beside the road, however much better that can be measured."""
LEANING = 0.2
"""Sine of the angle by which a plane leans to a camera's side at which it counts 1/e: cameras are held level."""
MIN_SUPPORT, MAX_BELOW = 0.1, 0.1
MIN_POINTS = 60
"""That count in full (Kish 1965: effective sample size)."""
FIT_ROUNDS = 8
MAX_PITCH_COSINE = 0.5


@dataclass(frozen=True)
class GroundPlane:
    """Points X with up . X = level, world axes; up is a unit vector (3,) away from the ground."""

    up: np.ndarray
    level: float

    def seen_by(self, camera_to_world: np.ndarray, intrinsics: np.ndarray,
                row_camera: RowCamera | None = None) -> GroundView:
        """The plane as one camera has it; row_camera: the same, if its rows are not read at once."""
        up = camera_to_world[:3, :3].T @ self.up
        height = float(self.up @ camera_to_world[:3, 3] - self.level)
        to_pixels = np.linalg.inv(camera_matrix(intrinsics))
        view = GroundView(-(up @ to_pixels) / height, upright_normal(up, intrinsics))
        if row_camera is None:
            return view
        turning, moving = row_camera.velocity[:, :3] @ self.up, row_camera.velocity[:, 3]
        rising = -float(turning @ row_camera.world_to_camera[:, 3] + up @ moving)
        return replace(view, going=-(turning @ to_pixels + view.disparity * rising) / height, times=row_camera.times)


@dataclass(frozen=True)
class GroundView:
    """A ground plane in one frame, as functions of the homogeneous pixel p = (x, y, 1).

    disparity: (3,), the ground's disparity is disparity . p; not positive above the horizon. distance_per_depth: (3,),
    distance_per_depth . p is the horizontal depth of the pixel's ray per unit of z-depth: an upright board that faces
    the camera at horizontal depth d has disparity distance_per_depth . p / d. going: (3,), by how much disparity
    changes in a frame's time, where the pixels are read at these times.
    """

    disparity: np.ndarray
    distance_per_depth: np.ndarray
    going: np.ndarray | None = None
    times: RowTimes | None = None

    def disparity_at(self, x, y):
        """Ground disparity at pixels x, y (arrays that broadcast), 1 / scene unit."""
        disparity = self.disparity[0] * x + self.disparity[1] * y + self.disparity[2]
        if self.going is None or self.times is None:
            return disparity
        return disparity + self.times.at(x, y) * (self.going[0] * x + self.going[1] * y + self.going[2])

    def disparity_of(self, shape: tuple[int, int]) -> np.ndarray:
        """Ground disparity of all pixels of a raster, (H,W) float32."""
        x, y = (np.arange(size, dtype=np.float32) + np.float32(0.5) for size in (shape[1], shape[0]))
        return self.disparity_at(x[None, :], y[:, None]).astype(np.float32)

    def lifted(self, disparity: np.ndarray, uncertainty: np.ndarray) -> np.ndarray:
        """Disparity (H,W) without what lies below the ground for no good reason: nothing is seen through it.

        uncertainty: (H,W) relative standard deviation, infinite where nothing was measured. What was surely measured
        below the ground (a step, a ditch) stays there.
        """
        floor = np.float32(1.0 - SUNK) * self.disparity_of(disparity.shape)
        return np.where(floor < disparity * (1.0 + np.float32(MAX_SIGMAS) * uncertainty), np.maximum(disparity, floor),
                        disparity)

    def distance_per_depth_at(self, x, y):
        """Horizontal depth per z-depth at pixels x, y (arrays that broadcast)."""
        return self.distance_per_depth[0] * x + self.distance_per_depth[1] * y + self.distance_per_depth[2]


FLAT_VIEW = GroundView(np.zeros(3), np.array([0.0, 0.0, 1.0]))
"""Where there is no ground: boards of constant z-depth."""


def upright_normal(up: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """GroundView.distance_per_depth for an up vector (3,) in camera axes; constant z-depth if the camera looks steeply
    down."""
    forward = np.array([0.0, 0.0, 1.0])
    horizontal = forward - up[2] * up
    length = np.linalg.norm(horizontal)
    if length < MAX_PITCH_COSINE:
        return forward
    return horizontal / length @ np.linalg.inv(camera_matrix(intrinsics))


def find_ground(points: np.ndarray, seen_in: np.ndarray, cameras: CameraSolution) -> GroundPlane | None:
    """The ground below static points; None if none fits. Deterministic.

    Parameters
    ----------
    points : ndarray
        (N,3) measured static points, world axes, scene units.
    seen_in : ndarray
        (N,) int, index of the frame that each of them was measured in.
    cameras : CameraSolution
        Their mean up tells what is level, and all of them are above the ground.

    Returns
    -------
    GroundPlane or None
        World axes; one for the clip.

    References
    ----------
    Fischler and Bolles 1981, RANSAC.
    """
    if len(points) < MIN_POINTS:
        return None
    rights, downs, _, centers = np.moveaxis(cameras.camera_to_world[:, :3], 2, 0)
    distance = np.linalg.norm(points - centers[seen_in], axis=1)
    weights = _weights(points - centers[seen_in], rights[seen_in], distance)
    if 1.0 / (weights**2).sum() < MIN_POINTS:
        return None
    mean_up = -downs.mean(axis=0)
    mean_up /= max(np.linalg.norm(mean_up), 1e-9)
    ups, levels = _proposals(points, weights, mean_up, centers)
    if len(ups) == 0:
        return None
    support = _support((points @ ups.T - levels) / distance[:, None], weights)
    leaning = ((ups @ rights.T) ** 2).mean(axis=1)
    best = int(np.argmax(support * np.exp(-leaning / LEANING**2)))
    up, level = _refined(points, weights, distance, ups[best], levels[best])
    height = (points @ up - level) / distance
    is_ground = _support(height, weights) > MIN_SUPPORT and (height < -BELOW).mean() < MAX_BELOW
    return GroundPlane(up, level) if is_ground else None


def _weights(seen: np.ndarray, rights: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """What points say about the ground before the camera, (N,), 1 in all. seen, rights: (N,3) from the camera to each,
    and to its right. Near ones say more: it is there that the plane has to be right."""
    aside = np.einsum("ij,ij->i", seen, rights) / distance
    weights = np.exp(-((aside / AHEAD) ** 2)) / distance
    return weights / weights.sum()


def _support(heights: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Share of the points that lie on planes, less those below: (n,) of heights (N,n) as shares of distance."""
    return weights @ (np.abs(heights) < PLANE_TOLERANCE) - weights @ (heights < -BELOW)


def _proposals(points, weights, mean_up, centers) -> tuple[np.ndarray, np.ndarray]:
    """Planes through three points each that are level enough and below all cameras: (n,3) ups and (n,) levels."""
    is_low = points @ mean_up <= np.median(points @ mean_up)
    low, chance = points[is_low], weights[is_low]
    a, b, c = low[np.random.default_rng(0).choice(len(low), (3, TRIPLES), p=chance / chance.sum())]
    normals = np.cross(b - a, c - a)
    length = np.linalg.norm(normals, axis=1)
    usable = length > 1e-12
    normals = normals[usable] / length[usable, None]
    normals *= np.sign(normals @ mean_up)[:, None]
    levels = np.einsum("ij,ij->i", normals, a[usable])
    keep = (normals @ mean_up > MIN_UPRIGHT) & ((normals @ centers.T).min(axis=1) > levels)
    return normals[keep], levels[keep]


def _refined(points, weights, distance, up, level) -> tuple[np.ndarray, float]:
    """Least squares plane of the points near a first one, heights measured as shares of distance."""
    for _ in range(FIT_ROUNDS):
        height = (points @ up - level) / distance
        near = np.where(np.abs(height) < 3 * PLANE_TOLERANCE, 1.0 / (1.0 + (height / PLANE_TOLERANCE) ** 2) ** 2, 0)
        weight = weights * near / distance**2
        center = weight @ points / weight.sum()
        offset = points - center
        _, vectors = np.linalg.eigh((offset * weight[:, None]).T @ offset)
        up = vectors[:, 0] * np.sign(vectors[:, 0] @ up)
        level = float(up @ center)
    return up, level
