"""A job's result as Blender data: camera, displaced mesh, depth images, in one collection."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import bpy

from ..engine.contract import Result, StereoDiffError
from .camera import (
    differences,
    follow_lens,
    import_camera,
    is_untouched,
    match_scene,
    place_root,
    reframe,
    refresh_lens_camera,
    refresh_overscan_camera,
    set_picture,
)
from .compositing import (
    add_depth_pass,
    reframe_depth,
    reframe_lens,
    reframe_plate,
    refresh_depth_group,
    refresh_lens_groups,
    refresh_plate,
)
from .data import (
    EarlierImport,
    SceneImport,
    claim_collection,
    claim_object,
    find_earlier,
    import_depth_images,
    import_plate,
    imports_in,
    is_better,
    note_import,
    remove_depth,
    with_key,
)
from .mesh import import_mesh, measurement_materials, plate_material
from .points import refresh_points
from .result import ImportedResult, other_footage, read_imported_result

KEPT_LENS = ("The clip keeps the lens that you set or solved. Blender undistorts the plate behind the camera by that "
             "one, so it may not lie on the mesh.")

__all__ = ["Imported", "add_depth_pass", "import_objections", "import_result", "reframe_pictures", "set_scene_to_clip"]


@dataclass
class Imported:
    """What an import made or updated. Valid until the next undo, redo or file load, as all references into Blender.

    mesh: None, and images empty, when the camera only turned or stood still, for which there is no depth.
    note: for people, what of the scene is not as the clip is; empty if all is. clip_note: likewise what of the clip is
    not as it was solved.
    """

    collection: bpy.types.Collection
    root: bpy.types.Object
    camera: bpy.types.Object
    mesh: bpy.types.Object | None
    images: dict[str, bpy.types.Image]
    result: Result
    shot: ImportedResult
    note: str = ""
    clip_note: str = ""

    @property
    def notes(self) -> str:
        return f"{self.note} {self.clip_note}".strip()


def import_result(scene: bpy.types.Scene, folder: Path, *, clip: bpy.types.MovieClip | None = None,
                  step: int | None = None, result: Result | None = None, replace_better: bool = False,
                  import_anyway: bool = False, match: str = "UNTOUCHED") -> Imported:
    """Bring a finished job into a scene, in place of an earlier import that shares frames of the same footage.

    A scene that nobody has set up takes over the clip's size, pixel aspect and rate and the solved frame range, and
    looks through the camera; any other stays as it is. Move, turn and scale the root to orient the whole; a later
    import leaves it where it is.

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
    replace_better, import_anyway : bool
        To be done in spite of "better_import" and of "footage_changed".
    match : str
        Which scene is set to the clip: "UNTOUCHED", "NEW" (any, if the shot was not imported before) or "ALWAYS".

    Returns
    -------
    Imported
        The datablocks that were made or updated.

    Raises
    ------
    StereoDiffError
        Before anything in the scene is touched: see read_imported_result() and import_objections().
    """
    shot, clip = read_imported_result(folder, clip, result)
    earlier = find_earlier(scene, shot)
    for objection in _objections(shot, clip, earlier):
        if objection.code not in ("better_import",) * replace_better + ("footage_changed",) * import_anyway:
            raise objection
    must_match = is_untouched(scene) or match == "ALWAYS" or (match == "NEW" and earlier is None)
    if must_match:
        set_picture(scene.render, shot)  # a new camera is fitted to its shape
    shot = with_key(scene, shot, earlier)
    imported = _bring_in(scene, shot, clip, step)
    if must_match:
        match_scene(scene, shot, imported.camera)
        reframe_pictures(scene)
    imported.note = differences(scene, shot, imported.camera)
    imported.clip_note = "" if follow_lens(clip, shot) else KEPT_LENS
    return imported


def _bring_in(scene: bpy.types.Scene, shot: ImportedResult, clip: bpy.types.MovieClip, step: int | None) -> Imported:
    collection = claim_collection(scene, shot)
    root = _claim_root(collection, shot)
    place_root(root, shot)
    camera = import_camera(scene, collection, root, shot, clip)
    refresh_overscan_camera(collection, camera, shot)
    refresh_lens_camera(collection, camera, shot)
    images = import_depth_images(shot)
    mesh = None
    if shot.result.depth_range is None:
        remove_depth(shot)
    else:
        materials = [plate_material(shot, import_plate(shot, clip), clip), *measurement_materials(shot, images)]
        mesh = import_mesh(collection, camera, shot, images, materials, step)
    note_import(collection, shot)
    refresh_points(scene, shot)
    imported = Imported(collection, root, camera, mesh, images, shot.result, shot)
    refresh_depth_group(scene, imported)
    refresh_lens_groups(scene, shot)
    refresh_plate(scene, shot, clip)
    return imported


def import_objections(scene: bpy.types.Scene, folder: Path, *, clip: bpy.types.MovieClip | None = None,
                      result: Result | None = None) -> list[StereoDiffError]:
    """What an artist should be asked before a job is imported; nothing is touched.

    Parameters
    ----------
    scene, folder, clip, result
        As of import_result().

    Returns
    -------
    list of StereoDiffError
        "footage_changed": what would be shown is not what was solved. "better_import": what would be replaced holds
        more frames, or the same ones finer.

    Raises
    ------
    StereoDiffError
        As read_imported_result() does.
    """
    shot, clip = read_imported_result(folder, clip, result)
    return _objections(shot, clip, find_earlier(scene, shot))


def _objections(shot: ImportedResult, clip: bpy.types.MovieClip, earlier: EarlierImport | None
                ) -> list[StereoDiffError]:
    found, other = [], other_footage(shot.result, clip, shot.plate)
    if other is not None:
        found.append(StereoDiffError("footage_changed", f"{other} holds other pictures than when it was solved."))
    if earlier is not None and is_better(earlier, shot):
        found.append(StereoDiffError("better_import", f"{earlier.name} in this scene has {len(earlier.pictures)} "
                                                      f"frames of it, this result {shot.frame_count}."))
    return found


def set_scene_to_clip(scene: bpy.types.Scene, found: SceneImport) -> None:
    """Give a scene the size, rate and solved frames of an import's clip, and let it look through the camera.

    Parameters
    ----------
    scene : bpy.types.Scene
        What is set; all clips behind cameras are laid anew.
    found : SceneImport
        The import.

    Raises
    ------
    StereoDiffError
        "import_missing": the camera was deleted. Or as read_imported_result() does.
    """
    if found.camera is None:
        raise StereoDiffError("import_missing", f"The camera of {found.name} was deleted.")
    match_scene(scene, found.read_imported_result(), found.camera)
    reframe_pictures(scene)


def reframe_pictures(scene: bpy.types.Scene) -> None:
    """Lay plate, depth and redistorted CG of every import anew, behind its camera and in the compositor.

    Parameters
    ----------
    scene : bpy.types.Scene
        The shape of whose render, or a Sensor Fit in which, has changed.
    """
    for found in imports_in(scene):
        reframe(scene, found)
        reframe_plate(scene, found)
        reframe_depth(scene, found)
        reframe_lens(scene, found)


def _claim_root(collection: bpy.types.Collection, shot: ImportedResult) -> bpy.types.Object:
    """The empty that carries everything. Its transform belongs to the artist."""
    root = claim_object(collection, shot, "root", None)
    if shot.result.depth_range is not None:
        root.empty_display_size = shot.result.depth_range[0]
    return root
