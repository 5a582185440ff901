"""Cameras that Blender knows already, as jobs get them: each point is seen where Blender itself sees it."""

from __future__ import annotations

import importlib

import bpy
import numpy as np
import pytest
from bpy_extras.object_utils import world_to_camera_view
from job_folder import Example, write_job_folder
from mathutils import Matrix, Vector
from solved_points import surface_points, write_points

POINTS = np.array([[0.3, 4.0, 0.2], [-0.8, 6.0, -0.5], [1.0, 5.0, 0.7], [0.0, 8.0, 0.0]])
LONG = Example(zoom=1.0, frame_count=12)


@pytest.fixture
def cameras(addon):
    return importlib.import_module(f"{addon.__name__}.footage.cameras")


def code_of(call, *arguments) -> tuple[str, str]:
    with pytest.raises(Exception, check=lambda error: hasattr(error, "code")) as caught:
        call(*arguments)
    return caught.value.code, caught.value.message


def projected(camera, points: np.ndarray) -> np.ndarray:
    """(N,2) pixels, by the pinhole formula alone."""
    pose = np.array(camera.camera_to_world)
    x, y, z = ((points - pose[:3, 3]) @ pose[:3, :3]).T
    return np.stack([camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy], axis=-1)


# --- A camera of the scene -----------------------------------------------------------------------------------------

@pytest.fixture
def filmed() -> bpy.types.Object:
    """A camera with a shifted lens that zooms, on a parent that moves, turns and is scaled."""
    scene = bpy.context.scene
    dolly = bpy.data.objects.new("dolly", None)
    camera = bpy.data.objects.new("film", bpy.data.cameras.new("film"))
    for thing in (dolly, camera):
        scene.collection.objects.link(thing)
    camera.parent, scene.camera = dolly, camera
    camera.data.shift_x, camera.data.shift_y = 0.06, -0.1
    camera.rotation_euler, dolly.scale = (1.5, 0.05, 0.02), (2.0, 2.0, 2.0)
    for frame, place, turn, lens in ((10, (0.0, 0.0, 0.0), 0.0, 30.0), (16, (0.4, 0.3, 0.1), 0.2, 45.0)):
        dolly.location, dolly.rotation_euler, camera.data.lens = place, (0.0, 0.0, turn), lens
        dolly.keyframe_insert("location", frame=frame)
        dolly.keyframe_insert("rotation_euler", frame=frame)
        camera.data.keyframe_insert("lens", frame=frame)
    return camera


@pytest.mark.parametrize("fit", ["AUTO", "HORIZONTAL", "VERTICAL"])
@pytest.mark.parametrize("aspect", [(1.0, 1.0), (1.5, 1.0)])
def test_a_scene_camera_sees_what_blender_sees(cameras, sequence, filmed, fit, aspect):
    scene = bpy.context.scene
    sequence.frame_start, sequence.display_aspect, filmed.data.sensor_fit = 10, aspect, fit
    before = (scene.frame_current, len(bpy.data.scenes))
    given = cameras.scene_cameras(scene, None, sequence, range(2, 7))
    assert before == (scene.frame_current, len(bpy.data.scenes))
    assert [camera.frame for camera in given.cameras] == [2, 3, 4, 5, 6] and (given.width, given.height) == (96, 72)
    scene.render.resolution_x, scene.render.resolution_y = 96, 72
    scene.render.pixel_aspect_x = aspect[0]
    for camera in given.cameras:
        scene.frame_set(camera.frame + 9)
        seen = np.array([world_to_camera_view(scene, filmed, Vector(point)) for point in POINTS])
        expected = seen[:, :2] * (96, -72) + (0, 72)
        assert np.abs(projected(camera, POINTS) - expected).max() < 0.01


def test_a_constraint_counts(cameras, sequence, filmed):
    target = bpy.data.objects.new("target", None)
    target.location = (3.0, 9.0, 1.0)
    bpy.context.scene.collection.objects.link(target)
    filmed.constraints.new("TRACK_TO").target = target
    filmed.data.shift_x = filmed.data.shift_y = 0.0
    for camera in cameras.scene_cameras(bpy.context.scene, filmed, sequence, range(1, 7)).cameras:
        assert projected(camera, np.array([[3.0, 9.0, 1.0]]))[0] == pytest.approx((48.0, 36.0), abs=0.01)


def test_what_is_no_camera(cameras, sequence, filmed):
    scene = bpy.context.scene
    filmed.data.type = "ORTHO"
    assert code_of(cameras.scene_cameras, scene, filmed, sequence, range(1, 3))[0] == "cameras_invalid"
    code, message = code_of(cameras.scene_cameras, scene, filmed.parent, sequence, range(1, 3))
    assert code == "cameras_missing" and "dolly is no camera" in message
    scene.camera = None
    assert code_of(cameras.scene_cameras, scene, None, sequence, range(1, 3))[0] == "cameras_missing"
    assert len(bpy.data.scenes) == 1


# --- The clip's own solve ------------------------------------------------------------------------------------------

@pytest.fixture
def solved(addon, tmp_path) -> bpy.types.MovieClip:
    """A clip with exact tracks in its own camera object, solved by Blender."""
    write_job_folder(tmp_path / "job", LONG, clip_folder=tmp_path / "clip")
    write_points(tmp_path / "job", surface_points(LONG, 120))
    scene = importlib.import_module(f"{addon.__name__}.scene")
    imported = scene.import_result(bpy.context.scene, tmp_path / "job")
    bpy.ops.stereodiff.write_tracks()
    clip = imported.camera.data.background_images[0].clip
    ours, own = clip.tracking.objects["StereoDiff"], clip.tracking.objects["Camera"]
    for track in ours.tracks:
        copy = own.tracks.new(name=track.name, frame=track.markers[0].frame)
        for marker in track.markers:
            copy.markers.insert_frame(marker.frame, co=marker.co).mute = marker.mute
    own.keyframe_a, own.keyframe_b = ours.keyframe_a, ours.keyframe_b
    clip.tracking.objects.active = own
    tracks = importlib.import_module(f"{addon.__name__}.scene.export.clip_tracks")
    with tracks._clip_editor(bpy.context, clip):
        bpy.ops.clip.solve_camera()
    assert own.reconstruction.is_valid and own.reconstruction.average_error < 0.2
    return clip


def test_the_clips_own_solve_sees_its_bundles_at_its_markers(cameras, solved):
    given = cameras.clip_cameras(solved, range(2, 12))
    assert [camera.frame for camera in given.cameras] == list(range(2, 12))
    for camera in given.cameras:
        for track in solved.tracking.objects["Camera"].tracks:
            marker = track.markers.find_frame(camera.frame)
            if track.has_bundle and marker is not None and not marker.mute:
                x, y = marker.co
                off = projected(camera, np.array([track.bundle]))[0] - (x * LONG.clip[0], (1 - y) * LONG.clip[1])
                assert np.abs(off).max() < 0.02


def test_the_solve_stands_where_a_camera_with_the_constraint_would(cameras, solved):
    scene = bpy.context.scene
    scene.camera = bpy.data.objects.new("solved", bpy.data.cameras.new("solved"))
    scene.collection.objects.link(scene.camera)
    scene.active_clip = solved
    scene.camera.constraints.new("CAMERA_SOLVER").use_active_clip = True
    own = cameras.clip_cameras(solved, range(1, 13)).cameras
    played = cameras.scene_cameras(scene, None, solved, range(1, 13)).cameras
    for one, other in zip(own, played, strict=True):
        assert np.abs(np.subtract(one.camera_to_world, other.camera_to_world)).max() < 1e-4


def test_distortion_of_the_clips_lens_comes_with_its_cameras(cameras, solved):
    plain = cameras.clip_cameras(solved, range(1, 5))
    solved.tracking.camera.distortion_model, solved.tracking.camera.k1 = "POLYNOMIAL", -0.02
    bent = cameras.clip_cameras(solved, range(1, 5))
    assert plain.distortion is None and bent.cameras == plain.cameras
    assert bent.distortion.coefficients == pytest.approx((-0.02, 0.0, 0.0, 0.0, 0.0))
    solved.tracking.camera.k1 = -3.0
    code, message = code_of(cameras.clip_cameras, solved, range(1, 5))
    assert code == "settings_invalid" and "fold" in message


def test_a_clip_that_is_not_solved(cameras, sequence):
    assert code_of(cameras.clip_cameras, sequence, range(1, 5))[0] == "cameras_missing"


def test_frames_beyond_the_solve_are_named(cameras, solved):
    code, message = code_of(cameras.clip_cameras, solved, range(1, 20))
    assert code == "cameras_incomplete" and "13-19" in message


def test_matrices_are_not_changed_by_a_round_trip(cameras, sequence, filmed):
    """What a scene's camera gives, on Blender's axes again."""
    scene = bpy.context.scene
    camera = cameras.scene_cameras(scene, None, sequence, range(4, 6)).cameras[0]
    scene.frame_set(4)
    bpy.context.view_layer.update()
    matrix = Matrix(camera.camera_to_world) @ Matrix.Diagonal((1, -1, -1, 1))
    place, turn, _ = filmed.matrix_world.decompose()
    assert (matrix.translation - place).length < 1e-5 and matrix.to_quaternion().rotation_difference(turn).angle < 1e-3
