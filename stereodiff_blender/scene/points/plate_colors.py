"""The plate's colors as numbers, of movies too: Blender gives their pixels only to nodes, so nodes read them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import bpy
import numpy as np

from ..data import add_node, ensure_input, feed, set_input
from ..result import ImportedResult
from .stored_colors import scene_linear

COLOR = "colour"
FRAME = "Frame"
GIVES_STORED_BYTES = (5, 3, 0)  # from here on nodes get the values of 8-bit pictures as the file has them


class PlateColors:
    """Reads the plate of any clip frame, on the result's raster. Made by reading_plate()."""

    def __init__(self, scene: bpy.types.Scene, pixels: bpy.types.Object, shot: ImportedResult,
                 plate: bpy.types.Image):
        self._scene, self._pixels, self._shot, self._plate = scene, pixels, shot, plate

    def of_frame(self, clip_frame: int) -> np.ndarray:
        """(H,W,3) float32, scene-linear, row 0 at the top."""
        is_movie = self._shot.result.clip.kind == "movie"
        number = clip_frame + self._shot.plate_number - (0 if is_movie else 1)
        set_input(self._pixels.modifiers[0], FRAME, number)
        with bpy.context.temp_override(scene=self._scene, view_layer=self._scene.view_layers[0]):
            evaluated = self._pixels.evaluated_get(bpy.context.evaluated_depsgraph_get())
        attribute = evaluated.data.attributes[COLOR].data
        colors = np.empty((len(attribute), 4), np.float32)
        attribute.foreach_get("color", colors.ravel())
        width, height = self._shot.raster_size
        colors = colors.reshape(height, width, 4)[..., :3]
        if bpy.app.version < GIVES_STORED_BYTES or self._plate.is_float:  # known once a frame of it was read
            return colors
        return scene_linear(colors, self._plate.colorspace_settings)


@contextmanager
def reading_plate(shot: ImportedResult, plate: bpy.types.Image) -> Iterator[PlateColors]:
    """A PlateColors while the block runs; afterwards nothing of it is left."""
    tree = _reader(plate)
    mesh = _pixel_centers(*shot.raster_size)
    pixels = bpy.data.objects.new("StereoDiff pixels", mesh)
    scene = bpy.data.scenes.new("StereoDiff pixels")
    scene.collection.objects.link(pixels)
    pixels.modifiers.new("Plate", "NODES").node_group = tree
    try:
        yield PlateColors(scene, pixels, shot, plate)
    finally:
        bpy.data.scenes.remove(scene)
        bpy.data.objects.remove(pixels)
        bpy.data.meshes.remove(mesh)
        bpy.data.node_groups.remove(tree)


def _pixel_centers(width: int, height: int) -> bpy.types.Mesh:
    """A vertex for each pixel, row by row from the top, at its place in the picture's own 0..1."""
    u, v = np.meshgrid((np.arange(width) + 0.5) / width, 1.0 - (np.arange(height) + 0.5) / height)
    places = np.stack([u, v, np.zeros_like(u)], axis=-1).astype(np.float32)
    mesh = bpy.data.meshes.new("StereoDiff pixels")
    mesh.vertices.add(width * height)
    mesh.vertices.foreach_set("co", places.ravel())
    return mesh


def _reader(plate: bpy.types.Image) -> bpy.types.NodeTree:
    tree = bpy.data.node_groups.new("StereoDiff pixels", "GeometryNodeTree")
    tree.is_modifier = True
    for in_out in ("OUTPUT", "INPUT"):
        tree.interface.new_socket("Geometry", in_out=in_out, socket_type="NodeSocketGeometry")
    ensure_input(tree, FRAME, "Int", default_value=1)
    entry = add_node(tree, "NodeGroupInput", (-600, 0))
    picture = add_node(tree, "GeometryNodeImageTexture", (-300, -100), interpolation="Linear", extension="EXTEND")
    picture.inputs["Image"].default_value = plate
    place = add_node(tree, "GeometryNodeInputPosition", (-600, -200))
    tree.links.new(place.outputs[0], picture.inputs["Vector"])
    tree.links.new(entry.outputs[FRAME], picture.inputs["Frame"])
    kept = add_node(tree, "GeometryNodeStoreNamedAttribute", (0, 0), data_type="FLOAT_COLOR", domain="POINT")
    kept.inputs["Name"].default_value = COLOR
    feed(tree, kept, entry.outputs["Geometry"])
    tree.links.new(picture.outputs["Color"], next(s for s in kept.inputs if s.name == "Value" and s.enabled))
    leave = add_node(tree, "NodeGroupOutput", (200, 0))
    feed(tree, leave, kept.outputs[0])
    return tree
