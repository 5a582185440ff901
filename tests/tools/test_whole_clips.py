"""The long check of whole clips: what it takes for a clip, and what it calls whole."""

from __future__ import annotations

import json

import pytest
from tiny_jobs import render_boards, write_movie
from whole_clips import clips_below, main, name_of


def test_a_clip_is_a_movie_or_a_folder_of_numbered_pictures(tmp_path):
    for name in ("walk.mp4", "room/clip.mov", "office/frames/0001.jpg", "office/frames/0002.jpg",
                 "office/depth/0001.png", "office/poster.jpg", "notes/readme.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    clips = clips_below(tmp_path)
    found = [clip.relative_to(tmp_path).as_posix() for clip in clips]
    assert found == ["walk.mp4", "office/frames/0001.jpg", "room/clip.mov"]
    assert [name_of(clip, tmp_path) for clip in clips] == ["walk", "office", "room"]


@pytest.mark.slow
def test_what_is_solved_whole_and_what_is_not(tmp_path, capsys, monkeypatch, repository):
    monkeypatch.setenv("PYTHONPATH", str(repository))
    for name, kind in (("boards", "moving"), ("other", "static")):
        (tmp_path / "in" / name).mkdir(parents=True)
        write_movie(tmp_path / "in" / name / "clip.mp4", render_boards(5))
        (tmp_path / "in" / name / "expected.json").write_text(json.dumps({"kind": kind}))
    (tmp_path / "in" / "cut_off.mp4").write_bytes(b"no movie")
    assert main([str(tmp_path / "out"), str(tmp_path / "in"), "--presets", "draft"]) == 2
    said = capsys.readouterr().out
    assert "| boards | draft | moving, 5 frames" in said and "| the camera is static |" in said
    assert "clip_unreadable" in said and "1 of 3 solves are whole." in said
