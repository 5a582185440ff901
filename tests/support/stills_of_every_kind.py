"""Small stills of every kind that plates come in, movies of HDR, and the pictures that the engine makes of them.

In the worker's Python: python stills_of_every_kind.py write FOLDER writes KINDS, each to file_of();
... read FOLDER reads FOLDER/sources.json, {name: a ClipSource's fields}, and writes FOLDER/pictures.npz.
"""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import OpenEXR
import OpenImageIO as oiio  # noqa: N813 - as its own documentation has it
from clips import read

from stereodiff_blender.engine.contract import ClipSource

WIDTH, HEIGHT = 96, 80
TOP = {"uint8": 255, "uint16": 65535}


def ramps(top: float = 1.0) -> np.ndarray:
    """(H,W,3) float32, 0 to top: another ramp in each channel, from left to right, down, and across."""
    cols, rows = np.meshgrid(np.linspace(0, 1, WIDTH), np.linspace(0, 1, HEIGHT))
    return (np.stack([cols, rows, (cols + 1 - rows) / 2], axis=-1) * top).astype(np.float32)


def with_alpha(color: np.ndarray) -> np.ndarray:
    """Alpha rises from nothing to all within the upper half."""
    alpha = np.broadcast_to(np.clip(np.linspace(0, 2, HEIGHT), 0, 1)[:, None, None], (HEIGHT, WIDTH, 1))
    return np.concatenate([color, alpha], axis=2).astype(np.float32)


def by_oiio(path: Path, values: np.ndarray, kind: str, **attributes) -> None:
    """kind: uint8, uint16, half or float. values: (H,W,C), of integers 0 to 1. attributes: "__" stands for ":"."""
    spec = oiio.ImageSpec(values.shape[1], values.shape[0], values.shape[2], kind)
    for name, value in attributes.items():
        spec.attribute(name.replace("__", ":"), value)
    top = TOP.get(kind)
    stored = values.astype(np.float32) if top is None else np.rint(values * top).astype(kind)
    file = oiio.ImageOutput.create(str(path))
    assert file.open(str(path), spec), file.geterror()
    assert file.write_image(np.ascontiguousarray(stored)), file.geterror()
    assert file.close()


def exr(path: Path, channels: dict[str, np.ndarray], *, at: tuple[int, int] = (0, 0),
        display: tuple[int, int] | None = None, **header) -> Path:
    """channels: (h,w) each. at: where they begin in the display window, which has the given size, or theirs."""
    height, width = next(iter(channels.values())).shape
    shown = display or (width, height)
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage,
              "dataWindow": (np.array(at, np.int32), np.array((at[0] + width - 1, at[1] + height - 1), np.int32)),
              "displayWindow": (np.zeros(2, np.int32), np.array((shown[0] - 1, shown[1] - 1), np.int32))} | header
    with OpenEXR.File(header, {name: np.ascontiguousarray(values) for name, values in channels.items()}) as file:
        file.write(str(path))
    return path


def colors(picture: np.ndarray, prefix: str = "") -> dict[str, np.ndarray]:
    return {prefix + name: picture[..., place] for place, name in enumerate("RGB")}


def cineon(path: Path, values: np.ndarray) -> None:
    """10 bits a channel, three in a word, big-endian, as film scanners wrote it."""
    head = bytearray(2048)
    struct.pack_into(">IIIII", head, 0, 0x802A5FD7, 2048, 1024, 0, 0)
    struct.pack_into(">I", head, 20, len(head) + 4 * values.shape[0] * values.shape[1])
    head[24:28] = b"V4.5"
    head[192:194] = bytes((0, 3))
    for channel in range(3):
        struct.pack_into(">BBBBIIffff", head, 196 + 28 * channel, 0, channel + 1, 10, 0, values.shape[1],
                         values.shape[0], 0.0, 0.0, 1023.0, 2.046)  # its size, and which codes stand for which density
    struct.pack_into(">BBBB", head, 680, 0, 5, 0, 0)  # interleaved, packed into words from the left
    codes = np.rint(values * 1023).astype(np.uint32)
    words = codes[..., 0] << 22 | codes[..., 1] << 12 | codes[..., 2] << 2
    path.write_bytes(bytes(head) + words.astype(">u4").tobytes())


def hdr_movie(path: Path, transfer: int) -> None:
    """10 bits, of Rec.2020 primaries, tagged with ffmpeg's number of a transfer: 16 is PQ, 18 is HLG."""
    with av.open(str(path), "w") as container:
        tags = f"colorprim=9:transfer={transfer}:colormatrix=9:log-level=none"
        stream = container.add_stream("libx265", rate=25, options={"x265-params": tags, "crf": "2"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p10le"
        codec = stream.codec_context
        codec.color_primaries, codec.color_trc, codec.colorspace = 9, transfer, 9
        values = np.rint(np.repeat(ramps(0.6)[..., :1], 3, axis=2) * 65535).astype(np.uint16)
        for number in range(3):
            frame = av.VideoFrame.from_ndarray(values, format="rgb48le")
            frame = frame.reformat(format="yuv420p10le", dst_colorspace=9)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def layers(path: Path) -> None:
    """What is no picture stands before it, by name and in the file."""
    dark, depth = ramps(0.1), np.full((HEIGHT, WIDTH), 7.0, np.float32)
    exr(path, colors(dark, "ViewLayer.AO.") | {"ViewLayer.Depth.Z": depth} | colors(ramps(), "ViewLayer.Combined.")
        | {"ViewLayer.Combined.A": np.ones_like(depth)})


KINDS: dict[str, Callable[[Path], object]] = {
    "png8.png": lambda path: by_oiio(path, ramps(), "uint8"),
    "png8_alpha.png": lambda path: by_oiio(path, with_alpha(ramps()), "uint8", oiio__UnassociatedAlpha=1),
    "png16.png": lambda path: by_oiio(path, ramps(), "uint16"),
    "gray.png": lambda path: by_oiio(path, ramps()[..., 2:], "uint8"),
    "gray_alpha.png": lambda path: by_oiio(path, with_alpha(ramps())[..., 2:], "uint8", oiio__UnassociatedAlpha=1),
    "jpeg.jpg": lambda path: by_oiio(path, ramps(), "uint8"),
    "bmp.bmp": lambda path: by_oiio(path, ramps(), "uint8"),
    "webp.webp": lambda path: by_oiio(path, ramps(), "uint8"),
    "tiff8.tif": lambda path: by_oiio(path, ramps(), "uint8"),
    "tiff16.tif": lambda path: by_oiio(path, ramps(), "uint16"),
    "tiff16_alpha.tif": lambda path: by_oiio(path, with_alpha(ramps()), "uint16", oiio__UnassociatedAlpha=1),
    "tiff_float.tif": lambda path: by_oiio(path, ramps(1.5), "float"),
    "tga.tga": lambda path: by_oiio(path, ramps(), "uint8"),
    "tga_rle.tga": lambda path: by_oiio(path, ramps(), "uint8", compression="rle"),
    "dpx10.dpx": lambda path: by_oiio(path, ramps(), "uint16", oiio__BitsPerSample=10),
    "dpx16.dpx": lambda path: by_oiio(path, ramps(), "uint16"),
    "cineon.cin": lambda path: cineon(path, ramps()),
    "half.exr": lambda path: exr(path, colors(ramps(2.0).astype(np.float16))),
    "float.exr": lambda path: exr(path, colors(ramps(2.0))),
    "layers.exr": layers,
    "cropped.exr": lambda path: exr(path, colors(ramps()), at=(20, 10), display=(160, 120)),
    "overscan.exr": lambda path: exr(path, colors(ramps()), at=(-8, -10), display=(80, 60)),
    "pq.mp4": lambda path: hdr_movie(path, 16),
    "hlg.mp4": lambda path: hdr_movie(path, 18),
}


def file_of(folder: Path, name: str) -> Path:
    """Each in a folder of its own, or some would be taken for the pictures of one sequence."""
    return folder / name.replace(".", "_") / f"plate_0001{Path(name).suffix}"


def main(task: str, folder: Path) -> None:
    if task == "write":
        for name, write in KINDS.items():
            path = file_of(folder, name)
            path.parent.mkdir()
            write(path)
        return
    sources = json.loads((folder / "sources.json").read_text(encoding="utf-8"))
    pictures = {name: read(ClipSource(**source), 1, 1)[0] for name, source in sources.items()}
    np.savez(folder / "pictures.npz", **pictures)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
