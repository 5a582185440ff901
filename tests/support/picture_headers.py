"""Tiny files that claim to be pictures of any size: headers by hand, next to nothing behind them."""

from __future__ import annotations

import struct
import zlib


def png(width: int, height: int, *, bits: int = 8, color: int = 6) -> bytes:
    """color: 2 is RGB, 6 RGBA."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000)))
            + chunk(b"IEND", b""))


def jpeg(width: int, height: int, *, before: bytes = b"") -> bytes:
    """before: what stands between the start of the file and the start of the frame."""
    frame = struct.pack(">BHHB", 8, height, width, 3) + bytes((1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0))
    return b"\xff\xd8" + before + b"\xff\xc0" + struct.pack(">H", len(frame) + 2) + frame + b"\xff\xd9"


def tiff(width: int, height: int, *, order: str = "<", tile: tuple[int, int] = (0, 0), more: tuple = ()) -> bytes:
    """Without pixels. tile: its width and height. more: further (tag, value) in the directory."""
    entries = [(256, width), (257, height), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, height), (279, 1),
               *((322, tile[0]), (323, tile[1])), *more]
    packed = b"".join(struct.pack(order + "HHII", tag, 4, 1, value) for tag, value in entries)
    return ((b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
            + struct.pack(order + "H", len(entries)) + packed + bytes(4))


def big_tiff(width: int, height: int) -> bytes:
    entries = ((256, 16, width), (257, 4, height), (258, 3, 8))
    packed = b"".join(struct.pack("<HHQQ", tag, kind, 1, value) for tag, kind, value in entries)
    return b"II" + struct.pack("<HHHQ", 43, 8, 0, 16) + struct.pack("<Q", len(entries)) + packed + bytes(8)


def bmp(width: int, height: int) -> bytes:
    return (b"BM" + struct.pack("<IHHI", 54, 0, 0, 54)
            + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0))


def webp(width: int, height: int) -> bytes:
    """The extended format: canvas only."""
    body = (b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + (width - 1).to_bytes(3, "little")
            + (height - 1).to_bytes(3, "little"))
    return b"RIFF" + struct.pack("<I", len(body)) + body


def dpx(width: int, height: int, *, order: str = ">") -> bytes:
    head = bytearray(2048)
    head[:4] = b"SDPX" if order == ">" else b"XPDS"
    head[772:780] = struct.pack(order + "II", width, height)
    return bytes(head)


def cin(width: int, height: int) -> bytes:
    head = bytearray(2048)
    head[:4] = b"\x80\x2a\x5f\xd7"
    head[193], head[198] = 3, 10
    head[200:208] = struct.pack(">II", width, height)
    return bytes(head)


def tga(width: int, height: int, pixels: bytes = b"") -> bytes:
    """24 bits, top line first."""
    return struct.pack("<BBBHHBHHHHBB", 0, 0, 2, 0, 0, 0, 0, 0, width, height, 24, 0x20) + pixels
