"""The camera that has the lens itself: what Cycles renders through it lies on the plate, row by row."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace

import bpy
import numpy as np
import pytest
from job_folder import Example, camera_to_world, clip_intrinsics, plate_file, write_job_folder
from scene_checks import datablocks, prepare_render, projected, read_linear, render

from stereodiff_blender.engine.contract import Distortion, JobFolder
from stereodiff_blender.engine.lens import distorted

HAS_LENS_CAMERAS = bpy.app.version >= (4, 5, 0)
needs_lens_cameras = pytest.mark.skipif(not HAS_LENS_CAMERAS, reason="Cycles has no Custom camera before 4.5")
SHOT = Example(raster=(96, 54), clip=(192, 108), focal=80.0, frame_count=3, zoom=1.0, invalid_corner=False,
               distortion=Distortion(-0.25, 0.08))
LENSES = {"radial": SHOT.distortion, "brown": Distortion(-0.25, 0.08, -0.01, 0.004, -0.006),
          "pincushion": Distortion(0.2), "fisheye": Distortion(0.05, -0.02, 0.004, k4=-0.001, is_fisheye=True),
          "pinhole": None}
PLACES = [(-1.2, -0.5, 2.2), (0.1, 0.05, 2.0), (1.1, 0.6, 2.2)]
RADIUS = 0.025
WORST_PX = 0.1


@pytest.fixture
def import_here(addon, compiles, tmp_path):
    """import_here(example, readout): nothing of it is rendered but what the test adds."""
    def run(example: Example = SHOT, readout: float = 0.0, name: str = "job"):
        result = write_job_folder(tmp_path / name, example, clip_folder=tmp_path / "clip")
        JobFolder(tmp_path / name).write_result(replace(result, lens=replace(result.lens, readout=readout)))
        scene = importlib.import_module(f"{addon.__name__}.scene")
        imported = scene.import_result(bpy.context.scene, tmp_path / name, replace_better=True)
        bpy.context.scene.render.engine = "CYCLES"
        imported.mesh.hide_render = True
        return imported

    return run


def add_camera(**options) -> bpy.types.Object:
    assert bpy.ops.stereodiff.add_lens_camera(**options) == {"FINISHED"}
    (camera,) = (o for o in bpy.data.objects if o.get("stereodiff", {}).get("part") == "lens camera")
    bpy.context.scene.camera = camera
    return camera


def add_ball(place: tuple[float, float, float]) -> bpy.types.Object:
    """Small and glowing, at a place of the engine's world."""
    x, y, z = place
    bpy.ops.mesh.primitive_ico_sphere_add(radius=RADIUS, subdivisions=3, location=(x, z, -y))
    ball, material = bpy.context.object, bpy.data.materials.new("glow")
    material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    glow = tree.nodes.new("ShaderNodeEmission")
    tree.links.new(glow.outputs[0], tree.nodes.new("ShaderNodeOutputMaterial").inputs[0])
    ball.data.materials.append(material)
    return ball


def shot_of(place, path, frame: int, samples: int = 64) -> np.ndarray:
    """(H,W) of the ball alone."""
    ball, scene = add_ball(place), bpy.context.scene
    prepare_render(scene, path)
    scene.cycles.samples, scene.render.film_transparent = samples, True
    scene.frame_set(frame)
    bpy.ops.render.render(write_still=True)
    bpy.data.objects.remove(ball)
    return read_linear(path)[..., 0]


def center(weights: np.ndarray) -> np.ndarray:
    rows, columns = np.indices(weights.shape) + 0.5
    assert weights.sum() > 1.0
    return np.array([(columns * weights).sum(), (rows * weights).sum()]) / weights.sum()


@needs_lens_cameras
@pytest.mark.parametrize("lens", LENSES.values(), ids=LENSES)
def test_it_shoots_things_where_the_plate_has_them(import_here, tmp_path, lens):
    example = replace(SHOT, distortion=lens, principal=(3.0, -2.0))
    import_here(example, readout=0.0 if lens else 0.3)
    add_camera()
    for place in PLACES:
        found = center(shot_of(place, tmp_path / "shot.exr", 2))
        assert np.abs(found - projected(example, 1, np.array([place]))[0]).max() < WORST_PX


@needs_lens_cameras
def test_a_zoom_is_keyed(import_here, tmp_path):
    example = replace(SHOT, zoom=1.3)
    import_here(example)
    add_camera()
    place = (0.8, 0.4, 2.2)
    for index in (0, 2):
        found = center(shot_of(place, tmp_path / "shot.exr", 1 + index))
        assert np.abs(found - projected(example, index, np.array([place]))[0]).max() < WORST_PX


@needs_lens_cameras
@pytest.mark.parametrize("pixel_aspect", [2.0])
def test_wide_pixels(import_here, tmp_path, pixel_aspect):
    example = replace(SHOT, pixel_aspect=pixel_aspect, clip=(96, 108))
    import_here(example)
    add_camera()
    found = center(shot_of(PLACES[0], tmp_path / "shot.exr", 2))
    assert np.abs(found - projected(example, 1, np.array([PLACES[0]]))[0]).max() < WORST_PX


@needs_lens_cameras
def test_it_follows_another_import(import_here, tmp_path):
    import_here()
    camera = add_camera()
    texts = len(bpy.data.texts)
    example = replace(SHOT, distortion=Distortion(0.15), zoom=1.2, job_id="other")
    import_here(example, name="other")
    assert add_camera() == camera and len(bpy.data.texts) == texts == 1
    place = (0.6, 0.3, 2.2)
    found = center(shot_of(place, tmp_path / "shot.exr", 3))
    assert np.abs(found - projected(example, 2, np.array([place]))[0]).max() < WORST_PX


def settings() -> tuple:
    scene = bpy.context.scene
    return (scene.render.use_motion_blur, scene.render.motion_blur_position, scene.render.motion_blur_shutter,
            scene.cycles.rolling_shutter_type, scene.cycles.rolling_shutter_duration)


@needs_lens_cameras
def test_the_render_is_the_artists_unless_rolling_shutter_is_asked_for(import_here):
    import_here(readout=0.4)
    before = settings()
    add_camera()
    assert settings() == before
    add_camera(rolling_shutter=True, exposure=0.2)
    assert settings() == (True, "CENTER", pytest.approx(0.6), "TOP", pytest.approx(1 / 3))


def row_place(example: Example, place, readout: float) -> np.ndarray:
    """Where row after row sees a thing, with the camera that moves evenly between its frames; by trying all rows."""
    height = example.clip[1]
    focal, middle = np.split(clip_intrinsics(example), 2)
    rows = np.arange(0.0, height, 0.01)
    times = 1.0 + readout * ((rows + 0.5) / height - 0.5)
    before = np.floor(times).astype(int)
    poses = np.array([camera_to_world(example, index) for index in range(example.frame_count)])
    share = (times - before)[:, None, None]
    pose = poses[before] * (1 - share) + poses[before + 1] * share
    x, y, z = np.einsum("tji,tj->ti", pose[:, :3, :3], np.array(place) - pose[:, :3, 3]).T
    seen = distorted(np.stack([x / z, y / z], axis=-1), example.distortion) * focal + middle
    return seen[np.argmin(np.abs(seen[:, 1] - rows))]


@needs_lens_cameras
@pytest.mark.parametrize("readout", [0.5, 0.9])
def test_rolling_shutter_takes_row_after_row(import_here, tmp_path, readout):
    """The camera turns by some pixels a frame, so that the outer rows are far from where one camera would have them."""
    example = replace(SHOT, frame_count=4)
    import_here(example, readout)
    add_camera(rolling_shutter=True, exposure=0.1)
    apart = []
    for place in (PLACES[0], PLACES[2]):
        found = center(shot_of(place, tmp_path / "shot.exr", 2, samples=256))
        expected = row_place(example, place, readout)
        assert np.abs(found - expected).max() < WORST_PX
        apart.append(np.abs(projected(example, 1, np.array([place]))[0] - expected).max())
    assert max(apart) > 4 * WORST_PX, "the rows count"


@needs_lens_cameras
def test_a_build_that_compiles_no_shaders_is_refused(import_here, monkeypatch):
    """As bpy itself where its modules are not found; nothing is left behind, and the render stays as it is."""
    import_here(readout=0.4)
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if "/python/lib/" not in folder])
    sys.modules.pop("oslquery", None)
    before, blocks = settings(), datablocks()
    with pytest.raises(RuntimeError, match=r"official build of Blender 4\.5 or later"):
        bpy.ops.stereodiff.add_lens_camera(rolling_shutter=True)
    assert settings() == before and datablocks() == blocks and not bpy.data.texts


@needs_lens_cameras
def test_the_mesh_stays_on_the_plate_under_a_rolling_shutter(import_here, tmp_path):
    """It hangs on the camera, so that no row sees it elsewhere; nor does it blur as its depth changes."""
    imported = import_here(replace(SHOT, frame_count=4), 0.9)
    imported.mesh.hide_render = False
    pictures = []
    for rolls in (False, True):
        add_camera(rolling_shutter=rolls, exposure=0.1)
        pictures.append(render(bpy.context.scene, tmp_path / "mesh.exr", 2))
    plate = read_linear(plate_file(tmp_path / "clip", SHOT, 2))
    beside, one_off = (np.abs(picture - plate).mean() for picture in (pictures[1], np.roll(plate, 1, axis=1)))
    assert np.abs(pictures[1] - pictures[0]).max() < 1e-3 and beside < 0.7 * one_off


# --- Refused -------------------------------------------------------------------------------------------------------

@needs_lens_cameras
@pytest.mark.parametrize(("readout", "words"), [(0.0, "taken at once"), (-0.4, "last row")])
def test_a_shutter_that_cycles_cannot_follow_is_refused(import_here, readout, words):
    import_here(readout=readout)
    before = settings()
    with pytest.raises(RuntimeError, match=words):
        bpy.ops.stereodiff.add_lens_camera(rolling_shutter=True)
    assert settings() == before and not [o for o in bpy.data.objects if "lens camera" in o.name]


@pytest.mark.skipif(HAS_LENS_CAMERAS, reason="from 4.5 on there are Custom cameras")
def test_before_4_5_the_button_is_off(import_here):
    import_here()
    with pytest.raises(RuntimeError, match="Needs Blender 4.5"):
        bpy.ops.stereodiff.add_lens_camera()


@needs_lens_cameras
def test_undo_takes_the_settings_back(import_here):
    import_here(readout=0.4)
    before = settings()
    bpy.ops.ed.undo_push(message="imported")
    bpy.ops.stereodiff.add_lens_camera(rolling_shutter=True)
    bpy.ops.ed.undo_push(message="added")
    assert settings() != before
    bpy.ops.ed.undo()
    assert settings() == before and not [o for o in bpy.data.objects if "lens camera" in o.name]
