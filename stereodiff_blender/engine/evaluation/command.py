"""The command "evaluate": every clip of a data set solved as a job, scored, and reported with the paper's rows."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from ..cli.options import add_engine_options, engine_settings, models_folder
from ..cli.progress import ProgressLine
from ..contract import StereoDiffError
from ..contract.strict_json import write_json_atomically
from ..parallel import Cores
from ..storage import make_folder, translated_errors, write_bytes
from .datasets import DATASETS, choose_clips
from .solving import EvaluationFolder, Request, evaluate_clip
from .tables import Report, as_data, as_markdown, engine_words

__all__ = ["add_evaluate", "evaluate"]

MIN_FRAMES = 2


def add_evaluate(parser: argparse.ArgumentParser, command: Callable[[argparse.Namespace], int]) -> None:
    """The options of "evaluate".

    Parameters
    ----------
    parser : argparse.ArgumentParser
        Is given the options.
    command : Callable
        What the parsed options are handed to; gives the exit status.
    """
    parser.add_argument("--dataset", choices=tuple(DATASETS), required=True, help="whose official layout ROOT has; "
                        "folder: frames/, depth/, motion/ and cameras of one's own")
    parser.add_argument("--root", type=Path, required=True, metavar="ROOT", help="where the data set was unpacked")
    parser.add_argument("--clips", nargs="+", default=[], metavar="CLIP", help="clips to evaluate, or all (those that "
                        "are usually evaluated)")
    parser.add_argument("--out", type=Path, metavar="OUT", help="folder for jobs and report; an interrupted evaluation "
                        "there goes on (evaluation_DATASET)")
    parser.add_argument("--frames", type=_frame_count, default=0, metavar="N", help="no more than the first N frames "
                        "of each clip (all)")
    parser.add_argument("--runs", type=_positive, default=1, metavar="N", help="solve everything N times with seeds "
                        "that count up, and report means (1; the paper has 10)")
    parser.add_argument("--farthest", type=float, default=None, metavar="D", help="do not score true depth from here "
                        "on (as published evaluations of the data set have it)")
    add_engine_options(parser)
    parser.set_defaults(command=command)


def _positive(text: str) -> int:
    return _whole_number(text, 1)


def _frame_count(text: str) -> int:
    return _whole_number(text, MIN_FRAMES)


def _whole_number(text: str, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} on")
    return int(text)


def evaluate(options: argparse.Namespace) -> str:
    """Solve, score and report.

    Every clip is opened before the first is solved.

    Parameters
    ----------
    options : argparse.Namespace
        Parsed, of add_evaluate.

    Returns
    -------
    str
        The report as Markdown, with where it was written.

    Raises
    ------
    StereoDiffError
        "settings_invalid", "dataset_missing", "dataset_invalid", "output_in_use", or what keeps every solve from
        working.
    """
    request, dataset = _request(options), DATASETS[options.dataset]
    names = choose_clips(dataset, options.root, options.clips)
    clips = [dataset.open_clip(options.root, name) for name in names]
    clips = [clip.first(options.frames) for clip in clips] if options.frames else clips
    folder = EvaluationFolder((options.out or Path(f"evaluation_{options.dataset}")).absolute())
    folder.begin(request)
    scores = []
    with ProgressLine() as line:
        for run in range(1, options.runs + 1):
            for place, clip in enumerate(clips, start=1):
                line.start(f"{clip.name}: clip {place} of {len(clips)}, run {run} of {options.runs}")
                scores.append(evaluate_clip(clip, run, request, folder, line, Cores.asked(options.cores)))
    return _write_report(Report(request, tuple(scores)), folder)


def _request(options: argparse.Namespace) -> Request:
    farthest = DATASETS[options.dataset].farthest if options.farthest is None else options.farthest
    if not farthest > 0:
        raise StereoDiffError("settings_invalid", f"--farthest has to be above 0, got {farthest}.")
    return Request(options.dataset, str(options.root.absolute()), options.frames, farthest, engine_settings(options),
                   models_folder(options))


def _write_report(report: Report, folder: EvaluationFolder) -> str:
    text = as_markdown(report)
    write_bytes(folder.report_text, text.encode("utf-8"))
    with translated_errors(folder.report_data):
        write_json_atomically(folder.report_data, as_data(report))
    plots = _write_plots(report, folder.plots)
    return "\n".join([text, str(folder.report_text), str(folder.report_data), *([str(folder.plots)] if plots else [])])


def _write_plots(report: Report, folder: Path) -> bool:
    """Whether there was anything to draw. Loaded only here, because drawing takes a second to load."""
    from .figures import write_bands_plot, write_clip_plot
    bands = report.bands()
    if bands is None:
        return False
    make_folder(folder)
    write_bands_plot(folder / "bands.png", bands, engine_words(report.request),
                     is_bonn=report.request.dataset == "bonn")
    for scores in report.scores:
        if scores.run == 1 and any(value is not None for value in scores.absrel_per_frame):
            write_clip_plot(folder / f"{scores.clip}.png", scores)
    return True
