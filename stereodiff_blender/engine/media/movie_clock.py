"""Which picture of a movie is shown at which frame: by time, as Blender 4.2 to 5.3 choose it, never by count.

Frame N (from 1) is shown at start + floor((N - 1) / (rate * time_base) + 1/2), in the stream's own ticks. The picture
of that frame is the last one whose stamp is not later; before the first stamp the first, after the last the last. A
clip has floor(seconds * rate + 1/2) frames. Measured on more than a hundred movies; held by the tests of frames, which
ask Blender itself.

In AVI, which knows no times of showing, a stamp is the time at which a picture left the decoder's order: Blender goes
by that, too, so that a movie with pictures coded ahead (B-frames) starts late there by as many.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import av

DEFAULT_FPS = Fraction(24)
HELD_FRAMES = 5
"""Frames that a movie's last picture may stand longer than it says, before the file counts as broken off."""
_HALF = Fraction(1, 2)
_AVI = "avi"


@dataclass(frozen=True)
class MovieClock:
    """start: stamp of frame 1. ticks_per_frame: of the stream's time base. fps: pictures a second, as the file says.

    frame_count: frames that the clip has; None if the file does not say how long it lasts. last_stamp: that the
    pictures should reach, where the file says how long they last, apart from its sound; else None.
    decoding_order: whether pictures are stamped by when they are decoded. doubtful_frames: by which Blender's versions
    differ in frame_count.
    """

    start: int
    ticks_per_frame: Fraction
    fps: Fraction
    frame_count: int | None
    last_stamp: Fraction | None = None
    decoding_order: bool = False
    doubtful_frames: int = 0

    @classmethod
    def from_stream(cls, container: av.container.InputContainer, stream: av.VideoStream) -> MovieClock:
        fps = Fraction(stream.guessed_rate or stream.average_rate or DEFAULT_FPS)
        ticks, start = 1 / (fps * stream.time_base), stream.start_time or 0
        own_s = _own_seconds(stream)
        seconds = _seconds(container, stream)
        count = None if seconds is None else math.floor(seconds * fps + _HALF)
        last = None if own_s is None else start + own_s / stream.time_base - ticks
        is_avi = _AVI in container.format.name.split(",")
        return cls(start, ticks, fps, count, last, is_avi, 0 if stream.duration else 1)

    def stamp_of(self, frame: int) -> int:
        """When clip frame 1, 2, 3 ... is shown, in ticks."""
        return self.start + math.floor((frame - 1) * self.ticks_per_frame + _HALF)

    def frame_at(self, stamp: float) -> int:
        """The first clip frame that shows a picture with this stamp, if none with a later one hides it."""
        return max(1, math.ceil((stamp - self.start - _HALF) / self.ticks_per_frame) + 1)

    def most_frames(self, last_frame: int) -> int:
        """How far the last picture, which comes at last_frame, is held."""
        return last_frame if self.frame_count is None else max(self.frame_count + self.doubtful_frames, last_frame)

    def breaks_off_at(self, stamp: Fraction, duration: int | None) -> bool:
        """Whether pictures are missing after the last that is there, which lasts so long.

        Few may be: some files do not say how long their last picture lasts, and a cut leaves out some that it claims.
        """
        lasts = max(Fraction(duration or 0) - self.ticks_per_frame, Fraction(0))
        return self.last_stamp is not None and self.last_stamp - stamp - lasts > HELD_FRAMES * self.ticks_per_frame

    def stamps(self, pictures: Iterable[av.VideoFrame]) -> Iterator[tuple[Fraction, av.VideoFrame]]:
        """Each picture with its stamp. What has none follows the one before it by a frame."""
        before = self.start - self.ticks_per_frame
        for picture in pictures:
            stamp = picture.dts if self.decoding_order else picture.pts
            before = Fraction(stamp) if stamp is not None else before + self.ticks_per_frame
            yield before, picture


def _seconds(container: av.container.InputContainer, stream: av.VideoStream) -> Fraction | None:
    """How long the clip lasts for Blender: its video, or, where that is not said (Matroska, WebM), all of the file."""
    if stream.duration:
        return stream.duration * stream.time_base
    if container.duration:
        return Fraction(container.duration, av.time_base) - (stream.start_time or 0) * stream.time_base
    return None


def _own_seconds(stream: av.VideoStream) -> Fraction | None:
    """How long the pictures last, whatever the sound does. Matroska says it beside the stream."""
    if stream.duration:
        return stream.duration * stream.time_base
    hours, _, rest = stream.metadata.get("DURATION", "").partition(":")
    minutes, _, seconds = rest.partition(":")
    try:
        return Fraction(int(hours) * 3600 + int(minutes) * 60) + Fraction(seconds)
    except ValueError:
        return None
