"""The footage of a result: which open clip shows it, where it lies, and whether it is what was solved.

What a result knows of its footage by content counts more than a path: a copy under another name is taken, and what
lies under the old name now is not, if it is something else. Results of earlier versions know a path alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import bpy

from ...engine.contract import ClipSource, Result, StereoDiffError
from ...engine.contract.footage_fingerprint import fingerprint, is_other_footage
from ...engine.contract.numbered_files import file_further_on


@dataclass(frozen=True)
class FoundFootage:
    """clip: that shows it, None if none is open. path: the movie, or the picture that clip frame 1 shows. number: of
    that picture."""

    clip: bpy.types.MovieClip | None
    path: Path
    number: int


def find_plate(result: Result, clip: bpy.types.MovieClip | None) -> FoundFootage:
    """Look where the solve saw it, then among the open clips.

    clip: the one that is to be shown, None to look for one. Raises StereoDiffError "clip_missing".
    """
    is_there = Path(result.clip.path).is_file()
    is_solved = is_there and not _is_other(result, result.clip)
    clip = clip or _find_clip(result, must_look=not is_solved)
    if is_solved:
        return FoundFootage(clip, Path(result.clip.path), result.clip.first_number)
    if clip is not None and (found := first_picture(clip))[0].is_file():
        return FoundFootage(clip, *found)
    if is_there:
        return FoundFootage(clip, Path(result.clip.path), result.clip.first_number)
    raise StereoDiffError("clip_missing", f"{result.clip.path} is not there, and no open clip shows it.")


def other_footage(result: Result, clip: bpy.types.MovieClip, plate: Path) -> Path | None:
    """A file that would be shown though it is not of the footage that was solved.

    Parameters
    ----------
    result : Result
        Says what its footage held.
    clip : bpy.types.MovieClip
        To be shown behind the camera.
    plate : Path
        To be shown on the mesh.

    Returns
    -------
    Path or None
        None if all is as it was, or nobody knows.
    """
    for source in (ClipSource(result.clip.kind, str(plate)), source_of(clip)):
        if _is_other(result, source):
            return Path(source.path)
    return None


def source_of(clip: bpy.types.MovieClip) -> ClipSource:
    """The file that a clip shows at its frame 1."""
    path, number = first_picture(clip)
    return ClipSource("sequence" if clip.source == "SEQUENCE" else "movie", str(path), number)


def first_picture(clip: bpy.types.MovieClip) -> tuple[Path, int]:
    """What the clip shows at its frame 1: the movie and the number of the picture in it, or the still and its own."""
    path = Path(bpy.path.abspath(clip.filepath, library=clip.library)).absolute()
    first = file_further_on(path, clip.frame_offset) if clip.source == "SEQUENCE" else None
    return first or (path, clip.frame_offset)


def load_clip(result: Result) -> bpy.types.MovieClip:
    clip = bpy.data.movieclips.load(result.clip.path, check_existing=False)
    if result.clip.kind == "movie":
        clip.frame_offset = result.clip.first_number
    return clip


def _find_clip(result: Result, *, must_look: bool) -> bpy.types.MovieClip | None:
    """By its path; where that holds other footage, or nothing, by what the clips hold. must_look: whether it does."""
    by_path = next((clip for clip in bpy.data.movieclips if _is_at_its_place(clip, result)), None)
    by_content = (clip for clip in bpy.data.movieclips if _holds(clip, result))
    return (next(by_content, None) if must_look and result.clip.fingerprint else None) or by_path


def _is_at_its_place(clip: bpy.types.MovieClip, result: Result) -> bool:
    """The same file, from the same picture on."""
    path, wanted = first_picture(clip)[0].resolve(), Path(result.clip.path).resolve()
    return path == wanted and (result.clip.kind == "sequence" or clip.frame_offset == result.clip.first_number)


def _holds(clip: bpy.types.MovieClip, result: Result) -> bool:
    """The same pictures, wherever they are."""
    source = source_of(clip)
    return (source.kind == result.clip.kind and (source.kind == "sequence" or
                                                 source.first_number == result.clip.first_number)
            and _fingerprint(result, source) == result.clip.fingerprint)


def _is_other(result: Result, source: ClipSource) -> bool:
    return is_other_footage(result.clip.fingerprint, _fingerprint(result, source))


def _fingerprint(result: Result, source: ClipSource) -> str:
    return fingerprint(source, range(result.frames[0].frame, result.frames[-1].frame + 1))
