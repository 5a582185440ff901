"""Reading back what an import made, for the tests of stereodiff_blender/scene."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np
from job_folder import Example, camera_to_world, intrinsics

from stereodiff_blender.engine.lens import distorted

BLOCKS = ("actions", "cameras", "collections", "images", "materials", "meshes", "movieclips", "node_groups", "objects",
          "scenes", "worlds")


def datablocks() -> dict[str, list[str]]:
    """Names of everything in the file, by kind."""
    return {kind: sorted(block.name for block in getattr(bpy.data, kind)) for kind in BLOCKS}


def orphans() -> list[str]:
    return [block.name for kind in BLOCKS for block in getattr(bpy.data, kind) if block.users == 0]


def key_frames(block: bpy.types.ID) -> list[int]:
    """Every frame at which a datablock has a key."""
    animation = block.animation_data
    action = animation.action if animation is not None else None
    if action is None:
        return []
    curves = action.fcurves if not hasattr(action, "layers") or not action.layers else \
        action.layers[0].strips[0].channelbag(animation.action_slot).fcurves
    return sorted({int(key.co[0]) for curve in curves for key in curve.keyframe_points})


def show_frame(frame: int) -> bpy.types.Depsgraph:
    bpy.context.scene.frame_set(frame)
    return bpy.context.evaluated_depsgraph_get()


def evaluated_mesh(thing: bpy.types.Object) -> tuple[np.ndarray, list[tuple[int, ...]]]:
    """Vertices (N,3) in object space and the faces, at the frame shown."""
    evaluated = thing.evaluated_get(bpy.context.evaluated_depsgraph_get())
    mesh = evaluated.to_mesh()
    vertices = np.empty(3 * len(mesh.vertices), np.float32)
    mesh.vertices.foreach_get("co", vertices)
    faces = [tuple(face.vertices) for face in mesh.polygons]
    evaluated.to_mesh_clear()
    return vertices.reshape(-1, 3), faces


def set_input(thing: bpy.types.Object, name: str, value) -> None:
    """Set an input of the geometry nodes modifier as the artist does in its panel."""
    modifier = thing.modifiers[0]
    socket = next(s for s in modifier.node_group.interface.items_tree if s.name == name and s.in_out == "INPUT")
    if hasattr(modifier, "properties"):
        getattr(modifier.properties.inputs, socket.identifier).value = value
    else:
        modifier[socket.identifier] = value
    thing.update_tag()
    bpy.context.view_layer.update()


def get_input(thing: bpy.types.Object, name: str):
    """An input of the geometry nodes modifier, as the artist reads it in its panel."""
    modifier = thing.modifiers[0]
    socket = next(s for s in modifier.node_group.interface.items_tree if s.name == name and s.in_out == "INPUT")
    if hasattr(modifier, "properties"):
        return getattr(modifier.properties.inputs, socket.identifier).value
    return modifier[socket.identifier]


def projected(example: Example, index: int, points: np.ndarray) -> np.ndarray:
    """(N,2) pixels of the clip where its plate shows world points (N,3), by the lens's formula alone; each by the
    camera of the row that shows it."""
    times = np.zeros(len(points))
    for _ in range(6 if example.readout else 0):
        times = example.readout * (_projected_at(example, index, points, times)[:, 1] / example.clip[1] - 0.5)
    return _projected_at(example, index, points, times)


def _projected_at(example: Example, index: int, points: np.ndarray, times: np.ndarray) -> np.ndarray:
    """By the cameras at times (N,), in frames after the frame's own."""
    different, place = np.unique(times, return_inverse=True)
    poses = np.stack([camera_to_world(example, index + time) for time in different])
    if len(different) == 1:  # a picture's worth of points would be as many poses
        x, y, z = ((points - poses[0, :3, 3]) @ poses[0, :3, :3]).T
    else:
        poses = poses[place.ravel()]
        x, y, z = np.einsum("nji,nj->in", poses[:, :3, :3], points - poses[:, :3, 3])
    places = np.stack([x / z, y / z], axis=-1)
    if example.distortion is not None:
        places = distorted(places, example.distortion)
    focal, center = np.split(intrinsics(example, index), 2)
    return (places * focal + center) * np.divide(example.clip, example.raster)


def prepare_render(scene: bpy.types.Scene, path: Path) -> None:
    """Few rays, no denoising, plain linear floats on disk."""
    scene.render.engine = "CYCLES"
    scene.cycles.device, scene.cycles.samples, scene.cycles.use_denoising = "CPU", 4, False
    if hasattr(scene.render, "compositor_device"):
        scene.render.compositor_device = "CPU"
    settings = scene.render.image_settings
    if hasattr(settings, "media_type"):
        settings.media_type = "IMAGE"
    settings.file_format, settings.color_depth = "OPEN_EXR", "32"
    scene.render.filepath = str(path)


def render(scene: bpy.types.Scene, path: Path, frame: int) -> np.ndarray:
    """(H,W,3) scene-linear, row 0 at the top."""
    prepare_render(scene, path)
    scene.frame_set(frame)
    bpy.ops.render.render(write_still=True)
    return read_linear(path)


def read_linear(path: Path) -> np.ndarray:
    """A picture as Blender sees it, scene-linear, (H,W,3), row 0 at the top."""
    image = bpy.data.images.load(str(path), check_existing=False)
    if image.colorspace_settings.name == "sRGB":
        image.colorspace_settings.name = "Non-Color"
        pixels = _linear_from_srgb(_pixels(image))
    else:
        pixels = _pixels(image)
    bpy.data.images.remove(image)
    return pixels


def _pixels(image: bpy.types.Image) -> np.ndarray:
    width, height = image.size
    pixels = np.empty(4 * width * height, np.float32)
    image.pixels.foreach_get(pixels)
    return pixels.reshape(height, width, 4)[::-1, :, :3]


def _linear_from_srgb(value: np.ndarray) -> np.ndarray:
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
