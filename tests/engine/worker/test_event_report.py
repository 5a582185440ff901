"""What the worker writes about itself has a limit, too."""

from __future__ import annotations

import pytest

from stereodiff_blender.engine.contract import MOST_SHOTS, MOST_WARNINGS, JobFolder, StereoDiffError
from stereodiff_blender.engine.contract.errors import MAX_MESSAGE
from stereodiff_blender.engine.worker.event_report import EventReport


@pytest.fixture
def folder(tmp_path) -> JobFolder:
    return JobFolder(tmp_path)


def test_each_warning_is_said_once_and_not_too_many(folder):
    report = EventReport(folder)
    for number in [*range(MOST_WARNINGS + 20), 0, 1]:
        report.warn("low_texture", f"Frame {number}. " + "x" * 5000)
    said = [(event.code, event.message) for event in folder.read_events()[0]]
    assert said == [(warning.code, warning.message) for warning in report.warnings]
    assert len(said) == MOST_WARNINGS and len(said[0][1]) == MAX_MESSAGE and said[1][1].startswith("Frame 1. ")


def test_every_report_is_a_step(folder):
    report = EventReport(folder)
    report.started((("read", 1.0),))
    report.stage("read", 1000)
    for done in range(1000):
        report.progress(done)
    report.note("Now for the rest.")
    assert report.steps() >= 1003
    assert len(folder.read_events()[0]) < 100, "most of them are not worth writing"


def test_notes_and_failures_are_cut(folder):
    report = EventReport(folder)
    report.note("n" * 100_000)
    report.failed(StereoDiffError("cut_in_range", "f" * 100_000, tuple((n, n + 1) for n in range(1, 9000))))
    note, failed = folder.read_events()[0]
    assert len(note.message) == len(failed.message) == MAX_MESSAGE
    assert failed.shots[:2] == ((1, 2), (2, 3)) and len(failed.shots) == MOST_SHOTS
