"""Which import in the scene a new one takes the place of, and under which key it lives.

Imports of one footage live side by side as long as they share no frame: two shots of a file. One that overlaps an
earlier import replaces it. What belongs to another scene is never taken. A key is the footage's path where that is
free, as earlier versions had it for all; their tags say no frames, so those are told by where the import plays.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import bpy

from ...engine.contract import QUALITIES, ClipSource
from ...engine.contract.footage_fingerprint import fingerprint, is_other_footage
from ..result import ImportedResult
from .ownership import TAG


@dataclass(frozen=True)
class EarlierImport:
    """An import of the same footage in the scene. pictures: as ImportedResult has them. name: for people.

    pixels: of the raster, 0 if that is not known. quality: the preset, "" where an earlier version did not note it.
    """

    key: str
    job: str
    name: str
    pictures: range
    pixels: int = 0
    quality: str = ""
    fingerprint: str = ""
    collection: bpy.types.Collection | None = None


def find_earlier(scene: bpy.types.Scene, shot: ImportedResult) -> EarlierImport | None:
    """The import that a new one takes the place of.

    Parameters
    ----------
    scene : bpy.types.Scene
        Where the new one goes.
    shot : ImportedResult
        The new one; its footage, frames and job count.

    Returns
    -------
    EarlierImport or None
        That of the same job, else that which shares most frames; None if none shares any.
    """
    shared = {earlier.key: _shared(earlier.pictures, shot.pictures) for earlier in of_footage(scene, shot)}
    found = [earlier for earlier in of_footage(scene, shot)
             if earlier.job == shot.result.job_id or shared[earlier.key] > 0]
    return max(found, key=lambda earlier: (earlier.job == shot.result.job_id, shared[earlier.key]), default=None)


def of_footage(scene: bpy.types.Scene, shot: ImportedResult) -> Iterator[EarlierImport]:
    """Every import of the same footage that belongs to a scene, whatever its frames."""
    known = set()
    for block in (*scene.collection.children_recursive, *scene.objects):
        mark = block.get(TAG)
        if mark is None or mark["footage"] in known or not _belongs(block, scene) or not _is_same(mark, shot):
            continue
        known.add(mark["footage"])
        yield _noted(block, mark, shot)


def is_better(earlier: EarlierImport, shot: ImportedResult) -> bool:
    """Whether an import should not be replaced unasked.

    Parameters
    ----------
    earlier : EarlierImport
        What is there.
    shot : ImportedResult
        What would take its place.

    Returns
    -------
    bool
        True if it holds all of the new frames and more, or the same frames on a finer raster or by a better preset, and
        is not of footage that was replaced since.
    """
    if earlier.job == shot.result.job_id or _was_replaced(earlier, shot):
        return False
    if earlier.pictures != shot.pictures:
        return _shared(earlier.pictures, shot.pictures) == len(shot.pictures)
    pixels = shot.result.width * shot.result.height
    return earlier.pixels > pixels or (earlier.pixels in (0, pixels) and _rank(earlier.quality) > _rank(shot.quality))


def with_key(scene: bpy.types.Scene, shot: ImportedResult, earlier: EarlierImport | None) -> ImportedResult:
    """The shot with the key and the name under which it lives in a scene.

    Parameters
    ----------
    scene : bpy.types.Scene
        Where it goes.
    shot : ImportedResult
        As read.
    earlier : EarlierImport or None
        What it replaces.

    Returns
    -------
    ImportedResult
        With the key and name of what it replaces; else with a key that nobody uses, and a name that says its frames, by
        the footage's own numbers, if there are others of it.
    """
    if earlier is not None:
        return replace(shot, key=_own_key(scene, shot, earlier), name=earlier.name)
    first = shot.result.clip.number_of(shot.first_frame)
    frames = f"{first}-{first + shot.frame_count - 1}"
    has_others = any(True for _ in of_footage(scene, shot))
    return replace(shot, key=_free_key(shot), name=f"{shot.name} {frames}" if has_others else shot.name)


def note_import(collection: bpy.types.Collection, shot: ImportedResult) -> None:
    """Keep in an import's collection where its job is, what was solved and where that plays.

    Parameters
    ----------
    collection : bpy.types.Collection
        The import's, as claim_collection() gives it.
    shot : ImportedResult
        Says all of it.
    """
    mark, frames = collection[TAG], shot.scene_frames
    mark["folder"], mark["name"], mark["quality"] = str(shot.folder), shot.name, shot.quality
    mark["scene_frames"] = [int(frames[0]), int(frames[-1])]
    mark["pixels"], mark["clip_shape"] = shot.result.width * shot.result.height, shot.clip_shape
    mark["lens_maps"], mark["readout"] = shot.result.lens.undistort is not None, shot.result.lens.readout


def _belongs(block: bpy.types.ID, scene: bpy.types.Scene) -> bool:
    """A collection that lies in the scene; an object only if no other scene shows it, too."""
    return block.library is None and (isinstance(block, bpy.types.Collection) or set(block.users_scene) == {scene})


def _is_same(mark, shot: ImportedResult) -> bool:
    """The same footage, by its path or by its content."""
    found, known = mark.get("fingerprint", ""), shot.result.clip.fingerprint
    return mark.get("path", mark["footage"]) == shot.footage or ("" != found == known)


def _noted(block: bpy.types.ID, mark, shot: ImportedResult) -> EarlierImport:
    name = mark.get("name", shot.name)
    collection = block if isinstance(block, bpy.types.Collection) else None
    pixels = int(mark.get("pixels", 0)) or _pixels_of_depth(mark["footage"])
    return EarlierImport(mark["footage"], mark["job"], name, _pictures(mark, shot), pixels, mark.get("quality", ""),
                         mark.get("fingerprint", ""), collection)


def _pixels_of_depth(key: str) -> int:
    """What an earlier version did not note; 0 if the picture is not there."""
    marks = ((image, image.get(TAG)) for image in bpy.data.images)
    return next((image.size[0] * image.size[1] for image, mark in marks
                 if mark is not None and (mark["footage"], mark["part"]) == (key, "depth")), 0)


def _pictures(mark, shot: ImportedResult) -> range:
    """As noted; an earlier version noted where it plays, if anything. Without that it may be anywhere: all of them."""
    if "pictures" in mark:
        first, last = (int(number) for number in mark["pictures"])
    elif "scene_frames" in mark:
        to_picture = shot.pictures[0] - shot.scene_frame(shot.first_frame)
        first, last = (int(number) + to_picture for number in mark["scene_frames"])
    else:
        return shot.pictures
    return range(first, last + 1)


def _shared(one: range, other: range) -> int:
    return max(0, min(one.stop, other.stop) - max(one.start, other.start))


def _was_replaced(earlier: EarlierImport, shot: ImportedResult) -> bool:
    """Whether the pictures that an import was solved from are others now."""
    source = ClipSource(shot.result.clip.kind, str(shot.plate))
    return is_other_footage(earlier.fingerprint, fingerprint(source, earlier.pictures))


def _rank(quality: str) -> int:
    return QUALITIES.index(quality) if quality in QUALITIES else -1


# --- Keys ----------------------------------------------------------------------------------------------------------

def _free_key(shot: ImportedResult) -> str:
    """One that nobody uses. Leftovers of a deleted import may have it: they are taken up again."""
    used, first, last = _used_keys(), shot.pictures[0], shot.pictures[-1]
    key, count = shot.footage, 0
    while key in used:
        count += 1
        key = f"{shot.footage}#{first}-{last}" + (f"#{count}" if count > 1 else "")
    return key


def _used_keys() -> set[str]:
    """Of collections and objects that some scene, or an instance, shows."""
    shown = [c for c in bpy.data.collections if c.users - c.use_fake_user > 0]
    shown += [thing for thing in bpy.data.objects if thing.users_scene]
    return {block[TAG]["footage"] for block in shown if TAG in block}


def _own_key(scene: bpy.types.Scene, shot: ImportedResult, earlier: EarlierImport) -> str:
    """That of the earlier import, unless another scene has one of the same key: a full copy of a scene holds copies of
    everything with its tags."""
    own = set(scene.collection.children_recursive) | set(scene.objects)
    if not any(block not in own and block.get(TAG, {}).get("footage") == earlier.key and _is_shown(block)
               for block in (*bpy.data.collections, *bpy.data.objects)):
        return earlier.key
    key = _free_key(shot)
    for block in own:
        _give_key(block, earlier.key, key, scene)
    return key


def _is_shown(block: bpy.types.ID) -> bool:
    return bool(block.users_scene) if isinstance(block, bpy.types.Object) else block.users - block.use_fake_user > 0


def _give_key(block: bpy.types.ID, old: str, new: str, scene: bpy.types.Scene) -> None:
    """To a collection or object of this scene's, and to what it alone shows."""
    if block.get(TAG, {}).get("footage") != old or not _belongs(block, scene):
        return
    shown = [] if isinstance(block, bpy.types.Collection) else _shown_by(block)
    for own in (block, *(thing for thing in shown if thing.get(TAG, {}).get("footage") == old and thing.users == 1)):
        own[TAG]["footage"] = new


def _shown_by(thing: bpy.types.Object) -> Iterator[bpy.types.ID]:
    yield from (modifier.node_group for modifier in thing.modifiers if getattr(modifier, "node_group", None))
    yield from (slot.material for slot in thing.material_slots if slot.material is not None)
    if thing.data is not None:
        yield thing.data
