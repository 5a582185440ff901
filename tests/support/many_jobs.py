"""A jobs folder of years in a moment: hundreds of old jobs of thousands of frames, and folders that nobody should open.

Old jobs share their files on disk, and all frames of one the same three pictures, so that they take no room.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from job_folder import Example, write_job_folder, write_png

from stereodiff_blender.engine.contract import ClipSource, Event, Job, JobFolder

PLAN = (("read", 0.5), ("solve", 0.5))
HOSTILE = ("pipe as events", "pipe as result", "endless events", "huge events", "huge result", "many warnings",
           "huge preview")


def write_old_jobs(folder: Path, count: int, frames: int) -> list[Path]:
    """Finished jobs. Returns their folders."""
    model = folder / "old-0"
    result = write_job_folder(model, Example(frame_count=2, job_id="old-0"), clip_folder=folder / "footage")
    preview = [[[(7 * row + 3 * column) % 256, row % 256, column % 256] for column in range(320)] for row in range(90)]
    write_png(model / "preview.png", _array(preview))
    own = result.frames[0]
    job_folder = JobFolder(model)
    job = job_folder.read_job()
    job_folder.write_job(replace(job, last_frame=frames))
    repeated = tuple(replace(own, frame=number) for number in range(1, frames + 1))
    job_folder.write_result(replace(result, frames=repeated, preview_image="preview.png"))
    return [model, *(_copy(model, folder / f"old-{number}") for number in range(1, count))]


def _array(rows: list):
    import numpy as np
    return np.array(rows, np.uint8)


def _copy(model: Path, folder: Path) -> Path:
    """The same files by further names, but for the job's own id."""
    for path in model.rglob("*"):
        target = folder / path.relative_to(model)
        if path.is_file() and path.name != "job.json":
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, target)
    job = JobFolder(model).read_job()
    JobFolder(folder).write_job(replace(job, id=folder.name))
    return folder


def write_hostile_jobs(folder: Path, kinds: tuple[str, ...] = HOSTILE) -> list[Path]:
    """A folder of each kind, named after it. Some say that they are at work, some that they have finished."""
    return [_write_hostile(folder / kind.replace(" ", "-"), kind) for kind in kinds]


def _write_hostile(path: Path, kind: str) -> Path:
    path.mkdir(parents=True)
    folder = JobFolder(path)
    folder.write_job(Job(path.name, ClipSource("movie", "/footage/walk.mp4"), 1, 8))
    if kind == "pipe as events":
        os.mkfifo(folder.events_file)
    elif kind == "pipe as result":
        os.mkfifo(folder.result_file)
    elif kind == "endless events":
        folder.events_file.symlink_to("/dev/zero")
    elif kind == "huge events":
        write_progress(folder, 200_000_000)
    elif kind == "huge result":
        folder.result_file.write_text('{"schema_version": 1, "frames": [' + "[1.5, 2.5], " * 5_000_000 + "1]}")
    elif kind == "many warnings":
        said = {"kind": "warning", "time_s": time.time(), "code": "low_texture"}
        lines = (json.dumps({**said, "message": f"Warning {number}. " * 4}) for number in range(100_000))
        folder.events_file.write_text("\n".join(lines) + "\n")
    elif kind == "huge preview":
        _write_huge_preview(folder)
    return path


def _write_huge_preview(folder: JobFolder) -> None:
    """A result that is good in all but that."""
    result = write_job_folder(folder.path, Example(frame_count=2, job_id=folder.path.name))
    side = (30_000).to_bytes(4, "big")
    folder.preview_image.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + side + side + bytes(99))
    folder.write_result(replace(result, preview_image="preview.png"))


def write_progress(folder: JobFolder, size: int) -> None:
    """Events of a worker that is gone, as many as make so many bytes."""
    folder.append_event(Event("started", time.time(), pid=2 ** 30, plan=PLAN))
    line = json.dumps({"kind": "progress", "time_s": time.time(), "stage": "read", "done": 5, "total": 10}) + "\n"
    piece = line.encode() * 10_000
    with open(folder.events_file, "ab") as stream:
        stream.writelines(piece for _ in range(size // len(piece) + 1))


WORKER = """
import json, os, pathlib, sys, time
job = pathlib.Path(sys.argv[2])
def say(**event):
    with open(job / "events.jsonl", "a") as stream:
        stream.write(json.dumps({"time_s": time.time(), **event}) + "\\n")
say(kind="started", pid=os.getpid(), plan=[["read", 0.5], ["solve", 0.5]])
for number in range(100000):
    say(kind="progress", stage="read", done=number, total=100000)
    time.sleep(0.05)
"""


def write_worker(root: Path) -> Path:
    """A program in place of the engine that says something twenty times a second. Returns the root to start it from."""
    engine = root / "stereodiff_blender" / "engine"
    engine.mkdir(parents=True)
    (engine / "__main__.py").write_text(WORKER)
    return root


def run_limited(code: str, *arguments: str, repository: Path, seconds: float) -> subprocess.CompletedProcess:
    """A Python of its own for what might hang or take all memory: it is ended then, and the caller is not."""
    paths = os.pathsep.join(map(str, (repository, repository / "tests")))
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=seconds,
                          env={**os.environ, "PYTHONPATH": paths})
