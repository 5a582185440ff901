"""Small words for building node trees."""

from __future__ import annotations

import bpy


def add_node(tree: bpy.types.NodeTree, kind: str, location: tuple[float, float], label: str = "", **settings):
    """A new node at a place in the editor.

    Parameters
    ----------
    tree : bpy.types.NodeTree
        Takes the node.
    kind : str
        Its bl_idname.
    location : tuple of float
        x and y in the node editor, y upwards.
    label : str
        What the editor shows as its title; "" shows the kind's own.
    **settings : object
        Properties of the node.

    Returns
    -------
    bpy.types.Node
        The new node.
    """
    node = tree.nodes.new(kind)
    node.location = location
    node.label = label
    for name, value in settings.items():
        setattr(node, name, value)
    return node


def feed(tree: bpy.types.NodeTree, node: bpy.types.Node, *sources) -> None:
    """Give the node's inputs, in order: an output socket is linked, a value is set, None leaves the input alone.

    Parameters
    ----------
    tree : bpy.types.NodeTree
        The node's.
    node : bpy.types.Node
        What is fed.
    *sources : bpy.types.NodeSocket, value or None
        One for each input, from the first on; inputs beyond them are left alone.
    """
    for socket, source in zip(node.inputs, sources, strict=False):
        if isinstance(source, bpy.types.NodeSocket):
            tree.links.new(source, socket)
        elif source is not None:
            socket.default_value = source


def add_math(tree: bpy.types.NodeTree, operation: str, location: tuple[float, float], *sources,
             label: str = "") -> bpy.types.NodeSocket:
    """A new Math node.

    Parameters
    ----------
    tree : bpy.types.NodeTree
        Takes the node.
    operation : str
        As the node has it, such as "MULTIPLY_ADD".
    location : tuple of float
        x and y in the node editor, y upwards.
    *sources : bpy.types.NodeSocket, float or None
        As of feed().
    label : str
        As of add_node().

    Returns
    -------
    bpy.types.NodeSocket
        Its result.
    """
    node = add_node(tree, "ShaderNodeMath", location, label, operation=operation)
    feed(tree, node, *sources)
    return node.outputs[0]
