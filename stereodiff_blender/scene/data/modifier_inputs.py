"""The inputs of a geometry nodes modifier by the names an artist reads, on every Blender since 4.2."""

from __future__ import annotations

import bpy


def ensure_input(tree: bpy.types.NodeTree, name: str, kind: str, **settings) -> bpy.types.NodeTreeInterfaceSocket:
    """The tree's input of this name, made with these settings if it has none.

    Parameters
    ----------
    tree : bpy.types.NodeTree
        The node group of a geometry nodes modifier.
    name : str
        As an artist reads it.
    kind : str
        Type of its socket: "Bool", "Int", "Float" ...
    **settings : object
        Properties of a new socket, such as min_value; one that is there keeps its own.

    Returns
    -------
    bpy.types.NodeTreeInterfaceSocket
        Found or made.
    """
    socket = _socket(tree, name)
    if socket is None:
        socket = tree.interface.new_socket(name, in_out="INPUT", socket_type=f"NodeSocket{kind}")
        for setting, value in settings.items():
            setattr(socket, setting, value)
    return socket


def input_property(modifier: bpy.types.NodesModifier, name: str) -> tuple[object, str]:
    """What holds an input's value and what it is called there, as UILayout.prop() takes them.

    Parameters
    ----------
    modifier : bpy.types.NodesModifier
        With a node group that has the input, see has_input().
    name : str
        Of the input, as an artist reads it.

    Returns
    -------
    owner : object
        The modifier; from 5.2 on, the input's own properties.
    attribute : str
        '["IDENTIFIER"]'; from 5.2 on, "value".
    """
    identifier = _socket(modifier.node_group, name).identifier
    if hasattr(modifier, "properties"):  # from 5.2 on
        return getattr(modifier.properties.inputs, identifier), "value"
    return modifier, f'["{identifier}"]'


def input_path(modifier: bpy.types.NodesModifier, name: str) -> str:
    """Data path of an input from its object, for keys and drivers."""
    owner, attribute = input_property(modifier, name)
    return f'modifiers["{modifier.name}"]{attribute}' if owner == modifier else owner.path_from_id(attribute)


def get_input(modifier: bpy.types.NodesModifier, name: str):
    """The value that a modifier has for an input.

    Parameters
    ----------
    modifier : bpy.types.NodesModifier
        With a node group that has the input, see has_input().
    name : str
        Of the input, as an artist reads it.

    Returns
    -------
    bool, int, float or another
        As the input's kind is.
    """
    owner, attribute = input_property(modifier, name)
    return owner.value if attribute == "value" else modifier[attribute[2:-2]]


def set_input(modifier: bpy.types.NodesModifier, name: str, value) -> None:
    """Set the value that a modifier has for an input, and have its object evaluated anew.

    Parameters
    ----------
    modifier : bpy.types.NodesModifier
        With a node group that has the input, see has_input().
    name : str
        Of the input, as an artist reads it.
    value : bool, int, float or another
        As the input's kind is.
    """
    owner, attribute = input_property(modifier, name)
    if attribute == "value":
        owner.value = value
    else:
        modifier[attribute[2:-2]] = value
    modifier.id_data.update_tag()


def has_input(modifier: bpy.types.NodesModifier, name: str) -> bool:
    """Whether a modifier has a node group with an input of this name.

    Parameters
    ----------
    modifier : bpy.types.NodesModifier
        What is asked; it may be without node group.
    name : str
        Of the input, as an artist reads it.

    Returns
    -------
    bool
        True if so.
    """
    return modifier.node_group is not None and _socket(modifier.node_group, name) is not None


def _socket(tree: bpy.types.NodeTree, name: str) -> bpy.types.NodeTreeInterfaceSocket | None:
    return next((item for item in tree.interface.items_tree
                 if item.item_type == "SOCKET" and item.in_out == "INPUT" and item.name == name), None)
