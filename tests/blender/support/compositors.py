"""The scene's compositor tree, for tests: since 5.3 that of an effect, since 5.0 a node group, before that its own."""

from __future__ import annotations

import bpy


def tree_of(scene: bpy.types.Scene) -> bpy.types.NodeTree | None:
    if hasattr(scene, "compositor_effects"):
        active = scene.compositor_effects.active
        return active.node_group if active else None
    return scene.compositing_node_group if bpy.app.version >= (5, 0, 0) else scene.node_tree


def empty_tree(scene: bpy.types.Scene) -> tuple[bpy.types.NodeTree, bpy.types.NodeSocket]:
    """The scene's compositor with nothing but an output node; also that node's input."""
    if bpy.app.version < (5, 0, 0):
        scene.use_nodes = True
        scene.node_tree.nodes.clear()
        return scene.node_tree, scene.node_tree.nodes.new("CompositorNodeComposite").inputs[0]
    tree = bpy.data.node_groups.new("Compositing", "CompositorNodeTree")
    tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
    if hasattr(scene, "compositor_effects"):
        scene.compositor_effects.new(name="Compositing").node_group = tree
    else:
        scene.compositing_node_group = tree
    return tree, tree.nodes.new("NodeGroupOutput").inputs[0]
