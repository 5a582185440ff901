"""Lines of events read in pieces: what is too long, too much, or cut in the middle."""

from __future__ import annotations

import time

import pytest

from stereodiff_blender.engine.contract import Event, JobFolder
from stereodiff_blender.engine.contract.job_files import event_lines

START = b'{"kind": "started", "time_s": %d.0, "pid": %d, "plan": [["read", 1.0]]}\n'
PROGRESS = b'{"kind": "progress", "time_s": 2.0, "stage": "read", "done": %d, "total": 9000000}\n'


@pytest.fixture
def folder(tmp_path) -> JobFolder:
    return JobFolder(tmp_path)


def flood(count: int, first: int = 0) -> bytes:
    return b"".join(PROGRESS % done for done in range(first, first + count))


def news(folder: JobFolder, offset: int = 0) -> tuple[list[tuple], int]:
    events, end = folder.read_news(offset)
    return [(event.kind, event.pid or event.done) for event in events], end


def test_no_more_is_read_at_a_time_than_the_limit(folder, monkeypatch):
    monkeypatch.setattr(event_lines, "MAX_BYTES", 1000)
    folder.events_file.write_bytes(flood(50))
    read, offset = [], 0
    while (piece := folder.read_events(offset))[0]:
        assert piece[1] - offset <= 1000
        read += piece[0]
        offset = piece[1]
    assert [event.done for event in read] == list(range(50))


@pytest.mark.parametrize("length", [event_lines.MAX_LINE_BYTES + 1, 5 * event_lines.MAX_BYTES])
def test_a_line_that_is_too_long_is_passed_over(folder, length):
    long = b'{"kind": "note", "time_s": 1.0, "message": "' + b"x" * length + b'"}\n'
    folder.events_file.write_bytes(START % (1, 7) + long + PROGRESS % 3)
    read, offset = [], -1
    for _ in range(20):
        events, end = folder.read_events(max(offset, 0))
        read += [event.kind for event in events]
        if end == offset:
            break
        offset = end
    assert read == ["started", "progress"]
    assert news(folder)[0][-1] == ("progress", 3)


def test_of_too_much_news_the_last_start_and_the_end_are_told(folder):
    folder.events_file.write_bytes(START % (1, 7) + flood(20_000) + START % (5, 8) + flood(20_000))
    told, end = news(folder)
    assert told[0] == ("started", 8) and told[-1] == ("progress", 19_999)
    assert len(told) <= event_lines.MAX_BYTES / len(PROGRESS)
    assert news(folder, end) == ([], end)
    with open(folder.events_file, "ab") as stream:
        stream.write(flood(20_000, 20_000))
    told, _ = news(folder, end)
    assert told[0][0] == "progress" and told[-1] == ("progress", 39_999), "it was started once"


def test_warnings_are_not_passed_over_with_the_rest(folder):
    warning = b'{"kind": "warning", "time_s": 1.5, "code": "weak_focal", "message": "%d"}\n'
    folder.events_file.write_bytes(warning % 0 + START % (1, 7) + warning % 1 + flood(9000) + warning % 2 + flood(9000))
    events, _ = folder.read_news(0)
    assert list(dict.fromkeys(event.message for event in events if event.kind == "warning")) == ["1", "2"]
    assert events[0].kind == "started" and events[-1].kind == "progress"


def test_a_start_hides_between_lines_that_only_hold_its_word(folder, monkeypatch):
    decoy = b'{"kind": "note", "time_s": 3.0, "message": "he said \\"started\\""}\n'
    monkeypatch.setattr(event_lines, "_PIECE_BYTES", 700)  # so that lines lie across pieces
    monkeypatch.setattr(event_lines, "MAX_BYTES", 5000)
    folder.events_file.write_bytes(flood(90) + START % (1, 7) + decoy * 9 + flood(90))
    told, _ = news(folder)
    assert told[0] == ("started", 7) and told[-1] == ("progress", 89)


def test_a_file_that_has_shrunk_is_read_anew(folder):
    folder.events_file.write_bytes(START % (1, 7))
    assert news(folder, 10_000) == ([("started", 7)], folder.events_file.stat().st_size)
    folder.events_file.unlink()
    assert news(folder, 10_000) == ([], 0)


@pytest.mark.slow
def test_200_mb_of_events_are_told_at_once(folder):
    with open(folder.events_file, "wb") as stream:
        stream.write(START % (1, 7))
        stream.writelines([flood(60_000)] * 40)
    assert folder.events_file.stat().st_size > 190_000_000
    began = time.monotonic()
    told, _ = news(folder)
    assert told[0] == ("started", 7) and told[-1][0] == "progress"
    assert time.monotonic() - began < 8.0


def test_what_is_written_is_read(folder):
    said = [Event("started", 1.0, pid=7, plan=(("read", 1.0),)), Event("finished", 2.0)]
    for event in said:
        folder.append_event(event)
    assert folder.read_news(0)[0] == said == folder.read_events()[0]


