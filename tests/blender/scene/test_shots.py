"""Several shots of one footage in one scene, the same shot again, and shots of other scenes."""

from __future__ import annotations

import importlib
import shutil
from dataclasses import replace
from pathlib import Path

import bpy
import numpy as np
import pytest
from job_folder import Example, write_job_folder
from scene_checks import datablocks, key_frames, orphans, show_frame
from solved_points import surface_points, write_points

from stereodiff_blender.engine.contract import JobFolder
from stereodiff_blender.engine.contract.footage_fingerprint import fingerprint

CLIP = Example(raster=(32, 18), clip=(64, 36), focal=30.0, frame_count=14, job_id="whole", camera_kind="static")
SHOT_A = replace(CLIP, frame_count=6, camera_kind="moving", job_id="a")
SHOT_B = replace(SHOT_A, first_frame=7, frame_count=8, job_id="b", zoom=1.0)


@pytest.fixture
def scene_module(addon):
    return importlib.import_module(f"{addon.__name__}.scene")


@pytest.fixture
def known_imports(addon):
    imports = importlib.import_module(f"{addon.__name__}.scene.data.imports")
    return lambda scene=None: imports.imports_in(scene or bpy.context.scene)


@pytest.fixture
def footage(tmp_path) -> Path:
    """Pictures 1 to 14, the same for every job."""
    write_job_folder(tmp_path / "whole", CLIP, clip_folder=tmp_path / "clip")
    return tmp_path / "clip"


@pytest.fixture
def solve(footage, tmp_path):
    """solve(example) -> its job folder; of the footage as it lies there, which the solves do not draw anew."""
    kept = {path.name: path.read_bytes() for path in footage.iterdir()}

    def run(example: Example) -> Path:
        folder = tmp_path / example.job_id
        result = write_job_folder(folder, example, clip_folder=footage)
        for name, content in kept.items():
            (footage / name).write_bytes(content)
        frames = range(example.first_frame, example.first_frame + example.frame_count)
        known = fingerprint(result.clip, frames) if example.knows_footage else ""
        JobFolder(folder).write_result(replace(result, clip=replace(result.clip, fingerprint=known)))
        write_points(folder, surface_points(example, 120))
        return folder

    return run


@pytest.fixture
def bring(solve, scene_module):
    """bring(example, scene=..., **options) -> the import of a solve."""

    def run(example: Example, scene=None, **options):
        return scene_module.import_result(scene or bpy.context.scene, solve(example), **options)

    return run


def pictures(imported) -> tuple:
    """What a scene has of an import, to see that nothing of it has changed."""
    show_frame(3)
    return (key_frames(imported.camera), key_frames(imported.camera.data), imported.camera.location.copy(),
            imported.images["depth"].filepath, imported.collection.name, imported.mesh.data.name,
            [slot.material.name for slot in imported.mesh.material_slots])


# --- Side by side ------------------------------------------------------------------------------------------------

def test_two_shots_of_one_file_live_side_by_side(bring, known_imports):
    first = bring(SHOT_A)
    before = pictures(first)
    second = bring(SHOT_B)
    assert pictures(first) == before
    assert key_frames(first.camera) == [1, 2, 3, 4, 5, 6] and key_frames(second.camera) == list(range(7, 15))
    for one, other in ((first, second), (second, first)):
        for part in ("collection", "root", "camera", "mesh"):
            assert getattr(one, part) != getattr(other, part)
        assert set(one.images.values()).isdisjoint(other.images.values())
        assert set(one.collection.objects) == {one.root, one.camera, one.mesh}
    assert (first.collection.name, second.collection.name) == ("StereoDiff plate_0001", "StereoDiff plate_0001 7-14")
    assert [list(found.scene_frames) for found in known_imports()] == [list(range(1, 7)), list(range(7, 15))]
    assert len(bpy.data.movieclips) == 1
    assert bpy.context.scene.camera == first.camera and bpy.context.scene.frame_end == 6


def test_each_shot_imported_again_is_brought_up_to_date_where_it_is(bring, known_imports):
    first, second = bring(SHOT_A), bring(SHOT_B)
    before, seen = datablocks(), pictures(second)
    again = bring(replace(SHOT_A, job_id="a again"))
    assert again.camera == first.camera and pictures(second) == seen
    assert bring(replace(SHOT_B, job_id="b again")).camera == second.camera
    assert datablocks() == before and orphans() == [] and len(known_imports()) == 2


def test_an_overlapping_range_replaces_the_one_it_shares_most_with(bring):
    first, second = bring(SHOT_A), bring(SHOT_B)
    later = bring(replace(SHOT_A, first_frame=5, frame_count=10, job_id="later"))
    assert later.camera == second.camera and key_frames(first.camera) == [1, 2, 3, 4, 5, 6]


BUTTONS = {"add_depth_group": {}, "set_up_hold_out": {}, "import_points": {"source": "SOLVED"},
           "set_origin": {"source": "GIVEN", "point_a": (1, 1, 1)}, "set_scene_to_clip": {}}


def test_what_works_on_an_import_works_on_each_of_two_shots(bring, known_imports):
    both = bring(SHOT_A), bring(SHOT_B)
    scene = bpy.context.scene
    for imported, frames in zip(both, ((1, 6), (7, 14)), strict=True):
        bpy.context.view_layer.objects.active = imported.mesh
        for operator, options in BUTTONS.items():
            assert getattr(bpy.ops.stereodiff, operator)(**options) == {"FINISHED"}, operator
        assert (scene.camera, scene.frame_start, scene.frame_end) == (imported.camera, *frames)
    tree = scene.compositing_node_group if bpy.app.version >= (5, 0, 0) else scene.node_tree
    groups = [node.node_tree for node in tree.nodes if node.bl_idname == "CompositorNodeGroup"]
    assert len(set(groups)) == 2
    read = [next(node.image for node in group.nodes if node.bl_idname == "CompositorNodeImage") for group in groups]
    assert read == [imported.images["depth"] for imported in both]
    for found, imported in zip(known_imports(), both, strict=True):
        points = found.part(scene, "points")
        assert points.parent == imported.root and found.read_imported_result() == imported.shot
        assert imported.mesh.is_holdout and imported.root.location.length > 0.1
    assert len({found.part(scene, "points") for found in known_imports()}) == 2
    seen = pictures(both[1])
    bring(replace(SHOT_A, camera_kind="rotation", job_id="turned"))
    assert pictures(both[1]) == seen and [found.mesh is None for found in known_imports()] == [True, False]


@pytest.mark.slow
def test_tracks_of_one_shot_leave_those_of_the_other(bring):
    both = bring(SHOT_A), bring(SHOT_B)
    clip = bpy.data.movieclips[0]
    counts = []
    for imported in (*both, both[0]):
        bpy.context.view_layer.objects.active = imported.mesh
        assert bpy.ops.stereodiff.write_tracks() == {"FINISHED"}
        counts.append([len(thing.tracks) for thing in clip.tracking.objects if not thing.is_camera])
    assert len(counts[0]) == 1 and len(counts[1]) == 2 and sorted(counts[2]) == sorted(counts[1])


# --- Another scene -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("example", [SHOT_B, replace(SHOT_A, job_id="a again"), SHOT_A], ids=lambda e: e.job_id)
def test_an_import_into_another_scene_takes_nothing_from_the_first(bring, known_imports, example):
    first = bring(SHOT_A)
    before, other = pictures(first), bpy.data.scenes.new("other")
    second = bring(example, scene=other)
    assert pictures(first) == before and first.camera.name not in other.objects
    assert set(other.objects) == {second.root, second.camera, second.mesh}
    assert [found.camera for found in known_imports()] == [first.camera]
    again = bring(example, scene=other)
    assert again.camera == second.camera and pictures(first) == before


def test_a_full_copy_of_a_scene_gets_a_new_solve_without_the_original(bring):
    first = bring(SHOT_A)
    before = pictures(first)
    original = bpy.context.scene
    bpy.ops.scene.new(type="FULL_COPY")
    copy = bpy.context.scene
    assert copy != original and len(copy.objects) == 3
    second = bring(replace(SHOT_A, job_id="a again", frame_count=8), scene=copy)
    assert len(copy.objects) == 3 and second.camera in set(copy.objects)
    bpy.context.window.scene = original
    assert pictures(first) == before and len(key_frames(second.camera)) == 8


# --- A better one ------------------------------------------------------------------------------------------------

LARGER = replace(SHOT_A, raster=(64, 36), focal=60.0, job_id="larger")


@pytest.mark.parametrize(("there", "small"), [
    (SHOT_A, replace(SHOT_A, first_frame=2, frame_count=3, job_id="small")),
    (LARGER, SHOT_A),
    (SHOT_A, replace(SHOT_A, quality="draft", job_id="draft")),
], ids=["fewer frames", "smaller raster", "draft"])
def test_a_small_test_does_not_replace_a_better_import_unasked(bring, contract, there, small):
    first = bring(there)
    before, blocks = pictures(first), datablocks()
    with pytest.raises(contract.StereoDiffError) as caught:
        bring(small)
    assert caught.value.code == "better_import"
    assert pictures(first) == before and datablocks() == blocks
    replaced = bring(small, replace_better=True)
    assert replaced.camera == first.camera and len(key_frames(first.camera)) == small.frame_count


@pytest.mark.parametrize("better", [replace(SHOT_A, frame_count=8, job_id="longer"), LARGER,
                                    replace(SHOT_A, first_frame=3, job_id="shifted"),
                                    replace(SHOT_A, job_id="the same again")], ids=lambda e: e.job_id)
def test_what_is_no_worse_replaces(bring, better):
    first = bring(SHOT_A)
    assert bring(better).camera == first.camera


def test_the_button_replaces_when_a_script_says_so(bring, solve):
    first = bring(SHOT_A)
    small = str(solve(replace(SHOT_A, frame_count=3, job_id="small")))
    with pytest.raises(RuntimeError, match="A better import of this shot is in the scene"):
        bpy.ops.stereodiff.import_result(directory=small)
    assert len(key_frames(first.camera)) == 6
    assert bpy.ops.stereodiff.import_result(directory=small, replace_better=True) == {"FINISHED"}
    assert key_frames(first.camera) == [1, 2, 3]


# --- Made by an earlier version ----------------------------------------------------------------------------------

def forget_what_is_new() -> None:
    """Tags as versions had them that knew footage by its path alone."""
    for blocks in (bpy.data.collections, bpy.data.objects, bpy.data.images, bpy.data.materials, bpy.data.meshes,
                   bpy.data.cameras, bpy.data.node_groups):
        for block in (block for block in blocks if "stereodiff" in block):
            for name in ("path", "fingerprint", "pictures", "name", "quality", "pixels", "clip_shape"):
                block["stereodiff"].pop(name, None)


@pytest.mark.parametrize("example", [SHOT_A, replace(SHOT_A, job_id="again")], ids=lambda e: e.job_id)
def test_an_earlier_versions_import_is_brought_up_to_date(bring, example):
    first = bring(replace(SHOT_A, knows_footage=False))
    before = datablocks()
    forget_what_is_new()
    assert bring(example).camera == first.camera and datablocks() == before


def test_another_shot_lives_beside_an_earlier_versions_import(bring):
    first = bring(replace(SHOT_A, knows_footage=False))
    forget_what_is_new()
    second = bring(SHOT_B)
    assert second.camera != first.camera and key_frames(first.camera) == [1, 2, 3, 4, 5, 6]


def test_an_earlier_versions_import_is_better_than_a_draft(bring, contract):
    bring(replace(LARGER, knows_footage=False, has_mesh_depth=False))
    forget_what_is_new()
    with pytest.raises(contract.StereoDiffError, check=lambda error: error.code == "better_import"):
        bring(SHOT_A)


# --- Which footage -----------------------------------------------------------------------------------------------

def replace_pictures(footage: Path) -> None:
    """Editorial delivers the shot again: same names, same size, other pictures."""
    write_job_folder(footage.parent / "elsewhere", replace(CLIP, principal=(-3.0, 2.0), job_id="new"),
                     clip_folder=footage)


def test_replaced_footage_is_not_put_behind_the_camera_unasked(solve, scene_module, contract, footage):
    folder = solve(SHOT_A)
    replace_pictures(footage)
    before = datablocks()
    with pytest.raises(contract.StereoDiffError) as caught:
        scene_module.import_result(bpy.context.scene, folder)
    assert caught.value.code == "footage_changed" and "plate_0001.png" in caught.value.message
    before["movieclips"] = datablocks()["movieclips"]
    assert datablocks() == before
    with pytest.raises(RuntimeError, match="The footage is not the one that was solved"):
        bpy.ops.stereodiff.import_result(directory=str(folder))
    assert bpy.ops.stereodiff.import_result(directory=str(folder), import_anyway=True) == {"FINISHED"}


def test_a_new_solve_of_replaced_footage_replaces_even_a_longer_import(bring, footage, tmp_path, scene_module):
    first = bring(SHOT_A)
    replace_pictures(footage)
    new = replace(SHOT_A, frame_count=4, job_id="new solve", principal=(-3.0, 2.0))
    write_job_folder(tmp_path / "new solve", new, clip_folder=footage)
    assert scene_module.import_result(bpy.context.scene, tmp_path / "new solve").camera == first.camera


def test_a_renamed_copy_is_known_by_what_it_holds(solve, scene_module, footage, tmp_path):
    folder = solve(SHOT_A)
    (tmp_path / "v2").mkdir()
    for path in footage.iterdir():
        shutil.move(path, tmp_path / "v2" / f"final_{int(path.stem[-4:]) + 1000}.png")
    bpy.data.movieclips.load(str(write_other(tmp_path / "other") / "plate_0001.png"))
    wanted = bpy.data.movieclips.load(str(tmp_path / "v2" / "final_1001.png"))
    imported = scene_module.import_result(bpy.context.scene, folder)
    assert imported.camera.data.background_images[0].clip == wanted
    assert Path(bpy.data.images["final_1001 plate"].filepath).name == "final_1001.png"


def write_other(folder: Path) -> Path:
    """Another shot's plate of the same name and size."""
    write_job_folder(folder / "job", replace(CLIP, principal=(-3.0, 2.0)), clip_folder=folder / "clip")
    return folder / "clip"


def test_another_shots_plate_of_the_same_name_and_size_is_not_taken(solve, scene_module, contract, footage, tmp_path):
    folder = solve(SHOT_A)
    shutil.rmtree(footage)
    other = bpy.data.movieclips.load(str(write_other(tmp_path / "other") / "plate_0001.png"))
    with pytest.raises(RuntimeError, match=r"The clip's file is not where it was"):
        bpy.ops.stereodiff.import_result(directory=str(folder))
    with pytest.raises(contract.StereoDiffError, check=lambda error: error.code == "footage_changed"):
        scene_module.import_result(bpy.context.scene, folder, clip=other)


def test_footage_that_came_back_elsewhere_is_preferred_to_what_has_its_name_now(solve, scene_module, footage, tmp_path):
    folder = solve(SHOT_A)
    shutil.copytree(footage, tmp_path / "kept")
    kept = bpy.data.movieclips.load(str(tmp_path / "kept" / "plate_0001.png"))
    replace_pictures(footage)
    bpy.data.movieclips.load(str(footage / "plate_0001.png"))
    imported = scene_module.import_result(bpy.context.scene, folder)
    assert imported.camera.data.background_images[0].clip == kept
    assert np.array_equal(imported.shot.clip_size, kept.size[:])
