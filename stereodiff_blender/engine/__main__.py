"""The engine's command line: run a job folder, solve a clip by hand, or look at the installation.

    python -m stereodiff_blender.engine run JOB
    python -m stereodiff_blender.engine solve CLIP OUT [options]
    python -m stereodiff_blender.engine weights list|get|verify|use|remove ...
    python -m stereodiff_blender.engine doctor [options]

Exit status: 0 done, 1 failed (the reason is on standard error), 2 wrong usage; the doctor's: 0 if the default engine
can run here, 1 if not (what it says is on standard output).
"""

from __future__ import annotations

import argparse
import json
import os
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
# What needs packages is imported where it is used: the doctor has to come where they are missing.
from ..messages import explain
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
from .health import text_lines
from .models.command import accept_or_refuse, add_weights, default_models_folder
from .models.licences import cards_of


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
    add_weights(commands.add_parser("weights", help="list, get, verify, use or remove the weights of learned engines"))
    _add_doctor(commands.add_parser("doctor", help="say what is installed, what is wrong, and what to do about it"))
    return parser


def _add_solve(solve: argparse.ArgumentParser) -> None:
    solve.add_argument("clip", metavar="CLIP", help="movie file, or any picture of an image sequence")
    solve.add_argument("out", type=Path, metavar="OUT", help="becomes the job folder; new or empty")
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
                       "for each, such as DIR/monst3r (where `weights get` puts them)")
    solve.add_argument("--accept-licence", action="store_true", help="the licence of the chosen engines' weights was "
                       "read and is accepted; `weights list` names it")
    solve.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (auto)")
    solve.add_argument("--seed", type=int, default=0, help="of every random draw (0)")
    solve.add_argument("--overwrite", action="store_true", help="clear OUT first if it is an earlier job folder")
    solve.set_defaults(command=_solve)


def _add_doctor(doctor: argparse.ArgumentParser) -> None:
    doctor.add_argument("--json", action="store_true", help="for programs")
    doctor.add_argument("--models", type=Path, metavar="DIR", help="where the weights of learned engines are (where "
                        "`weights get` puts them)")
    doctor.add_argument("--jobs", type=Path, metavar="DIR", help="look at this folder for results, too")
    doctor.set_defaults(command=_doctor)


def _frame_range(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)-(\d+)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not two frame numbers like 1-48")
    return int(match[1]), int(match[2])


# --- run -------------------------------------------------------------------------------------------------------

def _run(options: argparse.Namespace) -> int:
    from . import worker
    signal.signal(signal.SIGTERM, _leave)
    worker.run(options.job)
    return 0


def _leave(number: int, _frame) -> None:
    """A request to end unwinds the worker, which then clears up behind itself."""
    raise SystemExit(128 + number)


# --- solve -----------------------------------------------------------------------------------------------------

def _solve(options: argparse.Namespace) -> int:
    from . import worker
    signal.signal(signal.SIGTERM, _leave)
    folder = JobFolder(options.out.absolute())
    job = _job_from(options)
    accept_or_refuse(cards_of(job.settings), options.accept_licence)
    worker.examine(job)  # before an earlier result is cleared
    _prepare_output(folder, options.overwrite)
    _write_job(folder, job)
    with open(folder.log_file, "a", encoding="utf-8") as log, _ProgressLine() as line:
        result = worker.run(folder.path, watch=line.show, log=log)
    sys.stdout.write("\n".join([*quality_lines(result), *_where_lines(folder, result)]) + "\n")
    return 0


def _job_from(options: argparse.Namespace) -> Job:
    from .frames import probe_clip, source_from_path
    clip = source_from_path(options.clip)
    settings = Settings(options.stereo, options.refine, options.quality, options.max_side, options.focal_mm,
                        options.sensor_mm, options.exposure_ev, options.device, options.seed, options.refine_cameras,
                        DiffusionSettings(options.diffusion, options.schedule, options.noise_level, options.ensemble,
                                          options.keep_static, options.compile))
    settings.validate()
    first, last = options.frames or (1, probe_clip(clip).frame_count)
    return Job(options.out.absolute().name, clip, first, last, settings, _matte_from(options),
               str((options.models or default_models_folder()).absolute()))


def _matte_from(options: argparse.Namespace) -> Matte | None:
    from .frames import source_from_path
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
    from .worker import discard_products
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
    discard_products(folder)
    shutil.rmtree(folder.cache, ignore_errors=True)
    for file in (folder.events_file, folder.log_file, folder.cancelled_file, folder.matte_file, folder.job_file):
        file.unlink(missing_ok=True)


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

def _doctor(options: argparse.Namespace) -> int:
    """0 if the default engine can run here, 1 if not."""
    from .doctor import examine
    health = examine(options.jobs, options.models or default_models_folder())
    sys.stdout.reconfigure(errors="backslashreplace")  # a path may have letters that the terminal does not
    text = json.dumps(health.to_json(), indent=1) if options.json else "\n".join(text_lines(health))
    sys.stdout.write(text + "\n")
    return 0 if health.can_run else 1


if __name__ == "__main__":
    sys.exit(main())
