"""The worker's Python environment: where it is, making it, checking it.

Standard library only and no bpy: Blender's preferences and build.py in a plain checkout use the same code.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..engine.contract import StereoDiffError, programs, redact
from ..engine.contract.strict_json import from_dict
from ..engine.contract.user_folders import user_folder

__all__ = ["environment_folder", "environment_python", "find_python", "verify"]

MODULES = ("numpy", "cv2", "imageio", "av", "OpenEXR", "matplotlib")
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


# --- Where -----------------------------------------------------------------------------------------------------

def environment_folder() -> Path:
    """Where the preferences install the worker's environment."""
    return user_folder() / "environment"


def environment_python(folder: str | os.PathLike) -> Path:
    """The interpreter of the environment in folder, whether or not it exists."""
    return Path(folder) / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def find_python(configured: str) -> Path:
    """The worker's interpreter: the configured one (file or environment folder), else that of environment_folder().

    Raises StereoDiffError "runtime_missing", or "runtime_broken" for a half-finished or unusable installation.
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


# --- Check -----------------------------------------------------------------------------------------------------

def verify(python: str | os.PathLike) -> dict[str, str]:
    """Versions of "python" and of every module the engine's standard preset imports, by importing them there.

    Takes about a second; the caller keeps the answer. Raises StereoDiffError "runtime_broken" naming what is missing.
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


# --- Create ----------------------------------------------------------------------------------------------------

def is_complete(folder: str | os.PathLike, requirements: Path) -> bool:
    """Whether create() got to its end here with these very requirements."""
    marker = Path(folder) / MARKER
    return (marker.is_file() and environment_python(folder).exists()
            and marker.read_text(encoding="ascii", errors="replace").strip() == fingerprint(requirements))


def create(folder: str | os.PathLike, requirements: Path, *, base_python: str | os.PathLike,
           on_line: Callable[[str], None]) -> Path:
    """Make the environment, or complete or update it; nothing to do if it is complete. Returns its interpreter.

    requirements: pip requirements file; "-r other.txt" lines are followed. base_python: 3.11 or newer.
    on_line: gets every line that venv and pip print, as it comes; an exception from it ends the installation.
    A half-finished environment is made anew. A folder that holds anything else is refused.
    Raises StereoDiffError "output_in_use", "output_not_writable", "disk_full" or "runtime_broken".
    """
    folder, requirements = Path(folder).absolute(), Path(requirements).absolute()
    python = environment_python(folder)
    if is_complete(folder, requirements):
        return python
    expected = fingerprint(requirements)
    _make_room(folder)
    if not python.exists():
        _run(base_python, "venv", [folder], on_line)
    _run(python, "pip", ["install", "--disable-pip-version-check", "--no-input", "--progress-bar", "off", "-r",
                         requirements], on_line)
    (folder / MARKER).write_text(expected + "\n", encoding="ascii")
    return python


def _make_room(folder: Path) -> None:
    """Keep a finished environment, whose packages pip will update; clear a half-finished one."""
    marker = folder / MARKER
    try:
        if marker.exists():
            marker.unlink()
        elif (folder / "pyvenv.cfg").exists():
            shutil.rmtree(folder)
        elif folder.exists() and any(folder.iterdir()):
            raise StereoDiffError("output_in_use", f"{folder} holds other files.")
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise StereoDiffError("output_not_writable", f"{folder} cannot be written: {reason}.") from error


def _run(python: str | os.PathLike, module: str, arguments: list, on_line: Callable[[str], None]) -> None:
    last_lines: deque[str] = deque(maxlen=5)

    def hand_on(line: str) -> None:
        last_lines.append(redact(line.rstrip()))
        on_line(last_lines[-1])

    if programs.run_long(programs.python_command(python, "-m", module, *arguments), on_line=hand_on) != 0:
        raise _install_error(module, " ".join(last_lines))


def _install_error(module: str, last_words: str) -> StereoDiffError:
    if "No space left on device" in last_words or "Errno 28" in last_words:
        return StereoDiffError("disk_full", "The disk filled up during the installation.")
    return StereoDiffError("runtime_broken", f"{module} failed: {last_words[-programs.LONGEST_WORDS:]}")


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
