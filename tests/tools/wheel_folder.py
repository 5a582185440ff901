"""A folder of wheels for a machine that has PyTorch but no network: filled here, and used there. Standard library only.

`build.py bench --cuda --collect-wheels DIR` fills it, `--wheels DIR` uses it, whole or in pieces that were carried one
by one. PyTorch itself is never taken along: it is
gigabytes, and the one that fits a machine's driver is there already.
"""

from __future__ import annotations

import re
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from stereodiff_blender.engine.contract import StereoDiffError, programs

RUNTIME = Path(__file__).resolve().parents[2] / "vendor" / "runtime"
NEVER = "torch"
SELDOM = ("diffusers", "av", "OpenEXR", "openimageio", "opencolorio", "safetensors", "importlib_metadata", "zipp")
"""What a machine with PyTorch, transformers, NumPy and OpenCV seldom has; all of it is taken without what it needs."""
SYSTEMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64",
           "manylinux1_x86_64")
TIMEOUT_S = 1800
MIB = 2**20
ARCHIVE = "wheels.zip"


def pins() -> dict[str, str]:
    """What the engine imports, PyTorch left out: name and requirement, such as "av" and "av==18.1.0"."""
    lines = [line.strip() for name in ("standard.txt", "learned.txt")
             for line in (RUNTIME / name).read_text(encoding="utf-8").splitlines()]
    named = {line.partition("==")[0]: line for line in lines if "==" in line}
    return {name: line for name, line in named.items() if name != NEVER}


def collect(folder: Path, python: Path | str, version: str, *, everything: bool) -> list[Path]:
    """Fetch wheels from the package index for Linux and this version of Python, such as "3.12".

    everything: all that the engine imports, with what that needs; else SELDOM. Returns the wheels. Raises
    StereoDiffError "download_failed".
    """
    pinned = pins()
    wanted = list(pinned.values()) if everything else [pinned.get(name, name) for name in SELDOM]
    folder.mkdir(parents=True, exist_ok=True)
    command = programs.python_command(python, "-m", "pip", "download", "--only-binary=:all:", "--implementation", "cp",
                                      "--python-version", version, *(f"--platform={name}" for name in SYSTEMS),
                                      *([] if everything else ["--no-deps"]), "-d", folder, *wanted)
    ended = programs.run(command, TIMEOUT_S)
    if ended.status != 0:
        raise StereoDiffError("download_failed", f"pip {ended.stopped or ended.last_words}.")
    return sorted(folder.glob("*.whl"))


def size_mib(wheels: list[Path]) -> float:
    return sum(wheel.stat().st_size for wheel in wheels) / MIB


def cut(wheels: list[Path], folder: Path, most_mib: float) -> list[Path]:
    """The wheels as one archive, cut into pieces of at most so many MiB, each in a folder of its own: 01/wheels.zip.01
    and so on. The wheels themselves go. Returns the pieces."""
    archive = folder / ARCHIVE
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as packed:
        for wheel in wheels:
            packed.write(wheel, wheel.name)
            wheel.unlink()
    pieces = []
    with archive.open("rb") as stream:
        while content := stream.read(int(most_mib * MIB)):
            name = f"{len(pieces) + 1:02}"
            (folder / name).mkdir(exist_ok=True)
            pieces.append(folder / name / f"{ARCHIVE}.{name}")
            pieces[-1].write_bytes(content)
    archive.unlink()
    return pieces


# --- On the machine ----------------------------------------------------------------------------------------------

def name_of(wheel: Path) -> str:
    """The package's name as it is compared: lower case, with dashes."""
    return normal(wheel.name.partition("-")[0])


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@contextmanager
def all_wheels(folder: Path) -> Iterator[list[Path]]:
    """The wheels of a folder and of folders in it, and those that lie there in pieces. Raises StereoDiffError
    "runtime_broken" for pieces that make no archive."""
    pieces = sorted(folder.rglob(f"{ARCHIVE}.*"), key=lambda piece: piece.suffix)
    with tempfile.TemporaryDirectory(prefix="stereodiff-wheels-") as joined:
        if pieces:
            archive = Path(joined, ARCHIVE)
            archive.write_bytes(b"".join(piece.read_bytes() for piece in pieces))
            try:
                with zipfile.ZipFile(archive) as packed:
                    packed.extractall(joined)
            except (zipfile.BadZipFile, OSError) as error:  # it reaches for what lies before the file
                raise StereoDiffError("runtime_broken", f"Of the wheels in {folder} a piece is missing.") from error
        yield sorted([*folder.rglob("*.whl"), *Path(joined).glob("*.whl")])


def install_missing(folder: Path, target: Path, python: Path | str, has: Callable[[str], bool]) -> list[str]:
    """Install those wheels whose package this Python lacks into a folder that is then put on its path. has: whether it
    has a package, by its normal name.

    Not into an environment of its own: one that is made from an environment sees the packages of the Python below, not
    those of that environment. Returns the packages' names. Raises StereoDiffError "runtime_broken".
    """
    if not folder.is_dir():
        raise StereoDiffError("runtime_broken", f"There is no folder of wheels at {folder}.")
    with all_wheels(folder) as wheels:
        chosen = {name_of(wheel): wheel for wheel in wheels if not has(name_of(wheel))}
        if not chosen:
            return []
        command = programs.python_command(python, "-m", "pip", "install", "--no-index", "--no-deps", "--no-compile",
                                          "--no-cache-dir", "--target", target, *chosen.values())
        ended = programs.run(command, TIMEOUT_S)
    if ended.status != 0:
        raise StereoDiffError("runtime_broken", f"The wheels in {folder} are not for this Python: {ended.last_words}.")
    return sorted(chosen)
