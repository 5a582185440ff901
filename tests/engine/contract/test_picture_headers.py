"""What a picture's header says is read without decoding anything, and nothing odd gets past."""

from __future__ import annotations

import io
import random
import struct

import pytest

from stereodiff_blender.engine.contract.job_files.picture_headers import read_header


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", width, height, 8, 2, 0, 0, 0)


def jpeg(width: int, height: int, before: int = 20) -> bytes:
    return (b"\xff\xd8\xff\xe0" + struct.pack(">H", before) + bytes(before - 2) + b"\xff\xff\xc2"
            + struct.pack(">HBHH", 17, 8, height, width) + bytes(12))


def exr(width: int, height: int, *, channels=("V",), version: int = 2, sampling: int = 1, notes: bytes = b"",
        shown=None) -> bytes:
    listed = b"".join(name.encode() + b"\0" + struct.pack("<iB3xii", 2, 0, sampling, sampling) for name in channels)
    attributes = (("channels", "chlist", listed + b"\0"), ("compression", "compression", b"\3"),
                  ("note", "string", notes), ("dataWindow", "box2i", struct.pack("<4i", -2, 5, width - 3, height + 4)),
                  ("displayWindow", "box2i", struct.pack("<4i", 1, 1, *(shown or (width, height)))))
    body = b"".join(f"{name}\0{kind}\0".encode() + struct.pack("<I", len(value)) + value
                    for name, kind, value in attributes)
    return b"\x76\x2f\x31\x01" + struct.pack("<I", version) + body + b"\0" + bytes(64)


def header_of(data: bytes):
    header = read_header(io.BytesIO(data))
    return header and (header.kind, header.width, header.height, header.channels)


@pytest.mark.parametrize(("data", "header"), [
    (png(640, 360), ("png", 640, 360, 0)), (png(30000, 16000), ("png", 30000, 16000, 0)),
    (jpeg(640, 360), ("jpeg", 640, 360, 0)), (jpeg(640, 360, before=30_000), ("jpeg", 640, 360, 0)),
    (exr(640, 360), ("exr", 640, 360, 1)), (exr(60000, 60000, channels="RGBA"), ("exr", 60000, 60000, 4)),
    (exr(64, 36, shown=(9000, 8)), ("exr", 9000, 36, 1)),
    (exr(8, 4, version=0x402, notes=b"licence " * 2000), ("exr", 8, 4, 1)),
    (b"", None), (b"GIF89a", None), (b"II*\0", None), (b"\x89PNG\r\n", None),
])
def test_sizes_are_read(data, header):
    assert header_of(data) == header
    if header is not None and header[0] == "exr":
        assert read_header(io.BytesIO(data)).length == len(data) - 64


@pytest.mark.parametrize("data", [
    png(0, 360), png(640, 0), png(640, 360)[:20], png(640, 360)[:14] + bytes(20), jpeg(0, 4), jpeg(4, 0),
    jpeg(640, 360)[:10], b"\xff\xd8\xff" + bytes(50),
    b"\xff\xd8" + b"\xff" * 2_000_000, exr(0, 4), exr(4, -4), exr(640, 360)[:60], exr(4, 4, sampling=2),
    exr(4, 4, version=0x202), exr(4, 4, version=0x802), exr(4, 4, version=0x1002), exr(4, 4, version=9),
    exr(4, 4, notes=bytes(1_100_000)), exr(4, 4, channels=["x" * 9] * 60_000),
    exr(4, 4).replace(b"dataWindow", b"otherThing"), exr(4, 4).replace(b"channels", b"nannels_"),
])
def test_a_damaged_or_odd_header_is_refused(data):
    with pytest.raises(ValueError, match="header"):
        header_of(data)


def test_any_damage_is_a_header_or_refused():
    chance = random.Random(7)
    for _ in range(3000):
        data = bytearray(chance.choice([png(64, 36), jpeg(64, 36), exr(64, 36)]))
        for _ in range(chance.randrange(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            header = header_of(bytes(data))
        except ValueError:
            continue
        assert header is None or (header[1] > 0 and header[2] > 0)


