"""Nodes that look pictures up by the ST maps of a result's lens, for the groups that undistort and redistort.

Map UV is the one node that does it exactly: Movie Distortion lays its picture pixels off in Blender 4.5 to 5.3. Blender
4.2 and 4.5 have no bilinear look-up, so that they are a quarter of a pixel off.
"""

from __future__ import annotations

import bpy

from ..data import (
    Framing,
    SceneImport,
    add_node,
    feed,
    frame_picture,
    frame_pixels,
    parts,
    play_map,
    render_shape,
    tag,
)
from ..result import ImportedResult
from .compositor import SHARES_SHADER_NODES, add_math

PLACE_PARTS = ("redistort place across", "redistort place up")
SCALE, SHIFT = "scale", "shift"
OVERSCAN = "stereodiff_overscan"
"""On a place's nodes: how much more of the clip CG with overscan has along a side, and how much of that lies before."""
WHOLE = (1.0, 1.0)


def undistort_places(tree: bpy.types.NodeTree, location, st_map: bpy.types.Image, shot: ImportedResult
                     ) -> tuple[bpy.types.NodeSocket, bpy.types.NodeSocket]:
    """Where the plate shows what the solved camera sees, of the clip's size; and the same with overscan.

    The map is cropped, not the picture: 4.2 looks a cropped picture's outermost pixels up wrongly.
    """
    left, top = location
    source = _add_map(tree, location, st_map, shot)
    return _crop(tree, (left + 400, top + 300), source.outputs["Image"], shot), source.outputs["Image"]


def redistort_places(tree: bpy.types.NodeTree, location, st_map: bpy.types.Image, shot: ImportedResult,
                     overscan: bpy.types.NodeSocket | float) -> bpy.types.NodeSocket:
    """Where CG shows what the plate shows, of the clip's size. overscan: 1 for CG that has it, 0 for a plain render.

    The map reads CG with overscan; for a plain render, u and v are counted from its edges. See reframe_places().
    """
    left, top = location
    source = _add_map(tree, location, st_map, shot)
    channels = add_node(tree, "CompositorNodeSeparateColor", (left + 200, top))
    tree.links.new(source.outputs["Image"], channels.inputs[0])
    place = add_node(tree, "CompositorNodeCombineColor", (left + 600, top), "Place")
    place.inputs["Blue"].default_value = 1.0  # the look-up takes it for the alpha of what it finds
    left_px, right_px, top_px, bottom_px = shot.result.lens.overscan
    beside = ((left_px, right_px), (bottom_px, top_px))  # v counts from the bottom
    for row, (side, (before, after)) in enumerate(zip(shot.clip_size, beside, strict=True)):
        at = top - 200 - 360 * row
        coefficients = [add_math(tree, (left + 200, at - 160 * which), "MULTIPLY_ADD", overscan)
                        for which in range(2)]
        for name, socket in zip((SCALE, SHIFT), coefficients, strict=True):
            tag(socket.node, shot, f"{PLACE_PARTS[row]} {name}")
            socket.node[OVERSCAN] = ((before + after) / side, before / side)
        placed = add_math(tree, (left + 400, at), "MULTIPLY_ADD", channels.outputs[row], *coefficients)
        tree.links.new(placed, place.inputs[row])
    reframe_places(tree, shot.key, WHOLE)
    return place.outputs[0]


def _add_map(tree: bpy.types.NodeTree, location, st_map: bpy.types.Image, shot: ImportedResult) -> bpy.types.Node:
    node = add_node(tree, "CompositorNodeImage", location, "ST Map", image=st_map)
    play_map(node, shot)
    return node


def reframe_places(tree: bpy.types.NodeTree, key: str, extent: tuple[float, float],
                   wide_extent: tuple[float, float] = WHOLE) -> None:
    """Let the places of redistort_places() fit a render whose shape is not the clip's, or not that of the overscan.

    extent: as of Framing.extent, of the clip for a plain render; wide_extent: of CG with overscan.
    """
    own = parts(tree.nodes, key)
    for part, often, wide_often in zip(PLACE_PARTS, extent, wide_extent, strict=True):
        scale, shift = (own.get(f"{part} {name}") for name in (SCALE, SHIFT))
        if scale is None or shift is None:
            continue
        more, before = scale[OVERSCAN]
        plain_scale, plain_shift = (1.0 + more) / often, 0.5 - (before + 0.5) / often
        wide_scale, wide_shift = 1.0 / wide_often, 0.5 - 0.5 / wide_often
        for node, plain, wide in ((scale, plain_scale, wide_scale), (shift, plain_shift, wide_shift)):
            node.inputs[1].default_value, node.inputs[2].default_value = wide - plain, plain


def clip_in_render(scene: bpy.types.Scene, found: SceneImport) -> tuple[float, float]:
    """How often the clip goes into what the solved camera renders, across and up."""
    camera = found.camera.data if found.camera is not None else None
    shape = found.clip_shape or render_shape(scene)
    return frame_picture(scene, camera, shape, shape).extent


def overscan_in_render(scene: bpy.types.Scene, found: SceneImport, group: bpy.types.NodeTree) -> tuple[float, float]:
    """The same of the undistorted plate with overscan, if the scene renders through the import's camera that sees it;
    else once, because such CG comes from a scene of its own. group: with the nodes of redistort_places()."""
    shape = found.clip_shape
    if not sees_overscan(scene, found) or not shape:
        return WHOLE
    more_across, more_up = overscan_of(group, found.footage)
    wide = shape * (1.0 + more_across) / (1.0 + more_up)
    return frame_picture(scene, scene.camera.data, wide, wide).extent


def sees_overscan(scene: bpy.types.Scene, found: SceneImport) -> bool:
    """Whether the scene renders through the import's overscan camera.

    Parameters
    ----------
    scene : bpy.types.Scene
        Whose camera is meant.
    found : SceneImport
        The import.

    Returns
    -------
    bool
        True if its render holds what "Redistort CG" needs up to the plate's edges.
    """
    return scene.camera is not None and scene.camera == found.part(scene, "overscan camera")


def has_overscan_size(scene: bpy.types.Scene, found: SceneImport) -> bool:
    """Whether the scene renders just the undistorted plate with overscan, through the import's camera for that.

    Parameters
    ----------
    scene : bpy.types.Scene
        Whose camera and render are meant.
    found : SceneImport
        The import, with its clip.

    Returns
    -------
    bool
        True if a pixel of the render is one of the plate, which then lies in its middle.
    """
    group = parts(bpy.data.node_groups, found.footage).get("redistort group")
    if group is None or not sees_overscan(scene, found):
        return False
    size = (scene.render.resolution_x, scene.render.resolution_y)
    more = overscan_of(group, found.footage)
    return size == tuple(round(side * (1.0 + share)) for side, share in zip(found.clip.size, more, strict=True))


def plate_framing(scene: bpy.types.Scene, found: SceneImport, size: tuple[int, int] | None = None) -> Framing:
    """How a picture of all that the clip shows is laid into the render. size: its width and height; the clip's unless
    given. Only pictures of the clip's own size lie right in a render of just the overscan's size."""
    clip = tuple(found.clip.size) if found.clip is not None else (0, 0)
    size = clip if size is None else size
    if found.clip is not None and size == clip and has_overscan_size(scene, found):
        group = parts(bpy.data.node_groups, found.footage)["redistort group"]
        more_across, more_up = overscan_of(group, found.footage)
        return Framing("PIXELS", size[0] / size[1], render_shape(scene), (1.0 + more_across, 1.0 + more_up))
    camera = found.camera.data if found.camera is not None else None
    shape = found.clip_shape or render_shape(scene)  # an earlier version's lies over all of the render
    return frame_pixels(scene, camera, shape, size)


def overscan_of(group: bpy.types.NodeTree, key: str) -> tuple[float, float]:
    """How much more of the clip CG with overscan has, across and up, as shares of the clip's sides."""
    own = parts(group.nodes, key)
    nodes = [own.get(f"{part} {SCALE}") for part in PLACE_PARTS]
    across, up = (0.0 if node is None else float(node[OVERSCAN][0]) for node in nodes)
    return across, up


def look_up(tree: bpy.types.NodeTree, location, picture: bpy.types.NodeSocket, place: bpy.types.NodeSocket, *,
            nearest: bool = False) -> bpy.types.NodeSocket:
    """The picture at the places, of their size. nearest: every value one of the picture's own."""
    node = add_node(tree, "CompositorNodeMapUV", location)
    if bpy.app.version >= SHARES_SHADER_NODES:
        node.inputs["Interpolation"].default_value = "Nearest" if nearest else "Bilinear"
    else:
        node.filter_type = "NEAREST" if nearest else "ANISOTROPIC"
    feed(tree, node, picture, place)
    return node.outputs[0]


def _crop(tree: bpy.types.NodeTree, location, picture: bpy.types.NodeSocket, shot: ImportedResult
          ) -> bpy.types.NodeSocket:
    """The part of a picture with overscan that the solved camera sees."""
    (width, height), (left, _, _, bottom) = shot.clip_size, shot.result.lens.overscan
    node = add_node(tree, "CompositorNodeCrop", location, "Without Overscan")
    if "Width" in node.inputs:  # since 4.5
        sides = {"X": left, "Y": bottom, "Width": width, "Height": height, "Alpha Crop": False}
        for name, value in sides.items():
            node.inputs[name].default_value = value
    else:
        node.use_crop_size = True
        node.min_x, node.max_x = left, left + width
        node.min_y, node.max_y = bottom + height, bottom  # Blender calls the upper one the least
    tree.links.new(picture, node.inputs["Image"])
    return node.outputs[0]
