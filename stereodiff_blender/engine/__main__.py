"""The engine's command line: run a job folder, solve a clip by hand, measure, or look at the installation.

    python -m stereodiff_blender.engine run JOB
    python -m stereodiff_blender.engine solve CLIP OUT [options]
    python -m stereodiff_blender.engine evaluate --dataset NAME --root DIR [options]
    python -m stereodiff_blender.engine doctor

Exit status: 0 done, 1 failed (the reason is on standard error), 2 wrong usage.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import re
import shutil
import signal
import sys
from dataclasses import fields
from pathlib import Path

# The solver's matrices are small: on a busy machine OpenBLAS's threads wait for each other longer than they work (a
# camera solve of 4 s took 64 s). NumPy reads this when it is loaded, so it stands before the imports that load it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# The command line speaks to people just as the panels do, in the same words; nothing else here is Blender's side.
from ..messages import explain
from . import worker
from .contract import (
    Job,
    JobFolder,
    Matte,
    Quality,
    Result,
    StereoDiffError,
    as_matte_error,
    write_refusal,
)
from .evaluation.command import add_evaluate, evaluate
from .frames import probe_clip, source_from_path
from .progress_line import ProgressLine
from .solve_options import add_engine_options, engine_settings, models_folder

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
    _add_solve(commands.add_parser("solve", help="solve a clip into a new job folder"))
    add_evaluate(commands.add_parser("evaluate", help="solve clips whose truth is known, and score them"), _evaluate)
    doctor = commands.add_parser("doctor", help="show what is installed")
    doctor.set_defaults(command=_doctor)
    return parser


def _add_solve(solve: argparse.ArgumentParser) -> None:
    solve.add_argument("clip", metavar="CLIP", help="movie file, or any picture of an image sequence")
    solve.add_argument("out", type=Path, metavar="OUT", help="becomes the job folder; new or empty")
    add_engine_options(solve)
    solve.add_argument("--frames", type=_frame_range, metavar="A-B", help="first and last frame; 1 is the clip's first")
    solve.add_argument("--focal-mm", type=float, metavar="F", help="known focal length; needs --sensor-mm")
    solve.add_argument("--sensor-mm", type=float, metavar="S", help="width of the sensor; needs --focal-mm")
    solve.add_argument("--matte", metavar="PATH", help="footage that shows white what moves by itself; its first "
                       "picture belongs to the clip's first")
    solve.add_argument("--invert-matte", action="store_true", help="black is what moves; needs --matte")
    solve.add_argument("--exposure-ev", type=float, default=0.0, metavar="EV", help="stops added to scene-linear EXR")
    solve.add_argument("--overwrite", action="store_true", help="clear OUT first if it is an earlier job folder")
    solve.set_defaults(command=_solve)


def _frame_range(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)-(\d+)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not two frame numbers like 1-48")
    return int(match[1]), int(match[2])


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
    folder = JobFolder(options.out.absolute())
    job = _job_from(options)
    worker.examine(job)  # before an earlier result is cleared
    _prepare_output(folder, options.overwrite)
    _write_job(folder, job)
    with open(folder.log_file, "a", encoding="utf-8") as log, ProgressLine() as line:
        result = worker.run(folder.path, watch=line.show, log=log)
    sys.stdout.write("\n".join([*quality_lines(result), *_where_lines(folder, result)]) + "\n")
    return 0


def _job_from(options: argparse.Namespace) -> Job:
    clip = source_from_path(options.clip)
    settings = engine_settings(options, focal_mm=options.focal_mm, sensor_mm=options.sensor_mm,
                               exposure_ev=options.exposure_ev)
    first, last = options.frames or (1, probe_clip(clip).frame_count)
    return Job(options.out.absolute().name, clip, first, last, settings, _matte_from(options),
               models_folder(options))


def _matte_from(options: argparse.Namespace) -> Matte | None:
    if options.matte is None:
        if options.invert_matte:
            raise StereoDiffError("settings_invalid", "--invert-matte needs a --matte.")
        return None
    try:
        return Matte("pictures", source_from_path(options.matte), invert=options.invert_matte)
    except StereoDiffError as error:
        raise as_matte_error(error) from error


def _prepare_output(folder: JobFolder, overwrite: bool) -> None:
    """Only what a job writes is ever cleared, and only in a folder that is a job's."""
    path = folder.path
    try:
        if not path.exists() or not any(path.iterdir()):
            path.mkdir(parents=True, exist_ok=True)
            return
    except OSError as error:
        raise write_refusal(error, path) from error
    if not overwrite:
        raise StereoDiffError("output_in_use", f"{path} is not empty; --overwrite replaces an earlier result.")
    if not folder.job_file.is_file():
        raise StereoDiffError("output_in_use", f"{path} is not a job folder, so it is not overwritten.")
    worker.discard_products(folder)
    shutil.rmtree(folder.cache, ignore_errors=True)
    for file in (folder.events_file, folder.log_file, folder.cancelled_file, folder.matte_file, folder.job_file):
        file.unlink(missing_ok=True)


def _write_job(folder: JobFolder, job: Job) -> None:
    try:
        folder.write_job(job)
    except OSError as error:
        raise write_refusal(error, folder.path) from error


def quality_lines(result: Result) -> list[str]:
    """The trust report as a table for people; what does not apply to the shot is left out."""
    lines = [f"camera {result.camera_kind}, {len(result.frames)} frames of {result.width}x{result.height}"]
    for entry in fields(Quality):
        value = getattr(result.quality, entry.name)
        if value is not None and value != ():
            lines.append(f"  {entry.name:<22} {_short(value)}")
    lines += [f"  note: {warning.message}" for warning in result.warnings]
    seconds = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in result.timings_s.items())
    return [*lines, f"  seconds: {seconds}"]


def _short(value) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else f"{value:.4g}"


def _where_lines(folder: JobFolder, result: Result) -> list[str]:
    kept = (folder.result_file, folder.preview_image, folder.preview_movie, folder.points_file)
    paths = [str(path) for path in kept if path.is_file()]
    if result.frames[0].depth is not None:
        paths.append(str(folder.product_file("depth", result.frames[0].frame).parent))
    return paths


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
