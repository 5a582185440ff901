"""Depth in the compositor, beside what is there."""

from __future__ import annotations

import bpy

from .depth_images import play_product
from .material import disparity_range
from .nodes import add_node, feed
from .ownership import part_of, tag

FRAME_LABEL = "StereoDiff Depth"


def add_depth_pass(scene: bpy.types.Scene, imported, *, connect: bool = False) -> bpy.types.NodeSocket:
    """Add the depth sequence and its normalised disparity to the scene's compositor, or update them.

    imported: Imported with depth. Returns the socket of the normalised pass: 0..1 over the clip's one depth range,
    near is 1, invalid depth 0, stretched to the render's size. The image node beside it gives z-depth in scene units.
    connect: make it the compositor's picture; else the output stays as it is. Raises ValueError without depth.
    """
    if "depth" not in imported.images:
        raise ValueError("this result has no depth: its camera only turned or stood still")
    tree = _compositor_tree(scene)
    fitted = _find(tree, imported, "depth pass") or _build(tree, imported)
    _configure(tree, imported)
    if connect:
        _switch_on(scene)
        tree.links.new(fitted.outputs[0], _output_node(tree).inputs[0])
    return fitted.outputs[0]


def refresh_depth_pass(scene: bpy.types.Scene, imported) -> None:
    """After another import: bring the depth pass of the same footage up to date, if the scene has one."""
    tree = _existing_tree(scene)
    if tree is not None and "depth" in imported.images and _find(tree, imported, "depth pass") is not None:
        _configure(tree, imported)


def _build(tree: bpy.types.NodeTree, imported) -> bpy.types.Node:
    left, top = _free_corner(tree)
    frame = add_node(tree, "NodeFrame", (left, top), f"{FRAME_LABEL}: {imported.shot.name}")
    picture = add_node(tree, "CompositorNodeImage", (left, top), "z-depth", image=imported.images["depth"])
    disparity = add_node(tree, _kind("Math"), (left + 220, top), "Disparity", operation="DIVIDE")
    feed(tree, disparity, 1.0, picture.outputs["Image"])
    normalized = add_node(tree, _kind("MapRange"), (left + 400, top), "Near is 1")
    setattr(normalized, "use_clamp" if hasattr(normalized, "use_clamp") else "clamp", True)
    feed(tree, normalized, disparity.outputs[0])
    fitted = _add_fit(tree, (left + 580, top))
    feed(tree, fitted, normalized.outputs[0])
    parts = {"depth frame": frame, "depth picture": picture, "depth disparity": disparity,
             "depth range": normalized, "depth pass": fitted}
    for part, node in parts.items():
        tag(node, imported.shot, part)
        if node is not frame:
            node.parent = frame
    return fitted


def _configure(tree: bpy.types.NodeTree, imported) -> None:
    """Set what depends on the result; links and places are the artist's."""
    picture = _find(tree, imported, "depth picture")
    if picture is not None:
        picture.image = imported.images["depth"]
        play_product(picture, imported.shot)
    normalized = _find(tree, imported, "depth range")
    if normalized is not None:
        feed(tree, normalized, None, *disparity_range(*imported.result.depth_range), 0.0, 1.0)


def _find(tree: bpy.types.NodeTree, imported, part: str) -> bpy.types.Node | None:
    return next((node for node in tree.nodes if part_of(node, imported.shot) == part), None)


def _free_corner(tree: bpy.types.NodeTree) -> tuple[float, float]:
    """Below everything that is there."""
    nodes = [node for node in tree.nodes if node.parent is None]
    if not nodes:
        return 0.0, 0.0
    return min(node.location.x for node in nodes), min(node.location.y for node in nodes) - 500.0


# --- What differs between versions -----------------------------------------------------------------------------------

def _kind(name: str) -> str:
    """Node type of Math and Map Range: 5.0 shares the shader's, 4.2 has only its own."""
    return f"{'ShaderNode' if bpy.app.version >= (5, 0, 0) else 'CompositorNode'}{name}"


def _add_fit(tree: bpy.types.NodeTree, location) -> bpy.types.Node:
    """A node that stretches the working raster over the render, which is as large as the clip."""
    node = add_node(tree, "CompositorNodeScale", location, "Fit to Render")
    if bpy.app.version >= (5, 0, 0):
        node.inputs["Type"].default_value, node.inputs["Frame Type"].default_value = "Render Size", "Stretch"
    else:
        node.space, node.frame_method = "RENDER_SIZE", "STRETCH"
    return node


def _existing_tree(scene: bpy.types.Scene) -> bpy.types.NodeTree | None:
    return scene.compositing_node_group if bpy.app.version >= (5, 0, 0) else scene.node_tree


def _compositor_tree(scene: bpy.types.Scene) -> bpy.types.NodeTree:
    """The scene's compositor; a new one passes the render through, as without a compositor."""
    if bpy.app.version < (5, 0, 0):
        if scene.node_tree is None:
            scene.use_nodes = True
        return scene.node_tree
    if scene.compositing_node_group is None:
        scene.compositing_node_group = _new_group()
    return scene.compositing_node_group


def _switch_on(scene: bpy.types.Scene) -> None:
    if bpy.app.version < (5, 0, 0):  # later ones have no such switch, and warn
        scene.use_nodes = True


def _new_group() -> bpy.types.NodeTree:
    tree = bpy.data.node_groups.new("Compositor", "CompositorNodeTree")
    render = add_node(tree, "CompositorNodeRLayers", (-300, 0))
    tree.links.new(render.outputs["Image"], _output_node(tree).inputs[0])
    return tree


def _output_node(tree: bpy.types.NodeTree) -> bpy.types.Node:
    """The node whose first input becomes the picture: the active one, or a new one."""
    kind = "NodeGroupOutput" if bpy.app.version >= (5, 0, 0) else "CompositorNodeComposite"
    outputs = [node for node in tree.nodes if node.bl_idname == kind]
    if outputs:
        return next((node for node in outputs if getattr(node, "is_active_output", True)), outputs[0])
    if kind == "NodeGroupOutput" and not any(item.in_out == "OUTPUT" for item in tree.interface.items_tree
                                             if item.item_type == "SOCKET"):
        tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
    return add_node(tree, kind, (300, 0))
