"""The worker's Python environment: where it is, what it was made of, and whether it works.

Standard library only and no bpy: Blender's preferences and build.py in a plain checkout use the same code.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..engine.contract import StereoDiffError, programs
from ..engine.contract.strict_json import from_dict
from ..engine.contract.user_folders import user_folder

__all__ = ["environment_folder", "environment_python", "find_python", "verify"]

MODULES = ("numpy", "cv2", "imageio", "av", "OpenEXR", "OpenImageIO", "PyOpenColorIO", "matplotlib")
MARKER = "complete"
VERIFY_TIMEOUT_S = 120

# Runs in the interpreter under test, so it may use nothing of ours. An import can fail with any exception.
_PROBE = """
import importlib, json, platform
versions, missing = {"python": platform.python_version()}, {}
for name in %r:
    try:
        module = importlib.import_module(name)
        versions[name] = str(getattr(module, "__version__", "unknown"))
    except Exception as error:
        missing[name] = str(error) or type(error).__name__
print(json.dumps({"versions": versions, "missing": missing}))
"""


# --- Where -------------------------------------------------------------------------------------------------------

def environment_folder() -> Path:
    """Where the preferences install the worker's environment.

    Returns
    -------
    Path
        In the user's data folder, whether or not it exists.
    """
    return user_folder() / "environment"


def environment_python(folder: str | os.PathLike) -> Path:
    """The interpreter of the environment in folder, whether or not it exists.

    Parameters
    ----------
    folder : str or PathLike
        Of the environment.

    Returns
    -------
    Path
        Scripts/python.exe in it on Windows, else bin/python.
    """
    return Path(folder) / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def find_python(configured: str) -> Path:
    """The worker's interpreter: the configured one (file or environment folder), else that of environment_folder().

    Parameters
    ----------
    configured : str
        An absolute path, which may begin with "~"; empty or blank: none is configured.

    Returns
    -------
    Path
        A file that exists.

    Raises
    ------
    StereoDiffError
        "runtime_missing", or "runtime_broken" for a half-finished or unusable installation.
    """
    if configured.strip():
        return _configured_python(Path(configured.strip()).expanduser())
    folder = environment_folder()
    python = environment_python(folder)
    if not folder.exists():
        raise StereoDiffError("runtime_missing", f"There is no environment in {folder}.")
    if not (folder / MARKER).is_file() or not python.exists():
        raise StereoDiffError("runtime_broken", f"The installation in {folder} was not completed.")
    return python


def _configured_python(path: Path) -> Path:
    if not path.is_absolute():  # It would be another one wherever Blender stands, or the .blend lies.
        raise StereoDiffError("runtime_missing", f"{path} is not a whole path.")
    python = environment_python(path) if path.is_dir() else path
    if not python.is_file():
        raise StereoDiffError("runtime_missing", f"There is no Python at {python}.")
    if not os.access(python, os.X_OK):
        raise StereoDiffError("runtime_broken", f"{python} is not a program.")
    return python


# --- Check -------------------------------------------------------------------------------------------------------

def verify(python: str | os.PathLike) -> dict[str, str]:
    """Versions of "python" and of every module the engine's standard preset imports, by importing them there.

    Takes about a second; the caller keeps the answer.

    Parameters
    ----------
    python : str or PathLike
        The interpreter to be tried.

    Returns
    -------
    dict of str to str
        Module, or "python" -> version; "unknown" for a module that does not tell.

    Raises
    ------
    StereoDiffError
        "runtime_broken" naming what is missing.
    """
    ended = programs.ask(programs.python_command(python, "-c", _PROBE % (MODULES,)), VERIFY_TIMEOUT_S)
    try:
        found = from_dict(_Probed, json.loads(ended.output.splitlines()[-1]))
    except (IndexError, ValueError, RecursionError) as error:
        raise StereoDiffError("runtime_broken", f"{python} does not work: {ended.last_words}.") from error
    if found.missing:
        named = ", ".join(f"{name} ({reason})" for name, reason in found.missing.items())
        raise StereoDiffError("runtime_broken", f"{python} cannot import {named}.")
    return found.versions


@dataclass(frozen=True)
class _Probed:
    """What _PROBE prints. versions: module -> its version. missing: module -> why it cannot be imported."""

    versions: dict[str, str]
    missing: dict[str, str]


# --- Of which requirements ---------------------------------------------------------------------------------------

def is_complete(folder: str | os.PathLike, requirements: Path) -> bool:
    """Whether an installation got to its end here with these very requirements: a lock, or another pip file."""
    marker = Path(folder) / MARKER
    return (marker.is_file() and environment_python(folder).exists()
            and marker.read_text(encoding="ascii", errors="replace").strip() == fingerprint(requirements))


def fingerprint(requirements: Path) -> str:
    """Hash of a requirements file and of those it includes."""
    digest = hashlib.sha256()
    for path in _requirement_files(Path(requirements)):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _requirement_files(path: Path) -> Iterator[Path]:
    yield path
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("-r "):
            yield from _requirement_files(path.parent / line[3:].strip())
