"""Points with color below the root: a point cloud where Python can make one (Blender 5.2), else a mesh of vertices."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict

import bpy
import numpy as np
from mathutils import Matrix

from ...engine.contract import StereoDiffError
from ..data import (
    SceneImport,
    add_node,
    claim,
    claim_object,
    ensure_input,
    feed,
    find,
    import_plate,
    imports_in,
    set_input,
)
from ..result import ImportedResult, camera_math, read_points
from .fusion import Fusion, fuse_depth
from .plate_colors import reading_plate

SOLVED, DENSE = "points", "dense points"
COLOR = "Color"
RADIUS = "Radius"
MODIFIER = "StereoDiff Points"
FUSION = "stereodiff_fusion"
RADIUS_OVER_NEAREST_DEPTH = 0.004
RADIUS_OVER_SPACING = 0.6


def import_solved_points(found: SceneImport) -> bpy.types.Object:
    """The solve's own static points, in color.

    Made, or brought up to date.

    Parameters
    ----------
    found : SceneImport
        The import; its root becomes the parent.

    Returns
    -------
    bpy.types.Object
        A point cloud, or a mesh of vertices before Blender 5.2; its colors are scene-linear.

    Raises
    ------
    StereoDiffError
        "depth_missing": the result has none. "result_invalid": their file is damaged. Or as read_imported_result()
        does.
    """
    shot = found.read_imported_result()
    points, colors = read_points(shot)
    if not len(points):
        raise StereoDiffError("depth_missing", "The solve has found no points.")
    near = shot.result.depth_range[0] if shot.result.depth_range is not None else 1.0
    return _place(found, shot, SOLVED, camera_math.points_in_blender_world(points), _linear_from_srgb(colors),
                  near * RADIUS_OVER_NEAREST_DEPTH)


def import_dense_points(found: SceneImport, fusion: Fusion, on_frame: Callable[[int], None]) -> bpy.types.Object:
    """Still, sure depth of several frames as points, in the plate's colors.

    Made, or brought up to date.

    Parameters
    ----------
    found : SceneImport
        The import; its root becomes the parent.
    fusion : Fusion
        Spacing in units of the solve, least confidence and number of frames. The object keeps it, for refresh_points().
    on_frame : callable
        Told how many frames are done.

    Returns
    -------
    bpy.types.Object
        A point cloud, or a mesh of vertices before Blender 5.2; its colors are scene-linear.

    Raises
    ------
    StereoDiffError
        "depth_missing": nothing is left over. "settings_invalid": the spacing is too fine. "result_invalid": a damaged
        file. "clip_missing": the camera shows no clip. Or as read_imported_result() does.
    """
    shot = found.read_imported_result()
    if found.clip is None:
        raise StereoDiffError("clip_missing", "The camera shows no clip.")
    with reading_plate(shot, import_plate(shot, found.clip)) as plate:
        points, colors, spacing = fuse_depth(shot, plate, fusion, on_frame)
    thing = _place(found, shot, DENSE, points, colors, spacing * RADIUS_OVER_SPACING)
    thing[FUSION] = json.dumps(asdict(fusion))
    return thing


def refresh_points(scene: bpy.types.Scene, shot: ImportedResult) -> None:
    """After another import of the footage: bring those of its points up to date that the scene has.

    Points that the new result cannot give are taken away.

    Parameters
    ----------
    scene : bpy.types.Scene
        Holds the import.
    shot : ImportedResult
        Says the footage.
    """
    found = next(i for i in imports_in(scene) if i.footage == shot.key)
    for part, again in ((SOLVED, _import_solved_again), (DENSE, _import_dense_again)):
        thing = found.part(scene, part)
        if thing is None:
            continue
        try:
            again(found, thing)
        except StereoDiffError:
            bpy.data.objects.remove(thing)


def _import_solved_again(found: SceneImport, thing: bpy.types.Object) -> None:
    import_solved_points(found)


def _import_dense_again(found: SceneImport, thing: bpy.types.Object) -> None:
    import_dense_points(found, Fusion(**json.loads(thing[FUSION])), lambda done: None)


def _place(found: SceneImport, shot: ImportedResult, part: str, points: np.ndarray, colors: np.ndarray, radius: float
           ) -> bpy.types.Object:
    """points (N,3) in the root's space; colors (N,3) scene-linear."""
    is_cloud = "resize" in bpy.types.PointCloud.bl_rna.functions
    data = _cloud(shot, part, points) if is_cloud else _vertices(shot, part, points)
    _paint(data, colors)
    data.materials.clear()
    data.materials.append(_material(shot))
    thing = _claim_of_type(found, shot, part, data)
    thing.parent, thing.matrix_parent_inverse, thing.matrix_basis = found.root, Matrix.Identity(4), Matrix.Identity(4)
    modifier = thing.modifiers.get(MODIFIER)
    is_new = modifier is None
    modifier = modifier or thing.modifiers.new(MODIFIER, "NODES")
    modifier.node_group = _tree(shot, is_cloud)
    if is_new:
        set_input(modifier, RADIUS, radius)
    return thing


def _claim_of_type(found: SceneImport, shot: ImportedResult, part: str, data: bpy.types.ID) -> bpy.types.Object:
    """An object of a .blend from an older Blender holds a mesh, which cannot become a point cloud."""
    thing = find(bpy.data.objects, shot, part)
    if thing is not None and type(thing.data) is not type(data):
        bpy.data.objects.remove(thing)
    return claim_object(found.collection, shot, part, data)


def _cloud(shot: ImportedResult, part: str, points: np.ndarray) -> bpy.types.ID:
    cloud = claim(bpy.data.pointclouds, shot, part, bpy.data.pointclouds.new)
    cloud.resize(len(points))
    cloud.attributes["position"].data.foreach_set("vector", points.astype(np.float32).ravel())
    return cloud


def _vertices(shot: ImportedResult, part: str, points: np.ndarray) -> bpy.types.Mesh:
    mesh = claim(bpy.data.meshes, shot, part, bpy.data.meshes.new)
    mesh.clear_geometry()
    mesh.vertices.add(len(points))
    mesh.vertices.foreach_set("co", points.astype(np.float32).ravel())
    return mesh


def _paint(data: bpy.types.ID, colors: np.ndarray) -> None:
    layer = data.attributes.get(COLOR) or data.attributes.new(COLOR, "FLOAT_COLOR", "POINT")
    layer.data.foreach_set("color", np.column_stack([colors, np.ones(len(colors))]).astype(np.float32).ravel())
    data.update_tag()


def _linear_from_srgb(colors: np.ndarray) -> np.ndarray:
    """uint8 (N,3) to scene-linear."""
    value = colors / 255.0
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def _tree(shot: ImportedResult, is_cloud: bool) -> bpy.types.NodeTree:
    """Gives the points a size to be seen by, in renders too."""
    tree = claim(bpy.data.node_groups, shot, "point size", _new_tree)
    tree.nodes.clear()
    entry = add_node(tree, "NodeGroupInput", (-300, 0))
    if is_cloud:
        sized = add_node(tree, "GeometryNodeSetPointRadius", (0, 0))
        feed(tree, sized, entry.outputs["Geometry"])
    else:
        sized = add_node(tree, "GeometryNodeMeshToPoints", (0, 0))
        feed(tree, sized, entry.outputs["Geometry"])
    tree.links.new(entry.outputs[RADIUS], sized.inputs["Radius"])
    colored = add_node(tree, "GeometryNodeSetMaterial", (200, 0))
    feed(tree, colored, sized.outputs[0], None, _material(shot))
    leave = add_node(tree, "NodeGroupOutput", (400, 0))
    feed(tree, leave, colored.outputs[0])
    return tree


def _new_tree(name: str) -> bpy.types.NodeTree:
    tree = bpy.data.node_groups.new(name, "GeometryNodeTree")
    tree.is_modifier = True
    for in_out in ("OUTPUT", "INPUT"):
        tree.interface.new_socket("Geometry", in_out=in_out, socket_type="NodeSocketGeometry")
    ensure_input(tree, RADIUS, "Float", default_value=0.01, min_value=0.0, subtype="DISTANCE",
                 description="Size of a point, in the root's units")
    return tree


def _material(shot: ImportedResult) -> bpy.types.Material:
    """Shows the color of each point as it is, whatever the light."""
    material = find(bpy.data.materials, shot, "points material")
    if material is not None:
        return material  # the artist's by now
    material = claim(bpy.data.materials, shot, "points material", bpy.data.materials.new)
    if bpy.app.version < (5, 0, 0):  # later ones always have nodes, and warn
        material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    color = add_node(tree, "ShaderNodeAttribute", (-300, 0), attribute_name=COLOR)
    glow = add_node(tree, "ShaderNodeEmission", (0, 0))
    feed(tree, glow, color.outputs["Color"])
    leave = add_node(tree, "ShaderNodeOutputMaterial", (200, 0))
    feed(tree, leave, glow.outputs[0])
    return material
