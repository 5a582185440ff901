"""Frame N of a result belongs to the picture that this Blender shows at frame N, whatever container was filmed into."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import bpy
import pytest
from shown_pictures import shown_by_blender

ONE_MORE_IN_52 = {"long_sound.mkv", "long_sound.webm"}
"""The sound's last packet counts in 5.2's length of the clip and does not in 5.0's; the engine takes the longer."""
KINDS = ("variable.mp4", "variable.mkv", "jitter.mp4", "remuxed.mp4", "remuxed.mov", "5994.mkv", "5994.mp4",
         "23976.mp4", "late.mp4", "late.mkv", "long_sound.mkv", "long_sound.webm", "cut.mov", "cut.mp4", "mpeg4_b.avi",
         "vp9.mp4", "transport.ts", "h264.avi", "h264_b.avi", "interlaced.mp4")


@pytest.fixture(scope="module")
def movies(worker_python, repository, tmp_path_factory) -> Path:
    """Every kind, and in shown.json which of its pictures the engine takes, frame by frame."""
    folder = tmp_path_factory.mktemp("movies")
    support = repository / "tests" / "support"
    done = subprocess.run([worker_python, support / "timed_movies.py", folder], capture_output=True, text=True,
                          check=False, env={"PYTHONPATH": f"{repository}:{support}", "PATH": ""})
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_the_engine_takes_the_pictures_that_blender_shows(name, movies, tmp_path):
    taken = json.loads((movies / "shown.json").read_text())[name]
    shown = shown_by_blender(movies / name, tmp_path)
    if name in ONE_MORE_IN_52 and len(taken) - len(shown) in (0, 1):
        taken = taken[:len(shown)]
    assert taken == shown


@pytest.mark.slow
def test_movies_are_of_all_these_kinds(movies):
    assert set(KINDS) | {"cut.ts"} == set(json.loads((movies / "shown.json").read_text()))


@pytest.mark.slow
def test_a_recording_that_begins_in_the_middle_of_a_group(movies, tmp_path):
    """Its first pictures need others that are not there. Blender 4 stands on the first that can be seen, and so do we;
    5.0 and later show the next whole picture from the start on, which no frame of the recording is like."""
    taken = json.loads((movies / "shown.json").read_text())["cut.ts"]
    shown = shown_by_blender(movies / "cut.ts", tmp_path)
    assert taken == sorted(taken) and len(set(taken)) > 20
    if bpy.app.version < (5, 0, 0):
        assert taken[:len(shown)] == shown[:len(taken)]
    else:
        later = next(place for place, index in enumerate(shown) if index != shown[0])
        assert taken[later:len(shown)] == shown[later:len(taken)]
