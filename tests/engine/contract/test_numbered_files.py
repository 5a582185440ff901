"""The number of a file, as Blender counts."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from stereodiff_blender.engine.contract.numbered_files import (
    NumberedName,
    file_further_on,
    file_of_number,
    numbered_name,
)


@pytest.mark.parametrize(("name", "expected"), [
    ("shot2_v01.0042.exr", ("shot2_v01.", "0042", ".exr")),
    ("0007.png", ("", "0007", ".png")),
    ("take3 (copy).png", ("take", "3", " (copy).png")),
    ("frame12", ("frame", "12", "")),
    ("line\n0012\nend.png", ("line\n", "0012", "\nend.png")),
    ("v2.١٢.png", ("v", "2", ".١٢.png")),
])
def test_the_number_is_the_last_one_before_the_extension(name, expected):
    assert numbered_name(Path("/clips 1", name)) == NumberedName(*expected)


@pytest.mark.parametrize("name", ["plate.png", "plate.mp4", "٣.png", "².png"])
def test_names_without_a_number(name):
    path = Path("/clips 1", name)
    assert numbered_name(path) is file_further_on(path, 1) is file_of_number(path, 1) is None


@pytest.mark.parametrize(("name", "steps", "expected", "number"), [
    ("a_0099.png", 1, "a_0100.png", 100),
    ("a_9.png", 1, "a_10.png", 10),
    ("a_0100.png", -1, "a_0099.png", 99),
    ("a_0007_b.png", 0, "a_0007_b.png", 7),
])
def test_files_further_on_keep_their_digits(name, steps, expected, number):
    assert file_further_on(Path("/clips", name), steps) == (Path("/clips", expected), number)


def test_the_file_of_a_number_keeps_the_kind_of_path():
    assert file_of_number(PurePosixPath("depth/0001.exr"), 12) == PurePosixPath("depth/0012.exr")
