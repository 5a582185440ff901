"""Previews decoded without Blender: the same pixels as other programs see, and nothing that asks for too much."""

from __future__ import annotations

import struct
import zlib

import cv2
import imageio.v3 as imageio
import numpy as np
import pytest

from stereodiff_blender.engine.contract import JobFolder, StereoDiffError
from stereodiff_blender.jobs.small_pictures import MAX_PIXELS, decode_png, read_small, reduced


def picture(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Smooth parts and noise, so that writers choose filters of every kind."""
    rng = np.random.default_rng(seed)
    smooth = np.add.outer(np.arange(height) * 3, np.arange(width) * 2)[..., None] + np.arange(channels) * 40
    noise = rng.integers(0, 256, smooth.shape) * (rng.random((height, 1, 1)) < 0.3)
    return ((smooth + noise) % 256).astype(np.uint8)


def as_png(width: int, height: int, lines: bytes, *, depth: int = 8, colors: int = 2, interlaced: int = 0) -> bytes:
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colors, 0, 0, interlaced)),
              (b"tEXt", b"note\0of anybody"), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks)


@pytest.mark.parametrize(("height", "width"), [(40, 64), (64, 40), (1, 9), (9, 1), (1, 1), (50, 50)])
@pytest.mark.parametrize("channels", [3, 4])
def test_pixels_are_those_that_were_written(height, width, channels):
    pixels = picture(height, width, channels)
    data = imageio.imwrite("<bytes>", pixels, extension=".png")
    assert np.array_equal(decode_png(data), pixels[..., :3])


@pytest.mark.parametrize("kind", range(5))
def test_every_filter_is_known(kind):
    rng = np.random.default_rng(kind)
    stored = rng.integers(0, 256, (12, 20, 3), dtype=np.uint8)
    lines = b"".join(bytes([kind]) + line.tobytes() for line in stored)
    data = as_png(20, 12, lines)
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert np.array_equal(decode_png(data), expected)


@pytest.mark.parametrize("data", [
    as_png(20, 12, bytes(12 * 61), depth=16), as_png(20, 12, bytes(12 * 61), colors=3),
    as_png(20, 12, bytes(12 * 61), colors=0), as_png(20, 12, bytes(12 * 61), interlaced=1),
    as_png(20, 12, bytes(11 * 61)), as_png(20, 12, b"\5" * 12 * 61), as_png(20, 12, bytes(12 * 61))[:50],
    as_png(20, 12, bytes(12 * 61))[:70], as_png(20000, 1000, b""), as_png(0, 0, b""),
])
def test_what_is_no_plain_picture_is_refused(tmp_path, data):
    (tmp_path / "preview.png").write_bytes(data)
    with pytest.raises(StereoDiffError, check=lambda error: error.code == "result_invalid"):
        read_small(JobFolder(tmp_path), "preview.png")


@pytest.mark.parametrize(("width", "height"), [(30000, 16000), (2 ** 31 - 1, 2 ** 31 - 1), (MAX_PIXELS + 1, 1)])
def test_a_header_that_claims_too_much_is_refused_unread(tmp_path, width, height):
    (tmp_path / "preview.png").write_bytes(as_png(width, height, b""))
    with pytest.raises(StereoDiffError, check=lambda error: error.code == "result_invalid"):
        read_small(JobFolder(tmp_path), "preview.png")


@pytest.mark.parametrize(("width", "height"), [(1, 1_000_000), (100, 20_000)])
def test_a_narrow_strip_asks_for_no_room(tmp_path, width, height):
    (tmp_path / "preview.png").write_bytes(as_png(width, height, bytes(height * (3 * width + 1))))
    with pytest.raises(StereoDiffError, match="pixels", check=lambda error: error.code == "result_invalid"):
        read_small(JobFolder(tmp_path), "preview.png")


@pytest.mark.slow
def test_data_that_unpack_to_more_than_they_should_are_cut(tmp_path):
    data = as_png(20, 12, bytes(300_000_000))
    assert len(data) < 1_000_000
    assert not decode_png(data).any()


def test_a_link_or_a_pipe_is_not_read(tmp_path):
    (tmp_path / "elsewhere.png").write_bytes(as_png(20, 12, bytes(12 * 61)))
    (tmp_path / "preview.png").symlink_to(tmp_path / "elsewhere.png")
    with pytest.raises(StereoDiffError):
        read_small(JobFolder(tmp_path), "preview.png")


def test_a_picture_is_made_small(tmp_path):
    pixels = np.repeat(np.repeat(picture(45, 160), 8, axis=0), 8, axis=1)
    (tmp_path / "preview.png").write_bytes(imageio.imwrite("<bytes>", pixels, extension=".png"))
    small = read_small(JobFolder(tmp_path), "preview.png")
    assert small.shape == (72, 256, 3)
    assert np.abs(small.mean((0, 1)) - pixels.mean((0, 1))).max() < 1.0
    assert np.array_equal(reduced(pixels, 160), picture(45, 160))
    assert reduced(pixels[:3]).shape == (1, 256, 3)


def test_a_strip_is_made_small():
    assert reduced(np.zeros((2, 5000, 3), np.uint8)).shape == (1, 250, 3)
