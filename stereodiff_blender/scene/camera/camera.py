"""The solved camera: animated pose and lens, with the clip behind it."""

from __future__ import annotations

import bpy
import numpy as np
from mathutils import Matrix

from ..data import (
    SceneImport,
    animate,
    claim,
    claim_object,
    clear_curves,
    fit_inside,
    frame_picture,
    render_shape,
)
from ..result import ImportedResult, camera_math

__all__ = ["set_lens"]

FARTHEST_OVER_DEPTH = 4.0
DISPLAY_SIZE_OVER_DEPTH = 0.2


def import_camera(scene: bpy.types.Scene, collection: bpy.types.Collection, root: bpy.types.Object,
                  shot: ImportedResult, clip: bpy.types.MovieClip) -> bpy.types.Object:
    """Make or update the camera under root: one key per solved frame, lens and principal point exact.

    A camera that only turned gets keys of rotation alone: a nodal pan. An artist's choice of Sensor Fit is kept; a new
    camera is fitted so that all of the clip lies inside the render. What never changes gets no keys, see animate().

    Parameters
    ----------
    scene : bpy.types.Scene
        Its render says which shape the clip is framed in.
    collection : bpy.types.Collection
        The footage's; a new camera is linked to it.
    root : bpy.types.Object
        The empty that becomes the camera's parent; the clipping range follows its scale.
    shot : ImportedResult
        Cameras, intrinsics and depth range of the result.
    clip : bpy.types.MovieClip
        The footage, shown behind the camera.

    Returns
    -------
    bpy.types.Object
        The camera, in the root's space: z up, at its first solved frame at the origin, looking along +y.
    """
    data = claim(bpy.data.cameras, shot, "camera lens", lambda name: _new_camera(name, scene, shot))
    camera = claim_object(collection, shot, "camera", data)
    clear_curves(camera, "location", "rotation_quaternion")
    camera.parent = root
    camera.matrix_parent_inverse = Matrix.Identity(4)
    _set_pose(camera, shot)
    set_lens(data, shot)
    _set_reach(data, shot, root)
    show_clip(scene, data, shot, clip)
    return camera


def _new_camera(name: str, scene: bpy.types.Scene, shot: ImportedResult) -> bpy.types.Camera:
    data = bpy.data.cameras.new(name)
    data.sensor_fit = fit_inside(scene, shot.clip_shape)
    return data


def _set_pose(camera: bpy.types.Object, shot: ImportedResult) -> None:
    poses = camera_math.matrix_world_from_camera_to_world([f.camera_to_world for f in shot.result.frames])
    camera.rotation_mode = "QUATERNION"
    camera.scale = (1.0, 1.0, 1.0)
    if shot.result.camera_kind != "moving":
        poses[:, :3, 3] = 0.0
    animate(camera, "location", shot.scene_frames, poses[:, :3, 3])
    animate(camera, "rotation_quaternion", shot.scene_frames, quaternions(poses))


def quaternions(poses: np.ndarray) -> np.ndarray:
    """Quaternions of matrices, each on the side of the one before: no in-between frame turns the long way round.

    Parameters
    ----------
    poses : ndarray
        (T,4,4), on whatever axes; only the rotation of each counts.

    Returns
    -------
    ndarray
        (T,4) float64, w x y z, of length 1.
    """
    turned = np.array([Matrix(pose).to_quaternion() for pose in poses])
    flips = np.where((turned[1:] * turned[:-1]).sum(axis=1) < 0.0, -1.0, 1.0)
    return turned * np.cumprod([1.0, *flips])[:, None]


def set_lens(data: bpy.types.Camera, shot: ImportedResult, overscan: tuple[int, int, int, int] = (0, 0, 0, 0)) -> None:
    """Sensor, focal length and shifts of every solved frame, for the Sensor Fit that the camera has.

    Parameters
    ----------
    data : bpy.types.Camera
        Gets a perspective lens in mm; keys that its focal length and shifts have are replaced.
    shot : ImportedResult
        Intrinsics of every solved frame, size and pixel aspect of the clip, and width of the sensor in mm.
    overscan : tuple of int
        Pixels of the clip, at the left, right, top and bottom, that the render is larger than the clip. The focal
        length stays, the sensor grows.
    """
    (width, height), (left, right, top, bottom) = shot.clip_size, overscan
    size, corner = (width + left + right, height + top + bottom), (0.0, 0.0, left, top)
    clear_curves(data, "lens", "shift_x", "shift_y")
    data.type = "PERSP"
    data.lens_unit = "MILLIMETERS"
    frame = (size, shot.pixel_aspect, shot.sensor_mm * size[0] / width)
    data.sensor_width, data.sensor_height = camera_math.sensor_size(data.sensor_fit, *frame)
    lenses = [camera_math.lens_from_intrinsics(k, *frame, data.sensor_fit) for k in shot.clip_intrinsics + corner]
    animate(data, "lens", shot.scene_frames, [lens.focal_mm for lens in lenses])
    animate(data, "shift_x", shot.scene_frames, [lens.shift_x for lens in lenses])
    animate(data, "shift_y", shot.scene_frames, [lens.shift_y for lens in lenses])


def claim_camera_beside(solved: bpy.types.Object, collection: bpy.types.Collection, shot: ImportedResult, part: str,
                        data: bpy.types.Camera) -> bpy.types.Object:
    """A further camera that moves with the solved one and sees as far.

    Parameters
    ----------
    solved : bpy.types.Object
        The import's camera.
    collection : bpy.types.Collection
        The import's.
    shot : ImportedResult
        Its result.
    part : str
        What the camera is to the import; the one that is there is taken again.
    data : bpy.types.Camera
        What it is to look through; clipping and display size are set.

    Returns
    -------
    bpy.types.Object
        The camera, at the solved one.
    """
    camera = claim_object(collection, shot, part, data)
    camera.parent = solved
    camera.matrix_parent_inverse.identity()
    for name in ("clip_start", "clip_end", "display_size"):
        setattr(data, name, getattr(solved.data, name))
    return camera


def _set_reach(data: bpy.types.Camera, shot: ImportedResult, root: bpy.types.Object) -> None:
    """Widen the clipping range to hold all depth, and draw the camera at a size that suits the scene.

    Blender measures both in world units, whatever the scale of the root.
    """
    near, far = np.multiply(shot.result.depth_range or (1.0, 1.0), root.matrix_world.median_scale)
    data.clip_start = min(data.clip_start, near / FARTHEST_OVER_DEPTH)
    data.clip_end = max(data.clip_end, far * FARTHEST_OVER_DEPTH)
    data.display_size = near * DISPLAY_SIZE_OVER_DEPTH


def scale_reach(data: bpy.types.Camera, factor: float) -> None:
    """Follow a change of the root's scale: the clipping range grows to hold the scene and never shrinks.

    Parameters
    ----------
    data : bpy.types.Camera
        Its clipping range and display size, which follows the factor, are in world units, whatever the root's scale.
    factor : float
        New scale over old, > 0.
    """
    data.clip_start = min(data.clip_start, data.clip_start * factor)
    data.clip_end = max(data.clip_end, data.clip_end * factor)
    data.display_size *= factor


def show_clip(scene: bpy.types.Scene, data: bpy.types.Camera, shot: ImportedResult, clip: bpy.types.MovieClip) -> None:
    """The clip behind a solved camera, laid so that mesh and plate coincide whatever the shape of the render.

    Where the lens bends the picture, the clip is shown undistorted, by the lens of its own camera.

    Parameters
    ----------
    scene : bpy.types.Scene
        Its render says the shape.
    data : bpy.types.Camera
        With the solved lens. Its first background that is a clip is taken, else one is made.
    shot : ImportedResult
        Size, pixel aspect and lens of the clip.
    clip : bpy.types.MovieClip
        The footage. If the shape of its pixels matters and Blender takes them for squares, its Display Aspect is set.
    """
    background = next((b for b in data.background_images if b.source == "MOVIE_CLIP"), None) \
        or data.background_images.new()
    background.source = "MOVIE_CLIP"
    background.clip = clip
    background.clip_user.use_render_undistorted = shot.distortion is not None
    _tell_pixel_aspect(scene, shot, clip)
    shown_shape = _shown_shape(clip, shot.clip_shape)
    background.frame_method = frame_picture(scene, data, shot.clip_shape, shown_shape).method
    background.display_depth = "BACK"
    background.alpha = 1.0
    data.show_background_images = True


def reframe(scene: bpy.types.Scene, found: SceneImport) -> None:
    """Lay an import's clip anew behind its camera, after the shape of the render has changed.

    Parameters
    ----------
    scene : bpy.types.Scene
        Its render says the shape.
    found : SceneImport
        The import; nothing is done if its camera was deleted or shows no clip.
    """
    if found.camera is None or found.clip is None:
        return
    background = next(b for b in found.camera.data.background_images if b.clip == found.clip)
    shown_shape = _shown_shape(found.clip, 1.0)
    framing = frame_picture(scene, found.camera.data, found.clip_shape or shown_shape, shown_shape)
    background.frame_method = framing.method


def _shown_shape(clip: bpy.types.MovieClip, otherwise: float) -> float:
    """Of the clip as Blender takes it, or otherwise, if it cannot be read."""
    (width, height), (x, y) = clip.size, clip.display_aspect
    return width * x / (height * y) if width and height else otherwise


def _tell_pixel_aspect(scene: bpy.types.Scene, shot: ImportedResult, clip: bpy.types.MovieClip) -> None:
    """Blender reads no pixel aspect from a file: where the clip cannot be stretched over the render, it has to know."""
    x, y = clip.display_aspect
    is_apart = abs(render_shape(scene) / shot.clip_shape - 1.0) > camera_math.SAME_SHAPE
    if x == y and clip.library is None and is_apart and shot.result.clip_pixel_aspect != 1.0:
        clip.display_aspect = (shot.result.clip_pixel_aspect, 1.0)
