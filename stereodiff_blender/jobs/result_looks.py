"""What a finished job's result says and shows, read beside Blender once and remembered by its owner. No bpy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..engine.contract import JobFolder, Result, StereoDiffError, WarningList, WeightsUsed, shortened
from .guessed_parts import guessed_sentences, remedy
from .small_pictures import read_small
from .views import Outcome

__all__ = ["ResultSummary", "outcome_of", "read_picture_so_far", "summarize_result"]

MOST_WEIGHTS, MAX_NAME = 20, 200
Stamp = tuple[int, int, int]
"""When result.json was written, its size and which file it is: while they are the same, it says the same."""


@dataclass(frozen=True)
class ResultSummary:
    """One look at a result. picture: (H,W) int32 for a Blender's preview, each four bytes of color, the lowest row
    first; None if there is none that can be shown."""

    stamp: Stamp | None
    outcome: Outcome
    picture: np.ndarray | None


def summarize_result(folder: Path, known: Stamp | None = None, result: Result | None = None) -> ResultSummary | None:
    """Read and check a job's result; None if it is as it was. Takes a while.

    Parameters
    ----------
    folder : Path
        The job's folder.
    known : tuple of int or None
        ResultSummary.stamp of an earlier look; None if there was none.
    result : Result or None
        If somebody has just read and checked it; None: it is read here.

    Returns
    -------
    ResultSummary or None
        None if result.json has the stamp known.

    Raises
    ------
    StereoDiffError
        As JobFolder.read_result does.
    """
    job_folder = JobFolder(folder)
    stamp = _stamp(job_folder)
    if known is not None and stamp == known:
        return None
    result = job_folder.read_result() if result is None else result
    return ResultSummary(stamp, outcome_of(result), _picture(job_folder, result))


def read_picture_so_far(folder: Path) -> np.ndarray | None:
    """What a running job shows of depth.

    Parameters
    ----------
    folder : Path
        The job's folder.

    Returns
    -------
    ndarray or None
        (H,W) int32 as of ResultSummary.picture; None if there is none just now, or none that can be shown.
    """
    job_folder = JobFolder(folder)
    try:
        return _packed(read_small(job_folder, job_folder.picture_so_far.name))
    except (StereoDiffError, OSError):
        return None


def outcome_of(result: Result) -> Outcome:
    """What panels say about a result. Nothing of it is longer than they can show.

    Parameters
    ----------
    result : Result
        A result that was checked.

    Returns
    -------
    Outcome
        With the first warnings and weights only, names shortened, and no icon.
    """
    warnings = WarningList(result.warnings)
    weights = tuple(WeightsUsed(shortened(used.name, MAX_NAME), shortened(used.licence, MAX_NAME), used.commercial_use)
                    for used in result.weights[:MOST_WEIGHTS])
    return Outcome(result.camera_kind, len(result.frames), result.plate_quality, warnings.kept, weights,
                   result.refinement, other_warnings=warnings.others, guessed=guessed_sentences(result),
                   guessed_remedy=remedy(result))


def _stamp(folder: JobFolder) -> Stamp | None:
    try:
        status = folder.files.stat(folder.result_file.name)
    except OSError:
        return None
    return None if status is None else (status.st_mtime_ns, status.st_size, status.st_ino)


def _picture(folder: JobFolder, result: Result) -> np.ndarray | None:
    """A preview that cannot be shown takes nothing from the job."""
    if result.preview_image is None:
        return None
    try:
        picture = read_small(folder, result.preview_image)
    except StereoDiffError:
        return None
    return _packed(_stacked(picture) if result.depth_range is not None else picture)


def _stacked(pair: np.ndarray) -> np.ndarray:
    """A preview shows frame and depth side by side; an icon is square, so here the depth stands below the frame."""
    middle = pair.shape[1] // 2
    return np.concatenate([pair[:, :middle], pair[:, middle:2 * middle]])


def _packed(picture: np.ndarray) -> np.ndarray:
    opaque = np.full((*picture.shape[:2], 4), 255, np.uint8)
    opaque[..., :3] = picture[::-1]
    return opaque.view(np.int32)[..., 0]
