"""What lies in an environment against what its lock asks for: versions, and every file by the hash it came with.

Every installed package brings a list of its files with their hashes (RECORD, of the binary distribution format).
Nothing of the environment is run for this. Standard library only.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_LOCKED = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(?:\[[^\]]*\])?==(?P<version>[^\s;\\]+)")
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Fault:
    """package: its name in the lock. what: one sentence without a full stop."""

    package: str
    what: str


def locked_versions(lock: Path) -> dict[str, str]:
    """Version by name (lower case, "-" between words) of every package that a lock names."""
    lines = lock.read_text(encoding="utf-8").splitlines()
    matches = (_LOCKED.match(line) for line in lines if line and not line.startswith(("#", " ", "-")))
    return {plain_name(match["name"]): match["version"] for match in matches if match}


def plain_name(name: str) -> str:
    """Spellings that the package index takes for one."""
    return re.sub(r"[-_.]+", "-", name).lower()


def find_faults(folder: Path, lock: Path) -> list[Fault]:
    """Every package of the lock that is missing, of another version, or has lost or changed files. Reads all files."""
    installed = dict(_installed(folder))
    found = {name: _what_is_wrong(installed.get(name), version) for name, version in locked_versions(lock).items()}
    return [Fault(name, what) for name, what in found.items() if what is not None]


def _what_is_wrong(information: Path | None, version: str) -> str | None:
    """information: a package's folder of that, if it is installed. version: of the lock."""
    if information is None:
        return "is missing"
    found = information.stem.partition("-")[2]
    return _damage(information) if found == version else f"has version {found} instead of {version}"


def forget_package(folder: Path, name: str) -> None:
    """Take a package off the books, so that it is installed over whatever is left of it."""
    for installed, information in _installed(folder):
        if installed == name:
            shutil.rmtree(information)


def _installed(folder: Path) -> Iterator[tuple[str, Path]]:
    """Name and information folder of what is installed."""
    for site in _site_folders(folder):
        for information in sorted(site.glob("*.dist-info")):
            yield plain_name(information.name.split("-")[0]), information


def _site_folders(folder: Path) -> list[Path]:
    if os.name == "nt":
        return [folder / "Lib" / "site-packages"]
    return sorted(folder.glob("lib/python3.*/site-packages"))


def _damage(information: Path) -> str | None:
    """What is wrong with a package's files, if anything is."""
    try:
        rows = list(csv.reader((information / "RECORD").read_text(encoding="utf-8").splitlines()))
    except (OSError, ValueError, csv.Error):
        return "has lost the list of its files"
    site = information.parent
    for row in rows:
        if len(row) != 3 or not row[1]:  # of compiled bytecode and of the list itself nothing is known
            continue
        path = site / row[0]
        if not path.is_file():
            return f"has lost {path.name}"
        algorithm, _, expected = row[1].partition("=")
        if algorithm in hashlib.algorithms_guaranteed and _hash(path, algorithm) != expected:
            return f"has another {path.name} than it came with"
    return None


def _hash(path: Path, algorithm: str) -> str:
    digest = hashlib.new(algorithm)
    with open(path, "rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode("ascii")
