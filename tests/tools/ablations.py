"""What each choice of the engine does to the figures: tests/tools/ablations.py OUT [--root ROOT] [--only NAME ...]

Runs the engine's own evaluate command once for every variant below, on clips in the plain-folder layout (the first
frames of the sample clip, unless ROOT names others), and prints one table; its figures are in OUT/ablations.json too.
An interrupted run goes on where it was.

The learned stages run with TINY NETWORKS OF RANDOM NUMBERS, because their weights are not ours to ship: their rows show
that every switch reaches the network and that the figures follow it, and nothing about the published networks. With
--models DIR the real ones are taken, and the rows mean what they say. The repository has to be on PYTHONPATH.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from dataset_folders import write_folder
from depth_scenes import RayCastShot
from truth import FARTHEST, read_truth

from stereodiff_blender.engine.contract import JobFolder
from stereodiff_blender.engine.evaluation.clip_scores import read_solved
from stereodiff_blender.engine.evaluation.tables import COLUMNS, markdown
from stereodiff_blender.engine.media.frames import plan_raster, probe_clip, read_frames, source_from_path
from stereodiff_blender.engine.quality.spectrum import BANDS, mean_disparities
from stereodiff_blender.engine.storage.scratch import Scratch

SAMPLE = Path(__file__).resolve().parents[1] / "data" / "sample"
SIGMAS = (0.1, 0.5, 1.0, 2.26912, 5.0, 14.6, 70.5, 700.0)
SHOWN = ("absrel", "delta1", "absrel_static", "absrel_moving", "ate_percent", "rpe_rotation_deg", "flicker2", "tae")
SLOW_BANDS = 6
"""F1 to F5 count as slow, F6 to F10 as fast."""
PLAIN = "geometric-none"
NOTE_TINY = ("Rows marked * ran tiny networks of random numbers: they show that the switch works, not what the "
             "published networks do.")


@dataclass(frozen=True)
class Variant:
    """name: of its folder. question: what it answers. options: of evaluate. learned: it runs a network."""

    name: str
    question: str
    options: tuple[str, ...]
    learned: bool = False


def variants() -> list[Variant]:
    """PLAIN comes first: what stage 2 changed is measured against it."""
    geometric, monst3r = ("--stereo", "geometric"), ("--stereo", "monst3r")
    chosen = [
        Variant(PLAIN, "guided stage off", (*geometric, "--refine", "none")),
        Variant("geometric-guided", "guided stage on", (*geometric, "--refine", "guided")),
        Variant("geometric-refined", "cameras refined", (*geometric, "--refine", "none", "--refine-cameras")),
        Variant("monst3r-none", "MonST3R", (*monst3r, "--refine", "none"), True),
        Variant("monst3r-refined", "MonST3R, cameras refined", (*monst3r, "--refine", "none", "--refine-cameras"),
                True)]
    diffusion = (*geometric, "--refine", "depthcrafter", "--diffusion", "paper")
    chosen += [Variant(f"sigma-{sigma:g}", f"noise level {sigma:g}",
                       (*diffusion, "--schedule", "free", "--noise-level", f"{sigma:g}"), True) for sigma in SIGMAS]
    chosen += [Variant("schedule-karras", "schedule as published, 2.269", (*diffusion, "--schedule", "karras"), True),
               Variant("schedule-trailing", "ZeroSNR (trailing), 1.613", (*diffusion, "--schedule", "trailing"), True)]
    return chosen


def sample_as_folder(root: Path, count: int) -> Path:
    """The sample clip's first frames with their truth."""
    if not (root / "sample").exists():
        truth, source = read_truth(SAMPLE), source_from_path(SAMPLE / "clip.mp4")
        raster = plan_raster(probe_clip(source), 4096)
        depth = np.stack([truth.depth(index) for index in range(count)])
        depth = np.where(np.isfinite(depth) & (depth < FARTHEST), depth, 0.0).astype(np.float32)
        masks = np.stack([truth.dynamic(index) for index in range(count)]).astype(np.uint8)
        frames = np.stack(list(read_frames(source, range(1, count + 1), raster)))
        write_folder(root, "sample", shot=RayCastShot(frames, depth, masks, truth.camera_to_world[:count],
                                                      truth.intrinsics[:count]))
    return root


def write_tiny_models(models: Path) -> Path:
    """Needs torch, as the variants do that use them."""
    if not models.exists():
        from tiny_depthcrafter import write_tiny_depthcrafter
        from tiny_monst3r import write_tiny_monst3r
        write_tiny_depthcrafter(models)
        write_tiny_monst3r(models / "monst3r")
    return models


def run(variant: Variant, out: Path, root: Path, models: Path, options: argparse.Namespace) -> dict:
    """The variant's report.json. Raises CalledProcessError if the evaluation was refused; it has said why."""
    folder = out / variant.name
    command = [sys.executable, "-m", "stereodiff_blender.engine", "evaluate", "--dataset", "folder", "--root", root,
               "--out", folder, "--quality", options.quality, "--max-side", str(options.max_side), *variant.options]
    command += ["--models", models] if variant.learned else []
    command += ["--frames", str(options.frames)] if options.frames else []
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))


# --- What is told ------------------------------------------------------------------------------------------------

def figures_of(variant: Variant, report: dict, out: Path) -> dict:
    bands = report["bands"] or [None] * BANDS
    return {"name": variant.name, "question": variant.question, "learned": variant.learned, **report["mean"],
            "slow": sum(value or 0.0 for value in bands[1:SLOW_BANDS]) if report["bands"] else None,
            "fast": sum(value or 0.0 for value in bands[SLOW_BANDS:]) if report["bands"] else None,
            "mean_disparity": mean_disparity(report, variant, out),
            "failures": sorted({clip["failure"] for clip in report["clips"] if clip["failure"]})}


def mean_disparity(report: dict, variant: Variant, out: Path) -> float | None:
    """Mean disparity after stage 2 minus before, on the scale of stage 1's range, over all clips; the same stage 1
    alone tells what was before. None where it is another stage 1, or nothing to compare."""
    if "geometric" not in variant.options or "--refine-cameras" in variant.options or variant.name == PLAIN:
        return None
    changes = []
    for clip in report["clips"]:
        depths = [depth_of(JobFolder(out / name / "jobs" / "run_1" / clip["clip"])) for name in (PLAIN, variant.name)]
        if all(depth is not None for depth in depths):
            before, after = mean_disparities(*depths)
            changes.append(float(np.nanmean(after - before)))
    return float(np.mean(changes)) if changes else None


def depth_of(job: JobFolder) -> np.ndarray | None:
    return read_solved(job, job.read_result(), Scratch()).depth if job.result_file.exists() else None


def table(rows: list[dict], is_tiny: bool) -> str:
    head = ["variant", *(COLUMNS[name][0] for name in SHOWN), "F1-F5", "F6-F10", "mean disparity", "failed"]
    lines = [head]
    for row in rows:
        cells = ["-" if row[name] is None else COLUMNS[name][1].format(row[name]) for name in SHOWN]
        cells += ["-" if row[name] is None else f"{row[name]:.4f}" for name in ("slow", "fast")]
        cells += ["-" if row["mean_disparity"] is None else f"{row['mean_disparity']:+.4f}"]
        marked = row["question"] + (" *" if row["learned"] and is_tiny else "")
        lines.append([marked, *cells, ", ".join(row["failures"]) or "-"])
    return markdown(lines) + (f"\n\n{NOTE_TINY}" if is_tiny and any(row["learned"] for row in rows) else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--root", type=Path, help="clips in the plain-folder layout (the sample clip)")
    parser.add_argument("--models", type=Path, help="published weights, in place of tiny networks")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="variants: "
                        + ", ".join(variant.name for variant in variants()))
    parser.add_argument("--frames", type=int, default=24, help="of each clip (24)")
    parser.add_argument("--quality", default="draft")
    parser.add_argument("--max-side", type=int, default=320, help="longest working side in pixels (320)")
    options = parser.parse_args()
    if unknown := set(options.only) - {variant.name for variant in variants()}:
        parser.error(f"no variant {', '.join(sorted(unknown))}")
    out = options.out.resolve()
    root = options.root.resolve() if options.root else sample_as_folder(out / "clips", options.frames)
    chosen = [variant for variant in variants() if variant.name in {PLAIN, *options.only} or not options.only]
    is_tiny = options.models is None
    models = out / "tiny_models" if is_tiny else options.models.resolve()
    if is_tiny and any(variant.learned for variant in chosen):
        write_tiny_models(models)
    rows = [figures_of(variant, run(variant, out, root, models, options), out) for variant in chosen]
    (out / "ablations.json").write_text(json.dumps({"tiny_networks": is_tiny, "rows": rows}, indent=1) + "\n",
                                        encoding="utf-8")
    print(table(rows, is_tiny))


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
