"""Registration of pointmaps against frames: python bench_registration.py OUT [--frames N ...] [--size W H]

Maps of a wavy wall that a camera slides past, as exact as the formulas, given pair by pair to the production code.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from stereodiff_blender.engine.geometry import unproject
from stereodiff_blender.engine.report import Report
from stereodiff_blender.engine.stereo.monst3r.pairs import window_pairs
from stereodiff_blender.engine.stereo.monst3r.pointmaps import PairPointmaps
from stereodiff_blender.engine.stereo.monst3r.reduction import PointmapReduction
from stereodiff_blender.engine.stereo.monst3r.registration import register_pointmaps
from stereodiff_blender.engine.storage.scratch import DiskScratch

STEP = 0.02


def maps(i: int, j: int, local: np.ndarray, confidence: np.ndarray) -> PairPointmaps:
    shift = np.array([STEP * (j - i), 0.0, 0.0], np.float32)
    return PairPointmaps(local, local + shift, confidence, confidence)


def measure(count: int, width: int, height: int) -> dict:
    rows, cols = np.mgrid[0:height, 0:width]
    depth = (3.0 + 0.5 * np.sin(cols / 40.0) * np.cos(rows / 30.0)).astype(np.float32)
    local = unproject(depth.astype(np.float64), np.array([width, width, width / 2, height / 2])).astype(np.float32)
    confidence = np.full((height, width), 3.0, np.float32)
    with tempfile.TemporaryDirectory() as folder:
        scratch = DiskScratch(Path(folder))
        with scratch.relieved():
            reduction = PointmapReduction(count, height, width, scratch)
            began, used = time.monotonic(), time.process_time()
            for i, j in window_pairs(count):
                reduction.add(i, j, maps(i, j, local, confidence))
            reduced_s = time.process_time() - used
            register_pointmaps(reduction.finish(), report=Report())
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"frames": count, "reduce_cpu_s": round(reduced_s, 2),
            "register_cpu_s": round(time.process_time() - used - reduced_s, 2),
            "wall_s": round(time.monotonic() - began, 2), "peak_memory_mb": round(kilobytes * 1024 / 1e6)}


def main(options: argparse.Namespace) -> None:
    runs = [measure(count, *options.size) for count in options.frames]
    options.out.write_text(json.dumps({"size": options.size, "runs": runs}, indent=2) + "\n", encoding="utf-8")
    print(f"Registration of pointmaps, {options.size[0]}x{options.size[1]}")
    for run in runs:
        print(f"  {run['frames']:4} frames: pairs reduced {run['reduce_cpu_s']:7.2f} s, registered "
              f"{run['register_cpu_s']:6.2f} s of processor, peak {run['peak_memory_mb']} MB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--frames", type=int, nargs="+", default=[100, 250, 500])
    parser.add_argument("--size", type=int, nargs=2, default=[512, 288])
    sys.exit(main(parser.parse_args()))
