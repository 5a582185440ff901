"""Place the whole import in the scene by its root alone, so that camera, mesh and points stay in register.

Points and matrices are in world space, Blender's axes. Each function gives a change (4,4) that move_root() applies on
top of where the root is.
"""

from __future__ import annotations

import bpy
import numpy as np
from mathutils import Matrix

from ...engine.contract import StereoDiffError
from ..camera import scale_reach
from ..data import SceneImport

__all__ = [
    "AXES", "axis_change", "floor_change", "move_root", "origin_change", "plane_change", "scale_change", "transformed",
    "world_from_result",
]

AXES = {"X": (1.0, 0.0), "Y": (0.0, 1.0), "-X": (-1.0, 0.0), "-Y": (0.0, -1.0)}
LEAST_SPREAD = 1e-3  # of the points' extent: less across than that is a line
_TRANSFORMS = ("location", "rotation_euler", "rotation_quaternion", "rotation_axis_angle", "scale", "delta_")


def floor_change(points, camera) -> np.ndarray:
    """The smallest turn that makes the plane through points horizontal, and the lift that brings it to z = 0.

    Parameters
    ----------
    points : array_like
        (N,3), N >= 3, of a floor; world space.
    camera : array_like
        (3,), a place above that floor, where the camera is; world space.

    Returns
    -------
    ndarray
        (4,4), for move_root().

    Raises
    ------
    StereoDiffError
        "points_missing": fewer than three points. "points_unusable": points on one line.
    """
    points = _enough(points, 3)
    middle = points.mean(axis=0)
    _, spread, directions = np.linalg.svd(points - middle, full_matrices=False)
    if spread[1] <= LEAST_SPREAD * spread[0]:
        raise StereoDiffError("points_unusable", "The points lie on one line.")
    return level_change(directions[2], middle, camera)


def level_change(normal, on_floor, camera) -> np.ndarray:
    """The same for a plane given by its normal (3,), of either sign, and one of its points (3,)."""
    up = np.asarray(normal, dtype=np.float64) / np.linalg.norm(normal)
    if (np.asarray(camera) - on_floor) @ up < 0:
        up = -up
    turn = _about(_turn_to_z(up), on_floor)
    turn[2, 3] -= on_floor[2]
    return turn


def plane_change(matrix, normal, offset: float) -> np.ndarray:
    """The same for a plane on the axes under the root: normal @ p = offset, normal towards the camera.

    Parameters
    ----------
    matrix : array_like
        (4,4), from there to world space, as world_from_result() gives it.
    normal : array_like
        (3,), of length 1.
    offset : float
        Signed distance of the plane from the origin along its normal, in units under the root.

    Returns
    -------
    ndarray
        (4,4), for move_root(), as floor_change() gives it.
    """
    on_floor = transformed(matrix, np.asarray(normal) * offset)
    up = np.linalg.inv(np.asarray(matrix)[:3, :3]).T @ normal
    return level_change(up, on_floor, on_floor + up)


def axis_change(start, end, axis: str) -> np.ndarray:
    """A turn about the vertical through start, after which the way from start to end goes along an axis of AXES.

    Parameters
    ----------
    start, end : array_like
        (3,) each; world space.
    axis : str
        A key of AXES: "X", "Y", "-X" or "-Y".

    Returns
    -------
    ndarray
        (4,4), for move_root().

    Raises
    ------
    StereoDiffError
        "points_unusable": the way is vertical or has no length.
    """
    way = _place(end) - _place(start)
    flat = np.hypot(*way[:2])
    if flat <= LEAST_SPREAD * np.linalg.norm(way) or flat == 0:
        raise StereoDiffError("points_unusable", "One of the points stands above the other, or they are the same.")
    (x, y), (to_x, to_y) = way[:2] / flat, AXES[axis]
    cosine, sine = x * to_x + y * to_y, x * to_y - y * to_x
    turn = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    return _about(turn, _place(start))


def origin_change(point) -> np.ndarray:
    """The shift that brings a point to the scene's origin.

    Parameters
    ----------
    point : array_like
        (3,); world space.

    Returns
    -------
    ndarray
        (4,4), for move_root().
    """
    change = np.eye(4)
    change[:3, 3] = -_place(point)
    return change


def scale_change(start, end, distance: float) -> np.ndarray:
    """The scaling about the scene's origin after which start and end are distance apart; a floor at z = 0 stays there.

    Parameters
    ----------
    start, end : array_like
        (3,) each; world space.
    distance : float
        In scene units, > 0.

    Returns
    -------
    ndarray
        (4,4), for move_root().

    Raises
    ------
    StereoDiffError
        "points_unusable": they are the same, or distance is not positive.
    """
    measured = np.linalg.norm(_place(end) - _place(start))
    if not (measured > 0 and np.isfinite(distance) and distance > 0):
        raise StereoDiffError("points_unusable", "Two different points and a distance above 0 are needed.")
    return np.diag([*np.full(3, distance / measured), 1.0])


def move_root(found: SceneImport, change) -> None:
    """Apply a change to an import's root; its camera's clipping range follows a change of scale.

    Parameters
    ----------
    found : SceneImport
        The import.
    change : array_like
        (4,4), world space, applied on top of where the root is.

    Raises
    ------
    StereoDiffError
        "import_missing": without root. "root_animated": something else decides where it is.
    """
    if found.root is None:
        raise StereoDiffError("import_missing", f"The root of {found.name} was deleted.")
    if _is_driven(found.root):
        raise StereoDiffError("root_animated", "")
    found.root.matrix_world = Matrix(np.asarray(change).tolist()) @ found.root.matrix_world
    factor = float(np.cbrt(np.linalg.det(np.asarray(change)[:3, :3])))
    if found.camera is not None and abs(factor - 1.0) > 1e-6:
        scale_reach(found.camera.data, factor)


def world_from_result(found: SceneImport) -> np.ndarray:
    """(4,4) from Blender's axes before the root's own transform, as camera_math gives them, to world space.

    Parameters
    ----------
    found : SceneImport
        The import.

    Returns
    -------
    ndarray
        (4,4) float64, with the root's scale.

    Raises
    ------
    StereoDiffError
        "import_missing": without root.
    """
    if found.root is None:
        raise StereoDiffError("import_missing", f"The root of {found.name} was deleted.")
    return np.array(found.root.matrix_world)


def transformed(matrix, points) -> np.ndarray:
    """Points (...,3) through a matrix (4,4).

    Parameters
    ----------
    matrix : array_like
        (4,4); its last row is not looked at.
    points : array_like
        (...,3).

    Returns
    -------
    ndarray
        (...,3), on the axes that the matrix leads to.
    """
    matrix = np.asarray(matrix)
    return np.asarray(points) @ matrix[:3, :3].T + matrix[:3, 3]


def _is_driven(root: bpy.types.Object) -> bool:
    if root.constraints and any(not constraint.mute for constraint in root.constraints):
        return True
    animation = root.animation_data
    if animation is None:
        return False
    return animation.action is not None or any(d.data_path.startswith(_TRANSFORMS) for d in animation.drivers)


def _enough(points, count: int) -> np.ndarray:
    points = np.asarray(points, dtype=np.float64).reshape(-1, 3)
    if len(points) < count:
        raise StereoDiffError("points_missing", f"{count} points are needed, {len(points)} are there.")
    return points


def _place(point) -> np.ndarray:
    return np.asarray(point, dtype=np.float64)


def _turn_to_z(up: np.ndarray) -> np.ndarray:
    """The smallest rotation (3,3) that takes a unit vector to +z."""
    axis, cosine = np.cross(up, (0.0, 0.0, 1.0)), up[2]
    if cosine < -1.0 + 1e-12:
        return np.diag([1.0, -1.0, -1.0])
    skew = np.array([[0.0, -axis[2], axis[1]], [axis[2], 0.0, -axis[0]], [-axis[1], axis[0], 0.0]])
    return np.eye(3) + skew + skew @ skew / (1.0 + cosine)


def _about(turn: np.ndarray, center) -> np.ndarray:
    """A rotation (3,3) about a point as a matrix (4,4)."""
    change = np.eye(4)
    change[:3, :3] = turn
    change[:3, 3] = center - turn @ center
    return change
