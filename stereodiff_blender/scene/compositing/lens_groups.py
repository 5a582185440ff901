"""The compositor's node groups "Undistort Plate" and "Redistort CG": a footage's lens, by the ST maps of its result.

Map UV is the one node that does it exactly: Movie Distortion lays its picture pixels off in Blender 4.5 to 5.3. Blender
4.2 and 4.5 have no bilinear look-up, so that they are a quarter of a pixel off.
"""

from __future__ import annotations

from dataclasses import dataclass

import bpy

from ..data import add_node, claim, feed, find, find_node, import_lens_maps, tag
from ..result import ImportedResult
from .compositor import SHARES_SHADER_NODES, add_math, compositor_tree, free_corner, scene_trees

IMAGE, OVERSCAN = "Image", "Overscan"
WIDTH, APART = 180.0, 220.0


@dataclass(frozen=True)
class _Kind:
    """name: of the group. part: what its datablocks are tagged as, and the map is called. inputs, outputs: sockets with
    what they are."""

    name: str
    part: str
    inputs: dict[str, str]
    outputs: dict[str, str]


UNDISTORT = _Kind("Undistort Plate", "undistort", {IMAGE: "The plate as it was shot, of the clip's own size"}, {
    IMAGE: "What the solved camera sees without the lens's distortion, of the clip's own size",
    OVERSCAN: "The same with the overscan that holds the whole plate",
})
REDISTORT = _Kind("Redistort CG", "redistort", {
    IMAGE: "CG through the solved camera, or through one with overscan",
    OVERSCAN: "1 if the CG was rendered with the overscan of Undistort Plate, 0 if through the solved camera",
}, {IMAGE: "The CG as the lens would have shot it, of the clip's own size"})


def add_lens_groups(scene: bpy.types.Scene, shot: ImportedResult) -> tuple[bpy.types.Node, bpy.types.Node]:
    """Add the footage's groups "Undistort Plate" and "Redistort CG" to the scene's compositor, or update them.

    Nothing that is there changes.

    Parameters
    ----------
    scene : bpy.types.Scene
        Gets a compositor that passes the render through if it has none.
    shot : ImportedResult
        A result with ST maps.

    Returns
    -------
    tuple of bpy.types.Node
        The two group nodes. Sockets: see UNDISTORT and REDISTORT.
    """
    maps = import_lens_maps(shot)
    groups = [claim(bpy.data.node_groups, shot, f"{kind.part} group", lambda _, kind=kind: _new_group(kind))
              for kind in (UNDISTORT, REDISTORT)]
    _fill(groups, shot, maps)
    undistort, redistort = (_node(scene, shot, kind, group)
                            for kind, group in zip((UNDISTORT, REDISTORT), groups, strict=True))
    return undistort, redistort


def refresh_lens_groups(shot: ImportedResult) -> None:
    """After another import: bring the groups of the same footage up to date, wherever they are used.

    Parameters
    ----------
    shot : ImportedResult
        The new result; if it has no ST maps the groups pass pictures through.
    """
    groups = [find(bpy.data.node_groups, shot, f"{kind.part} group") for kind in (UNDISTORT, REDISTORT)]
    if any(group is not None for group in groups):
        _fill(groups, shot, import_lens_maps(shot))


def _node(scene: bpy.types.Scene, shot: ImportedResult, kind: _Kind, group: bpy.types.NodeTree) -> bpy.types.Node:
    there = (find_node(each, shot, f"{kind.part} node") for each in scene_trees(scene))
    node = next(filter(None, there), None)
    if node is None:
        tree = compositor_tree(scene)
        beside = find_node(tree, shot, f"{UNDISTORT.part} node")
        left, top = free_corner(tree) if beside is None else (beside.location.x + APART, beside.location.y)
        node = add_node(tree, "CompositorNodeGroup", (left, top), f"{kind.name}: {shot.name}")
        node.width = WIDTH
        tag(node, shot, f"{kind.part} node")
    node.node_tree = group
    return node


def _new_group(kind: _Kind) -> bpy.types.NodeTree:
    group = bpy.data.node_groups.new(kind.name, "CompositorNodeTree")
    for direction, sockets in (("INPUT", kind.inputs), ("OUTPUT", kind.outputs)):
        for name, description in sockets.items():
            is_switch = direction == "INPUT" and name == OVERSCAN
            socket = group.interface.new_socket(name, description=description, in_out=direction,
                                                socket_type="NodeSocketFloat" if is_switch else "NodeSocketColor")
            if is_switch:
                socket.min_value, socket.max_value = 0.0, 1.0
    return group


def _fill(groups: list[bpy.types.NodeTree | None], shot: ImportedResult, maps: dict[str, bpy.types.Image]) -> None:
    for kind, group in zip((UNDISTORT, REDISTORT), groups, strict=True):
        if group is None:
            continue
        group.nodes.clear()
        entry, leave = add_node(group, "NodeGroupInput", (-900, 0)), add_node(group, "NodeGroupOutput", (500, 0))
        if not maps:
            for socket in leave.inputs[:len(kind.outputs)]:
                group.links.new(entry.outputs[IMAGE], socket)
        elif kind == UNDISTORT:
            _undistort(group, shot, maps[kind.part], entry, leave)
        else:
            _redistort(group, shot, maps[kind.part], entry, leave)


def _undistort(group, shot: ImportedResult, st_map: bpy.types.Image, entry, leave) -> None:
    """The map is cropped, not the picture: 4.2 looks a cropped picture's outermost pixels up wrongly."""
    source = add_node(group, "CompositorNodeImage", (-900, -200), "ST Map", image=st_map)
    places = {OVERSCAN: source.outputs["Image"],
              IMAGE: _crop(group, (-500, 100), source.outputs["Image"], shot)}
    for row, (output, place) in enumerate(places.items()):
        group.links.new(_look_up(group, (0, -200 * row), entry.outputs[IMAGE], place), leave.inputs[output])


def _redistort(group, shot: ImportedResult, st_map: bpy.types.Image, entry, leave) -> None:
    """The map reads CG with overscan; for CG without, u and v are counted from the edges of that."""
    source = add_node(group, "CompositorNodeImage", (-900, -200), "ST Map", image=st_map)
    parts = add_node(group, "CompositorNodeSeparateColor", (-700, -200))
    group.links.new(source.outputs["Image"], parts.inputs[0])
    place = add_node(group, "CompositorNodeCombineColor", (-300, -200), "Place")
    place.inputs["Blue"].default_value = 1.0  # the look-up takes it for the alpha of what it finds
    left, right, top, bottom = shot.result.lens.overscan
    for row, (side, before, after) in enumerate(zip(shot.clip_size, (left, bottom), (right, top), strict=True)):
        more, corner = (before + after) / side, before / side
        scale = add_math(group, (-700, -400 - 360 * row), "MULTIPLY_ADD", entry.outputs[OVERSCAN], -more, 1.0 + more)
        shift = add_math(group, (-700, -560 - 360 * row), "MULTIPLY_ADD", entry.outputs[OVERSCAN], corner, -corner)
        placed = add_math(group, (-500, -400 - 360 * row), "MULTIPLY_ADD", parts.outputs[row], scale, shift)
        group.links.new(placed, place.inputs[row])
    group.links.new(_look_up(group, (0, 0), entry.outputs[IMAGE], place.outputs[0]), leave.inputs[IMAGE])


def _look_up(group: bpy.types.NodeTree, location, picture: bpy.types.NodeSocket, place: bpy.types.NodeSocket
             ) -> bpy.types.NodeSocket:
    node = add_node(group, "CompositorNodeMapUV", location)
    if bpy.app.version >= SHARES_SHADER_NODES:
        node.inputs["Interpolation"].default_value = "Bilinear"
    else:
        node.filter_type = "ANISOTROPIC"
    feed(group, node, picture, place)
    return node.outputs[0]


def _crop(group: bpy.types.NodeTree, location, picture: bpy.types.NodeSocket, shot: ImportedResult
          ) -> bpy.types.NodeSocket:
    """The part of the picture with overscan that the solved camera sees."""
    (width, height), (left, _, _, bottom) = shot.clip_size, shot.result.lens.overscan
    node = add_node(group, "CompositorNodeCrop", location, "Without Overscan")
    if "Width" in node.inputs:  # since 4.5
        sides = {"X": left, "Y": bottom, "Width": width, "Height": height, "Alpha Crop": False}
        for name, value in sides.items():
            node.inputs[name].default_value = value
    else:
        node.use_crop_size = True
        node.min_x, node.max_x = left, left + width
        node.min_y, node.max_y = bottom + height, bottom  # Blender calls the upper one the least
    group.links.new(picture, node.inputs["Image"])
    return node.outputs[0]
