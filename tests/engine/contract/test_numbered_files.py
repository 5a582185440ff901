"""The number of a file, as Blender counts."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from stereodiff_blender.engine.contract import ClipSource, Job, StereoDiffError
from stereodiff_blender.engine.contract.numbered_files import (
    NumberedName,
    file_further_on,
    file_of_number,
    numbered_name,
    numbers_beside,
    refuse_misnamed,
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


def files(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).write_bytes(b"")
    return folder / names[0]


def test_numbers_beside_a_file_are_those_of_its_own_sequence(tmp_path):
    first = files(tmp_path, "a_0009.png", "a_0010.png", "a_10000.png", "a_9.png", "a_00009.png", "a_x.png", "a_.png",
                  "b_0011.png", "a_0012.jpg", "a_٣٣٣٣.png")
    assert numbers_beside(first) == [9, 10, 10000]
    assert numbers_beside(tmp_path / "gone" / "a_0001.png") == numbers_beside(tmp_path / "still.png") == []


@pytest.mark.parametrize("names", [
    [f"sh010_{1001 + n}_4k.png" for n in range(3)],
    [f"v2_sh010_{1001 + n}_take7.png" for n in (0, 2)],
    [f"IMG_202611281806{30120 + n}.png" for n in range(3)],
    ["sh010.-003.png", "sh010.-002.png", "sh010.0000.png", "sh010.0001.png"],
    ["-3.png", "-2.png", "0.png"],
])
def test_names_that_do_not_give_the_frame_are_refused_with_the_number_that_is_read(tmp_path, names):
    first = files(tmp_path, *names)
    with pytest.raises(StereoDiffError, match=str(numbered_name(first).number)) as caught:
        refuse_misnamed(first)
    assert caught.value.code == "sequence_misnamed"


@pytest.mark.parametrize("names", [
    ["sh010.1001.beauty.png", "sh010.1002.beauty.png"],
    ["sh010_1001_L.png", "sh010_1002_L.png"],
    ["sh010-003.png", "sh010-004.png"],
    ["take - 003.png", "take - 004.png"],
    ["plate.-0001.png", "plate.-0002.png"],
    ["A001_C002.86399996.png", "A001_C002.86399997.png"],
    ["sh010.1001.png", "sh010.1003.png"],
    ["v1_0007.png", "v2_0007.png", "v1_0008.png"],
    ["alone_4k.png"],
    ["still.png"],
])
def test_names_that_do_are_not(tmp_path, names):
    refuse_misnamed(files(tmp_path, *names))


def test_a_sequence_may_end_where_blender_stops_counting_but_not_beyond(tmp_path):
    first = files(tmp_path, "a_2147483646.png", "a_2147483647.png")
    refuse_misnamed(first, 2147483647)
    with pytest.raises(StereoDiffError, match="2147483647"):
        refuse_misnamed(first, 2147483648)


@pytest.mark.parametrize(("kind", "first_number", "numbers"), [
    ("sequence", 1001, range(1003, 1009)), ("sequence", 0, range(2, 8)), ("movie", 12, range(3, 9))])
def test_frames_have_their_footages_own_numbers(kind, first_number, numbers):
    job = Job("walk", ClipSource(kind, "/clips/a_1001.png", first_number), 3, 8)
    assert job.plate_numbers == job.file_numbers == numbers
    assert [job.clip.frame_of(number) for number in numbers] == list(job.frame_numbers)


def test_files_are_not_numbered_beyond_what_blender_holds_exactly():
    last_exact = Job("walk", ClipSource("sequence", "/a.png", 2**24 - 7), 3, 8)
    assert last_exact.file_numbers == range(2**24 - 5, 2**24 + 1)
    beyond = Job("walk", ClipSource("sequence", "/a.png", 2**24 - 6), 3, 8)
    assert beyond.file_numbers == range(3, 9) and beyond.plate_numbers[-1] == 2**24 + 1
