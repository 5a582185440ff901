"""The floor, found in the depth of an import: where there is one, and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import bpy
import numpy as np
import pytest
from job_folder import Example, camera_rays, camera_to_world, write_gray, write_job_folder
from mathutils import Vector
from placed_import import MOVED, views
from scene_checks import show_frame

from stereodiff_blender.engine.contract import Distortion

FLOOR_NORMAL = np.array([0.08, -0.95, -0.30]) / np.linalg.norm([0.08, -0.95, -0.30])  # up, engine's axes: y is down
FLOOR_BELOW = 1.2  # under the first camera, along the normal


def write_floor(folder, example: Example, *, noise: float = 0.0, box: bool = True, sure: float = 0.9) -> None:
    """Replace the example's depth by that of a floor with a wall behind it, and a box on the floor."""
    write_job_folder(folder, example)
    width, height = example.raster
    rng = np.random.default_rng(0)
    for index in range(example.frame_count):
        rays = camera_rays(example, index, *np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5))
        times = example.readout * ((np.arange(height) + 0.5) / height - 0.5)
        poses = np.stack([camera_to_world(example, index + time) for time in times])
        origin, rays = poses[:, None, :3, 3], rays @ np.swapaxes(poses[:, :3, :3], 1, 2)
        with np.errstate(divide="ignore"):
            floor = (-FLOOR_BELOW - origin @ FLOOR_NORMAL) / (rays @ FLOOR_NORMAL)
        depth = np.where((floor > 0) & (floor < 7.0), floor, 7.0)
        if box:
            depth[height * 6 // 10:height * 8 // 10, width // 3:width // 2] *= 0.8
        depth = depth * (1.0 + noise * rng.standard_normal(depth.shape))
        frame = f"{example.first_frame + index:04d}.exr"
        write_gray(folder / "depth" / frame, depth)
        write_gray(folder / "confidence" / frame, np.full(depth.shape, sure))
        write_gray(folder / "motion_mask" / frame, np.zeros(depth.shape))


TALL = Example(raster=(64, 48), clip=(64, 48), zoom=1.0, focal=45.0)


@pytest.mark.parametrize(("lens", "readout"), [(None, 0.0), (Distortion(-0.25, 0.08), 0.0), (None, 0.9)])
@pytest.mark.parametrize(("noise", "tilt_deg", "height"), [(0.0, 0.05, 0.002), (0.01, 0.5, 0.02)])
def test_the_floor_is_found_in_the_depth(parts, tmp_path, noise, tilt_deg, height, lens, readout):
    """Also whenever its rows were read: for those of the middle row's camera, it would tilt by half a degree."""
    write_floor(tmp_path, replace(TALL, distortion=lens, readout=readout), noise=noise)
    made = parts["scene"].import_result(bpy.context.scene, tmp_path)
    made.root.matrix_world = MOVED
    seen = views(made)
    assert bpy.ops.stereodiff.orient_floor(source="AUTOMATIC") == {"FINISHED"}
    bpy.context.view_layer.update()
    up = made.root.matrix_world.to_3x3().normalized() @ Vector((FLOOR_NORMAL[0], FLOOR_NORMAL[2], -FLOOR_NORMAL[1]))
    assert np.degrees(up.angle(Vector((0, 0, 1)))) < tilt_deg
    show_frame(1)
    assert made.camera.matrix_world.translation.z / 2 == pytest.approx(FLOOR_BELOW, abs=height)
    assert np.abs(views(made) - seen).max() < 1e-5


def test_finding_the_floor_twice_changes_nothing(parts, tmp_path):
    write_floor(tmp_path, TALL)
    made = parts["scene"].import_result(bpy.context.scene, tmp_path)
    bpy.ops.stereodiff.orient_floor(source="AUTOMATIC")
    bpy.context.view_layer.update()
    once = np.array(made.root.matrix_world)
    bpy.ops.stereodiff.orient_floor(source="AUTOMATIC")
    bpy.context.view_layer.update()
    assert np.allclose(np.array(made.root.matrix_world), once, atol=1e-5)


def test_a_wall_is_no_floor(imported):
    """The plain example looks at a wall and a box."""
    before = imported.root.matrix_world.copy()
    with pytest.raises(RuntimeError, match="No floor was found"):
        bpy.ops.stereodiff.orient_floor(source="AUTOMATIC")
    assert imported.root.matrix_world == before


def test_what_was_not_measured_is_no_floor(parts, tmp_path):
    write_floor(tmp_path, TALL, sure=0.2)
    parts["scene"].import_result(bpy.context.scene, tmp_path)
    with pytest.raises(RuntimeError, match="Hardly anything"):
        bpy.ops.stereodiff.orient_floor(source="AUTOMATIC")


def test_a_table_top_is_no_floor(parts):
    """Most points lie on the table, but the floor lies below it."""
    rng = np.random.default_rng(2)
    table = np.column_stack([rng.uniform(-1, 1, 900), rng.uniform(2, 3, 900), rng.normal(0.75, 1e-3, 900)])
    ground = np.column_stack([rng.uniform(-3, 3, (700, 2)) + [0, 4], rng.normal(0, 1e-3, 700)])
    points = np.concatenate([table, ground])
    found = parts["floor"].fit_floor(parts["floor"].Ground(points, points[:, 1], np.array([[0.0, 0.0, 1.6]]),
                                                           np.array([0.0, 0.0, 1.0])))
    assert np.allclose(found.normal, (0, 0, 1), atol=1e-3) and abs(found.offset) < 1e-3
    assert found.share == pytest.approx(700 / 1600, abs=0.02)


def test_a_turn_without_depth_has_no_floor(parts, tmp_path):
    write_job_folder(tmp_path, Example(camera_kind="rotation"))
    parts["scene"].import_result(bpy.context.scene, tmp_path)
    with pytest.raises(RuntimeError, match="no depth"):
        bpy.ops.stereodiff.orient_floor(source="AUTOMATIC")
