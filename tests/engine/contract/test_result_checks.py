"""Every picture of a result is looked into before Blender may load it."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from job_folder import Example, write_gray, write_job_folder, write_png

from stereodiff_blender.engine.contract import JobFolder, StereoDiffError
from stereodiff_blender.engine.contract.job_files.result_checks import MAX_SHOWN_BYTES, check_shown, read_checked
from stereodiff_blender.engine.media.exr import write_exr


@pytest.fixture
def folder(tmp_path) -> JobFolder:
    write_job_folder(tmp_path / "job", Example(raster=(16, 9), clip=(16, 9), frame_count=4))
    return JobFolder(tmp_path / "job")


def refused(words: str | None = None):
    return pytest.raises(StereoDiffError, match=words, check=lambda error: error.code == "result_invalid")


def test_a_good_result_is_read(folder):
    assert read_checked(folder) == folder.read_result()


@pytest.mark.parametrize("product", ["depth", "confidence", "motion_mask"])
@pytest.mark.parametrize("size", [(9, 17), (10, 16), (1, 1)])
def test_a_picture_of_another_size_is_refused(folder, product, size):
    write_gray(folder.product_file(product, 3), np.ones(size))
    with refused(f"0003.exr in {product} is no picture of 16 x 9"):
        read_checked(folder)


@pytest.mark.parametrize("size", [(9, 16), (18, 33)])
def test_depth_at_the_plates_size_has_that_size_and_no_other(tmp_path, size):
    write_job_folder(tmp_path / "job", Example(raster=(16, 9), clip=(32, 18), frame_count=4, has_plate_depth=True))
    folder = JobFolder(tmp_path / "job")
    assert read_checked(folder).plate_size == (32, 18)
    write_gray(folder.product_file("plate_depth", 3), np.ones(size))
    with refused("0003.exr in plate_depth is no picture of 32 x 18"):
        read_checked(folder)


@pytest.mark.parametrize("size", [(9, 16), (18, 33)])
def test_edges_have_the_plates_size_and_no_other(tmp_path, size):
    write_job_folder(tmp_path / "job", Example(raster=(16, 9), clip=(32, 18), frame_count=4, has_plate_depth=True,
                                               has_edges=True))
    folder = JobFolder(tmp_path / "job")
    assert read_checked(folder).frames[0].edge is not None
    write_gray(folder.product_file("edge", 3), np.ones(size))
    with refused("0003.exr in edge is no picture of 32 x 18"):
        read_checked(folder)


@pytest.mark.parametrize("channels", ["V", "RG", "RGBA"])
def test_what_the_mesh_reads_has_three_channels(folder, channels):
    write_exr(folder.product_file("mesh_depth", 2), dict.fromkeys(channels, np.ones((9, 16))))
    with refused("0002.exr in mesh_depth is no picture"):
        read_checked(folder)


def test_a_picture_with_more_channels_is_refused(folder):
    write_exr(folder.product_file("depth", 2), dict.fromkeys("RGB", np.ones((9, 16))))
    with refused("0002.exr"):
        read_checked(folder)


def test_a_header_that_claims_anything_is_refused(folder):
    path = folder.product_file("depth", 4)
    data = bytearray(path.read_bytes())
    at = data.index(b"dataWindow\0box2i\0") + len(b"dataWindow\0box2i\0") + 4 + 8
    data[at:at + 8] = (60_000).to_bytes(4, "little") * 2
    path.write_bytes(data)
    with refused("0004.exr"):
        read_checked(folder)


@pytest.mark.parametrize("content", [b"not a picture", b"\x89PNG\r\n\x1a\n" + bytes(40), b"\x76\x2f\x31\x01"])
def test_what_is_no_exr_is_refused(folder, content):
    folder.product_file("depth", 4).write_bytes(content)
    with refused("0004.exr"):
        read_checked(folder)


@pytest.mark.skipif(os.name == "nt", reason="pipes are POSIX")
def test_a_pipe_is_refused(folder):
    folder.product_file("depth", 4).unlink()
    os.mkfifo(folder.product_file("depth", 4))
    with refused():
        read_checked(folder)


def leave_out(folder: JobFolder, product: str, index: int) -> None:
    """The result says that a frame has no such picture."""
    data = json.loads(folder.result_file.read_text())
    data["frames"][index][product] = None
    folder.result_file.write_text(json.dumps(data))


@pytest.mark.parametrize("product", ["depth", "confidence", "motion_mask"])
@pytest.mark.parametrize("frame", [1, 3, 4])
def test_what_is_played_is_looked_into_where_the_result_names_none(folder, product, frame):
    leave_out(folder, product, frame - 1)
    read_checked(folder)
    write_gray(folder.product_file(product, frame), np.ones((2, 2)))
    with refused(f"000{frame}.exr in {product} is no picture"):
        read_checked(folder)
    folder.product_file(product, frame).unlink()
    read_checked(folder)


@pytest.mark.skipif(os.name == "nt", reason="pipes are POSIX")
@pytest.mark.parametrize("number", [0, 3])
def test_a_pipe_that_would_be_played_is_refused(folder, number):
    """Before the first frame, Blender plays the file of the number before; a pipe keeps it waiting for ever."""
    if number:
        leave_out(folder, "depth", number - 1)
        folder.product_file("depth", number).unlink()
    os.mkfifo(folder.product_file("depth", number))
    with refused("a file nor a folder"):
        read_checked(folder)


def test_what_is_played_goes_by_the_first_name_and_counts_on_from_it(folder):
    data = json.loads(folder.result_file.read_text())
    os.replace(folder.product_file("depth", 1), folder.path / "depth" / "d0777.exr")
    data["frames"][0]["depth"] = "depth/d0777.exr"
    folder.result_file.write_text(json.dumps(data))
    read_checked(folder)
    write_gray(folder.path / "depth" / "d0778.exr", np.ones((2, 2)))
    with refused("d0778.exr"):
        read_checked(folder)


def test_files_outside_of_a_products_folder_are_looked_into_as_well(folder):
    data = json.loads(folder.result_file.read_text())
    os.replace(folder.product_file("depth", 1), folder.path / "first.exr")
    data["frames"][0]["depth"] = "first.exr"
    folder.result_file.write_text(json.dumps(data))
    read_checked(folder)
    write_gray(folder.path / "first.exr", np.ones((2, 2)))
    with refused("first.exr"):
        read_checked(folder)


def test_pictures_that_are_shown_have_a_limit(folder):
    write_png(folder.preview_image, np.zeros((9, 16, 3), np.uint8))
    assert check_shown(folder.files, "preview.png").width == 16
    with open(folder.preview_image, "ab") as stream:
        stream.truncate(MAX_SHOWN_BYTES + 1)
    for name in ("preview.png", "depth/0001.exr", "missing.png"):
        with refused():
            check_shown(folder.files, name)
    data = folder.product_file("depth", 1).read_bytes()
    folder.preview_image.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (7000).to_bytes(4, "big") * 2 + data)
    with refused("could be shown"):
        check_shown(folder.files, "preview.png")
