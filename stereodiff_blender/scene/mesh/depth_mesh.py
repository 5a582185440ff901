"""The displaced mesh: an object whose geometry nodes lay a grid over the picture and stretch it to the frame's depth.

It plays from the depth files, so it costs next to nothing in the .blend, needs no add-on to play, and follows when the
files change. The object's own mesh is one face without size: it carries the material slots and names the UV map.
"""

from __future__ import annotations

import bpy
from mathutils import Matrix

from ...engine.contract import StereoDiffError
from ..data import claim, claim_object, find, get_input, has_input, set_input
from ..result import ImportedResult, camera_math
from .displacement import CONFIDENCE, LEAST_CONFIDENCE, SKY, STEP, UV_MAP, build_displacement

MOST_VERTICES = 60_000  # what plays at film rate on two cores with room to spare
MODIFIER = "StereoDiff Depth"


def import_mesh(collection: bpy.types.Collection, camera: bpy.types.Object, shot: ImportedResult,
                images: dict[str, bpy.types.Image], materials: list[bpy.types.Material],
                step: int | None = None) -> bpy.types.Object:
    """Make or update the mesh as a child of the camera.

    Parameters
    ----------
    collection : bpy.types.Collection
        The footage's; a new mesh is linked to it.
    camera : bpy.types.Object
        The solved camera. The mesh lies in its space: x right, y up, depth along -z.
    shot : ImportedResult
        A result with depth.
    images : dict of str to bpy.types.Image
        By product, "depth" among them.
    materials : list of bpy.types.Material
        One for each slot, of the plate first, then of the depth view and of the other measurements; what the artist has
        put into a slot stays there.
    step : int or None
        Pixels of the raster between vertices; None keeps what the artist has set, or takes the smallest that keeps the
        grid at MOST_VERTICES.

    Returns
    -------
    bpy.types.Object
        The depth mesh; its own mesh is one face without size, which the displacement drops.
    """
    mesh = claim(bpy.data.meshes, shot, "depth mesh", bpy.data.meshes.new)
    _fill_seed(mesh)
    _fill_slots(mesh, materials)
    thing = claim_object(collection, shot, "depth mesh", mesh)
    thing.parent = camera
    thing.matrix_parent_inverse = Matrix.Identity(4)
    thing.matrix_basis = Matrix.Identity(4)
    kept = step or _chosen_step(thing, shot)
    shows_sky = _shows_sky(thing)
    usual = camera_math.step_for_density(*shot.raster_size, MOST_VERTICES)
    tree = build_displacement(shot, images, usual)
    modifier = thing.modifiers.get(MODIFIER) or thing.modifiers.new(MODIFIER, "NODES")
    modifier.node_group = tree
    set_input(modifier, STEP, kept or usual)
    if has_input(modifier, SKY):
        set_input(modifier, SKY, shows_sky)
    return thing


def set_step(thing: bpy.types.Object | None, step: int) -> None:
    """Lay the grid of a depth mesh anew.

    Parameters
    ----------
    thing : bpy.types.Object or None
        The depth mesh; None if it was removed.
    step : int
        Pixels of the raster between vertices, 1 or more.

    Raises
    ------
    StereoDiffError
        "depth_missing": the artist has removed the mesh or applied its modifier.
    """
    modifier = depth_modifier(thing)
    if modifier is None or not has_input(modifier, STEP):
        raise StereoDiffError("depth_missing", "The depth mesh was removed or its modifier applied; import again.")
    set_input(modifier, STEP, step)


def depth_modifier(thing: bpy.types.Object | None) -> bpy.types.NodesModifier | None:
    """The modifier that displaces a depth mesh; None if the artist has applied or removed it.

    Parameters
    ----------
    thing : bpy.types.Object or None
        The depth mesh; None if it was removed.

    Returns
    -------
    bpy.types.NodesModifier or None
        With a node group.
    """
    modifier = thing.modifiers.get(MODIFIER) if thing is not None else None
    return modifier if modifier is not None and modifier.node_group is not None else None


def _shows_sky(thing: bpy.types.Object) -> bool:
    """Whether an earlier import's mesh shows it, by its input, or else by how sure the sky is; a new one does not."""
    modifier = depth_modifier(thing)
    if modifier is None:
        return False
    if has_input(modifier, SKY):
        return bool(get_input(modifier, SKY))
    return not has_input(modifier, CONFIDENCE) or get_input(modifier, CONFIDENCE) < LEAST_CONFIDENCE + 1e-6


def _chosen_step(thing: bpy.types.Object, shot: ImportedResult) -> int | None:
    """The step an earlier import's modifier has, if it is another than the one that import chose itself."""
    modifier, tree = depth_modifier(thing), find(bpy.data.node_groups, shot, "depth displacement")
    if modifier is None or tree is None or not has_input(modifier, STEP):
        return None
    usual = next(item.default_value for item in tree.interface.items_tree if item.name == STEP)
    step = get_input(modifier, STEP)
    return step if step != usual else None


def _fill_slots(mesh: bpy.types.Mesh, materials: list[bpy.types.Material]) -> None:
    """What the artist has put into a slot stays there."""
    for slot, material in enumerate(materials):
        if slot == len(mesh.materials):
            mesh.materials.append(material)
        elif mesh.materials[slot] is None:
            mesh.materials[slot] = material


def _fill_seed(mesh: bpy.types.Mesh) -> None:
    """One face of four vertices in one place; the displacement drops it as it drops all faces without depth."""
    mesh.clear_geometry()
    mesh.from_pydata([(0.0, 0.0, 0.0)] * 4, [], [(0, 1, 2, 3)])
    mesh.uv_layers.new(name=UV_MAP)
