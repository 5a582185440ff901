"""What the learned stages cost on this machine's card, in one JSON: build.py bench --cuda runs this.

python bench_cuda.py OUT [--device D] [--size full|tiny] [--parts PART ...] [--wheels DIR] [--seconds N]

Needs no network and no weights, and runs in the Python that starts it. Packages that it lacks may lie as wheels in a
folder. Every measurement is a process of its own with a limit of time; one that fails is told and the others go on;
what no longer fits into the seconds is told as skipped. Leaves OUT/bench_cuda.json; exits with 1 if anything failed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import wheel_folder

from stereodiff_blender.engine.contract import StereoDiffError, programs

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CLIP = ROOT / "tests" / "data" / "sample" / "clip.mp4"
SECONDS = 480.0
PROBE_TIMEOUT_S = 180.0
TARGET_S, TARGET_TIMES = 0.12, 4.0
"""Of both stages together, a frame at the large raster, and against the way that the originals run."""
BUDGET_GIB = 8.0
SLOWER = 6
"""How many times longer a part may take where the command is only tried, on a processor."""

NETWORKS = ("torch", "numpy", "cv2", "PIL", "safetensors", "diffusers", "transformers")
WORKER = (*NETWORKS, "av", "OpenEXR", "OpenImageIO", "PyOpenColorIO", "matplotlib", "imageio")
PROVIDERS = {"cv2": "opencv-python-headless", "PIL": "pillow", "OpenImageIO": "openimageio",
             "PyOpenColorIO": "opencolorio"}
"""Package of the registry by what is imported, where the two differ."""

PROBE = """
import importlib, importlib.metadata, json, sys
failed = {}
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except Exception as error:
        failed[name] = f"{type(error).__name__}: {error}"[:200]
found = {"python": sys.version.split()[0], "failed": failed, "packages": sorted(
    {str(entry.metadata["Name"]) for entry in importlib.metadata.distributions() if entry.metadata["Name"]})}
if "torch" not in failed:
    import torch
    found |= {"torch": torch.__version__, "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
    if torch.cuda.is_available():
        about = torch.cuda.get_device_properties(0)
        found |= {"card": about.name, "memory_gib": round(about.total_memory / 2**30, 1),
                  "capability": list(torch.cuda.get_device_capability(0))}
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Part:
    """One measurement. name: such as "monst3r/1024x576/bf16/once". script, arguments: what measures it. least_s: time
    that must be left for it to be begun; most_s: after which it is ended. needs: what it imports."""

    name: str
    script: str
    arguments: tuple[str, ...]
    least_s: float
    most_s: float
    needs: tuple[str, ...] = NETWORKS

    @property
    def group(self) -> str:
        return self.name.partition("/")[0]


# --- What is measured ----------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Size:
    """large, small: (width, height). frames: of MonST3R at either, and of DepthCrafter."""

    large: tuple[int, int]
    small: tuple[int, int]
    large_frames: int
    small_frames: int
    window: int


SIZES = {"full": Size((1024, 576), (512, 288), 24, 48, 110), "tiny": Size((192, 128), (128, 64), 3, 3, 3)}


def parts_of(size: Size) -> list[Part]:
    """The most important first: what stands at the end is what time may run out for."""
    def monst3r(raster: tuple[int, int], precision: str, way: str) -> Part:
        frames = size.large_frames if raster == size.large else size.small_frames
        return stage("monst3r", raster, precision, way, frames)

    def depthcrafter(raster: tuple[int, int], precision: str, way: str) -> Part:
        return stage("depthcrafter", raster, precision, way, size.window)

    return [
        Part("agreement", "bench_cuda_golden.py", (), 15, 60),
        depthcrafter(size.large, "fp16", "one_step"), monst3r(size.large, "bf16", "once"),
        depthcrafter(size.large, "fp16", "five_steps"), monst3r(size.large, "fp32", "per_pair"),
        Part("job/learned", "bench_cuda_job.py", ("learned", "--clip", str(CLIP)), 60, 140, WORKER),
        monst3r(size.small, "bf16", "once"), monst3r(size.small, "fp32", "per_pair"),
        depthcrafter(size.small, "fp16", "one_step"), depthcrafter(size.small, "fp16", "five_steps"),
        budget("depthcrafter", size, "fp16", "one_step"), budget("monst3r", size, "bf16", "once"),
        monst3r(size.large, "bf16", "per_pair"), monst3r(size.small, "bf16", "per_pair"),
        depthcrafter(size.large, "bf16", "one_step"), monst3r(size.large, "fp16", "once"),
        depthcrafter(size.small, "bf16", "one_step"), monst3r(size.small, "fp16", "once"),
        Part("job/geometric", "bench_cuda_job.py", ("geometric", "--clip", str(CLIP)), 30, 120, WORKER),
    ]


def stage(name: str, raster: tuple[int, int], precision: str, way: str, frames: int) -> Part:
    arguments = (name, "--raster", *map(str, raster), "--precision", precision, "--way", way, "--frames", str(frames))
    return Part(f"{name}/{raster[0]}x{raster[1]}/{precision}/{way}", "bench_cuda_stages.py", arguments, 15, 75)


def budget(name: str, size: Size, precision: str, way: str) -> Part:
    """The same with no more of the card than one of 8 GB has."""
    plain = stage(name, size.large, precision, way, size.window if name == "depthcrafter" else size.large_frames)
    return Part(f"budget/{plain.name}", plain.script, (*plain.arguments, "--budget-gib", str(BUDGET_GIB)), 20, 90)


# --- The machine ---------------------------------------------------------------------------------------------------

def probed(packages: Path | None) -> dict:
    """What this Python has: PyTorch, card, packages. Raises StereoDiffError "runtime_broken"."""
    command = [sys.executable, "-s", "-c", PROBE, *WORKER]
    ended = programs.ask(command, PROBE_TIMEOUT_S, environment=environment(packages))
    if ended.status != 0:
        raise StereoDiffError("runtime_broken", f"{sys.executable} {ended.last_words}.")
    return json.loads(ended.output.splitlines()[-1])


def environment(packages: Path | None) -> dict[str, str]:
    """packages: a folder of what was installed from wheels. It comes last: what the Python has of its own counts."""
    roots = [ROOT, HERE, ROOT / "tests" / "support", ROOT / "tests" / "tools"]
    return programs.python_environment(*roots, *([packages] if packages else [])) | {"PYTHONUNBUFFERED": "1"}


def driver() -> str | None:
    program = programs.find_program("nvidia-smi")
    if program is None:
        return None
    ended = programs.run([program, "--query-gpu=driver_version", "--format=csv,noheader"], 30)
    return ended.output.strip().partition("\n")[0] or None


def revision() -> str | None:
    """Of this checkout, "+" if it is not as committed; None where there is no git."""
    git = programs.find_program("git")
    if git is None or not (ROOT / ".git").exists():
        return None
    name = programs.run([git, "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"], 30)
    changed = programs.run([git, "-C", str(ROOT), "status", "--porcelain", "--untracked-files=no"], 30)
    return name.output.strip() + ("+" if changed.output.strip() else "") or None


def missing(found: dict) -> list[str]:
    """Names in the registry of what could not be imported."""
    return [PROVIDERS.get(name, name) for name in found["failed"]]


# --- Measuring -----------------------------------------------------------------------------------------------------

def measured(part: Part, options: argparse.Namespace, found: dict, packages: Path | None, left_s: float) -> dict:
    """The measurement, or why there is none: under "skipped", or under "error"."""
    lacking = [name for name in part.needs if name in found["failed"]]
    if lacking:
        return {"skipped": "not here: " + ", ".join(PROVIDERS.get(name, name) for name in lacking)}
    if part.group == "budget" and options.device == "cpu":
        return {"skipped": "a processor has no memory of its own that could be short"}
    if left_s < part.least_s:
        return {"skipped": f"{max(left_s, 0):.0f} s were left, and it needs {part.least_s:.0f} s"}
    with tempfile.TemporaryDirectory(prefix="stereodiff-cuda-", dir=options.scratch) as folder:
        file = Path(folder, "found.json")
        scratch = ["--scratch", folder] if part.group == "job" else []
        command = [sys.executable, "-s", str(HERE / part.script), str(file), *part.arguments, "--device",
                   options.device, *scratch, *(["--tiny"] if options.size == "tiny" else [])]
        most_s = part.most_s * (SLOWER if options.device == "cpu" else 1)
        ended = programs.run(command, min(most_s, left_s), environment=environment(packages))
        if ended.status == 0 and file.is_file():
            return json.loads(file.read_text(encoding="utf-8"))
    return {"error": ended.stopped or ended.last_words, "said": ended.errors[-2000:]}


def measure_all(chosen: list[Part], options: argparse.Namespace, found: dict, packages: Path | None,
                began: float) -> dict[str, dict]:
    """By the parts' names. What is there is told as it comes."""
    results = {}
    for part in chosen:
        start = time.monotonic()
        result = measured(part, options, found, packages, options.seconds - (start - began))
        results[part.name] = result | {"took_s": round(time.monotonic() - start, 1)}
        print(f"{time.monotonic() - began:5.0f} s  {part.name:44} {in_words(result)}", flush=True)
    return results


# --- What it comes to ----------------------------------------------------------------------------------------------

def seconds(results: dict[str, dict], *names: str) -> float | None:
    """The sum of what a frame takes; None if one of them was not measured."""
    each = [results.get(name, {}).get("seconds_a_frame") for name in names]
    return None if None in each else sum(each)


def times(slower: float | None, faster: float | None) -> float | None:
    return round(slower / faster, 2) if slower and faster else None


def summary(results: dict[str, dict], size: Size) -> dict:
    """By raster: both stages as they run here and as the originals run, and what each idea brings by itself."""
    found = {}
    for width, height in (size.large, size.small):
        at = f"{width}x{height}"
        ours = (f"monst3r/{at}/bf16/once", f"depthcrafter/{at}/fp16/one_step")
        original = (f"monst3r/{at}/fp32/per_pair", f"depthcrafter/{at}/fp16/five_steps")
        both = seconds(results, *ours)
        found[at] = {"both_stages_s_a_frame": both,
                     "as_the_originals_s_a_frame": seconds(results, *original),
                     "times_faster": times(seconds(results, *original), both),
                     "monst3r_times_faster": times(seconds(results, original[0]), seconds(results, ours[0])),
                     "encode_once_times": times(seconds(results, f"monst3r/{at}/bf16/per_pair"),
                                                seconds(results, ours[0])),
                     "one_step_times": times(seconds(results, original[1]), seconds(results, ours[1]))}
    large = found[f"{size.large[0]}x{size.large[1]}"]
    met = None
    if large["both_stages_s_a_frame"] is not None and large["times_faster"] is not None:
        met = large["both_stages_s_a_frame"] < TARGET_S and large["times_faster"] >= TARGET_TIMES
    return {**found, "target": {"s_a_frame": TARGET_S, "times": TARGET_TIMES, "met": met},
            "agrees": results.get("agreement", {}).get("agrees")}


def in_words(result: dict) -> str:
    for kind in ("skipped", "error"):
        if kind in result:
            return f"{kind}: {result[kind]}"
    if "agrees" in result:
        return "agrees" if result["agrees"] else "DOES NOT AGREE"
    peak = "" if result.get("peak_mb") is None else f", peak {result['peak_mb']:.0f} MB"
    return f"{result['seconds_a_frame']:.3f} s a frame{peak}"


def is_wrong(result: dict) -> bool:
    return "error" in result or result.get("agrees") is False


def main(options: argparse.Namespace) -> int:
    began = time.monotonic()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="stereodiff-packages-") as folder:
        packages, found = None, probed(None)
        if options.wheels and found["failed"]:
            there = {wheel_folder.normal(name) for name in found["packages"]}
            installed = wheel_folder.install_missing(options.wheels, Path(folder), sys.executable, there.__contains__)
            print(f"From {options.wheels}: {', '.join(installed) or 'nothing that is not here already'}", flush=True)
            packages, found = Path(folder), probed(Path(folder))
        refuse(found, options)
        size = SIZES[options.size]
        chosen = [part for part in parts_of(size) if not options.parts or part.group in options.parts]
        results = measure_all(chosen, options, found, packages, began)
    report = {"machine": {"system": platform.platform(), "cores": os.cpu_count(), "driver": driver(),
                          **{key: value for key, value in found.items() if key != "packages"}},
              "revision": revision(), "device": options.device, "size": options.size,
              "seconds": round(time.monotonic() - began, 1), "summary": summary(results, size), "parts": results}
    file = options.out / "bench_cuda.json"
    file.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report["summary"], indent=2) + f"\n\n{file}")
    return 1 if any(is_wrong(result) for result in results.values()) else 0


def refuse(found: dict, options: argparse.Namespace) -> None:
    """Say what is not here. Raises StereoDiffError "torch_missing" or "device_unavailable"."""
    if found["failed"]:
        print(f"Not here: {', '.join(missing(found))}. What needs them is skipped; --wheels takes them from a folder "
              "that --collect-wheels fills.", flush=True)
    if "torch" in found["failed"]:
        raise StereoDiffError("torch_missing", f"{sys.executable} has no PyTorch: {found['failed']['torch']}.")
    if options.device != "cpu" and "card" not in found:
        raise StereoDiffError("device_unavailable", f"PyTorch {found['torch']} of {sys.executable} sees no card.")


GROUPS = ("agreement", "monst3r", "depthcrafter", "budget", "job")


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N or cpu (cuda)")
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--parts", nargs="+", choices=GROUPS)
    parser.add_argument("--wheels", type=Path)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--scratch", type=Path, help="for 7 GB of weights meanwhile (the system's)")
    return parser.parse_args(words)


if __name__ == "__main__":
    try:
        sys.exit(main(arguments()))
    except StereoDiffError as error:
        sys.exit(f"bench_cuda: {error}")
