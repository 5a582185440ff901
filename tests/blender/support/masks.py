"""Masks as an artist draws and keys them, for tests: splines with handles, shape keys set at frames of the timeline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import bpy
import numpy as np
from compositors import empty_tree

Point = tuple[float, float]
CIRCLE = 0.5522847498
"""Length of the handles that make four segments a circle, in radii."""


def square(left: float, bottom: float, side: float) -> list[Point]:
    return [(left, bottom), (left + side, bottom), (left + side, bottom + side), (left, bottom + side)]


def add_polygon(layer: bpy.types.MaskLayer, corners: Sequence[Point], *, closed: bool = True) -> bpy.types.MaskSpline:
    """A spline with straight sides; corners in the mask's own square, y upwards."""
    spline = _add_spline(layer, len(corners), closed)
    place(spline, corners)
    return spline


def place(spline: bpy.types.MaskSpline, corners: Sequence[Point]) -> None:
    for point, corner in zip(spline.points, corners, strict=True):
        point.co = point.handle_left = point.handle_right = corner


def add_circle(layer: bpy.types.MaskLayer, center: Point, radius: float) -> bpy.types.MaskSpline:
    spline = _add_spline(layer, 4, True)
    for point, (x, y) in zip(spline.points, [(1, 0), (0, 1), (-1, 0), (0, -1)], strict=True):
        co = center[0] + radius * x, center[1] + radius * y
        reach = CIRCLE * radius
        point.co = co
        point.handle_left, point.handle_right = ((co[0] + s * y * reach, co[1] - s * x * reach) for s in (1, -1))
    return spline


def _add_spline(layer: bpy.types.MaskLayer, count: int, closed: bool) -> bpy.types.MaskSpline:
    spline = layer.splines.new()
    spline.points.add(count - len(spline.points))
    spline.use_cyclic = closed
    for point in spline.points:
        point.handle_left_type = point.handle_right_type = point.handle_type = "FREE"
        point.select = True
    return spline


def key_shapes(mask: bpy.types.Mask, spline: bpy.types.MaskSpline, keys: Iterable[tuple[int, Sequence[Point]]]) -> None:
    """Shape keys at frames of the timeline, through the operator of the Movie Clip Editor, which has to show a clip."""
    area = bpy.context.screen.areas[0]
    area.type = "CLIP_EDITOR"
    space = area.spaces.active
    space.clip, space.mode, space.mask = bpy.data.movieclips[0], "MASK", mask
    region = next(region for region in area.regions if region.type == "WINDOW")
    for frame, corners in keys:
        bpy.context.scene.frame_set(frame)
        place(spline, corners)
        with bpy.context.temp_override(area=area, region=region, space_data=space):
            assert bpy.ops.mask.shape_key_insert() == {"FINISHED"}


def rendered(mask: bpy.types.Mask, width: int, height: int, folder: Path) -> np.ndarray:
    """What Blender's own Mask node makes of a mask at the current frame, (H,W) bool."""
    scene = bpy.context.scene
    scene.camera = bpy.data.objects.new("eye", bpy.data.cameras.new("eye"))
    scene.collection.objects.link(scene.camera)
    scene.render.engine, scene.view_settings.view_transform = "CYCLES", "Raw"
    scene.cycles.samples = 1
    scene.render.resolution_x, scene.render.resolution_y = width, height
    scene.render.filepath = str(folder / "mask.png")
    _compose(scene, mask)
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(str(folder / "mask.png"))
    image.colorspace_settings.name = "Non-Color"
    pixels = np.empty(4 * width * height, np.float32)
    image.pixels.foreach_get(pixels)
    return pixels.reshape(height, width, 4)[::-1, :, 0] > 0.5


def _compose(scene: bpy.types.Scene, mask: bpy.types.Mask) -> None:
    """The mask, without feather, straight to the output; at render size."""
    tree, picture = empty_tree(scene)
    node = tree.nodes.new("CompositorNodeMask")
    if bpy.app.version < (5, 0):
        node.use_feather = False
    else:
        node.inputs["Feather"].default_value = False
    node.mask = mask
    tree.links.new(node.outputs[0], picture)
