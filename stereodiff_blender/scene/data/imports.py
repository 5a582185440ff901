"""Which footages a scene holds imports of, and the datablocks of each: what operators act on.

Nothing is remembered here: everything is found by its tag (ownership.py), so it holds after undo, renaming and loading.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import bpy

from ...engine.contract import StereoDiffError
from ..result import ImportedResult, read_imported_result
from .ownership import TAG


@dataclass(frozen=True)
class SceneImport:
    """One footage's import. Valid until the next undo, redo or file load, as all references into Blender.

    footage: the key all its tags share. name: of the shot, for people. folder: of the job it came from.
    root and camera: None only if the artist deleted them; mesh: also when the shot has no depth.
    images: by product ("depth", "confidence", "motion_mask"), "plate" and, once they are in the compositor, "undistort
    map" and "redistort map". clip: the footage behind the camera.
    """

    footage: str
    name: str
    folder: Path
    collection: bpy.types.Collection
    root: bpy.types.Object | None
    camera: bpy.types.Object | None
    mesh: bpy.types.Object | None
    images: dict[str, bpy.types.Image]
    clip: bpy.types.MovieClip | None

    @property
    def job_id(self) -> str:
        """Of the job whose result it is."""
        return self.collection[TAG]["job"]

    @property
    def clip_shape(self) -> float:
        """Width / height of the clip as it was solved and is looked at; 0 if an earlier version imported it."""
        return float(self.collection[TAG].get("clip_shape", 0.0))

    @property
    def has_lens_maps(self) -> bool:
        """Whether its lens has distortion, and ST maps say so."""
        return bool(self.collection[TAG].get("lens_maps", False))

    @property
    def readout(self) -> float:
        """Of a rolling shutter, first row to last, in frames; 0 if all rows were taken at once."""
        return float(self.collection[TAG].get("readout", 0.0))

    @property
    def scene_frames(self) -> range:
        """Scene frames that were solved."""
        first, last = self.collection[TAG]["scene_frames"]
        return range(int(first), int(last) + 1)

    def part(self, scene: bpy.types.Scene, part: str) -> bpy.types.Object | None:
        """This import's object that plays a part, such as "points"; None if the scene has none."""
        return parts(scene.objects, self.footage).get(part)

    def read_imported_result(self) -> ImportedResult:
        """The result behind it, read from its job folder. Raises StereoDiffError as shot.read_imported_result does."""
        shot = read_imported_result(self.folder, self.clip)[0]
        return replace(shot, key=self.footage, name=self.collection[TAG].get("name", shot.name))


def parts(blocks, footage: str) -> dict:
    """A footage's own datablocks among blocks, by the part each plays.

    Parameters
    ----------
    blocks : iterable of bpy.types.ID or bpy.types.Node
        What is looked through.
    footage : str
        The key that all tags of the footage share.

    Returns
    -------
    dict of str to bpy.types.ID or bpy.types.Node
        By part, such as "camera" or "depth mesh".
    """
    marks = ((block, block.get(TAG)) for block in blocks)
    return {mark["part"]: block for block, mark in marks if mark is not None and mark["footage"] == footage}


def import_collections(scene: bpy.types.Scene) -> list[bpy.types.Collection]:
    """The collections of all imports in a scene. Cheap enough for poll and draw."""
    return [c for c in scene.collection.children_recursive if TAG in c and "scene_frames" in c[TAG]]


def has_imports(scene: bpy.types.Scene) -> bool:
    """Whether a scene holds an import; cheap enough for poll and draw.

    Parameters
    ----------
    scene : bpy.types.Scene
        What is looked through.

    Returns
    -------
    bool
        True if there is one or more.
    """
    return bool(import_collections(scene))


def imports_in(scene: bpy.types.Scene) -> list[SceneImport]:
    """Every import in a scene, in the order of its collections.

    Parameters
    ----------
    scene : bpy.types.Scene
        What is looked through.

    Returns
    -------
    list of SceneImport
        One for each footage; empty if there is none.
    """
    return [_found(scene, collection) for collection in import_collections(scene)]


def chosen_import(context: bpy.types.Context) -> SceneImport:
    """The import that is meant: the active object's, else the scene camera's, else the first.

    An object belongs to an import if it, or a parent of it, is one of its parts.

    Parameters
    ----------
    context : bpy.types.Context
        Its scene and its active object count.

    Returns
    -------
    SceneImport
        Valid until the next undo, redo or file load.

    Raises
    ------
    StereoDiffError
        "import_missing": the scene has no import.
    """
    collections = {c[TAG]["footage"]: c for c in reversed(import_collections(context.scene))}
    if not collections:
        raise StereoDiffError("import_missing", "")
    wanted = [footage for thing in (context.active_object, context.scene.camera)
              if (footage := _footage_of(thing)) in collections]
    return _found(context.scene, collections[(wanted or list(reversed(collections)))[0]])


def _footage_of(thing: bpy.types.Object | None) -> str | None:
    while thing is not None and TAG not in thing:
        thing = thing.parent
    return thing[TAG]["footage"] if thing is not None else None


def _found(scene: bpy.types.Scene, collection: bpy.types.Collection) -> SceneImport:
    footage = collection[TAG]["footage"]
    objects, images = parts(scene.objects, footage), parts(bpy.data.images, footage)
    camera = objects.get("camera")
    return SceneImport(footage, collection.name.removeprefix("StereoDiff "), _folder(collection, images), collection,
                       objects.get("root"), camera, objects.get("depth mesh"), images, _clip_behind(camera))


def _folder(collection: bpy.types.Collection, images: dict[str, bpy.types.Image]) -> Path:
    """Where the depth is, because Blender keeps an image's path right when files move together; else as noted."""
    depth = images.get("depth")
    if depth is not None:
        return Path(bpy.path.abspath(depth.filepath, library=depth.library)).parents[1]
    return Path(collection[TAG]["folder"])


def _clip_behind(camera: bpy.types.Object | None) -> bpy.types.MovieClip | None:
    if camera is None:
        return None
    shown = (background.clip for background in camera.data.background_images if background.source == "MOVIE_CLIP")
    return next((clip for clip in shown if clip is not None), None)
