"""Another revision beside this one: the same solves by both in turn, pair by pair, with time, memory and accuracy.

python bench_revision.py OUT REVISION --clips CLIP ... [--pairs N] [--cores N ...] [--quality Q]

The other revision's engine is taken out of git into OUT/revision; both run in this environment. Of each clip, each
number of cores and each revision the median of its runs counts. A clip with truth beside it (truth.py) is scored.
Leaves OUT/bench.json. Earlier revisions have no choice of cores: they are held to as many by the system.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path

import accuracy
from bench import machine, peak_mb

from stereodiff_blender.engine.contract import StereoDiffError

ROOT = Path(__file__).resolve().parents[2]
COSTS = ("wall_s", "cpu_s", "peak_memory_mb")
FIGURES = ("ate_percent", "rotation_deg", "focal_percent", "absrel_static", "absrel_moving", "absrel_border",
           "alignment_percent")


@dataclass(frozen=True)
class Revision:
    """A tree that holds stereodiff_blender/."""

    name: str
    tree: Path

    def command(self, clip: Path, job: Path, cores: int, options: list[str]) -> list[str]:
        chosen = [f"--cores={cores}"] if "cores" in self._help() else []
        return [*self._engine(), "solve", str(clip), str(job), *chosen, *options]

    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(self.tree), "PYTHONSAFEPATH": "1"}

    def _engine(self) -> list[str]:
        return [sys.executable, "-s", "-u", "-m", "stereodiff_blender.engine"]

    def _help(self) -> str:
        return subprocess.run([*self._engine(), "solve", "--help"], env=self.environment(), capture_output=True,
                              text=True, check=True).stdout


def taken_out(revision: str, folder: Path) -> Revision:
    """The engine of a revision of this repository. Raises CalledProcessError for one that is not there."""
    shutil.rmtree(folder, ignore_errors=True)
    packed = subprocess.run(["git", "-C", str(ROOT), "archive", revision, "stereodiff_blender", "vendor"], check=True,
                            capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    return Revision(revision, folder)


def solve(revision: Revision, clip: Path, job: Path, cores: int, options: list[str]) -> dict:
    """The costs of one solve, from nothing. Raises CalledProcessError if it fails."""
    shutil.rmtree(job.parent, ignore_errors=True)  # and with it the jobs whose stages it might take over
    job.parent.mkdir(parents=True)
    command = revision.command(clip, job, cores, options)
    began = time.monotonic()
    process = subprocess.Popen(held_to(cores, command), env=revision.environment(), stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return {"wall_s": time.monotonic() - began, "cpu_s": used.ru_utime + used.ru_stime,
            "peak_memory_mb": peak_mb(used.ru_maxrss)}


def held_to(cores: int, command: list[str]) -> list[str]:
    """The command on no more cores than so many, where the system can see to that."""
    is_fewer = hasattr(os, "sched_getaffinity") and shutil.which("taskset") and cores < len(os.sched_getaffinity(0))
    if not is_fewer:
        return command
    return ["taskset", "--cpu-list", ",".join(str(core) for core in sorted(os.sched_getaffinity(0))[:cores]), *command]


def scored(clip: Path, job: Path) -> dict:
    """The figures of a job whose clip has truth beside it; {} of any other."""
    try:
        found = accuracy.measure(job, clip.parent)
    except (OSError, StereoDiffError):
        return {}
    return {name: getattr(found, name) for name in FIGURES}


def compared(revisions: list[Revision], clip: Path, cores: int, options: argparse.Namespace) -> dict:
    """Medians of each revision, by its name; the runs are in turn, so that a busy minute meets both."""
    runs: dict[str, list[dict]] = {revision.name: [] for revision in revisions}
    figures = {}
    for _ in range(options.pairs):
        for revision in revisions:
            job = options.out / "jobs" / revision.name / "job"
            runs[revision.name].append(solve(revision, clip, job, cores, ["--quality", options.quality]))
            figures[revision.name] = scored(clip, job)
    medians = {name: {cost: round(statistics.median(run[cost] for run in of), 2) for cost in COSTS}
               for name, of in runs.items()}
    return {"clip": clip.parent.name, "cores": cores,
            "runs": {name: {**medians[name], **figures[name]} for name in medians}}


def table(rows: list[dict]) -> str:
    """Every figure of both, and this tree's over the other's."""
    lines = []
    for row in rows:
        (other, before), (own, now) = row["runs"].items()
        lines += ["", f"{row['clip']}, {row['cores']} cores", f"{'':20} {other[:12]:>12} {own:>12} {'ratio':>8}"]
        for name in now.keys() & before.keys():
            if now[name] is not None and before[name] is not None:
                ratio = f"{now[name] / before[name]:8.2f}" if before[name] else ""
                lines.append(f"{name:20} {before[name]:12.3f} {now[name]:12.3f} {ratio}")
    return "\n".join(lines)


def main(options: argparse.Namespace) -> int:
    revisions = [taken_out(options.revision, options.out / "revision"), Revision("this", ROOT)]
    rows = [compared(revisions, clip.resolve(), cores, options) for clip in options.clips for cores in options.cores]
    file = options.out / "bench.json"
    file.write_text(json.dumps({"machine": machine(), "revision": options.revision, "rows": rows}, indent=2) + "\n",
                    encoding="utf-8")
    print(f"{table(rows)}\n\n{file}")
    return 0


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("revision")
    parser.add_argument("--clips", type=Path, nargs="+", required=True, metavar="CLIP")
    parser.add_argument("--pairs", type=int, default=3, metavar="N")
    parser.add_argument("--cores", type=int, nargs="+", default=[os.cpu_count() or 1], metavar="N")
    parser.add_argument("--quality", default="standard")
    found = parser.parse_args(words)
    found.out = found.out.resolve()
    return found


if __name__ == "__main__":
    given = arguments()
    try:
        sys.exit(main(given))
    except subprocess.CalledProcessError as error:
        sys.exit(f"{' '.join(map(str, error.cmd))} ended with {error.returncode}")
