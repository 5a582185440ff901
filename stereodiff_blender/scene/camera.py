"""The solved camera: animated pose and lens, with the clip behind it."""

from __future__ import annotations

import bpy
import numpy as np
from mathutils import Matrix

from .. import camera_math
from .animation import animate, clear_curves
from .ownership import claim, claim_object
from .shot import Shot

FARTHEST_OVER_DEPTH = 4.0
DISPLAY_SIZE_OVER_DEPTH = 0.2


def import_camera(collection: bpy.types.Collection, root: bpy.types.Object, shot: Shot,
                  clip: bpy.types.MovieClip) -> bpy.types.Object:
    """Make or update the camera under root: one key per solved frame, lens and principal point exact."""
    data = claim(bpy.data.cameras, shot, "camera lens", bpy.data.cameras.new)
    camera = claim_object(collection, shot, "camera", data)
    clear_curves(camera, "location", "rotation_quaternion")
    clear_curves(data, "lens", "shift_x", "shift_y")
    camera.parent = root
    camera.matrix_parent_inverse = Matrix.Identity(4)
    _set_pose(camera, shot)
    _set_lens(data, shot)
    _set_reach(data, shot)
    _show_clip(data, clip)
    return camera


def _set_pose(camera: bpy.types.Object, shot: Shot) -> None:
    poses = camera_math.matrix_world_from_camera_to_world([f.camera_to_world for f in shot.result.frames])
    camera.rotation_mode = "QUATERNION"
    camera.scale = (1.0, 1.0, 1.0)
    animate(camera, "location", shot.scene_frames, poses[:, :3, 3])
    animate(camera, "rotation_quaternion", shot.scene_frames, _quaternions(poses))


def _quaternions(poses: np.ndarray) -> np.ndarray:
    """(T,4), each on the side of the one before, so that no in-between frame turns the long way round."""
    turned = [Matrix(pose).to_quaternion() for pose in poses]
    for before, quaternion in zip(turned, turned[1:], strict=False):
        quaternion.make_compatible(before)
    return np.array(turned)


def _set_lens(data: bpy.types.Camera, shot: Shot) -> None:
    width, height = shot.clip_size
    data.type = "PERSP"
    data.lens_unit = "MILLIMETERS"
    data.sensor_fit = "HORIZONTAL"
    data.sensor_width = shot.sensor_mm
    data.sensor_height = shot.sensor_mm * height / width / shot.pixel_aspect
    lenses = [camera_math.lens_from_intrinsics(k, shot.clip_size, shot.pixel_aspect, shot.sensor_mm)
              for k in shot.clip_intrinsics]
    animate(data, "lens", shot.scene_frames, [lens.focal_mm for lens in lenses])
    animate(data, "shift_x", shot.scene_frames, [lens.shift_x for lens in lenses])
    animate(data, "shift_y", shot.scene_frames, [lens.shift_y for lens in lenses])


def _set_reach(data: bpy.types.Camera, shot: Shot) -> None:
    """Widen the clipping range to hold all depth, and draw the camera at a size that suits the scene."""
    near, far = shot.result.depth_range or (1.0, 1.0)
    data.clip_start = min(data.clip_start, near / FARTHEST_OVER_DEPTH)
    data.clip_end = max(data.clip_end, far * FARTHEST_OVER_DEPTH)
    data.display_size = near * DISPLAY_SIZE_OVER_DEPTH


def _show_clip(data: bpy.types.Camera, clip: bpy.types.MovieClip) -> None:
    background = next((b for b in data.background_images if b.source == "MOVIE_CLIP"), None) \
        or data.background_images.new()
    background.source = "MOVIE_CLIP"
    background.clip = clip
    background.frame_method = "STRETCH"
    background.display_depth = "BACK"
    background.alpha = 1.0
    data.show_background_images = True
