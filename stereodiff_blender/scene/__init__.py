"""A job's result as Blender data: camera, displaced mesh, depth images, in one collection."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import bpy

from ..engine.contract import Result
from .camera import fit_scene, import_camera, place_root
from .compositing import add_depth_pass, refresh_depth_group, refresh_plate
from .data import claim_collection, claim_object, import_depth_images, import_plate, note_folder, remove_depth
from .mesh import import_mesh, measurement_materials, plate_material
from .points import refresh_points
from .result import ImportedResult, read_imported_result

__all__ = ["Imported", "add_depth_pass", "import_result"]


@dataclass
class Imported:
    """What an import made or updated. Valid until the next undo, redo or file load, as all references into Blender.

    mesh: None, and images empty, when the camera only turned or stood still, for which there is no depth.
    """

    collection: bpy.types.Collection
    root: bpy.types.Object
    camera: bpy.types.Object
    mesh: bpy.types.Object | None
    images: dict[str, bpy.types.Image]
    result: Result
    shot: ImportedResult


def import_result(scene: bpy.types.Scene, folder: Path, *, clip: bpy.types.MovieClip | None = None,
                  step: int | None = None, result: Result | None = None) -> Imported:
    """Bring a finished job into a scene, in place of an earlier import of the same footage.

    The scene takes over the clip's size, pixel aspect and rate, the solved frame range, and looks through the camera.
    Move, turn and scale the root to orient the whole; a later import leaves it where it is.

    Parameters
    ----------
    scene : bpy.types.Scene
        Takes the import, in a collection of its own.
    folder : Path
        The job folder.
    clip : bpy.types.MovieClip or None
        The footage; None looks for it among the open clips, then loads it.
    step : int or None
        Pixels of the raster between neighboring vertices of the mesh; None keeps what the artist has set on an earlier
        import's mesh, or chooses one that plays well.
    result : Result or None
        The folder's, if it was read and checked already, beside Blender; None reads it.

    Returns
    -------
    Imported
        The datablocks that were made or updated.

    Raises
    ------
    StereoDiffError
        Before anything in the scene is touched: see read_imported_result().
    """
    shot, clip = read_imported_result(folder, clip, result)
    collection = claim_collection(scene, shot)
    root = _claim_root(collection, shot)
    place_root(root, shot)
    camera = import_camera(collection, root, shot, clip)
    images = import_depth_images(shot)
    mesh = None
    if shot.result.depth_range is None:
        remove_depth(shot)
    else:
        materials = [plate_material(shot, import_plate(shot, clip), clip), *measurement_materials(shot, images)]
        mesh = import_mesh(collection, camera, shot, images, materials, step)
    fit_scene(scene, collection, shot)
    note_folder(collection, shot)
    refresh_points(scene, shot)
    scene.camera = camera
    imported = Imported(collection, root, camera, mesh, images, shot.result, shot)
    refresh_depth_group(imported)
    refresh_plate(shot, clip)
    return imported


def _claim_root(collection: bpy.types.Collection, shot: ImportedResult) -> bpy.types.Object:
    """The empty that carries everything. Its transform belongs to the artist."""
    root = claim_object(collection, shot, "root", None)
    if shot.result.depth_range is not None:
        root.empty_display_size = shot.result.depth_range[0]
    return root
