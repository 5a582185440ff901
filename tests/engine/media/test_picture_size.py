"""Pictures that are too large are refused by what their header says, before anything is decoded."""

from __future__ import annotations

import os
import struct
import tracemalloc
import zlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import OpenEXR
import pytest
from clips import (
    HEIGHT,
    WIDTH,
    error_of,
    index_of,
    movie_source,
    picture,
    read,
    write_dpx,
    write_encoded,
    write_linear_exr,
    write_movie,
)
from picture_headers import big_tiff, bmp, cin, dpx, jpeg, png, tga, tiff, webp

from stereodiff_blender.engine.contract import MAX_MEGAPIXELS, MAX_PIXELS, Job, Matte, Settings
from stereodiff_blender.engine.contract.job_files.result_checks import check_plate
from stereodiff_blender.engine.contract.picture_size import stated_size, stated_tga_size
from stereodiff_blender.engine.media.color import FootageColor
from stereodiff_blender.engine.media.frames import ClipInfo, Raster, probe_clip, read_frames, source_from_path
from stereodiff_blender.engine.media.mattes import examine_matte
from stereodiff_blender.engine.media.movies import probe_movie
from stereodiff_blender.engine.media.stills import read_still, still_pixel_aspect
from stereodiff_blender.engine.worker.provenance import stereo_key

HUGE = {
    "png": png(60000, 60000), "png of 16 bits": png(20000, 20000, bits=16), "jpg": jpeg(60000, 60000),
    "tif": tiff(60000, 60000), "tif, big-endian": tiff(60000, 60000, order=">"), "tif, big": big_tiff(2**40, 60000),
    "tif, one tile": tiff(64, 64, tile=(60000, 60000)),
    "tif, twice": tiff(64, 64, more=((256, 60000), (257, 60000))),
    "bmp": bmp(60000, -60000), "webp": webp(60000, 60000), "dpx": dpx(60000, 60000),
    "dpx, little-endian": dpx(60000, 60000, order="<"), "tga": tga(60000, 60000),
    "cin": cin(60000, 60000),
    "tif that is a png": png(60000, 60000), "exr": None,
}


def write(folder: Path, kind: str) -> Path:
    path = folder / f"huge_1.{kind[:4].strip(' ,') if kind.startswith('webp') else kind[:3]}"
    if HUGE[kind] is None:
        _write_exr(path, {"R": np.zeros((64, 64), np.float16)})
        header = path.read_bytes()
        window = header.index(b"dataWindow\0box2i\0") + len(b"dataWindow\0box2i\0") + 4
        path.write_bytes(header[:window] + struct.pack("<iiii", 0, 0, 59999, 59999) + header[window + 16:])
    else:
        path.write_bytes(HUGE[kind])
    return path


def _write_exr(path: Path, channels: dict[str, np.ndarray]) -> None:
    with OpenEXR.File({"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}, channels) as file:
        file.write(str(path))


@pytest.mark.parametrize("kind", HUGE)
def test_what_claims_to_be_huge_is_refused(kind, tmp_path):
    path = write(tmp_path, kind)
    assert path.stat().st_size < 3000
    for error in (error_of(read_still, path), error_of(probe_clip, source_from_path(path))):
        assert error.code == "picture_too_large" and path.name in error.message
        assert f"the limit is {MAX_MEGAPIXELS} million" in error.message


@pytest.mark.parametrize("kind", HUGE)
def test_blender_is_not_given_what_claims_to_be_huge(kind, tmp_path):
    assert error_of(check_plate, write(tmp_path, kind)).code == "clip_unreadable"


@pytest.mark.parametrize("kind, form", [(9, "<i"), (8, "<hxx"), (6, "<bxxx"), (16, "<I"), (17, "<I")])
def test_a_tiff_that_names_its_width_in_an_odd_form_as_well_is_not_decoded(kind, form, tmp_path):
    """OpenCV takes the first of two entries, in whatever form."""
    plain = tiff(2, 2)
    first = struct.pack("<HHI", 256, kind, 1) + struct.pack(form, 100)
    count, entries = struct.unpack_from("<H", plain, 8)[0], plain[10:]
    path = tmp_path / "odd_1.tif"
    path.write_bytes(plain[:8] + struct.pack("<H", count + 1) + first + entries + bytes(300))
    assert stated_size(path.read_bytes()) is None
    assert error_of(read_still, path).code == "clip_unreadable"


SMALL = {"png": png(8, 8), "jpg": jpeg(8, 8), "tif": tiff(8, 8), "bmp": bmp(8, 8), "webp": webp(8, 8),
         "dpx": dpx(8, 8), "tga": tga(8, 8), "cin": cin(8, 8), "exr": None}


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="holes take room on this system")
@pytest.mark.parametrize("kind", SMALL)
def test_a_small_picture_in_a_huge_file_is_not_read(kind, tmp_path):
    path = tmp_path / f"small_1.{kind}"
    if SMALL[kind] is None:
        _write_exr(path, {"R": np.zeros((8, 8), np.float16)})
    else:
        path.write_bytes(SMALL[kind])
    os.truncate(path, 500_000_000)
    tracemalloc.start()
    for error in (error_of(read_still, path), error_of(probe_clip, source_from_path(path))):
        assert error.code == "picture_too_large" and "500 MB" in error.message
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50_000_000


def test_a_directory_at_the_end_of_a_large_tiff_is_found(tmp_path):
    path = tmp_path / "large_1.tif"
    image = np.random.default_rng(1).integers(0, 255, (200, 300, 3), np.uint8)
    cv2.imwrite(str(path), image, [cv2.IMWRITE_TIFF_COMPRESSION, 1])
    data = path.read_bytes()
    assert struct.unpack_from("<I", data, 4)[0] > 100_000  # which is beyond what is read first
    assert np.array_equal(read_still(path), image[..., ::-1])


def test_the_limit_lets_the_largest_plates_in():
    assert max(12288 * 6480, 16384 * 8192, 14204 * 9480) <= MAX_PIXELS == Settings().max_pixels
    assert Settings(max_megapixels=500).max_pixels == 500_000_000


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp", ".webp", ".dpx", ".tga", ".exr"])
def test_every_still_is_read_up_to_the_limit_and_not_beyond(suffix, tmp_path):
    path = tmp_path / f"shot_1{suffix}"
    if suffix == ".dpx":
        write_dpx(path, picture(5))
    elif suffix == ".tga":
        path.write_bytes(tga(WIDTH, HEIGHT, picture(5)[..., ::-1].tobytes()))
    elif suffix == ".exr":
        write_linear_exr(path, picture(5))
    else:
        write_encoded(path, picture(5)[..., ::-1])
    color = FootageColor("sRGB" if suffix == ".dpx" else "")
    assert index_of(read_still(path, max_pixels=WIDTH * HEIGHT, color=color)) == 5
    assert error_of(read_still, path, max_pixels=WIDTH * HEIGHT - 1).code == "picture_too_large"
    assert still_pixel_aspect(path, max_pixels=WIDTH * HEIGHT) == 1.0


@pytest.mark.parametrize("codec", [{}, {"codec": "mjpeg", "pix_fmt": "yuvj420p"}, {"codec": "png", "pix_fmt": "rgb24"}])
def test_a_movie_is_read_up_to_the_limit_and_not_beyond(codec, tmp_path):
    path = write_movie(tmp_path / "clip.mov", 4, **codec)
    assert probe_movie(path, max_pixels=WIDTH * HEIGHT).width == WIDTH
    error = error_of(probe_movie, path, max_pixels=WIDTH * HEIGHT - 1)
    assert error.code == "picture_too_large" and f"{WIDTH} x {HEIGHT}" in error.message
    raster = Raster(WIDTH, HEIGHT, WIDTH, HEIGHT, 1.0)
    frames = read_frames(movie_source(path), range(1, 5), raster, max_pixels=WIDTH * HEIGHT)
    assert [index_of(frame) for frame in frames] == [0, 1, 2, 3]
    short = read_frames(movie_source(path), range(1, 5), raster, max_pixels=100)
    assert error_of(list, short).code == "picture_too_large"


@pytest.mark.parametrize("place", [0, 3])
def test_a_movie_whose_picture_outgrows_its_header(place, tmp_path):
    """Each picture of this movie is a PNG; one claims 13000 x 13000."""
    path = write_movie(tmp_path / "grows.mov", 6, codec="png", pix_fmt="rgb24")
    data = bytearray(path.read_bytes())
    start = [at for at in range(len(data)) if data.startswith(b"\x89PNG\r\n", at)][place]
    data[start + 16:start + 24] = struct.pack(">II", 13000, 13000)
    data[start + 29:start + 33] = struct.pack(">I", zlib.crc32(data[start + 12:start + 29]))
    path.write_bytes(data)
    frames = read_frames(movie_source(path), range(1, 7), Raster(WIDTH, HEIGHT, WIDTH, HEIGHT, 1.0))
    error = error_of(list, frames)
    assert error.code == "clip_truncated" and f"frame {place + 1}" in error.message and "too large" in error.message


def test_a_picture_in_the_middle_of_a_sequence(tmp_path):
    for number in (1, 2, 3):
        write_encoded(tmp_path / f"shot_{number}.png", picture(number)[..., ::-1])
    (tmp_path / "shot_2.png").write_bytes(png(60000, 60000))
    error = error_of(read, source_from_path(tmp_path / "shot_1.png"), 1, 3)
    assert error.code == "picture_too_large" and "shot_2.png" in error.message


def test_a_matte_has_the_same_limit(tmp_path):
    for number in (1, 2):
        (tmp_path / f"matte_{number}.png").write_bytes(png(60000, 36000))
    matte = Matte("pictures", source_from_path(tmp_path / "matte_1.png"))
    error = error_of(examine_matte, matte, range(1, 3), ClipInfo(WIDTH, HEIGHT, 1.0, 24.0, 2))
    assert error.code == "picture_too_large" and "matte_1.png" in error.message


def test_the_layers_of_an_exr_count_together(tmp_path):
    """A second part is decoded too, and so is every layer."""
    plane = np.zeros((40, 50), np.float16)
    _write_exr(tmp_path / "layers_1.exr", dict.fromkeys("ABCDEFGHR", plane))
    error = error_of(read_still, tmp_path / "layers_1.exr", max_pixels=40 * 50)
    assert error.code == "picture_too_large" and "layers" in error.message
    head = {"type": OpenEXR.scanlineimage, "compression": OpenEXR.ZIP_COMPRESSION,
            "displayWindow": (np.zeros(2, np.int32), np.array((49, 39), np.int32))}
    parts = [OpenEXR.Part({**head, "name": "left"}, {"Y": plane}),
             OpenEXR.Part({**head, "name": "right"}, {"Y": np.zeros((400, 500), np.float16)})]
    OpenEXR.File(parts).write(str(tmp_path / "parts_1.exr"))
    assert read_still(tmp_path / "parts_1.exr").shape == (40, 50, 3)
    assert error_of(read_still, tmp_path / "parts_1.exr", max_pixels=40 * 50).code == "picture_too_large"


def test_a_file_longer_than_any_picture_is_not_even_read(tmp_path):
    """A sparse file: it takes no room on the disk."""
    path = tmp_path / "long_1.png"
    with open(path, "wb") as stream:
        stream.truncate(32 * MAX_PIXELS + 2_000_000)
    assert error_of(read_still, path).code == "clip_unreadable"


def test_the_limit_changes_nothing_of_what_is_kept():
    low, high = (Job("a", movie_source("/a.mp4"), 1, 5, Settings(max_megapixels=limit)) for limit in (100, 500))
    assert stereo_key(low, "") == stereo_key(high, "") != stereo_key(replace(low, settings=Settings(seed=1)), "")


# --- What headers say ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp", ".webp"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sizes_are_those_that_the_decoder_finds(suffix, channels, tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (70, 130, channels)).astype(np.uint8)
    if (suffix in (".jpg", ".bmp", ".webp") and channels == 4) or (suffix == ".webp" and channels == 1):
        image = image[..., :3] if channels == 4 else np.repeat(image, 3, axis=2)
    path = write_encoded(tmp_path / f"a{suffix}", image)
    assert stated_size(path.read_bytes()) == (130, 70) == cv2.imread(str(path)).shape[1::-1]


@pytest.mark.parametrize("quality", [50, 101])
@pytest.mark.parametrize("channels", [3, 4])
def test_both_kinds_of_webp(quality, channels, tmp_path):
    """Beyond 100 OpenCV writes it without loss."""
    image = np.full((70, 130, channels), 128, np.uint8)
    done, data = cv2.imencode(".webp", image, (cv2.IMWRITE_WEBP_QUALITY, quality))
    assert done and stated_size(data.tobytes()) == (130, 70)


def test_the_thumbnail_in_a_jpeg_is_not_the_picture(tmp_path):
    thumbnail = jpeg(16, 9)
    wrapped = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    assert stated_size(jpeg(640, 480, before=wrapped)) == (640, 480)
    assert stated_size(jpeg(640, 480, before=b"\xff\xfe\0\2" + b"junk" + b"\xff\xff\xff\xff\xd0")) == (640, 480)


@pytest.mark.parametrize("kind", HUGE)
def test_headers_that_break_off_say_nothing(kind):
    if HUGE[kind] is None:
        pytest.skip("an EXR's header is read by its library")
    reader = stated_tga_size if kind == "tga" else stated_size
    for length in range(0, 26, 2):
        size = reader(HUGE[kind][:length])
        assert size is None or min(size) > 0
    assert reader(HUGE[kind][:9]) is None


@pytest.mark.parametrize("data", [
    b"", b"\xff\xd8\xff", b"\xff\xd8" + b"\xff" * 50, b"\xff\xd8\xff\xda\0\2", b"BM", b"II*\0\xff\xff\xff\x7f",
    b"II*\0\x08\0\0\0\xff\xff" + bytes(40), b"RIFF\0\0\0\0WEBPVP9 " + bytes(40), b"P6 64 64 255\n" + bytes(64),
    b"GIF89a" + bytes(40), b"\x89PNG\r\n\x1a\n" + bytes(40),
])
def test_what_no_picture_is_has_no_size(data, tmp_path):
    assert stated_size(data) is None
    path = tmp_path / "what_1.png"
    path.write_bytes(data or b"\0")
    error = error_of(read_still, path)
    assert error.code == "clip_unreadable" and "what_1.png" in error.message
