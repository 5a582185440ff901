"""Cameras with overscan for other programs: read back, their pixels are those of the undistorted plate."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import bpy
import numpy as np
import pytest
from bpy_extras.object_utils import world_to_camera_view
from exported_cameras import imported_camera
from job_folder import Example, intrinsics, write_job_folder
from mathutils import Matrix, Vector
from scene_checks import projected
from solved_points import surface_points

from stereodiff_blender.engine.contract import Distortion
from stereodiff_blender.engine.lens import distorted

SHOT = Example(clip=(192, 108), focal=60.0, frame_count=4, zoom=1.0, principal=(0.0, 0.0), invalid_corner=False,
               distortion=Distortion(-0.25, 0.08))
HD = 1920 / SHOT.clip[0]  # pixels of a picture 1920 wide in one of the clip
WORST_PX = 0.05  # of a picture 1920 wide
ENDINGS = {"CHAN": "chan", "FBX": "fbx", "ALEMBIC": "abc", "USD": "usdc"}
READS_A_MOVING_LENS = {"FBX": (4, 2, 0), "USD": (4, 5, 0), "ALEMBIC": (5, 2, 0), "CHAN": (4, 2, 0)}


@pytest.fixture
def written(addon, tmp_path):
    """Write an example's camera in a format. Returns the file, the overscan and what was said."""
    def write(example: Example, kind: str, **options) -> tuple[Path, tuple[int, int, int, int], str]:
        write_job_folder(tmp_path / "job", example, clip_folder=tmp_path / "clip")
        scene = importlib.import_module(f"{addon.__name__}.scene")
        overscan = scene.import_result(bpy.context.scene, tmp_path / "job").result.lens.overscan
        bpy.context.view_layer.update()
        placing = importlib.import_module(f"{addon.__name__}.ui.operators.placing")
        chosen = importlib.import_module(f"{addon.__name__}.ui.operators.base").chosen_import(bpy.context)
        path = tmp_path / f"camera.{ENDINGS.get(kind, 'txt')}"
        asked = SimpleNamespace(kind=kind, filepath=str(path), **{"overscan": True, **options})
        said = placing.STEREODIFF_OT_export_camera.act(asked, bpy.context, chosen)
        return path, overscan, said
    return write


def size_with(example: Example, overscan) -> tuple[int, int]:
    left, right, top, bottom = overscan
    return example.clip[0] + left + right, example.clip[1] + top + bottom


# --- Readers ---------------------------------------------------------------------------------------------------------

def seen_by_blender(kind: str, path: Path, example: Example, size: tuple[int, int], points: np.ndarray) -> np.ndarray:
    """(T,N,2) pixels, y down, of Blender-world points through the camera that the file holds."""
    camera, scene = imported_camera(kind, path), bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y = size
    scene.render.pixel_aspect_x = example.pixel_aspect
    seen = []
    for index in range(example.frame_count):
        scene.frame_set(example.first_frame + index)
        bpy.context.view_layer.update()
        views = np.array([world_to_camera_view(scene, camera, Vector(point))[:2] for point in points])
        seen.append(np.stack([views[:, 0], 1.0 - views[:, 1]], axis=-1) * size)
    return np.array(seen)


def seen_by_nuke(path: Path, points: np.ndarray, pixel_aspect: float) -> np.ndarray:
    """(T,N,2) pixels, y down, by the rules that stand in the file's comments: y up, ZXY, vertical field of view.

    The pixel aspect is that of the comp's format.
    """
    comments = [line for line in path.read_text().splitlines() if line.startswith("#")]
    picture = next(line for line in comments if "Picture:" in line)
    height = int(picture.partition("Picture: ")[2].partition(" pixels")[0].split(" x ")[1])
    axis = np.array(picture.rpartition(" at ")[2].split(",")[0].split(), float)
    seen = []
    for line in path.read_text().splitlines():
        if line.startswith("#"):
            continue
        _, *place, rx, ry, rz, angle = map(float, line.split())
        x, y, z = (np.array(Matrix.Rotation(np.radians(a), 3, n)) for a, n in ((rx, "X"), (ry, "Y"), (rz, "Z")))
        local = (points @ np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]]).T - place) @ (y @ x @ z)
        focal = height / 2 / np.tan(np.radians(angle) / 2)
        across, down = local[:, 0] / -local[:, 2] / pixel_aspect, local[:, 1] / local[:, 2]
        seen.append(axis + focal * np.stack([across, down], axis=-1))
    return np.array(seen)


def read_back(kind: str, path: Path, example: Example, size: tuple[int, int], points: np.ndarray) -> np.ndarray:
    """(T,N,2) of points in the engine's world."""
    in_blender = np.stack([points[:, 0], points[:, 2], -points[:, 1]], axis=-1)
    if kind == "CHAN":
        return seen_by_nuke(path, in_blender, example.pixel_aspect)
    return seen_by_blender(kind, path, example, size, in_blender)


def off_plate(example: Example, seen: np.ndarray, overscan, points: np.ndarray, index: int) -> float:
    """Worst pixel of a plate 1920 wide: what was read back, bent by the lens, against what the plate shows."""
    left, _, top, _ = overscan
    focal, middle = np.split(intrinsics(example, index) * np.tile(np.divide(example.clip, example.raster), 2), 2)
    bent = distorted((seen - (left, top) - middle) / focal, example.distortion) * focal + middle
    return np.abs(bent - projected(example, index, points)).max() * HD


EXAMPLES = {"plain": SHOT, "off center": replace(SHOT, principal=(1.5, -0.75)), "zoom": replace(SHOT, zoom=1.2),
            "wide pixels": replace(SHOT, clip=(96, 108), pixel_aspect=2.0)}


@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES)
@pytest.mark.parametrize("kind", ENDINGS)
def test_read_back_it_sees_the_undistorted_plate(written, kind, example):
    points = surface_points(example, 60)
    path, overscan, _ = written(example, kind)
    size = size_with(example, overscan)
    assert size[0] > example.clip[0] and size[1] > example.clip[1]
    seen = read_back(kind, path, example, size, points)
    frames = range(example.frame_count) if bpy.app.version >= READS_A_MOVING_LENS[kind] else range(1)
    assert max(off_plate(example, seen[index], overscan, points, index) for index in frames) < WORST_PX


@pytest.mark.parametrize("kind", ENDINGS)
def test_without_overscan_it_is_the_solved_camera(written, kind):
    points = surface_points(SHOT, 60)
    path, _, said = written(SHOT, kind, overscan=False)
    seen = read_back(kind, path, SHOT, SHOT.clip, points)
    assert max(off_plate(SHOT, seen[index], (0, 0, 0, 0), points, index) for index in range(4)) < WORST_PX
    assert "ideal camera" in said and "with overscan" not in said


@pytest.mark.parametrize("kind", ENDINGS)
def test_what_the_format_cannot_hold_is_said(written, kind):
    example = replace(SHOT, zoom=1.2, clip=(96, 108), pixel_aspect=2.0)
    _, overscan, said = written(example, kind)
    width, height = size_with(example, overscan)
    assert f"undistorted plate with overscan, {width} x {height} pixels" in said
    assert "holds no lens distortion" in said and "no pixel aspect: set 2 " in said and "the middle frame" in said
    items = bpy.ops.stereodiff.export_camera.get_rna_type().properties["kind"].enum_items
    assert "Holds no lens distortion" in items[kind].description


def test_a_camera_without_a_picture_says_nothing_of_overscan(written):
    assert "overscan" not in written(SHOT, "TUM")[2]
