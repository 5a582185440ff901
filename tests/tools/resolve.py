"""Which wheels a list of requirements comes to on another machine, from what the package index tells.

Reads only the index's lists and the metadata of each wheel: the file beside it, or, where the index has none, the few
kilobytes of it inside the wheel. A wheel is never fetched. pip resolves for the
machine it runs on: its --platform chooses among wheels, but not among the dependencies that differ by platform.
Needs the package "packaging", which the worker's environment has.
"""

from __future__ import annotations

import http.client
import io
import json
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from email.parser import HeaderParser
from functools import cache

from packaging.requirements import Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag, compatible_tags, cpython_tags, mac_platforms
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import Version

INDEX = "https://pypi.org/simple/"
TIMEOUT_S = 60
PART_BYTES = 1 << 16
MAX_ROUNDS = 50
GLIBC = 28
MACOS_VERSIONS = (11, 12, 13, 14, 15)


class NoWheels(Exception):  # noqa: N818
    """There are no wheels that fit together for this machine; one sentence."""


class IndexFailed(Exception):  # noqa: N818
    """The index did not answer, or not as expected; one sentence."""


@dataclass(frozen=True)
class Machine:
    """markers: the environment that dependencies are conditional on. tags: what wheels it takes, the best first.

    needs: in words, the oldest system these tags are for.
    """

    markers: dict[str, str]
    tags: tuple[Tag, ...]
    python: Version
    needs: str


@dataclass(frozen=True)
class Wheel:
    name: str
    version: Version
    rank: int
    url: str
    sha256: str
    size: int


@dataclass
class Wanted:
    """All that the chosen packages ask of one package."""

    specifier: SpecifierSet = field(default_factory=SpecifierSet)
    extras: frozenset[str] = frozenset()


# --- Machines --------------------------------------------------------------------------------------------------

def machines(platform_name: str, python_version: tuple[int, int]) -> list[Machine]:
    """The machines that a platform's name stands for, those with the oldest system first."""
    system, _, processor = platform_name.partition("_")
    if system == "linux":
        return [_machine(("posix", "linux", "Linux", processor), _linux_platforms(processor), python_version,
                         f"glibc 2.{GLIBC} or newer")]
    if system == "windows":
        return [_machine(("nt", "win32", "Windows", "AMD64"), ["win_amd64"], python_version, "Windows 10 or newer")]
    return [_machine(("posix", "darwin", "Darwin", processor), list(mac_platforms((version, 0), processor)),
                     python_version, f"macOS {version} or newer") for version in MACOS_VERSIONS]


def _linux_platforms(processor: str) -> list[str]:
    oldest, aliases = (5, {17: "2014", 12: "2010", 5: "1"}) if processor == "x86_64" else (17, {17: "2014"})
    names = []
    for minor in range(GLIBC, oldest - 1, -1):
        names.append(f"manylinux_2_{minor}_{processor}")
        names += [f"manylinux{aliases[minor]}_{processor}"] if minor in aliases else []
    return names


def _machine(system: tuple[str, str, str, str], platforms: list[str], version: tuple[int, int], needs: str) -> Machine:
    dotted, interpreter = f"{version[0]}.{version[1]}", f"cp{version[0]}{version[1]}"
    os_name, sys_platform, platform_system, processor = system
    markers = {
        "os_name": os_name, "sys_platform": sys_platform, "platform_system": platform_system,
        "platform_machine": processor, "platform_release": "", "platform_version": "",
        "python_version": dotted, "python_full_version": f"{dotted}.0", "implementation_name": "cpython",
        "implementation_version": f"{dotted}.0", "platform_python_implementation": "CPython",
    }
    tags = [*cpython_tags(version, [interpreter], platforms), *compatible_tags(version, interpreter, platforms)]
    return Machine(markers, tuple(tags), Version(f"{dotted}.0"), needs)


# --- The index -------------------------------------------------------------------------------------------------

def _get(url: str, headers: dict[str, str] | None = None, status: int = 200) -> bytes | None:
    """What is at an address; None if nothing is. Raises IndexFailed, before it reads on, for another status."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=TIMEOUT_S) as answer:
            if answer.status != status:
                raise IndexFailed(f"{url} answered with status {answer.status} instead of {status}")
            return answer.read()
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError) and error.code == 404:
            return None
        raise IndexFailed(f"{url} did not answer: {error}") from error


class _Remote(io.RawIOBase):
    """A file at an address, of which only the parts that are read are fetched."""

    def __init__(self, url: str, size: int):
        self._url, self._size, self._at = url, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: memoryview) -> int:
        end = min(self._at + len(buffer), self._size)
        if end <= self._at:
            return 0
        part = _get(self._url, {"Range": f"bytes={self._at}-{end - 1}"}, status=206) or b""
        buffer[:len(part)] = part
        self._at += len(part)
        return len(part)


@cache
def _files(name: str) -> tuple[dict, ...]:
    """The wheels of a package that the index lists, none that was withdrawn."""
    page = _get(f"{INDEX}{name}/", {"Accept": "application/vnd.pypi.simple.v1+json"})
    listed = json.loads(page)["files"] if page is not None else ()
    return tuple(item for item in listed if item["filename"].endswith(".whl") and not item.get("yanked"))


@cache
def _requirements(wheel: Wheel) -> tuple[Requirement, ...]:
    beside = _get(wheel.url + ".metadata")
    metadata = beside if beside is not None else _metadata_inside(wheel)
    headers = HeaderParser().parsestr(metadata.decode("utf-8"))
    return tuple(Requirement(line) for line in headers.get_all("Requires-Dist", []))


def _metadata_inside(wheel: Wheel) -> bytes:
    with zipfile.ZipFile(io.BufferedReader(_Remote(wheel.url, wheel.size), PART_BYTES)) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return archive.read(name)


def _wheels(name: str, specifier: SpecifierSet, machine: Machine) -> Iterator[Wheel]:
    """The released wheels of a package that fit a machine and a specifier."""
    ranks = {tag: rank for rank, tag in enumerate(machine.tags)}
    for item in _files(name):
        try:
            _, version, _, tags = parse_wheel_filename(item["filename"])
            pythons = SpecifierSet(item.get("requires-python") or "")
        except (InvalidWheelFilename, InvalidSpecifier):
            continue  # files from before the formats were settled
        fitting = [ranks[tag] for tag in tags if tag in ranks]
        if fitting and specifier.contains(version) and pythons.contains(machine.python):
            yield Wheel(name, version, min(fitting), item["url"], item["hashes"]["sha256"], item["size"])


# --- Resolving -------------------------------------------------------------------------------------------------

def resolve(requirements: Iterable[str], machine: Machine) -> list[Wheel]:
    """The newest wheels that fit the requirements, all that these depend on, and the machine; sorted by name.

    Does not go back to an older version for the sake of another package: raises NoWheels where that would be needed.
    Raises IndexFailed if the index does not answer.
    """
    roots = [Requirement(line) for line in requirements]
    chosen: dict[str, Wheel] = {}
    for _ in range(MAX_ROUNDS):
        wanted = _all_wanted(roots, chosen, machine)
        choice = {name: chosen[name] if name in chosen and wish.specifier.contains(chosen[name].version)
                  else _newest(name, wish.specifier, machine) for name, wish in wanted.items()}
        if choice == chosen:
            return [chosen[name] for name in sorted(chosen)]
        chosen = choice
    raise NoWheels(f"the packages do not settle in {MAX_ROUNDS} rounds")


def _all_wanted(roots: list[Requirement], chosen: dict[str, Wheel], machine: Machine) -> dict[str, Wanted]:
    """What the requirements, and all the chosen wheels that these lead to, ask of each package."""
    wanted: dict[str, Wanted] = {}
    waiting = [requirement for requirement in roots if _applies(requirement, frozenset(), machine)]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        is_new = name not in wanted
        wish = wanted.setdefault(name, Wanted())
        extras = wish.extras | requirement.extras
        widened = is_new or extras != wish.extras
        wish.specifier, wish.extras = wish.specifier & requirement.specifier, extras
        if widened and name in chosen:
            waiting += [item for item in _requirements(chosen[name]) if _applies(item, extras, machine)]
    return wanted


def _applies(requirement: Requirement, extras: frozenset[str], machine: Machine) -> bool:
    if requirement.marker is None:
        return True
    return any(requirement.marker.evaluate({**machine.markers, "extra": extra}) for extra in ("", *sorted(extras)))


def _newest(name: str, specifier: SpecifierSet, machine: Machine) -> Wheel:
    """Of the newest version, the wheel that fits the machine best."""
    wheels = list(_wheels(name, specifier, machine))
    if not wheels:
        raise NoWheels(f"{name}{specifier} has no wheel for it ({machine.needs})")
    return max(wheels, key=lambda wheel: (wheel.version, -wheel.rank))
