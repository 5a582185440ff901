"""Where a result stands whose cameras were given: in the world that they are from."""

from __future__ import annotations

import bpy
import numpy as np
from mathutils import Matrix

from ..result import ImportedResult, camera_math

PLACED = "stereodiff_placed"


def place_root(root: bpy.types.Object, shot: ImportedResult) -> None:
    """Put the root where the result's cameras are those that were given; once for each result, then it is the artist's.

    Parameters
    ----------
    root : bpy.types.Object
        The empty that carries the import.
    shot : ImportedResult
        Nothing is done for one whose cameras were solved.
    """
    placement = shot.result.placement
    if placement is None or root.get(PLACED) == shot.result.job_id:
        return
    matrix = np.array(placement) @ np.linalg.inv(camera_math.WORLD_TO_Z_UP)
    root.matrix_world = Matrix(matrix.tolist())
    root[PLACED] = shot.result.job_id
