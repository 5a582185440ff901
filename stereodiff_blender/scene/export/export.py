"""The camera for other programs: as text by ourselves, or in their scene formats by Blender's own exporters.

Every format gets the camera as this scene plays it, and no parent: the root's transform is in it, its scale is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bpy
import numpy as np

from ...engine.contract import StereoDiffError, write_refusal
from ..camera import CameraSamples, quaternions, sample_camera, stage
from ..data import SceneImport, animate, clear_animation
from ..placing.orientation import transformed, world_from_result
from ..result import ImportedResult, camera_math, read_points
from .camera_text import write_chan, write_tum
from .colmap import write_colmap
from .picture_format import format_of, in_format

__all__ = ["ENDINGS", "WITH_OVERSCAN", "export_camera", "picture_overscan"]

ENDINGS = {"CHAN": ".chan", "FBX": ".fbx", "ALEMBIC": ".abc", "USD": ".usdc", "COLMAP": "", "TUM": ".txt"}
_EXPORTERS = {"FBX": ("export_scene", "fbx"), "ALEMBIC": ("wm", "alembic_export"), "USD": ("wm", "usd_export")}


WITH_OVERSCAN = ("CHAN", "FBX", "ALEMBIC", "USD")
"""Formats of an ideal camera with a picture; COLMAP has the lens's distortion, TUM no lens at all."""


def export_camera(context: bpy.types.Context, found: SceneImport, kind: str, path: Path, *, overscan: bool = True
                  ) -> Path:
    """Write an import's camera over its solved frames.

    Parameters
    ----------
    context : bpy.types.Context
        Its scene plays the camera, and gives the rate.
    found : SceneImport
        The import.
    kind : str
        One of ENDINGS.
    path : Path
        A file, whose ending becomes that of the format, or a folder for COLMAP.
    overscan : bool
        For one of WITH_OVERSCAN: see as much as the undistorted plate with overscan, not just as much as the plate.

    Returns
    -------
    Path
        What was written.

    Raises
    ------
    StereoDiffError
        "import_missing": the camera was deleted, or, for the points of COLMAP, the root. "exporter_missing": this
        Blender cannot write the format. "output_not_writable", "disk_full", or as read_imported_result() does.
    """
    if found.camera is None:
        raise StereoDiffError("import_missing", f"The camera of {found.name} was deleted.")
    _check_exporter(kind)
    shot, scene = found.read_imported_result(), context.scene
    samples = sample_camera(scene, found.camera, shot)
    wide = samples.with_overscan(picture_overscan(kind, shot)) if overscan else samples
    path = path if kind == "COLMAP" else path.with_suffix(ENDINGS[kind])
    if kind == "CHAN":
        write_chan(path, in_format(wide, shot), _plate_numbers(shot), shot.distortion)
    elif kind == "TUM":
        write_tum(path, samples, shot, scene.render.fps / scene.render.fps_base)
    elif kind == "COLMAP":
        write_colmap(path, samples, shot, *_world_points(found, shot))
    else:
        _export_by_blender(context, kind, path, found.camera, wide, shot)
    return path


def picture_overscan(kind: str, shot: ImportedResult) -> tuple[int, int, int, int]:
    """By how many pixels the picture of an exported camera may be larger than the plate, at its four sides.

    Parameters
    ----------
    kind : str
        One of ENDINGS.
    shot : ImportedResult
        Whose lens is meant.

    Returns
    -------
    tuple of int
        At the left, right, top and bottom; zeros where the format has the lens's distortion or no lens, and in a .chan
        for an EXR's format, which is a frame of its own.
    """
    if kind not in WITH_OVERSCAN or (kind == "CHAN" and format_of(shot) is not None):
        return 0, 0, 0, 0
    return shot.result.lens.overscan


def has_exporter(kind: str) -> bool:
    """Whether this Blender can write a format; the text formats are always there."""
    if kind not in _EXPORTERS:
        return True
    group, name = _EXPORTERS[kind]
    return name in dir(getattr(bpy.ops, group))


def _check_exporter(kind: str) -> None:
    if not has_exporter(kind):
        raise StereoDiffError("exporter_missing", f"There is no bpy.ops.{'.'.join(_EXPORTERS[kind])}.")


def _plate_numbers(shot: ImportedResult) -> np.ndarray:
    """A comp plays a sequence at its files' numbers, and a movie where the scene has it."""
    if shot.result.clip.kind == "movie":
        return shot.scene_frames
    return shot.scene_frames - shot.start + shot.plate_number


def _world_points(found: SceneImport, shot: ImportedResult) -> tuple[np.ndarray, np.ndarray]:
    """The solved points in world space and their colors; none for a shot without depth."""
    if shot.result.points is None:
        return np.empty((0, 3)), np.empty((0, 3), np.uint8)
    points, colors = read_points(shot)
    return transformed(world_from_result(found), camera_math.points_in_blender_world(points)), colors


def _export_by_blender(context: bpy.types.Context, kind: str, path: Path, camera: bpy.types.Object,
                       samples: CameraSamples, shot: ImportedResult) -> None:
    _check_place(path)
    with _flat_camera(camera, samples, shot) as flat, stage(context.scene, flat, shot) as own:
        own.render.resolution_x, own.render.resolution_y = samples.size
        own.frame_set(own.frame_start)
        layer = own.view_layers[0]
        flat.select_set(True, view_layer=layer)
        layer.objects.active = flat
        try:
            with context.temp_override(scene=own, view_layer=layer, selected_objects=[flat], active_object=flat):
                _run_exporter(kind, str(path))
        except RuntimeError as error:  # how Blender hands on what an operator reports as an error
            raise StereoDiffError("output_not_writable", str(error).strip()) from error


def _check_place(path: Path) -> None:
    """Blender's exporters say little about a folder they may not write to."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "ab"):
            pass
    except OSError as error:
        raise write_refusal(error, path) from error


def _run_exporter(kind: str, path: str) -> None:
    if kind == "FBX":
        bpy.ops.export_scene.fbx(filepath=path, use_selection=True, object_types={"CAMERA"}, bake_anim=True,
                                 bake_anim_use_nla_strips=False, bake_anim_use_all_actions=False,
                                 bake_anim_simplify_factor=0.0)
    elif kind == "ALEMBIC":
        bpy.ops.wm.alembic_export(filepath=path, selected=True, as_background_job=False)
    else:
        bpy.ops.wm.usd_export(filepath=path, selected_objects_only=True, export_animation=True)


@contextmanager
def _flat_camera(camera: bpy.types.Object, samples: CameraSamples, shot: ImportedResult) -> Iterator[bpy.types.Object]:
    """A copy of the camera that hangs on nothing, for a moment: its keys are what the samples say."""
    data = bpy.data.cameras.new(f"{shot.name}_camera")
    flat = bpy.data.objects.new(f"{shot.name}_camera", data)
    try:
        data.clip_start, data.clip_end = camera.data.clip_start, camera.data.clip_end
        _key_pose(flat, samples)
        _key_lens(data, samples, shot)
        yield flat
    finally:
        clear_animation(flat)
        clear_animation(data)
        bpy.data.objects.remove(flat)
        bpy.data.cameras.remove(data)


def _key_pose(flat: bpy.types.Object, samples: CameraSamples) -> None:
    flat.rotation_mode = "QUATERNION"
    animate(flat, "location", samples.frames, samples.matrices[:, :3, 3])
    animate(flat, "rotation_quaternion", samples.frames, quaternions(samples.matrices))


def _key_lens(data: bpy.types.Camera, samples: CameraSamples, shot: ImportedResult) -> None:
    frame = (samples.size, shot.pixel_aspect, shot.sensor_mm * samples.size[0] / shot.clip_size[0])
    data.sensor_fit = "HORIZONTAL"
    data.sensor_width, data.sensor_height = camera_math.sensor_size(data.sensor_fit, *frame)
    lenses = [camera_math.lens_from_intrinsics(k, *frame) for k in _steadied(samples)]
    animate(data, "lens", samples.frames, [lens.focal_mm for lens in lenses])
    animate(data, "shift_x", samples.frames, [lens.shift_x for lens in lenses])
    animate(data, "shift_y", samples.frames, [lens.shift_y for lens in lenses])


def _steadied(samples: CameraSamples) -> np.ndarray:
    """The lens of every frame; a constant one exactly so, without the rounding of the frames."""
    if not samples.is_lens_constant:
        return samples.intrinsics
    return np.repeat(samples.intrinsics[:1], len(samples.frames), axis=0)
