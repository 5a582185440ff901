"""The node tree of the displaced mesh: a grid over the picture, stretched to the depth of the frame shown, and torn.

Each vertex stands on the ray through its pixel's center: in the camera's own space, ray times z-depth. The outermost
vertices stand on the picture's edge, at the depth of the pixel beside them, so that nothing is left bare. Pixels are
those of the plate as shot; where its lens bends the picture, their rays go through the undistorted places.
"""

from __future__ import annotations

import bpy
import numpy as np

from ..data import add_math, add_node, animate, claim, clear_animation, ensure_input, feed
from ..result import ImportedResult
from .material import MEASUREMENTS
from .undistortion import add_undistortion

TEAR_THRESHOLD = 0.05
LEAST_CONFIDENCE = 0.2  # what was filled without anything beside it to go by, as at a frame's edges, lies below
NEVER = 1e30

STEP = "Step"
TEAR = "Tear at Depth Edges"
TEAR_AT = "Tear Threshold"
FILL = "Fill Seams"
CONFIDENCE = "Least Confidence"
HOLD_OUT = "Hold-Out"
HOLD_OUT_CONFIDENCE = "Hold-Out Confidence"
STILL = "Still Parts"
MOVING = "Moving Parts"
SKY = "Sky"
SHOW = "Shown Material"
UV_MAP = "UVMap"
DISPLACED = "Displaced"

INPUTS = (
    (STEP, "Int", {"min_value": 1, "max_value": 64,
                   "description": "Pixels of the depth between neighboring vertices; 1 is the finest"}),
    (TEAR, "Bool", {"default_value": True, "description": "Open the mesh where depth jumps, instead of stretching it "
                                                          "from the near thing to the far one"}),
    (TEAR_AT, "Float", {"default_value": TEAR_THRESHOLD, "min_value": 0.0, "max_value": 10.0,
                        "description": "How far apart the corners of a face may be: natural logarithm of the ratio of "
                                       "their depths"}),
    (FILL, "Bool", {"default_value": True, "description": "Continue the far side under the edge of the near one, so "
                                                          "that the solved camera sees no gap"}),
    (CONFIDENCE, "Float", {"default_value": LEAST_CONFIDENCE, "min_value": 0.0, "max_value": 1.0, "subtype": "FACTOR",
                           "description": "Leave out what was measured less surely than this. What moves by itself "
                                          "stays: no other frame can vouch for it, and Moving Parts takes it out"}),
    (STILL, "Bool", {"default_value": True, "description": "Show what stands still"}),
    (MOVING, "Bool", {"default_value": True, "description": "Show what moves by itself"}),
    (SKY, "Bool", {"default_value": False, "description": "Show the sky and what is as far: it has no depth of its "
                                                          "own, and stands as a sheet behind everything"}),
    (SHOW, "Int", {"min_value": 0, "max_value": 99,
                   "description": "Slot of the material: 0 plate, 1 depth, 2 confidence, 3 motion mask"}),
    (HOLD_OUT, "Bool", {"default_value": False, "description": "Go by Hold-Out Confidence instead of Least Confidence. "
                                                               "Set Up Hold-Out switches this on"}),
    (HOLD_OUT_CONFIDENCE, "Float", {"default_value": 0.0, "min_value": 0.0, "max_value": 1.0, "subtype": "FACTOR",
                                    "description": "Least confidence of the hold-out. At 0 it has no holes, and CG "
                                                   "is hidden behind what was only guessed, too"}),
)


def build_displacement(shot: ImportedResult, images: dict[str, bpy.types.Image], usual_step: int) -> bpy.types.NodeTree:
    """Make or rebuild the footage's tree. Its inputs keep their values on the modifiers that use it.

    images: by product, "depth" among them; the filters of a product that is missing let everything through.
    usual_step: default of the input Step.
    """
    tree = claim(bpy.data.node_groups, shot, "depth displacement", _new_tree)
    clear_animation(tree)
    tree.nodes.clear()
    for name, kind, settings in INPUTS:
        if name != SKY or has_kinds(images):
            ensure_input(tree, name, kind, **settings).description = settings["description"]
    ensure_input(tree, STEP, "Int").default_value = usual_step
    entry = add_node(tree, "NodeGroupInput", (-2600, 0))
    _finish(tree, entry, _displaced(tree, shot, images, entry))
    return tree


def has_kinds(images: dict[str, bpy.types.Image]) -> bool:
    """Whether the mesh can play from one picture, which tells the sky from what stands still; as of build_displacement.
    """
    return {"mesh_depth", *MEASUREMENTS} <= images.keys()


def build_tearing(shot: ImportedResult) -> bpy.types.NodeTree:
    """Make or rebuild the tree that tears a grid which something else displaces."""
    tree = claim(bpy.data.node_groups, shot, "tearing", _new_tree)
    tree.nodes.clear()
    for name, kind, settings in INPUTS:
        if name in (TEAR, TEAR_AT, FILL, SHOW):
            ensure_input(tree, name, kind, **settings)
    entry = add_node(tree, "NodeGroupInput", (-600, 0))
    _finish(tree, entry, entry.outputs["Geometry"])
    return tree


def untorn_copy(tree: bpy.types.NodeTree) -> bpy.types.NodeTree:
    """A copy of a displacement that yields the whole grid in all frames, collapsed where depth is left out."""
    copy = tree.copy()
    moved = next(node for node in copy.nodes if node.label == DISPLACED)
    leave = next(node for node in copy.nodes if node.bl_idname == "NodeGroupOutput")
    copy.links.new(moved.outputs[0], leave.inputs[0])
    return copy


def _finish(tree: bpy.types.NodeTree, entry: bpy.types.Node, mesh: bpy.types.NodeSocket) -> None:
    """Tear the mesh, choose the material, and hand it out."""
    whole = add_node(tree, "GeometryNodeJoinGeometry", (1240, 0))
    for part in reversed(_tear(tree, entry, mesh)):  # the last one linked comes first
        tree.links.new(part, whole.inputs[0])
    shown = add_node(tree, "GeometryNodeSetMaterialIndex", (1420, 0))
    feed(tree, shown, whole.outputs[0], None, entry.outputs[SHOW])
    leave = add_node(tree, "NodeGroupOutput", (1600, 0))
    feed(tree, leave, shown.outputs["Geometry"])


def _new_tree(name: str) -> bpy.types.NodeTree:
    tree = bpy.data.node_groups.new(name, "GeometryNodeTree")
    tree.is_modifier = True
    for in_out in ("OUTPUT", "INPUT"):
        tree.interface.new_socket("Geometry", in_out=in_out, socket_type="NodeSocketGeometry")
    return tree


# --- The grid ------------------------------------------------------------------------------------------------------

def _displaced(tree: bpy.types.NodeTree, shot: ImportedResult, images: dict[str, bpy.types.Image],
               entry: bpy.types.Node) -> bpy.types.NodeSocket:
    """Every vertex on its ray at its depth, after the four of the object's own mesh."""
    grid, place = _grid(tree, shot, entry)
    width, height = shot.raster_size
    uv = add_node(tree, "ShaderNodeVectorMath", (-1500, -200), "UV", operation="MULTIPLY_ADD")
    feed(tree, uv, place, (1.0 / width, -1.0 / height, 0.0), (0.0, 1.0, 0.0))
    mapped = add_node(tree, "GeometryNodeStoreNamedAttribute", (-1300, 0), "UV Map", data_type="FLOAT2",
                      domain="CORNER")
    mapped.inputs["Name"].default_value = UV_MAP
    feed(tree, mapped, grid)
    tree.links.new(uv.outputs[0], next(s for s in mapped.inputs if s.name == "Value" and s.enabled))
    point = add_node(tree, "ShaderNodeVectorMath", (-500, -100), "Ray x Depth", operation="SCALE")
    feed(tree, point, _ray(tree, shot, place))
    tree.links.new(_depth(tree, shot, images, entry, uv.outputs[0]), point.inputs["Scale"])
    moved = add_node(tree, "GeometryNodeSetPosition", (-300, 0), DISPLACED)
    feed(tree, moved, mapped.outputs[0], None, point.outputs[0])
    joined = add_node(tree, "GeometryNodeJoinGeometry", (-120, 0), "With Slots")
    for part in (moved.outputs[0], entry.outputs["Geometry"]):  # the last one linked comes first
        tree.links.new(part, joined.inputs[0])
    return joined.outputs[0]


def _grid(tree: bpy.types.NodeTree, shot: ImportedResult, entry: bpy.types.Node
          ) -> tuple[bpy.types.NodeSocket, bpy.types.NodeSocket]:
    """The flat grid, and where in the picture its vertices belong: pixels from the left and the top edge.

    Vertices go column by column from the left, each from the bottom up; faces look at the camera. In between the edges
    they stand at the centers of every step-th pixel and of the last one.
    """
    step = add_math(tree, "MAXIMUM", (-2400, -300), entry.outputs[STEP], 1.0, label="Step")
    counts = [_vertex_count(tree, size, step, (-2200, -240 - 160 * axis)) for axis, size in enumerate(shot.raster_size)]
    spans = [add_math(tree, "SUBTRACT", (-1640, -240 - 160 * axis), count, 1.0) for axis, count in enumerate(counts)]
    grid = add_node(tree, "GeometryNodeMeshGrid", (-1500, 100))
    feed(tree, grid, *spans, *counts)
    smooth = add_node(tree, "GeometryNodeSetShadeSmooth", (-1500, 0))
    feed(tree, smooth, grid.outputs[0])
    at = add_node(tree, "ShaderNodeSeparateXYZ", (-2200, -700))
    feed(tree, at, add_node(tree, "GeometryNodeInputPosition", (-2400, -700)).outputs[0])
    place = add_node(tree, "ShaderNodeCombineXYZ", (-1660, -700), "Place in Pixels")
    for axis, (size, span) in enumerate(zip(shot.raster_size, spans, strict=True)):
        half = add_math(tree, "MULTIPLY", (-2200, -860 - 500 * axis), span, 0.5)
        turned = "ADD" if axis == 0 else "SUBTRACT"  # the grid counts up, the picture down
        index = add_math(tree, turned, (-2020, -860 - 500 * axis), half, at.outputs[axis], label="Index")
        tree.links.new(_place(tree, size, step, index, (-2020, -1000 - 500 * axis)), place.inputs[axis])
    return smooth.outputs[0], place.outputs[0]


def _vertex_count(tree: bpy.types.NodeTree, size: int, step, location) -> bpy.types.NodeSocket:
    """Every step-th of size pixels, the last one, and the two edges."""
    x, y = location
    steps = add_math(tree, "CEIL", (x + 180, y), add_math(tree, "DIVIDE", (x, y), float(size - 1), step))
    return add_math(tree, "ADD", (x + 360, y), steps, 3.0, label="Vertices")


def _place(tree: bpy.types.NodeTree, size: int, step, index, location) -> bpy.types.NodeSocket:
    """Pixels from the edge of the grid's index-th vertex: 0 at index 0, size at the last one, a center in between."""
    x, y = location
    before = add_math(tree, "SUBTRACT", (x, y), 0.5, step)
    center = add_math(tree, "MULTIPLY_ADD", (x + 160, y), index, step, before)
    above = add_math(tree, "MAXIMUM", (x + 320, y - 160), center, 0.0)
    held = add_math(tree, "MINIMUM", (x + 320, y), above, size - 0.5)
    last = add_math(tree, "SUBTRACT", (x, y - 160), center, step)
    beyond = add_math(tree, "GREATER_THAN", (x + 160, y - 320), last, size - 0.75)
    return add_math(tree, "MULTIPLY_ADD", (x + 480, y), beyond, 0.5, held)


def _ray(tree: bpy.types.NodeTree, shot: ImportedResult, place: bpy.types.NodeSocket) -> bpy.types.NodeSocket:
    """The ray of each vertex at the frame shown, scaled to z = -1. A moving lens is keyed."""
    is_pinhole = shot.distortion is None
    fx, fy, cx, cy = shot.raster_intrinsics.T
    scale, offset = np.stack([1.0 / fx, -1.0 / fy], axis=-1), np.stack([-cx / fx, cy / fy], axis=-1)
    lens_scale = add_node(tree, "ShaderNodeCombineXYZ", (-900, 400), "Lens Scale")
    lens_offset = add_node(tree, "ShaderNodeCombineXYZ", (-900, 260), "Lens Offset")
    lens_offset.inputs[2].default_value = -1.0 if is_pinhole else 0.0
    for node, values in ((lens_scale, scale), (lens_offset, offset)):
        for axis in (0, 1):
            animate(tree, node.inputs[axis].path_from_id("default_value"), shot.scene_frames, values[:, axis])
    label = "Ray" if is_pinhole else "Place in Focal Lengths"
    ray = add_node(tree, "ShaderNodeVectorMath", (-700, 340), label, operation="MULTIPLY_ADD")
    feed(tree, ray, place, lens_scale.outputs[0], lens_offset.outputs[0])
    return ray.outputs[0] if is_pinhole else add_undistortion(tree, shot, ray.outputs[0])


# --- Depth ---------------------------------------------------------------------------------------------------------

def _depth(tree: bpy.types.NodeTree, shot: ImportedResult, images: dict[str, bpy.types.Image], entry: bpy.types.Node,
           uv: bpy.types.NodeSocket) -> bpy.types.NodeSocket:
    """z-depth of the frame shown; 0 where it is invalid or a filter leaves it out."""
    read = _read_measurements(tree, images, _file_number(tree, shot), uv)
    depth = read["depth"]
    for wanted in _filters(tree, entry, read):
        depth = add_math(tree, "MULTIPLY", (-640, -400), depth, wanted)
    if not has_kinds(images):
        return depth
    is_sky = _compared(tree, "LESS_THAN", (-840, -1400), read["motion_mask"], -0.5)
    sky = add_math(tree, "MULTIPLY", (-640, -1400), read["depth"], entry.outputs[SKY])
    return _switched(tree, (-500, -1300), is_sky, depth, sky)


def _read_measurements(tree: bpy.types.NodeTree, images: dict[str, bpy.types.Image], frame: bpy.types.NodeSocket,
                       uv: bpy.types.NodeSocket) -> dict[str, bpy.types.NodeSocket]:
    """Each vertex's own pixel of depth, confidence and motion mask; only of those that the result has.

    All from one picture, if it has that: to open one takes Blender about as long as to read it.
    """
    if has_kinds(images):
        channels = _read(tree, images["mesh_depth"], frame, uv, (-1100, -300), "Depth, Confidence, Kind")
        return dict(zip(MEASUREMENTS, channels, strict=True))
    return {product: _read(tree, images[product], frame, uv, (-1100, -300 - 360 * row), product.title())[0]
            for row, product in enumerate(MEASUREMENTS) if product in images}


def _file_number(tree: bpy.types.NodeTree, shot: ImportedResult) -> bpy.types.NodeSocket:
    """An image node counts in file numbers; held at both ends."""
    time = add_node(tree, "GeometryNodeInputSceneTime", (-1660, -460))
    first = shot.first_file_number
    number = add_math(tree, "SUBTRACT", (-1480, -460), time.outputs["Frame"],
                      float(shot.scene_frame(shot.first_frame) - first), label="File Number")
    held = add_node(tree, "ShaderNodeClamp", (-1300, -460), "Solved Frames")
    feed(tree, held, number, float(first), float(first + shot.frame_count - 1))
    return held.outputs[0]


def _read(tree: bpy.types.NodeTree, image: bpy.types.Image, frame, uv, location, label: str
          ) -> list[bpy.types.NodeSocket]:
    """Each vertex's own pixel of a picture: red, green and blue."""
    x, y = location
    picture = add_node(tree, "GeometryNodeImageTexture", location, label, interpolation="Closest", extension="EXTEND")
    picture.inputs["Image"].default_value = image
    tree.links.new(uv, picture.inputs["Vector"])
    tree.links.new(frame, picture.inputs["Frame"])
    channels = add_node(tree, "FunctionNodeSeparateColor", (x + 260, y))
    feed(tree, channels, picture.outputs["Color"])
    return [channels.outputs[name] for name in ("Red", "Green", "Blue")]


def _filters(tree: bpy.types.NodeTree, entry: bpy.types.Node, read: dict[str, bpy.types.NodeSocket]
             ) -> list[bpy.types.NodeSocket]:
    """1 where a vertex is wanted, else 0; one for each product. A filter that is off does not ask for its product."""
    wanted, moves = [], None
    if "motion_mask" in read:
        moves = _compared(tree, "GREATER_THAN", (-840, -1040), read["motion_mask"], 0.5)
        wanted.append(_still_or_moving(tree, entry, moves))
    if "confidence" in read:
        wanted.append(_sure_or_moving(tree, entry, read["confidence"], moves))
    return wanted


def _sure_or_moving(tree: bpy.types.NodeTree, entry: bpy.types.Node, sure: bpy.types.NodeSocket,
                    moves: bpy.types.NodeSocket | None) -> bpy.types.NodeSocket:
    """1 where confidence is enough, or not to be had: no frame can vouch for another's depth of what moves."""
    least = _switched(tree, (-1100, -800), entry.outputs[HOLD_OUT], entry.outputs[CONFIDENCE],
                      entry.outputs[HOLD_OUT_CONFIDENCE])
    wanted = _compared(tree, "GREATER_EQUAL", (-840, -760), sure, least)
    if moves is not None:
        either = add_node(tree, "FunctionNodeBooleanMath", (-680, -860), "Sure or Moving", operation="OR")
        feed(tree, either, wanted, moves)
        wanted = either.outputs[0]
    is_on = _compared(tree, "GREATER_THAN", (-900, -900), least, 0.0)
    return _switched(tree, (-500, -700), is_on, 1.0, wanted)


def _still_or_moving(tree: bpy.types.NodeTree, entry: bpy.types.Node, moves: bpy.types.NodeSocket
                     ) -> bpy.types.NodeSocket:
    """1 where what stands still, or what moves, is to be shown."""
    shown = _switched(tree, (-680, -1040), moves, entry.outputs[STILL], entry.outputs[MOVING])
    both = add_node(tree, "FunctionNodeBooleanMath", (-840, -1240), "All", operation="AND")
    feed(tree, both, entry.outputs[STILL], entry.outputs[MOVING])
    return _switched(tree, (-500, -1040), both.outputs[0], shown, 1.0)


def _compared(tree: bpy.types.NodeTree, operation: str, location, a, b) -> bpy.types.NodeSocket:
    node = add_node(tree, "FunctionNodeCompare", location, data_type="FLOAT", operation=operation)
    feed(tree, node, a, b)
    return node.outputs[0]


def _switched(tree: bpy.types.NodeTree, location, condition, if_false, if_true) -> bpy.types.NodeSocket:
    node = add_node(tree, "GeometryNodeSwitch", location, input_type="FLOAT")
    feed(tree, node, condition, if_false, if_true)
    return node.outputs[0]


# --- Tearing -------------------------------------------------------------------------------------------------------
def _tear(tree: bpy.types.NodeTree, entry: bpy.types.Node, mesh: bpy.types.NodeSocket) -> list[bpy.types.NodeSocket]:
    """The mesh in up to two parts: what holds together, and the torn faces pushed back to their far side.

    A face is torn if far >= near * factor, which always holds where depth is invalid (0). Depth is -z in the camera's
    space, so far is the smaller z.
    """
    near, far = _face_ends(tree)
    limit = add_node(tree, "ShaderNodeMath", (440, -560), "Torn From", operation="MULTIPLY")
    feed(tree, limit, near, _tear_factor(tree, entry))
    torn = add_node(tree, "FunctionNodeCompare", (620, -460), "Torn", data_type="FLOAT", operation="LESS_EQUAL")
    feed(tree, torn, far, limit.outputs[0])
    held = add_node(tree, "GeometryNodeDeleteGeometry", (820, 0), domain="FACE", mode="ALL")
    feed(tree, held, mesh, torn.outputs[0])
    return [held.outputs["Geometry"], _seams(tree, entry, mesh, torn.outputs[0], near, far)]


def _face_ends(tree: bpy.types.NodeTree) -> tuple[bpy.types.NodeSocket, bpy.types.NodeSocket]:
    """z of the nearest and the farthest corner of each face."""
    position = add_node(tree, "GeometryNodeInputPosition", (-660, -640))
    height = add_node(tree, "ShaderNodeSeparateXYZ", (-480, -640))
    feed(tree, height, position.outputs[0])
    near = far = None
    for corner in range(4):
        z = _corner_value(tree, height.outputs["Z"], corner)
        if corner == 0:
            near = far = z
            continue
        nearer = add_node(tree, "ShaderNodeMath", (80 + 120 * corner, -620 - 140 * corner), "Near", operation="MAXIMUM")
        farther = add_node(tree, "ShaderNodeMath", (80 + 120 * corner, -320 + 60 * corner), "Far", operation="MINIMUM")
        feed(tree, nearer, near, z)
        feed(tree, farther, far, z)
        near, far = nearer.outputs[0], farther.outputs[0]
    return near, far


def _corner_value(tree: bpy.types.NodeTree, value: bpy.types.NodeSocket, corner: int) -> bpy.types.NodeSocket:
    """A value of each face's n-th corner."""
    top = -420 - 160 * corner
    place = add_node(tree, "GeometryNodeCornersOfFace", (-480, top))
    place.inputs["Sort Index"].default_value = corner
    vertex = add_node(tree, "GeometryNodeVertexOfCorner", (-300, top))
    feed(tree, vertex, place.outputs["Corner Index"])
    there = add_node(tree, "GeometryNodeFieldAtIndex", (-120, top), data_type="FLOAT", domain="POINT")
    tree.links.new(vertex.outputs["Vertex Index"], there.inputs["Index"])
    tree.links.new(value, there.inputs["Value"])
    return there.outputs["Value"]


def _seams(tree: bpy.types.NodeTree, entry: bpy.types.Node, mesh, torn, near, far) -> bpy.types.NodeSocket:
    """Torn faces one by one, each flat at its farthest corner's depth: a strip behind the edge of the near thing."""
    valid = add_node(tree, "FunctionNodeCompare", (620, -700), "Valid", data_type="FLOAT", operation="LESS_THAN")
    feed(tree, valid, near, 0.0)
    wanted = add_node(tree, "FunctionNodeBooleanMath", (800, -700), operation="AND")
    feed(tree, wanted, valid.outputs[0], entry.outputs[FILL])
    chosen = add_node(tree, "FunctionNodeBooleanMath", (820, -460), "Seam", operation="AND")
    feed(tree, chosen, torn, wanted.outputs[0])
    strip = add_node(tree, "GeometryNodeSeparateGeometry", (820, -240), domain="FACE")
    feed(tree, strip, mesh, chosen.outputs[0])
    loose = add_node(tree, "GeometryNodeSplitEdges", (1000, -240))
    feed(tree, loose, strip.outputs["Selection"])
    back = add_node(tree, "GeometryNodeSetPosition", (1180, -240), "To Far Side")
    feed(tree, back, loose.outputs["Mesh"], None, _pushed_back(tree, far))
    return back.outputs["Geometry"]


def _pushed_back(tree: bpy.types.NodeTree, far: bpy.types.NodeSocket) -> bpy.types.NodeSocket:
    """Position along the own ray, at the far depth of the face."""
    face_far = add_node(tree, "GeometryNodeFieldOnDomain", (620, -880), domain="FACE", data_type="FLOAT")
    feed(tree, face_far, far)
    position = add_node(tree, "GeometryNodeInputPosition", (440, -1040))
    own = add_node(tree, "ShaderNodeSeparateXYZ", (620, -1040))
    feed(tree, own, position.outputs[0])
    ratio = add_node(tree, "ShaderNodeMath", (800, -900), "Far / Own", operation="DIVIDE")
    feed(tree, ratio, face_far.outputs[0], own.outputs["Z"])
    moved = add_node(tree, "ShaderNodeVectorMath", (1000, -900), operation="SCALE")
    feed(tree, moved, position.outputs[0])
    tree.links.new(ratio.outputs[0], moved.inputs["Scale"])
    return moved.outputs[0]


def _tear_factor(tree: bpy.types.NodeTree, entry: bpy.types.Node) -> bpy.types.NodeSocket:
    """far / near from which a face is torn; NEVER while tearing is off, so that only invalid depth is removed."""
    factor = add_node(tree, "ShaderNodeMath", (-120, -1080), "Threshold", operation="EXPONENT")
    feed(tree, factor, entry.outputs[TEAR_AT])
    switch = add_node(tree, "GeometryNodeSwitch", (80, -1080), "Tear?", input_type="FLOAT")
    feed(tree, switch, entry.outputs[TEAR], NEVER, factor.outputs[0])
    return switch.outputs[0]
