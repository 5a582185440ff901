"""The compositor's node groups "Undistort Plate" and "Redistort CG": a footage's lens, by the ST maps of its result."""

from __future__ import annotations

from dataclasses import dataclass

import bpy

from ..data import SceneImport, add_node, claim, find, find_node, import_lens_maps, imports_in, parts, tag
from ..result import ImportedResult
from .compositor import compositor_tree, free_corner, scene_trees
from .st_maps import (
    clip_in_render,
    look_up,
    overscan_in_render,
    redistort_places,
    reframe_places,
    undistort_places,
)

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
    groups = [_claim_group(shot, kind) for kind in (UNDISTORT, REDISTORT)]
    refresh_lens_groups(scene, shot)
    undistort, redistort = (_node(scene, shot, kind, group)
                            for kind, group in zip((UNDISTORT, REDISTORT), groups, strict=True))
    return undistort, redistort


def claim_redistort_group(scene: bpy.types.Scene, shot: ImportedResult) -> bpy.types.NodeTree:
    """The footage's group "Redistort CG", for a node elsewhere, for renders of this scene's shape."""
    group = _claim_group(shot, REDISTORT)
    refresh_lens_groups(scene, shot)
    return group


def refresh_lens_groups(scene: bpy.types.Scene, shot: ImportedResult) -> None:
    """After another import: bring the groups of the same footage up to date, wherever they are used.

    Parameters
    ----------
    scene : bpy.types.Scene
        Whose render CG comes from.
    shot : ImportedResult
        The new result; if it has no ST maps the groups pass pictures through.
    """
    groups = [find(bpy.data.node_groups, shot, f"{kind.part} group") for kind in (UNDISTORT, REDISTORT)]
    if any(group is not None for group in groups):
        _fill(groups, shot, import_lens_maps(shot))
    for found in (found for found in imports_in(scene) if found.footage == shot.key):
        reframe_lens(scene, found)


def reframe_lens(scene: bpy.types.Scene, found: SceneImport) -> None:
    """Let "Redistort CG" read renders of another shape, after that of the scene's has changed.

    Parameters
    ----------
    scene : bpy.types.Scene
        Whose render is meant.
    found : SceneImport
        The import; nothing is done if it has no group.
    """
    group = parts(bpy.data.node_groups, found.footage).get(f"{REDISTORT.part} group")
    if group is not None:
        reframe_places(group, found.footage, clip_in_render(scene, found), overscan_in_render(scene, found, group))


def drop_unused_group(footage: str) -> None:
    """Take away the group "Redistort CG" and the ST maps, if nothing uses them any more."""
    maps = (f"{kind.part} map" for kind in (REDISTORT, UNDISTORT))
    group = (bpy.data.node_groups, f"{REDISTORT.part} group")
    for blocks, part in (group, *((bpy.data.images, name) for name in maps)):
        block = parts(blocks, footage).get(part)
        if block is not None and block.users == 0 and block.library is None:
            blocks.remove(block)


def _claim_group(shot: ImportedResult, kind: _Kind) -> bpy.types.NodeTree:
    return claim(bpy.data.node_groups, shot, f"{kind.part} group", lambda _: _new_group(kind))


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
    plain, overscan = undistort_places(group, (-900, -200), st_map, shot)
    for row, (output, places) in enumerate({OVERSCAN: overscan, IMAGE: plain}.items()):
        group.links.new(look_up(group, (0, -200 * row), entry.outputs[IMAGE], places), leave.inputs[output])


def _redistort(group, shot: ImportedResult, st_map: bpy.types.Image, entry, leave) -> None:
    places = redistort_places(group, (-900, -200), st_map, shot, entry.outputs[OVERSCAN])
    group.links.new(look_up(group, (0, 0), entry.outputs[IMAGE], places), leave.inputs[IMAGE])
