"""Where a job's cache is: in the job's own folder, or in a folder for caches that its artist chose.

Part of the contract, standard library only. A cache elsewhere is a folder named after the job, with a mark in it; the
job folder has a note that says where. Note and mark bear the same token, which nobody can guess: a note from elsewhere
leads to no folder but one that was made for it. Whoever puts a link there instead is told of the preference.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import sys
from pathlib import Path

from .contract import JobFolder, write_refusal
from .guarded_files import GuardedFolder
from .strict_json import as_json

NAME, NOTE = "cache", "cache.json"
MARK = "stereodiff-cache.json"
MAX_BYTES = 10_000


def find_cache(folder: JobFolder) -> GuardedFolder | None:
    """The job's cache, None if it has none: nothing kept, or kept on a disk that is not there."""
    elsewhere = _noted(folder)
    if elsewhere is not None:
        return elsewhere
    return folder.files.inside(NAME) if folder.files.is_folder(NAME) else None


def make_cache(folder: JobFolder, job_id: str, caches: str | os.PathLike | None = None) -> GuardedFolder:
    """The job's cache, made if it has none. caches: the folder for it to be made in; None: the job's own.

    Raises StereoDiffError "job_folder_unsafe", "output_not_writable" or "disk_full".
    """
    found = find_cache(folder)
    if found is not None:
        return found
    try:
        if caches is None or folder.files.stat(NAME) is not None:
            return folder.files.make_folder(NAME)
    except OSError as error:
        raise write_refusal(error, folder.cache) from error
    try:
        return _made_elsewhere(folder, job_id, Path(caches).expanduser().absolute())
    except OSError as error:
        raise write_refusal(error, caches) from error


def remove_cache(folder: JobFolder) -> bool:
    """Whether there was one. Raises StereoDiffError as make_cache does; then nothing, or not all, was removed."""
    elsewhere = _noted(folder)
    try:
        folder.files.refuse_unsafe(NAME, with_all_below=False)
        if elsewhere is None:
            return folder.files.remove_tree(NAME)
        GuardedFolder(elsewhere.path.parent).remove_tree(elsewhere.path.name)
        folder.files.unlink(NOTE)
        folder.files.remove_tree(NAME)
        return True
    except OSError as error:
        raise write_refusal(error, folder.cache) from error


def _noted(folder: JobFolder) -> GuardedFolder | None:
    """The cache that the job's note names, if that was made for it."""
    note = _read(folder.files, NOTE)
    path, token = note.get("folder"), note.get("token")
    if not (isinstance(path, str) and isinstance(token, str) and token and Path(path).is_absolute()):
        return None
    parent, name = GuardedFolder(Path(path).parent), Path(path).name
    try:
        status = parent.stat(name)
    except OSError:
        return None
    if status is None or not parent.is_folder(name) or not is_ours(status):
        return None
    cache = GuardedFolder(path)
    return cache if _read(cache, MARK).get("token") == token else None


def _made_elsewhere(folder: JobFolder, job_id: str, caches: Path) -> GuardedFolder:
    """Another job of that name may have one there already."""
    token = secrets.token_hex(16)
    caches.mkdir(parents=True, exist_ok=True)
    name = job_id if re.fullmatch(r"\w[\w.-]*", job_id) else "job"
    if GuardedFolder(caches).stat(name) is not None:
        name += f"-{token[:8]}"
    (caches / name).mkdir()
    cache = GuardedFolder(caches / name)
    cache.replace(MARK, as_json({"job": job_id, "token": token}))
    folder.files.replace(NOTE, as_json({"folder": str(caches / name), "token": token}))
    return cache


def _read(folder: GuardedFolder, name: str) -> dict:
    """Empty for a file that is missing, or that nobody of ours wrote."""
    try:
        data = json.loads(folder.read_text(name, MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def is_ours(status: os.stat_result) -> bool:
    """Whether a file or folder belongs to this user; Windows keeps that elsewhere."""
    return sys.platform == "win32" or status.st_uid == os.geteuid()
