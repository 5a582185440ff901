"""Numbers, outputs and clips on the command line that nobody means: refused in words, with nothing left behind."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from stereodiff_blender.engine import __main__ as command_line

HUGE = "9" * 20
unix_only = pytest.mark.skipif(os.name == "nt", reason="there are no such files")


@pytest.fixture
def solve(tiny_clip, tmp_path, monkeypatch, capsys) -> Iterator:
    """solve(*options, clip, out) -> the code of the refusal, "usage" for wrong usage. Works in an empty folder."""
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    handler = signal.getsignal(signal.SIGTERM)

    def call(*options: str, clip: str | Path = tiny_clip, out: str = "room") -> str:
        try:
            status = command_line.main(["solve", str(clip), out, *options])
        except SystemExit as ended:
            assert ended.code == 2
            return "usage"
        said = capsys.readouterr().err
        assert status == 1 and "Traceback" not in said and "\nremedy: " in said, said
        return re.match(r"error (\w+): ", said)[1]

    yield call
    signal.signal(signal.SIGTERM, handler)
    assert list(place.iterdir()) == []


@pytest.mark.parametrize(("options", "code"), [
    (["--frames", f"1-{HUGE}"], "frame_range_invalid"), (["--frames", f"{HUGE}-{HUGE}9"], "frame_range_invalid"),
    (["--frames", "1-" + "9" * 5000], "usage"), (["--frames", "0-3"], "frame_range_invalid"),
    (["--frames", "\N{ARABIC-INDIC DIGIT ONE}-99999999"], "frame_range_invalid"), (["--frames=-1-3"], "usage"),
    (["--max-side", HUGE], "settings_invalid"), (["--max-side=-1"], "settings_invalid"),
    (["--max-side", "nan"], "usage"), (["--max-side", "9" * 5000], "usage"), (["--seed", "nan"], "usage"),
    (["--ensemble", HUGE], "settings_invalid"), (["--device", f"cuda:{HUGE}x"], "settings_invalid"),
    (["--device", "../x"], "settings_invalid"),
])
def test_whole_numbers(solve, options, code):
    assert solve(*options) == code


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e308", "-1", "0", "1e-320", HUGE])
def test_lenses(solve, value):
    assert solve(f"--focal-mm={value}", "--sensor-mm=36") == "settings_invalid"
    assert solve("--focal-mm=35", f"--sensor-mm={value}") == "settings_invalid"


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e308", HUGE])
@pytest.mark.parametrize("option", ["--exposure-ev", "--noise-level", "--keep-static"])
def test_other_numbers(solve, option, value):
    assert solve("--schedule", "free", f"{option}={value}") == "settings_invalid"


@pytest.mark.parametrize(("out", "codes"), [
    ("/dev/zero", {"output_not_writable", "output_in_use"}), ("/proc/room", {"output_not_writable"}),
    ("/dev/null/room", {"output_not_writable"}), ("x" * 300, {"output_not_writable"}),
    ("room\N{REPLACEMENT CHARACTER}" * 400, {"output_not_writable"}),
])
@unix_only
def test_outputs_that_are_no_folder(solve, out, codes):
    assert solve(out=out) in codes


def test_an_output_that_is_the_clip_or_another_file(solve, tiny_clip, tmp_path):
    before = tiny_clip.read_bytes()
    (tmp_path / "file").write_text("mine")
    for options in ((), ("--overwrite",)):
        assert solve(*options, out=str(tiny_clip)).startswith("output_")
        assert solve(*options, out=str(tmp_path / "file")).startswith("output_")
    assert tiny_clip.read_bytes() == before and (tmp_path / "file").read_text() == "mine"


def test_an_empty_output_is_the_folder_one_stands_in(solve, tmp_path):
    """Which is refused as it holds something."""
    (tmp_path / "here" / "notes.txt").write_text("mine")
    for options in ((), ("--overwrite",)):
        assert solve(*options, out="") == "output_in_use"
    assert (tmp_path / "here" / "notes.txt").read_text() == "mine"
    (tmp_path / "here" / "notes.txt").unlink()


@pytest.mark.parametrize("clip", ["", "/dev/zero", "/dev/null", "/proc/self/mem", "/", "x" * 300, "x" * 5000, "pipe:0",
                                  "http://127.0.0.1:9/x.mp4", "concat:a.mp4|b.mp4", "file:///etc/passwd", "-"])
@unix_only
def test_clips_that_are_no_footage(solve, clip):
    assert solve(clip=clip).startswith("clip_")
