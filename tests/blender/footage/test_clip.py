"""MovieClip to ClipSource, on real files."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import bpy
import pytest
from job_folder import write_sequence

from stereodiff_blender.engine.contract import ClipSource
from stereodiff_blender.engine.contract.footage_fingerprint import fingerprint


@pytest.fixture
def clips(addon):
    return addon.ui.operators.solve.clips


@pytest.fixture
def movie(sample_folder) -> bpy.types.MovieClip:
    return bpy.data.movieclips.load(str(sample_folder / "clip.mp4"))


def test_sequence(clips, sequence, tmp_path):
    source = clips.clip_source(sequence, sequence_fps=25.0)
    assert source.kind == "sequence"
    assert Path(source.path) == tmp_path / "footage" / "plate_0001.png"
    assert (source.first_number, source.width, source.height, source.fps) == (1, 96, 72, 25.0)
    assert source.pixel_aspect == 0.0


def test_sequence_that_is_opened_at_a_later_file(clips, tmp_path):
    first = write_sequence(tmp_path, first=101, count=8, stem="shot_v2_")
    clip = bpy.data.movieclips.load(str(first.with_name("shot_v2_0103.png")))
    source = clips.clip_source(clip)
    assert (source.first_number, Path(source.path).name) == (103, "shot_v2_0103.png")
    assert clips.footage_range(clip) == (1, 6)


def test_frame_offset_skips_the_head(clips, tmp_path):
    clip = bpy.data.movieclips.load(str(write_sequence(tmp_path, first=998, count=6)))
    clip.frame_offset = 3
    source = clips.clip_source(clip)
    assert (source.first_number, Path(source.path).name) == (1001, "plate_1001.png")
    assert clips.footage_range(clip) == (1, 3)


def test_movie(clips, movie, sample_folder):
    movie.frame_offset = 2
    source = clips.clip_source(movie, sequence_fps=25.0)
    assert (source.kind, Path(source.path), source.first_number) == ("movie", sample_folder / "clip.mp4", 2)
    assert (source.width, source.height) == tuple(movie.size) == (640, 360)
    assert source.fps == 0.0, "Blender rounds the rate, so the worker asks the file"
    assert clips.footage_range(movie) == (1, movie.frame_duration - 2)


def test_pixel_aspect_set_by_the_artist(clips, sequence):
    sequence.display_aspect = (1.5, 1.0)
    assert clips.clip_source(sequence).pixel_aspect == 1.5


def test_color_space_and_who_knows_it(clips, sequence, tmp_path, monkeypatch):
    source = clips.clip_source(sequence)
    assert source.color_space == "sRGB" and Path(source.ocio_config).name == "config.ocio"
    assert Path(source.ocio_config).is_file()
    sequence.colorspace_settings.name = "ACEScg"
    assert clips.clip_source(sequence).color_space == "ACEScg"
    monkeypatch.setenv("OCIO", str(tmp_path / "show.ocio"))
    assert clips.clip_source(sequence).ocio_config == str(tmp_path / "show.ocio")


def test_relative_path(clips, sequence, tmp_path):
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"), check_existing=False)
    sequence.filepath = bpy.path.relpath(sequence.filepath)
    assert sequence.filepath.startswith("//")
    assert Path(clips.clip_source(sequence).path) == tmp_path / "footage" / "plate_0001.png"


def test_path_relative_to_a_library(clips, sequence, tmp_path):
    sequence.filepath, name = str(tmp_path / "footage" / "plate_0001.png"), sequence.name
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "library.blend"), check_existing=False)
    sequence.filepath = bpy.path.relpath(sequence.filepath)
    sequence.use_fake_user = True
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "library.blend"), check_existing=False)
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    with bpy.data.libraries.load(str(tmp_path / "library.blend"), link=True) as (_, wanted):
        wanted.movieclips = [name]
    source = clips.clip_source(bpy.data.movieclips[0])
    assert Path(source.path) == tmp_path / "footage" / "plate_0001.png"


def refused(clips, clip) -> str:
    with pytest.raises(Exception) as caught:
        clips.clip_source(clip)
    assert len(caught.value.message) > 20
    return caught.value.code


def test_file_that_went_away(clips, sequence, tmp_path):
    shutil.rmtree(tmp_path / "footage")
    assert refused(clips, sequence) == "clip_missing"


def test_empty_file(clips, sequence, tmp_path):
    (tmp_path / "footage" / "plate_0001.png").write_bytes(b"")
    assert refused(clips, sequence) == "clip_empty"


def test_single_picture(clips, tmp_path):
    first = write_sequence(tmp_path, count=1)
    still = first.rename(first.with_name("still.png"))
    assert refused(clips, bpy.data.movieclips.load(str(still))) == "clip_too_short"


def test_negative_frame_offset(clips, sequence):
    sequence.frame_offset = -1
    assert refused(clips, sequence) == "frame_range_invalid"


@pytest.mark.parametrize(("first", "last"), [(1, 7), (0, 3), (4, 3)])
def test_range_outside_the_footage(clips, sequence, first, last):
    with pytest.raises(Exception, match="plate_0001.png has 1 to 6") as caught:
        clips.check_range(sequence, first, last)
    assert caught.value.code == "frame_range_invalid"


def test_a_range_outside_is_told_by_the_files_numbers(clips, tmp_path):
    clip = bpy.data.movieclips.load(str(write_sequence(tmp_path, first=1001)))
    with pytest.raises(Exception, match="Frames 1001 to 1007 were asked for, plate_1001.png has 1001 to 1006"):
        clips.check_range(clip, 1, 7)


@pytest.mark.parametrize(("missing", "named"), [([4], "1004"), ([2, 4, 6], "1002"), ([3, 4], "1003")])
def test_a_gap_is_refused_as_on_the_command_line(clips, tmp_path, missing, named):
    """Blender lets the clip end at the gap, so what it says of the length cannot be gone by."""
    clip = bpy.data.movieclips.load(str(write_sequence(tmp_path, first=1001, count=8)))
    for number in missing:
        (tmp_path / f"plate_{1000 + number}.png").unlink()
    assert clips.footage_range(clip) == (1, 8)
    with pytest.raises(Exception, match=f"Frame {named} is missing: there is no plate_{named}.png") as caught:
        clips.check_range(clip, 1, 8)
    assert caught.value.code == "sequence_gap"
    clips.check_range(clip, 7, 8)


def test_a_sequence_that_grows_is_as_long_as_blender_shows_it(clips, tmp_path):
    clip = bpy.data.movieclips.load(str(write_sequence(tmp_path, first=1001, count=4)))
    assert clip.frame_duration == 4
    write_sequence(tmp_path, first=1001, count=6)
    assert clips.footage_range(clip) == (1, 4)
    clip = bpy.data.movieclips.load(str(tmp_path / "plate_1001.png"))
    assert clips.footage_range(clip) == (1, 6)


def test_footage_numbers(clips, movie, tmp_path):
    clip = bpy.data.movieclips.load(str(write_sequence(tmp_path, first=1001)))
    clip.frame_offset = 2
    assert clips.shown_range(clip) == (1, 4)
    assert clips.number_of_clip_frame(clip, 1) == 1003 and clips.clip_frame_of_number(clip, 1006) == 4
    movie.frame_offset = 2
    assert clips.number_of_clip_frame(movie, 5) == clips.clip_frame_of_number(movie, 5) == 5


@pytest.mark.parametrize("stem", ["IMG_202611281806", "sh010.-"])
def test_names_that_blender_reads_another_way_are_refused(clips, tmp_path, stem):
    write_sequence(tmp_path, stem="sh010.", first=0, count=2)
    clip = bpy.data.movieclips.load(str(write_sequence(tmp_path, stem=stem, first=30120, count=2)))
    assert refused(clips, clip) == "sequence_misnamed"
    assert clips.number_of_clip_frame(clip, 1) >= 1


def test_clip_without_a_picture(clips, tmp_path):
    (tmp_path / "text.mp4").write_text("not a movie")
    clip = bpy.data.movieclips.load(str(tmp_path / "text.mp4"))
    with pytest.raises(Exception, match="no picture") as caught:
        clips.check_range(clip, *clips.footage_range(clip))
    assert caught.value.code == "clip_unreadable"


def test_scene_frames(clips, sequence):
    sequence.frame_start = 101
    assert clips.scene_frame_from_clip_frame(sequence, 1) == 101


def test_editor_clip_is_taken_when_none_is_chosen(clips, sequence, settings):
    area = bpy.context.window_manager.windows[0].screen.areas[0]
    area.type = "CLIP_EDITOR"
    area.spaces.active.clip = sequence
    with bpy.context.temp_override(window=bpy.context.window_manager.windows[0], area=area):
        assert clips.chosen_clip(bpy.context) == sequence
        other = settings.clip = sequence.copy()
        assert clips.chosen_clip(bpy.context) == other


# --- Which open clip shows a job's footage -------------------------------------------------------------------------

FRAMES = range(2, 6)


def known(clip: bpy.types.MovieClip, clips) -> ClipSource:
    """As a job knows it."""
    source = ClipSource(**vars(clips.clip_source(clip)))
    return replace(source, fingerprint=fingerprint(source, FRAMES))


def test_a_moved_and_renumbered_copy_is_recognized(clips, sequence, tmp_path):
    source = known(sequence, clips)
    bpy.data.movieclips.remove(sequence)
    (tmp_path / "copy").mkdir()
    for path in (tmp_path / "footage").iterdir():
        path.rename(tmp_path / "copy" / f"v2.{int(path.stem[-4:]) + 1000}.png")
    copy = bpy.data.movieclips.load(str(tmp_path / "copy" / "v2.1001.png"))
    assert clips.open_clip(source, FRAMES) == copy


def test_another_plate_of_the_same_name_and_size_is_not_taken(clips, sequence, tmp_path):
    source = known(sequence, clips)
    shutil.move(tmp_path / "footage", tmp_path / "gone")
    shutil.copytree(tmp_path / "gone", tmp_path / "other")
    for path in (tmp_path / "other").iterdir():
        path.write_bytes(path.read_bytes() + b"another")
    bpy.data.movieclips.load(str(tmp_path / "other" / "plate_0001.png"))
    assert clips.open_clip(source, FRAMES) is None
    assert clips.open_clip(replace(source, fingerprint=""), FRAMES) is not None, "an earlier version knows no better"


def test_what_holds_the_footage_is_preferred_to_what_has_its_path(clips, sequence, tmp_path):
    source = known(sequence, clips)
    shutil.copytree(tmp_path / "footage", tmp_path / "kept")
    for path in (tmp_path / "footage").iterdir():
        path.write_bytes(path.read_bytes() + b"replaced")
    assert clips.open_clip(source, FRAMES) == sequence, "it is the clip of that job, whatever it shows now"
    kept = bpy.data.movieclips.load(str(tmp_path / "kept" / "plate_0001.png"))
    assert clips.open_clip(source, FRAMES) == kept


def test_a_solve_notes_what_the_footage_holds(clips, sequence, settings, worker_like, contract):
    worker_like("finish")
    settings.clip, settings.use_clip_range, settings.first_frame, settings.last_frame = sequence, False, 2, 5
    bpy.ops.stereodiff.solve(wait=False)
    job = contract.JobFolder(settings.jobs[0].folder).read_job()
    assert job.clip.fingerprint == known(sequence, clips).fingerprint != ""
