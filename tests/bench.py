"""Time and memory of one solve: python bench.py CLIP OUT [options of solve]

Runs the engine's own solve command, as an artist's job runs, and writes OUT/bench.json. Leaves the job in OUT/job.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

from stereodiff_blender.engine.contract import STAGE_LABELS, JobFolder, Result


def measure(clip: Path, out: Path, options: list[str]) -> dict:
    """Raises CalledProcessError if the solve fails; it has said why on its own."""
    job = out / "job"
    shutil.rmtree(job, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-s", "-u", "-m", "stereodiff_blender.engine", "solve", str(clip), str(job), *options]
    began = time.monotonic()
    subprocess.run(command, check=True)
    wall_s = time.monotonic() - began
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = JobFolder(job).read_result()
    return {"machine": machine(), "options": options, **shot(result), "wall_s": round(wall_s, 2),
            "cpu_s": round(used.ru_utime + used.ru_stime, 2), "peak_memory_mb": round(peak_mb(used.ru_maxrss)),
            "job_folder_mb": round(sum(p.stat().st_size for p in job.rglob("*") if p.is_file()) / 1e6, 1),
            "stages_s": {stage: round(seconds, 2) for stage, seconds in result.timings_s.items()}}


def machine() -> dict:
    return {"system": platform.platform(), "cores": os.cpu_count(), "python": platform.python_version()}


def shot(result: Result) -> dict:
    return {"frames": len(result.frames), "raster": [result.width, result.height], "stereo": result.stereo,
            "refine": result.refine, "camera_kind": result.camera_kind}


def peak_mb(ru_maxrss: int) -> float:
    """macOS counts bytes, Linux kibibytes."""
    return ru_maxrss / 1e6 if sys.platform == "darwin" else ru_maxrss * 1024 / 1e6


def table(measured: dict) -> str:
    frames = measured["frames"]
    lines = [f"{frames} frames at {measured['raster'][0]}x{measured['raster'][1]}, {measured['stereo']} and "
             f"{measured['refine']}, {measured['machine']['cores']} cores", ""]
    lines += [f"{STAGE_LABELS.get(stage, stage):24} {seconds:8.2f} s {1000 * seconds / frames:8.0f} ms/frame"
              for stage, seconds in measured["stages_s"].items()]
    lines += ["", f"{'Wall time':24} {measured['wall_s']:8.2f} s", f"{'Processor time':24} {measured['cpu_s']:8.2f} s",
              f"{'Peak memory':24} {measured['peak_memory_mb']:8.0f} MB",
              f"{'Job folder':24} {measured['job_folder_mb']:8.1f} MB"]
    return "\n".join(lines)


def main(clip: Path, out: Path, options: list[str]) -> None:
    measured = measure(clip, out, options)
    (out / "bench.json").write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
    print(f"\n{table(measured)}\n\n{out / 'bench.json'}")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
