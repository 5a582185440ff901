#!/usr/bin/env python3
"""Lock files of the worker's packages, and folders of the wheels they name, for studios without internet.

`build.py lock` and `build.py wheels` run this. A lock names every wheel of one set of packages for one platform and
one Python, with its hash and size. What it is made from, and which locks there are: vendor/runtime/README.md.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from stereodiff_blender.engine.contract import StereoDiffError
from stereodiff_blender.runtime import environment as runtime
from stereodiff_blender.runtime.locks import PLATFORMS, PYTHONS, SETS, lock_name

HERE = Path(__file__).resolve().parents[2] / "vendor" / "runtime"
LOCKS = HERE / "locks"
INPUT_LINE = re.compile(r"^# input: (\S+) sha256:([0-9a-f]{64})$", re.MULTILINE)
WHEEL_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
DOWNLOAD_TIMEOUT_S = 3600

# The package index has one build of PyTorch for each platform. What that build computes on names the set.
LEARNED_OF_PLATFORM = {"linux_x86_64": "learned-cuda", "linux_aarch64": "learned-cuda",
                       "windows_x86_64": "learned-cpu", "macos_arm64": "learned-mps", "macos_x86_64": "learned-cpu"}
NOT_ON_THE_INDEX = (
    ("learned-cpu", "linux_x86_64", "PyTorch without CUDA for Linux lies on download.pytorch.org alone"),
    ("learned-cpu", "linux_aarch64", "PyTorch without CUDA for Linux lies on download.pytorch.org alone"),
    ("learned-cuda", "windows_x86_64", "PyTorch with CUDA for Windows lies on download.pytorch.org alone"),
)


class LockError(Exception):
    """Something the person at the keyboard can act on; one sentence."""


# --- Which locks -----------------------------------------------------------------------------------------------

def targets() -> Iterator[tuple[str, str, tuple[int, int]]]:
    """Set, platform and Python of every lock that the index may have the wheels for."""
    for platform in PLATFORMS:
        for set_name in ("standard", LEARNED_OF_PLATFORM[platform]):
            for version in PYTHONS:
                yield set_name, platform, version


def input_of(set_name: str) -> Path:
    return HERE / f"{set_name.partition('-')[0]}.txt"


def input_lines(path: Path) -> list[str]:
    """The requirements of an input file and of those it includes."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("-r "):
            lines += input_lines(path.parent / line[3:].strip())
        elif line.strip() and not line.startswith("#"):
            lines.append(line.strip())
    return lines


# --- Making and checking them ----------------------------------------------------------------------------------

def lock() -> int:
    """Write every lock that can be made, remove those that can no longer, and say which there are not and why."""
    from resolve import IndexFailed  # needs a package besides Python's own, which checking and fetching do not

    try:
        made = {target: lock_text(*target) for target in targets()}
    except IndexFailed as error:
        raise LockError(f"{error}; no lock was changed") from error
    LOCKS.mkdir(exist_ok=True)
    for path in LOCKS.glob("*.txt"):
        path.unlink()
    for target, text in made.items():
        if text is not None:
            (LOCKS / lock_name(*target)).write_text(text, encoding="utf-8", newline="\n")
    for set_name, platform, why in NOT_ON_THE_INDEX:
        print(f"no {set_name}-{platform}: {why}")
    return 0


def lock_text(set_name: str, platform: str, version: tuple[int, int]) -> str | None:
    """The lock for the oldest system that has all wheels; None, said in a line, if none has."""
    from resolve import NoWheels, machines, resolve

    name, requirements, why = lock_name(set_name, platform, version), input_lines(input_of(set_name)), ""
    for machine in machines(platform, version):
        try:
            wheels = resolve(requirements, machine)
        except NoWheels as error:
            why = str(error)
            continue
        total = sum(wheel.size for wheel in wheels)
        print(f"{name}: {len(wheels)} wheels, {total / 1e6:.0f} MB, {machine.needs}", flush=True)
        lines = header(set_name, platform, version, machine.needs)
        for wheel in wheels:
            lines += [f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}", f"    # bytes: {wheel.size}"]
        return "\n".join([*lines, f"# total-bytes: {total}", ""])
    print(f"no {name}: {why}", flush=True)
    return None


def header(set_name: str, platform: str, version: tuple[int, int], needs: str) -> list[str]:
    source = input_of(set_name)
    return ["# Made by `build.py lock`; not to be edited.",
            f"# input: {source.name} sha256:{runtime.fingerprint(source)}",
            f"# for: {set_name}, {platform}, Python {version[0]}.{version[1]}, {needs}"]


def check() -> int:
    """Whether every lock was made from what the inputs are now. Offline."""
    paths = sorted(LOCKS.glob("*.txt"))
    stale = [path.name for path in paths if not belongs(path)]
    for name in stale:
        print(f"{name} was made from other requirements: run build.py lock")
    if not paths:
        raise LockError(f"there are no locks in {LOCKS}")
    print(f"{len(paths) - len(stale)} of {len(paths)} locks belong to their requirements")
    return 1 if stale else 0


def belongs(path: Path) -> bool:
    """Whether a lock was made from its input as that is now."""
    found = INPUT_LINE.search(path.read_text(encoding="utf-8"))
    source = input_of(path.name.removesuffix(".txt").rsplit("-", 2)[0])
    return found is not None and found[1] == source.name and found[2] == runtime.fingerprint(source)


# --- Folders of wheels -----------------------------------------------------------------------------------------

def wheels(set_name: str, platform: str, version: tuple[int, int], out: Path) -> int:
    """Fill a folder with exactly the wheels of a lock, verified, and a copy of the lock."""
    path = LOCKS / lock_name(set_name, platform, version)
    if not path.is_file():
        raise LockError(f"there is no lock {path.name}; those there are: {', '.join(known_locks())}")
    if not belongs(path):
        raise LockError(f"{path.name} was made from other requirements: run build.py lock")
    hashes = set(WHEEL_HASH.findall(path.read_text(encoding="utf-8")))
    out.mkdir(parents=True, exist_ok=True)
    foreign = [item.name for item in out.glob("*.whl") if sha256_of(item) not in hashes]
    if foreign:
        raise LockError(f"{out} holds other wheels: {', '.join(foreign[:3])}")
    download(path, platform, version, out)
    missing = len(hashes - {sha256_of(item) for item in out.glob("*.whl")})
    if missing:
        raise LockError(f"{missing} of {len(hashes)} wheels did not arrive in {out}")
    shutil.copyfile(path, out / path.name)
    size = sum(item.stat().st_size for item in out.glob("*.whl"))
    print(f"{len(hashes)} wheels, {size / 1e6:.0f} MB, and {path.name} in {out}")
    return 0


def known_locks() -> list[str]:
    return sorted(path.stem for path in LOCKS.glob("*.txt"))


def download(path: Path, platform: str, version: tuple[int, int], out: Path) -> None:
    """pip chooses among the wheels of a version by the lock's hash; the platforms only widen what it looks at."""
    command = [sys.executable, "-I", "-m", "pip", "download", "--disable-pip-version-check", "--no-input",
               "--progress-bar", "off", "--require-hashes", "--only-binary=:all:", "--no-deps", "--implementation",
               "cp", "--python-version", f"{version[0]}.{version[1]}", "--dest", str(out), "-r", str(path)]
    for name in pip_platforms(platform, version):
        command += ["--platform", name]
    if subprocess.run(command, timeout=DOWNLOAD_TIMEOUT_S, check=False).returncode != 0:
        raise LockError(f"pip could not fetch the wheels of {path.name}; what it said stands above")


def pip_platforms(platform: str, version: tuple[int, int]) -> list[str]:
    from resolve import machines

    newest = machines(platform, version)[-1]
    return list(dict.fromkeys(tag.platform for tag in newest.tags if tag.platform != "any"))


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- Commands --------------------------------------------------------------------------------------------------

def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="build.py", description=__doc__, allow_abbrev=False,
                                  formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = top.add_subparsers(dest="command", required=True)
    locking = commands.add_parser("lock", help="make every lock from the package index; no wheel is fetched")
    locking.add_argument("--check", action="store_true", help="instead, whether the locks belong to the requirements")
    fetching = commands.add_parser("wheels", help="fill a folder with exactly the wheels of a lock")
    fetching.add_argument("--platform", choices=PLATFORMS, required=True)
    fetching.add_argument("--device", choices=[name.removeprefix("learned-") for name in SETS], default="standard",
                          help="standard: without PyTorch (default); else what PyTorch computes on")
    fetching.add_argument("--python", choices=[f"{major}.{minor}" for major, minor in PYTHONS], default="3.11",
                          help="of the Blender that will use it: 3.11 up to Blender 5.0, 3.13 after (default: 3.11)")
    fetching.add_argument("--out", type=Path, metavar="DIR", required=True)
    return top


def main(arguments: list[str]) -> int:
    options = parser().parse_args(arguments)
    if options.command == "lock":
        return check() if options.check else lock()
    set_name = "standard" if options.device == "standard" else f"learned-{options.device}"
    version = tuple(int(number) for number in options.python.split("."))
    return wheels(set_name, options.platform, version, options.out.resolve())


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (LockError, StereoDiffError) as error:
        sys.exit(f"build.py: {error}")
    except subprocess.TimeoutExpired:
        sys.exit("build.py: pip did not end within an hour")
