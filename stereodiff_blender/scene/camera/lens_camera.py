"""A camera for Cycles that has the lens's distortion itself, so that CG needs no redistorting; and its rolling shutter.

Blender 4.5 brought the Custom camera, whose rays a shader makes. EEVEE and the viewport know nothing of it.
"""

from __future__ import annotations

import bpy
import numpy as np

from ...engine.contract import Distortion, StereoDiffError
from ..data import SceneImport, animate, claim, clear_curves, find
from ..result import ImportedResult
from .camera import claim_camera_beside
from .lens_shader import SOURCE

PART = "lens camera"
SINCE = (4, 5, 0)
NO_LENS = Distortion()
PARAMETER = 'cycles_custom["{}"]'


def has_lens_cameras() -> bool:
    """Whether this Blender has cameras whose rays a shader makes.

    Returns
    -------
    bool
        False before 4.5.
    """
    return bpy.app.version >= SINCE


def add_lens_camera(found: SceneImport, shot: ImportedResult) -> bpy.types.Object:
    """Add a camera at the solved one that shoots CG as the lens shot the plate, or bring it up to date.

    Parameters
    ----------
    found : SceneImport
        The import, with its camera.
    shot : ImportedResult
        Its result, for the lens of every frame.

    Returns
    -------
    bpy.types.Object
        The camera. It moves with the solved one, and is for renders of the clip's shape by Cycles.

    Raises
    ------
    StereoDiffError
        "import_missing": the camera was deleted. "lens_camera_unsupported": this Blender has no such cameras, or cannot
        compile their shaders; then nothing is left behind.
    """
    if found.camera is None:
        raise StereoDiffError("import_missing", f"The camera of {found.name} was deleted.")
    if not has_lens_cameras():
        raise StereoDiffError("lens_camera_unsupported", f"Blender {bpy.app.version_string} is too old.")
    is_new = find(found.collection.objects, shot, PART) is None
    data = claim(bpy.data.cameras, shot, PART, bpy.data.cameras.new)
    if not _has_shader(data, shot):
        if is_new:
            _drop(data)
        raise StereoDiffError("lens_camera_unsupported", "The shader was not compiled.")
    return _follow(found.collection, found.camera, shot, data)


def refresh_lens_camera(collection: bpy.types.Collection, camera: bpy.types.Object, shot: ImportedResult) -> None:
    """After another import: bring the camera up to date, if there is one.

    Parameters
    ----------
    collection : bpy.types.Collection
        The import's.
    camera : bpy.types.Object
        The solved one.
    shot : ImportedResult
        The new result.
    """
    there = find(collection.objects, shot, PART)
    if has_lens_cameras() and there is not None:
        _follow(collection, camera, shot, there.data)


def _drop(data: bpy.types.Camera) -> None:
    text = data.custom_shader
    bpy.data.cameras.remove(data)
    if text is not None:
        bpy.data.texts.remove(text)


def _follow(collection: bpy.types.Collection, solved: bpy.types.Object, shot: ImportedResult, data: bpy.types.Camera
            ) -> bpy.types.Object:
    camera = claim_camera_beside(solved, collection, shot, PART, data)
    for name in ("sensor_fit", "sensor_width", "sensor_height", "lens"):
        setattr(data, name, getattr(solved.data, name))
    data.shift_x = data.shift_y = 0.0  # Cycles would move the picture that the shader makes
    _set_parameters(data, shot)
    return camera


def _has_shader(data: bpy.types.Camera, shot: ImportedResult) -> bool:
    """Give it the shader; whether Cycles has taken it."""
    text = claim(bpy.data.texts, shot, f"{PART} shader", bpy.data.texts.new)
    text.from_string(SOURCE)
    data.type = "CUSTOM"
    data.custom_mode = "INTERNAL"
    data.custom_shader = text
    return set(_parameters(shot)) <= set(data.cycles_custom.keys())


def _parameters(shot: ImportedResult) -> dict[str, np.ndarray | float]:
    """By name: a number, or one for every frame (T,)."""
    lens = shot.distortion or NO_LENS
    width, height = shot.clip_size
    moving = dict(zip(("fx", "fy", "cx", "cy"), shot.clip_intrinsics.T, strict=True))
    return {"width": float(width), "height": float(height), **moving,
            **{name: getattr(lens, name) for name in ("k1", "k2", "k3", "k4", "p1", "p2")},
            "fisheye": float(lens.is_fisheye)}


def _set_parameters(data: bpy.types.Camera, shot: ImportedResult) -> None:
    for name, value in _parameters(shot).items():
        path = PARAMETER.format(name)
        clear_curves(data, path)
        values = np.atleast_1d(value)
        data.cycles_custom[name] = float(values[0])
        if np.ptp(values) > 0.0:
            animate(data, path, shot.scene_frames, values)


# --- Rolling shutter -------------------------------------------------------------------------------------------------

def shutter_of(readout: float, exposure: float) -> tuple[float, float]:
    """How Cycles is to expose one row after the other, as the shot's camera did.

    Cycles exposes row j of H, counted from the top, around frame + s (1 - d) ((j + 1) / H - 1/2), for s d frames, where
    s is the shutter and d the share of it that a row is exposed for. So s = readout + exposure, and d = exposure / s.
    The keyed camera is that of the middle row.

    Parameters
    ----------
    readout : float
        Frames from the first row to the last, in 0..1.
    exposure : float
        Frames that each row is exposed for, > 0.

    Returns
    -------
    tuple of float
        s in frames and d, for set_rolling_shutter().

    Raises
    ------
    StereoDiffError
        "rolling_shutter_missing": all rows are taken at once, or the last row comes first, which Cycles cannot do.
    """
    if readout == 0.0:
        raise StereoDiffError("rolling_shutter_missing", "All rows were taken at once.")
    if readout < 0.0:
        raise StereoDiffError("rolling_shutter_missing", "The last row was read first, and Cycles begins at the top.")
    return readout + exposure, exposure / (readout + exposure)


def set_rolling_shutter(scene: bpy.types.Scene, shutter: float, share: float) -> None:
    """Give a scene's render motion blur, with a shutter that Cycles opens row after row.

    Parameters
    ----------
    scene : bpy.types.Scene
        What is set.
    shutter, share : float
        As shutter_of() gives them.
    """
    scene.render.use_motion_blur = True
    scene.render.motion_blur_position = "CENTER"
    scene.render.motion_blur_shutter = shutter
    scene.cycles.rolling_shutter_type = "TOP"
    scene.cycles.rolling_shutter_duration = share
