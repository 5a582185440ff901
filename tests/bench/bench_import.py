"""What an imported result costs in Blender.

    python bench_import.py OUT [--frames N] [--size W H] [--plate W H] [--shown N]

Runs in a Python that has bpy, with the repository and tests/ on PYTHONPATH. Writes a job of N frames (300) of W x H
pixels (512x288) whose truth is known, with --plate also depth at the plate's size, imports it, and measures the import,
the growth of the .blend, and playback: milliseconds to evaluate the depth mesh at a new frame, at one vertex per pixel
and at the density that an import chooses, with what the modifier can switch on and off.
Leaves the figures in OUT/bench_import.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path

import bpy
from job_folder import Example, write_job_folder
from scene_checks import evaluated_mesh, set_input

from stereodiff_blender.engine.contract import Job, JobFolder, Result
from stereodiff_blender.scene import import_result

DRAWN_FRAMES = 12  # more would turn the example's camera away from its scene
PRODUCTS = ("depth", "confidence", "motion_mask", "mesh_depth", "plate_depth")
WARM_UP = 3


@dataclass(frozen=True)
class Playback:
    """Wall and processor milliseconds per frame: the median, which other programs disturb least."""

    label: str
    vertices: int
    wall_ms: float
    cpu_ms: float


# --- The job ---------------------------------------------------------------------------------------------------

def write_long_job(folder: Path, size: tuple[int, int], count: int, plate: tuple[int, int] | None) -> Result:
    """A job of count frames: DRAWN_FRAMES that are drawn, over and over, each in files of its own."""
    example = Example(raster=size, clip=plate or size, focal=0.9 * size[0], frame_count=DRAWN_FRAMES,
                      knows_footage=False, has_plate_depth=plate is not None)
    drawn = write_job_folder(folder, example)
    frames = tuple(_repeated(folder, drawn, frame) for frame in range(1, count + 1))
    job_folder = JobFolder(folder)
    job = job_folder.read_job()
    job_folder.write_job(Job(job.id, job.clip, 1, count, job.settings))
    result = replace(drawn, frames=frames)
    job_folder.write_result(result)
    return result


def _repeated(folder: Path, drawn: Result, frame: int):
    model = drawn.frames[(frame - 1) % DRAWN_FRAMES]
    files = {product: f"{product}/{frame:04d}.exr" for product in PRODUCTS if getattr(model, product) is not None}
    if frame > DRAWN_FRAMES:
        for product, file in files.items():
            shutil.copyfile(folder / getattr(model, product), folder / file)
        plate = folder / "clip" / "plate_{:04d}.png"
        shutil.copyfile(str(plate).format(model.frame), str(plate).format(frame))
    return replace(model, frame=frame, **files)


# --- Measuring -------------------------------------------------------------------------------------------------

def measure_import(folder: Path, out: Path) -> dict:
    """Seconds of the import, and by how much the .blend grows."""
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    empty = _saved_mb(out / "empty.blend")
    began, began_cpu = time.perf_counter(), time.process_time()
    import_result(bpy.context.scene, folder)
    wall_s, cpu_s = time.perf_counter() - began, time.process_time() - began_cpu
    return {"wall_s": round(wall_s, 2), "cpu_s": round(cpu_s, 2),
            "blend_mb": round(_saved_mb(out / "imported.blend") - empty, 2)}


def _saved_mb(path: Path) -> float:
    bpy.ops.wm.save_as_mainfile(filepath=str(path), compress=False, check_existing=False)
    return path.stat().st_size / 1e6


def measure_playback(folder: Path, step: int | None, inputs: dict, label: str, shown: int) -> Playback:
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    imported = import_result(bpy.context.scene, folder, step=step)
    for name, value in inputs.items():
        set_input(imported.mesh, name, value)
    ticks = [_show(frame) for frame in range(1, shown + WARM_UP + 1)][WARM_UP:]
    wall, cpu = zip(*ticks, strict=True)
    return Playback(label, len(evaluated_mesh(imported.mesh)[0]), round(statistics.median(wall), 1),
                    round(statistics.median(cpu), 1))


def _show(frame: int) -> tuple[float, float]:
    """Milliseconds, wall and processor, that the whole scene takes to come to a frame."""
    wall, cpu = time.perf_counter(), time.process_time()
    bpy.context.scene.frame_set(frame)
    return 1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - cpu)


VARIANTS = (
    ("displaced only", {"Tear at Depth Edges": False, "Fill Seams": False}),
    ("torn", {"Fill Seams": False}),
    ("torn, seams filled (as imported)", {}),
    ("the same, whatever its confidence", {"Least Confidence": 0.0}),
    ("the same, confidence over 0.5, still", {"Least Confidence": 0.5, "Moving Parts": False}),
)


def main(out: Path, size: tuple[int, int], count: int, shown: int, plate: tuple[int, int] | None) -> None:
    out.mkdir(parents=True, exist_ok=True)
    folder = out / "job"
    shutil.rmtree(folder, ignore_errors=True)
    write_long_job(folder, size, count, plate)
    imported = measure_import(folder, out)
    playback = [measure_playback(folder, step, inputs, label, shown)
                for step in (1, None) for label, inputs in VARIANTS]
    figures = {"blender": bpy.app.version_string, "system": platform.platform(), "cores": os.cpu_count(),
               "size": size, "plate": plate, "frames": count, "import": imported,
               "playback": [vars(p) for p in playback]}
    (out / "bench_import.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(table(figures))


# --- In words --------------------------------------------------------------------------------------------------

def table(figures: dict) -> str:
    cost = figures["import"]
    lines = [f"Blender {figures['blender']}, {figures['frames']} frames of {figures['size'][0]}x{figures['size'][1]}, "
             f"{figures['cores']} cores",
             f"import {cost['wall_s']:.2f} s ({cost['cpu_s']:.2f} s of processor), .blend grows by "
             f"{cost['blend_mb']:.2f} MB", f"{'':36} {'vertices':>9} {'wall ms':>8} {'cpu ms':>8} {'fps':>6}"]
    lines += [f"{p['label']:36} {p['vertices']:9} {p['wall_ms']:8.1f} {p['cpu_ms']:8.1f} {1e3 / p['wall_ms']:6.0f}"
              for p in figures["playback"]]
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", type=int, nargs=2, default=(512, 288), metavar=("W", "H"))
    parser.add_argument("--plate", type=int, nargs=2, metavar=("W", "H"), help="with depth at a plate's size")
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--shown", type=int, default=24, help="frames that playback is measured on")
    return parser.parse_args()


if __name__ == "__main__":
    given = arguments()
    main(given.out, tuple(given.size), given.frames, given.shown, given.plate and tuple(given.plate))
