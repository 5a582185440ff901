"""The inputs of a geometry nodes modifier by the names an artist reads, on every Blender since 4.2."""

from __future__ import annotations

import bpy


def ensure_input(tree: bpy.types.NodeTree, name: str, kind: str, **settings) -> bpy.types.NodeTreeInterfaceSocket:
    """The tree's input of this name, made with these settings if it has none. kind: "Bool", "Int", "Float" ..."""
    socket = _socket(tree, name)
    if socket is None:
        socket = tree.interface.new_socket(name, in_out="INPUT", socket_type=f"NodeSocket{kind}")
        for setting, value in settings.items():
            setattr(socket, setting, value)
    return socket


def input_property(modifier: bpy.types.NodesModifier, name: str) -> tuple[object, str]:
    """What holds an input's value and what it is called there, as UILayout.prop() takes them."""
    identifier = _socket(modifier.node_group, name).identifier
    if hasattr(modifier, "properties"):  # from 5.2 on
        return getattr(modifier.properties.inputs, identifier), "value"
    return modifier, f'["{identifier}"]'


def input_path(modifier: bpy.types.NodesModifier, name: str) -> str:
    """Data path of an input from its object, for keys and drivers."""
    owner, attribute = input_property(modifier, name)
    return f'modifiers["{modifier.name}"]{attribute}' if owner == modifier else owner.path_from_id(attribute)


def get_input(modifier: bpy.types.NodesModifier, name: str):
    owner, attribute = input_property(modifier, name)
    return owner.value if attribute == "value" else modifier[attribute[2:-2]]


def set_input(modifier: bpy.types.NodesModifier, name: str, value) -> None:
    owner, attribute = input_property(modifier, name)
    if attribute == "value":
        owner.value = value
    else:
        modifier[attribute[2:-2]] = value
    modifier.id_data.update_tag()


def has_input(modifier: bpy.types.NodesModifier, name: str) -> bool:
    return modifier.node_group is not None and _socket(modifier.node_group, name) is not None


def _socket(tree: bpy.types.NodeTree, name: str) -> bpy.types.NodeTreeInterfaceSocket | None:
    return next((item for item in tree.interface.items_tree
                 if item.item_type == "SOCKET" and item.in_out == "INPUT" and item.name == name), None)
