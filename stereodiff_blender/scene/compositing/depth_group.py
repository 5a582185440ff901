"""The compositor's node group "StereoDiff Depth": one footage's depth, and what a comp makes of it.

The group plays its own image sequence, so one node is all that stands in the artist's tree. Z is the file's value, bit
for bit; where the render is larger than the depth's raster each pixel shows the nearest one, so no depth is invented
at edges. Invalid depth (0) counts as farthest, except in Hold-Out, where it hides nothing.

Depth lies on the plate as it was shot. Where the lens has distortion, the input Undistorted lays it as the solved
camera sees it, and CG Z is taken to wherever the depth lies; both by looking up the nearest pixel.
"""

from __future__ import annotations

import bpy

from ..data import (
    TAG,
    Framing,
    add_node,
    claim,
    find_node,
    frame_picture,
    frame_pixels,
    import_lens_maps,
    parts,
    play_product,
    tag,
)
from ..result import ImportedResult
from .compositor import (
    LOOK_UP_PARTS,
    add_fitted,
    add_fitted_to_nearest,
    add_math,
    add_value,
    give_framing,
    give_place,
)
from .st_maps import WHOLE, look_up, redistort_places, reframe_places, undistort_places

NAME = "StereoDiff Depth"
NEAR, FAR, FOCUS, CG_Z, UNDISTORTED, OVERSCAN = "Near", "Far", "Focus", "CG Z", "Undistorted", "Overscan"
MAP_FIT, SIZE = "ST map fit", "stereodiff_size"
SMALLEST = 1e-6
APART = 1.0 + 1e-5  # the least far / near, so that a flat wall can be divided by

INPUTS = {
    NEAR: "Depth that is 1 in Normalized and where Fog begins, in the units of Z",
    FAR: "Depth that is 0 in Normalized and where Fog is full, in the units of Z",
    FOCUS: "Depth that stays sharp, in the units of Z",
    CG_Z: "How far the CG is, in scene units: link a render layer's Depth, or set a distance",
}
OF_LENS = {
    UNDISTORTED: "0: all lies on the plate as it was shot. 1: on the undistorted plate, as the camera renders CG",
    OVERSCAN: "0: CG Z is rendered by the solved camera. 1: by the overscan camera, and the rest lies on the plate",
}
"""Inputs of a lens with distortion alone; CG Z is as rendered, whatever is chosen."""
OUTPUTS = {
    "Z": "Depth along the camera's axis as solved, 0 where there is none",
    "Scene Z": "Depth in scene units, comparable with a render layer's Depth: Z times the scale of the root",
    "Normalized": "1 at Near, 0 at Far, even in 1 / depth",
    "Fog": "0 at Near, 1 at Far, even in depth",
    "Defocus": "How large the blur is: 0 at Focus, 1 where all of Near to Far lies between. For Blur, or for Defocus "
               "without Use Z-Buffer, where Z-Scale is the largest blur in pixels",
    "Hold-Out": "1 where the footage stands in front of the CG",
}


def default_values(shot: ImportedResult) -> dict[str, float]:
    """Of Near, Far and Focus: the result's depth range, and the depth that is mid-gray in it."""
    near, far = shot.result.depth_range
    return {NEAR: near, FAR: far, FOCUS: 2.0 / (1.0 / near + 1.0 / far)}


def claim_depth_group(scene: bpy.types.Scene, shot: ImportedResult, depth: bpy.types.Image, root: bpy.types.Object
                      ) -> bpy.types.NodeTree:
    """Make the footage's group or bring it up to date: picture, place, timing, and the root it takes the scale from."""
    group = claim(bpy.data.node_groups, shot, "depth group", _new_group)
    camera = parts(scene.objects, shot.key).get("camera")
    lens = camera.data if camera is not None else None
    size = _size_of(shot, depth)
    raster = frame_pixels(scene, lens, shot.clip_shape, size)
    maps = import_lens_maps(shot)
    if maps:
        _add_inputs(group, OF_LENS)
    had_maps = any(node.get(MAP_FIT) for node in group.nodes)
    if maps or had_maps or any(find_node(group, shot, part) is None for part in ("depth picture", "depth scale")):
        _build(group, shot, raster, maps)
    clip = frame_pixels(scene, lens, shot.clip_shape, shot.clip_size)
    reframe_group(group, shot.key, raster, clip, frame_picture(scene, lens, shot.clip_shape, shot.clip_shape).extent)
    picture = find_node(group, shot, "depth picture")
    picture.image, picture[SIZE] = depth, size
    play_product(picture, shot)
    _follow_scale(find_node(group, shot, "depth scale").outputs[0], root)
    for item in group.interface.items_tree:
        if item.name in default_values(shot) and item.in_out == "INPUT":
            item.default_value = default_values(shot)[item.name]
    return group


def _size_of(shot: ImportedResult, depth: bpy.types.Image) -> tuple[int, int]:
    """Width and height of the picture, also while nothing has loaded it."""
    is_plates = depth[TAG]["part"] == "plate_depth" and shot.result.plate_size is not None
    return shot.result.plate_size if is_plates else shot.raster_size


def size_of_picture(picture: bpy.types.Node | None, depth: bpy.types.Image) -> tuple[int, int]:
    """The same as noted in a group; as Blender has it, in a group of an earlier version."""
    noted = picture.get(SIZE) if picture is not None else None
    width, height = depth.size if noted is None else noted
    return int(width), int(height)


def reframe_group(group: bpy.types.NodeTree, key: str, raster: Framing, clip: Framing,
                  extent: tuple[float, float], wide_extent: tuple[float, float] = WHOLE) -> None:
    """Lay depth anew. raster, clip: of pictures of their sizes; extent: how often the clip goes into the render;
    wide_extent: and the plate with overscan.

    In a group that an earlier version made with 4.2, there is nothing that could be set: it stays stretched.
    """
    for node in (node for node in group.nodes if node.bl_idname == "CompositorNodeScale"):
        give_framing(node, clip if node.get(MAP_FIT) else raster)
    reframe_places(group, key, extent, wide_extent)
    own = parts(group.nodes, key)
    for part, often in zip(LOOK_UP_PARTS, raster.extent, strict=True):
        if part in own:
            give_place(own[part], often)


def _new_group(name: str) -> bpy.types.NodeTree:
    group = bpy.data.node_groups.new(NAME, "CompositorNodeTree")
    for name, description in OUTPUTS.items():
        group.interface.new_socket(name, description=description, in_out="OUTPUT", socket_type="NodeSocketFloat")
    _add_inputs(group, INPUTS)
    return group


def _add_inputs(group: bpy.types.NodeTree, inputs: dict[str, str]) -> None:
    """Those that it has not yet."""
    there = {item.name for item in group.interface.items_tree if item.item_type == "SOCKET" and item.in_out == "INPUT"}
    for name, description in inputs.items():
        if name in there:
            continue
        socket = group.interface.new_socket(name, description=description, in_out="INPUT",
                                            socket_type="NodeSocketFloat")
        socket.min_value = 0.0 if name in OF_LENS else SMALLEST
        if name in OF_LENS:
            socket.max_value, socket.default_value = 1.0, 0.0


def _follow_scale(socket: bpy.types.NodeSocket, root: bpy.types.Object) -> None:
    """Keep a value at the root's scale, without Python."""
    socket.driver_remove("default_value")
    driver = socket.driver_add("default_value").driver
    driver.type = "AVERAGE"
    variable = driver.variables.new()
    variable.type = "TRANSFORMS"
    target = variable.targets[0]
    target.id, target.transform_type, target.transform_space = root, "SCALE_AVG", "WORLD_SPACE"


def _build(group: bpy.types.NodeTree, shot: ImportedResult, framing: Framing, maps: dict[str, bpy.types.Image]
           ) -> None:
    group.nodes.clear()
    entry = add_node(group, "NodeGroupInput", (-900, -300))
    leave = add_node(group, "NodeGroupOutput", (900, 0))
    picture = add_node(group, "CompositorNodeImage", (-900, 300), "z-depth")
    tag(picture, shot, "depth picture")
    fitted = add_fitted_to_nearest(group, (-500, 300), picture.outputs["Image"], shot, framing)
    z, cg_z = _red_of(group, (-300, 300), fitted), entry.outputs[CG_Z]
    if maps:
        undistorted = _undistorted(group, shot, framing, maps["undistort"], picture)
        z = _choice(group, (-100, 900), entry, z, undistorted)
        on_plate = _redistorted(group, shot, framing, maps["redistort"], entry)
        cg_z = _choice(group, (-100, 1300), entry, on_plate, cg_z)
    scale = add_value(group, (-100, 300), "Scale of Root", 1.0)
    tag(scale, shot, "depth scale")
    valid = add_math(group, (-100, 100), "GREATER_THAN", z, 0.0, label="Valid")
    scene_z = add_math(group, (100, 300), "MULTIPLY", z, scale.outputs[0], label="Scene Z")
    normalized, defocus = _disparities(group, entry, z)
    products = {"Z": z, "Scene Z": scene_z, "Normalized": normalized, "Fog": _fog(group, entry, z, valid),
                "Defocus": defocus, "Hold-Out": _hold_out(group, cg_z, scene_z, valid)}
    for name, socket in products.items():
        group.links.new(socket, leave.inputs[name])


def _red_of(group: bpy.types.NodeTree, location, picture: bpy.types.NodeSocket) -> bpy.types.NodeSocket:
    """The red channel alone, because turning a color into a number rounds."""
    channels = add_node(group, "CompositorNodeSeparateColor", location)
    group.links.new(picture, channels.inputs[0])
    return channels.outputs["Red"]


def _undistorted(group, shot: ImportedResult, framing: Framing, st_map: bpy.types.Image, picture
                 ) -> bpy.types.NodeSocket:
    """Depth as the solved camera sees it. The map, which is smooth, is laid into the render; depth is not mixed."""
    places, _ = undistort_places(group, (-1700, 900), st_map, shot)
    fitted = _fit_map(group, (-900, 900), places, framing)
    return _red_of(group, (-300, 900), look_up(group, (-500, 900), picture.outputs["Image"], fitted, nearest=True))


def _redistorted(group, shot: ImportedResult, framing: Framing, st_map: bpy.types.Image, entry
                 ) -> bpy.types.NodeSocket:
    places = redistort_places(group, (-1700, 1700), st_map, shot, entry.outputs[OVERSCAN])
    fitted = _fit_map(group, (-900, 1700), places, framing)
    return _red_of(group, (-300, 1700), look_up(group, (-500, 1700), entry.outputs[CG_Z], fitted, nearest=True))


def _fit_map(group, location, places: bpy.types.NodeSocket, framing: Framing) -> bpy.types.NodeSocket:
    fitted = add_fitted(group, location, places, framing)
    fitted.node[MAP_FIT] = True
    return fitted


def _choice(group, location, entry, as_shot, undistorted) -> bpy.types.NodeSocket:
    """By the input Undistorted; exactly one of the two at 0 and at 1."""
    left, top = location
    chosen = entry.outputs[UNDISTORTED]
    rest = add_math(group, (left, top), "SUBTRACT", 1.0, chosen)
    part = add_math(group, (left + 200, top), "MULTIPLY", as_shot, rest)
    return add_math(group, (left + 400, top), "MULTIPLY_ADD", undistorted, chosen, part)


def _disparities(group, entry, z) -> tuple[bpy.types.NodeSocket, bpy.types.NodeSocket]:
    """Normalized, and how far it is from the focus: a lens blurs in proportion to the difference of 1 / depth."""
    nearest = add_math(group, (-500, -100), "MULTIPLY", entry.outputs[NEAR], APART)
    beyond = add_math(group, (-300, -100), "MAXIMUM", entry.outputs[FAR], nearest)
    low = add_math(group, (-100, -100), "DIVIDE", 1.0, beyond, label="1 / Far")
    high = add_math(group, (-100, -260), "DIVIDE", 1.0, entry.outputs[NEAR], label="1 / Near")
    extent = add_math(group, (100, -260), "SUBTRACT", high, low)

    def normalize(depth, top: float) -> bpy.types.NodeSocket:
        disparity = add_math(group, (100, top), "DIVIDE", 1.0, depth)
        above = add_math(group, (300, top), "SUBTRACT", disparity, low)
        return add_math(group, (500, top), "DIVIDE", above, extent, label="Near is 1", clamp=True)

    normalized, focus = normalize(z, 100), normalize(entry.outputs[FOCUS], -100)
    apart = add_math(group, (700, -20), "SUBTRACT", normalized, focus)
    return normalized, add_math(group, (700, -180), "ABSOLUTE", apart, label="Defocus")


def _fog(group, entry, z, valid) -> bpy.types.NodeSocket:
    beyond = add_math(group, (100, -440), "SUBTRACT", z, entry.outputs[NEAR])
    extent = add_math(group, (100, -600), "SUBTRACT", entry.outputs[FAR], entry.outputs[NEAR])
    even = add_math(group, (300, -440), "DIVIDE", beyond, extent, clamp=True)
    invalid = add_math(group, (300, -600), "SUBTRACT", 1.0, valid)
    return add_math(group, (500, -440), "MAXIMUM", even, invalid, label="Fog")


def _hold_out(group, cg_z, scene_z, valid) -> bpy.types.NodeSocket:
    in_front = add_math(group, (300, 300), "GREATER_THAN", cg_z, scene_z, label="In Front")
    return add_math(group, (500, 300), "MULTIPLY", in_front, valid, label="Hold-Out")
