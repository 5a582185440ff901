"""The engine's command line: run a job folder, solve clips by hand, measure, or look at the installation.

    python -P -m stereodiff_blender.engine run JOB
    python -P -m stereodiff_blender.engine solve CLIP [CLIP ...] OUT [options]
    python -P -m stereodiff_blender.engine evaluate --dataset NAME --root DIR [options]
    python -P -m stereodiff_blender.engine weights list|get|verify|use|remove ...
    python -P -m stereodiff_blender.engine doctor [options]

-P keeps Python from importing from where one stands, which may be a folder of somebody else's footage.
Exit status: 0 done, 1 failed (the reason is on standard error), 2 wrong usage; the doctor's: 0 if the default engine
can run here, 1 if not (what it says is on standard output).
"""

from __future__ import annotations

import os

from .search_path import leave_out_current_folder

if __name__ == "__main__":  # For whoever forgot -P. Before the imports that it is about.
    leave_out_current_folder(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

import argparse
import json
import signal
import sys
import tempfile
from pathlib import Path

# The solver's matrices are small: on a busy machine OpenBLAS's threads wait for each other longer than they work (a
# camera solve of 4 s took 64 s). NumPy reads this when it is loaded, so it stands before the imports that load it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# The command line speaks to people just as the panels do, in the same words; nothing else here is Blender's side.
# What needs packages is imported where it is used: the doctor has to come where they are missing.
from .cli.options import add_cores, add_solve
from .contract.failures import error_from_exception
from .contract.health import text_lines
from .contract.messages import explain
from .contract.redaction import traceback_text
from .weights.command import add_weights, default_models_folder


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser(arguments).parse_args(arguments)
    try:
        return options.command(options)
    except Exception as error:  # noqa: BLE001 - whatever it was, who reads the terminal is told what to do now.
        tell_failure(error)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _parser(arguments: list[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -P -m stereodiff_blender.engine", description="StereoDiff's engine.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="solve a job folder; what Blender starts")
    run.add_argument("job", type=Path, metavar="JOB", help="folder with a job.json")
    add_cores(run)
    run.add_argument("--background", action="store_true", help="let other programs go first, so that Blender stays "
                     "smooth")
    run.set_defaults(command=_run)
    add_solve(commands.add_parser("solve", help="solve clips into job folders"), _solve)
    evaluate = commands.add_parser("evaluate", help="solve clips whose truth is known, and score them")
    if arguments[:1] == ["evaluate"]:  # what it can read is said by modules that need packages
        from .evaluation.command import add_evaluate
        add_evaluate(evaluate, _evaluate)
    add_weights(commands.add_parser("weights", help="list, get, verify, use or remove the weights of learned engines"))
    _add_doctor(commands.add_parser("doctor", help="say what is installed, what is wrong, and what to do about it"))
    return parser


def _add_doctor(doctor: argparse.ArgumentParser) -> None:
    doctor.add_argument("--json", action="store_true", help="for programs")
    doctor.add_argument("--models", type=Path, metavar="DIR", help="where the weights of learned engines are (where "
                        "`weights get` puts them)")
    doctor.add_argument("--jobs", type=Path, metavar="DIR", help="look at this folder for results, too")
    doctor.set_defaults(command=_doctor)


# --- run -------------------------------------------------------------------------------------------------------

def _run(options: argparse.Namespace) -> int:
    from .parallel import Cores, step_back
    from .worker import run as worker
    signal.signal(signal.SIGTERM, _leave)
    if options.background:
        step_back()
    worker.run(options.job, cores=Cores.asked(options.cores))
    return 0


def _leave(number: int, _frame) -> None:
    """A request to end unwinds the worker, which then clears up behind itself."""
    raise SystemExit(128 + number)


# --- solve -----------------------------------------------------------------------------------------------------

def _solve(options: argparse.Namespace) -> int:
    from .cli.solve import solve
    signal.signal(signal.SIGTERM, _leave)
    return solve(options, tell_failure)


def tell_failure(error: Exception) -> None:
    """To a person, on standard error: a code, what happened and what to do. Never a traceback."""
    known = error_from_exception(error)
    place = _keep_traceback(error) if known.code == "internal_error" and known is not error else ""
    sys.stderr.write(f"error {known.code}: {explain(known.code).sentence} {known.message}{place}\n"
                     f"remedy: {explain(known.code).remedy}\n")


def _keep_traceback(error: Exception) -> str:
    """Into a file, for those who look into a fault that nobody foresaw. Returns where it is, in words."""
    try:
        with tempfile.NamedTemporaryFile("w", prefix="stereodiff-", suffix=".log", delete=False,
                                         encoding="utf-8", errors="backslashreplace") as log:
            log.write(traceback_text(error))
    except OSError:
        return ""
    return f" The log is {log.name}."


# --- evaluate --------------------------------------------------------------------------------------------------

def _evaluate(options: argparse.Namespace) -> int:
    from .evaluation.command import evaluate
    signal.signal(signal.SIGTERM, _leave)
    sys.stdout.write(evaluate(options) + "\n")
    return 0


# --- doctor ----------------------------------------------------------------------------------------------------

def _doctor(options: argparse.Namespace) -> int:
    """0 if the default engine can run here, 1 if not."""
    from .doctor import examine
    signal.signal(signal.SIGTERM, _leave)
    health = examine(options.jobs, options.models or default_models_folder())
    sys.stdout.reconfigure(errors="backslashreplace")  # a path may have letters that the terminal does not
    text = json.dumps(health.to_json(), indent=1) if options.json else "\n".join(text_lines(health))
    sys.stdout.write(text + "\n")
    return 0 if health.can_run else 1


if __name__ == "__main__":
    sys.exit(main())
