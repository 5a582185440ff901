"""A still picture as its file has it, through OpenImageIO: values and alpha as stored, and the EXR's windows.

Why OpenImageIO: it is what Blender reads pictures with, so that sizes, channels and codes are the same, and it tells
what it cannot do in words. Pictures keep the orientation in which they are stored, as in Blender: EXIF rotation is not
applied. TGA alone comes through ffmpeg's decoder, which is many times faster there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import av
import numpy as np
import OpenImageIO as oiio  # noqa: N813 - as its own documentation has it

from ..contract.picture_size import refuse_too_large
from . import movies
from .exr_layers import Layer, color_layer
from .still_sizes import read_whole, unreadable

EXR, TGA = "openexr", "targa"
_FORMATS = ((b"\x89PNG", "png"), (b"\xff\xd8", "jpeg"), (b"II", "tiff"), (b"MM", "tiff"), (b"BM", "bmp"),
            (b"RIFF", "webp"), (b"SDPX", "dpx"), (b"XPDS", "dpx"), (b"\x80\x2a\x5f\xd7", "cineon"),
            (b"\xd7\x5f\x2a\x80", "cineon"), (b"\x76\x2f\x31\x01", EXR))
_WITHOUT_ALPHA = frozenset({"dpx", "cineon", EXR})
"""Blender shows none of the first two; EXR is premultiplied, so that it lies over black as it is."""
_TAKEN_AS = {oiio.UINT8: oiio.UINT8, oiio.UINT16: oiio.UINT16, oiio.UINT32: oiio.UINT16, oiio.HALF: oiio.HALF}
"""What values are read as; all others as 32-bit float. OpenImageIO scales those of odd numbers of bits to the whole
range."""


@dataclass(frozen=True)
class Window:
    """A rectangle of pixels: where it begins, right and down of the display window's own origin, and its size."""

    left: int
    top: int
    width: int
    height: int

    @property
    def size(self) -> tuple[int, int]:
        return self.width, self.height

    def contains(self, other: Window) -> bool:
        return (self.left <= other.left and self.top <= other.top
                and self.left + self.width >= other.left + other.width
                and self.top + self.height >= other.top + other.height)


@dataclass(frozen=True)
class StoredPicture:
    """color: (H,W,3), integers over their whole range, or floats. alpha: (H,W) of the same type, or None. kind:
    OpenImageIO's name of the format. data: where the pixels are, of an EXR in its display window.
    """

    color: np.ndarray
    alpha: np.ndarray | None
    kind: str
    data: Window
    display: Window


def read_stored(path: Path, head: bytes, max_pixels: int) -> StoredPicture:
    """head: the file's first bytes. Raises StereoDiffError "clip_unreadable" or "picture_too_large"."""
    kind = kind_of(path, head)
    if kind == TGA:
        return _read_tga(path, max_pixels)
    with _opened(path, kind, max_pixels) as (file, layer):
        spec = file.spec(layer.part, 0)
        picked = [_read_channels(file, spec, layer.part, channels, path) for channels in _runs(layer, kind, spec)]
    color = picked[0] if picked[0].shape[2] == 3 else np.repeat(picked[0][..., :1], 3, axis=2)
    alpha = picked[1][..., 0] if len(picked) > 1 else None
    return StoredPicture(color, alpha, kind, *_windows(spec))


def read_windows(path: Path, head: bytes, max_pixels: int) -> tuple[Window, Window]:
    """Data and display window of a file's picture; of anything but EXR both are the picture. Errors as read_stored."""
    with _opened(path, kind_of(path, head), max_pixels) as (file, layer):
        return _windows(file.spec(layer.part, 0))


def read_header_number(path: Path, head: bytes, name: str, max_pixels: int) -> float:
    """What the header says under one of OpenImageIO's names; 0 where it says nothing. Errors as read_stored."""
    with _opened(path, kind_of(path, head), max_pixels) as (file, layer):
        return file.spec(layer.part, 0).get_float_attribute(name, 0.0)


def kind_of(path: Path, head: bytes) -> str:
    """By its first bytes, which for TGA alone say nothing. Raises StereoDiffError "clip_unreadable"."""
    for magic, kind in _FORMATS:
        if head.startswith(magic):
            return kind
    if path.suffix.lower() == ".tga":
        return TGA
    raise unreadable(path)


@cache
def _set_up() -> None:
    """Once: one thread, so that cores are shared out by the worker alone; sizes are checked here, by the header."""
    for name, value in (("threads", 1), ("exr_threads", 1), ("limits:imagesize_MB", 0)):
        oiio.attribute(name, value)


@contextmanager
def _opened(path: Path, kind: str, max_pixels: int) -> Iterator[tuple[oiio.ImageInput, Layer]]:
    """The file, open, and where in it the picture is. Alpha stays straight where it is stored so."""
    _set_up()
    hints = oiio.ImageSpec()
    hints.attribute("oiio:UnassociatedAlpha", 1)
    file = oiio.ImageInput.open(str(path), hints)
    if file is None:
        raise unreadable(path, oiio.geterror())
    try:
        if file.format_name() != kind:  # a reader that other bytes pleased as well
            raise unreadable(path, "its content is of another kind than it says")
        layer = color_layer(file, path) if kind == EXR else Layer.first_of(file.spec(0, 0))
        spec = file.spec(layer.part, 0)
        if spec.deep:
            raise unreadable(path, "it is a deep EXR, which has no picture yet; write it flat")
        refuse_too_large((spec.width, spec.height), max_pixels, path)
        yield file, layer
    finally:
        file.close()


def _runs(layer: Layer, kind: str, spec: oiio.ImageSpec) -> list[tuple[int, ...]]:
    """Channels of the color, and of alpha where it counts."""
    has_alpha = kind not in _WITHOUT_ALPHA and spec.alpha_channel >= 0
    return [layer.channels, *([(spec.alpha_channel,)] if has_alpha else [])]


def _read_channels(file: oiio.ImageInput, spec: oiio.ImageSpec, part: int, channels: tuple[int, ...],
                   path: Path) -> np.ndarray:
    """(H,W,C); in one go where they stand in a row, as they nearly always do."""
    types = {_TAKEN_AS.get(_type_of(spec, channel), oiio.FLOAT) for channel in channels}
    taken_as = types.pop() if len(types) == 1 else oiio.FLOAT
    first = channels[0]
    if channels == tuple(range(first, first + len(channels))):
        return _values(file, part, first, first + len(channels), taken_as, path)
    return np.concatenate([_values(file, part, channel, channel + 1, taken_as, path) for channel in channels], axis=2)


def _type_of(spec: oiio.ImageSpec, channel: int):
    return (spec.channelformats[channel] if spec.channelformats else spec.format).basetype


def _values(file: oiio.ImageInput, part: int, begin: int, end: int, taken_as, path: Path) -> np.ndarray:
    values = file.read_image(part, 0, begin, end, taken_as)
    if values is None or (said := file.geterror()):
        raise unreadable(path, file.geterror() if values is None else said)
    return values


def _windows(spec: oiio.ImageSpec) -> tuple[Window, Window]:
    return (Window(spec.x, spec.y, spec.width, spec.height),
            Window(spec.full_x, spec.full_y, spec.full_width, spec.full_height))


def _read_tga(path: Path, max_pixels: int) -> StoredPicture:
    decoder, data = av.CodecContext.create("targa", "r"), read_whole(path, max_pixels)
    decoder.options = movies.decoder_limit(max_pixels)
    try:
        picture = (decoder.decode(av.Packet(data)) or decoder.decode(None))[0]
    except av.error.MemoryError:
        raise
    except (av.error.FFmpegError, IndexError) as error:
        raise unreadable(path, error) from error
    color, alpha = movies.PictureConverter().straight(picture, movies.BYTES)
    window = Window(0, 0, picture.width, picture.height)
    return StoredPicture(color, alpha, TGA, window, window)
