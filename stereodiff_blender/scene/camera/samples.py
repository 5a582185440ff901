"""The imported camera as the scene plays it: pose and lens of every frame, with all that the artist did to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import bpy
import numpy as np

from ..result import ImportedResult, camera_math
from .timeline import set_picture


@dataclass(frozen=True)
class CameraSamples:
    """frames (T,): of the scene. matrices (T,4,4): Blender's camera to world, without scale. size: (width, height) in
    pixels. intrinsics (T,4): fx, fy, cx, cy in those pixels, x = 0 and y = 0 at the picture's left and top edge."""

    frames: np.ndarray
    matrices: np.ndarray
    intrinsics: np.ndarray
    size: tuple[int, int]

    @property
    def camera_to_world(self) -> np.ndarray:
        """(T,4,4), camera on OpenCV axes (x right, y down, z forward), world as in Blender (z up)."""
        return self.matrices @ camera_math.FLIP_CAMERA_AXES

    @property
    def is_lens_constant(self) -> bool:
        return bool(np.ptp(self.intrinsics, axis=0).max() < 1e-3)

    def with_overscan(self, overscan: tuple[int, int, int, int]) -> CameraSamples:
        """The same camera for pictures that are larger, by pixels at the left, right, top and bottom."""
        (width, height), (left, right, top, bottom) = self.size, overscan
        return replace(self, size=(width + left + right, height + top + bottom),
                       intrinsics=self.intrinsics + [0.0, 0.0, left, top])


def sample_camera(scene: bpy.types.Scene, camera: bpy.types.Object, shot: ImportedResult) -> CameraSamples:
    """Play a camera over the solved frames and write down what it does, for pictures of the plate's size.

    Parameters
    ----------
    scene : bpy.types.Scene
        Gives the rate and the units; it is not played itself.
    camera : bpy.types.Object
        With its parents, as the artist has them.
    shot : ImportedResult
        Says the solved frames, and size and pixel aspect of the picture.

    Returns
    -------
    CameraSamples
        For T solved frames: matrices (T,4,4), Blender's camera to world, z up, scene units, without scale; intrinsics
        (T,4) in pixels of the clip.
    """
    with stage(scene, camera, shot) as own:
        matrices, projections = zip(*(_at_frame(own, int(frame)) for frame in shot.scene_frames), strict=True)
    intrinsics = [camera_math.intrinsics_from_projection(matrix, shot.clip_size) for matrix in projections]
    return CameraSamples(shot.scene_frames, np.array(matrices), np.array(intrinsics), shot.clip_size)


def _at_frame(own: bpy.types.Scene, frame: int) -> tuple[np.ndarray, np.ndarray]:
    own.frame_set(frame)
    depsgraph, render = own.view_layers[0].depsgraph, own.render
    evaluated = own.camera.evaluated_get(depsgraph)
    projection = evaluated.calc_matrix_camera(depsgraph, x=render.resolution_x, y=render.resolution_y,
                                              scale_x=render.pixel_aspect_x, scale_y=render.pixel_aspect_y)
    place, turn, _ = evaluated.matrix_world.decompose()
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn.to_matrix(), place
    return matrix, np.array(projection)


@contextmanager
def stage(scene: bpy.types.Scene, camera: bpy.types.Object, shot: ImportedResult) -> Iterator[bpy.types.Scene]:
    """A scene of its own, for a moment, with one camera and what it hangs on: plays without meshes, at full speed.

    It has the plate's size, the solved frames, and the scene's rate and units.

    Parameters
    ----------
    scene : bpy.types.Scene
        Gives the rate and the units.
    camera : bpy.types.Object
        Is linked to the new scene with all its parents, and is its active camera.
    shot : ImportedResult
        Says the solved frames, and size and pixel aspect of the picture.

    Yields
    ------
    bpy.types.Scene
        Removed again afterwards.
    """
    own = bpy.data.scenes.new(f"{scene.name} camera")
    try:
        set_picture(own.render, shot)
        own.render.fps, own.render.fps_base = scene.render.fps, scene.render.fps_base
        own.frame_start, own.frame_end = int(shot.scene_frames[0]), int(shot.scene_frames[-1])
        own.unit_settings.scale_length = scene.unit_settings.scale_length
        thing = own.camera = camera
        while thing is not None:
            own.collection.objects.link(thing)
            thing = thing.parent
        yield own
    finally:
        bpy.data.scenes.remove(own)
