"""All measurements one after the other, each in its own environment, in one file: build.py bench runs this.

python bench_suite.py OUT --worker PYTHON --blender PYTHON --clip FILE [--parts ...] [--quick] [--against FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import bench_compare

HERE = Path(__file__).resolve().parent
PARTS = ("solve", "scaling", "registration", "import", "ticks", "monst3r", "depthcrafter")
SCALING, QUICK_SCALING = (24, 48, 120, 240, 480), (24, 48)


def command_of(part: str, options: argparse.Namespace, out: Path) -> tuple[list, Path]:
    """The command line of a part, and the JSON file that it leaves."""
    worker, quick = options.worker, options.quick
    if part == "solve":
        return [worker, HERE / "bench.py", options.clip, out], out / "bench.json"
    if part == "scaling":
        lengths = QUICK_SCALING if quick else SCALING
        return [worker, HERE / "bench.py", options.clip, out, "--lengths", *lengths], out / "bench.json"
    if part == "registration":
        frames = ["--frames", 50, 100] if quick else []
        return [worker, HERE / "bench_registration.py", out / "registration.json", *frames], out / "registration.json"
    if part == "import":
        frames = ["--frames", 60, "--shown", 8] if quick else []
        return [options.blender, HERE / "bench_import.py", out, *frames], out / "bench_import.json"
    if part == "ticks":
        jobs = ["--old", 40, "--queued", 10, "--frames", 500] if quick else []
        return [options.blender, HERE / "bench_ticks.py", out, *jobs], out / "bench_ticks.json"
    network = [worker, HERE / f"bench_{part}.py", "--device", options.device, "--out", out / f"{part}.json"]
    return network + ([] if quick else ["--run"]), out / f"{part}.json"


def measure(options: argparse.Namespace) -> dict:
    """Raises CalledProcessError if a part fails; it has said why on its own."""
    found = {}
    for part in options.parts:
        out = options.out / part
        out.mkdir(parents=True, exist_ok=True)
        command, file = command_of(part, options, out)
        print(f"\n=== {part}", flush=True)
        subprocess.run([str(word) for word in command], check=True)
        found[part] = json.loads(file.read_text(encoding="utf-8"))
    return {"machine": {"system": platform.platform(), "cores": os.cpu_count()}, "quick": options.quick, "parts": found}


def main(options: argparse.Namespace) -> int:
    file = options.out / "bench.json"
    try:
        found = measure(options)
    except subprocess.CalledProcessError as error:
        return error.returncode
    file.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(f"\n{file}")
    return bench_compare.main(options.against, file) if options.against else 0


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--worker", type=Path, required=True)
    parser.add_argument("--blender", type=Path, required=True)
    parser.add_argument("--clip", type=Path, required=True)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--against", type=Path)
    parser.add_argument("--device", default="cpu")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main(arguments()))
