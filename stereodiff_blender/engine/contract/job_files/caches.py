"""Where a job's cache is: in the job's own folder, or in a folder for caches that its artist chose.

Part of the contract, standard library only. A cache elsewhere is a folder named after the job, with a mark in it; the
job folder has a note that says where. Note and mark bear the same token, which nobody can guess: a note from elsewhere
leads to no folder but one that was made for it. Whoever puts a link there instead is told of the preference.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import sys
from pathlib import Path

from .. import JobFolder, StereoDiffError, write_refusal
from ..guarded_files import ASIDE, TEMPORARY, GuardedFolder
from ..strict_json import as_json

__all__ = [
    "RESERVED", "STAGE", "find_cache", "foreign_names", "has_traces", "in_words", "is_elsewhere", "is_ours",
    "make_cache", "remove_cache",
]

NAME, NOTE = "cache", "cache.json"
MARK = "stereodiff-cache.json"
RESERVED = "reserved"
"""A file that makes room for the last words of a run that fills the disk."""
STAGE = re.compile(r"(input|stereo|refine)-[0-9a-f]+")
"""What a folder in a cache is called if a job made it."""
_PICTURES = re.compile(rf"\d{{4,}}\.exr({re.escape(TEMPORARY)})?")
_MADE = {
    "": re.compile(rf"({'|'.join(map(re.escape, sorted(JobFolder.OWN_NAMES)))})({re.escape(TEMPORARY)})?"),
    NAME: re.compile(rf"{STAGE.pattern}|{RESERVED}|{re.escape(ASIDE)}[0-9a-f]+"),
    "depth": _PICTURES, "confidence": _PICTURES, "motion_mask": _PICTURES, "plate_depth": _PICTURES,
    "edge": _PICTURES, "mesh_depth": _PICTURES,
    "lens": re.compile(rf"(un|re)distort\.exr({re.escape(TEMPORARY)})?"),
}
"""What a job makes in its folder and in the folders there."""
MAX_BYTES = 10_000
_LITTER = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})


def find_cache(folder: JobFolder) -> GuardedFolder | None:
    """The job's cache, None if it has none: nothing kept, or kept on a disk that is not there.

    Parameters
    ----------
    folder : JobFolder
        The job's.

    Returns
    -------
    GuardedFolder or None
        In the job's own folder, or the one elsewhere that its note names and that was made for it.
    """
    elsewhere = _noted(folder)
    if elsewhere is not None:
        return elsewhere
    return folder.files.inside(NAME) if folder.files.is_folder(NAME) else None


def is_elsewhere(folder: JobFolder) -> bool:
    """Whether the job's cache lies outside its folder.

    Parameters
    ----------
    folder : JobFolder
        The job's.

    Returns
    -------
    bool
        False also where there is no cache, or its disk is not there.
    """
    return _noted(folder) is not None


def make_cache(folder: JobFolder, job_id: str, caches: str | os.PathLike | None = None) -> GuardedFolder:
    """The job's cache, made if it has none.

    Parameters
    ----------
    folder : JobFolder
        The job's; it exists.
    job_id : str
        Of the job; a cache elsewhere is named after it.
    caches : str, os.PathLike or None
        The folder for it to be made in, itself made if it is missing; None: the job's own.

    Returns
    -------
    GuardedFolder
        The cache, an earlier one wherever it lies.

    Raises
    ------
    StereoDiffError
        "job_folder_unsafe", "output_not_writable" or "disk_full".
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
    """Remove what jobs make in a cache, and the cache if nothing else is in it.

    Parameters
    ----------
    folder : JobFolder
        The job's.

    Returns
    -------
    bool
        Whether there was one.

    Raises
    ------
    StereoDiffError
        "job_folder_mixed": more than a job's lies there, which stays. "output_not_writable": it cannot be removed, or
        the cache that the job's note names is not there or not this job's. "job_folder_unsafe" or "disk_full" as the
        system refuses.
    """
    cache = find_cache(folder)
    try:
        if cache is None:
            return _refuse_missing(folder)
        for name in cache.names():
            _remove_own(cache, name)
        _refuse_mixed(cache)
        cache.remove()
        folder.files.unlink(NOTE)
    except OSError as error:
        raise write_refusal(error, folder.cache) from error
    return True


def _remove_own(cache: GuardedFolder, name: str) -> None:
    if name == RESERVED:
        cache.unlink(name)
    elif STAGE.fullmatch(name) or name.startswith(ASIDE):
        cache.remove_tree(name)


def _refuse_missing(folder: JobFolder) -> bool:
    """False where there is no cache at all."""
    folder.files.refuse_unsafe(NAME, with_all_below=False)
    if folder.files.stat(NAME) is not None:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder.cache))
    where = _read(folder.files, NOTE).get("folder")
    if where is not None:
        raise StereoDiffError("output_not_writable", f"The cache {where} is not there, or is not this job's.")
    return False


def _refuse_mixed(cache: GuardedFolder) -> None:
    others = [name for name in cache.names() if name != MARK]
    if others:
        raise StereoDiffError("job_folder_mixed", f"{cache.path} still holds {in_words(others)}.")


def foreign_names(folder: JobFolder) -> list[str]:
    """What lies in a job's folder that no job makes; what file browsers leave is passed over.

    Parameters
    ----------
    folder : JobFolder
        The job's. It, its cache and its folders of pictures are looked through.

    Returns
    -------
    list of str
        Names relative to the job's folder, with "/" between their parts.
    """
    return [name for place, made in _MADE.items() for name in _names_in(folder, place)
            if not (made.fullmatch(name.rpartition("/")[2]) or _is_litter(name.rpartition("/")[2]))]


def has_traces(folder: JobFolder) -> bool:
    """Whether a job worked in this folder, even if its job.json is gone.

    Parameters
    ----------
    folder : JobFolder
        What may be a job's.

    Returns
    -------
    bool
        True if events.jsonl or worker.log is there, or a stage in a cache in this folder.
    """
    return (any(folder.files.is_file(file.name) for file in (folder.events_file, folder.log_file))
            or any(STAGE.fullmatch(name) for name in folder.files.inside(NAME).names()
                   if folder.files.is_folder(NAME)))


def _names_in(folder: JobFolder, place: str) -> list[str]:
    """With the place before them."""
    if not place:
        return folder.files.names()
    return [f"{place}/{name}" for name in folder.files.inside(place).names()] if folder.files.is_folder(place) else []


def in_words(names: list[str]) -> str:
    """The first few of some names.

    Parameters
    ----------
    names : list of str
        Of files or folders.

    Returns
    -------
    str
        Three of them at most, with commas between, and how many more there are.
    """
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _is_litter(name: str) -> bool:
    return name in _LITTER or name.startswith("._")


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
    """Whether a file or folder belongs to this user; Windows keeps that elsewhere.

    Parameters
    ----------
    status : os.stat_result
        Of the file or folder.

    Returns
    -------
    bool
        Always True on Windows.
    """
    return sys.platform == "win32" or status.st_uid == os.geteuid()
