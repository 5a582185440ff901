"""Pictures by time: the rule on numbers, and what is read of movies whose pictures do not come one a frame.

That Blender shows the same ones is held by tests/blender/footage/test_movie_time.py.
"""

from __future__ import annotations

from fractions import Fraction

import pytest
import timed_movies
from clips import error_of, index_of, movie_source, read
from recording_report import RecordingReport

from stereodiff_blender.engine.media.frames import probe_clip
from stereodiff_blender.engine.media.movie_clock import MovieClock

TICK = Fraction(1, 90_000)
BEGINNINGS = {
    "variable.mp4": [0, 1, 2, 3, 4, 4, 5, 6, 7, 8, 9, 9, 10],
    "remuxed.mp4": [0, 1, 1, 3, 4, 4, 6, 7, 7],
    "late.mp4": [0, 1, 2, 3],
    "mpeg4_b.avi": [0, 0, 1, 2, 3],
    "h264_b.avi": [0, 0, 0, 1, 2],
    "interlaced.mp4": [0, 1, 2, 3],
}


def clock(fps: Fraction = Fraction(30), start: int = 0, count: int | None = None) -> MovieClock:
    return MovieClock(start, 1 / (fps * TICK), fps, count)


def test_frames_come_at_rounded_ticks():
    ntsc = clock(Fraction(30_000, 1001), start=126_000)
    assert [ntsc.stamp_of(frame) for frame in (1, 2, 3)] == [126_000, 129_003, 132_006]
    thousandths = MovieClock(0, Fraction(1000, 30), Fraction(30), None)
    assert [thousandths.stamp_of(frame) for frame in (1, 2, 3, 4)] == [0, 33, 67, 100]


@pytest.mark.parametrize("fps", [Fraction(24_000, 1001), Fraction(25), Fraction(60_000, 1001)])
def test_a_picture_at_a_frames_own_time_is_shown_there_first(fps):
    one = clock(fps, start=7)
    assert [one.frame_at(one.stamp_of(frame)) for frame in range(1, 200)] == list(range(1, 200))


def test_the_last_picture_is_held_as_long_as_the_file_says():
    assert clock(count=75).most_frames(48) == 75
    assert clock(count=40).most_frames(48) == 48
    assert clock().most_frames(48) == 48


@pytest.mark.parametrize("name", BEGINNINGS)
def test_pictures_come_when_they_are_due(name, tmp_path):
    path = timed_movies.KINDS[name](tmp_path / name)
    assert timed_movies.shown(path)[:len(BEGINNINGS[name])] == BEGINNINGS[name]


@pytest.mark.parametrize(("name", "words"), [("variable.mp4", ["at 11 of 59 frames"]), ("5994.mp4", [])])
def test_pictures_that_do_not_come_one_a_frame_are_noted(name, words, tmp_path):
    source, report = movie_source(timed_movies.KINDS[name](tmp_path / name)), RecordingReport()
    read(source, 1, probe_clip(source).frame_count, report=report)
    assert len(report.notes) == len(words) and all(word in report.notes[0] for word in words)


def test_a_late_range_shows_what_the_whole_clip_shows_there(tmp_path):
    path = timed_movies.KINDS["jitter.mp4"](tmp_path / "jitter.mp4")
    assert [index_of(frame) for frame in read(movie_source(path), 20, 40)] == timed_movies.shown(path)[19:40]


def test_sound_that_lasts_longer_holds_the_last_picture(tmp_path):
    path = timed_movies.KINDS["long_sound.mkv"](tmp_path / "long_sound.mkv")
    source = movie_source(path)
    count = probe_clip(source).frame_count
    shown = timed_movies.shown(path)
    assert count > timed_movies.COUNT and shown[timed_movies.COUNT:] == [timed_movies.COUNT - 1] * (
        count - timed_movies.COUNT)
    assert error_of(read, source, 1, count + 5).code == "clip_truncated"
