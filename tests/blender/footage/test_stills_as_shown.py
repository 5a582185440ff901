"""What the engine matches of a still is what this Blender shows of it, in every kind of file and color space."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict
from pathlib import Path

import bpy
import numpy as np
import pytest
from shown_pictures import show_in_compositor

VERSION = bpy.app.version[:2]
CASES = {
    "png8.png": "", "gray.png": "", "png16.png": "", "jpeg.jpg": "", "bmp.bmp": "", "webp.webp": "", "tiff8.tif": "",
    "tiff16.tif": "", "tiff16_alpha.tif": "", "tiff_float.tif": "", "tga.tga": "", "tga_rle.tga": "", "dpx10.dpx": "",
    "dpx16.dpx": "", "cineon.cin": "", "half.exr": "", "float.exr": "", "layers.exr": "", "cropped.exr": "",
    "overscan.exr": "",
    "half.exr ACEScg": "ACEScg", "float.exr Linear Rec.2020": "Linear Rec.2020", "half.exr sRGB": "sRGB",
    "half.exr Non-Color": "Non-Color", "png8.png Non-Color": "Non-Color", "png16.png Rec.1886": "Rec.1886",
    "png8.png ACEScg": "ACEScg", "png16.png Filmic sRGB": "Filmic sRGB", "dpx10.dpx sRGB": "sRGB",
    "cineon.cin sRGB": "sRGB", "tga.tga Linear Rec.709": "Linear Rec.709",
    "png16.png Rec.2100-PQ": "Rec.2100-PQ", "png16.png ARRI LogC3 (EI800)": "ARRI LogC3 (EI800)",
    "dpx10.dpx S-Log3 S-Gamut3": "S-Log3 S-Gamut3", "pq.mp4": "", "hlg.mp4": "", "pq.mp4 ACEScg": "ACEScg",
}
"""File and color space; "" = as Blender takes it."""
CODED = 4
"""Levels by which a movie's picture may differ, whose colors are stored by halves."""


@pytest.fixture(scope="module")
def files(worker_python, repository, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("stills")
    run_worker("write", folder, worker_python, repository)
    return folder


def run_worker(task: str, folder: Path, worker_python: Path, repository: Path) -> None:
    support = repository / "tests" / "support"
    done = subprocess.run([worker_python, support / "stills_of_every_kind.py", task, folder], capture_output=True,
                          text=True, check=False, env={"PYTHONPATH": f"{repository}:{support}", "PATH": ""})
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def pictures(files, addon, worker_python, repository) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Of every case whose color space this Blender knows: what it shows, and what the engine makes of the clip."""
    shown, sources = {}, {}
    for name, space in CASES.items():
        bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
        kind = name.split(" ")[0]
        clip = bpy.data.movieclips.load(str(files / kind.replace(".", "_") / f"plate_0001{Path(kind).suffix}"))
        try:
            clip.colorspace_settings.name = space or clip.colorspace_settings.name
        except TypeError:
            continue
        sources[name] = asdict(addon.ui.operators.solve.clips.clip_source(clip))
        shown[name] = shown_by_blender(clip, files / "shown.png")
    (files / "sources.json").write_text(json.dumps(sources), encoding="utf-8")
    run_worker("read", files, worker_python, repository)
    with np.load(files / "pictures.npz") as matched:
        return {name: (shown[name], matched[name]) for name in shown}


def shown_by_blender(clip: bpy.types.MovieClip, file: Path) -> np.ndarray:
    """(H,W,3) uint8, under the Standard view."""
    scene = bpy.context.scene
    show_in_compositor(scene, clip)
    scene.render.resolution_x, scene.render.resolution_y = clip.size
    scene.render.resolution_percentage, scene.render.dither_intensity = 100, 0.0
    scene.render.image_settings.file_format, scene.render.image_settings.color_mode = "PNG", "RGB"
    scene.view_settings.view_transform = "Standard"
    for layer in scene.view_layers:
        layer.use = False
    scene.frame_set(1)
    scene.render.filepath = str(file)
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(str(file))
    width, height = image.size
    values = np.array(image.pixels[:]).reshape(height, width, -1)[::-1, :, :3]
    bpy.data.images.remove(image)
    return np.rint(values * 255).astype(np.uint8)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_the_engine_matches_what_blender_shows(name, pictures):
    if name not in pictures:
        pytest.skip(f"Blender {VERSION[0]}.{VERSION[1]} does not know this color space")
    shown, matched = pictures[name]
    assert matched.shape == shown.shape
    difference = np.abs(matched.astype(int) - shown)
    most = CODED if ".mp4" in name else 1
    assert difference.max() <= most, f"{difference.max()}, on average {difference.mean():.2f}"
    assert shown.std() > 10, "a picture that could not tell"
