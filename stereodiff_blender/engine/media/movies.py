"""Pictures of movie files, through PyAV.

Why PyAV: it hands out every decoded picture itself, in order, with its rotation, pixel aspect, color tags and full
bit depth; reading through a pipe or OpenCV loses one or more of them. It ships ffmpeg in wheels for the three
systems and is BSD licensed.

A frame is the picture that Blender shows there (movie_clock.py), not the n-th one of the file: phones and recorders
leave pictures out, double them, or stamp them a little early or late. Every picture from the first on is decoded,
without converting it, because seeking finds other pictures in other containers; so a late range takes longer.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter

from ..contract import MAX_PIXELS, StereoDiffError
from ..contract.picture_size import refuse_too_large
from .color import FootageColor
from .footage_file import refuse_irregular
from .movie_clock import MovieClock

# Files of these formats are texts that name other files or places, which ffmpeg opens before anybody is asked (a pipe
# among them is waited for without end), or are drawn as text: no footage.
_NO_FOOTAGE = frozenset({"avisynth", "concat", "dash", "hls", "image2", "imf", "lavfi", "rtp", "rtsp", "sap", "sdp",
                         "tty", "vapoursynth", "vobsub", "webm_dash_manifest"})
_UNTAGGED_COLORSPACE = 2  # AVCOL_SPC_UNSPECIFIED of ffmpeg
_HD_HEIGHT = 720
PADDING_PIXELS = 1_000_000
_CONVERSION = (Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
               | Interpolation.FULL_CHR_H_INT)
BYTES, WORDS = ("rgb24", "rgba"), ("rgb48le", "rgba64le")
"""ffmpeg's names of pixels of 8 and of 16 bits, without and with alpha."""


@dataclass(frozen=True)
class MovieInfo:
    """width, height: as displayed, after rotation. pixel_aspect: of a displayed pixel. frame_count: as Blender counts
    them; of truncated files what the header promises."""

    width: int
    height: int
    pixel_aspect: float
    fps: float
    frame_count: int


class PictureConverter:
    """Decoded pictures to RGB. One per file: it keeps swscale's state. shown_size: see quarter_turns. color: what the
    codes stand for; exposure_ev: stops added where that is not sRGB."""

    def __init__(self, shown_size: tuple[int, int] = (0, 0), color: FootageColor | None = None,
                 exposure_ev: float = 0.0):
        self._shown_size = shown_size
        self._color = color or FootageColor()
        self._exposure_ev = exposure_ev
        self._reformatter = VideoReformatter()

    def __call__(self, picture: av.VideoFrame) -> np.ndarray:
        """Returns (H,W,3) uint8 full-range sRGB, as displayed. Alpha is flattened over black. Raises StereoDiffError as
        FootageColor.display."""
        formats = WORDS if self._color.takes_light() else BYTES
        return self._color.display(*self.straight(picture, formats), exposure_ev=self._exposure_ev)

    def straight(self, picture: av.VideoFrame, formats: tuple[str, str]) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns (H,W,3) full-range RGB, as displayed, and (H,W) alpha if there is any. formats: without and with it.

        Colors follow the file's tags; untagged video counts as BT.709 from 720 lines on, else as BT.601, as players
        do. Only quarter turns are applied, mirroring is not, as in Blender.
        """
        has_alpha = any(component.is_alpha for component in picture.format.components)
        converted = self._reformatter.reformat(picture, format=formats[has_alpha], threads=1,
                                               src_colorspace=_guessed_colorspace(picture), interpolation=_CONVERSION)
        pixels = np.rot90(converted.to_ndarray(), quarter_turns(picture, self._shown_size))
        return pixels[..., :3], pixels[..., 3] if has_alpha else None


def quarter_turns(picture: av.VideoFrame, shown_size: tuple[int, int] = (0, 0)) -> int:
    """Counter-clockwise quarter turns, 0 to 3, from the stored picture to the one that is displayed.

    They are what the file's rotation metadata asks for, unless shown_size, the width and height by which the asking
    program knows the clip, tells that it shows the picture unturned: Blender 4.2 ignores the metadata, and the
    result has to lie on the plate as Blender shows it.
    """
    turns, stored_size = round(picture.rotation / 90) % 4, (picture.width, picture.height)
    shown_unturned = turns % 2 == 1 and shown_size == stored_size != stored_size[::-1]
    return 0 if shown_unturned else turns


def probe_movie(path: str | os.PathLike, *, shown_size: tuple[int, int] = (0, 0),
                max_pixels: int = MAX_PIXELS) -> MovieInfo:
    """Decodes the first picture. Only of a file that does not say how long it lasts all is read.

    shown_size: see quarter_turns. max_pixels: of a picture; more are not decoded. Raises StereoDiffError
    "clip_missing", "clip_empty" (no bytes), "clip_unreadable", "picture_too_large" or, where such a file breaks off
    with an error, "clip_truncated".
    """
    with _opened(path, max_pixels) as (container, stream):
        picture = _first_picture(container, stream, path)
        if picture is None:
            raise _unreadable(path, "it has no picture")
        width, height, aspect = picture.width, picture.height, stream.sample_aspect_ratio or Fraction(1)
        if quarter_turns(picture, shown_size) % 2:
            width, height, aspect = height, width, 1 / aspect
        clock = MovieClock.from_stream(container, stream)
    count = _count_packets(path, max_pixels) if clock.frame_count is None else clock.frame_count
    return MovieInfo(width, height, float(aspect), float(clock.fps), count)


def _first_picture(container, stream, path: str | os.PathLike) -> av.VideoFrame | None:
    try:
        return next(_decoded(container, stream), None)
    except av.error.MemoryError:
        raise
    except av.error.FFmpegError as error:
        raise _unreadable(path, _reason(error)) from error


class EndOfMovieError(Exception):
    """There are no more pictures. last_frame: the last clip frame that has one; less than 1 if none has."""

    def __init__(self, last_frame: int):
        super().__init__(last_frame)
        self.last_frame = last_frame


def show(path: str | os.PathLike, frames: range, *, offset: int = 0,
         max_pixels: int = MAX_PIXELS) -> Iterator[av.VideoFrame]:
    """The picture of each clip frame, as ffmpeg decodes it; the very same object for all frames that it is shown at.
    Memory does not grow.

    frames: ascending. offset: pictures of the movie before clip frame 1. max_pixels: of a picture.
    Raises StereoDiffError "clip_missing", "clip_empty", "picture_too_large" or "clip_unreadable" before the first
    picture, "clip_truncated" where decoding fails later; EndOfMovieError where frames reach beyond the end.
    """
    with _opened(path, max_pixels) as (container, stream):
        stream.thread_type = "AUTO"
        film = _Film(MovieClock.from_stream(container, stream), _decoded(container, stream))
        for frame in frames:
            try:
                yield film.picture_at(frame + offset)
            except av.error.MemoryError:
                raise
            except av.error.FFmpegError as error:
                raise damaged(path, film.next_frame - offset, _reason(error)) from error
            except EndOfMovieError as error:
                if film.shown is None:
                    raise _unreadable(path, "it has no picture") from error
                raise EndOfMovieError(error.last_frame - offset) from None


class _Film:
    """Pictures as they are decoded, one ahead of what is shown."""

    def __init__(self, clock: MovieClock, pictures: Iterator[av.VideoFrame]):
        self.clock = clock
        self.shown: av.VideoFrame | None = None
        self.stamp = Fraction(clock.start)
        self._timed = clock.stamps(pictures)
        self._ahead: tuple[Fraction, av.VideoFrame] | None = None
        self._failure: av.error.FFmpegError | None = None

    def picture_at(self, frame: int) -> av.VideoFrame:
        """frame: from 1, none before one that was asked for. Raises FFmpegError or EndOfMovieError."""
        stamp = self.clock.stamp_of(frame)
        if self.shown is None:
            self._look_ahead()
            self._go_on()  # what is shown before the first picture is the first
        while self._ahead is not None and self._ahead[0] <= stamp:
            self._go_on()
        if self._ahead is None:
            self._check_end(frame, stamp)
        return self.shown

    @property
    def last_frame(self) -> int:
        """The frame at which the picture that is shown comes first."""
        return self.clock.frame_at(self.stamp)

    @property
    def next_frame(self) -> int:
        return 1 if self.shown is None else self.last_frame + 1

    def _go_on(self) -> None:
        if self._ahead is not None:
            self.stamp, self.shown = self._ahead
            self._look_ahead()

    def _look_ahead(self) -> None:
        """A failure counts where the picture would be shown, not before."""
        try:
            self._ahead = next(self._timed, None)
        except av.error.FFmpegError as error:
            self._ahead, self._failure = None, error

    def _check_end(self, frame: int, stamp: int) -> None:
        """The last picture is held as long as the file says that there is one."""
        if self.shown is None or stamp >= self.stamp + self.clock.ticks_per_frame - 1:
            if self._failure is not None:
                raise self._failure
            if self.shown is None or self.clock.breaks_off_at(self.stamp, self.shown.duration):
                raise EndOfMovieError(self.last_frame)
        if frame > self.clock.most_frames(self.last_frame):
            raise EndOfMovieError(self.clock.frame_count or self.last_frame)


@cache
def _footage_formats() -> str:
    """Those that ffmpeg may take a file for, with commas between them."""
    return ",".join(sorted(av.formats_available - _NO_FOOTAGE))


def decoder_limit(max_pixels: int) -> dict[str, str]:
    """Options under which ffmpeg decodes no larger pictures. It counts what it pads them with, so that the exact limit
    is held by the header, and this one where a picture is other than its header says."""
    return {"max_pixels": str(max_pixels + max_pixels // 10 + PADDING_PIXELS)}


@contextmanager
def _opened(path: str | os.PathLike, max_pixels: int) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """The container and its first real video stream, whose decoder takes no larger pictures than it should. Neither
    may be touched after the block: PyAV would crash."""
    _check_file(Path(path))
    limit = decoder_limit(max_pixels)
    try:
        container = av.open(os.fspath(path), options={"protocol_whitelist": "file",
                                                      "format_whitelist": _footage_formats(), **limit})
    except av.error.MemoryError:
        raise
    except av.error.ArgumentError as error:
        raise _unreadable(path, "its content is damaged, or of a kind that names other files") from error
    except (av.error.FFmpegError, UnicodeError) as error:
        raise _unreadable(path, getattr(error, "strerror", error)) from error
    with container:
        streams = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
        if not streams or streams[0].codec_context is None:
            raise _unreadable(path, "it has no video stream")
        decoder = streams[0].codec_context
        refuse_too_large((decoder.width, decoder.height), max_pixels, path)
        decoder.options = limit
        yield container, streams[0]


def _check_file(path: Path) -> None:
    if not path.exists():
        raise StereoDiffError("clip_missing", f"{path} does not exist.")
    refuse_irregular(path)
    if path.stat().st_size == 0:
        raise StereoDiffError("clip_empty", f"{path} is an empty file.")


def _decoded(container, stream) -> Iterator[av.VideoFrame]:
    """Pictures in order. Packets that fail before the first picture are passed over, as players do: a recording may
    start in the middle of a group of pictures."""
    started = False
    for packet in container.demux(stream):
        try:
            pictures = packet.decode()
        except av.error.InvalidDataError:
            if started:
                raise
            continue
        for picture in pictures:
            started = True
            yield picture


def _count_packets(path: str | os.PathLike, max_pixels: int) -> int:
    """Of a bare stream, which says neither how long it is nor when a picture is shown. One packet is one picture."""
    count = 0
    with _opened(path, max_pixels) as (container, stream):
        try:
            for packet in container.demux(stream):
                count += packet.size > 0 and not packet.is_discard
        except av.error.FFmpegError as error:
            raise StereoDiffError("clip_truncated", f"{Path(path).name} breaks off after {count} pictures: "
                                                    f"{error.strerror}.") from error
    return count


def _guessed_colorspace(picture: av.VideoFrame) -> Colorspace | None:
    if picture.format.is_rgb or picture.colorspace != _UNTAGGED_COLORSPACE:
        return None
    return Colorspace.ITU709 if picture.height >= _HD_HEIGHT else Colorspace.ITU601


def _reason(error: av.error.FFmpegError) -> str:
    """In words. What is invalid is as a rule the size: that of one picture may be other than the header's."""
    if isinstance(error, av.error.ArgumentError):
        return "a picture that cannot be decoded, or is too large"
    return error.strerror or str(error)


def damaged(path: str | os.PathLike, frame: int, reason: str) -> StereoDiffError:
    return StereoDiffError("clip_truncated", f"{Path(path).name} is damaged at frame {frame}: {reason}.")


def _unreadable(path: str | os.PathLike, reason: object) -> StereoDiffError:
    return StereoDiffError("clip_unreadable", f"{path} cannot be read as a movie: {reason}.")
