"""Which datablocks an import made, so that the next import of the same shot brings them up to date.

Every datablock carries a custom property "stereodiff": the key of its import under "footage", the job, its part, and
which footage and pictures that was solved from (earlier.py). The next import with that key claims them again instead of
making others beside them: names stay, nothing is left over, and whatever an artist has hung on them (parents,
constraints, compositor nodes, the root's transform) holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import bpy

from ..result import ImportedResult
from .animation import clear_animation

TAG = "stereodiff"
DEPTH_PARTS = frozenset({"depth mesh", "plate", "plate material", "depth material", "depth displacement",
                         "depth", "confidence", "motion_mask", "plate_depth", "mesh_depth",
                         "confidence material", "motion_mask material",
                         "depth group", "raster across", "raster up",
                         "points", "dense points", "points material", "point size", "baked mesh", "tearing"})


def tag(block, shot: ImportedResult, part: str) -> None:
    """Mark a datablock or a node as the part of this footage's import that is called part.

    Parameters
    ----------
    block : bpy.types.ID or bpy.types.Node
        What is marked.
    shot : ImportedResult
        Says the footage and the job.
    part : str
        Such as "camera" or "depth mesh".
    """
    block[TAG] = {"footage": shot.key, "job": shot.result.job_id, "part": part, "path": shot.footage,
                  "fingerprint": shot.result.clip.fingerprint, "pictures": [shot.pictures[0], shot.pictures[-1]]}


def part_of(block, shot: ImportedResult) -> str | None:
    """The part a datablock or a node plays in this footage's import; None if it is somebody else's.

    Parameters
    ----------
    block : bpy.types.ID or bpy.types.Node
        What is asked.
    shot : ImportedResult
        Says the footage.

    Returns
    -------
    str or None
        Such as "camera" or "depth mesh".
    """
    mark = block.get(TAG)
    return mark["part"] if mark is not None and mark["footage"] == shot.key else None


def find(blocks: Iterable, shot: ImportedResult, part: str):
    """This footage's own datablock for a part among blocks; None if there is none that may be changed.

    Parameters
    ----------
    blocks : iterable of bpy.types.ID
        What is looked through; those that are linked from a library are passed over.
    shot : ImportedResult
        Says the footage.
    part : str
        Such as "camera" or "depth mesh".

    Returns
    -------
    bpy.types.ID or None
        The first one.
    """
    return next((b for b in blocks if part_of(b, shot) == part and b.library is None), None)


def find_node(tree: bpy.types.NodeTree, shot: ImportedResult, part: str) -> bpy.types.Node | None:
    """This footage's node for a part in a tree.

    Parameters
    ----------
    tree : bpy.types.NodeTree
        What is looked through, groups in it not.
    shot : ImportedResult
        Says the footage.
    part : str
        Such as "picture" or "depth pass".

    Returns
    -------
    bpy.types.Node or None
        The first one; None if there is none.
    """
    return next((node for node in tree.nodes if part_of(node, shot) == part), None)


def claim(blocks: Iterable, shot: ImportedResult, part: str, make: Callable[[str], bpy.types.ID]) -> bpy.types.ID:
    """This footage's datablock for a part, found among blocks or made by make(name).

    Parameters
    ----------
    blocks : iterable of bpy.types.ID
        What is looked through, such as bpy.data.images.
    shot : ImportedResult
        Says the footage, its name and the job.
    part : str
        Such as "plate" or "depth mesh".
    make : callable
        Takes a name of footage and part, and returns a new datablock.

    Returns
    -------
    bpy.types.ID
        Tagged as this job's part.
    """
    block = find(blocks, shot, part) or make(f"{shot.name} {part}")
    tag(block, shot, part)
    return block


def claim_collection(scene: bpy.types.Scene, shot: ImportedResult) -> bpy.types.Collection:
    """The footage's collection, linked to the scene.

    Parameters
    ----------
    scene : bpy.types.Scene
        The collection may lie anywhere below its own; a new one lies right there.
    shot : ImportedResult
        Says the footage, its name and the job.

    Returns
    -------
    bpy.types.Collection
        Found or made, and tagged.
    """
    found = find(scene.collection.children_recursive, shot, "collection")
    collection = found or claim(bpy.data.collections, shot, "collection", _make_collection)
    if found is None:
        scene.collection.children.link(collection)
    tag(collection, shot, "collection")
    return collection


def _make_collection(name: str) -> bpy.types.Collection:
    return bpy.data.collections.new(f"StereoDiff {name.removesuffix(' collection')}")


def claim_object(collection: bpy.types.Collection, shot: ImportedResult, part: str, data: bpy.types.ID | None):
    """The footage's object for a part, showing data; wherever the artist keeps it, at first in the collection.

    Parameters
    ----------
    collection : bpy.types.Collection
        The footage's; an object that is in no collection is linked to it.
    shot : ImportedResult
        Says the footage, its name and the job.
    part : str
        Such as "camera" or "depth mesh".
    data : bpy.types.ID or None
        What it shows; None for an empty.

    Returns
    -------
    bpy.types.Object
        Found or made, and tagged.
    """
    found = find(collection.objects, shot, part)
    thing = found or claim(bpy.data.objects, shot, part, lambda name: bpy.data.objects.new(name, data))
    if not thing.users_collection:
        collection.objects.link(thing)
    thing.data = data
    tag(thing, shot, part)
    return thing


def remove_depth(shot: ImportedResult) -> None:
    """Take away what an earlier import made from depth, for a result that has none.

    What is used elsewhere stays.

    Parameters
    ----------
    shot : ImportedResult
        Says the footage.
    """
    for blocks in (bpy.data.objects, bpy.data.meshes, bpy.data.pointclouds, bpy.data.node_groups, bpy.data.materials,
                   bpy.data.images, bpy.data.textures):
        for block in [b for b in blocks if part_of(b, shot) in DEPTH_PARTS and b.library is None]:
            if isinstance(block, bpy.types.Object) or block.users == 0:
                _remove(blocks, block)


def _remove(blocks, block: bpy.types.ID) -> None:
    if not isinstance(block, bpy.types.Image):  # the one kind that has no animation
        clear_animation(block)
    blocks.remove(block)
