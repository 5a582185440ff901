"""Footage is known by what its files hold: copies and other names do not count, other content does."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from stereodiff_blender.engine.contract import ClipSource
from stereodiff_blender.engine.contract.footage_fingerprint import BLOCK_BYTES, fingerprint, is_other_footage

FRAMES = range(1, 21)


def write_noise(path: Path, seed: int, size: int = 40_000) -> Path:
    path.write_bytes(bytes((index * (seed * 2 + 1) + index // 251) % 256 for index in range(size)))
    return path


@pytest.fixture
def sequence(tmp_path) -> ClipSource:
    for number in range(1001, 1021):
        write_noise(tmp_path / f"plate.{number}.png", number)
    return ClipSource("sequence", str(tmp_path / "plate.1001.png"), 1001)


@pytest.fixture
def movie(tmp_path) -> ClipSource:
    return ClipSource("movie", str(write_noise(tmp_path / "plate.mp4", 1, 1_000_000)))


def test_a_renamed_copy_of_a_movie_is_the_same(movie, tmp_path):
    copy = ClipSource("movie", str(shutil.copyfile(movie.path, tmp_path / "other.mov")))
    os.utime(copy.path, (1, 1))
    assert fingerprint(movie, FRAMES) == fingerprint(copy, range(5, 8)) != ""


@pytest.mark.parametrize("place", [0, 1_000_000 - 1, 500_000 - BLOCK_BYTES // 2])
def test_a_movie_of_the_same_size_and_time_that_differs_in_a_block_is_another(movie, place):
    before, status = fingerprint(movie, FRAMES), os.stat(movie.path)
    with open(movie.path, "r+b") as stream:
        stream.seek(place)
        old = stream.read(1)
        stream.seek(place)
        stream.write(bytes([old[0] ^ 1]))
    os.utime(movie.path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert is_other_footage(before, fingerprint(movie, FRAMES))


def test_a_longer_movie_is_another(movie):
    before = fingerprint(movie, FRAMES)
    with open(movie.path, "ab") as stream:
        stream.write(b"\0")
    assert is_other_footage(before, fingerprint(movie, FRAMES))


def test_a_renumbered_copy_of_a_sequence_is_the_same(sequence, tmp_path):
    (tmp_path / "copy").mkdir()
    for number in range(1001, 1021):
        shutil.copyfile(tmp_path / f"plate.{number}.png", tmp_path / "copy" / f"a_{number - 1000:04d}.png")
    copy = ClipSource("sequence", str(tmp_path / "copy" / "a_0001.png"), 1)
    assert fingerprint(sequence, FRAMES) == fingerprint(copy, FRAMES) != ""


@pytest.mark.parametrize("number", [1001, 1020])
def test_a_sequence_with_another_picture_at_an_end_is_another(sequence, tmp_path, number):
    before = fingerprint(sequence, FRAMES)
    write_noise(tmp_path / f"plate.{number}.png", 7)
    assert is_other_footage(before, fingerprint(sequence, FRAMES))


def test_only_pictures_of_the_range_count(sequence, tmp_path):
    before = fingerprint(sequence, range(3, 9))
    write_noise(tmp_path / "plate.1020.png", 7)
    assert fingerprint(sequence, range(3, 9)) == before != fingerprint(sequence, range(3, 10))


def test_what_cannot_be_read_is_not_known(sequence, movie, tmp_path):
    Path(sequence.path).unlink()
    (tmp_path / "pipe.mp4").mkdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "fifo.mp4")
    odd = [sequence, ClipSource("movie", str(tmp_path / "pipe.mp4")), ClipSource("movie", str(tmp_path / "fifo.mp4")),
           ClipSource("movie", "a\0b"), ClipSource("sequence", str(tmp_path / "bare.png")),
           ClipSource("sequence", str(tmp_path / f"{'9' * 5000}.png"))]
    assert [fingerprint(source, FRAMES) for source in odd] == [""] * len(odd)
    assert not is_other_footage("", fingerprint(movie, FRAMES))


def test_fingerprints_of_another_kind_are_not_compared(movie):
    assert not is_other_footage("2-something", fingerprint(movie, FRAMES))


def test_a_huge_movie_is_read_at_a_few_places_only(tmp_path):
    huge = tmp_path / "huge.mov"
    with open(huge, "wb") as stream:
        stream.truncate(50_000_000_000)
    begin = time.perf_counter()
    assert fingerprint(ClipSource("movie", str(huge)), range(1, 10_000_001))
    assert time.perf_counter() - begin < 0.05
