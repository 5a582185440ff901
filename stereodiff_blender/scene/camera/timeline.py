"""The scene's picture, time and camera: the artist's, unless the scene is as Blender made it.

Camera and depth are keyed by frames of the clip: its frame N plays where the clip shows it, whatever the scene's rate.
"""

from __future__ import annotations

from collections.abc import Iterator

import bpy

from ..data import has_imports
from ..result import ImportedResult, camera_math

FACTORY = {"resolution_x": 1920, "resolution_y": 1080, "resolution_percentage": 100, "pixel_aspect_x": 1.0,
           "pixel_aspect_y": 1.0, "fps": 24, "fps_base": 1.0}
FACTORY_FRAMES = (1, 250)
RATE_TOLERANCE = 5e-4
"""Rates that differ by less are one; 29.97 and 30 do not."""


def is_untouched(scene: bpy.types.Scene) -> bool:
    """Whether nobody has set the scene up: no import, no keys, picture and time as in Blender's own start file.

    Parameters
    ----------
    scene : bpy.types.Scene
        What is looked at; what stands in it does not count, only whether something moves.

    Returns
    -------
    bool
        True if an import may set it to the clip unasked.
    """
    render = scene.render
    is_factory = all(getattr(render, name) == value for name, value in FACTORY.items())
    return (is_factory and (scene.frame_start, scene.frame_end) == FACTORY_FRAMES and not has_imports(scene)
            and not any(map(_moves, _animatable(scene))))


def match_scene(scene: bpy.types.Scene, shot: ImportedResult, camera: bpy.types.Object) -> None:
    """Size, pixel aspect and rate of the clip, the solved frames as frame range, and the solved camera to look through.

    The current frame is brought into that range.

    Parameters
    ----------
    scene : bpy.types.Scene
        What is set; its rate stays where the result's is not known.
    shot : ImportedResult
        Size of the clip in pixels, pixel aspect, rate and solved frames.
    camera : bpy.types.Object
        The scene's camera from now on.
    """
    set_picture(scene.render, shot)
    if shot.result.fps > 0:
        scene.render.fps, scene.render.fps_base = camera_math.fps_and_base(shot.result.fps)
    scene.frame_start, scene.frame_end = int(shot.scene_frames[0]), int(shot.scene_frames[-1])
    scene.camera = camera
    scene.frame_set(min(max(scene.frame_current, scene.frame_start), scene.frame_end))


def differences(scene: bpy.types.Scene, shot: ImportedResult, camera: bpy.types.Object) -> str:
    """In words, what of the scene is not as match_scene() would set it.

    Parameters
    ----------
    scene : bpy.types.Scene
        What is compared.
    shot : ImportedResult
        Says the clip.
    camera : bpy.types.Object
        The solved one.

    Returns
    -------
    str
        A sentence or two; empty if nothing differs.
    """
    words = list(_differing(scene, shot, camera))
    if not words:
        return ""
    rate = " Camera and depth stay on the clip's frames, one picture a frame." if _has_other_rate(scene, shot) else ""
    return f"The scene stays as it is: {'; '.join(words)}.{rate}"


def set_picture(render: bpy.types.RenderSettings, shot: ImportedResult) -> None:
    """Size and pixel aspect of the clip, as the camera's lens was made for.

    Parameters
    ----------
    render : bpy.types.RenderSettings
        What is set.
    shot : ImportedResult
        Says both.
    """
    render.resolution_x, render.resolution_y = shot.clip_size
    render.pixel_aspect_x, render.pixel_aspect_y = max(shot.pixel_aspect, 1.0), max(1.0 / shot.pixel_aspect, 1.0)


def _animatable(scene: bpy.types.Scene) -> Iterator[bpy.types.ID]:
    yield scene
    for thing in scene.objects:
        yield thing
        if thing.data is not None:
            yield thing.data


def _moves(block: bpy.types.ID) -> bool:
    """Whether it has keys, strips or drivers."""
    animation = getattr(block, "animation_data", None)  # an image, on an empty, has none
    return animation is not None and bool(animation.action or animation.nla_tracks or animation.drivers)


def _differing(scene: bpy.types.Scene, shot: ImportedResult, camera: bpy.types.Object) -> Iterator[str]:
    render, (width, height) = scene.render, shot.clip_size
    if (render.resolution_x, render.resolution_y) != (width, height):
        yield f"{render.resolution_x} x {render.resolution_y} pixels, the clip has {width} x {height}"
    if _has_other_rate(scene, shot):
        yield f"{render.fps / render.fps_base:.5g} frames a second, the clip has {shot.result.fps:.5g}"
    first, last = int(shot.scene_frames[0]), int(shot.scene_frames[-1])
    if (scene.frame_start, scene.frame_end) != (first, last):
        yield f"frames {scene.frame_start} to {scene.frame_end}, solved are {first} to {last}"
    if scene.camera != camera:
        yield f"it looks through {scene.camera.name if scene.camera else 'no camera'}, not {camera.name}"


def _has_other_rate(scene: bpy.types.Scene, shot: ImportedResult) -> bool:
    render, fps = scene.render, shot.result.fps
    return fps > 0 and abs(render.fps / render.fps_base - fps) > RATE_TOLERANCE * fps
