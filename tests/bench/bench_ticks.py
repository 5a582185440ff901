"""How long Blender's timer takes: python bench_ticks.py OUT [--old N] [--queued N] [--frames N]

Runs in a Python that has bpy, with the repository and tests/ on PYTHONPATH. A file lists N old jobs (200) of so many
frames (2000) and hostile folders; it is opened, N jobs (30) are queued, and one of them runs. Every tick of the session
is timed: while the list is taken up and results are read, at rest with a worker at work, after an undo, and with
nothing to do. Leaves milliseconds, by the clock and of the thread's own processor time, in OUT/bench_ticks.json.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import bpy
from many_jobs import HOSTILE, write_hostile_jobs, write_old_jobs, write_worker

ROOT = Path(__file__).resolve().parents[2]
EXTENSION = "stereodiff_extension"


def enable(out: Path) -> ModuleType:
    """The extension, registered as Blender has it, with a jobs folder and a worker of its own."""
    parent = ModuleType(EXTENSION)
    parent.__path__ = [str(ROOT)]
    sys.modules[EXTENSION] = parent
    package = importlib.import_module(f"{EXTENSION}.stereodiff_blender")
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    bpy.context.preferences.addons.new().module = EXTENSION
    package.register()
    preferences = package.ui.preferences.current()
    preferences.runtime_python, preferences.jobs_folder = sys.executable, str(out / "jobs")
    package.ui.preferences.EXTENSION_ROOT = write_worker(out / "worker")
    return package


class Ticks:
    """Ticks of a session, timed. wall_ms, cpu_ms: of each."""

    def __init__(self, session, label: str):
        self.label, self.wall_ms, self.cpu_ms = label, [], []
        self._session = session

    def tick(self) -> float | None:
        wall, cpu = time.perf_counter(), time.thread_time()
        soon = self._session.tick()
        self.wall_ms.append(1e3 * (time.perf_counter() - wall))
        self.cpu_ms.append(1e3 * (time.thread_time() - cpu))
        return soon

    def until(self, is_done: Callable[[], bool], most_s: float = 600.0) -> Ticks:
        end = time.monotonic() + most_s
        while not is_done():
            if time.monotonic() > end:
                raise TimeoutError(f"{self.label} did not come to its end")
            time.sleep(min(self.tick() or 0.02, 0.02))
        return self

    def times(self, count: int) -> Ticks:
        for _ in range(count):
            self.tick()
            time.sleep(0.02)
        return self

    def figures(self) -> dict:
        return {"label": self.label, "ticks": len(self.wall_ms), **_figures("wall", self.wall_ms),
                **_figures("cpu", self.cpu_ms)}


def _figures(name: str, values: list[float]) -> dict:
    ordered = sorted(values)
    figures = {"median": statistics.median(ordered), "p95": ordered[int(0.95 * (len(ordered) - 1))], "max": ordered[-1]}
    return {f"{name}_{figure}_ms": round(value, 3) for figure, value in figures.items()}


def list_jobs(folders: list[Path], state: str) -> None:
    for folder in folders:
        item = bpy.context.scene.stereodiff.jobs.add()
        item.job_id, item.folder, item.clip_name, item.state = folder.name, str(folder), folder.name, state


def write_file(out: Path, old: int, frames: int) -> Path:
    """A .blend whose list holds the old jobs, of which it knows that they have finished, and hostile ones."""
    list_jobs(write_old_jobs(out / "jobs", old, frames), "finished")
    hostile = write_hostile_jobs(out / "hostile")
    list_jobs(hostile[:len(HOSTILE) // 2], "running")
    list_jobs(hostile[len(HOSTILE) // 2:], "finished")
    file = out / "list.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(file), check_existing=False)
    return file


def queue_jobs(package: ModuleType, out: Path, count: int) -> None:
    footage = out / "jobs" / "footage"
    settings = bpy.context.scene.stereodiff
    settings.clip = bpy.data.movieclips.load(str(next(footage.glob("*0001.png"))))
    for _ in range(count):
        bpy.ops.stereodiff.solve(wait=False)


def measure(package: ModuleType, out: Path, old: int, queued: int, frames: int) -> list[dict]:
    file = write_file(out, old, frames)
    bpy.ops.wm.open_mainfile(filepath=str(file))
    session = package.session.session.current()
    opening = Ticks(session, "opened, results being read").until(session.is_at_rest)
    idle = Ticks(session, "nothing to do").times(100)
    queue_jobs(package, out, queued)
    at_rest = Ticks(session, f"{queued} queued, one at work").times(300)
    session.jobs.attach_to_file()  # as an undo does
    undone = Ticks(session, "after an undo").times(20)
    bpy.ops.stereodiff.cancel_all()
    return [ticks.figures() for ticks in (opening, idle, at_rest, undone)]


def main(out: Path, old: int, queued: int, frames: int) -> None:
    shutil.rmtree(out / "run", ignore_errors=True)
    os.environ["XDG_DATA_HOME"] = str(out / "run" / "user")  # whoever else solves here must not be waited for
    package = enable(out / "run")
    try:
        measured = measure(package, out / "run", old, queued, frames)
    finally:
        package.unregister()
        shutil.rmtree(out / "run", ignore_errors=True)
    figures = {"blender": bpy.app.version_string, "system": platform.platform(), "cores": os.cpu_count(), "old": old,
               "queued": queued, "frames": frames, "ticks": measured}
    (out / "bench_ticks.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(table(figures))


def table(figures: dict) -> str:
    lines = [f"Blender {figures['blender']}, {figures['old']} old jobs of {figures['frames']} frames, "
             f"{figures['queued']} queued, {figures['cores']} cores",
             f"{'':30} {'ticks':>6} {'wall ms':>8} {'p95':>8} {'max':>8} {'cpu ms':>8} {'p95':>8} {'max':>8}"]
    lines += [f"{each['label']:30} {each['ticks']:6} "
              + " ".join(f"{each[f'{kind}_{figure}_ms']:8.2f}" for kind in ("wall", "cpu")
                         for figure in ("median", "p95", "max")) for each in figures["ticks"]]
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--old", type=int, default=200)
    parser.add_argument("--queued", type=int, default=30)
    parser.add_argument("--frames", type=int, default=2000)
    return parser.parse_args()


if __name__ == "__main__":
    given = arguments()
    given.out.mkdir(parents=True, exist_ok=True)
    main(given.out.resolve(), given.old, given.queued, given.frames)
