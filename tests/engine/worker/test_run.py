"""Parts of the worker: exceptions become codes, events keep their pace, points get their colors."""

from __future__ import annotations

import errno
import os

import cv2
import numpy as np
import pytest

from stereodiff_blender.engine.contract import JobFolder, Settings, StereoDiffError
from stereodiff_blender.engine.contract.failures import error_from_exception
from stereodiff_blender.engine.media.frames import Raster
from stereodiff_blender.engine.solution import CameraSolution
from stereodiff_blender.engine.storage.scratch import DiskScratch
from stereodiff_blender.engine.worker.event_report import EventReport
from stereodiff_blender.engine.worker.publication import point_colors
from stereodiff_blender.engine.worker.reading import known_focal_px
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
    assert "edges" in dict(plan_of(Settings(quality="high")))
    assert "edges" not in dict(plan_of(Settings()))
    assert "encode" in dict(plan_of(Settings(refine="depthcrafter")))
    assert "encode" not in dict(plan_of(Settings()))


# --- Numbers ---------------------------------------------------------------------------------------------------

def test_known_lens_in_pixels_of_the_raster():
    raster = Raster(640, 360, 1920, 1080, 1.0)
    assert known_focal_px(Settings(), raster) is None
    assert known_focal_px(Settings(focal_mm=35.0, sensor_mm=36.0), raster) == pytest.approx(35 / 36 * 640)


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
