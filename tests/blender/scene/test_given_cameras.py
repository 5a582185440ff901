"""Results of given cameras: they land in the world that these are from; and COLMAP models go out and come in again."""

from __future__ import annotations

import importlib
from dataclasses import replace

import bpy
import numpy as np
import OpenEXR
import pytest
from job_folder import Example, camera_to_world, plate_file, write_job_folder
from mathutils import Matrix
from scene_checks import show_frame

EXAMPLE = Example(frame_count=5, zoom=1.0, first_frame=2, first_number=11)
PLACED = Matrix.Translation((3, -2, 500)) @ Matrix.Rotation(0.7, 4, (0.2, 0.5, 1.0))
FLIP = np.diag([1.0, -1.0, -1.0, 1.0])


@pytest.fixture
def scene_module(addon):
    return importlib.import_module(f"{addon.__name__}.scene")


@pytest.fixture
def bring_in(scene_module, contract, tmp_path):
    def bring(job_id: str = "job", placement=PLACED):
        example = replace(EXAMPLE, job_id=job_id)
        result = write_job_folder(tmp_path / job_id, example, clip_folder=tmp_path / "clip")
        rows = None if placement is None else tuple(map(tuple, placement))
        contract.JobFolder(tmp_path / job_id).write_result(replace(result, placement=rows))
        return scene_module.import_result(bpy.context.scene, tmp_path / job_id)
    return bring


def expected(index: int) -> np.ndarray:
    """Blender's camera in the world of the given ones."""
    return np.array(PLACED) @ camera_to_world(EXAMPLE, index) @ FLIP


def test_the_camera_stands_where_the_given_one_does(bring_in):
    imported = bring_in()
    for index in range(EXAMPLE.frame_count):
        show_frame(int(imported.shot.scene_frames[index]))
        assert np.abs(np.array(imported.camera.matrix_world) - expected(index)).max() < 1e-4


def test_where_the_artist_moves_it_it_stays_until_another_solve(bring_in):
    imported = bring_in()
    imported.root.location = (0.0, 0.0, 7.0)
    assert tuple(bring_in().root.location) == (0.0, 0.0, 7.0)
    imported = bring_in("another")
    show_frame(int(imported.shot.scene_frames[0]))
    assert np.abs(np.array(imported.camera.matrix_world) - expected(0)).max() < 1e-4


def test_a_solve_of_its_own_leaves_the_root_to_the_artist(bring_in):
    assert np.array_equal(bring_in(placement=None).root.matrix_world, np.eye(4))
    bring_in("given").root.location = (1.0, 2.0, 3.0)
    assert tuple(bring_in("own", placement=None).root.location) == (1.0, 2.0, 3.0)


@pytest.mark.slow
def test_depth_with_a_scenes_camera_lands_in_its_world(worker_python, preferences, settings, sample_folder, contract):
    """The sample's true cameras, keyed in the scene, through the real engine and back."""
    preferences.runtime_python = str(worker_python)
    truth = np.load(sample_folder / "truth.npz")
    film = bpy.data.objects.new("film", bpy.data.cameras.new("film"))
    bpy.context.scene.collection.objects.link(film)
    film.data.lens, film.rotation_mode = truth["K"][0, 0] * 36.0 / 640, "QUATERNION"
    for frame in range(1, 7):
        film.matrix_world = Matrix((truth["camera_to_world"][frame - 1] @ FLIP).tolist())
        film.keyframe_insert("location", frame=frame)
        film.keyframe_insert("rotation_quaternion", frame=frame)
    settings.clip = bpy.data.movieclips.load(str(sample_folder / "clip.mp4"))
    settings.cameras, settings.cameras_object, settings.refine, settings.max_side_px = "SCENE", film, "none", 320
    settings.use_clip_range, settings.first_frame, settings.last_frame = False, 1, 6
    assert bpy.ops.stereodiff.solve() == {"FINISHED"}
    imported = bpy.data.objects["clip camera"]
    assert bpy.context.scene.camera is None, "a scene with keys is somebody's"
    for frame in (1, 4, 6):
        show_frame(frame)
        assert np.abs(np.subtract(imported.matrix_world, film.matrix_world)).max() < 1e-4
        assert imported.data.lens == pytest.approx(film.data.lens, rel=1e-4)
    folder = contract.JobFolder(settings.jobs[0].folder)
    with OpenEXR.File(str(folder.product_file("depth", 4))) as file:
        depth = file.channels()["V"].pixels
    assert np.median(depth / truth["depth"][3]) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("placement", [2.0 * np.eye(4), np.diag([1.0, 1.0, -1.0, 1.0])])
def test_a_placement_that_is_none_is_refused(bring_in, placement):
    with pytest.raises(Exception, match="placement", check=lambda error: error.code == "result_invalid"):
        bring_in(placement=placement.tolist())


@pytest.mark.parametrize("stem", ["plate", "my plate"])
@pytest.mark.parametrize("zoom", [1.0, 1.25])
def test_a_model_that_was_exported_is_read_back(scene_module, contract, tmp_path, stem, zoom):
    """With a space in the names it is binary."""
    example = replace(EXAMPLE, plate_stem=stem, zoom=zoom)
    write_job_folder(tmp_path / "job", example, clip_folder=tmp_path / "clip")
    imported = scene_module.import_result(bpy.context.scene, tmp_path / "job")
    imported.root.matrix_world = PLACED
    bpy.context.view_layer.update()
    bpy.ops.stereodiff.export_camera(kind="COLMAP", filepath=str(tmp_path / "model"))
    assert (tmp_path / "model" / "images.bin").exists() == (" " in stem)
    source = contract.ClipSource("sequence", str(plate_file(tmp_path / "clip", example, 1)), example.first_number)
    given = contract.read_colmap_cameras(tmp_path / "model", source, range(2, 7))
    cameras = importlib.import_module(f"{scene_module.__name__.rpartition('.')[0]}.footage.cameras")
    clip = imported.camera.data.background_images[0].clip
    played = cameras.scene_cameras(bpy.context.scene, imported.camera, clip, range(2, 7))
    assert (given.width, given.height) == example.clip and len(given.cameras) == 5
    for one, other in zip(given.cameras, played.cameras, strict=True):
        assert one.frame == other.frame
        assert np.abs(np.subtract(one.camera_to_world, other.camera_to_world))[:3, :3].max() < 1e-6
        assert np.abs(np.subtract(one.camera_to_world, other.camera_to_world))[:3, 3].max() < 1e-6 * 500
        assert [one.fx, one.fy, one.cx, one.cy] == pytest.approx([other.fx, other.fy, other.cx, other.cy], rel=1e-6)
