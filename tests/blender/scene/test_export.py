"""Cameras for other programs: each file is read back and held against what the scene plays."""

from __future__ import annotations

import importlib
import json
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import bpy
import numpy as np
import OpenEXR
import pytest
from exported_cameras import imported_camera
from job_folder import Example, camera_to_world, intrinsics, write_job_folder
from mathutils import Matrix, Quaternion
from scene_checks import datablocks, projected
from solved_points import colors_of, surface_points, write_points

from stereodiff_blender.engine.contract import Distortion

EXAMPLE = Example(principal=(3.0, -2.0), first_frame=3, first_number=11)
MOVED = Matrix.Translation((3, -2, 1)) @ Matrix.Rotation(0.7, 4, (0.2, 0.5, 1.0)) @ Matrix.Scale(2.5, 4)
READS_A_MOVING_LENS = {"FBX": (4, 2, 0), "USD": (4, 5, 0), "ALEMBIC": (5, 2, 0)}
Y_UP = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])


@pytest.fixture
def bring_in(addon, tmp_path):
    """Import an example and move its root. Returns what was imported."""
    def bring(example: Example = EXAMPLE, *, points: np.ndarray | None = None):
        write_job_folder(tmp_path / "job", example, clip_folder=tmp_path / "clip")
        if points is not None:
            write_points(tmp_path / "job", points)
        scene = importlib.import_module(f"{addon.__name__}.scene")
        imported = scene.import_result(bpy.context.scene, tmp_path / "job")
        imported.root.matrix_world = MOVED
        bpy.context.view_layer.update()
        return imported
    return bring


def expected_poses(example: Example) -> np.ndarray:
    """(T,4,4) camera to world: OpenCV camera, Blender's world with the root's transform, without scale."""
    engine_to_z_up = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1.0]])
    poses = np.array([np.array(MOVED) @ engine_to_z_up @ camera_to_world(example, i)
                      for i in range(example.frame_count)])
    poses[:, :3, :3] /= 2.5
    return poses


def clip_intrinsics(example: Example) -> np.ndarray:
    scale = np.tile(np.divide(example.clip, example.raster), 2)
    return np.array([intrinsics(example, i) * scale for i in range(example.frame_count)])


def rows(path: Path) -> list[list[str]]:
    """A text file's words, without comments; an empty line is an empty list."""
    return [line.split() for line in path.read_text().splitlines() if not line.startswith("#")]


def export(kind: str, path: Path) -> None:
    assert bpy.ops.stereodiff.export_camera(kind=kind, filepath=str(path)) == {"FINISHED"}


# --- Text ----------------------------------------------------------------------------------------------------------

def test_tum_reads_back_as_the_poses(bring_in, tmp_path):
    bring_in()
    export("TUM", tmp_path / "camera.txt")
    table = np.array(rows(tmp_path / "camera.txt"), float)
    assert np.allclose(table[:, 0], (np.arange(6) + 2) / 24.0)
    poses = expected_poses(EXAMPLE)
    assert np.abs(table[:, 1:4] - poses[:, :3, 3]).max() < 1e-5
    for row, pose in zip(table, poses, strict=True):
        x, y, z, w = row[4:]
        assert np.abs(np.array(Quaternion((w, x, y, z)).to_matrix()) - pose[:3, :3]).max() < 1e-5


@pytest.mark.parametrize("zoom", [1.0, 1.25])
def test_colmap_projects_its_points_to_the_engines_pixels(bring_in, tmp_path, zoom):
    """By COLMAP's own rules: world to camera by quaternion and translation, then PINHOLE."""
    example = replace(EXAMPLE, zoom=zoom)
    points = surface_points(example, 60)
    bring_in(example, points=points)
    export("COLMAP", tmp_path / "model")
    cameras = {row[0]: row for row in rows(tmp_path / "model" / "cameras.txt")}
    assert len(cameras) == (1 if zoom == 1.0 else 6)
    stored = np.array([row[1:] for row in rows(tmp_path / "model" / "points3D.txt")], float)
    assert np.array_equal(stored[:, 3:6], colors_of(points))
    images = rows(tmp_path / "model" / "images.txt")
    assert images[1::2] == [[]] * 6 and len(images) == 12
    for index, (number, qw, qx, qy, qz, tx, ty, tz, camera, name) in enumerate(images[::2]):
        assert (int(number), name) == (index + 1, f"plate_{13 + index:04d}.png")
        _, model, width, height, *lens = cameras[camera]
        fx, fy, cx, cy = (float(value) for value in lens)
        assert (model, int(width), int(height)) == ("PINHOLE", *example.clip)
        turn = Quaternion([float(q) for q in (qw, qx, qy, qz)]).to_matrix()
        x, y, z = np.array(turn) @ stored[:, :3].T + np.array([[tx], [ty], [tz]], float)
        seen = np.stack([fx * x / z + cx, fy * y / z + cy], axis=-1)
        assert np.abs(seen - projected(example, index, points)).max() < 0.01


READ_BY_COLMAP = """
import json, sys, pycolmap
model = pycolmap.Reconstruction(sys.argv[1])
points = [model.points3D[number] for number in sorted(model.points3D)]
images = [model.images[number] for number in sorted(model.images)]
print(json.dumps({
    "names": [image.name for image in images],
    "cameras": [[camera.model_name, camera.width, camera.height] for camera in model.cameras.values()],
    "seen": [[image.project_point(point.xyz).tolist() for point in points] for image in images],
    "places": [image.projection_center().tolist() for image in images],
    "colors": [point.color.tolist() for point in points],
}))
"""


def read_by_colmap(folder: Path, worker_python: Path) -> dict:
    done = subprocess.run([worker_python, "-c", READ_BY_COLMAP, folder], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_binary_model_is_not_left_to_be_read_instead(bring_in, tmp_path):
    bring_in()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "images.bin").touch()
    with pytest.raises(RuntimeError, match="images.bin"):
        export("COLMAP", tmp_path / "model")
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["images.bin"]


LENSES = {"PINHOLE": None, "OPENCV": Distortion(-0.25, 0.08, 0.0, 0.002, -0.003),
          "FULL_OPENCV": Distortion(-0.25, 0.08, -0.01, 0.002, -0.003)}


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "zoom"), [("PINHOLE", 1.0), ("PINHOLE", 1.25),
                                            ("OPENCV", 1.25), ("FULL_OPENCV", 1.0)])
def test_colmap_itself_reads_the_model(bring_in, tmp_path, worker_python, kind, zoom):
    """Its own library, in the worker's environment: cameras, pictures and points stand where the engine has them."""
    example = replace(EXAMPLE, zoom=zoom, distortion=LENSES[kind])
    points = surface_points(example, 60)
    bring_in(example, points=points)
    export("COLMAP", tmp_path / "model")
    model = read_by_colmap(tmp_path / "model", worker_python)
    assert model["names"] == [f"plate_{13 + index:04d}.png" for index in range(6)]
    assert model["cameras"] == [[kind, *example.clip]] * (1 if zoom == 1.0 else 6)
    assert np.abs(np.array(model["places"]) - expected_poses(example)[:, :3, 3]).max() < 1e-5
    assert np.array_equal(model["colors"], colors_of(points))
    for index, seen in enumerate(model["seen"]):
        assert np.abs(np.array(seen) - projected(example, index, points)).max() < 0.01


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "zoom"), [("PINHOLE", 1.0), ("PINHOLE", 1.25),
                                            ("OPENCV", 1.0), ("FULL_OPENCV", 1.25)])
def test_colmap_reads_names_with_spaces(bring_in, tmp_path, worker_python, kind, zoom):
    """In its text a name ends at a space; its binary form is written instead, and says the same."""
    example = replace(EXAMPLE, zoom=zoom, plate_stem="my plate", distortion=LENSES[kind])
    points = surface_points(example, 60)
    bring_in(example, points=points)
    export("COLMAP", tmp_path / "model")
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["cameras.bin", "images.bin", "points3D.bin"]
    model = read_by_colmap(tmp_path / "model", worker_python)
    assert model["names"] == [f"my plate_{13 + index:04d}.png" for index in range(6)]
    assert model["cameras"] == [[kind, *example.clip]] * (1 if zoom == 1.0 else 6)
    assert np.abs(np.array(model["places"]) - expected_poses(example)[:, :3, 3]).max() < 1e-5
    assert np.array_equal(model["colors"], colors_of(points))
    for index, seen in enumerate(model["seen"]):
        assert np.abs(np.array(seen) - projected(example, index, points)).max() < 0.01


def test_colmap_names_the_pictures_of_a_movie_by_clip_frame(addon, bring_in):
    imported = bring_in()
    names = importlib.import_module(f"{addon.__name__}.scene.export.colmap").plate_names
    result = imported.shot.result
    movie = replace(imported.shot, result=replace(result, clip=replace(result.clip, kind="movie", path="/a/shot.mp4")))
    assert names(movie) == [f"shot_{frame:04d}.png" for frame in range(3, 9)]


@pytest.mark.parametrize("first_number", [1, 1001])
def test_chan_reads_back_as_poses_and_field_of_view(bring_in, tmp_path, first_number):
    bring_in(replace(EXAMPLE, first_number=first_number))
    export("CHAN", tmp_path / "camera.chan")
    table = np.array(rows(tmp_path / "camera.chan"), float)
    assert table[:, 0].tolist() == [first_number + 2 + index for index in range(6)], "as the plate is numbered"
    looks_along_z = np.diag([1.0, -1.0, -1.0])
    for row, pose, lens in zip(table, expected_poses(EXAMPLE), clip_intrinsics(EXAMPLE), strict=True):
        assert np.abs(row[1:4] - Y_UP @ pose[:3, 3]).max() < 1e-5
        angles = zip(np.radians(row[4:7]), "XYZ", strict=True)
        x, y, z = (np.array(Matrix.Rotation(angle, 3, axis)) for angle, axis in angles)
        assert np.abs(y @ x @ z - Y_UP @ pose[:3, :3] @ looks_along_z).max() < 1e-5
        assert row[7] == pytest.approx(np.degrees(2 * np.arctan(72 / 2 / lens[1])), abs=1e-4)


@pytest.mark.parametrize(("low", "format_size", "is_told"), [
    ((-14, -9), (100, 54), True), ((0, 0), (128, 72), False), ((10, 4), (160, 90), True)])
def test_chan_of_an_overscan_plate_is_for_its_format(addon, contract, bring_in, tmp_path, low, format_size, is_told):
    """Blender shows 128 x 72 pixels of each picture; a compositing program places them in the display window."""
    bring_in(replace(EXAMPLE, first_frame=1, frame_count=2))
    header = {"type": OpenEXR.scanlineimage,
              "dataWindow": (np.array(low, np.int32), np.add(low, (127, 71)).astype(np.int32)),
              "displayWindow": (np.zeros(2, np.int32), np.subtract(format_size, 1).astype(np.int32))}
    for number in (11, 12):
        channels = {"RGB": np.full((72, 128, 3), 0.5, np.float16)}
        OpenEXR.File(header, channels).write(str(tmp_path / f"over.{number}.exr"))
    folder = contract.JobFolder(tmp_path / "job")
    source = contract.ClipSource("sequence", str(tmp_path / "over.11.exr"), 11, 128, 72, 1.0, 24.0)
    folder.write_result(replace(folder.read_result(), clip=source))
    importlib.import_module(f"{addon.__name__}.scene").import_result(bpy.context.scene, tmp_path / "job")
    operator = importlib.import_module(f"{addon.__name__}.ui.operators.placing").STEREODIFF_OT_export_camera
    chosen = importlib.import_module(f"{addon.__name__}.ui.operators.base").chosen_import(bpy.context)
    told = operator.act(SimpleNamespace(kind="CHAN", filepath=str(tmp_path / "camera"), overscan=True), bpy.context,
                        chosen)
    lens = clip_intrinsics(replace(EXAMPLE, first_frame=1, frame_count=2))[0]
    expected = np.degrees(2 * np.arctan(format_size[1] / 2 / lens[1]))
    assert float(rows(tmp_path / "camera.chan")[0][7]) == pytest.approx(expected, abs=1e-4)
    said = f"Picture: {format_size[0]} x {format_size[1]} pixels"
    comment = next(line for line in (tmp_path / "camera.chan").read_text().splitlines() if said in line)
    axis = np.array(comment.rpartition(" at ")[2].split(",")[0].split(), float)
    assert axis == pytest.approx(lens[2:] + low, abs=1e-3)
    assert (f"{format_size[0]} x {format_size[1]}" in told) == is_told


def test_text_is_exact_for_other_than_square_pixels(bring_in, tmp_path):
    example = Example(raster=(64, 36), clip=(80, 60), pixel_aspect=64 / 36 * 60 / 80, zoom=1.0)
    bring_in(example)
    export("COLMAP", tmp_path / "model")
    lens = np.array(rows(tmp_path / "model" / "cameras.txt")[0][4:], float)
    assert lens == pytest.approx(clip_intrinsics(example)[0], abs=1e-3)
    export("CHAN", tmp_path / "camera.chan")
    angle = np.radians(float(rows(tmp_path / "camera.chan")[0][7]))
    assert np.tan(angle / 2) == pytest.approx(60 / 2 / clip_intrinsics(example)[0][1], rel=1e-5)


def test_angles_of_a_long_pan_do_not_jump(bring_in, tmp_path, addon):
    samples = importlib.import_module(f"{addon.__name__}.scene.camera.samples").CameraSamples
    write_chan = importlib.import_module(f"{addon.__name__}.scene.export.camera_text").write_chan
    turns = [Matrix.Rotation(np.radians(20.0 * i), 4, "Z") @ Matrix.Rotation(np.radians(85), 4, "X") for i in range(40)]
    write_chan(tmp_path / "pan.chan", samples(np.arange(40), np.array([np.array(t) for t in turns]),
                                              np.tile([60.0, 60.0, 64.0, 36.0], (40, 1)), (128, 72)), np.arange(40))
    angles = np.array(rows(tmp_path / "pan.chan"), float)[:, 4:7]
    assert np.abs(np.diff(angles, axis=0)).max() < 25.0


@pytest.mark.parametrize(("kind", "name", "words"), [
    ("CHAN", "camera.chan", ("y up", "ZXY", "vertical_fov")), ("TUM", "camera.txt", ("qx qy qz qw", "z forward")),
    ("COLMAP", "model/images.txt", ("world to camera", "z forward")),
])
def test_the_axes_stand_in_the_file_and_at_the_button(bring_in, tmp_path, kind, name, words):
    bring_in()
    export(kind, tmp_path / name.partition("/")[0])
    comments = [line for line in (tmp_path / name).read_text().splitlines() if line.startswith("#")]
    assert all(any(word in line for line in comments) for word in words)
    items = bpy.ops.stereodiff.export_camera.get_rna_type().properties["kind"].enum_items
    assert "world" in items[kind].description.lower()


# --- Blender's exporters -------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("kind", "size", "is_told"), [
    ("FBX", (72, 128), True), ("ALEMBIC", (72, 128), True), ("USD", (72, 128), False), ("FBX", (128, 72), False)])
def test_a_portrait_camera_is_sent_back_by_usd(addon, bring_in, tmp_path, kind, size, is_told):
    """Blender's importers of FBX and Alembic leave the sensor's fit to the longer side."""
    found = bring_in(replace(EXAMPLE, clip=size, raster=tuple(side // 2 for side in size)))
    operator = importlib.import_module(f"{addon.__name__}.ui.operators.placing").STEREODIFF_OT_export_camera
    chosen = importlib.import_module(f"{addon.__name__}.ui.operators.base").chosen_import(bpy.context)
    asked = SimpleNamespace(kind=kind, filepath=str(tmp_path / "camera"), overscan=True)
    assert ("right from USD" in operator.act(asked, bpy.context, chosen)) == is_told
    assert found.camera is not None


@pytest.mark.parametrize("kind", ["FBX", "ALEMBIC", "USD"])
@pytest.mark.parametrize("zoom", [1.0, 1.25])
def test_scene_formats_come_back_with_pose_and_lens(bring_in, tmp_path, kind, zoom):
    """The file holds the lens of every frame; older Blenders' own importers take only that of the first."""
    example = replace(EXAMPLE, zoom=zoom)
    sensor = bring_in(example).camera.data.sensor_width
    ending = {"FBX": "fbx", "ALEMBIC": "abc", "USD": "usdc"}[kind]
    export(kind, tmp_path / f"camera.{ending}")
    camera = imported_camera(kind, tmp_path / f"camera.{ending}")
    scene = bpy.context.scene
    looks_along_z = np.diag([1.0, -1.0, -1.0])
    lenses = clip_intrinsics(example)[slice(None) if bpy.app.version >= READS_A_MOVING_LENS[kind] else [0] * 6]
    for index, (pose, lens) in enumerate(zip(expected_poses(example), lenses, strict=True)):
        scene.frame_set(EXAMPLE.first_frame + index)
        got = np.array(camera.matrix_world)
        assert np.abs(got[:3, 3] - pose[:3, 3]).max() < 1e-4
        turn = np.array(camera.matrix_world.to_3x3().normalized())
        assert np.abs(turn - pose[:3, :3] @ looks_along_z).max() < 1e-4
        assert camera.data.lens / camera.data.sensor_width == pytest.approx(lens[0] / example.clip[0], rel=1e-4)
        assert camera.data.sensor_width == pytest.approx(sensor, rel=1e-4)
        assert (camera.data.shift_x, camera.data.shift_y) == pytest.approx(
            ((64 - lens[2]) / 128, (lens[3] - 36) / 128), abs=1e-4)


def test_what_a_build_lacks_is_said_in_words(bring_in, tmp_path, addon, monkeypatch):
    bring_in()
    module = importlib.import_module(f"{addon.__name__}.scene.export.export")
    monkeypatch.setitem(module._EXPORTERS, "FBX", ("export_scene", "of_another_build"))
    with pytest.raises(RuntimeError, match="lacks the exporter"):
        bpy.ops.stereodiff.export_camera(kind="FBX", filepath=str(tmp_path / "camera.fbx"))
    assert not (tmp_path / "camera.fbx").exists()


@pytest.mark.parametrize("kind", ["CHAN", "FBX", "ALEMBIC", "USD", "COLMAP", "TUM"])
def test_export_leaves_the_scene_as_it_was(bring_in, tmp_path, kind):
    imported = bring_in()
    scene = bpy.context.scene
    scene.frame_set(5)
    bpy.context.view_layer.objects.active = imported.root
    before = (datablocks(), scene.frame_current, [o.name for o in bpy.context.selected_objects], scene.camera,
              scene.render.resolution_x, scene.frame_start, scene.frame_end)
    export(kind, tmp_path / "out")
    assert bpy.context.scene == scene and bpy.context.active_object == imported.root
    assert before == (datablocks(), scene.frame_current, [o.name for o in bpy.context.selected_objects], scene.camera,
                      scene.render.resolution_x, scene.frame_start, scene.frame_end)


@pytest.mark.parametrize("kind", ["CHAN", "FBX", "ALEMBIC", "USD", "COLMAP", "TUM"])
def test_a_place_that_cannot_be_written_is_named(bring_in, tmp_path, kind):
    bring_in()
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RuntimeError, match="cannot be written"):
        bpy.ops.stereodiff.export_camera(kind=kind, filepath=str(tmp_path / "file" / "out"))


def test_what_the_artist_added_is_in_the_file(bring_in, tmp_path):
    """Here keys on the root: the file holds what the scene plays, at every frame."""
    imported = bring_in()
    imported.root.keyframe_insert("location", frame=3)
    imported.root.location.x += 5.0
    imported.root.keyframe_insert("location", frame=8)
    export("TUM", tmp_path / "camera.txt")
    table = np.array(rows(tmp_path / "camera.txt"), float)
    moved = table[:, 1:4] - expected_poses(EXAMPLE)[:, :3, 3]
    assert np.allclose(moved[[0, -1]], [[0, 0, 0], [5, 0, 0]], atol=1e-4)
    assert (np.diff(moved[:, 0]) > 0).all()


def test_a_nodal_pan_is_exported_without_points(bring_in, tmp_path):
    bring_in(replace(EXAMPLE, camera_kind="rotation"))
    export("COLMAP", tmp_path / "model")
    assert rows(tmp_path / "model" / "points3D.txt") == []
    export("TUM", tmp_path / "camera.txt")
    assert np.ptp(np.array(rows(tmp_path / "camera.txt"), float)[:, 1:4], axis=0).max() == 0.0
