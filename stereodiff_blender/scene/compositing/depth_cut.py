"""CG cut where the footage stands in front of it, by depth at the plate's size, on its way over the plate.

The mesh has the working size, so that what it hides is cut in pieces at a thin post. Here the render is cut in the
compositor instead, by its own Depth and "Hold-Out" of the footage's depth group. A render's Depth is that of one sample
a pixel: beside an edge, where it missed the CG, it takes its neighbor's.
"""

from __future__ import annotations

import bpy

from ..data import TAG, SceneImport, add_node, parts
from ..result import ImportedResult
from .compositor import SHARES_SHADER_NODES, add_math, over_inputs, render_node
from .depth_group import CG_Z, OVERSCAN, claim_depth_group
from .depth_node import finest_depth, reframe_depth
from .st_maps import sees_overscan

CUT = "plate cut"
CUT_PARTS = (CUT, "plate cut depth", "plate cut beside", "plate cut hit", "plate cut other", "plate cut edge",
             "plate cut nearer", "plate cut rest")
NOTHING = 1e10
"""Depth of a render where nothing is."""
BEHIND_CATCHER = 0.97
"""What a shadow catcher shows lies on the mesh, and so within a few percent of the plate's depth: of its distance, what
is compared."""


def can_cut(scene: bpy.types.Scene, found: SceneImport) -> bool:
    """Whether the import has depth at the plate's size to cut by, for the render of the scene's camera.

    The overscan camera's may be larger than the plate, and then only depth of just the plate's size lies upon it.
    Raises StereoDiffError as read_imported_result() does.
    """
    if "plate_depth" not in found.images or found.root is None:
        return False
    if not sees_overscan(scene, found):
        return True
    return found.clip is not None and found.read_imported_result().result.plate_size == tuple(found.clip.size)


def add_depth_cut(scene: bpy.types.Scene, found: SceneImport, shot: ImportedResult, tree: bpy.types.NodeTree, *,
                  catches: bool) -> None:
    """Cut what is laid over the plate by the footage's depth.

    tree: that put_plate_behind() has laid it over the plate in. catches: the mesh is in the render and catches shadows.
    """
    own = parts(tree.nodes, found.footage)
    over = own["plate over"]
    left, top = over.location.x - 900, over.location.y - 700
    layers = render_node(tree)
    depth = _depth_pass(scene, layers)
    edge, on_the_way = _with_edges(tree, (left, top), depth)
    nearer = add_math(tree, (left + 180, top), "MULTIPLY", edge, BEHIND_CATCHER if catches else 1.0, label="CG Z")
    group = tree.nodes.new("CompositorNodeGroup")
    group.location = (left + 360, top)
    group.node_tree = claim_depth_group(scene, shot, finest_depth(shot, found.images), found.root)
    group.label = f"Hold-Out: {shot.name}"
    reframe_depth(scene, found)
    if OVERSCAN in group.inputs:
        group.inputs[OVERSCAN].default_value = float(sees_overscan(scene, found))
    tree.links.new(nearer, group.inputs[CG_Z])
    rest = add_math(tree, (left + 560, top), "SUBTRACT", 1.0, group.outputs["Hold-Out"], label="Not Hidden")
    cut = add_node(tree, "CompositorNodeSetAlpha", (left + 720, top), "Cut by Depth")
    if bpy.app.version < SHARES_SHADER_NODES:
        cut.mode = "APPLY"
    tree.links.new(over_inputs(over)[1].links[0].from_socket, cut.inputs["Image"])
    tree.links.new(rest, cut.inputs["Alpha"])
    tree.links.new(cut.outputs[0], over_inputs(over)[1])
    _mark(found, own["plate frame"],
          dict(zip(CUT_PARTS, (cut, group, *on_the_way, edge.node, nearer.node, rest.node), strict=True)))


def _mark(found: SceneImport, frame: bpy.types.Node, own: dict[str, bpy.types.Node]) -> None:
    for part, node in own.items():
        node[TAG] = {"footage": found.footage, "job": found.collection[TAG]["job"], "part": part}
        node.parent = frame


def _depth_pass(scene: bpy.types.Scene, layers: bpy.types.Node) -> bpy.types.NodeSocket:
    """The Depth of a node that gives the render, of whose view layer that pass is on from now on."""
    layer = (layers.scene or scene).view_layers[layers.layer]
    layer.use_pass_z = True
    layer.update_render_passes()
    return next(socket for socket in layers.outputs if socket.name in ("Depth", "Z"))


def _with_edges(tree: bpy.types.NodeTree, location, depth: bpy.types.NodeSocket
                ) -> tuple[bpy.types.NodeSocket, tuple[bpy.types.Node, ...]]:
    """Depth that is the least of its neighbors' where it missed everything; and the nodes before that."""
    left, top = location
    beside = _least_beside(tree, (left - 540, top), depth)
    hit = add_math(tree, (left - 540, top - 160), "LESS_THAN", depth, 0.1 * NOTHING, label="Anything There")
    other = add_math(tree, (left - 360, top), "MULTIPLY_ADD", hit, NOTHING, beside.outputs[0],
                     label="Beside, if Nothing")
    to_edge = add_math(tree, (left - 180, top), "MINIMUM", depth, other, label="Depth to the Edge")
    return to_edge, (beside, hit.node, other.node)


def _least_beside(tree: bpy.types.NodeTree, location, depth: bpy.types.NodeSocket) -> bpy.types.Node:
    """The least of a pixel and its neighbors."""
    node = add_node(tree, "CompositorNodeDilateErode", location, "Nearest Beside")
    if "Size" in node.inputs:
        node.inputs["Size"].default_value = -1
    else:
        node.distance = -1
    tree.links.new(depth, node.inputs[0])
    return node


def drop_unused_depth_group(footage: str) -> None:
    """Take away the depth group, and what it alone needs in 4.2, if no node uses it any more."""
    for blocks, part in ((bpy.data.node_groups, "depth group"), (bpy.data.textures, "raster across"),
                         (bpy.data.textures, "raster up")):
        block = parts(blocks, footage).get(part)
        if block is not None and block.users == 0 and block.library is None:
            blocks.remove(block)
