"""The lock files: which wheels, by name, version and hash, make a worker's environment on a machine.

Standard library only and no bpy: Blender's installer and build.py in a plain checkout use the same code.
tests/tools/lock.py writes the files; here they are found and read.
"""

from __future__ import annotations

import platform
import re
import sys
from pathlib import Path

from ..engine.contract import StereoDiffError

__all__ = ["lock_file", "platform_name", "required_lock"]

SETS = ("standard", "learned-cuda", "learned-cpu", "learned-mps")
PLATFORMS = ("linux_x86_64", "linux_aarch64", "windows_x86_64", "macos_arm64", "macos_x86_64")
PYTHONS = ((3, 11), (3, 13))

_LOCKS = Path(__file__).resolve().parents[2] / "vendor" / "runtime" / "locks"
_SYSTEMS = {"linux": "linux", "win32": "windows", "darwin": "macos"}
_PROCESSORS = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
_PINNED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==\S+")
_BYTES = re.compile(r"^ *# bytes: (\d+)$")
_TOTAL_BYTES = re.compile(r"^# total-bytes: (\d+)$", re.MULTILINE)


# --- Which -----------------------------------------------------------------------------------------------------

def platform_name(system: str = sys.platform, machine: str | None = None) -> str:
    """A machine, without arguments this one, as the lock files name it: one of PLATFORMS, or a name without a lock.

    Parameters
    ----------
    system : str
        As sys.platform.
    machine : str or None
        As platform.machine(), which it is if None.

    Returns
    -------
    str
        Such as "linux_x86_64".
    """
    machine = (machine or platform.machine()).lower()
    system, processor = _SYSTEMS.get(system, system), _PROCESSORS.get(machine, machine)
    return f"{system}_{'arm64' if (system, processor) == ('macos', 'aarch64') else processor}"


def lock_name(set_name: str, platform_name: str, python_version: tuple[int, int]) -> str:
    """File name of a lock; set_name: one of SETS; platform_name: as platform_name(); python_version: (3, 11)."""
    return f"{set_name}-{platform_name}-py{python_version[0]}{python_version[1]}.txt"


def lock_file(set_name: str, platform_name: str, python_version: tuple[int, int]) -> Path | None:
    """The lock of a set of packages for a platform and a Python; None if there is none.

    Parameters
    ----------
    set_name : str
        One of SETS.
    platform_name : str
        As platform_name() gives it.
    python_version : tuple of int
        Major and minor, such as (3, 11).

    Returns
    -------
    Path or None
        A file that exists.
    """
    path = _LOCKS / lock_name(set_name, platform_name, python_version)
    return path if path.is_file() else None


def required_lock(set_name: str, python_version: tuple[int, int] = sys.version_info[:2]) -> Path:
    """The lock of a set of packages for this machine.

    Parameters
    ----------
    set_name : str
        One of SETS.
    python_version : tuple of int
        Major and minor, such as (3, 11); the running Python's unless given.

    Returns
    -------
    Path
        A file that exists.

    Raises
    ------
    StereoDiffError
        "runtime_broken" if this machine has none, saying for which machines there is one.
    """
    here = platform_name()
    path = lock_file(set_name, here, python_version)
    if path is None:
        raise StereoDiffError("runtime_broken", _no_lock(set_name, here, python_version))
    return path


def _no_lock(set_name: str, here: str, version: tuple[int, int]) -> str:
    others = [name for name in available(set_name) if name != lock_name(set_name, here, version)]
    known = ", ".join(name.removeprefix(set_name + "-").removesuffix(".txt") for name in others) or "no machine"
    return (f"There is no checked list of the {set_name} packages for {here} with Python {version[0]}.{version[1]}; "
            f"there is one for {known}.")


def available(set_name: str) -> list[str]:
    """File names of all locks of a set, sorted."""
    return sorted(path.name for path in _LOCKS.glob(f"{set_name}-*-py*.txt"))


# --- What ------------------------------------------------------------------------------------------------------

def sizes(lock: Path) -> dict[str, int]:
    """Download size in bytes of each package of a lock, by its name.

    Raises StereoDiffError "runtime_broken" if the lock cannot be read or a package has no size.
    """
    found: dict[str, int] = {}
    waiting = None
    for line in _text(lock).splitlines():
        size = _BYTES.match(line)
        if size and waiting:
            found[waiting], waiting = int(size[1]), None
        package = _PINNED.match(line)
        if package and waiting:
            break
        waiting = package[1] if package else waiting
    if waiting:
        raise StereoDiffError("runtime_broken", f"{lock} does not say how large {waiting} is.")
    return found


def total_bytes(lock: Path) -> int:
    """Download size of all packages of a lock. Raises StereoDiffError "runtime_broken" if the lock does not say."""
    total = _TOTAL_BYTES.search(_text(lock))
    if total is None:
        raise StereoDiffError("runtime_broken", f"{lock} does not say how large it is.")
    return int(total[1])


def _text(lock: Path) -> str:
    try:
        return Path(lock).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StereoDiffError("runtime_broken", f"{lock} cannot be read: {error}.") from error
