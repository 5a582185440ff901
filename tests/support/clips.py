"""Small real clips for the tests: every picture carries its own index, written in black and white fields."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import OpenEXR
import pytest

from stereodiff_blender.engine.contract import ClipSource, StereoDiffError
from stereodiff_blender.engine.media.frames import Raster, plan_raster, probe_clip, read_frames

WIDTH, HEIGHT, BITS = 160, 96, 7


def picture(index: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """(H,W,3) uint8: the index as BITS upright fields, lowest bit left, above a strip red | green | blue."""
    image = np.zeros((height, width, 3), np.uint8)
    for bit in range(BITS):
        left, right = bit * width // BITS, (bit + 1) * width // BITS
        image[:, left:right] = 235 if index >> bit & 1 else 20
    top, third = height - height // 4, width // 3
    for place, color in enumerate([(200, 30, 30), (30, 200, 30), (30, 30, 200)]):
        image[top:, place * third:] = color
    return image


def index_of(image: np.ndarray) -> int:
    """The index in a picture of any size. Fails on a picture that is none of ours."""
    height, width = image.shape[:2]
    columns = [int((bit + 0.5) * width / BITS) for bit in range(BITS)]
    levels = [image[height // 4, column].astype(int).mean() for column in columns]
    assert all(abs(level - 128) > 60 for level in levels), levels
    return sum((level > 128) << bit for bit, level in enumerate(levels))


def write_movie(path: Path, count: int = 30, *, codec: str = "libx264", pix_fmt: str = "yuv420p", rate=Fraction(25),  # noqa: PLR0913
                size: tuple[int, int] = (WIDTH, HEIGHT), rotation: int = 0, pixel_aspect: Fraction | None = None,
                first_pts: int = 0, times: list[int] | None = None, options: dict | None = None,
                pictures: list[np.ndarray] | None = None) -> Path:
    """A movie of picture(0) to picture(count - 1), or of the given ones; times: pts in 1/rate, for variable rates."""
    pictures = pictures if pictures is not None else [picture(index, *size) for index in range(count)]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height, stream.pix_fmt = size[0], size[1], pix_fmt
        if pixel_aspect is not None:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        if rotation:
            stream.set_display_rotation(rotation)
        for index, image in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(image, format="rgba" if image.shape[2] == 4 else "rgb24")
            frame.pts, frame.time_base = first_pts + (times[index] if times else index), 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_stills(folder: Path, numbers, *, name: str = "shot_{:04d}.png", sixteen_bit: bool = False) -> Path:
    """picture(number) for every number, in the format of the name's suffix. Returns the first file."""
    folder.mkdir(exist_ok=True)
    for number in numbers:
        image = picture(number)[..., ::-1]
        image = image.astype(np.uint16) * 257 if sixteen_bit else image
        write_encoded(folder / name.format(number), image)
    return folder / name.format(next(iter(numbers)))


def write_encoded(path: Path, image: np.ndarray) -> Path:
    """image: in OpenCV's BGR or BGRA order, of any depth the suffix allows."""
    done, data = cv2.imencode(path.suffix, image)
    assert done
    path.write_bytes(data.tobytes())
    return path


def write_dpx(path: Path, image: np.ndarray) -> Path:
    """image: (H,W,3) uint8 RGB, stored with 10 bits."""
    codec = av.CodecContext.create("dpx", "w")
    codec.height, codec.width, codec.pix_fmt, codec.time_base = *image.shape[:2], "gbrp10le", Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="gbrp10le")
    frame.pts = 0
    path.write_bytes(b"".join(bytes(packet) for packet in [*codec.encode(frame), *codec.encode(None)]))
    return path


def write_linear_exr(path: Path, image: np.ndarray) -> None:
    """image: (H,W,3) uint8 sRGB or float32 linear; stored as half-float linear light."""
    if image.dtype == np.uint8:
        encoded = image / 255.0
        image = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    channels = {name: np.ascontiguousarray(image[..., k], np.float16) for k, name in enumerate("RGB")}
    with OpenEXR.File({"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage},
                      channels) as file:
        file.write(str(path))


def movie_source(path: Path, **values) -> ClipSource:
    return ClipSource("movie", str(path), **values)


def native_raster(source: ClipSource) -> Raster:
    return plan_raster(probe_clip(source), 4096)


def read(source: ClipSource, first: int, last: int, **options) -> list[np.ndarray]:
    return list(read_frames(source, range(first, last + 1), native_raster(source), **options))


def error_of(call, *arguments, **options) -> StereoDiffError:
    with pytest.raises(StereoDiffError) as caught:
        call(*arguments, **options)
    return caught.value
