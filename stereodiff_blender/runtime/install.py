"""The worker's environment installed from a lock: step by step, to be cancelled, gone on with, verified, repaired.

pip does the transfer and the installation, with the user's own index, proxy and certificates. It is asked for one
package at a time, so that what is here already is not fetched again after an interruption.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..engine.contract import StereoDiffError, programs, write_refusal
from . import environment as runtime
from .locks import sizes
from .packages import Fault, find_faults, forget_package, locked_versions, plain_name
from .python_module import PLAINLY, run_module

__all__ = ["Cancelled", "InstallProgress", "Installer", "faults_of", "install", "lock_name_of", "remove", "repair"]

UNPACKED_PER_WHEEL = 3.5
"""Room that a package takes once unpacked, besides its wheel, in sizes of the wheel; measured on the standard set."""
ENVIRONMENT_BYTES = 60_000_000
OURS = "stereodiff-environment"
"""A file in every environment that we make, whole or not: the name of its lock."""
FETCHED = "fetched"
"""A file beside a wheel that has come whole."""
_REQUIREMENT = re.compile(r"^[A-Za-z0-9._-]+(?:\[[^\]]*\])?==")
_NEEDS = "import venv, ensurepip, sys; assert sys.version_info >= (3, 11), sys.version"


class Cancelled(Exception):  # noqa: N818 - no error: somebody asked for it
    """The installation was asked to end."""


@dataclass(frozen=True)
class InstallProgress:
    """step: one of STEPS. package: what is worked on, or empty. done, total: bytes while fetching, else packages."""

    step: str
    package: str = ""
    done: int = 0
    total: int = 0

    def sentence(self) -> str:
        """For the preferences."""
        text = STEPS[self.step] + (f" {self.package}" if self.package else "")
        if self.step == "fetch" and self.total:
            return f"{text}: {self.done / 1e6:.0f} of {self.total / 1e6:.0f} MB"
        return f"{text} ({self.done} of {self.total})" if self.total else text


STEPS = {"check": "Looking at disk and Python", "environment": "Making the environment", "fetch": "Fetching",
         "install": "Installing", "verify": "Checking every file"}


@dataclass(frozen=True)
class Installer:
    """What an installation needs to know.

    folder: of the environment. lock: hash-locked requirement file. base_python: that the environment is made from.
    wheels: a folder with the locked wheels, for machines without internet; None: from the package index.
    on_progress: told what happens. is_cancelled: asked ten times a second.
    """

    folder: Path
    lock: Path
    base_python: str | os.PathLike
    wheels: Path | None = None
    on_progress: Callable[[InstallProgress], None] = lambda progress: None
    is_cancelled: Callable[[], bool] = lambda: False

    @property
    def store(self) -> Path:
        """Where fetched wheels wait; gone when the environment is whole."""
        return self.folder.with_name(self.folder.name + "-wheels")


# --- What there is ---------------------------------------------------------------------------------------------

def state_of(folder: Path, lock: Path) -> str:
    """"missing", "half" (an installation that was broken off), "outdated" (of another lock) or "whole".

    A glance: find_faults looks at every file.
    """
    if not (folder / "pyvenv.cfg").exists():
        return "half" if (folder / OURS).exists() else "missing"
    if not (folder / runtime.MARKER).is_file():
        return "half"
    return "whole" if runtime.is_complete(folder, lock) else "outdated"


def lock_name_of(folder: Path) -> str | None:
    """File name of the lock that an environment was installed from, or an installation was begun with.

    Parameters
    ----------
    folder : Path
        Of the environment.

    Returns
    -------
    str or None
        None if no environment of ours is there.
    """
    file = folder / OURS
    return file.read_text(encoding="ascii", errors="replace").strip() if file.is_file() else None


def faults_of(folder: Path, lock: Path) -> list[Fault]:
    """What a look at every file and a trial run of the interpreter find; empty if the environment is whole.

    Parameters
    ----------
    folder : Path
        Of the environment.
    lock : Path
        The lock that it should be installed from.

    Returns
    -------
    list of Fault
        One alone, of the package "environment" or "python", if not even that is right; else one for each package that
        is at fault.
    """
    state = state_of(folder, lock)
    if state != "whole":
        words = {"missing": "is not installed", "half": "was not installed to the end",
                 "outdated": "is of another version of this extension"}
        return [Fault("environment", words[state])]
    if not _runs(runtime.environment_python(folder)):
        return [Fault("python", "does not run any more")]
    return find_faults(folder, lock)


def _runs(python: Path) -> bool:
    try:
        return programs.ask(programs.python_command(python, "-c", "import pip"), runtime.VERIFY_TIMEOUT_S).status == 0
    except StereoDiffError:
        return False


# --- Install ---------------------------------------------------------------------------------------------------

def install(plan: Installer) -> Path:
    """Make the environment, or go on with one that was broken off, or bring it to another lock.

    What was fetched so far stays for the next time if it fails.

    Parameters
    ----------
    plan : Installer
        What to install, from what and where to; told of progress, and asked whether to go on.

    Returns
    -------
    Path
        The environment's Python.

    Raises
    ------
    Cancelled
        If plan.is_cancelled says so.
    StereoDiffError
        "output_in_use", "output_not_writable", "disk_full", "download_failed" or "runtime_broken".
    """
    python = runtime.environment_python(plan.folder)
    if runtime.is_complete(plan.folder, plan.lock) and _runs(python):
        return python
    plan.on_progress(InstallProgress("check"))
    _check_base(plan)
    _check_room(plan)
    _claim(plan.folder, plan.lock)
    if not _runs(python):
        plan.on_progress(InstallProgress("environment"))
        _make_environment(plan)
    wheels = plan.wheels or _fetch(plan, _requirements(plan.lock))
    _install_wheels(plan, wheels)
    return _finish(plan)


def repair(plan: Installer) -> list[Fault]:
    """Install anew what faults_of finds, and no more; all of it if the interpreter is gone.

    Parameters
    ----------
    plan : Installer
        As of install.

    Returns
    -------
    list of Fault
        What was mended; empty if nothing was broken.

    Raises
    ------
    Cancelled
        As install.
    StereoDiffError
        As install.
    """
    faults = faults_of(plan.folder, plan.lock)
    names = {fault.package for fault in faults}
    if names & {"environment", "python"}:
        install(plan)
    elif names:
        _claim(plan.folder, plan.lock)
        chosen = {name: lines for name, lines in _requirements(plan.lock).items() if name in names}
        wheels = plan.wheels or _fetch(plan, chosen)
        for name in names:
            forget_package(plan.folder, name)
        _install_wheels(plan, wheels, chosen)
        _finish(plan)
    return faults


def remove(folder: Path) -> None:
    """Delete an environment that we made, and what was fetched for it.

    Parameters
    ----------
    folder : Path
        Of the environment.

    Raises
    ------
    StereoDiffError
        "runtime_missing" if nothing is there, "output_in_use" if it is none of ours, or "output_not_writable".
    """
    store = folder.with_name(folder.name + "-wheels")
    if folder.exists() and not _is_ours(folder):
        raise StereoDiffError("output_in_use", f"{folder} is no environment of this extension.")
    there = [path for path in (folder, store) if path.exists()]
    if not there:
        raise StereoDiffError("runtime_missing", f"Nothing is in {folder} that could be removed.")
    for path in there:
        try:
            shutil.rmtree(path)
        except OSError as error:
            raise write_refusal(error, path) from error


def _is_ours(folder: Path) -> bool:
    return (folder / OURS).is_file() or ((folder / runtime.MARKER).is_file() and (folder / "pyvenv.cfg").is_file())


def _check_base(plan: Installer) -> None:
    """Some builds of Python come without what makes environments."""
    if _runs(runtime.environment_python(plan.folder)):
        return
    ended = programs.ask(programs.python_command(plan.base_python, "-c", _NEEDS), runtime.VERIFY_TIMEOUT_S)
    if ended.status != 0:
        raise StereoDiffError("runtime_broken", f"{plan.base_python} cannot make an environment ({ended.last_words}). "
                                                "Linux distributions have venv and ensurepip in a package of their "
                                                "own, such as python3-venv; or name another Python 3.11 or newer.")


def _check_room(plan: Installer) -> None:
    wheels = sum(_sizes(plan.lock).values())
    needed = int(wheels * (UNPACKED_PER_WHEEL + (0 if plan.wheels else 1))) + ENVIRONMENT_BYTES
    place = next(path for path in (plan.folder, *plan.folder.parents) if path.exists())
    free = shutil.disk_usage(place).free
    if free < needed:
        raise StereoDiffError("disk_full", f"The installation needs about {needed / 1e9:.1f} GB, but {place} has "
                                           f"{free / 1e9:.1f} GB left.")


def _claim(folder: Path, lock: Path) -> None:
    """Mark the folder as ours and as not whole. A folder that holds anything else is left alone."""
    try:
        if folder.exists() and any(folder.iterdir()) and not _is_ours(folder):
            raise StereoDiffError("output_in_use", f"{folder} holds other files.")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / OURS).write_text(lock.name + "\n", encoding="ascii")
        (folder / runtime.MARKER).unlink(missing_ok=True)
    except OSError as error:
        raise write_refusal(error, folder) from error


def _make_environment(plan: Installer) -> None:
    """Anew, but for the mark that it is ours."""
    for path in plan.folder.iterdir():
        if path.name != OURS:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    _run(plan, plan.base_python, "venv", [plan.folder])


def _finish(plan: Installer) -> Path:
    plan.on_progress(InstallProgress("verify"))
    faults = find_faults(plan.folder, plan.lock)
    if faults:
        raise StereoDiffError("runtime_broken", f"{faults[0].package} {faults[0].what}; {len(faults)} packages have "
                                                "faults in all.")
    (plan.folder / runtime.MARKER).write_text(runtime.fingerprint(plan.lock) + "\n", encoding="ascii")
    shutil.rmtree(plan.store, ignore_errors=True)
    return runtime.environment_python(plan.folder)


# --- Packages --------------------------------------------------------------------------------------------------

def _requirements(lock: Path) -> dict[str, list[str]]:
    """The lines of each package of a lock, by its name: the requirement and its hashes."""
    blocks: dict[str, list[str]] = {}
    names = iter(locked_versions(lock))
    current: list[str] = []
    for line in lock.read_text(encoding="utf-8").splitlines():
        if _REQUIREMENT.match(line):
            current = blocks.setdefault(next(names), [])
        if line.strip() and not line.lstrip().startswith("#") and (current or not line.startswith("-")):
            current.append(line)
    return blocks


def _sizes(lock: Path) -> dict[str, int]:
    return {plain_name(name): size for name, size in sizes(lock).items()}


def _fetch(plan: Installer, requirements: dict[str, list[str]]) -> Path:
    """Fetch the wheels that are not here yet, one after the other. Returns their folder."""
    known = _sizes(plan.lock)
    total = sum(known.get(name, 0) for name in requirements)
    done = 0
    for name, lines in requirements.items():
        place = plan.store / name
        if not (place / FETCHED).exists():
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
            _fetch_one(plan, name, lines, place, done, total)
            (place / FETCHED).touch()
        done += known.get(name, 0)
        plan.on_progress(InstallProgress("fetch", name, done, total))
    return plan.store


def _fetch_one(plan: Installer, name: str, lines: list[str], place: Path, before: int, total: int) -> None:
    with tempfile.TemporaryDirectory(dir=plan.store) as scratch:
        wanted = Path(scratch) / "wanted.txt"
        wanted.write_text("\n".join(lines) + "\n", encoding="utf-8")

        def watch() -> None:
            here = sum(path.stat().st_size for path in Path(scratch).rglob("*") if path.is_file())
            plan.on_progress(InstallProgress("fetch", name, before + here, total))

        _pip(plan, "download", "--require-hashes", "--no-deps", "--only-binary", ":all:", "--dest", place, "-r", wanted,
             watch=watch, variables={"TMPDIR": scratch, "TEMP": scratch, "TMP": scratch})


def _install_wheels(plan: Installer, wheels: Path, chosen: dict[str, list[str]] | None = None) -> None:
    """From a folder alone: nothing is asked of any index. With chosen packages, those are put over what is there."""
    requirements, wheels = chosen or _requirements(plan.lock), wheels.absolute()
    folders = [wheels, *(path for path in sorted(wheels.iterdir()) if path.is_dir())]
    links = [option for folder in folders for option in ("--find-links", str(folder))]
    again = ["--force-reinstall"] if chosen else []
    with tempfile.TemporaryDirectory() as scratch:
        wanted = Path(scratch) / "wanted.txt"
        wanted.write_text("\n".join(line for lines in requirements.values() for line in lines) + "\n", encoding="utf-8")
        seen: list[str] = []

        def count(line: str) -> None:
            if line.startswith("Processing "):
                seen.append(line)
                package = re.split(r"[\\/ ]", line.split(" (from")[0])[-1].split("-")[0]
                plan.on_progress(InstallProgress("install", package, len(seen), len(requirements)))

        _pip(plan, "install", "--require-hashes", "--no-deps", "--no-index", *again, *links, "-r", wanted,
             on_line=count)


def _pip(plan: Installer, command: str, *options: str | os.PathLike, **listening) -> None:
    """listening: as _run takes it."""
    _run(plan, runtime.environment_python(plan.folder), "pip", [command, *PLAINLY, *options], **listening)


def _run(plan: Installer, python: str | os.PathLike, module: str, arguments: list,
         watch: Callable[[], None] = lambda: None, **listening) -> None:
    """Run to the end, or end it and all it started when the installation is cancelled. listening: as run_module's."""
    def look_up() -> None:
        if plan.is_cancelled():
            raise Cancelled
        watch()

    run_module(python, module, arguments, on_moment=look_up, **listening)
