"""Parts of the worker: exceptions become codes, events keep their pace, points get their colors."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import movie_source, write_linear_exr, write_movie, write_stills
from recording_report import RecordingReport

from stereodiff_blender.engine.contract import Job, JobFolder, Settings, StereoDiffError
from stereodiff_blender.engine.contract.failures import error_from_exception
from stereodiff_blender.engine.media.color import expose
from stereodiff_blender.engine.media.frames import ClipInfo, Raster, source_from_path
from stereodiff_blender.engine.parallel import Cores
from stereodiff_blender.engine.solution import CameraSolution
from stereodiff_blender.engine.storage.scratch import DiskScratch
from stereodiff_blender.engine.worker import run as worker_run
from stereodiff_blender.engine.worker.event_report import EventReport
from stereodiff_blender.engine.worker.known_cameras import known_lens
from stereodiff_blender.engine.worker.publication import as_filmed, point_colors
from stereodiff_blender.engine.worker.reading import Request, exposed
from stereodiff_blender.engine.worker.run import plan_of

# --- Errors ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("error", "code"), [
    (StereoDiffError("clip_missing", "gone"), "clip_missing"),
    (MemoryError(), "out_of_memory"),
    (np._core._exceptions._ArrayMemoryError((1 << 40,), np.dtype("f8")), "out_of_memory"),
    (OSError(errno.ENOMEM, "no memory"), "out_of_memory"),
    (OSError(errno.ENOSPC, "full"), "disk_full"),
    (OSError(errno.EDQUOT, "quota"), "disk_full"),
    (PermissionError(errno.EACCES, "no", "/out"), "output_not_writable"),
    (OSError(errno.EROFS, "read-only", "/out"), "output_not_writable"),
    (NotADirectoryError(errno.ENOTDIR, "no folder", "/out"), "output_not_writable"),
    (KeyError("depth"), "internal_error"),
    (RuntimeError("unexpected"), "internal_error"),
])
def test_every_exception_has_a_code(error, code):
    assert error_from_exception(error).code == code


def test_opencv_without_memory_is_told_from_opencv_in_error():
    with pytest.raises(cv2.error) as refused:
        cv2.resize(np.zeros((4, 4), np.uint8), (-1, 4))
    assert error_from_exception(refused.value).code == "internal_error"
    refused.value.code = cv2.Error.StsNoMem
    assert error_from_exception(refused.value).code == "out_of_memory"


def test_torch_without_memory():
    torch = pytest.importorskip("torch")
    assert error_from_exception(torch.OutOfMemoryError("CUDA out of memory")).code == "out_of_memory"


def test_an_internal_error_shows_no_innards():
    message = error_from_exception(KeyError("secret/path")).message
    assert "secret" not in message and "KeyError" in message


# --- Events ----------------------------------------------------------------------------------------------------

@pytest.fixture
def folder(tmp_path) -> JobFolder:
    return JobFolder(tmp_path)


def test_fast_progress_is_thinned_but_never_loses_its_end(folder):
    report = EventReport(folder)
    report.stage("depth", 2000)
    for done in range(1, 2001):
        report.progress(done)
    events = [event for event in folder.read_events()[0] if event.kind == "progress"]
    assert len(events) < 400
    assert (events[-1].stage, events[-1].done, events[-1].total) == ("depth", 2000, 2000)


def test_every_event_is_seen_by_the_watcher(folder):
    seen = []
    report = EventReport(folder, seen.append)
    report.started(plan_of(Settings()))
    report.warn("weak_focal", "The lens is a guess.")
    report.finished()
    assert seen == folder.read_events()[0]
    assert seen[0].pid == os.getpid()
    assert [(warning.code, warning.message) for warning in report.warnings] == [("weak_focal", "The lens is a guess.")]


def test_notes_are_events_and_no_warnings(folder):
    report = EventReport(folder)
    report.note("110 frames at once.")
    events = folder.read_events()[0]
    assert [(event.kind, event.message) for event in events] == [("note", "110 frames at once.")]
    assert report.warnings == ()


def test_an_unknown_warning_is_a_fault(folder):
    with pytest.raises(ValueError, match="sunspots"):
        EventReport(folder).warn("sunspots", "x")


def test_stages_that_return_are_timed_as_one(folder):
    report = EventReport(folder)
    for stage in ("track", "solve", "track"):
        report.stage(stage, 1)
    assert list(report.timings_s()) == ["track", "solve"]


def test_the_plan_leaves_out_what_is_not_asked_for():
    assert "refine" in dict(plan_of(Settings()))
    assert "refine" not in dict(plan_of(Settings(refine="none")))
    assert dict(plan_of(Settings(quality="high"))).keys() == dict(plan_of(Settings())).keys()
    assert "encode" in dict(plan_of(Settings(refine="depthcrafter")))
    assert "encode" not in dict(plan_of(Settings()))


# --- Numbers ---------------------------------------------------------------------------------------------------

def test_known_lens_in_pixels_of_the_raster():
    raster = Raster(640, 360, 1920, 1080, 1.0)
    assert known_lens(Settings(), raster) is None
    assert known_lens(Settings(focal_mm=35.0, sensor_mm=36.0), raster).focal_px == pytest.approx(35 / 36 * 640)


def test_points_take_the_color_of_their_first_sight():
    frames = np.zeros((2, 4, 6, 3), np.uint8)
    frames[0, 1, 2], frames[1, 1, 2], frames[1, 3, 5] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    observations = [(np.array([0]), np.array([[2.5, 1.5]])),
                    (np.array([0, 2]), np.array([[2.5, 1.5], [5.999, 3.999]]))]
    cameras = CameraSolution("moving", np.tile(np.eye(4), (2, 1, 1)), np.ones((2, 4)), np.ones(2, bool), np.zeros(2),
                             np.zeros((3, 3)), np.zeros(3), observations)
    assert point_colors(frames, cameras).tolist() == [[255, 0, 0], [128, 128, 128], [0, 0, 255]]


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="room cannot be reserved here")
def test_scratch_takes_its_room_at_once(tmp_path):
    array = DiskScratch(tmp_path / "scratch").allocate("depth", (50, 100, 100), np.float32)
    assert not array.any()
    assert os.stat(tmp_path / "scratch" / "depth.npy").st_blocks * 512 >= array.nbytes


def test_points_have_the_colors_of_the_plate_whatever_it_was_solved_at():
    light = np.linspace(0.001, 0.06, 60).reshape(20, 3)
    plate, brighter = expose(light), expose(light, 4.0)
    assert np.array_equal(as_filmed(plate, 0.0), plate)
    assert np.abs(as_filmed(brighter, 4.0).astype(int) - plate).max() <= 2 < np.abs(brighter.astype(int) - plate).max()


# --- Exposure --------------------------------------------------------------------------------------------------

def request(folder: Path, light: float, **settings) -> Request:
    for number in (1, 2):
        write_linear_exr(folder / f"p_{number}.exr", np.full((96, 96, 3), light, np.float32))
    job = Job("job", source_from_path(folder / "p_1.exr"), 1, 2, Settings(**settings))
    return Request(job, JobFolder(folder), ClipInfo(96, 96, 1.0, 0.0, 2), Raster(96, 96, 96, 96, 1.0))


@pytest.mark.parametrize(("light", "stops"), [(0.18, 0.0), (0.18 / 1024, 12.0), (180.0, -10.0)])
def test_an_exposure_that_is_chosen_is_told(light, stops, tmp_path):
    report = RecordingReport()
    assert exposed(request(tmp_path, light), report).exposure_ev == stops
    told = report.warnings.get("exposure_chosen", "")
    assert (f"Exposure {stops:+.0f}" in told) == bool(stops)


def test_an_exposure_that_is_given_is_taken(tmp_path):
    report = RecordingReport()
    assert exposed(request(tmp_path, 1e-4, exposure_ev=-2.5), report).exposure_ev == -2.5
    assert not report.warnings


def test_no_exposure_is_added_to_what_is_displayed_already(tmp_path):
    """Nor would its points lose one again."""
    write_stills(tmp_path, (1, 2), name="p_{}.png")
    job = Job("job", source_from_path(tmp_path / "p_1.png"), 1, 2, Settings(exposure_ev=3.0))
    asked = Request(job, JobFolder(tmp_path), ClipInfo(160, 96, 1.0, 0.0, 2), Raster(160, 96, 160, 96, 1.0))
    assert exposed(asked, RecordingReport()).exposure_ev == 0.0
    light = replace(job, clip=replace(job.clip, color_space="ACEScg"))
    assert exposed(replace(asked, job=light), RecordingReport()).exposure_ev == 3.0
    for space, stops in (("", 0.0), ("ACEScg", 3.0)):
        clip = replace(movie_source(write_movie(tmp_path / "a.mp4", 3)), color_space=space)
        assert exposed(replace(asked, job=replace(job, clip=clip)), RecordingReport()).exposure_ev == stops


# --- Cores -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("free", "count"), [(None, 16), (64e9, 16), (4e9, 11), (1e9, 2), (1e8, 1)])
def test_no_more_frames_are_worked_on_at_once_than_memory_has_room_for(monkeypatch, free, count):
    """At 640x360 a frame takes 173 MB, and half of what is free may be taken."""
    monkeypatch.setattr(worker_run, "memory_bytes", lambda: (None, free))
    assert worker_run.within_memory(Cores(16), Raster(640, 360, 640, 360, 1.0)).count == count
