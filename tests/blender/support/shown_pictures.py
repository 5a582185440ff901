"""Which picture of a movie Blender shows at each frame: its compositor is asked, for movies of clips.picture()."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np
from compositors import empty_tree

BITS = 7


def shown_by_blender(path: Path, folder: Path, *, frame_offset: int = 0) -> list[int]:
    """Index of the picture at every frame of the clip, as long as Blender says it is. folder: for its renders."""
    clip = bpy.data.movieclips.load(str(path))
    clip.frame_offset = frame_offset
    scene = bpy.context.scene  # of another, Blender renders the same frame again and again
    show_in_compositor(scene, clip)
    scene.render.resolution_x, scene.render.resolution_y = clip.size
    scene.render.resolution_percentage = 100
    scene.render.image_settings.file_format = "PNG"
    scene.view_settings.view_transform = "Standard"
    for layer in scene.view_layers:
        layer.use = False
    return [_index_in(scene, frame, folder / "shown.png") for frame in range(1, clip.frame_duration + 1)]


def show_in_compositor(scene: bpy.types.Scene, clip: bpy.types.MovieClip) -> None:
    tree, picture = empty_tree(scene)
    node = tree.nodes.new("CompositorNodeMovieClip")
    node.clip = clip
    tree.links.new(node.outputs["Image"], picture)


def _index_in(scene: bpy.types.Scene, frame: int, file: Path) -> int:
    scene.frame_set(frame)
    scene.render.filepath = str(file)
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(str(file))
    try:
        width, height = image.size
        pixels = np.array(image.pixels[:]).reshape(height, width, -1)[..., :3].mean(axis=-1)
    finally:
        bpy.data.images.remove(image)
    levels = [pixels[3 * height // 4, int((bit + 0.5) * width / BITS)] for bit in range(BITS)]
    assert all(abs(level - 0.5) > 0.2 for level in levels), levels
    return sum((level > 0.5) << bit for bit, level in enumerate(levels))
