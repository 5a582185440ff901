"""Interlaced movies: their pictures are read as they are, and it is said."""

from __future__ import annotations

import pytest
from clips import movie_source, native_raster
from recording_report import RecordingReport
from timed_movies import KINDS

from stereodiff_blender.engine.media.frames import read_frames


@pytest.mark.parametrize(("name", "is_told"), [("interlaced.mp4", True), ("transport.ts", False)])
def test_interlaced_footage_is_said(tmp_path, name, is_told):
    source = movie_source(KINDS[name](tmp_path / name))
    report = RecordingReport()
    pictures = list(read_frames(source, range(1, 5), native_raster(source), report=report))
    assert len(pictures) == 4
    assert ("interlaced" in report.warnings) == is_told
