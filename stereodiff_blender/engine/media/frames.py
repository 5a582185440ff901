"""Clip to frames: what a clip is, the raster that is worked on, and its pictures, streamed.

Movies and stills are read in movies.py and stills.py; here they become the same thing. A frame is asked for by its
number in the clip and is the picture that Blender shows there, never one blended from two.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from pathlib import Path

import cv2
import numpy as np

from ..contract import MAX_PIXELS, ClipSource, StereoDiffError
from ..contract.numbered_files import refuse_misnamed
from ..report import Report
from . import movies, stills
from .color import FootageColor
from .exr_windows import Framing
from .footage_file import refuse_irregular
from .raster import ClipInfo, Raster, plan_raster, to_plate, to_raster
from .sequences import Family, family_of, source_from_path
from .still_files import Window

__all__ = [
    "ClipInfo", "Raster", "check_files", "check_not_frozen", "footage_files", "plan_raster", "probe_clip",
    "read_frames", "read_pictures", "source_from_path", "to_plate", "to_raster",
]

FROZEN_LEVELS = 2
MOSTLY_INTERLACED = 0.5



def probe_clip(source: ClipSource, max_pixels: int = MAX_PIXELS) -> ClipInfo:
    """Ask the footage what it is.

    Parameters
    ----------
    source : ClipSource
        The footage; fps and pixel_aspect given in it win over the file's.
    max_pixels : int
        Of a picture; a larger one is not decoded.

    Returns
    -------
    ClipInfo
        Size, pixel aspect, frames per second (0: nobody says) and number of frames.

    Raises
    ------
    StereoDiffError
        "clip_missing", "clip_empty", "clip_unreadable", "picture_too_large"; "clip_truncated" for a movie without an
        index that breaks off with an error; "job_invalid" for a source that contradicts itself.
    """
    info = _probe_sequence(source, max_pixels) if source.kind == "sequence" else _probe_movie(source, max_pixels)
    return ClipInfo(info.width, info.height, source.pixel_aspect or info.pixel_aspect, source.fps or info.fps,
                    info.frame_count)


def _probe_movie(source: ClipSource, max_pixels: int) -> ClipInfo:
    movie = movies.probe_movie(source.path, shown_size=(source.width, source.height), max_pixels=max_pixels)
    return ClipInfo(movie.width, movie.height, movie.pixel_aspect, movie.fps,
                    max(movie.frame_count - source.first_number, 0))


def _probe_sequence(source: ClipSource, max_pixels: int) -> ClipInfo:
    family, color, framing = _family(source), color_of(source), _framing(source, max_pixels)
    picture = stills.read_still(Path(source.path), max_pixels=max_pixels, color=color, framing=framing)
    height, width = picture.shape[:2]
    aspect = stills.still_pixel_aspect(Path(source.path), max_pixels=max_pixels)
    fps = stills.still_fps(Path(source.path), max_pixels=max_pixels)
    return ClipInfo(width, height, aspect, fps, source.frame_of(family.numbers()[-1]))


def color_of(source: ClipSource) -> FootageColor:
    """How the footage's values become pictures."""
    return FootageColor(source.color_space, source.ocio_config)


def _framing(source: ClipSource, max_pixels: int) -> Framing | None:
    """None where there are no EXRs. Whoever knows the footage's size is Blender, which shows data windows."""
    windows = stills.still_windows(Path(source.path), max_pixels=max_pixels)
    if windows is None:
        return None
    if source.width:
        return Framing(*windows, in_display=False)
    return Framing.like_compositing(*windows, _later_windows(source, max_pixels))


def _later_windows(source: ClipSource, max_pixels: int) -> Iterator[tuple[Window, Window] | None]:
    """Of all pictures after the first; a file that cannot be read is told of where its picture is needed."""
    family = _family(source)
    for number in family.numbers():
        if number > source.first_number:
            with suppress(StereoDiffError):
                yield stills.still_windows(family.path(number), max_pixels=max_pixels)


def _family(source: ClipSource) -> Family:
    found = family_of(source.path)
    if found is None or found[1] != source.first_number:
        raise StereoDiffError("job_invalid", f"{source.path} is not number {source.first_number} of a sequence.")
    return found[0]


def footage_files(source: ClipSource, frame_numbers: range) -> list[Path]:
    """The files that these frames are read from, whether or not they are there.

    Parameters
    ----------
    source : ClipSource
        The footage.
    frame_numbers : range
        Clip frames, 1 is the first.

    Returns
    -------
    list of Path
        The movie alone, or a sequence's file of each frame.

    Raises
    ------
    StereoDiffError
        "job_invalid" for a sequence that contradicts itself.
    """
    if source.kind == "movie":
        return [Path(source.path)]
    family = _family(source)
    return [family.path(source.number_of(frame)) for frame in frame_numbers]


def check_files(source: ClipSource, frame_numbers: range) -> None:
    """Before any work: that a sequence has all these frames, and that whoever opens them does not wait for ever.

    Two files may claim millions of frames between them, so that nothing is made for each before they are counted.

    Parameters
    ----------
    source : ClipSource
        The footage.
    frame_numbers : range
        Clip frames, 1 is the first.

    Raises
    ------
    StereoDiffError
        "sequence_misnamed"; "sequence_gap", "clip_missing", "clip_truncated", "frame_range_invalid" or "job_invalid" as
        read_frames does,
        "clip_unreadable" for a pipe, a device or the like.
    """
    if source.kind == "movie":
        refuse_irregular(Path(source.path))
        return
    family = _family(source)
    refuse_misnamed(Path(source.path), source.number_of(frame_numbers[-1]))
    there = set(family.numbers())
    for frame in frame_numbers:
        path = family.path(source.number_of(frame))
        if source.number_of(frame) not in there:
            raise _still_missing(source, frame_numbers, frame, path)
        refuse_irregular(path)


def read_frames(source: ClipSource, frame_numbers: range, raster: Raster, *, exposure_ev: float = 0.0,
                max_pixels: int = MAX_PIXELS, report: Report | None = None) -> Iterator[np.ndarray]:
    """Read the frames of the raster, one by one, as to_raster makes them of the clip's pictures.

    Parameters
    ----------
    source : ClipSource
        The footage.
    frame_numbers : range
        Ascending clip frames, 1 is the first.
    raster : Raster
        That the pictures are brought to.
    exposure_ev : float
        Stops added to light: to stills of floats, and to whatever is in another color space than sRGB.
    max_pixels : int
        Of a picture; a larger one is not decoded.
    report : Report or None
        Noted there at the end: that a movie's pictures do not come one a frame.

    Yields
    ------
    ndarray
        (H,W,3) uint8 sRGB, the next frame.

    Raises
    ------
    StereoDiffError
        As read_pictures does.
    """
    pictures = read_pictures(source, frame_numbers, raster, exposure_ev=exposure_ev, max_pixels=max_pixels,
                             report=report)
    with closing(pictures):
        for picture in pictures:
            yield to_raster(picture, raster)


def read_pictures(source: ClipSource, frame_numbers: range, raster: Raster, *, exposure_ev: float = 0.0,
                  max_pixels: int = MAX_PIXELS, report: Report | None = None) -> Generator[np.ndarray]:
    """Read the clip's pictures at their own size, one by one.

    Parameters
    ----------
    source, frame_numbers, raster, exposure_ev, max_pixels, report
        As of read_frames; of the raster, the size of the clip.

    Yields
    ------
    ndarray
        (clip_height,clip_width,3) uint8 sRGB, the next picture.

    Raises
    ------
    StereoDiffError
        On the frame concerned: "frame_range_invalid" if the range is empty, does not ascend from 1 on, or starts
        outside the clip, "clip_truncated" if the clip ends or breaks off before the range does, "sequence_gap",
        "clip_unreadable" (also if a picture has another size than the clip), "clip_window_moves", "picture_too_large",
        "clip_missing", "clip_empty", "color_space_unknown", "color_config_unreadable", "job_invalid".
    """
    if not frame_numbers or frame_numbers[0] < 1 or frame_numbers.step < 1:
        raise StereoDiffError("frame_range_invalid", f"{frame_numbers} is no ascending range of frames from 1 on.")
    if source.kind == "sequence":
        pictures = _sequence_pictures(source, frame_numbers, exposure_ev, max_pixels)
    else:
        pictures = _movie_pictures(source, frame_numbers, raster, exposure_ev, max_pixels, report or Report())
    with closing(pictures):
        for frame, picture in zip(frame_numbers, pictures, strict=True):
            _refuse_other_size(picture, raster, source.number_of(frame))
            yield picture


def _movie_pictures(source: ClipSource, frame_numbers: range, raster: Raster, exposure_ev: float,
                    max_pixels: int, report: Report) -> Iterator[np.ndarray]:
    """A picture that is shown at several frames is converted once."""
    decoded, picture = None, None
    convert = movies.PictureConverter((raster.clip_width, raster.clip_height), color_of(source), exposure_ev)
    held = interlaced = 0
    with closing(movies.show(source.path, frame_numbers, offset=source.first_number, max_pixels=max_pixels)) as shown:
        try:
            for frame, found in zip(frame_numbers, shown, strict=True):
                if found is not decoded:
                    if found.is_corrupt:
                        raise movies.damaged(source.path, frame, "part of the picture is missing")
                    decoded, picture = found, convert(found)
                else:
                    held += 1
                interlaced += bool(found.interlaced_frame)
                yield picture
        except movies.EndOfMovieError as end:
            raise _ended(source, frame_numbers, max(end.last_frame, 0)) from None
    if interlaced > MOSTLY_INTERLACED * len(frame_numbers):
        report.warn("interlaced", f"{interlaced} of {len(frame_numbers)} pictures are interlaced: their odd and even "
                                  "lines show different moments.")
    if held:
        report.note(f"The movie's pictures do not come one a frame: at {held} of {len(frame_numbers)} frames the one "
                    "before is still shown. Frames go by time, as Blender shows them.")


def _sequence_pictures(source: ClipSource, frame_numbers: range, exposure_ev: float,
                       max_pixels: int) -> Iterator[np.ndarray]:
    family, color = _family(source), color_of(source)
    framing = _framing(source, max_pixels) if Path(source.path).exists() else None
    for frame in frame_numbers:
        path = family.path(source.number_of(frame))
        if not path.exists():
            raise _still_missing(source, frame_numbers, frame, path)
        yield stills.read_still(path, exposure_ev=exposure_ev, max_pixels=max_pixels, color=color, framing=framing)


def _still_missing(source: ClipSource, frame_numbers: range, frame: int, path: Path) -> StereoDiffError:
    numbers = _family(source).numbers()
    last_frame = source.frame_of(max(numbers, default=-1))
    if last_frame < 1:
        return StereoDiffError("clip_missing", f"{source.path} does not exist.")
    if last_frame > frame:
        number = source.number_of(frame)
        return StereoDiffError("sequence_gap", f"Frame {number} is missing: there is no {path.name} in {path.parent}.")
    return _ended(source, frame_numbers, last_frame)


def _ended(source: ClipSource, frame_numbers: range, last_frame: int) -> StereoDiffError:
    name, end = Path(source.path).name, source.number_of(last_frame)
    first, last = source.number_of(frame_numbers[0]), source.number_of(frame_numbers[-1])
    if end < first:
        return StereoDiffError("frame_range_invalid",
                               f"Frames {first} to {last} were asked for, but {name} ends at frame {end}.")
    found = sum(frame <= last_frame for frame in frame_numbers)
    return StereoDiffError("clip_truncated", f"{len(frame_numbers)} frames ({first} to {last}) were asked for, {name} "
                                             f"has {found} of them: it ends at frame {end}.")


def _refuse_other_size(picture: np.ndarray, raster: Raster, number: int) -> None:
    height, width = picture.shape[:2]
    if (width, height) != (raster.clip_width, raster.clip_height):
        raise StereoDiffError("clip_unreadable", f"Frame {number} has {width} x {height} pixels, the clip "
                                                 f"{raster.clip_width} x {raster.clip_height}.")


def check_not_frozen(frames: np.ndarray) -> None:
    """Refuse a clip whose frames all show the same picture.

    Parameters
    ----------
    frames : ndarray
        (T,H,W,3) uint8, may be memory-mapped; read up to the first frame that differs.

    Raises
    ------
    StereoDiffError
        "clip_frozen": two or more frames are all the first one, up to FROZEN_LEVELS gray levels.
    """
    first = np.asarray(frames[0])
    others = range(1, len(frames))
    if others and all(cv2.absdiff(np.asarray(frames[index]), first).max() <= FROZEN_LEVELS for index in others):
        raise StereoDiffError("clip_frozen", f"All {len(frames)} frames show the same picture.")
