#!/usr/bin/env python3
"""StereoDiff from a checkout: show it, test it, measure it, package it.

Needs Python 3.11 or newer and a package registry, nothing else. What a command needs besides, it installs into two
environments, as an artist has them: .venv holds Blender (as the Python module bpy), .venv-worker what the engine
imports. The first run installs and takes minutes; later runs find both complete and start at once.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

if sys.version_info < (3, 11):  # noqa: UP036 - said in words, before the next import fails on an older Python
    sys.exit("build.py needs Python 3.11 or newer")

import tomllib

from stereodiff_blender.engine.contract import StereoDiffError, programs
from stereodiff_blender.runtime import environment as runtime
from tests.tools import environments, parts, wheel_folder
from tests.tools.guide_html import guide_pages

ROOT = Path(__file__).resolve().parent
TESTS = ROOT / "tests"
SAMPLE = TESTS / "data" / "sample"
STANDARD_WORKER = ROOT / "vendor" / "runtime" / "standard.txt"
LOCKING = ROOT / "tests" / "tools" / "lock.py"
TEST_WORKER = TESTS / "requirements-worker.txt"

DEFAULT_OUTPUTS = {"demo": Path("demo_out"), "package": Path("dist"), "bench": Path("bench_out")}
"""Where a command writes unless told otherwise, below the folder it is called in. Never tracked."""

PYTHON_OF_BLENDER = {"4.2": (3, 11), "4.5": (3, 11), "5.0": (3, 11), "5.2": (3, 13), "5.3": (3, 13)}
BLENDER_OF_PYTHON = {(3, 11): "5.0", (3, 13): "5.2"}

PACKAGE = "stereodiff_blender"
PACKAGED = ((PACKAGE, {".py", ".md", ".png"}), ("vendor", {".txt", ".toml"}))
NOT_PACKAGED = {"__pycache__", "wheels"}
GUIDE = f"{PACKAGE}/guide"
TOOLS = TESTS / "tools"
ROOT_INIT = "from .stereodiff_blender import register, unregister\n"

SILENCE_S = 8
VALIDATION_TIMEOUT_S = 120
INSTALLER_STEPS = ("Collecting", "Processing", "Downloading", "Building", "Installing", "Successfully", "ERROR")


class BuildError(Exception):
    """Something the person at the keyboard can act on; one sentence."""


# --- Pythons ---------------------------------------------------------------------------------------------------

def find_python(version: tuple[int, int]) -> Path | None:
    """A Python of this major and minor version that runs: this one, on PATH, or of pyenv; None if there is none."""
    if sys.version_info[:2] == version:
        return Path(sys.executable)
    name = f"python{version[0]}.{version[1]}"
    folders = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if os.path.isabs(folder)]
    folders += sorted(Path.home().glob(f".pyenv/versions/{version[0]}.{version[1]}.*/bin"), reverse=True)
    candidates = [folder / (name + suffix) for folder in folders for suffix in ("", ".exe")]
    return next((c for c in candidates if c.is_file() and runs_as(c, version)), None)


def runs_as(python: Path, version: tuple[int, int]) -> bool:
    """Ask the program itself: a pyenv shim exists for versions that are not switched on, and fails."""
    question = "import sys, venv, ensurepip; print(*sys.version_info[:2])"
    try:
        answer = programs.ask(programs.python_command(python, "-c", question), timeout_s=60)
    except StereoDiffError:
        return False
    return answer.output.split() == [str(number) for number in version]


def dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def default_blender() -> str:
    """The Blender version of the Python at hand. Raises BuildError if this machine has no Python that bpy has."""
    for version in (sys.version_info[:2], (3, 13), (3, 11)):
        if version in BLENDER_OF_PYTHON and find_python(version):
            return BLENDER_OF_PYTHON[version]
    raise BuildError("Blender's Python module exists for Python 3.11 and 3.13 only; neither was found here")


# --- Environments ----------------------------------------------------------------------------------------------

def environment(folder: Path, requirements: Path, base_python: Path, label: str) -> Path:
    """The environment's Python; what is missing is installed first, and the installer's lines are shown."""
    if runtime.is_complete(folder, requirements):
        return runtime.environment_python(folder)
    print(f"Installing {label} into {folder.name} (with {base_python}); this happens once.", flush=True)
    with installation_lines(folder.name) as show:
        return environments.create(folder, requirements, base_python=base_python, on_line=show)


@contextmanager
def installation_lines(label: str):
    """Gives a function that prints one line of an installer; while it downloads in silence, the time is shown."""
    began, lines, ended = time.monotonic(), [""], threading.Event()

    def show(line: str) -> None:
        lines.append(line.strip().partition(" (from ")[0][:110])
        if lines[-1].startswith(INSTALLER_STEPS):
            print(f"  {time.monotonic() - began:4.0f} s  {label}: {lines[-1]}", flush=True)

    def pulse() -> None:
        shown = 0
        while not ended.wait(SILENCE_S):
            if shown == len(lines):
                print(f"  {time.monotonic() - began:4.0f} s  {label}: ... still at: {lines[-1]}", flush=True)
            shown = len(lines)

    thread = threading.Thread(target=pulse, daemon=True)
    thread.start()
    try:
        yield show
    finally:
        ended.set()
        thread.join()


def python_version_of(folder: Path) -> tuple[int, int] | None:
    """Version an environment was made with; None if there is no environment."""
    settings = folder / "pyvenv.cfg"
    found = settings.is_file() and re.search(r"^version\w* *= *(\d+)\.(\d+)", settings.read_text(), re.MULTILINE)
    return (int(found[1]), int(found[2])) if found else None


def blender_folder(blender: str) -> Path:
    """.venv for the Blender version it was first made for (the default one), .venv-X.Y for the others."""
    made_with = python_version_of(ROOT / ".venv") or PYTHON_OF_BLENDER[default_blender()]
    return ROOT / (".venv" if BLENDER_OF_PYTHON.get(made_with) == blender else f".venv-{blender}")


def blender_environment(blender: str) -> Path | None:
    """Python of the environment with this Blender; None, said in one line, if its Python is not on this machine."""
    folder, requirements = blender_folder(blender), TESTS / f"requirements-blender-{blender}.txt"
    version = PYTHON_OF_BLENDER[blender]
    base = find_python(version)
    if base is None:
        print(f"Blender {blender} skipped: it needs Python {dotted(version)}, which was not found on this machine.")
        return None
    return environment(folder, requirements, base, f"Blender {blender}")


def worker_environment(requirements: Path) -> Path:
    """Python of .venv-worker; the tests' set contains the standard one, so either serves where that one is asked."""
    folder = ROOT / ".venv-worker"
    if requirements == STANDARD_WORKER and runtime.is_complete(folder, TEST_WORKER):
        return runtime.environment_python(folder)
    return environment(folder, requirements, worker_base(), "the engine's environment")


def worker_base() -> Path:
    """On Linux only Python 3.11 has torch without CUDA at hand, so that one where there is a choice."""
    preferred = find_python((3, 11)) if sys.platform == "linux" else None
    return preferred or Path(sys.executable)


def environ_for_worker(*scripts: Path) -> dict[str, str]:
    """scripts: folders of scripts that import each other; a Python that is started safely does not look there."""
    return programs.python_environment(ROOT, *scripts) | {"PYTHONUNBUFFERED": "1"}


# --- The package -----------------------------------------------------------------------------------------------

def manifest(root: Path = ROOT) -> dict:
    return tomllib.loads((root / "blender_manifest.toml").read_text(encoding="utf-8"))


def package_contents(root: Path = ROOT) -> dict[str, bytes]:
    """Every file of the package by its name in the zip.

    Raises BuildError for a file of a kind that does not belong there, so that none is left out or slips in unseen.
    """
    contents = {name: (root / name).read_bytes() for name in ("blender_manifest.toml", "LICENSE")}
    contents["__init__.py"] = ROOT_INIT.encode()
    for folder, suffixes in PACKAGED:
        for path in (root / folder).rglob("*"):
            relative = path.relative_to(root)
            if not path.is_file() or NOT_PACKAGED.intersection(relative.parts) or path.name.startswith("."):
                continue
            if folder == "vendor" and path.name == "README.md":
                continue
            if path.suffix not in suffixes:
                raise BuildError(f"{relative.as_posix()} is no kind of file that is packaged from {folder}")
            contents[relative.as_posix()] = path.read_bytes()
    return contents | guide_for_browsers(root)


def guide_for_browsers(root: Path) -> dict[str, bytes]:
    """The guide's pages as HTML, beside those in Markdown. Raises BuildError for a page that cannot be shown."""
    try:
        pages = guide_pages(root / GUIDE)
    except ValueError as error:
        raise BuildError(f"the guide's {error}") from error
    return {f"{GUIDE}/{name}": page for name, page in pages.items()}


def write_package(folder: Path, root: Path = ROOT) -> Path:
    """Write stereodiff-VERSION.zip: the same input gives the same bytes, on any machine and Python.

    Stored, not deflated: compressors differ between builds of zlib, and the sources are small.
    """
    about, contents = manifest(root), package_contents(root)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{about['id']}-{about['version']}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(contents):
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            archive.writestr(entry, contents[name])
    return path


def validate_package(package: Path, blender_python: Path) -> programs.Ended:
    """Run Blender's own validator, tags included, on a package. Raises StereoDiffError if there is none."""
    find = "import importlib.util as u; print(u.find_spec('bpy').submodule_search_locations[0])"
    located = programs.ask(programs.python_command(blender_python, "-c", find), VALIDATION_TIMEOUT_S)
    scripts = next(Path(located.output.strip()).glob("*/scripts"))
    program = scripts / "addons_core" / "bl_pkg" / "cli" / "blender_ext.py"
    tags = scripts / "modules" / "_bpy_internal" / "extensions" / "tags.py"
    return programs.ask(programs.python_command(blender_python, program, "validate", "--valid-tags", tags, package),
                        VALIDATION_TIMEOUT_S)


# --- Commands --------------------------------------------------------------------------------------------------

def demo(options: argparse.Namespace) -> int:
    out = options.out.resolve()
    clip = (options.clip or SAMPLE / "clip.mp4").resolve()
    if not clip.is_file():
        raise BuildError(f"there is no clip at {clip}")
    blender = blender_environment(default_blender())
    worker = worker_environment(STANDARD_WORKER)
    package = write_package(out)
    with tempfile.TemporaryDirectory(prefix="stereodiff-user-") as user:
        command = [blender, TESTS / "tools" / "demo.py", "--package", package, "--clip", clip, "--out", out, "--worker",
                   worker]
        environ = programs.python_environment() | {"BLENDER_USER_RESOURCES": user}
        status = programs.run_here(command, environment=environ)
    if status == 0 and options.clip is None:
        print("\nAccuracy against the truth the sample clip was rendered with")
        command = [worker, TESTS / "tools" / "accuracy.py", out / "jobs", SAMPLE / "truth.npz"]
        status = programs.run_here(command, environment=environ_for_worker(TESTS / "tools"))
    return status


def test(options: argparse.Namespace, pytest_options: list[str]) -> int:
    at_hand = PYTHON_OF_BLENDER[default_blender()]
    same_python = [blender for blender, python in PYTHON_OF_BLENDER.items() if python == at_hand]
    asked = options.blender or ([default_blender()] if options.quick else same_python)
    asked = list(PYTHON_OF_BLENDER) if "all" in asked else asked
    began = time.monotonic()
    worker, blenders = test_environments(asked)
    selected = [item for item in pytest_options if item.startswith("tests/")]
    others = [item for item in pytest_options if item not in selected]
    with tempfile.TemporaryDirectory(prefix="stereodiff-user-") as user:
        every = parts.test_parts(worker, blenders, without=("slow",) if options.quick else ())
        runs = parts.plan(every, selected, others, at_once=options.at_once, user=Path(user))
        outcomes = parts.run_all(runs, options.at_once)
    print(f"\n=== Summary ({time.monotonic() - began:.0f} s)")
    for outcome in outcomes:
        print(f"{outcome.label:12} {outcome.closing_line}")
    for blender in asked:
        if blender not in blenders:
            print(f"Blender {blender}  skipped: there is no Python {dotted(PYTHON_OF_BLENDER[blender])} here")
    if options.quick:
        others = [f"Blender {blender}" for blender in PYTHON_OF_BLENDER if blender not in asked]
        slow = sum(outcome.deselected() for outcome in outcomes)
        print(f"Left out: {', '.join([f'{slow} tests marked slow', *others])}")
    return parts.verdict(outcomes, selective=bool(pytest_options))


def test_environments(asked: list[str]) -> tuple[Path, dict[str, Path]]:
    """Python of the worker's environment, and of those with the Blenders asked for; all are made before a test runs."""
    with ThreadPoolExecutor(parts.cores()) as pool:
        worker = pool.submit(worker_environment, TEST_WORKER)
        pythons = dict(zip(asked, pool.map(blender_environment, asked), strict=True))
    if sys.platform == "linux" and python_version_of(ROOT / ".venv-worker") != (3, 11):
        print("Tests that need torch are skipped: on Linux they need Python 3.11, which was not found on this machine.")
    return worker.result(), {blender: python for blender, python in pythons.items() if python is not None}


def solve(arguments: list[str]) -> int:
    """Where the person stands, so that clips and OUT may be named from there."""
    worker = worker_environment(STANDARD_WORKER)
    return programs.run_here(programs.engine_command(worker, "solve", *arguments), environment=environ_for_worker(),
                             folder=Path.cwd())


def package(options: argparse.Namespace) -> int:
    print(write_package(options.out.resolve()))
    return 0


def check(options: argparse.Namespace) -> int:
    worker, blender = worker_environment(TEST_WORKER), blender_environment(default_blender())
    failed = []
    commands = (("ruff", ["ruff", "check", "."]), ("rooms", ["pytest", "-q", "tests/test_rooms.py"]),
                # Told whose packages, or it would take those of .venv, which are Blender's.
                ("types", ["basedpyright", "--pythonpath", worker]))
    for label, command in commands:
        print(f"--- {label}", flush=True)
        if programs.run_here([worker, "-m", *command], environment=environ_for_worker(), folder=ROOT) != 0:
            failed.append(label)
    print("--- Blender's validator", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        validated = validate_package(write_package(Path(folder)), blender)
    print(f"{validated.output}{validated.errors}".strip())
    failed += ["validator"] if validated.status != 0 else []
    print(f"check failed: {', '.join(failed)}" if failed else "check passed")
    return 1 if failed else 0


def release(options: argparse.Namespace) -> int:
    command = [sys.executable, TOOLS / "release.py", options.version, "--blender",
               blender_environment(default_blender())]
    return programs.run_here(command, environment=environ_for_worker(), folder=ROOT)


def lock(arguments: list[str]) -> int:
    """The commands lock and wheels; checking the locks needs nothing but Python's own library."""
    offline = bool({"--check", "--help", "-h"}.intersection(arguments))
    python = sys.executable if offline else worker_environment(STANDARD_WORKER)
    return programs.run_here([python, LOCKING, *arguments], environment=environ_for_worker(LOCKING.parent),
                             folder=Path.cwd())


def rooms(_options: argparse.Namespace) -> int:
    return programs.run_here([sys.executable, TESTS / "tools" / "rooms.py"], environment=environ_for_worker(),
                             folder=ROOT)


def bench_cuda(options: argparse.Namespace) -> int:
    """In the Python that runs this, if it has PyTorch: a machine with a card may have no network to install from."""
    if options.collect_wheels is not None:
        wheels = wheel_folder.collect(options.collect_wheels, sys.executable, options.python_version,
                                      everything=options.everything)
        said = f"{len(wheels)} wheels, {wheel_folder.size_mib(wheels):.1f} MiB"
        if options.at_most is not None:
            said += f", in {len(wheel_folder.cut(wheels, options.collect_wheels, options.at_most))} pieces"
        print(f"{options.collect_wheels}: {said}")
        return 0
    python = sys.executable if find_spec("torch") else existing_worker()
    command = [python, TESTS / "bench" / "bench_cuda.py", options.out.resolve(), "--device", options.device or "cuda",
               "--size", options.size, "--seconds", str(options.seconds)]
    command += ["--parts", *options.parts] if options.parts else []
    command += ["--wheels", options.wheels.resolve()] if options.wheels else []
    command += ["--scratch", options.scratch.resolve()] if options.scratch else []
    return programs.run_here(command, environment=environ_for_worker(TESTS / "bench", TESTS / "tools"),
                             folder=Path.cwd())


def existing_worker() -> Path:
    """Python of .venv-worker as it is. Raises BuildError if there is none."""
    python = runtime.environment_python(ROOT / ".venv-worker")
    if not python.exists():
        raise BuildError(f"neither {sys.executable} nor .venv-worker has PyTorch")
    return python


def bench(options: argparse.Namespace) -> int:
    if options.cuda:
        return bench_cuda(options)
    worker = worker_environment(TEST_WORKER)
    if options.peers is not None:
        command = [worker, TESTS / "bench" / "bench_peers.py", options.out.resolve(), *options.peers]
        return programs.run_here(command, environment=environ_for_worker(TESTS / "bench"), folder=Path.cwd())
    if options.against is not None and not Path(options.against).is_file():
        command = [worker, TESTS / "bench" / "bench_revision.py", options.out.resolve(), options.against, "--pairs",
                   str(options.pairs), "--clips", *(options.clips or [SAMPLE / "clip.mp4"])]
        command += ["--cores", *map(str, options.cores)] if options.cores else []
        return programs.run_here(command, environment=environ_for_worker(TESTS / "bench", TESTS / "tools"),
                                 folder=Path.cwd())
    command = [worker, TESTS / "bench" / "bench_suite.py", options.out.resolve(), "--worker", worker, "--blender",
               blender_environment(default_blender()), "--clip", SAMPLE / "clip.mp4", "--device",
               options.device or "cpu"]
    command += ["--parts", *options.parts] if options.parts else []
    command += ["--quick"] if options.quick else []
    command += ["--against", Path(options.against).resolve()] if options.against else []
    return programs.run_here(command,
                             environment=environ_for_worker(TESTS / "bench", TESTS / "support",
                                                            TESTS / "blender" / "support"), folder=Path.cwd())


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="build.py", description=__doc__, allow_abbrev=False,
                                  formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, summary: str, details: str = "") -> argparse.ArgumentParser:
        return commands.add_parser(name, help=summary, description=f"{summary}.\n\n{details}", allow_abbrev=False,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)

    def writes_to(command: argparse.ArgumentParser, name: str) -> None:
        folder = DEFAULT_OUTPUTS[name]
        command.add_argument("--out", type=Path, metavar="DIR", default=folder, help=f"default: ./{folder}")

    command = add("demo", "solve a clip and build the Blender scene from it, as an artist would",
                  "Installs the extension into a throw-away Blender user folder, opens the clip, presses Solve,\n"
                  "imports and renders. Leaves demo.blend, mesh.png, camera.png, depth.png and the job folder.")
    command.add_argument("--clip", type=Path, metavar="FILE", help="movie to solve (default: the sample clip, whose "
                         "true depth and cameras are known, so that true accuracy is printed)")
    writes_to(command, "demo")
    command.set_defaults(run=demo)

    command = add("test", "run the test suite on real Blender",
                  "Options that are not listed here go to pytest:  build.py test --blender 4.2 -k camera -x")
    command.add_argument("--blender", action="append", choices=[*PYTHON_OF_BLENDER, "all"],
                         help="this version (may be repeated); default: all versions of the Python at hand "
                              "(3.11: 4.2, 4.5, 5.0; 3.13: 5.2, 5.3)")
    command.add_argument("--quick", action="store_true", help="under three minutes: without the tests marked slow, and "
                         "on one Blender unless others are named")
    command.add_argument("--at-once", type=int, metavar="N", default=parts.cores(), help="parts side by side; 1 shows "
                         f"every line as it comes (default: one for each core, here {parts.cores()})")

    add("solve", "solve a clip without Blender; OUT becomes a job folder",
        "Everything after `solve` goes to the engine; `build.py solve --help` shows its options.")

    command = add("package", "write the extension's zip; its path is the last line printed",
                  "The same input gives the same bytes.")
    writes_to(command, "package")
    command.set_defaults(run=package)

    command = add("release", "make a version of a clean checkout: changelog, package, validator, commit and tag",
                  "Nothing is pushed. If anything fails, the checkout is as it was.")
    command.add_argument("version", metavar="X.Y.Z", help="above the last one")
    command.set_defaults(run=release)

    add("lock", "make the hash-locked package lists of every platform; --check: do they belong to their inputs",
        "No wheel is fetched. `build.py lock --help` shows its options.")

    add("wheels", "fill a folder with the wheels of one platform, for machines without internet",
        "`build.py wheels --help` shows its options.")

    add("check", "ruff, the rule of rooms, types, and Blender's own validator on the zip").set_defaults(run=check)

    add("rooms", "print the map of the code: its rooms, and who may import whom; Markdown").set_defaults(run=rooms)

    command = add("bench", "measure time and memory on this machine",
                  "solve: the sample clip, stage by stage. scaling: the same clip at 24 to 480 frames, and what a\n"
                  "frame more costs. registration: pointmaps against frames. import: 300 frames in Blender, and how\n"
                  "the mesh plays. ticks: Blender's timer with hundreds of jobs. monst3r: each frame encoded once,\n"
                  "against pair by pair. depthcrafter: one step against five. Leaves bench.json. With --against,\n"
                  "exits with 1 if a cost is worse by over 15 %.")
    writes_to(command, "bench")
    command.add_argument("--parts", nargs="+", metavar="PART", help="only these (all)")
    command.add_argument("--quick", action="store_true", help="shorter clips, networks only counted: minutes instead "
                         "of an hour")
    command.add_argument("--against", metavar="FILE|REV", help="an earlier bench.json to compare with; or a revision "
                         "of git: its solves and those of this tree in turn, with time, memory and accuracy")
    command.add_argument("--clips", type=Path, nargs="+", metavar="CLIP", help="with a revision: of these clips, with "
                         "truth beside them, if they are to be scored (the sample clip)")
    command.add_argument("--pairs", type=int, default=3, metavar="N", help="with a revision: solves of each (3)")
    command.add_argument("--cores", type=int, nargs="+", metavar="N", help="with a revision: on so many cores (all)")
    command.add_argument("--device", help="for the networks: cpu or cuda (cpu; with --cuda: cuda)")
    command.add_argument("--peers", type=Path, nargs="*", metavar="FOLDER", help="nothing of that, but the cameras of "
                         "COLMAP's two mappers beside ours, against truth, on the same frames: of the sample clip, or "
                         "of these folders of a clip with truth (gt.npz, or poses.txt and intrinsics.txt)")
    command.set_defaults(run=bench)
    add_cuda_options(command.add_argument_group("with a card"))
    return top


def add_cuda_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--cuda", action="store_true", help="nothing of that, but the learned stages on this machine's "
                       "card, with random weights, in the Python that runs this; leaves bench_cuda.json")
    group.add_argument("--size", choices=("full", "tiny"), default="full", help="tiny: small networks and rasters, to "
                       "try the command on a processor with --device cpu (full)")
    group.add_argument("--seconds", type=float, default=480.0, metavar="N", help="what no longer fits is skipped (480)")
    group.add_argument("--scratch", type=Path, metavar="DIR", help="for 7 GB of weights meanwhile (the system's)")
    group.add_argument("--wheels", type=Path, metavar="DIR", help="take packages that this Python lacks from here")
    group.add_argument("--collect-wheels", type=Path, metavar="DIR", help="only fill such a folder from the registry, "
                       "for Linux: what a machine with PyTorch, transformers, NumPy and OpenCV seldom has (60 MiB)")
    group.add_argument("--everything", action="store_true", help="with it: all but PyTorch (190 MiB)")
    group.add_argument("--python-version", default="3.12", metavar="X.Y", help="with it: of that machine (3.12)")
    group.add_argument("--at-most", type=float, metavar="MIB", help="with it: in pieces of so many MiB, each in a "
                       "folder of its own, which --wheels joins")


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["solve"]:
        return solve(arguments[1:])
    if arguments[:1] in (["lock"], ["wheels"]):
        return lock(arguments)
    options, rest = parser().parse_known_args(arguments)
    if options.command == "test":
        return test(options, [item for item in rest if item != "--"])
    if rest:
        parser().error(f"{options.command} does not know {' '.join(rest)}")
    return options.run(options)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (BuildError, StereoDiffError) as error:
        sys.exit(f"build.py: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
