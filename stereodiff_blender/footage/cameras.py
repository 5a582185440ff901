"""Cameras that Blender knows already, as a job takes them: of the clip's own solve, or of a camera in the scene."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import bpy
import numpy as np

from ..engine.contract import Distortion, GivenCamera, GivenCameras, StereoDiffError
from . import clip as clips
from .lens import clip_distortion

__all__ = ["clip_cameras", "scene_cameras"]

FLIP_CAMERA_AXES = np.diag([1.0, -1.0, -1.0, 1.0])
"""Blender's camera looks along its -z with y up, the contract's along z with y down."""


def clip_cameras(clip: bpy.types.MovieClip, frames: range) -> GivenCameras:
    """The cameras that Blender's own tracker has solved for a clip.

    They stand where a camera with a Camera Solver constraint and no transform of its own would.

    Parameters
    ----------
    clip : bpy.types.MovieClip
        With a solved camera.
    frames : range
        Clip frames that are wanted.

    Returns
    -------
    GivenCameras
        In pixels of the clip.

    Raises
    ------
    StereoDiffError
        "cameras_missing": the clip is not solved. "cameras_incomplete": frames are without a camera. As of
        with_clip_lens for a distortion in its lens settings that ours cannot be.
    """
    reconstruction = clip.tracking.reconstruction
    if not reconstruction.is_valid or not len(reconstruction.cameras):
        raise StereoDiffError("cameras_missing", f"The camera of {clip.name} was not solved in the clip editor.")
    lens, distortion = _clip_lens(clip), clip_distortion(clip)
    solved = {camera.frame: np.array(camera.matrix).reshape(4, 4) for camera in reconstruction.cameras}
    given = [_given(frame, lens, solved[frame]) for frame in frames if frame in solved]
    return _checked(clip, given, frames, distortion)


def _clip_lens(clip: bpy.types.MovieClip) -> tuple[float, float, float, float]:
    """fx, fy, cx, cy in stored pixels; Blender counts its principal point from the bottom."""
    camera, (_, height) = clip.tracking.camera, clip.size
    across, up = camera.principal_point_pixels
    focal = camera.focal_length_pixels
    return focal, focal * camera.pixel_aspect, across, height - up


def scene_cameras(scene: bpy.types.Scene, camera: bpy.types.Object | None, clip: bpy.types.MovieClip,
                  frames: range) -> GivenCameras:
    """What a camera of the scene does while the clip plays, for pictures of the clip's shape.

    Parameters
    ----------
    scene : bpy.types.Scene
        Whose camera counts if none is named; it is not played itself.
    camera : bpy.types.Object or None
        With its parents, constraints and animation.
    clip : bpy.types.MovieClip
        Its Start Frame says when it plays.
    frames : range
        Clip frames that are wanted.

    Returns
    -------
    GivenCameras
        In pixels of the clip and units of the scene, its world's axes.

    Raises
    ------
    StereoDiffError
        "cameras_missing": there is no camera. "cameras_invalid": it is none with a perspective lens.
    """
    camera = camera or scene.camera
    if camera is None:
        raise StereoDiffError("cameras_missing", "The scene has no camera.")
    if camera.type != "CAMERA":
        raise StereoDiffError("cameras_missing", f"{camera.name} is no camera.")
    if camera.data.type != "PERSP":
        raise StereoDiffError("cameras_invalid", f"The lens of {camera.name} is not perspective.")
    with _stage(scene, camera, clip) as own:
        given = [_played(own, clip, frame) for frame in frames]
    return _checked(clip, given, frames)


@contextmanager
def _stage(scene: bpy.types.Scene, camera: bpy.types.Object, clip: bpy.types.MovieClip) -> Iterator[bpy.types.Scene]:
    """A scene of its own, for a moment, with the camera and what it hangs on: plays without all the rest."""
    own = bpy.data.scenes.new("StereoDiff Cameras")
    try:
        render, (x, y) = own.render, clip.display_aspect
        render.resolution_x, render.resolution_y = clip.size
        render.pixel_aspect_x, render.pixel_aspect_y = max(1.0, x / y), max(1.0, y / x)
        render.fps, render.fps_base = scene.render.fps, scene.render.fps_base
        own.unit_settings.scale_length = scene.unit_settings.scale_length
        own.active_clip = scene.active_clip
        thing = own.camera = camera
        while thing is not None:
            own.collection.objects.link(thing)
            thing = thing.parent
        yield own
    finally:
        bpy.data.scenes.remove(own)


def _played(own: bpy.types.Scene, clip: bpy.types.MovieClip, frame: int) -> GivenCamera:
    own.frame_set(clips.scene_frame_from_clip_frame(clip, frame))
    depsgraph, render, (width, height) = own.view_layers[0].depsgraph, own.render, clip.size
    evaluated = own.camera.evaluated_get(depsgraph)
    projection = evaluated.calc_matrix_camera(depsgraph, x=width, y=height, scale_x=render.pixel_aspect_x,
                                              scale_y=render.pixel_aspect_y)
    lens = (projection[0][0] * width / 2, projection[1][1] * height / 2,
            (1.0 - projection[0][2]) * width / 2, (1.0 + projection[1][2]) * height / 2)
    place, turn, _ = evaluated.matrix_world.decompose()
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn.to_matrix(), place
    return _given(frame, lens, matrix)


def _given(frame: int, lens: tuple[float, ...], matrix: np.ndarray) -> GivenCamera:
    rows = tuple(map(tuple, (matrix @ FLIP_CAMERA_AXES).tolist()))
    return GivenCamera(frame, *map(float, lens), rows)


def _checked(clip: bpy.types.MovieClip, given: list[GivenCamera], frames: range,
             distortion: Distortion | None = None) -> GivenCameras:
    cameras = GivenCameras(*clip.size, tuple(given), distortion=distortion)
    cameras.of_frames(frames, clips.number_of_clip_frame(clip, 0))
    cameras.validate()
    return cameras
