"""EXR files: exact, repeatable, read by other programs, and refused when they cannot be what they say."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import OpenEXR
import pytest

from stereodiff_blender.engine.contract import StereoDiffError
from stereodiff_blender.engine.media import exr

needs_unix_device = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")


@pytest.fixture
def depth() -> np.ndarray:
    image = np.random.default_rng(7).random((97, 161), dtype=np.float32) * 20
    image[0, 0], image[1, 1], image[2, 2] = 0.0, 1e-20, 3.4e38
    return image


def test_what_is_written_is_read_back_exactly(depth, tmp_path):
    channels = {"V": depth, "layer.G": depth[::-1], "A": np.asfortranarray(depth * 0.5)}
    exr.write_exr(tmp_path / "a.exr", channels)
    back = exr.read_exr(tmp_path / "a.exr")
    assert set(back) == set(channels)
    for name, image in channels.items():
        assert back[name].dtype == np.float32 and np.array_equal(back[name], image)


def test_other_kinds_of_numbers_become_float(tmp_path):
    exr.write_gray(tmp_path / "mask.exr", np.eye(8, dtype=np.uint8))
    assert np.array_equal(exr.read_exr(tmp_path / "mask.exr")["V"], np.eye(8, dtype=np.float32))


def test_a_gray_file_is_what_blender_and_the_scorer_read(depth, tmp_path):
    exr.write_gray(tmp_path / "0001.exr", depth, {"comments": "z-depth", "gauge": "relative"})
    with OpenEXR.File(str(tmp_path / "0001.exr"), separate_channels=True) as file:
        assert list(file.channels()) == ["V"]
        assert file.channels()["V"].pixels.dtype == np.float32
        assert np.array_equal(file.channels()["V"].pixels, depth)
        header = dict(file.header())
    assert (header["comments"], header["gauge"]) == ("z-depth", "relative")
    assert header["compression"] == OpenEXR.ZIP_COMPRESSION


def test_the_same_image_gives_the_same_bytes(depth, tmp_path):
    for name in ("a.exr", "b.exr"):
        exr.write_gray(tmp_path / name, depth, {"comments": "same"})
    assert (tmp_path / "a.exr").read_bytes() == (tmp_path / "b.exr").read_bytes()
    assert (tmp_path / "a.exr").stat().st_size < depth.nbytes * 1.1


def test_names_beyond_ascii(depth, tmp_path):
    exr.write_gray(tmp_path / "Tiefe ü 深度.exr", depth)
    assert np.array_equal(exr.read_exr(tmp_path / "Tiefe ü 深度.exr")["V"], depth)


@pytest.mark.parametrize("channels", [
    {}, {"V": np.zeros(5)}, {"V": np.zeros((0, 5))}, {"R": np.zeros((4, 5)), "G": np.zeros((5, 4))},
])
def test_channels_that_are_no_image(channels, tmp_path):
    with pytest.raises(ValueError, match="images of one size"):
        exr.write_exr(tmp_path / "a.exr", channels)
    assert not (tmp_path / "a.exr").exists()


def test_half_floats_of_other_programs(tmp_path):
    half = np.linspace(0, 4, 64, dtype=np.float16).reshape(8, 8)
    with OpenEXR.File({"compression": OpenEXR.PIZ_COMPRESSION, "type": OpenEXR.scanlineimage}, {"R": half}) as file:
        file.write(str(tmp_path / "half.exr"))
    back = exr.read_exr(tmp_path / "half.exr")["R"]
    assert back.dtype == np.float32 and np.array_equal(back, half.astype(np.float32))


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.5, 0.95])
def test_a_truncated_file_is_refused(share, depth, tmp_path):
    exr.write_gray(tmp_path / "a.exr", depth)
    data = (tmp_path / "a.exr").read_bytes()
    (tmp_path / "a.exr").write_bytes(data[:int(len(data) * share)])
    with pytest.raises(ValueError, match=r"a\.exr"):
        exr.read_exr(tmp_path / "a.exr")


@pytest.mark.parametrize("width, height", [(200_000, 200_000), (2, 100_000_000), (0, 5)])
def test_a_header_that_claims_too_much_is_refused_before_memory_is_asked_for(width, height, depth, tmp_path):
    exr.write_gray(tmp_path / "a.exr", depth)
    data = bytearray((tmp_path / "a.exr").read_bytes())
    window = data.index(b"dataWindow\0box2i\0") + len(b"dataWindow\0box2i\0") + 4
    struct.pack_into("<4i", data, window, 0, 0, width - 1, height - 1)
    (tmp_path / "a.exr").write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.exr"):
        exr.read_exr(tmp_path / "a.exr")


def test_a_missing_file_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        exr.read_exr(tmp_path / "none.exr")


# --- Disks that refuse -----------------------------------------------------------------------------------------

def written_code(path: Path, image: np.ndarray) -> str:
    with pytest.raises(StereoDiffError) as caught:
        exr.write_gray(path, image)
    assert path.name in caught.value.message
    return caught.value.code


@needs_unix_device
def test_a_full_disk_says_so(depth, tmp_path):
    (tmp_path / "0001.exr").symlink_to("/dev/full")
    assert written_code(tmp_path / "0001.exr", depth) == "disk_full"


def test_a_folder_in_the_way_or_missing_says_so(depth, tmp_path):
    (tmp_path / "0001.exr").mkdir()
    assert written_code(tmp_path / "0001.exr", depth) == "output_not_writable"
    assert written_code(tmp_path / "nowhere" / "0001.exr", depth) == "output_not_writable"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_read_only_folder_says_so(depth, tmp_path):
    tmp_path.chmod(0o500)
    assert written_code(tmp_path / "0001.exr", depth) == "output_not_writable"
    tmp_path.chmod(0o700)
