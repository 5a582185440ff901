"""The quality report in Blender: plots that open, markers at the frames to look at."""

from __future__ import annotations

import importlib
from dataclasses import replace

import bpy
import pytest
from job_folder import Example, write_job_folder

EXAMPLE = Example(raster=(64, 36), clip=(128, 72), first_frame=3)


@pytest.fixture
def change(addon, contract, tmp_path):
    """change(**fields) -> the example's result with other fields, imported."""
    scene_module = importlib.import_module(f"{addon.__name__}.scene")

    def run(**fields):
        folder = tmp_path / "job"
        result = write_job_folder(folder, EXAMPLE, clip_folder=tmp_path / "clip")
        made = {name: value(result) if callable(value) else value for name, value in fields.items()}
        result = replace(result, **made)
        contract.JobFolder(folder).write_result(result)
        scene_module.import_result(bpy.context.scene, folder)
        return folder

    return run


def markers() -> dict[str, int]:
    return {marker.name: marker.frame for marker in bpy.context.scene.timeline_markers}


def with_errors(result) -> tuple:
    """The fourth frame is the worst by far. A pixel of the raster is two of the plate."""
    return tuple(replace(frame, reprojection_px=0.9 if index == 3 else 0.2)
                 for index, frame in enumerate(result.frames))


def test_without_an_import_there_is_nothing_to_check(addon):
    assert not bpy.ops.stereodiff.mark_frames.poll() and not bpy.ops.stereodiff.open_plot.poll()


def test_markers_stand_where_the_solve_is_to_be_checked(change, contract):
    bpy.context.scene.timeline_markers.new("mine", frame=2)
    quality = contract.Quality(solved_share=0.8, unsolved_frames=(5, 6))
    change(frames=with_errors, quality=quality)
    assert bpy.ops.stereodiff.mark_frames() == {"FINISHED"}
    start = bpy.context.scene.collection.children_recursive
    assert start and markers()["mine"] == 2
    # Clip frame 3 is the first of the job; the import puts it where the clip has it on the timeline.
    first = importlib.import_module(bpy.types.STEREODIFF_OT_mark_frames.__module__)
    shot = first.chosen_import(bpy.context).read_imported_result()
    assert markers() == {"mine": 2, "SD interpolated": shot.scene_frame(5), "SD 1.80 px": shot.scene_frame(6)}


def test_markers_stand_where_a_part_begins_to_be_guessed(change, contract):
    guessed = (contract.GuessedRegion("left", 3, 4, 0.8), contract.GuessedRegion("right", 6, 8, 0.9))
    change(quality=contract.Quality(solved_share=1.0, guessed=guessed))
    bpy.ops.stereodiff.mark_frames()
    shot = importlib.import_module(bpy.types.STEREODIFF_OT_mark_frames.__module__).chosen_import(
        bpy.context).read_imported_result()
    assert markers() == {"SD left guessed": shot.scene_frame(3), "SD right guessed": shot.scene_frame(6)}


def test_marking_again_does_not_pile_up(change):
    change(frames=with_errors)
    for _ in range(2):
        bpy.ops.stereodiff.mark_frames()
    assert list(markers()) == ["SD 1.80 px"]


def test_windows_of_the_diffusion_are_marked(change, contract):
    refinement = contract.Refinement(640, 384, 4, 1, 2.269, 0.002, "float16", "clip", 0.001, (5,))
    change(refinement=refinement)
    bpy.ops.stereodiff.mark_frames()
    assert list(markers()) == ["SD window"]


def test_a_plot_opens_as_an_image(change, tmp_path):
    (tmp_path / "job").mkdir()
    drawn = bpy.data.images.new("drawn", 140, 42)
    drawn.file_format, drawn.filepath_raw = "PNG", str(tmp_path / "job" / "camera.png")
    drawn.save()
    bpy.data.images.remove(drawn)
    change(camera_plot="camera.png")
    assert bpy.ops.stereodiff.open_plot(plot="CAMERA") == {"FINISHED"}
    assert tuple(bpy.data.images["camera.png"].size) == (140, 42)
    with pytest.raises(RuntimeError, match="no such plot"):
        bpy.ops.stereodiff.open_plot(plot="FLICKER")


def test_a_plot_that_claims_to_be_huge_is_not_opened(change, tmp_path):
    (tmp_path / "job").mkdir()
    side = (30_000).to_bytes(4, "big")
    (tmp_path / "job" / "camera.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + side + side + bytes(99))
    change(camera_plot="camera.png")
    with pytest.raises(RuntimeError, match="no picture that could be shown"):
        bpy.ops.stereodiff.open_plot(plot="CAMERA")
    assert "camera.png" not in bpy.data.images
