"""The computer around the engine: system, Python, memory, and the folders that a solve writes to."""

from __future__ import annotations

import ctypes
import locale
import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path

from ..contract import ENGINE_VERSION
from ..contract.health import FAULT, NOTE, OK, Finding
from ..memory import memory_bytes

OLDEST_PYTHON = (3, 11)
SMALL_MEMORY_BYTES = 4e9
BYTES_PER_PIXEL = 58
"""What one pixel of one frame of a solve takes on disk, scratch files and results together."""
EXAMPLE_PIXELS, EXAMPLE_FRAMES = 640 * 360, 100
WINDOWS_PATH_LIMIT, LONGEST_PRODUCT = 259, 75
"""Characters: of a whole path unless Windows is told otherwise; of a job's folder and a file in it."""


def machine_findings() -> list[Finding]:
    return [_system(), _python(), _engine(), _text_encoding(), _memory()]


# --- Programs --------------------------------------------------------------------------------------------------

def _system() -> Finding:
    return Finding("System", OK, f"{platform.platform()}, {platform.machine() or 'unknown'} processor, "
                                 f"{os.cpu_count() or '?'} threads")


def _python() -> Finding:
    found = f"{platform.python_version()}, {8 * ctypes.sizeof(ctypes.c_void_p)} bit, {sys.executable}"
    if sys.version_info < OLDEST_PYTHON:
        return Finding("Python", FAULT, found, "Choose Python 3.11 or newer, or click Install Engine in the "
                                               "extension's preferences.", is_vital=True)
    if sys.maxsize < 2**32:
        return Finding("Python", FAULT, found, "Choose a Python of 64 bit; the packages exist for no other.",
                       is_vital=True)
    return Finding("Python", OK, found, is_vital=True)


def _engine() -> Finding:
    return Finding("Engine", OK, f"{ENGINE_VERSION}, {Path(__file__).resolve().parents[3]}")


def _text_encoding() -> Finding:
    names = f"{sys.getfilesystemencoding()} for file names, {locale.getpreferredencoding(False)} for text"
    if sys.getfilesystemencoding().lower().replace("-", "") != "utf8":
        return Finding("Text encoding", NOTE, names, "If paths with accents make trouble, set the variable PYTHONUTF8 "
                                                     "to 1.")
    return Finding("Text encoding", OK, names)


# --- Memory ----------------------------------------------------------------------------------------------------

def _memory() -> Finding:
    total, free = memory_bytes()
    if total is None:
        return Finding("Memory", NOTE, "the system does not tell how much there is")
    found = f"{gigabytes(total)}" + (f", {gigabytes(free)} available" if free is not None else "")
    if total < SMALL_MEMORY_BYTES:
        return Finding("Memory", NOTE, found, "Use the Draft or Standard preset and close other programs while it "
                                              "solves.")
    return Finding("Memory", OK, found)


# --- Folders ---------------------------------------------------------------------------------------------------

def folder_findings(jobs_folder: Path | None, models_folder: Path | None) -> list[Finding]:
    """None: the folder was not named. The temporary folder is always looked at."""
    findings = [_temporary_folder()]
    if jobs_folder is not None:
        findings.append(_writable_folder("Jobs folder", jobs_folder, "Choose another Jobs Folder in the preferences, "
                                         "or give yourself the right to write there."))
        findings += [*_path_length(jobs_folder), *_network_path(jobs_folder)]
    if models_folder is not None:
        findings.append(_models_folder(models_folder))
    return findings


def _temporary_folder() -> Finding:
    """Python tries several places, and writes to each."""
    try:
        folder = Path(tempfile.gettempdir())
    except OSError as error:  # none of them can be written to
        return Finding("Temporary folder", FAULT, f"none can be written to: {error.strerror or error}",
                       "Set the variable TMPDIR (TEMP on Windows) to a folder with free space.", is_vital=True)
    return _with_space("Temporary folder", folder, folder, "Free some space there, or set the variable TMPDIR (TEMP on "
                       "Windows) to a folder on another disk.", needed=EXAMPLE_PIXELS * 4)


def _writable_folder(name: str, folder: Path, remedy: str) -> Finding:
    """A folder that is not there yet is judged by where it would be made."""
    try:
        there = nearest_existing(folder)
        if not there.is_dir():
            return Finding(name, FAULT, f"{folder} cannot be made: {there} is a file", remedy, is_vital=True)
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        return Finding(name, FAULT, f"{folder} cannot be written to: {error.strerror or error}", remedy, is_vital=True)
    return _with_space(name, folder, there, "Free some space, or choose a Jobs Folder on another disk in the "
                       "preferences.", needed=EXAMPLE_PIXELS * EXAMPLE_FRAMES * BYTES_PER_PIXEL)


def _with_space(name: str, folder: Path, there: Path, remedy: str, needed: int) -> Finding:
    try:
        free = shutil.disk_usage(there).free
    except OSError as error:
        return Finding(name, NOTE, f"{folder}; its free space is not known: {error.strerror or error}")
    found = f"{folder}{'' if there == folder else ' (not made yet)'}, {gigabytes(free)} free"
    if name == "Jobs folder":
        found += f"; 100 frames of 640x360 need {gigabytes(needed)} while they are solved"
    if free < needed:
        return Finding(name, FAULT, found, remedy, is_vital=True)
    return Finding(name, OK, found)


def _models_folder(folder: Path) -> Finding:
    """Reading is enough; only downloads and conversions write there."""
    try:
        there = nearest_existing(folder)
        free = shutil.disk_usage(there).free
    except OSError as error:
        return Finding("Models folder", NOTE, f"{folder} cannot be looked at: {error.strerror or error}",
                       "Choose another Models Folder in the preferences, or connect its disk.")
    found = f"{folder}{'' if there == folder else ' (not made yet)'}, {gigabytes(free)} free"
    if not os.access(there, os.W_OK):
        return Finding("Models folder", NOTE, f"{found}; it cannot be written to",
                       "Weights cannot be downloaded or converted there; those that are there can be used.")
    return Finding("Models folder", OK, found)


def _path_length(jobs_folder: Path) -> list[Finding]:
    length = len(str(jobs_folder))
    if os.name != "nt" or length + LONGEST_PRODUCT <= WINDOWS_PATH_LIMIT:
        return []
    return [Finding("Path length", FAULT, f"the jobs folder's path has {length} characters, which leaves too few for "
                    "the files of a job", "Choose a Jobs Folder with a shorter path in the preferences, such as "
                    "C:\\StereoDiff.", is_vital=True)]


def _network_path(jobs_folder: Path) -> list[Finding]:
    if not str(jobs_folder).startswith(("\\\\", "//")):
        return []
    return [Finding("Jobs folder's place", NOTE, "it is on another computer", "Choose a Jobs Folder on a disk of this "
                    "computer; scratch files are read and written all the time.")]


def nearest_existing(folder: Path) -> Path:
    """The folder, or the closest one above it that is there. Raises OSError where that cannot be told."""
    folder = folder.absolute()
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    os.stat(folder)  # a link into nothing, or a folder nobody may look into
    return folder


def gigabytes(count: float) -> str:
    return f"{count / 1e9:.1f} GB"
