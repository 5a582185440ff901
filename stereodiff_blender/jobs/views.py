"""What panels see of the jobs: plain values that a session hands out. No bpy, no disk."""

from __future__ import annotations

from dataclasses import dataclass

from ..engine.contract import Quality, Refinement, ResultWarning, WeightsUsed
from ..engine.contract.errors import Problem
from .progress import JobStatus

__all__ = ["JobView", "Outcome", "size_text"]


@dataclass(frozen=True)
class Size:
    """What a job takes on disk, in bytes. cache: the part of it that can be removed without losing the result."""

    total: int
    cache: int


def size_text(size: int) -> str:
    """Bytes for people: "0 MB", "12 MB", "3.4 GB".

    Parameters
    ----------
    size : int
        In bytes.

    Returns
    -------
    str
        In GB from 1e9 bytes on, else in MB of 1e6 bytes.
    """
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


@dataclass(frozen=True)
class Outcome:
    """What a finished job's result says about itself; read from disk once. quality: in pixels of the plate. warnings:
    the first of them; other_warnings: how many more there were. icon_id: of its preview, 0 for none. guessed: sentences
    on where depth is guessed; guessed_remedy: what to do about that."""

    camera_kind: str
    frame_count: int
    quality: Quality
    warnings: tuple[ResultWarning, ...]
    weights: tuple[WeightsUsed, ...] = ()
    refinement: Refinement | None = None
    icon_id: int = 0
    other_warnings: int = 0
    guessed: tuple[str, ...] = ()
    guessed_remedy: str = ""


@dataclass(frozen=True)
class JobView:
    """One job for drawing.

    import_problem: the solve is fine, bringing it into the scene was not. size: on disk, None until measured.
    is_queued: it waits for its turn in this Blender, so it can be moved. import_note: what of the scene is
    not as the clip was when the job was imported; empty if all is. picture_id: icon of depth so far, while it is
    solved; 0 for none.
    """

    job_id: str
    clip_name: str
    status: JobStatus
    outcome: Outcome | None = None
    import_problem: Problem | None = None
    size: Size | None = None
    is_queued: bool = False
    import_note: str = ""
    picture_id: int = 0
