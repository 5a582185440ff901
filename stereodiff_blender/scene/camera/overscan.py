"""A second camera, which sees the overscan of the undistorted plate: CG for a lens with distortion needs its edges."""

from __future__ import annotations

import bpy

from ...engine.contract import StereoDiffError
from ..data import SceneImport, claim, find
from ..result import ImportedResult
from .camera import claim_camera_beside, set_lens

PART = "overscan camera"


def add_overscan_camera(found: SceneImport, shot: ImportedResult) -> bpy.types.Object:
    """Add a camera at the solved one that sees as much more as the lens's overscan, or bring it up to date.

    Parameters
    ----------
    found : SceneImport
        The import, with its camera.
    shot : ImportedResult
        Its result; without overscan the camera sees what the solved one does.

    Returns
    -------
    bpy.types.Object
        The camera. It moves with the solved one, and is for renders of shot.overscan_size.

    Raises
    ------
    StereoDiffError
        "import_missing": the camera was deleted.
    """
    if found.camera is None:
        raise StereoDiffError("import_missing", f"The camera of {found.name} was deleted.")
    return _follow(found.collection, found.camera, shot)


def refresh_overscan_camera(collection: bpy.types.Collection, camera: bpy.types.Object, shot: ImportedResult) -> None:
    """After another import: bring the camera up to date, if there is one.

    Parameters
    ----------
    collection : bpy.types.Collection
        The import's.
    camera : bpy.types.Object
        The solved one.
    shot : ImportedResult
        The new result.
    """
    if find(collection.objects, shot, PART) is not None:
        _follow(collection, camera, shot)


def _follow(collection: bpy.types.Collection, solved: bpy.types.Object, shot: ImportedResult) -> bpy.types.Object:
    data = claim(bpy.data.cameras, shot, PART, bpy.data.cameras.new)
    camera = claim_camera_beside(solved, collection, shot, PART, data)
    data.sensor_fit = "HORIZONTAL"  # so that the sensor's width alone says how much is seen
    set_lens(data, shot, shot.result.lens.overscan)
    return camera
