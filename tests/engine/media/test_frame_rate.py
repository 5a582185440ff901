"""How fast a picture sequence plays: as its headers say, as somebody gives it, or unknown; it is never guessed."""

from __future__ import annotations

import argparse
import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import OpenEXR
import pytest
from clips import error_of, write_dpx

from stereodiff_blender.engine.cli.options import add_solve
from stereodiff_blender.engine.media.frames import probe_clip, source_from_path

PICTURE = np.full((96, 160, 3), 90, np.uint8)


def write_exr(path: Path, **header) -> Path:
    content = {"RGB": np.full((96, 160, 3), 0.2, np.float32)}
    OpenEXR.File({"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage} | header,
                 content).write(str(path))
    return path


def with_rates(path: Path, film: float | None, television: float | None) -> Path:
    """A DPX whose headers say these rates; None: not known, all bits set."""
    write_dpx(path, PICTURE)
    data = bytearray(path.read_bytes())
    order = "<" if data.startswith(b"XPDS") else ">"
    for offset, rate in ((1724, film), (1940, television)):
        data[offset:offset + 4] = b"\xff" * 4 if rate is None else struct.pack(f"{order}f", rate)
    path.write_bytes(data)
    return path


def fps_of(path: Path, fps: float = 0.0) -> float:
    source = source_from_path(path)
    return probe_clip(type(source)(**{**vars(source), "fps": fps})).fps


def test_an_exr_says_its_rate_or_nothing(tmp_path):
    assert fps_of(write_exr(tmp_path / "a_0001.exr", framesPerSecond=Fraction(24000, 1001))) == pytest.approx(23.976,
                                                                                                              1e-4)
    assert fps_of(write_exr(tmp_path / "b_0001.exr")) == 0.0


def with_fraction(path: Path, numerator: int, denominator: int) -> Path:
    """An EXR whose header has this rate, as no writer would write it."""
    write_exr(path, framesPerSecond=Fraction(24))
    data, name = bytearray(path.read_bytes()), b"framesPerSecond\0rational\0"
    struct.pack_into("<iI", data, data.index(name) + len(name) + 4, numerator, denominator)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(("numerator", "denominator"), [(-24, 1), (2**31 - 1, 1), (1, 2**32 - 1), (0, 1)])
def test_a_rate_beyond_all_measure_is_none(tmp_path, numerator, denominator):
    assert fps_of(with_fraction(tmp_path / "a_0001.exr", numerator, denominator)) == 0.0


@pytest.mark.parametrize("numerator", [24, 0])
def test_a_fraction_over_nothing_is_refused_in_words(tmp_path, numerator):
    """OpenEXR's package cannot give the header of such a file."""
    path = with_fraction(tmp_path / "a_0001.exr", numerator, 0)
    assert error_of(fps_of, path).code == "clip_unreadable"


@pytest.mark.parametrize(("film", "television", "fps"), [
    (25.0, None, 25.0), (None, 30.0, 30.0), (None, None, 0.0), (0.0, 0.0, 0.0), (-1.0, 1e9, 0.0), (24.0, 30.0, 24.0)])
def test_a_dpx_says_its_rate_or_nothing(tmp_path, film, television, fps):
    assert fps_of(with_rates(tmp_path / "a_0001.dpx", film, television)) == fps


def test_what_is_given_wins(tmp_path):
    path = write_exr(tmp_path / "a_0001.exr", framesPerSecond=Fraction(24))
    assert fps_of(path, 25.0) == 25.0


@pytest.mark.parametrize(("text", "fps"), [("25", 25.0), ("24000/1001", 24000 / 1001), ("23.976", 23.976)])
def test_a_rate_is_a_number_or_a_fraction(text, fps):
    parser = argparse.ArgumentParser()
    add_solve(parser, lambda options: 0)
    assert parser.parse_args(["clip", "out", "--fps", text]).fps == pytest.approx(fps)


@pytest.mark.parametrize("text", ["0", "-24", "fast", "24/0", "inf", "nan", "1e9"])
def test_what_is_no_rate_is_refused(text, capsys):
    parser = argparse.ArgumentParser()
    add_solve(parser, lambda options: 0)
    with pytest.raises(SystemExit):
        parser.parse_args(["clip", "out", f"--fps={text}"])
    assert "no rate" in capsys.readouterr().err
