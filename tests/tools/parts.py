"""The test run: what belongs to which run of pytest, and those runs side by side.

A part is one run of pytest in one environment. Parts share nothing but the machine: each has its own folder for a
user's data, its own cache, and its share of the cores, so that several run at once and none waits for another's lock.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent

NOTHING_COLLECTED = 5
SILENCE_S = 30.0
PROGRESS = re.compile(r"\[ *(\d+)%\]")
CLOSING = re.compile(r"\b(passed|failed|errors?|deselected|no tests ran|skipped)\b.* in [\d.:]+")
DESELECTED = re.compile(r"\b(\d+) deselected\b")
BLENDERS = (TESTS / "blender", TESTS / "package")

# Label, what the path below tests/ of its files contains (the first that fits), and seconds on one core when it was
# measured last. Only the order is taken from the seconds: the longest begins first, so that no core is left alone with
# it at the end.
WORKER_SHARES = (
    ("networks", ("monst3r", "depthcrafter", "learned"), 640),
    ("solves", ("jobs/solves/",), 500),
    ("jobs", ("jobs/",), 500),
    ("stereo", ("engine/stereo/",), 600),
    ("engine", ("engine/",), 500),
    ("others", ("",), 240),
)
BLENDER_S = 270


# --- What belongs where ------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Part:
    """One run of pytest: in which environment, which files and folders are its, and which marks it leaves out."""

    label: str
    python: Path
    paths: tuple[Path, ...]
    without: tuple[str, ...] = ()
    expected_s: int = 0


def worker_paths() -> dict[str, tuple[Path, ...]]:
    """Every test file that is not Blender's, by the label of its part."""
    shares: dict[str, list[Path]] = {label: [] for label, *_ in WORKER_SHARES}
    for path in sorted(TESTS.rglob("test_*.py")):
        if not any(path.is_relative_to(folder) for folder in BLENDERS):
            shares[share_of(path.relative_to(TESTS))].append(path)
    return {label: tuple(paths) for label, paths in shares.items()}


def share_of(path: Path) -> str:
    """path: of a test file, below tests/."""
    return next(label for label, words, _ in WORKER_SHARES if any(word in path.as_posix() for word in words))


def test_parts(worker: Path, blenders: dict[str, Path], without: tuple[str, ...] = ()) -> list[Part]:
    """Every part, the longest first. blenders: the environments' Pythons by Blender's version, the main one first."""
    paths, main = worker_paths(), next(iter(blenders), None)
    parts = [Part(label, worker, paths[label], without, seconds) for label, _, seconds in WORKER_SHARES]
    parts += [Part(f"Blender {name}", python, BLENDERS, without if name == main else (*without, "any_blender"),
                   BLENDER_S) for name, python in blenders.items()]
    return sorted(parts, key=lambda part: part.expected_s, reverse=True)


def chosen_paths(part: Part, selected: list[str]) -> list[str]:
    """What this part runs: all that is its, or those of the paths asked for that are its or hold some of its."""
    if not selected:
        return [str(path) for path in part.paths if path.exists()]
    chosen = []
    for item in selected:
        asked = (ROOT / item.partition("::")[0]).resolve()
        if any(asked.is_relative_to(path) for path in part.paths):
            chosen.append(item)
        else:
            chosen += [str(path) for path in part.paths if path.is_relative_to(asked)]
    return chosen


# --- Running -----------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Outcome:
    label: str
    status: int
    closing_line: str
    wall_s: float = 0.0

    def deselected(self) -> int:
        """How many tests were left out by their marks."""
        found = DESELECTED.search(self.closing_line)
        return int(found[1]) if found else 0


@dataclass
class Run:
    """A part that is to run, runs or has run. heard: gets every line as it comes."""

    part: Part
    command: list[str]
    environ: dict[str, str]
    lines: list[str] = field(default_factory=list)
    process: subprocess.Popen | None = None

    def to_its_end(self, heard: Callable[[str], None] = lambda line: None) -> Outcome:
        began = time.monotonic()
        with subprocess.Popen(self.command, cwd=ROOT, env=self.environ, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace") as self.process:
            for line in self.process.stdout:
                self.lines.append(line)
                heard(line)
        closing = next((line.strip(" =\n") for line in reversed(self.lines) if CLOSING.search(line)), None)
        status = self.process.returncode
        return Outcome(self.part.label, status, closing or f"pytest ended with status {status}",
                       time.monotonic() - began)

    def progress(self) -> str:
        shares = (PROGRESS.search(line) for line in reversed(self.lines))
        return f"{self.part.label} {next((share[1] for share in shares if share), 0)} %"

    def heading(self) -> str:
        return f"\n=== {self.part.label}: pytest in {self.part.python.parent.parent.name}"


def plan(parts: Iterable[Part], selected: list[str], options: list[str], *, at_once: int, user: Path) -> list[Run]:
    """The parts that have anything to run. user: a folder, in which each part gets one for a user's data.

    An array library that takes every core would, in parts side by side, have all of them wait for each other.
    """
    threads = str(max(1, cores() // at_once))
    runs = []
    for part in parts:
        if paths := chosen_paths(part, selected):
            name = part.label.replace(" ", "-").lower()
            shares = {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads, "OPENCV_FOR_THREADS_NUM": threads}
            own = {"XDG_DATA_HOME": str(user / name), "LOCALAPPDATA": str(user / name), "PYTHONUNBUFFERED": "1"}
            left_out = ["-m", " and ".join(f"not {mark}" for mark in part.without)] if part.without else []
            command = [str(part.python), "-m", "pytest", "-o", f"cache_dir=.pytest_cache/{name}", *left_out, *paths,
                       *options]
            runs.append(Run(part, command, {**shares, **os.environ, **own}))
    return runs


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_all(runs: list[Run], at_once: int) -> list[Outcome]:
    """Every run to its end, in the order given, at_once of them at a time.

    One alone is shown line by line; of several, each whole when it ends, and meanwhile how far they are.
    """
    if min(len(runs), at_once) <= 1:
        return [shown_live(run) for run in runs]
    with ThreadPoolExecutor(at_once) as pool:
        try:
            return side_by_side({pool.submit(run.to_its_end): run for run in runs})
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            if not isinstance(error, KeyboardInterrupt):  # which the terminal has told them, too
                end(runs)
            raise


def end(runs: Iterable[Run]) -> None:
    for run in runs:
        if run.process is not None and run.process.poll() is None:
            run.process.terminate()


def shown_live(run: Run) -> Outcome:
    print(run.heading(), flush=True)
    return run.to_its_end(lambda line: print(line, end="", flush=True))


def side_by_side(runs: dict[Future[Outcome], Run]) -> list[Outcome]:
    began, pending = time.monotonic(), set(runs)
    while pending:
        ended, pending = wait(pending, timeout=SILENCE_S, return_when=FIRST_COMPLETED)
        for future in ended:
            print(runs[future].heading(), "".join(runs[future].lines), sep="\n", end="", flush=True)
        underway = [run.progress() for future, run in runs.items() if future in pending and run.process is not None]
        if underway:
            print(f"{time.monotonic() - began:5.0f} s  {len(runs) - len(pending)} of {len(runs)} parts done; "
                  f"running: {', '.join(underway)}", flush=True)
    return [future.result() for future in runs]


def verdict(outcomes: list[Outcome], selective: bool) -> int:
    """0 if every part passed and any ran. A selection may leave a part empty; without one, empty is a failure."""
    statuses = {outcome.status for outcome in outcomes}
    if selective and 0 in statuses:
        statuses.discard(NOTHING_COLLECTED)
    return 0 if statuses == {0} else 1
