"""A MovieClip as the worker needs it: which file, which pictures, which lens.

Clip frames are counted as Blender's clip counts them: 1 is the first frame of the footage, shown at the clip's
Start Frame of the scene. The clip's Frame Offset skips pictures at the head of the footage.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import bpy

from ..engine.contract import MAX_FRAME, ClipSource, StereoDiffError
from ..engine.contract.footage_fingerprint import fingerprint
from ..engine.contract.numbered_files import MOST_COUNTED, file_further_on, numbers_beside, refuse_misnamed

__all__ = ["check_range", "chosen_clip", "clip_frame_of_number", "clip_source", "footage_range", "number_of_clip_frame",
           "open_clip", "shown_range"]


def chosen_clip(context: bpy.types.Context) -> bpy.types.MovieClip | None:
    """The clip chosen in the panel, or else the one that the Movie Clip Editor at hand shows.

    Parameters
    ----------
    context : bpy.types.Context
        Its scene holds the choice; its editor counts only where that is a Movie Clip Editor.

    Returns
    -------
    bpy.types.MovieClip or None
        None if neither names a clip.
    """
    clip = context.scene.stereodiff.clip
    space = context.space_data
    if clip is None and space is not None and space.type == "CLIP_EDITOR":
        return space.clip
    return clip


def clip_source(clip: bpy.types.MovieClip, *, sequence_fps: float = 0.0) -> ClipSource:
    """The clip's footage on disk.

    Parameters
    ----------
    clip : bpy.types.MovieClip
        A movie, or a numbered image sequence.
    sequence_fps : float
        Frames per second at which still images play, normally the scene's; files of stills have none. 0 = not known. A
        movie's rate is never taken from here.

    Returns
    -------
    ClipSource
        Absolute path, number of the picture that clip frame 1 shows, size in pixels as Blender shows it, pixel aspect
        (0, ask the file, while the clip is displayed 1:1), rate (0, ask the file, of a movie), and color space with
        the OpenColorIO configuration that this Blender knows it by.

    Raises
    ------
    StereoDiffError
        "clip_missing": there is no such file. "clip_empty": it has no content. "clip_too_short": a single picture, not
        a numbered sequence. "sequence_misnamed": its names do not give the frame where Blender reads it.
        "frame_range_invalid": the clip's Frame Offset is below 0.
    """
    if clip.frame_offset < 0:
        raise StereoDiffError("frame_range_invalid", f"Frame Offset of {clip.name} is {clip.frame_offset}, so its "
                                                     f"first frames show nothing; set it to 0 or more.")
    path = _path(clip)
    source = _sequence(clip, path, sequence_fps) if clip.source == "SEQUENCE" else _movie(clip, path)
    _check_file(Path(source.path))
    return replace(source, color_space=clip.colorspace_settings.name, ocio_config=_ocio_config())


def open_clip(source: ClipSource, frame_numbers: range) -> bpy.types.MovieClip | None:
    """The open clip that shows this footage from the same picture on, None if there is none.

    What it holds tells, wherever it lies and whatever it is called. Jobs of earlier versions do not know that: for
    them, the path tells, or where the footage is not at its place, the name of its file and its size.

    Parameters
    ----------
    source : ClipSource
        The footage, as a job has it. A width or height of 0 is not known, and fits any.
    frame_numbers : range
        Clip frames of the job.

    Returns
    -------
    bpy.types.MovieClip or None
        The first that fits of those in the .blend.
    """
    shown = [(clip, own) for clip in bpy.data.movieclips if (own := _source_if_there(clip)) is not None
             and own.kind == source.kind and (own.kind == "sequence" or own.first_number == source.first_number)]
    same = [clip for clip, own in shown if (own.path, own.first_number) == (source.path, source.first_number)]
    if source.fingerprint:
        by_path_first = sorted(shown, key=lambda found: found[0] not in same)
        holding = (clip for clip, own in by_path_first if fingerprint(own, frame_numbers) == source.fingerprint)
        return next(holding, same[0] if same else None)
    if not same:
        alike = [clip for clip, own in shown if Path(own.path).name == re.split(r"[\\/]", source.path)[-1]
                 and own.first_number == source.first_number and source.width in (0, own.width)
                 and source.height in (0, own.height)]
        same = alike if alike and not Path(source.path).is_file() else []
    return same[0] if same else None


def _source_if_there(clip: bpy.types.MovieClip) -> ClipSource | None:
    try:
        return clip_source(clip)
    except StereoDiffError:
        return None


def _movie(clip: bpy.types.MovieClip, path: Path) -> ClipSource:
    """The size is Blender's own, because 4.2 does not turn a rotated movie upright, and the result must lie on what
    Blender shows. The rate stays unknown: Blender rounds 29.97."""
    width, height = clip.size
    return ClipSource("movie", str(path), clip.frame_offset, width, height, _pixel_aspect(clip))


def _sequence(clip: bpy.types.MovieClip, path: Path, fps: float) -> ClipSource:
    first = file_further_on(path, clip.frame_offset)
    if first is None:
        raise StereoDiffError("clip_too_short", f"{path.name} is a single picture, not a numbered sequence.")
    refuse_misnamed(first[0])
    width, height = clip.size
    return ClipSource("sequence", str(first[0]), first[1], width, height, _pixel_aspect(clip), fps)


def _pixel_aspect(clip: bpy.types.MovieClip) -> float:
    """Blender shows every clip 1:1 until told otherwise, so 1:1 says nothing about the file: 0, ask the file."""
    x, y = clip.display_aspect
    return 0.0 if x == y else x / y


def _ocio_config() -> str:
    """Blender's own, unless the environment names another, which Blender then uses."""
    named = os.environ.get("OCIO", "")
    if named:
        return named if named.startswith("ocio://") else os.path.abspath(named)
    folder = bpy.utils.system_resource("DATAFILES", path="colormanagement")
    return str(Path(folder, "config.ocio")) if folder else ""


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise StereoDiffError("clip_missing", f"{path} does not exist.")
    if path.stat().st_size == 0:
        raise StereoDiffError("clip_empty", f"{path} has no content.")


def shown_range(clip: bpy.types.MovieClip) -> tuple[int, int]:
    """First and last clip frame that Blender shows; cheap enough for drawing, as no file is looked at.

    Parameters
    ----------
    clip : bpy.types.MovieClip
        Its Frame Offset shortens what it shows.

    Returns
    -------
    tuple of int
        First, always 1, and last clip frame, both included; last < first if Blender finds no picture.
    """
    return 1, clip.frame_duration - max(0, clip.frame_offset)


def footage_range(clip: bpy.types.MovieClip) -> tuple[int, int]:
    """First and last clip frame that have a picture; last < first if the footage cannot be read.

    Parameters
    ----------
    clip : bpy.types.MovieClip
        Its Frame Offset shortens what it shows. Where Blender lets a sequence end at a gap, it ends with its last file
        here, so that the gap is found rather than taken for the end.

    Returns
    -------
    tuple of int
        First, always 1, and last clip frame, both included.
    """
    _, shown = shown_range(clip)
    first = _first_still(clip) if clip.source == "SEQUENCE" and shown > 0 else None
    if first is None:
        return 1, shown
    there = numbers_beside(first[0])
    has_grown = first[1] + shown in there  # since the clip was opened; Blender shows the new files when it is reloaded
    return 1, shown if has_grown else max(there, default=0) - first[1] + 1


def check_range(clip: bpy.types.MovieClip, first_frame: int, last_frame: int) -> None:
    """Refuse frames for which the clip has no picture.

    Parameters
    ----------
    clip : bpy.types.MovieClip
        The footage.
    first_frame, last_frame : int
        Clip frames, both included.

    Raises
    ------
    StereoDiffError
        "clip_unreadable": the clip is without any picture. "frame_range_invalid": the frames lie outside the footage,
        or the last before the first. "sequence_gap": a file among them is missing.
    """
    first, last = footage_range(clip)
    if last < first:
        raise StereoDiffError("clip_unreadable", f"Blender finds no picture in {clip.name}.")
    if not first <= first_frame <= last_frame <= last:
        asked, there = ([number_of_clip_frame(clip, frame) for frame in ends]
                        for ends in ((first_frame, last_frame), (first, last)))
        raise StereoDiffError("frame_range_invalid", f"Frames {asked[0]} to {asked[1]} were asked for, "
                                                     f"{clip.name} has {there[0]} to {there[1]}.")
    if clip.source == "SEQUENCE":
        _refuse_gap(*_first_still(clip), range(first_frame, last_frame + 1))


def _refuse_gap(first_file: Path, first_number: int, frames: range) -> None:
    there = set(numbers_beside(first_file))
    for number in range(first_number + frames[0] - 1, first_number + frames[-1]):
        if number not in there:
            missing = file_further_on(first_file, number - first_number)[0]
            raise StereoDiffError("sequence_gap", f"Frame {number} is missing: there is no {missing.name} in "
                                                  f"{missing.parent}.")


def number_of_clip_frame(clip: bpy.types.MovieClip, frame: int) -> int:
    """The footage's own number of a clip frame.

    Parameters
    ----------
    clip : bpy.types.MovieClip
        The footage. No file is looked at.
    frame : int
        Clip frame, 1 is the first.

    Returns
    -------
    int
        The number of the file that a sequence shows there; of a movie the frame.
    """
    return frame + _numbers_before(clip)


def clip_frame_of_number(clip: bpy.types.MovieClip, number: int) -> int:
    """The clip frame of one of the footage's own numbers.

    Parameters
    ----------
    clip : bpy.types.MovieClip
        The footage. No file is looked at.
    number : int
        As number_of_clip_frame gives it.

    Returns
    -------
    int
        1 is the clip's first; below 1 what lies before it.
    """
    return number - _numbers_before(clip)


def _numbers_before(clip: bpy.types.MovieClip) -> int:
    """0 also where the numbers are beyond what a field of Blender's can hold; such a sequence is refused."""
    first = _first_still(clip) if clip.source == "SEQUENCE" else None
    return first[1] - 1 if first is not None and first[1] < MOST_COUNTED - MAX_FRAME else 0


def _first_still(clip: bpy.types.MovieClip) -> tuple[Path, int] | None:
    """The file that a sequence shows at its frame 1, and its number; None for a name without one."""
    return file_further_on(_path(clip), max(0, clip.frame_offset))


def _path(clip: bpy.types.MovieClip) -> Path:
    return Path(bpy.path.abspath(clip.filepath, library=clip.library)).absolute()


def scene_frame_from_clip_frame(clip: bpy.types.MovieClip, frame: int) -> int:
    """The frame of the timeline at which the clip shows its frame."""
    return frame + clip.frame_start - 1
