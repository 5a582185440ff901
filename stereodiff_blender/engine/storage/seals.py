"""How a job knows that what another one kept was computed by this user's own engine.

A checksum says that arrays are whole; anybody can make one. A seal can only be made with a key that lies in the user's
own folder, readable by nobody else. A folder of arrays gets one when it is done, if it was begun by a run that found
nothing in it: the token that such a run leaves holds for this folder alone, not for a copy of it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import stat
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..contract.guarded_files import GuardedFolder
from ..contract.job_files.caches import is_ours
from ..contract.strict_json import as_json

SEAL, BEGUN, KEY = "seal.json", "begun", "seal.key"
KEY_BYTES, MAX_BYTES, CHUNK_BYTES = 32, 100_000, 1 << 20


@dataclass(frozen=True)
class Seal:
    """job: the id of the job that computed what is sealed. files: size and digest of each, by its name."""

    job: str
    files: dict[str, tuple[int, str]]


def users_key(user_folder: Path) -> bytes | None:
    """This user's key for seals, made when it is asked for first.

    Parameters
    ----------
    user_folder : Path
        The user's data folder; made if it is missing.

    Returns
    -------
    bytes or None
        KEY_BYTES bytes; None where the key cannot be kept from others, and then nothing is sealed or believed.
    """
    with suppress(OSError):
        user_folder.mkdir(parents=True, exist_ok=True)
        folder = GuardedFolder(user_folder)
        if folder.stat(KEY) is None:
            _make_key(folder)
        status = folder.stat(KEY)
        if status is None:
            return None
        is_private = is_ours(status) and (sys.platform == "win32" or not stat.S_IMODE(status.st_mode) & 0o077)
        key = folder.read_bytes(KEY, KEY_BYTES)
        return key if is_private and len(key) == KEY_BYTES else None
    return None


def _make_key(folder: GuardedFolder) -> None:
    """Two processes may do so at once; one of them is the first."""
    with suppress(FileExistsError), folder.open_for_writing(KEY, "new", private=True) as stream:
        stream.write(secrets.token_bytes(KEY_BYTES))


# --- Begun -----------------------------------------------------------------------------------------------------

def mark_begun(folder: GuardedFolder, key: bytes | None) -> None:
    """Note in a folder that is empty that this user's engine has begun it.

    Parameters
    ----------
    folder : GuardedFolder
        Where arrays will lie; one that holds something is left as it is.
    key : bytes or None
        As of users_key; None: nothing is noted.

    Raises
    ------
    OSError
        The folder cannot be read or written; UnsafeFileError where a link leads elsewhere.
    """
    if key is not None and not folder.names():
        folder.replace(BEGUN, _token(folder, key))


def was_begun(folder: GuardedFolder, key: bytes | None) -> bool:
    """Whether this user's engine has begun this very folder.

    Parameters
    ----------
    folder : GuardedFolder
        Where arrays lie.
    key : bytes or None
        As of users_key; None: nothing is believed.

    Returns
    -------
    bool
        False too where the note cannot be read.
    """
    try:
        return key is not None and hmac.compare_digest(folder.read_bytes(BEGUN, MAX_BYTES), _token(folder, key))
    except OSError:
        return False


def _token(folder: GuardedFolder, key: bytes) -> bytes:
    return _mac(key, ["begun", folder.path.name, os.stat(folder.path).st_ino])


# --- Sealed ----------------------------------------------------------------------------------------------------

def put_seal(folder: GuardedFolder, names: Iterable[str], job_id: str, key: bytes) -> None:
    """Seal what this user's engine computed for that job.

    Parameters
    ----------
    folder : GuardedFolder
        Where the files lie, and the seal will.
    names : iterable of str
        The files, right below the folder.
    job_id : str
        Of the job that computed them.
    key : bytes
        As of users_key.

    Raises
    ------
    OSError
        A file cannot be read, or the seal not be written.
    """
    files = {name: _size_and_digest(folder, name) for name in sorted(names)}
    mac = _mac(key, [folder.path.name, job_id, files]).decode()
    folder.replace(SEAL, as_json({"job": job_id, "files": files, "mac": mac}))


def read_seal(folder: GuardedFolder, key: bytes | None) -> Seal | None:
    """A seal of this user for a folder of this name; the files may have changed since.

    Parameters
    ----------
    folder : GuardedFolder
        Where the seal lies.
    key : bytes or None
        As of users_key; None: nothing is believed.

    Returns
    -------
    Seal or None
        None if there is none, if it is damaged, or not made with this key for a folder of this name.
    """
    if key is None:
        return None
    try:
        data = json.loads(folder.read_text(SEAL, MAX_BYTES))
        expected = _mac(key, [folder.path.name, data["job"], data["files"]])
        if not hmac.compare_digest(expected, data["mac"].encode()):
            return None
        return Seal(data["job"], {name: (size, digest) for name, (size, digest) in data["files"].items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def is_unbroken(folder: GuardedFolder, seal: Seal) -> bool:
    """Whether the files are those that were sealed, to the last byte.

    Reads them all.

    Parameters
    ----------
    folder : GuardedFolder
        Where the files lie.
    seal : Seal
        As of read_seal.

    Returns
    -------
    bool
        False too where a file cannot be read.
    """
    try:
        sizes = folder.file_sizes()
        return (all(sizes.get(name) == size for name, (size, _) in seal.files.items())
                and all(_size_and_digest(folder, name) == sealed for name, sealed in seal.files.items()))
    except OSError:
        return False


def _size_and_digest(folder: GuardedFolder, name: str) -> tuple[int, str]:
    digest = hashlib.sha256()  # in hardware nearly everywhere: a resumed run reads all of stage 1
    with folder.open_for_reading(name) as stream:
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
        return stream.tell(), digest.hexdigest()


def _mac(key: bytes, parts: list) -> bytes:
    return hmac.new(key, json.dumps(parts, sort_keys=True).encode(), hashlib.sha256).hexdigest().encode()
