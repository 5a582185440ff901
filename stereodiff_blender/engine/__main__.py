"""The engine's command line: run a job folder, solve a clip by hand, or look at the installation.

    python -m stereodiff_blender.engine run JOB
    python -m stereodiff_blender.engine solve CLIP OUT [options]
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
from typing import TextIO

# The solver's matrices are small: on a busy machine OpenBLAS's threads wait for each other longer than they work (a
# camera solve of 4 s took 64 s). NumPy reads this when it is loaded, so it stands before the imports that load it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# The command line speaks to people just as the panels do, in the same words; nothing else here is Blender's side.
from ..messages import explain
from . import worker
from .contract import (
    DIFFUSION_PRESETS,
    NOISE_SCHEDULES,
    PAPER_NOISE_LEVEL,
    QUALITIES,
    REFINE_ENGINES,
    STAGE_LABELS,
    STEREO_ENGINES,
    DiffusionSettings,
    Event,
    Job,
    JobFolder,
    Matte,
    Quality,
    Result,
    Settings,
    StereoDiffError,
    as_matte_error,
    write_refusal,
)
from .frames import probe_clip, source_from_path
from .job_lock import locked

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
    doctor = commands.add_parser("doctor", help="show what is installed")
    doctor.set_defaults(command=_doctor)
    return parser


def _add_solve(solve: argparse.ArgumentParser) -> None:
    solve.add_argument("clips", nargs="+", metavar="CLIP", help="movie file, or any picture of an image sequence")
    solve.add_argument("out", type=Path, metavar="OUT", help="becomes the job folder; new, empty, or of an unfinished "
                       "solve with the same settings, which is then gone on with. Of several clips: the folder of "
                       "their job folders")
    solve.add_argument("--stereo", choices=STEREO_ENGINES, default="geometric", help="stage 1 (geometric)")
    solve.add_argument("--refine", choices=REFINE_ENGINES, default="guided", help="stage 2 (guided)")
    solve.add_argument("--quality", choices=QUALITIES, default="standard", help="preset (standard)")
    solve.add_argument("--frames", type=_frame_range, metavar="A-B", help="first and last frame; 1 is the clip's first")
    solve.add_argument("--max-side", type=int, default=0, metavar="N", help="longest working side in pixels")
    solve.add_argument("--focal-mm", type=float, metavar="F", help="known focal length; needs --sensor-mm")
    solve.add_argument("--sensor-mm", type=float, metavar="S", help="width of the sensor; needs --focal-mm")
    solve.add_argument("--matte", metavar="PATH", help="footage that shows white what moves by itself; its first "
                       "picture belongs to the clip's first")
    solve.add_argument("--invert-matte", action="store_true", help="black is what moves; needs --matte")
    solve.add_argument("--exposure-ev", type=float, default=0.0, metavar="EV", help="stops added to scene-linear EXR")
    solve.add_argument("--refine-cameras", action="store_true", help="adjust cameras to points tracked in the pictures")
    solve.add_argument("--diffusion", choices=DIFFUSION_PRESETS, default="standard", help="preset of DepthCrafter "
                       "(standard)")
    solve.add_argument("--schedule", choices=NOISE_SCHEDULES, default="karras", help="where DepthCrafter's step begins "
                       "(karras, as published)")
    solve.add_argument("--noise-level", type=float, default=PAPER_NOISE_LEVEL, metavar="S", help="of --schedule free: "
                       f"less keeps more of stage 1 ({PAPER_NOISE_LEVEL})")
    solve.add_argument("--ensemble", type=int, default=1, metavar="N", help="draws of noise that DepthCrafter "
                       "averages (1)")
    solve.add_argument("--keep-static", type=float, default=0.0, metavar="W", help="0 to 1: how far DepthCrafter "
                       "leaves still things as measured (0)")
    solve.add_argument("--compile", action="store_true", help="compile DepthCrafter's network first")
    solve.add_argument("--models", type=Path, metavar="DIR", help="where the weights of learned engines are: a folder "
                       "for each, such as DIR/monst3r")
    solve.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (auto)")
    solve.add_argument("--seed", type=int, default=0, help="of every random draw (0)")
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
    if len(options.clips) == 1:
        _solve_clip(options, options.clips[0], JobFolder(options.out.absolute()))
        return 0
    failed = []
    for clip, folder in zip(options.clips, _folders_of(options.clips, options.out.absolute()), strict=True):
        sys.stdout.write(f"{clip}\n")
        sys.stdout.flush()
        try:
            _solve_clip(options, clip, JobFolder(folder))
        except StereoDiffError as error:  # one clip's fault is not the next one's
            _tell_failure(error)
            failed.append(clip)
    if failed:
        sys.stderr.write(f"{len(failed)} of {len(options.clips)} clips failed: {', '.join(failed)}\n")
    return 1 if failed else 0


def _folders_of(clips: list[str], out: Path) -> list[Path]:
    """A folder for each clip, named after it; the same for the same list."""
    names: list[str] = []
    for clip in clips:
        stem = re.sub(r"[^\w.-]+", "_", Path(clip).stem).strip(".") or "clip"
        count = sum(name == stem or name.startswith(f"{stem}-") for name in names)
        names.append(f"{stem}-{count + 1}" if count else stem)
    return [out / name for name in names]


def _solve_clip(options: argparse.Namespace, clip: str, folder: JobFolder) -> None:
    job = _job_from(options, clip, folder.path.name)
    worker.examine(job)  # before an earlier result is cleared
    if _is_solved_already(folder, job, options.overwrite):
        sys.stdout.write("\n".join([f"{folder.path} holds this very solve already, finished: nothing to do.",
                                    *_where_lines(folder, folder.read_result())]) + "\n")
        return
    with open_log(folder) as log, _ProgressLine() as line:
        result = worker.run(folder.path, watch=line.show, log=log)
    sys.stdout.write("\n".join([*quality_lines(result), *_where_lines(folder, result)]) + "\n")


def open_log(folder: JobFolder) -> TextIO:
    """Raises StereoDiffError "output_not_writable" or "disk_full"."""
    try:
        return open(folder.log_file, "a", encoding="utf-8")
    except OSError as error:
        raise write_refusal(error, folder.path) from error


def _job_from(options: argparse.Namespace, clip_path: str, job_id: str) -> Job:
    clip = source_from_path(clip_path)
    settings = Settings(options.stereo, options.refine, options.quality, options.max_side, options.focal_mm,
                        options.sensor_mm, options.exposure_ev, options.device, options.seed, options.refine_cameras,
                        DiffusionSettings(options.diffusion, options.schedule, options.noise_level, options.ensemble,
                                          options.keep_static, options.compile))
    settings.validate()
    first, last = options.frames or (1, probe_clip(clip).frame_count)
    return Job(job_id, clip, first, last, settings, _matte_from(options),
               str(options.models.absolute()) if options.models else "")


def _matte_from(options: argparse.Namespace) -> Matte | None:
    if options.matte is None:
        if options.invert_matte:
            raise StereoDiffError("settings_invalid", "--invert-matte needs a --matte.")
        return None
    try:
        return Matte("pictures", source_from_path(options.matte), invert=options.invert_matte)
    except StereoDiffError as error:
        raise as_matte_error(error) from error


def _is_solved_already(folder: JobFolder, job: Job, overwrite: bool) -> bool:
    """Make the folder ready for this job; it may hold its beginning, or with overwrite, another job.

    Only what a job writes is ever cleared, and only in a folder that is a job's. What other settings have in common
    with these is used again. Raises StereoDiffError "output_in_use", "output_not_writable" or "disk_full".
    """
    path = folder.path
    try:
        if not path.exists() or not any(path.iterdir()):
            path.mkdir(parents=True, exist_ok=True)
            _write_job(folder, job)
            return False
    except OSError as error:
        raise write_refusal(error, path) from error
    if not folder.job_file.is_file():
        raise StereoDiffError("output_in_use", f"{path} is not a job folder, so it is not overwritten.")
    if not overwrite and _holds(folder, job):
        return folder.result_file.is_file()
    if not overwrite:
        raise StereoDiffError("output_in_use", f"{path} holds a solve of other settings or another clip; --overwrite "
                                               "replaces it.")
    with locked(folder.lock_file):
        worker.discard_products(folder)
        for file in (folder.events_file, folder.log_file, folder.cancelled_file, folder.matte_file, folder.job_file):
            file.unlink(missing_ok=True)
        _write_job(folder, job)
    return False


def _holds(folder: JobFolder, job: Job) -> bool:
    try:
        return folder.read_job() == job
    except StereoDiffError:
        return False


def _write_job(folder: JobFolder, job: Job) -> None:
    try:
        folder.write_job(job)
    except OSError as error:
        raise write_refusal(error, folder.path) from error


class _ProgressLine:
    """One line on standard error that says which stage is how far; on a terminal it is rewritten in place."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._is_open = False

    def __enter__(self) -> _ProgressLine:
        return self

    def __exit__(self, *_exception) -> None:
        if self._is_open:
            sys.stderr.write("\n")

    def show(self, event: Event) -> None:
        """A new line for a stage or a warning; progress only where a line can be rewritten."""
        if event.kind == "stage":
            self._start_line(STAGE_LABELS[event.stage])
        elif event.kind == "progress" and self._is_terminal:
            sys.stderr.write(f"\r{STAGE_LABELS[event.stage]:<24} {event.done} of {event.total}")
        elif event.kind in ("note", "warning"):
            self._start_line(f"Note: {event.message}")
        sys.stderr.flush()

    def _start_line(self, text: str) -> None:
        sys.stderr.write(("\n" if self._is_open else "") + text)
        self._is_open = True


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
