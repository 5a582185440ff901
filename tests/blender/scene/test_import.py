"""Importing into a scene that is somebody's: replacing cleanly, leaving alone what is not ours, refusing early."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path

import bpy
import numpy as np
import pytest
from job_folder import Example, write_gray, write_job_folder
from mathutils import Matrix
from scene_checks import datablocks, evaluated_mesh, key_frames, orphans, show_frame

SMALL = Example(raster=(32, 18), clip=(64, 36), focal=30.0)
LONGER = replace(SMALL, frame_count=8, job_id="longer", zoom=1.0)


@pytest.fixture
def scene_module(addon):
    return importlib.import_module(f"{addon.__name__}.scene")


@pytest.fixture
def import_here(scene_module, tmp_path):
    """import_here(example, name, footage): write a job folder and import it; footage tells clips apart."""

    def run(example: Example = SMALL, name: str = "job", footage: str = "clip"):
        write_job_folder(tmp_path / name, example, clip_folder=tmp_path / footage)
        return scene_module.import_result(bpy.context.scene, tmp_path / name)

    return run


def test_everything_hangs_on_one_root_in_one_collection(import_here):
    imported = import_here()
    assert imported.collection.name == "StereoDiff plate_0001"
    assert set(imported.collection.objects) == {imported.root, imported.camera, imported.mesh}
    assert imported.camera.parent == imported.root and imported.mesh.parent == imported.camera
    assert imported.root.matrix_world == Matrix.Identity(4)
    assert imported.collection in set(bpy.context.scene.collection.children)


def test_scene_takes_over_picture_and_time_of_the_clip(import_here):
    scene = bpy.context.scene
    scene.frame_set(200)
    imported = import_here(replace(SMALL, pixel_aspect=0.5))
    render = scene.render
    assert (render.resolution_x, render.resolution_y) == (64, 36)
    assert (render.pixel_aspect_x, render.pixel_aspect_y) == (1.0, 2.0)
    assert (render.fps, render.fps_base) == (24, 1.0)
    assert (scene.frame_start, scene.frame_end, scene.frame_current) == (1, 6, 6)
    assert scene.camera == imported.camera


def test_importing_twice_changes_nothing(import_here):
    import_here()
    before = datablocks()
    imported = import_here()
    assert datablocks() == before and orphans() == []
    show_frame(3)
    assert len(evaluated_mesh(imported.mesh)[1]) > 300


def test_another_result_of_the_footage_takes_the_place(import_here):
    import_here()
    before = datablocks()
    imported = import_here(LONGER, "again")
    after = datablocks()
    assert len(after.pop("actions")) < len(before.pop("actions"))  # its lens does not move
    assert after == before and orphans() == []
    assert bpy.context.scene.frame_end == 6, "what the scene has is the artist's"
    assert Path(bpy.path.abspath(imported.images["depth"].filepath)).parent.parent.name == "again"
    show_frame(8)
    assert imported.camera.location.length == pytest.approx(np.linalg.norm([0.09, 0.03, 0.06]) * 7, rel=1e-5)


def test_the_artists_arrangement_survives_another_import(import_here):
    first = import_here()
    moved = Matrix.Translation((1, 2, 3)) @ Matrix.Rotation(0.5, 4, "Z") @ Matrix.Scale(2.0, 4)
    first.root.matrix_world = moved
    prop = bpy.data.objects.new("prop", None)
    bpy.context.scene.collection.objects.link(prop)
    prop.parent = first.camera
    follow = prop.constraints.new("COPY_LOCATION")
    follow.target = first.mesh
    second = import_here(LONGER, "again")
    bpy.context.view_layer.update()
    assert np.allclose(second.root.matrix_world, moved, atol=1e-6)
    assert prop.parent == second.camera and follow.target == second.mesh


def test_objects_are_found_where_the_artist_keeps_them(import_here):
    first = import_here()
    elsewhere = bpy.data.collections.new("cameras")
    bpy.context.scene.collection.children.link(elsewhere)
    elsewhere.objects.link(first.camera)
    first.collection.objects.unlink(first.camera)
    second = import_here(LONGER, "again")
    assert list(elsewhere.objects) == [second.camera]
    assert set(second.collection.objects) == {second.root, second.mesh}
    assert [thing.type for thing in bpy.data.objects].count("CAMERA") == 1


def test_what_the_artist_deleted_comes_back(import_here):
    first = import_here()
    bpy.data.objects.remove(first.camera)
    bpy.data.collections.remove(first.collection)
    second = import_here()
    assert set(second.collection.objects) == {second.root, second.camera, second.mesh}
    assert second.mesh.parent == second.camera and second.camera.parent == second.root


def test_another_scene_gets_an_import_of_its_own(import_here, scene_module):
    first, before = import_here(), datablocks()
    keys = len(key_frames(first.camera))
    other = bpy.data.scenes.new("other")
    second = scene_module.import_result(other, first.shot.folder)
    assert {second.collection, second.root, second.camera, second.mesh}.isdisjoint(bpy.context.scene.objects)
    assert set(other.objects) == {second.root, second.camera, second.mesh} and other.camera == second.camera
    assert len(key_frames(first.camera)) == keys and first.camera.data != second.camera.data
    again = scene_module.import_result(other, first.shot.folder)
    assert again.camera == second.camera and len(datablocks()["objects"]) == 2 * len(before["objects"])


@pytest.mark.slow
def test_two_clips_live_side_by_side(import_here):
    one, other = import_here(), import_here(LONGER, "other", footage="elsewhere")
    for imported in (one, other):
        assert {len(imported.collection.objects)} == {3}
    assert one.collection != other.collection
    assert one.images["depth"] != other.images["depth"]
    assert (bpy.context.scene.frame_start, bpy.context.scene.frame_end) == (1, 6)
    again = import_here()
    assert again.mesh == one.mesh and other.mesh.name in bpy.data.objects


def test_depth_goes_when_the_new_result_has_none(import_here):
    import_here()
    imported = import_here(replace(SMALL, camera_kind="rotation"), "turning")
    assert imported.mesh is None and set(imported.collection.objects) == {imported.root, imported.camera}
    left = datablocks()
    assert (left["images"], left["meshes"], left["materials"], left["node_groups"]) == ([], [], [], [])
    assert orphans() == []


def test_nothing_of_the_users_is_touched(import_here):
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=False)
    before = datablocks()
    cube = bpy.data.objects["Cube"]
    place = cube.matrix_world.copy()
    import_here()
    after = datablocks()
    assert all(set(names) <= set(after[kind]) for kind, names in before.items())
    assert cube.matrix_world == place and cube.users_collection[0].name == "Collection"
    assert bpy.context.scene.camera != bpy.data.objects["Camera"], "a start file is nobody's setting-up"


def test_open_clip_is_used_again(import_here, scene_module, tmp_path):
    write_job_folder(tmp_path / "job", SMALL, clip_folder=tmp_path / "clip")
    clip = bpy.data.movieclips.load(str(tmp_path / "clip" / "plate_0001.png"))
    clip.name = "my shot"
    imported = scene_module.import_result(bpy.context.scene, tmp_path / "job")
    assert list(bpy.data.movieclips) == [clip]
    assert imported.collection.name == "StereoDiff my shot"


def test_open_clip_that_begins_elsewhere_is_not_the_footage(import_here, scene_module, tmp_path):
    write_job_folder(tmp_path / "job", SMALL, clip_folder=tmp_path / "clip")
    later = bpy.data.movieclips.load(str(tmp_path / "clip" / "plate_0004.png"))
    imported = scene_module.import_result(bpy.context.scene, tmp_path / "job")
    behind = imported.camera.data.background_images[0].clip
    assert behind != later and Path(behind.filepath).name == "plate_0001.png"


def test_footage_that_was_moved_is_found_through_the_clip(scene_module, tmp_path):
    write_job_folder(tmp_path / "job", SMALL, clip_folder=tmp_path / "clip")
    (tmp_path / "clip").rename(tmp_path / "archive")
    clip = bpy.data.movieclips.load(str(tmp_path / "archive" / "plate_0001.png"))
    scene_module.import_result(bpy.context.scene, tmp_path / "job", clip=clip)
    plate = next(image for image in bpy.data.images if image.name.endswith("plate"))
    assert Path(bpy.path.abspath(plate.filepath)) == tmp_path / "archive" / "plate_0001.png"


def test_keys_and_values_of_the_artist_survive_another_import(import_here):
    lens = import_here().camera.data
    for frame, distance in ((1, 3.0), (6, 5.0)):
        lens.dof.focus_distance = distance
        lens.keyframe_insert("dof.focus_distance", frame=frame)
    relight = next(node for material in bpy.data.materials for node in material.node_tree.nodes
                   if node.label == "Relight")
    relight.outputs[0].default_value = 0.75
    before = datablocks()
    lens = import_here(replace(SMALL, job_id="again"), "again").camera.data
    assert datablocks() == before
    show_frame(1)
    assert lens.dof.focus_distance == pytest.approx(3.0)
    relight = next(node for material in bpy.data.materials for node in material.node_tree.nodes
                   if node.label == "Relight")
    assert relight.outputs[0].default_value == 0.75


def spoil_result(folder: Path, footage: Path) -> str:
    text = (folder / "result.json").read_text(encoding="utf-8")
    (folder / "result.json").write_text(text[:len(text) // 2], encoding="utf-8")
    return "result_invalid"


def remove_result(folder: Path, footage: Path) -> str:
    (folder / "result.json").unlink()
    return "result_invalid"


def remove_depth(folder: Path, footage: Path) -> str:
    (folder / "depth" / "0004.exr").unlink()
    return "result_invalid"


def spoil_depth(folder: Path, footage: Path) -> str:
    (folder / "depth" / "0001.exr").write_bytes(b"no picture")
    return "result_invalid"


def shrink_depth(folder: Path, footage: Path) -> str:
    write_gray(folder / "depth" / "0001.exr", np.ones((9, 16)))
    return "result_invalid"


def remove_footage(folder: Path, footage: Path) -> str:
    for path in footage.iterdir():
        path.unlink()
    return "clip_missing"


def spoil_footage(folder: Path, footage: Path) -> str:
    (footage / "plate_0001.png").write_text("no picture")
    return "clip_unreadable"


def open_and_remove_footage(folder: Path, footage: Path) -> str:
    bpy.data.movieclips.load(str(footage / "plate_0001.png"))
    return remove_footage(folder, footage)


@pytest.mark.parametrize("damage", [spoil_result, remove_result, remove_depth, spoil_depth, shrink_depth,
                                    remove_footage, spoil_footage, open_and_remove_footage])
def test_a_broken_folder_is_refused_before_anything_is_touched(scene_module, contract, tmp_path, damage):
    write_job_folder(tmp_path / "job", SMALL, clip_folder=tmp_path / "clip")
    code = damage(tmp_path / "job", tmp_path / "clip")
    scene, before = bpy.context.scene, datablocks()
    asked = (scene.frame_end, scene.render.resolution_x)
    with pytest.raises(contract.StereoDiffError) as caught:
        scene_module.import_result(scene, tmp_path / "job")
    assert caught.value.code == code
    assert datablocks() == before and (scene.frame_end, scene.render.resolution_x) == asked


def test_saved_beside_its_job_the_file_can_be_moved_with_it(import_here, tmp_path):
    home = tmp_path / "project"
    home.mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(home / "shot.blend"))
    imported = import_here(SMALL, "project/job", footage="project/clip")
    assert imported.images["depth"].filepath.startswith("//job")
    assert bpy.data.images["plate_0001 plate"].filepath.startswith("//clip")
    show_frame(3)
    before = evaluated_mesh(imported.mesh)[0]
    bpy.ops.wm.save_mainfile()
    moved = home.rename(tmp_path / "moved")
    bpy.ops.wm.open_mainfile(filepath=str(moved / "shot.blend"))
    show_frame(3)
    mesh = next(thing for thing in bpy.data.objects if thing.type == "MESH")
    assert np.array_equal(evaluated_mesh(mesh)[0], before)


def test_unsaved_files_keep_absolute_paths(import_here):
    assert Path(import_here().images["depth"].filepath).is_absolute()
