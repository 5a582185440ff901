"""Time and memory of solves: python bench.py CLIP OUT [--lengths N ...] [-- options of solve]

Runs the engine's own solve command, as an artist's job runs, stage by stage, and writes OUT/bench.json. Leaves the job
in OUT/job. With --lengths the clip is played to and fro until it is that long, once for every length, and what one
frame more costs is told from a straight line through the results: a method that scales has small residuals from it,
and memory that does not rise.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np

from stereodiff_blender.engine.contract import STAGE_LABELS, JobFolder, Result


def measure(clip: Path, job: Path, options: list[str]) -> dict:
    """Raises CalledProcessError if the solve fails; it has said why on its own."""
    shutil.rmtree(job, ignore_errors=True)
    job.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-s", "-u", "-m", "stereodiff_blender.engine", "solve", str(clip), str(job), *options]
    began = time.monotonic()
    # wait4 tells of this one child; getrusage would tell the largest of all so far.
    process = subprocess.Popen(command)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    wall_s = time.monotonic() - began
    result = JobFolder(job).read_result()
    return {"options": options, **shot(result), "wall_s": round(wall_s, 2),
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


def to_and_fro(clip: Path, target: Path, length: int) -> Path:
    """The clip's frames forwards and backwards, `length` of them, as a new movie. The ends are not shown twice."""
    with av.open(str(clip)) as source:
        pictures = [frame.to_ndarray(format="rgb24") for frame in source.decode(video=0)]
        rate = source.streams.video[0].average_rate
    around = [*range(len(pictures)), *range(len(pictures) - 2, 0, -1)]
    target.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(target), "w") as movie:
        stream = movie.add_stream("libx264", rate=rate, options={"crf": "14", "preset": "ultrafast"})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for index in range(length):
            picture = pictures[around[index % len(around)]]
            movie.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        movie.mux(stream.encode(None))
    return target


def line(frames: list[int], values: list[float]) -> tuple[float, float]:
    """What every frame adds, and what there is without any, by least squares."""
    slope, start = np.polyfit(frames, values, 1)
    return float(slope), float(start)


# --- In words --------------------------------------------------------------------------------------------------

def table(measured: dict) -> str:
    frames = measured["frames"]
    lines = [f"{frames} frames at {measured['raster'][0]}x{measured['raster'][1]}, {measured['stereo']} and "
             f"{measured['refine']}, {os.cpu_count()} cores", ""]
    lines += [f"{STAGE_LABELS.get(stage, stage):24} {seconds:8.2f} s {1000 * seconds / frames:8.0f} ms/frame"
              for stage, seconds in measured["stages_s"].items()]
    lines += ["", f"{'Frames a second':24} {frames / measured['wall_s']:8.2f}",
              f"{'Wall time':24} {measured['wall_s']:8.2f} s", f"{'Processor time':24} {measured['cpu_s']:8.2f} s",
              f"{'Peak memory':24} {measured['peak_memory_mb']:8.0f} MB",
              f"{'Job folder':24} {measured['job_folder_mb']:8.1f} MB"]
    return "\n".join(lines)


def scaling_table(runs: list[dict]) -> str:
    lines = [f"{'frames':>6} {'processor s':>12} {'a frame':>8} {'wall s':>8} {'peak MB':>8}"]
    lines += [f"{run['frames']:6} {run['cpu_s']:12.1f} {run['cpu_s'] / run['frames']:8.3f} {run['wall_s']:8.1f} "
              f"{run['peak_memory_mb']:8}" for run in runs]
    if len(runs) > 1:
        frames = [run["frames"] for run in runs]
        for name, label, unit in (("cpu_s", "Processor time", "s"), ("peak_memory_mb", "Peak memory", "MB")):
            slope, start = line(frames, [run[name] for run in runs])
            lines.append(f"{label}: {slope:.3f} {unit} a frame and {start:.0f} {unit}")
    return "\n".join(lines)


def main(clip: Path, out: Path, lengths: list[int], options: list[str]) -> None:
    clips = [to_and_fro(clip, out / f"{length}_frames.mp4", length) for length in lengths] or [clip]
    runs = [measure(each, out / "job", options) for each in clips]
    (out / "bench.json").write_text(json.dumps({"machine": machine(), "runs": runs}, indent=2) + "\n",
                                    encoding="utf-8")
    texts = [table(run) for run in runs] + ([scaling_table(runs)] if lengths else [])
    print("\n" + "\n\n".join(texts) + f"\n\n{out / 'bench.json'}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--lengths", type=int, nargs="+", metavar="N", default=[])
    parser.add_argument("options", nargs="*", help="options of solve, after --")
    return parser.parse_args()


if __name__ == "__main__":
    given = arguments()
    try:
        main(given.clip, given.out, given.lengths, given.options)
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
