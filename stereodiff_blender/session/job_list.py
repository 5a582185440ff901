"""The list of jobs that every scene keeps in the .blend: finding, adding and updating its items."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import bpy

from ..engine.contract import ERROR_CODES, shortened, valid_shots
from ..jobs.worker_process import JobStatus

__all__ = ["find_item", "items_by_job", "remove_items"]

LONGEST_SHOTS = 20_000
_SHOT = re.compile(r"([0-9]{1,9})-([0-9]{1,9})")


LONGEST_NAME = 255


def items_of(job_id: str) -> Iterator:
    """The items that list a job: normally one, more if its scene was copied."""
    return (item for scene in bpy.data.scenes for item in scene.stereodiff.jobs if item.job_id == job_id)


def items_by_job() -> dict[str, list]:
    """All items of this file, by the job that they list.

    Returns
    -------
    dict of str to list
        Job id -> its items, property groups in the scenes' lists: normally one, more if its scene was copied.
    """
    found: dict[str, list] = {}
    for scene in bpy.data.scenes:
        for item in scene.stereodiff.jobs:
            found.setdefault(item.job_id, []).append(item)
    return found


def find_item(job_id: str):
    """The first item that lists a job, None if no scene of this file does.

    Parameters
    ----------
    job_id : str
        Of the job.

    Returns
    -------
    bpy.types.PropertyGroup or None
        The item itself, as it stands in the scene's list.
    """
    return next(items_of(job_id), None)


def scene_of(job_id: str, scene_uid: int) -> bpy.types.Scene | None:
    """The scene a job came from: the very one, or after loading a file the one that lists the job.

    scene_uid: its session_uid, which undo keeps and loading a file does not.
    """
    for scene in bpy.data.scenes:
        if scene.session_uid == scene_uid:
            return scene
    return next((scene for scene in bpy.data.scenes for item in scene.stereodiff.jobs if item.job_id == job_id), None)


def add_item(scene: bpy.types.Scene, job_id: str, folder: Path, clip_name: str,
             clip: bpy.types.MovieClip | None) -> None:
    """List a job at the end of the scene's list and select it there."""
    item = scene.stereodiff.jobs.add()
    item.job_id, item.folder, item.clip_name, item.clip = job_id, str(folder), shortened(clip_name, LONGEST_NAME), clip
    scene.stereodiff.active_job_index = len(scene.stereodiff.jobs) - 1


def write_state(job_id: str, status: JobStatus) -> None:
    """How a job stands, so that the .blend still says it when the session is gone."""
    write_items(items_of(job_id), status)


def write_items(items: Iterable, status: JobStatus) -> None:
    """As write_state, where the job's items are at hand."""
    for item in items:
        if item.state != status.state:
            item.state = status.state
            item.code, item.message = status.code or "", status.message or ""
            item.shots = " ".join(f"{first}-{last}" for first, last in status.shots)


def write_folder(job_id: str, folder: Path) -> None:
    """Where a job is now."""
    for item in items_of(job_id):
        item.folder = str(folder)


def status_of(item) -> JobStatus:
    """How a job stood when its item was last written."""
    code = item.code if item.code in ERROR_CODES or not item.code else "internal_error"
    return JobStatus(item.state, code=code or None, message=shortened(item.message) or None, shots=shots_of(item))


def shots_of(item) -> tuple[tuple[int, int], ...]:
    """First and last clip frame of each shot that a failed job's item names; none if it failed for another reason.

    A file may hold any text there: what is no range is passed over.
    """
    ranges = (_SHOT.fullmatch(shot) for shot in item.shots[:LONGEST_SHOTS].split())
    return valid_shots((int(found[1]), int(found[2])) for found in ranges if found is not None)


def remove_items(scene: bpy.types.Scene, job_id: str) -> None:
    """Take a job off the scene's list; the selection stays inside the list.

    Parameters
    ----------
    scene : bpy.types.Scene
        Whose list it is; other scenes keep theirs.
    job_id : str
        Of the job; it need not be listed.
    """
    group = scene.stereodiff
    for index in reversed(range(len(group.jobs))):
        if group.jobs[index].job_id == job_id:
            group.jobs.remove(index)
    group.active_job_index = max(0, min(group.active_job_index, len(group.jobs) - 1))
