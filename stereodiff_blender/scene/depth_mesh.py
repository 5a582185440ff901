"""The displaced mesh: a grid of camera rays that geometry nodes stretch to the depth of the frame shown.

It plays from the depth files, so it costs no memory per frame, needs no add-on to play, and follows when the files
change. Each vertex stands on the ray through its pixel's centre: in the camera's own space, ray times z-depth.
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
TEAR_THRESHOLD = 0.1
NEVER = 1e30

TEAR = "Tear at Depth Edges"
TEAR_AT = "Tear Threshold"
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
    """Vertices at pixel centres, row by row from the top; UVs are those of the same points in the plate."""
    width, height = shot.raster_size
    columns, rows = camera_math.sample_positions(width, step), camera_math.sample_positions(height, step)
    rays = camera_math.camera_rays(columns, rows, shot.raster_intrinsics[0])
    corners = _corners(len(columns), len(rows))
    mesh.clear_geometry()
    _fill_topology(mesh, rays, corners)
    uv = np.empty((len(rows), len(columns), 2), dtype=np.float32)
    uv[..., 0] = (columns + 0.5) / width
    uv[..., 1] = (1.0 - (rows + 0.5) / height)[:, None]
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
    torn = add_node(tree, "GeometryNodeDeleteGeometry", (640, 0), domain="EDGE", mode="EDGE_FACE")
    feed(tree, torn, moved.outputs["Geometry"], _is_torn(tree, entry))
    shown = add_node(tree, "GeometryNodeSetMaterialIndex", (840, 0))
    feed(tree, shown, torn.outputs["Geometry"], None, entry.outputs[SHOW_DEPTH])
    leave = add_node(tree, "NodeGroupOutput", (1040, 0))
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
    threshold.description = "Ratio of depth, as a natural logarithm, from which two neighbours are torn apart"
    view = sockets.new_socket(SHOW_DEPTH, in_out="INPUT", socket_type="NodeSocketBool")
    view.description = "Show the depth material instead of the plate"
    return tree


def _read_depth(tree: bpy.types.NodeTree, shot: Shot, depth: bpy.types.Image) -> bpy.types.NodeSocket:
    """z-depth of the frame shown. The node counts in file numbers, so scene time becomes clip frames, held at the ends."""
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


def _is_torn(tree: bpy.types.NodeTree, entry: bpy.types.Node) -> bpy.types.NodeSocket:
    """True on edges to remove: far >= near * exp(threshold), which always holds where depth is invalid (0).

    Depth is -z in the camera's space, so the farther end of an edge has the smaller z.
    """
    ends = add_node(tree, "GeometryNodeInputMeshEdgeVertices", (-280, -420))
    depths = []
    for row, end in enumerate(("Position 1", "Position 2")):
        split = add_node(tree, "ShaderNodeSeparateXYZ", (-80, -360 - 140 * row))
        feed(tree, split, ends.outputs[end])
        depths.append(split.outputs["Z"])
    far = add_node(tree, "ShaderNodeMath", (100, -340), "Far", operation="MINIMUM")
    near = add_node(tree, "ShaderNodeMath", (100, -500), "Near", operation="MAXIMUM")
    feed(tree, far, *depths)
    feed(tree, near, *depths)
    limit = add_node(tree, "ShaderNodeMath", (280, -500), "Torn From", operation="MULTIPLY")
    feed(tree, limit, near.outputs[0], _tear_factor(tree, entry))
    torn = add_node(tree, "FunctionNodeCompare", (460, -340), "Torn", data_type="FLOAT", operation="LESS_EQUAL")
    feed(tree, torn, far.outputs[0], limit.outputs[0])
    return torn.outputs[0]


def _tear_factor(tree: bpy.types.NodeTree, entry: bpy.types.Node) -> bpy.types.NodeSocket:
    """far / near from which an edge is torn; NEVER while tearing is off, so that only invalid depth is removed."""
    factor = add_node(tree, "ShaderNodeMath", (-80, -660), "Threshold", operation="EXPONENT")
    feed(tree, factor, entry.outputs[TEAR_AT])
    switch = add_node(tree, "GeometryNodeSwitch", (100, -660), "Tear?", input_type="FLOAT")
    feed(tree, switch, entry.outputs[TEAR], NEVER, factor.outputs[0])
    return switch.outputs[0]
