"""The scene's picture and time, set to the footage so that the camera's view matches the plate."""

from __future__ import annotations

import bpy

from ..data import TAG
from ..result import ImportedResult, camera_math


def fit_scene(scene: bpy.types.Scene, collection: bpy.types.Collection, shot: ImportedResult) -> None:
    """Size, pixel aspect and rate of the clip, and a frame range over every import in the scene.

    The current frame is brought into that range.

    Parameters
    ----------
    scene : bpy.types.Scene
        What is set; its rate stays where the result's is not known.
    collection : bpy.types.Collection
        The footage's, where the solved scene frames are noted.
    shot : ImportedResult
        Size of the clip in pixels, pixel aspect, rate and solved frames.
    """
    render = scene.render
    set_picture(render, shot)
    if shot.result.fps > 0:
        render.fps, render.fps_base = camera_math.fps_and_base(shot.result.fps)
    _note_range(collection, shot)
    ranges = [c[TAG]["scene_frames"] for c in scene.collection.children_recursive
              if TAG in c and "scene_frames" in c[TAG]]
    scene.frame_start, scene.frame_end = min(r[0] for r in ranges), max(r[1] for r in ranges)
    scene.frame_set(min(max(scene.frame_current, scene.frame_start), scene.frame_end))


def set_picture(render: bpy.types.RenderSettings, shot: ImportedResult) -> None:
    """Size and pixel aspect of the clip, as the camera's lens was made for."""
    render.resolution_x, render.resolution_y = shot.clip_size
    render.pixel_aspect_x, render.pixel_aspect_y = max(shot.pixel_aspect, 1.0), max(1.0 / shot.pixel_aspect, 1.0)


def _note_range(collection: bpy.types.Collection, shot: ImportedResult) -> None:
    frames = shot.scene_frames
    collection[TAG]["scene_frames"] = [int(frames[0]), int(frames[-1])]
