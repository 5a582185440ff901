"""Whether every clip of some folders is solved whole: python whole_clips.py OUT FOLDER ... [--presets draft,standard]

Too long for the test run; for the evening before a release. A clip is a movie in FOLDER, or a folder below it with
movies or numbered pictures. Every clip is solved at every preset by the engine's own solve command, as many at once as
there are cores, and gets a row. It counts as whole if the solve ends well with all of the clip's frames, if fewer than
a fifth of the cameras are interpolated, and if there is depth wherever the camera travels; a file expected.json beside
the pictures, such as {"kind": "static"}, says besides what the camera has to be. The exit status is the number of those
that are not. Jobs stay in OUT/NAME-PRESET, and a second run goes on; remove OUT to begin anew.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from stereodiff_blender.engine.contract import JobFolder, StereoDiffError

PICTURES = frozenset({".bmp", ".dpx", ".exr", ".jpeg", ".jpg", ".png", ".tga", ".tif", ".tiff"})
MOVIES = frozenset({".avi", ".m2ts", ".mkv", ".mov", ".mp4", ".mts", ".mxf", ".ts", ".webm"})
LEAST_SOLVED = 0.8
NOT_FOOTAGE = frozenset({"depth", "masks", "mattes"})


@dataclass(frozen=True)
class Outcome:
    """fault: why it is not whole; empty if it is."""

    name: str
    preset: str
    wall_s: float
    said: str
    fault: str

    def row(self) -> str:
        return f"| {self.name} | {self.preset} | {self.said} | {self.wall_s:.0f} s | {self.fault or 'whole'} |"


def clips_below(folder: Path) -> list[Path]:
    """Movies, and the first picture of each folder with numbered ones."""
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in NOT_FOOTAGE)
        files = [Path(parent, name) for name in sorted(names)]
        found += [path for path in files if path.suffix.lower() in MOVIES]
        found += [path for path in files if path.suffix.lower() in PICTURES and path.stem[-1:].isdigit()][:1]
    return found


def name_of(clip: Path, folder: Path) -> str:
    """The folders that lead to it, or its own name."""
    led = [part for part in clip.parent.relative_to(folder).parts if part != "frames"]
    return "-".join(led) or clip.stem


def solve(clip: Path, name: str, preset: str, out: Path) -> Outcome:
    job, began = out / f"{name}-{preset}", time.monotonic()
    command = [sys.executable, "-m", "stereodiff_blender.engine", "solve", clip, job, "--quality", preset]
    ended = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    said, fault = judged(clip, JobFolder(job), ended)
    outcome = Outcome(name, preset, time.monotonic() - began, said, fault)
    print(outcome.row(), flush=True)
    return outcome


def judged(clip: Path, job: JobFolder, ended: subprocess.CompletedProcess) -> tuple[str, str]:
    """What is to be told of a solve, and why it is not whole."""
    if ended.returncode:
        return "-", " ".join(line for line in ended.stderr.splitlines() if line.startswith("error"))[:300] or "died"
    try:
        result = job.read_result()
        result.validate(job.path)
    except StereoDiffError as error:
        return "-", f"{error.code}: {error.message}"
    quality = result.quality
    coverage = "" if quality.coverage is None else f", {100 * quality.coverage:.0f} % measured"
    warnings = "".join(f", {warning.code}" for warning in result.warnings)
    said = f"{result.camera_kind}, {len(result.frames)} frames{coverage}{warnings}"
    return said, _fault(result, _expected_kind(clip))


def _fault(result, expected: str | None) -> str:
    if result.quality.solved_share < LEAST_SOLVED:
        return f"only {100 * result.quality.solved_share:.0f} % of the frames are solved"
    if expected is not None and result.camera_kind != expected:
        return f"the camera is {expected}"
    if result.camera_kind == "moving" and any(frame.depth is None for frame in result.frames):
        return "frames without depth"
    return ""


def _expected_kind(clip: Path) -> str | None:
    file = clip.with_name("expected.json")
    return json.loads(file.read_text()).get("kind") if file.is_file() else None


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--presets", type=lambda text: text.split(","), default=["draft", "standard"])
    options = parser.parse_args(arguments)
    clips = [(clip, name_of(clip, folder)) for folder in options.folders for clip in clips_below(folder)]
    print("| clip | preset | camera | wall | |\n|---|---|---|---|---|", flush=True)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        jobs = [pool.submit(solve, clip, name, preset, options.out.absolute()) for preset in options.presets
                for clip, name in clips]
        faults = sum(bool(job.result().fault) for job in jobs)
    print(f"\n{len(jobs) - faults} of {len(jobs)} solves are whole.")
    return min(faults, 255)


if __name__ == "__main__":
    sys.exit(main())
