"""A scene that somebody has set up stays as it is; one that nobody has touched takes over the clip."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace

import bpy
import numpy as np
import pytest
from job_folder import Example, write_job_folder
from scene_checks import key_frames, render

from stereodiff_blender.engine.contract import JobFolder

SMALL = Example(raster=(32, 18), clip=(64, 36), focal=30.0)
LONGER = replace(SMALL, frame_count=8, job_id="longer")


@pytest.fixture
def scene_module(addon):
    return importlib.import_module(f"{addon.__name__}.scene")


@pytest.fixture
def import_here(scene_module, tmp_path):
    """import_here(example, footage=..., **options) -> the import of a job folder that is written for it."""

    def run(example: Example = SMALL, footage: str = "clip", **options):
        write_job_folder(tmp_path / example.job_id, example, clip_folder=tmp_path / footage)
        return scene_module.import_result(bpy.context.scene, tmp_path / example.job_id, **options)

    return run


def state(scene: bpy.types.Scene) -> tuple:
    settings = scene.render
    return (settings.resolution_x, settings.resolution_y, settings.resolution_percentage, settings.pixel_aspect_x,
            settings.pixel_aspect_y, settings.fps, settings.fps_base, scene.frame_start, scene.frame_end,
            scene.frame_current, scene.camera)


# --- Untouched ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("is_empty", [True, False], ids=["empty", "as Blender starts"])
def test_a_scene_as_blender_makes_it_takes_over_the_clip(import_here, is_empty):
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=is_empty)
    imported, scene = import_here(), bpy.context.scene
    assert state(scene) == (64, 36, 100, 1.0, 1.0, 24, 1.0, 1, 6, 1, imported.camera) and imported.note == ""


def set_size() -> None:
    bpy.context.scene.render.resolution_x = 3840


def set_percentage() -> None:
    bpy.context.scene.render.resolution_percentage = 50


def set_rate() -> None:
    bpy.context.scene.render.fps = 25


def set_range() -> None:
    bpy.context.scene.frame_start = 1001


def key_an_object() -> None:
    thing = bpy.data.objects.new("mover", None)
    bpy.context.scene.collection.objects.link(thing)
    thing.keyframe_insert("location", frame=1)


def key_a_lamp() -> None:
    lamp = bpy.data.lights.new("lamp", "POINT")
    bpy.context.scene.collection.objects.link(bpy.data.objects.new("lamp", lamp))
    lamp.keyframe_insert("energy", frame=5)


def drive_the_scene() -> None:
    bpy.context.scene.driver_add("audio_volume")


@pytest.mark.parametrize("touch", [set_size, set_percentage, set_rate, set_range, key_an_object, key_a_lamp,
                                   drive_the_scene])
def test_a_scene_that_somebody_has_set_up_stays_as_it_is(import_here, touch: Callable[[], None]):
    touch()
    bpy.context.view_layer.update()
    scene = bpy.context.scene
    before = state(scene)
    imported = import_here()
    assert state(scene) == before
    assert imported.note.startswith("The scene stays as it is: ")
    assert "no camera, not plate_0001 camera" in imported.note


def test_importing_again_leaves_what_the_artist_has_set_since(import_here):
    imported, scene = import_here(), bpy.context.scene
    mine = bpy.data.objects.new("mine", bpy.data.cameras.new("mine"))
    scene.collection.objects.link(mine)
    scene.render.resolution_x, scene.render.resolution_y, scene.render.fps = 1920, 1080, 25
    scene.frame_start, scene.frame_end, scene.camera = 3, 9, mine
    scene.frame_set(7)
    before = state(scene)
    assert import_here(LONGER).camera == imported.camera and state(scene) == before


def test_factory_settings_with_an_import_are_nobodys_either(import_here):
    """As after an artist has put them back on purpose."""
    first, scene = import_here(), bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y, scene.frame_start, scene.frame_end = 1920, 1080, 1, 250
    first.camera.animation_data_clear()
    first.camera.data.animation_data_clear()
    before = state(scene)
    import_here(replace(LONGER, zoom=1.1), footage="elsewhere")
    assert state(scene) == before


def test_the_words_name_what_differs(import_here):
    scene = bpy.context.scene
    scene.render.fps, scene.frame_start, scene.frame_end = 25, 1001, 1100
    note = import_here().note
    assert note == (
        "The scene stays as it is: 1920 x 1080 pixels, the clip has 64 x 36; 25 frames a second, the clip has 24; "
        "frames 1001 to 1100, solved are 1 to 6; it looks through no camera, not plate_0001 camera. Camera and depth "
        "stay on the clip's frames, one picture a frame.")


# --- When it is asked for ------------------------------------------------------------------------------------------

def test_set_scene_to_clip_does_it_later(session, tmp_path):
    write_job_folder(tmp_path / "job", SMALL)
    scene = bpy.context.scene
    scene.render.fps = 25
    bpy.ops.stereodiff.import_result(directory=str(tmp_path / "job"))
    assert session.jobs.view(SMALL.job_id).import_note.startswith("The scene stays as it is")
    assert bpy.ops.stereodiff.set_scene_to_clip(job_id=SMALL.job_id) == {"FINISHED"}
    assert state(scene) == (64, 36, 100, 1.0, 1.0, 24, 1.0, 1, 6, 1, bpy.data.objects["plate_0001 camera"])
    assert session.jobs.view(SMALL.job_id).import_note == ""


def test_the_tick_box_of_the_import_does_it_at_once(tmp_path):
    write_job_folder(tmp_path / "job", SMALL)
    scene = bpy.context.scene
    scene.render.fps = 25
    assert bpy.ops.stereodiff.import_result(directory=str(tmp_path / "job"), match_scene=True) == {"FINISHED"}
    assert state(scene)[:10] == (64, 36, 100, 1.0, 1.0, 24, 1.0, 1, 6, 1) and scene.camera is not None


def test_the_scenes_own_tick_box_counts_for_new_shots_alone(settings, tmp_path):
    scene, settings.match_scene = bpy.context.scene, True
    scene.render.fps = 25
    write_job_folder(tmp_path / "job", SMALL)
    bpy.ops.stereodiff.import_result(directory=str(tmp_path / "job"))
    assert scene.render.fps == 24 and scene.frame_end == 6
    scene.render.fps, scene.frame_end = 30, 5
    bpy.ops.stereodiff.import_result(directory=str(tmp_path / "job"))
    assert scene.render.fps == 30 and scene.frame_end == 5


def test_an_unknown_rate_leaves_the_scenes_in_any_case(scene_module, tmp_path):
    result = write_job_folder(tmp_path / "job", SMALL)
    JobFolder(tmp_path / "job").write_result(replace(result, fps=0.0))
    bpy.context.scene.render.fps = 25
    imported = scene_module.import_result(bpy.context.scene, tmp_path / "job", match="ALWAYS")
    assert (bpy.context.scene.render.fps, imported.note) == (25, "")


# --- Another rate ------------------------------------------------------------------------------------------------

@pytest.mark.slow
def test_pictures_and_keys_stay_together_at_another_rate(import_here, sample_folder, tmp_path):
    """A clip shows its picture N at frame N whatever the scene's rate, and there the camera has its key N."""
    scene = bpy.context.scene
    scene.render.fps = 50
    assert key_frames(import_here().camera) == [1, 2, 3, 4, 5, 6]
    scene.render.resolution_x, scene.render.resolution_y = 160, 90
    tree, node, output = compositor(scene)
    node.clip = bpy.data.movieclips.load(str(sample_folder / "clip.mp4"))
    tree.links.new(node.outputs["Image"], output.inputs[0])
    shown = {}
    for scene.render.fps in (24, 50):
        shown[scene.render.fps] = [render(scene, tmp_path / "shown.exr", frame) for frame in (1, 2, 9)]
    assert all(np.array_equal(*pair) for pair in zip(shown[24], shown[50], strict=True))
    assert not np.array_equal(*shown[24][:2])


def compositor(scene: bpy.types.Scene) -> tuple:
    """A tree with a clip and an output."""
    if bpy.app.version >= (5, 0, 0):
        tree = scene.compositing_node_group = bpy.data.node_groups.new("comp", "CompositorNodeTree")
        tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
        return tree, tree.nodes.new("CompositorNodeMovieClip"), tree.nodes.new("NodeGroupOutput")
    scene.use_nodes = True
    scene.node_tree.nodes.clear()
    return scene.node_tree, scene.node_tree.nodes.new("CompositorNodeMovieClip"), scene.node_tree.nodes.new(
        "CompositorNodeComposite")
