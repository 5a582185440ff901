"""The picture of depth while a job runs: what it shows, how often it is drawn, and that it costs a job nothing."""

from __future__ import annotations

import io

import cv2
import imageio.v3 as imageio
import numpy as np
import pytest

from stereodiff_blender.engine.contract import JobFolder
from stereodiff_blender.engine.worker import picture_so_far
from stereodiff_blender.engine.worker.event_report import EventReport
from stereodiff_blender.engine.worker.picture_so_far import PictureSoFar, picture_of

HEIGHT, WIDTH = 90, 160
NEAREST, FARTHEST = (253, 231, 37), (68, 1, 84)
"""The ends of viridis."""


@pytest.fixture
def folder(tmp_path) -> JobFolder:
    return JobFolder(tmp_path)


def two_halves(far: float = 10.0) -> tuple[np.ndarray, np.ndarray]:
    """A gray frame whose left half is near."""
    depth = np.full((HEIGHT, WIDTH), far, np.float32)
    depth[:, :WIDTH // 2] = 1.0
    return np.full((HEIGHT, WIDTH, 3), 120, np.uint8), depth


def drawn(folder: JobFolder) -> np.ndarray:
    return imageio.imread(folder.picture_so_far)


def test_the_frame_stands_above_its_depth(folder):
    with PictureSoFar(folder, io.StringIO()) as picture:
        assert picture.renew(two_halves)
        shown = drawn(folder)
    assert shown.shape == (2 * HEIGHT, WIDTH, 3)
    assert (shown[:HEIGHT] == 120).all()
    assert tuple(shown[HEIGHT + 45, 10]) == NEAREST and tuple(shown[HEIGHT + 45, -10]) == FARTHEST


def test_a_large_frame_is_shown_small_and_single_points_fill_it():
    frame, depth = np.zeros((540, 960, 3), np.uint8), np.zeros((540, 960), np.float32)
    depth[100::200, 100:400:90], depth[100::200, 600::90] = 2.0, 5.0
    shown = picture_of(frame, depth)
    assert shown.shape == (256, 227, 3)
    assert tuple(shown[190, 30]) == NEAREST and tuple(shown[190, -30]) == FARTHEST


def test_depth_of_which_nothing_is_known_is_black():
    frame, depth = two_halves()
    assert not picture_of(frame, np.zeros_like(depth))[HEIGHT:].any()
    assert not picture_of(frame, np.full_like(depth, np.nan))[HEIGHT:].any()


def test_it_is_not_drawn_again_before_its_time(folder, monkeypatch):
    looks = []

    def counted_halves():
        looks.append(1)
        return two_halves()

    with PictureSoFar(folder, io.StringIO()) as picture:
        assert [picture.renew(counted_halves) for _ in range(50)] == [True] + [False] * 49
        assert len(looks) == 1, "what is not shown is not worked out either"
        monkeypatch.setattr(picture_so_far, "INTERVAL_S", 0.0)
        monkeypatch.setattr(picture_so_far, "MOST_SHARE", np.inf)
    with PictureSoFar(folder, io.StringIO()) as picture:
        assert all(picture.renew(counted_halves) for _ in range(3))


def test_every_picture_is_told_and_none_is_left(folder):
    with PictureSoFar(folder, io.StringIO()) as picture:
        report = EventReport(folder, picture=picture)
        report.show(two_halves)
        report.show(two_halves)
        assert folder.picture_so_far.is_file()
    report.show(two_halves)
    assert [event.kind for event in folder.read_events()[0]] == ["picture"]
    assert [path.name for path in folder.path.iterdir()] == ["events.jsonl"]


def test_what_a_killed_run_left_is_taken_away(folder):
    folder.picture_so_far.write_bytes(b"old")
    with PictureSoFar(folder, io.StringIO()):
        assert not folder.picture_so_far.exists()


def test_a_disk_that_takes_no_picture_is_a_line_in_the_log(folder):
    folder.picture_so_far.mkdir()
    log = io.StringIO()
    with PictureSoFar(folder, log) as picture:
        report = EventReport(folder, picture=picture)
        report.show(two_halves)
        report.show(two_halves)
    assert folder.read_events()[0] == []
    assert log.getvalue().count("There is no picture of depth") == 1
    assert [path.name for path in folder.path.iterdir()] == [folder.picture_so_far.name]


@pytest.mark.parametrize("fault", [MemoryError(), ValueError("no source"), IndexError(), cv2.error("bad size")])
def test_what_cannot_be_looked_at_ends_the_picture_alone(folder, fault):
    def broken_look():
        raise fault

    log = io.StringIO()
    with PictureSoFar(folder, log) as picture:
        assert not picture.renew(broken_look) and not picture.renew(two_halves)
    assert "There is no picture of depth" in log.getvalue()
