"""The displaced mesh: a grid of camera rays that geometry nodes stretch to the depth of the frame shown.

It plays from the depth files, so it costs no memory per frame, needs no add-on to play, and follows when the files
change. Each vertex stands on the ray through its pixel's centre: in the camera's own space, ray times z-depth. The
outermost vertices stand on the picture's edge, at the depth of the pixel beside them, so that nothing is left bare.
"""

from __future__ import annotations

import bpy
import numpy as np
from mathutils import Matrix

from .. import camera_math
from .animation import animate, clear_animation
from .nodes import add_node, feed
from .ownership import claim, claim_object
from .shot import Shot

MOST_VERTICES = 60_000  # what still plays at film rate on two cores with the tearing on
TEAR_THRESHOLD = 0.05
NEVER = 1e30

TEAR = "Tear at Depth Edges"
TEAR_AT = "Tear Threshold"
FILL = "Fill Seams"
SHOW_DEPTH = "Show Depth"
MODIFIER = "StereoDiff Depth"


def import_mesh(collection: bpy.types.Collection, camera: bpy.types.Object, shot: Shot, depth: bpy.types.Image,
                materials: list[bpy.types.Material], step: int | None = None) -> bpy.types.Object:
    """Make or update the mesh as a child of the camera.

    materials: of the plate and of the depth view. step: pixels between vertices; None takes the smallest that keeps
    the grid at MOST_VERTICES.
    """
    step = step or camera_math.step_for_density(*shot.raster_size, MOST_VERTICES)
    mesh = claim(bpy.data.meshes, shot, "depth mesh", bpy.data.meshes.new)
    _fill_grid(mesh, shot, step)
    mesh.materials.clear()
    for material in materials:
        mesh.materials.append(material)
    thing = claim_object(collection, shot, "depth mesh", mesh)
    thing.parent = camera
    thing.matrix_parent_inverse = Matrix.Identity(4)
    thing.matrix_basis = Matrix.Identity(4)
    _displace(thing, _build_displacement(shot, depth))
    return thing


def _displace(thing: bpy.types.Object, tree: bpy.types.NodeTree) -> None:
    modifier = thing.modifiers.get(MODIFIER) or thing.modifiers.new(MODIFIER, "NODES")
    modifier.node_group = tree


# --- The grid ------------------------------------------------------------------------------------------------------

def _fill_grid(mesh: bpy.types.Mesh, shot: Shot, step: int) -> None:
    """Vertices row by row from the top, with UVs of the same places in the plate."""
    width, height = shot.raster_size
    x, y = camera_math.grid_positions(width, step), camera_math.grid_positions(height, step)
    corners = _corners(len(x), len(y))
    mesh.clear_geometry()
    _fill_topology(mesh, camera_math.camera_rays(x, y, shot.raster_intrinsics[0]), corners)
    uv = np.stack(np.meshgrid(x / width, 1.0 - y / height), axis=-1).astype(np.float32)
    layer = mesh.uv_layers.new(name="UVMap", do_init=False)
    layer.data.foreach_set("uv", uv.reshape(-1, 2)[corners.ravel()].ravel())
    mesh.update(calc_edges=True)


def _corners(columns: int, rows: int) -> np.ndarray:
    """Vertex indices of all quads, (N,4) int32, counter-clockwise as the camera sees them: normals face it."""
    index = np.arange(columns * rows, dtype=np.int32).reshape(rows, columns)
    return np.stack([index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]], axis=-1).reshape(-1, 4)


def _fill_topology(mesh: bpy.types.Mesh, rays: np.ndarray, corners: np.ndarray) -> None:
    mesh.vertices.add(rays.size // 3)
    mesh.vertices.foreach_set("co", rays.astype(np.float32).ravel())
    mesh.loops.add(corners.size)
    mesh.loops.foreach_set("vertex_index", corners.ravel())
    mesh.polygons.add(len(corners))
    mesh.polygons.foreach_set("loop_start", np.arange(0, corners.size, 4, dtype=np.int32))


# --- The displacement ----------------------------------------------------------------------------------------------

def _build_displacement(shot: Shot, depth: bpy.types.Image) -> bpy.types.NodeTree:
    tree = claim(bpy.data.node_groups, shot, "depth displacement", _new_tree)
    clear_animation(tree)
    tree.nodes.clear()
    entry = add_node(tree, "NodeGroupInput", (-1300, 0))
    z_depth = _read_depth(tree, shot, depth)
    point = add_node(tree, "ShaderNodeVectorMath", (-280, -100), "Ray x Depth", operation="SCALE")
    feed(tree, point, _ray(tree, shot))
    tree.links.new(z_depth, point.inputs["Scale"])
    moved = add_node(tree, "GeometryNodeSetPosition", (-80, 0))
    feed(tree, moved, entry.outputs["Geometry"], None, point.outputs[0])
    whole = add_node(tree, "GeometryNodeJoinGeometry", (1240, 0))
    for part in reversed(_tear(tree, entry, moved.outputs["Geometry"])):  # the last one linked comes first
        tree.links.new(part, whole.inputs[0])
    shown = add_node(tree, "GeometryNodeSetMaterialIndex", (1420, 0))
    feed(tree, shown, whole.outputs[0], None, entry.outputs[SHOW_DEPTH])
    leave = add_node(tree, "NodeGroupOutput", (1600, 0))
    feed(tree, leave, shown.outputs["Geometry"])
    return tree


def _new_tree(name: str) -> bpy.types.NodeTree:
    """An empty tree with the modifier's inputs, which a later import keeps together with their values."""
    tree = bpy.data.node_groups.new(name, "GeometryNodeTree")
    tree.is_modifier = True
    sockets = tree.interface
    sockets.new_socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")
    sockets.new_socket("Geometry", in_out="INPUT", socket_type="NodeSocketGeometry")
    tear = sockets.new_socket(TEAR, in_out="INPUT", socket_type="NodeSocketBool")
    tear.default_value = True
    tear.description = "Open the mesh where depth jumps, instead of stretching it from the near thing to the far one"
    threshold = sockets.new_socket(TEAR_AT, in_out="INPUT", socket_type="NodeSocketFloat")
    threshold.default_value, threshold.min_value, threshold.max_value = TEAR_THRESHOLD, 0.0, 10.0
    threshold.description = "How far apart the corners of a face may be: natural logarithm of the ratio of their depths"
    fill = sockets.new_socket(FILL, in_out="INPUT", socket_type="NodeSocketBool")
    fill.default_value = True
    fill.description = "Continue the far side under the edge of the near one, so that the solved camera sees no gap"
    view = sockets.new_socket(SHOW_DEPTH, in_out="INPUT", socket_type="NodeSocketBool")
    view.description = "Show the depth material instead of the plate"
    return tree


def _read_depth(tree: bpy.types.NodeTree, shot: Shot, depth: bpy.types.Image) -> bpy.types.NodeSocket:
    """z-depth of the frame shown. The image node counts in file numbers: clip frames, held at both ends."""
    time = add_node(tree, "GeometryNodeInputSceneTime", (-1300, -260))
    clip_frame = add_node(tree, "ShaderNodeMath", (-1120, -260), "Clip Frame", operation="SUBTRACT")
    feed(tree, clip_frame, time.outputs["Frame"], float(shot.start - 1))
    held = add_node(tree, "ShaderNodeClamp", (-940, -260), "Solved Frames")
    feed(tree, held, clip_frame.outputs[0], float(shot.first_frame), float(shot.result.frames[-1].frame))
    place = add_node(tree, "GeometryNodeInputNamedAttribute", (-940, -440), "UV", data_type="FLOAT_VECTOR")
    place.inputs["Name"].default_value = "UVMap"
    picture = add_node(tree, "GeometryNodeImageTexture", (-740, -200), "Depth", interpolation="Closest",
                       extension="EXTEND")
    picture.inputs["Image"].default_value = depth
    tree.links.new(place.outputs["Attribute"], picture.inputs["Vector"])
    tree.links.new(held.outputs[0], picture.inputs["Frame"])
    red = add_node(tree, "FunctionNodeSeparateColor", (-480, -200))
    feed(tree, red, picture.outputs["Color"])
    return red.outputs[0]


def _ray(tree: bpy.types.NodeTree, shot: Shot) -> bpy.types.NodeSocket:
    """The ray of each vertex at the frame shown. The grid holds the first frame's; a moving lens changes them."""
    position = add_node(tree, "GeometryNodeInputPosition", (-1120, 340)).outputs[0]
    scale, offset = camera_math.ray_changes(shot.raster_intrinsics)
    if np.ptp(shot.raster_intrinsics, axis=0).max() == 0:
        return position
    lens_scale = add_node(tree, "ShaderNodeCombineXYZ", (-1120, 260), "Lens Scale")
    lens_offset = add_node(tree, "ShaderNodeCombineXYZ", (-1120, 120), "Lens Offset")
    lens_scale.inputs[2].default_value = 1.0
    for node, values in ((lens_scale, scale), (lens_offset, offset)):
        for axis in (0, 1):
            path = node.inputs[axis].path_from_id("default_value")
            animate(tree, path, shot.scene_frames, values[:, axis])
    ray = add_node(tree, "ShaderNodeVectorMath", (-740, 260), "Ray", operation="MULTIPLY_ADD")
    feed(tree, ray, position, lens_scale.outputs[0], lens_offset.outputs[0])
    return ray.outputs[0]


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
    held = add_node(tree, "GeometryNodeDeleteGeometry", (820, 0), domain="FACE", mode="EDGE_FACE")
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
