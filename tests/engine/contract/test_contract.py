"""The job folder's contract: what is refused, what round-trips, and what makes a result valid."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from stereodiff_blender.engine.contract import (
    ERROR_CODES,
    WARNING_CODES,
    ClipSource,
    DiffusionSettings,
    Event,
    FrameResult,
    GuessedRegion,
    Job,
    JobFolder,
    Matte,
    Quality,
    Result,
    ResultWarning,
    Settings,
    StereoDiffError,
    WeightsUsed,
    as_matte_error,
    plate_scale,
)

IDENTITY = ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))
CLIP = ClipSource("movie", "/footage/walk.mp4")
JOB = Job("walk-1", CLIP, 11, 13, Settings(quality="draft", focal_mm=35.0, sensor_mm=36.0))


def refused(code: str, words: str | None = None):
    return pytest.raises(StereoDiffError, match=words, check=lambda error: error.code == code)


def turned_and_moved(angle: float) -> tuple[tuple[float, ...], ...]:
    c, s = math.cos(angle), math.sin(angle)
    return ((c, 0.0, s, 0.1), (0.0, 1.0, 0.0, -0.2), (-s, 0.0, c, 0.3), (0.0, 0.0, 0.0, 1.0))


@pytest.fixture
def folder(tmp_path) -> JobFolder:
    """A job folder with every product of a three-frame job in place, but no result yet."""
    folder = JobFolder(tmp_path / "walk-1")
    folder.path.mkdir()
    folder.write_job(JOB)
    for product in ("depth", "confidence", "motion_mask"):
        (folder.path / product).mkdir()
        for frame in JOB.frame_numbers:
            folder.product_file(product, frame).write_bytes(b"picture")
    for path in (folder.points_file, folder.preview_image, folder.preview_movie):
        path.write_bytes(b"product")
    return folder


@pytest.fixture
def result(folder) -> Result:
    def frame_result(index: int, frame: int) -> FrameResult:
        files = {product: folder.relative(folder.product_file(product, frame))
                 for product in ("depth", "confidence", "motion_mask")}
        camera = IDENTITY if index == 0 else turned_and_moved(0.1 * index)
        return FrameResult(frame, 500.0, 501.0, 320.0, 180.0, camera, reprojection_px=0.25, **files)

    return Result(
        job_id=JOB.id, clip=CLIP, width=640, height=360, clip_width=1920, clip_height=1080, clip_pixel_aspect=1.0,
        fps=23.976, stereo="geometric", refine="guided", camera_kind="moving",
        frames=tuple(frame_result(index, frame) for index, frame in enumerate(JOB.frame_numbers)),
        quality=Quality(solved_share=1.0, reprojection_mean_px=0.2, unsolved_frames=(12,)), depth_range=(0.5, 20.0),
        warnings=(ResultWarning("weak_focal", "The lens is a guess."),),
        weights=(WeightsUsed("none", "GPL-3.0", True),), points="points.ply", preview_image="preview.png",
        preview_movie="preview.mp4", timings_s={"read": 0.5})


# --- Errors ----------------------------------------------------------------------------------------------------

def test_error_and_warning_codes_do_not_overlap():
    assert not ERROR_CODES & WARNING_CODES


def test_an_error_needs_a_known_code():
    with pytest.raises(ValueError, match="sunspots"):
        StereoDiffError("sunspots", "The sun was too active.")


# --- Settings and job ------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("change", "word"), [
    ({"stereo": "stereoscope"}, "stereo"), ({"refine": ""}, "refine"), ({"quality": "best"}, "quality"),
    ({"max_side_px": 63}, "max_side_px"), ({"max_side_px": 4097}, "max_side_px"), ({"max_side_px": -1}, "max_side_px"),
    ({"focal_mm": 35.0}, "together"), ({"sensor_mm": 36.0}, "together"),
    ({"focal_mm": 0.0, "sensor_mm": 36.0}, "lens"), ({"focal_mm": 35.0, "sensor_mm": -36.0}, "lens"),
    ({"exposure_ev": 21.0}, "exposure_ev"), ({"max_megapixels": 0}, "max_megapixels"),
    ({"max_megapixels": 1001}, "max_megapixels"), ({"principal_point_px": (960.0, 540.0)}, "principal_point_px"),
    ({"focal_mm": 35.0, "sensor_mm": 36.0, "principal_point_px": (960.0, float("nan"))}, "principal_point_px"),
    ({"focal_mm": 35.0, "sensor_mm": 36.0, "distortion": (0.1,)}, "distortion"),
    ({"focal_mm": 35.0, "sensor_mm": 36.0, "distortion": (0.1, 0.0, 0.0, 0.0)}, "3 or 5"),
    ({"focal_mm": 35.0, "sensor_mm": 36.0, "distortion": (0.1, 0.0, 0.0, 0.0, float("inf"))}, "distortion"),
    ({"focal_mm": 35.0, "sensor_mm": 36.0, "distortion": (0.1, 0.0, 0.0, 0.0, 0.0), "is_fisheye": True}, "4 finite"),
    ({"focal_mm": 35.0, "sensor_mm": 36.0, "is_fisheye": True}, "fisheye"),
    ({"readout": 0.5, "stereo": "monst3r"}, "MonST3R"),
    ({"readout": 1.01}, "readout"), ({"readout": -1.5}, "readout"), ({"readout": float("nan")}, "readout"),
    ({"depth_size": "4K"}, "depth_size"),
    ({"device": "gpu"}, "device"), ({"device": "cuda:x"}, "device"), ({"device": "cpu:1"}, "device"),
])
def test_settings_out_of_range_are_named(change, word):
    with refused("settings_invalid", word):
        replace(Settings(), **change).validate()


@pytest.mark.parametrize("distortion", [(-0.1, 0.02, 0.0), (-0.1, 0.02, 0.0, 0.001, -0.002), (0.1, 0.0, 0.0, 0.0),
                                        None])
@pytest.mark.parametrize("readout", [None, 0.0, -1.0, 0.5])
def test_a_known_lens_is_kept_whole(distortion, readout, folder):
    """Also of three coefficients, as earlier versions wrote it."""
    is_fisheye = distortion is not None and len(distortion) == 4
    settings = replace(JOB.settings, distortion=distortion, readout=readout, is_fisheye=is_fisheye)
    job = replace(JOB, settings=settings)
    job.validate()
    folder.write_job(job)
    assert folder.read_job() == job


@pytest.mark.parametrize(("change", "word"), [
    ({"preset": "best"}, "preset"), ({"schedule": "zero"}, "schedule"), ({"noise_level": 0.0}, "noise_level"),
    ({"noise_level": 701.0}, "noise_level"), ({"ensemble": 0}, "ensemble"), ({"ensemble": 17}, "ensemble"),
    ({"keep_static": -0.1}, "keep_static"), ({"keep_static": 1.1}, "keep_static"),
])
def test_settings_of_the_diffusion_out_of_range_are_named(change, word):
    with refused("settings_invalid", word):
        replace(Settings(), diffusion=replace(DiffusionSettings(), **change)).validate()


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:1", "mps"])
def test_devices(device):
    Settings(device=device).validate()


def test_working_side_follows_the_preset_unless_it_is_set():
    assert Settings(quality="draft").working_side_px < Settings(quality="high").working_side_px
    assert Settings(quality="draft", max_side_px=800).working_side_px == 800


@pytest.mark.parametrize(("change", "code"), [
    ({"first_frame": 0}, "frame_range_invalid"), ({"last_frame": 10}, "frame_range_invalid"),
    ({"last_frame": 11}, "clip_too_short"), ({"clip": ClipSource("tape", "/x")}, "job_invalid"),
    ({"settings": Settings(seed=0, quality="best")}, "settings_invalid"),
])
def test_impossible_jobs_are_refused(change, code):
    with refused(code):
        replace(JOB, **change).validate()


def test_job_round_trips(folder):
    assert folder.read_job() == JOB
    assert list(JOB.frame_numbers) == [11, 12, 13]


@pytest.mark.parametrize("matte", [
    Matte("shapes", invert=True), Matte("pictures", ClipSource("sequence", "/m/m.1001.exr", 1001), first_frame=-4),
])
def test_a_job_with_a_matte_round_trips(folder, matte):
    folder.write_job(replace(JOB, matte=matte))
    assert folder.read_job().matte == matte


@pytest.mark.parametrize("matte", [Matte("pictures"), Matte("shapes", CLIP), Matte("roto")])
def test_a_matte_that_contradicts_itself(matte):
    with refused("job_invalid"):
        replace(JOB, matte=matte).validate()


def test_a_mattes_own_frames():
    assert Matte("pictures", CLIP, first_frame=5).footage_frames(range(11, 14)) == range(7, 10)
    assert Matte("pictures", CLIP, first_frame=-1).footage_frames(range(1, 3)) == range(3, 5)


def test_a_clips_fault_is_the_mattes_where_it_is_the_matte():
    """Every code that reading footage can raise has one of the matte's; others stay what they are."""
    for code in sorted(ERROR_CODES):
        told = as_matte_error(StereoDiffError(code, "Frame 3."))
        is_footage = code.startswith(("clip_", "sequence_", "frame_range_"))
        assert told.code.startswith("matte_") == (is_footage or code.startswith("matte_")), code
    assert as_matte_error(StereoDiffError("clip_truncated", "Frame 3.")).message == "The matte cannot be used: Frame 3."


def test_a_folder_without_a_job(tmp_path):
    with refused("job_missing"):
        JobFolder(tmp_path).read_job()


@pytest.mark.parametrize("spoil", [
    lambda data: data.update(extra=1), lambda data: data.pop("clip"), lambda data: data.update(schema_version=2),
    lambda data: data.update(first_frame="11"), lambda data: data["settings"].update(color="red"),
])
def test_a_job_file_that_is_not_ours(folder, spoil):
    data = json.loads(folder.job_file.read_text())
    spoil(data)
    folder.job_file.write_text(json.dumps(data))
    with refused("job_invalid"):
        folder.read_job()


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\x00"])
def test_a_job_file_that_is_no_json_object(folder, text):
    folder.job_file.write_text(text)
    with refused("job_invalid"):
        folder.read_job()


# --- Result ----------------------------------------------------------------------------------------------------

def test_result_round_trips_exactly(folder, result):
    folder.write_result(result)
    assert folder.read_result() == result


def test_lengths_in_pixels_of_the_plate(folder, result):
    """In the file they stay those of the raster, as in jobs of earlier versions."""
    folder.write_result(result)
    read = folder.read_result()
    assert read.quality.reprojection_mean_px == 0.2 and read.plate_scale == 3.0
    assert read.plate_quality == replace(read.quality, reprojection_mean_px=pytest.approx(0.6))
    assert read.plate_quality.reprojection_worst_px is None


@pytest.mark.parametrize(("raster", "clip", "scale"), [
    ((640, 360), (640, 360), 1.0), ((640, 360), (3840, 2160), 6.0), ((64, 64), (32, 32), 0.5),
    ((640, 360), (1920, 540 * 4), math.sqrt((9 + 36) / 2)),
])
def test_a_squeezed_plate_has_the_root_mean_square_of_both_scales(raster, clip, scale):
    assert plate_scale(raster, clip) == pytest.approx(scale)


def test_a_result_that_does_not_validate_is_not_written(folder, result):
    with refused("result_invalid"):
        folder.write_result(replace(result, frames=result.frames[:-1]))
    assert not folder.result_file.exists()


def with_frame(result: Result, index: int, **change) -> Result:
    frames = list(result.frames)
    frames[index] = replace(frames[index], **change)
    return replace(result, frames=tuple(frames))


MIRROR = ((-1.0, 0.0, 0.0, 0.0), *IDENTITY[1:])
STRETCHED = ((1.1, 0.0, 0.0, 0.0), *IDENTITY[1:])
UNFINISHED = (*IDENTITY[:3], (0.0, 0.0, 0.0, 2.0))


@pytest.mark.parametrize(("spoil", "words"), [
    (lambda r: replace(r, frames=r.frames[1:]), "frames"),
    (lambda r: replace(r, frames=(r.frames[0], r.frames[0], r.frames[2])), "frames"),
    (lambda r: replace(r, width=0), "size"),
    (lambda r: replace(r, clip_pixel_aspect=0.0), "size"),
    (lambda r: replace(r, camera_kind="drone"), "camera kind"),
    (lambda r: with_frame(r, 0, camera_to_world=turned_and_moved(0.1)), "first camera"),
    (lambda r: with_frame(r, 1, camera_to_world=MIRROR), "reflection"),
    (lambda r: with_frame(r, 1, camera_to_world=STRETCHED), "rigid"),
    (lambda r: with_frame(r, 1, camera_to_world=UNFINISHED), "last row"),
    (lambda r: with_frame(r, 1, camera_to_world=IDENTITY[:3]), "last row"),
    (lambda r: with_frame(r, 2, fx=0.0), "focal"),
    (lambda r: with_frame(r, 2, depth="../walk-1/depth/0013.exr"), "inside"),
    (lambda r: with_frame(r, 2, depth="/etc/passwd"), "inside"),
    (lambda r: with_frame(r, 2, depth="depth\\0013.exr"), "inside"),
    (lambda r: replace(r, depth_range=(2.0, 1.0)), "depth range"),
    (lambda r: replace(r, depth_range=(0.0, 1.0)), "depth range"),
    (lambda r: replace(r, depth_range=None), "together"),
    (lambda r: replace(r, points="dots.ply"), "dots.ply"),
])
def test_an_invalid_result_says_why(folder, result, spoil, words):
    with refused("result_invalid", words):
        spoil(result).validate(folder.path)


def test_an_empty_product_is_no_product(folder, result):
    folder.product_file("depth", 12).write_bytes(b"")
    with refused("result_invalid", "0012"):
        result.validate(folder.path)


def test_a_result_without_depth_is_complete_for_a_camera_that_only_turns(folder, result):
    for index in range(len(result.frames)):
        result = with_frame(result, index, depth=None, confidence=None, motion_mask=None)
    result = replace(result, camera_kind="rotation", depth_range=None)
    folder.write_result(result)
    assert folder.read_result() == result


@pytest.mark.parametrize("text", ["", "{}", '{"schema_version": 1}', '{"schema_version": 99}'])
def test_a_result_file_that_is_not_ours(folder, text):
    folder.result_file.write_text(text)
    with refused("result_invalid"):
        folder.read_result()


def test_numbers_that_are_none_do_not_pass(folder, result):
    folder.write_result(result)
    text = folder.result_file.read_text()
    folder.result_file.write_text(text.replace("500.0", "NaN"))
    with refused("result_invalid", "finite"):
        folder.read_result()


# --- Events ----------------------------------------------------------------------------------------------------

def test_events_are_read_once_each(folder):
    started = Event("started", 1.0, pid=7, plan=(("read", 0.5), ("write", 0.5)))
    folder.append_event(started)
    events, offset = folder.read_events()
    assert events == [started]
    assert folder.read_events(offset) == ([], offset)
    folder.append_event(Event("progress", 2.0, stage="read", done=1, total=2))
    events, end = folder.read_events(offset)
    assert [event.done for event in events] == [1] and end > offset


def test_a_half_written_line_waits(folder):
    line = '{"kind": "stage", "time_s": 1.0, "stage": "read", "total": 3}\n'
    folder.events_file.write_text(line[:20])
    assert folder.read_events() == ([], 0)
    folder.events_file.write_text(line)
    assert [event.stage for event in folder.read_events()[0]] == ["read"]


def test_lines_that_are_no_events_are_passed_over(folder):
    lines = ["garbage", '{"kind": "dance", "time_s": 1.0}', "[1]", '{"kind": "finished", "time_s": 2.0}']
    folder.events_file.write_text("\n".join(lines) + "\n")
    assert [event.kind for event in folder.read_events()[0]] == ["finished"]


def test_a_folder_without_events(folder):
    assert folder.read_events() == ([], 0)


def test_files_are_numbered_by_clip_frame(folder):
    assert folder.relative(folder.product_file("depth", 7)) == "depth/0007.exr"
    assert folder.relative(folder.product_file("depth", 123456)) == "depth/123456.exr"


# --- Depth at the plate's size -----------------------------------------------------------------------------------

def with_plate_depth(folder: JobFolder, result: Result) -> Result:
    (folder.path / "plate_depth").mkdir()
    for frame in result.frames:
        folder.product_file("plate_depth", frame.frame).write_bytes(b"picture")
    frames = tuple(replace(frame, plate_depth=f"plate_depth/{frame.frame:04d}.exr") for frame in result.frames)
    return replace(result, frames=frames, plate_size=(1920, 1080))


def test_depth_at_the_plates_size_is_kept_and_read(folder, result):
    whole = with_plate_depth(folder, result)
    folder.write_result(whole)
    assert folder.read_result() == whole


def test_a_result_without_it_says_nothing_that_earlier_versions_do_not_know(folder, result):
    folder.write_result(result)
    written = json.loads(folder.result_file.read_text())
    assert "plate_size" not in written
    assert not {"plate_depth", "mesh_depth"} & set(written["frames"][0])
    assert folder.read_result() == result


def with_edges(folder: JobFolder, result: Result) -> Result:
    (folder.path / "edge").mkdir()
    for frame in result.frames:
        folder.product_file("edge", frame.frame).write_bytes(b"picture")
    return replace(result, frames=tuple(replace(frame, edge=f"edge/{frame.frame:04d}.exr") for frame in result.frames))


def test_edges_are_kept_and_read_and_not_named_where_there_are_none(folder, result):
    without = with_plate_depth(folder, result)
    folder.write_result(without)
    assert "edge" not in json.loads(folder.result_file.read_text())["frames"][0]
    whole = with_edges(folder, without)
    folder.write_result(whole)
    assert folder.read_result() == whole


def test_edges_without_depth_of_their_size_are_refused(folder, result):
    with refused("result_invalid"):
        folder.write_result(with_edges(folder, result))


@pytest.mark.parametrize("change", [
    lambda result: replace(result, plate_size=None), lambda result: replace(result, plate_size=(0, 1080)),
    lambda result: replace(result, frames=(replace(result.frames[0], plate_depth=None), *result.frames[1:])),
    lambda result: replace(result, frames=(*result.frames[:2], replace(result.frames[2], plate_depth="away.exr")))])
def test_half_of_it_is_refused(folder, result, change):
    whole = with_plate_depth(folder, result)
    with refused("result_invalid"):
        folder.write_result(change(whole))


# --- What the mesh plays from ------------------------------------------------------------------------------------

def test_a_picture_for_the_mesh_belongs_to_every_frame_with_depth_or_to_none(folder, result):
    (folder.path / "mesh_depth").mkdir()
    for frame in result.frames:
        folder.product_file("mesh_depth", frame.frame).write_bytes(b"picture")
    frames = tuple(replace(frame, mesh_depth=f"mesh_depth/{frame.frame:04d}.exr") for frame in result.frames)
    folder.write_result(replace(result, frames=frames))
    assert folder.read_result().frames == frames
    with refused("result_invalid"):
        folder.write_result(replace(result, frames=(*frames[:-1], replace(frames[-1], mesh_depth=None))))


# --- Where depth is guessed --------------------------------------------------------------------------------------

def with_guessed(result: Result, *guessed: GuessedRegion) -> Result:
    return replace(result, quality=replace(result.quality, guessed=guessed))


def test_what_is_guessed_is_kept_and_read_and_left_out_where_nothing_is(folder, result):
    folder.write_result(result)
    assert "guessed" not in json.loads(folder.result_file.read_text())["quality"]
    assert folder.read_result() == result
    whole = with_guessed(result, GuessedRegion("left", result.frames[0].frame, result.frames[1].frame, 0.75))
    folder.write_result(whole)
    assert folder.read_result() == whole


@pytest.mark.parametrize("guessed", [
    lambda first, last: (GuessedRegion("corner", first, last, 0.5),),
    lambda first, last: (GuessedRegion("left", first - 1, last, 0.5),),
    lambda first, last: (GuessedRegion("left", first, last + 1, 0.5),),
    lambda first, last: (GuessedRegion("left", last, first, 0.5),),
    lambda first, last: (GuessedRegion("left", first, last, 0.5),) * 101])
def test_guesses_of_other_frames_or_parts_are_refused(folder, result, guessed):
    with refused("result_invalid"):
        folder.write_result(with_guessed(result, *guessed(result.frames[0].frame, result.frames[-1].frame)))
