"""Depth in the compositor, beside what is there."""

from __future__ import annotations

import bpy

from ..data import SceneImport, find, find_node, imports_in, parts, tag
from ..result import ImportedResult
from .compositor import all_trees, compositor_tree, free_corner, output_node, scene_trees, switch_on
from .depth_group import CG_Z, FOCUS, NAME, claim_depth_group, default_values, reframe_group, size_of_picture
from .st_maps import clip_in_render, overscan_in_render, plate_framing

GIVEN = "stereodiff_given"
WIDTH = 180.0


def add_depth_group(scene: bpy.types.Scene, shot: ImportedResult, depth: bpy.types.Image,
                    root: bpy.types.Object) -> bpy.types.Node:
    """Add the footage's node group "StereoDiff Depth" to the scene's compositor, or bring it up to date.

    Nothing that is there changes; the node's CG Z takes the Depth of a render layer that has this pass.

    Parameters
    ----------
    scene : bpy.types.Scene
        Gets a compositor that passes the render through if it has none.
    shot : ImportedResult
        A result with depth.
    depth : bpy.types.Image
        Its image sequence.
    root : bpy.types.Object
        The empty whose scale turns Z into scene units.

    Returns
    -------
    bpy.types.Node
        The group node. Sockets: see depth_group.py.
    """
    group = claim_depth_group(scene, shot, depth, root)
    there = (find_node(each, shot, "depth pass") for each in scene_trees(scene))
    node = next(filter(None, there), None) or _add_node(compositor_tree(scene), shot, group, root)
    node.node_tree = group
    _give_values(node, shot)
    return node


def finest_depth(shot: ImportedResult, images: dict[str, bpy.types.Image]) -> bpy.types.Image:
    """The depth to composite with: at the plate's size, if the result has it.

    Parameters
    ----------
    shot : ImportedResult
        The result.
    images : dict of str to bpy.types.Image
        By product, "depth" among them; a "plate_depth" of an earlier result does not count.

    Returns
    -------
    bpy.types.Image
        One of them.
    """
    has_plate_depth = shot.result.plate_size is not None and "plate_depth" in images
    return images["plate_depth" if has_plate_depth else "depth"]


def add_depth_pass(scene: bpy.types.Scene, imported, *, connect: bool = False) -> bpy.types.NodeSocket:
    """Add the depth group of an Imported, or update it.

    Parameters
    ----------
    scene : bpy.types.Scene
        Whose compositor takes the group.
    imported : Imported
        As import_result() returns it.
    connect : bool
        Make the normalized disparity the compositor's picture, and switch its tree on; else the output stays as it
        is.

    Returns
    -------
    bpy.types.NodeSocket
        The socket of its normalized disparity, 0..1, near is 1.

    Raises
    ------
    ValueError
        Without depth: the camera only turned or stood still.
    """
    if "depth" not in imported.images:
        raise ValueError("this result has no depth: its camera only turned or stood still")
    node = add_depth_group(scene, imported.shot, finest_depth(imported.shot, imported.images), imported.root)
    if connect:
        switch_on(scene)
        tree = node.id_data
        tree.links.new(node.outputs["Normalized"], output_node(tree).inputs[0])
    return node.outputs["Normalized"]


def reframe_depth(scene: bpy.types.Scene, found: SceneImport) -> None:
    """Lay an import's depth anew into the render, after that has changed its shape.

    Parameters
    ----------
    scene : bpy.types.Scene
        Whose render is meant.
    found : SceneImport
        The import; nothing is done if it has no group.
    """
    group = parts(bpy.data.node_groups, found.footage).get("depth group")
    picture = None if group is None else parts(group.nodes, found.footage).get("depth picture")
    depth = found.images.get("depth") if picture is None else picture.image
    if group is None or depth is None:
        return
    raster = plate_framing(scene, found, size_of_picture(picture, depth))
    reframe_group(group, found.footage, raster, plate_framing(scene, found), clip_in_render(scene, found),
                  overscan_in_render(scene, found, group))


def refresh_depth_group(scene: bpy.types.Scene, imported) -> None:
    """After another import: bring the group of the same footage up to date wherever it is used, if there is one.

    Near, Far and Focus stay where the artist has set them.

    Parameters
    ----------
    scene : bpy.types.Scene
        Holds the import.
    imported : Imported
        The new import, as import_result() makes it; without depth nothing is done.
    """
    group = find(bpy.data.node_groups, imported.shot, "depth group")
    if group is None or "depth" not in imported.images:
        return
    claim_depth_group(scene, imported.shot, finest_depth(imported.shot, imported.images), imported.root)
    for found in (found for found in imports_in(scene) if found.footage == imported.shot.key):
        reframe_depth(scene, found)
    for node in (node for tree in all_trees() for node in tree.nodes if getattr(node, "node_tree", None) == group):
        _give_values(node, imported.shot)


def _add_node(tree: bpy.types.NodeTree, shot: ImportedResult, group: bpy.types.NodeTree,
              root: bpy.types.Object) -> bpy.types.Node:
    node = tree.nodes.new("CompositorNodeGroup")
    node.location = free_corner(tree)
    node.node_tree, node.label, node.width = group, f"{NAME}: {shot.name}", WIDTH
    tag(node, shot, "depth pass")
    node.inputs[CG_Z].default_value = default_values(shot)[FOCUS] * root.matrix_world.median_scale
    depth = next((d for d in map(_rendered_depth, tree.nodes) if d is not None), None)
    if depth is not None:
        tree.links.new(depth, node.inputs[CG_Z])
    return node


def _rendered_depth(node: bpy.types.Node) -> bpy.types.NodeSocket | None:
    if node.bl_idname != "CompositorNodeRLayers":
        return None
    return next((socket for socket in node.outputs if socket.name in ("Depth", "Z") and socket.enabled), None)


def _give_values(node: bpy.types.Node, shot: ImportedResult) -> None:
    """Near, Far and Focus from the result, except those that the artist has set since the last time."""
    given = node.get(GIVEN, {})
    for name, value in default_values(shot).items():
        socket = node.inputs[name]
        if name not in given or socket.default_value == given[name]:
            socket.default_value = value
            given = {**given, name: socket.default_value}
    node[GIVEN] = given
