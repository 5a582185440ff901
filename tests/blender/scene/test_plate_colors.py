"""The plate's colors as numbers, in whatever color space it is read: those that this Blender's compositor shows."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path

import bpy
import numpy as np
import OpenEXR
import pytest
from compositors import empty_tree
from job_folder import Example, plate_file, write_job_folder
from scene_checks import datablocks, render

EXAMPLE = Example(raster=(64, 36), clip=(64, 36), first_number=1001, frame_count=3, invalid_corner=False)


@pytest.fixture
def scene_module(addon):
    return importlib.import_module(f"{addon.__name__}.scene")


def shown_by_compositor(clip: bpy.types.MovieClip, path: Path, frame: int) -> np.ndarray:
    """(H,W,3) scene-linear."""
    scene = bpy.context.scene
    tree, picture = empty_tree(scene)
    node = tree.nodes.new("CompositorNodeMovieClip")
    node.clip = clip
    tree.links.new(node.outputs["Image"], picture)
    scene.render.resolution_x, scene.render.resolution_y = clip.size
    for layer in scene.view_layers:
        layer.use = False
    return render(scene, path, frame)


def read_colors(scene_module, imported, frame: int) -> np.ndarray:
    plates = importlib.import_module(f"{scene_module.__name__}.points.plate_colors")
    images = importlib.import_module(f"{scene_module.__name__}.data.depth_images")
    plate = images.import_plate(imported.shot, imported.camera.data.background_images[0].clip)
    before = datablocks()
    with plates.reading_plate(imported.shot, plate) as colors:
        found = colors.of_frame(frame)
    assert datablocks() == before
    return found


@pytest.mark.parametrize("space", ["sRGB", "Display P3", "Rec.1886", "ACEScg", "Non-Color", "AgX Log"])
def test_eight_bits_in_any_color_space(scene_module, tmp_path, space):
    write_job_folder(tmp_path / "job", EXAMPLE, clip_folder=tmp_path / "clip")
    clip = bpy.data.movieclips.load(str(plate_file(tmp_path / "clip", EXAMPLE, 1)))
    clip.colorspace_settings.name = space
    imported = scene_module.import_result(bpy.context.scene, tmp_path / "job", clip=clip)
    shown = shown_by_compositor(clip, tmp_path / "shown.exr", 2)
    assert np.ptp(shown) > 0.3
    assert np.allclose(read_colors(scene_module, imported, 2), shown, rtol=2e-3, atol=1e-3)


def test_floats_above_one_stay(scene_module, contract, tmp_path):
    """An EXR sequence, of which each picture has its own level."""
    result = write_job_folder(tmp_path / "job", EXAMPLE, clip_folder=tmp_path / "clip")
    for number in range(1001, 1004):
        pixels = np.full((36, 64, 3), number - 1000.5, np.float32)
        OpenEXR.File({"type": OpenEXR.scanlineimage}, {"RGB": pixels}).write(str(tmp_path / f"light.{number}.exr"))
    source = contract.ClipSource("sequence", str(tmp_path / "light.1001.exr"), 1001, 64, 36, 1.0, 24.0)
    contract.JobFolder(tmp_path / "job").write_result(replace(result, clip=source))
    imported = scene_module.import_result(bpy.context.scene, tmp_path / "job")
    levels = [read_colors(scene_module, imported, frame) for frame in (1, 3)]
    assert np.allclose(levels[0], 0.5) and np.allclose(levels[1], 2.5)
