"""An import that stands somewhere, and what moves with it."""

from __future__ import annotations

import bpy
import numpy as np
from bpy_extras.object_utils import world_to_camera_view
from job_folder import Example
from mathutils import Matrix, Vector

EXAMPLE = Example(zoom=1.0)
MOVED = Matrix.Translation((3, -2, 1)) @ Matrix.Rotation(0.7, 4, (0.2, 0.5, 1.0)) @ Matrix.Scale(2.0, 4)
FLOOR = np.array([[-1.0, 3.0, -1.7], [1.2, 3.5, -1.5], [0.3, 6.0, -2.1]])  # under the root, Blender's axes


def in_world(imported, points) -> np.ndarray:
    """Points given under the root, where Blender has them."""
    bpy.context.view_layer.update()
    return np.array([imported.root.matrix_world @ Vector(p) for p in np.atleast_2d(points)])


def views(imported) -> np.ndarray:
    """Where the camera sees some points that hang under the root: constant if everything stays in register."""
    points = in_world(imported, np.random.default_rng(3).uniform([-1, 3, -1], [1, 6, 1], (12, 3)))
    return np.array([world_to_camera_view(bpy.context.scene, imported.camera, Vector(p)) for p in points])[:, :2]


def given(points) -> dict:
    return {"source": "GIVEN", **{f"point_{letter}": point for letter, point in zip("abc", points, strict=False)}}
