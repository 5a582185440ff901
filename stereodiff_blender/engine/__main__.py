"""The engine's command line: run a job folder, solve a clip by hand, measure, or look at the installation.

    python -m stereodiff_blender.engine run JOB
    python -m stereodiff_blender.engine solve CLIP [CLIP ...] OUT [options]
    python -m stereodiff_blender.engine evaluate --dataset NAME --root DIR [options]
    python -m stereodiff_blender.engine doctor

Exit status: 0 done, 1 failed (the reason is on standard error), 2 wrong usage.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import shutil
import signal
import sys
from pathlib import Path

# The solver's matrices are small: on a busy machine OpenBLAS's threads wait for each other longer than they work (a
# camera solve of 4 s took 64 s). NumPy reads this when it is loaded, so it stands before the imports that load it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# The command line speaks to people just as the panels do, in the same words; nothing else here is Blender's side.
from ..messages import explain
from . import worker
from .contract import StereoDiffError
from .evaluation.command import add_evaluate, evaluate
from .solve_command import add_solve, solve

PACKAGES = ("numpy", "cv2", "imageio", "av", "OpenEXR", "matplotlib", "PIL", "torch", "safetensors", "diffusers",
            "transformers")


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return options.command(options)
    except StereoDiffError as error:
        _tell_failure(error)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stereodiff_blender.engine", description="StereoDiff's engine.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="solve a job folder; what Blender starts")
    run.add_argument("job", type=Path, metavar="JOB", help="folder with a job.json")
    run.set_defaults(command=_run)
    add_solve(commands.add_parser("solve", help="solve clips into job folders"), _solve)
    add_evaluate(commands.add_parser("evaluate", help="solve clips whose truth is known, and score them"), _evaluate)
    doctor = commands.add_parser("doctor", help="show what is installed")
    doctor.set_defaults(command=_doctor)
    return parser


# --- run -------------------------------------------------------------------------------------------------------

def _run(options: argparse.Namespace) -> int:
    signal.signal(signal.SIGTERM, _leave)
    worker.run(options.job)
    return 0


def _leave(number: int, _frame) -> None:
    """A request to end unwinds the worker, which then clears up behind itself."""
    raise SystemExit(128 + number)


# --- solve -----------------------------------------------------------------------------------------------------

def _solve(options: argparse.Namespace) -> int:
    signal.signal(signal.SIGTERM, _leave)
    return solve(options, _tell_failure)


def _tell_failure(error: StereoDiffError) -> None:
    sys.stderr.write(f"error {error.code}: {explain(error.code).sentence} {error.message}\n"
                     f"remedy: {explain(error.code).remedy}\n")


# --- evaluate --------------------------------------------------------------------------------------------------

def _evaluate(options: argparse.Namespace) -> int:
    signal.signal(signal.SIGTERM, _leave)
    sys.stdout.write(evaluate(options) + "\n")
    return 0


# --- doctor ----------------------------------------------------------------------------------------------------

def _doctor(_options: argparse.Namespace) -> int:
    rows = [("Python", f"{platform.python_version()} at {sys.executable}"), ("System", platform.platform())]
    rows += [(name, _package_version(name)) for name in PACKAGES]
    rows += [("Device", _device()), ("Free disk here", f"{shutil.disk_usage(Path.cwd()).free / 1e9:.1f} GB")]
    sys.stdout.write("".join(f"{name:<16} {value}\n" for name, value in rows))
    return 0


def _package_version(name: str) -> str:
    try:
        return str(getattr(importlib.import_module(name), "__version__", "unknown version"))
    except ImportError as error:
        return f"not installed ({error})"


def _device() -> str:
    try:
        torch = importlib.import_module("torch")  # optional, so never an import of this module
    except ImportError:
        return "CPU"
    if torch.cuda.is_available():
        return f"CUDA: {torch.cuda.get_device_name()}"
    return "MPS" if torch.backends.mps.is_available() else "CPU"


if __name__ == "__main__":
    sys.exit(main())
