"""Cameras that Blender's exporters have written, read back."""

from __future__ import annotations

from pathlib import Path

import bpy


def imported_camera(kind: str, path: Path) -> bpy.types.Object:
    """The camera that the file holds, brought into an empty scene of the same size."""
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    bpy.context.scene.render.fps = 24
    if kind == "FBX":
        bpy.ops.import_scene.fbx(filepath=str(path), anim_offset=0.0)
    elif kind == "ALEMBIC":
        bpy.ops.wm.alembic_import(filepath=str(path), as_background_job=False)
    else:
        bpy.ops.wm.usd_import(filepath=str(path))
    cameras = [thing for thing in bpy.data.objects if thing.type == "CAMERA"]
    assert len(cameras) == 1
    return cameras[0]
