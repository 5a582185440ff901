"""A table of the engine's accuracy on clips with truth, in Markdown: python accuracy_table.py OUT CLIP=TRUTH ...
                                                             [--presets draft,standard,high]

Solves every clip at every asked preset with unknown focal length, as the engine's own solve command does, and prints a
row for each: what accuracy.py measures, and processor seconds a frame and peak memory of the whole job. CLIP is what
solve takes, TRUTH what truth.py reads; a clip goes by the name of its TRUTH's folder, or NAME:CLIP=TRUTH names it.
Jobs stay in OUT/NAME-PRESET with their figures in OUT/NAME-PRESET.json, and a second run measures only what is
missing there; remove OUT to measure anew. A clip whose solve fails has the failure's code in its row.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from accuracy import Accuracy, cells, measure, row_of, table_head

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))
from bench import peak_mb

from stereodiff_blender.engine.contract import JobFolder

PRESETS = ("draft", "standard", "high")


@dataclass(frozen=True)
class Clip:
    name: str
    footage: Path
    truth: Path


@dataclass(frozen=True)
class Run:
    """One solve. failure: code of the engine's refusal, else None; accuracy: None if it failed."""

    failure: str | None
    cpu_s: float
    wall_s: float
    peak_mb: float
    accuracy: Accuracy | None


def parsed_clip(text: str) -> Clip:
    """Of "CLIP=TRUTH" or "NAME:CLIP=TRUTH". Raises ArgumentTypeError if it is neither, or CLIP or TRUTH is missing."""
    named, _, truth = text.rpartition("=")
    found = re.fullmatch(r"(?:([\w-]+):)?(.+)", named)
    if not found or not truth:
        raise argparse.ArgumentTypeError(f"{text!r} is not CLIP=TRUTH")
    footage, truth = Path(found[2]), Path(truth)
    for path in (footage, truth):
        if not path.exists():
            raise argparse.ArgumentTypeError(f"there is no {path}")
    return Clip(found[1] or (truth if truth.is_dir() else truth.parent).name, footage, truth)


def parsed_presets(text: str) -> list[str]:
    presets = text.split(",")
    if unknown := set(presets) - set(PRESETS):
        raise argparse.ArgumentTypeError(f"no preset {', '.join(sorted(unknown))}; there are {', '.join(PRESETS)}")
    return presets


def run(clip: Clip, preset: str, out: Path) -> Run:
    """The stored figures, or those of a new solve."""
    stored = out / f"{clip.name}-{preset}.json"
    if not stored.exists():
        stored.write_text(json.dumps(asdict(solved(clip, preset, out / f"{clip.name}-{preset}"))) + "\n")
    figures = json.loads(stored.read_text())
    accuracy = figures.pop("accuracy")
    if accuracy:
        accuracy["warnings"] = tuple(accuracy["warnings"])
    return Run(**figures, accuracy=Accuracy(**accuracy) if accuracy else None)


def solved(clip: Clip, preset: str, job: Path) -> Run:
    """Raises RuntimeError if the solve ended without a result and without saying why."""
    command = [sys.executable, "-s", "-u", "-m", "stereodiff_blender.engine", "solve", str(clip.footage), str(job),
               "--quality", preset, "--overwrite"]
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    costs = (used.ru_utime + used.ru_stime, time.monotonic() - began, peak_mb(used.ru_maxrss))
    if process.returncode:
        return Run(failure_of(job), *costs, None)
    return Run(None, *costs, measure(job, clip.truth))


def failure_of(job: Path) -> str:
    codes = [event.code for event in JobFolder(job).read_events()[0] if event.kind == "failed"]
    if not codes:
        raise RuntimeError(f"the solve in {job} ended without a word")
    return codes[-1]


def row(clip: Clip, preset: str, made: Run) -> str:
    if made.accuracy is None:
        empty = len(cells_of_nothing()) - 1
        return row_of([clip.name, preset, f"**{made.failure}**", *["-"] * empty, f"{made.cpu_s:.0f} s in all",
                       memory(made)])
    per_frame = f"{made.cpu_s / made.accuracy.frames:.2f}"
    return row_of([clip.name, preset, *cells(made.accuracy), per_frame, memory(made)])


def cells_of_nothing() -> list[str]:
    return cells(Accuracy(0, "", (), None, 0.0, 0.0, None))


def memory(made: Run) -> str:
    return f"{made.peak_mb / 1000:.1f} GB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("clips", nargs="+", type=parsed_clip, metavar="CLIP=TRUTH")
    parser.add_argument("--presets", type=parsed_presets, default=["standard"], help="separated by commas (standard)")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    print(table_head(("clip", "preset"), ("CPU s a frame", "memory")), flush=True)
    for clip in options.clips:
        for preset in options.presets:
            print(row(clip, preset, run(clip, preset, options.out)), flush=True)


if __name__ == "__main__":
    main()
