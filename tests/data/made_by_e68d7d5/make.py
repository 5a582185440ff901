"""Make the files of this folder with an earlier version of the extension: see README.md.

Usage: python make.py CHECKOUT WORKER_PYTHON OUT     (an environment with the oldest bpy; OUT/footage holds the clip)

CHECKOUT: of that version. WORKER_PYTHON: an interpreter with the worker's packages. Writes OUT/jobs and OUT/shot.blend.
"""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import bpy

EXTENSION = "stereodiff_extension"
RASTER_PX, CLIP_PX, FOCAL_PX = 64, 144, 170.0


def load_addon(checkout: Path) -> ModuleType:
    parent = ModuleType(EXTENSION)
    parent.__path__ = [str(checkout)]
    sys.modules[EXTENSION] = parent
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    bpy.context.preferences.addons.new().module = EXTENSION
    addon = importlib.import_module(f"{EXTENSION}.stereodiff_blender")
    addon.register()
    return addon


def ask_for(out: Path) -> bpy.types.PropertyGroup:
    clip = bpy.data.movieclips.load(str(out / "footage" / "boards_0001.jpg"))
    clip.tracking.camera.sensor_width = 36.0
    clip.tracking.camera.focal_length = 36.0 * FOCAL_PX / CLIP_PX
    settings = bpy.context.scene.stereodiff
    settings.clip, settings.quality, settings.max_side_px = clip, "draft", RASTER_PX
    settings.use_known_focal = True
    return settings


def tick_until(session, reached: Callable[[], bool]) -> None:
    while not reached():
        session.tick()
        time.sleep(0.002)


def main(checkout: Path, worker_python: str, out: Path) -> None:
    addon = load_addon(checkout)
    preferences = addon.preferences.current()
    preferences.runtime_python, preferences.jobs_folder = worker_python, str(out / "jobs")
    preferences.models_folder = str(out / "models")
    settings, session = ask_for(out), addon.session.current()
    bpy.ops.wm.save_as_mainfile(filepath=str(out / "shot.blend"))

    print("the first job:", bpy.ops.stereodiff.solve(wait=True))
    shutil.rmtree(Path(settings.jobs[0].folder) / "cache")  # as Remove Cache does

    settings.use_clip_range, settings.first_frame, settings.last_frame = False, 1, 5
    bpy.ops.stereodiff.solve(wait=False)
    cache = Path(settings.jobs[1].folder) / "cache"
    tick_until(session, lambda: any(path.stat().st_size for path in cache.glob("refine-*/*.ledger")))
    os.killpg(session._queue[settings.jobs[1].job_id].followed._pid, signal.SIGKILL)  # as a power cut does
    print("the second job:", settings.jobs[1].state)
    bpy.ops.wm.save_as_mainfile(filepath=str(out / "shot.blend"), compress=True)
    (out / "shot.blend1").unlink()
    (cache / "reserved").unlink()  # nothing but zeros
    addon.unregister()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
