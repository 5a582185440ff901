"""The folder of an evaluation, and its clips solved one by one as jobs, so that an interrupted one goes on.

    OUT/evaluation.json             what was asked; another question needs another OUT
    OUT/jobs/run_1/<clip>/          job folders as every solve leaves them
    OUT/scores/run_1/<clip>.json    figures of what is finished
    OUT/report.md, report.json, plots/
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path

import cv2

from ..cli.progress import ProgressLine
from ..contract import (
    ENGINE_VERSION,
    ClipSource,
    Job,
    JobFolder,
    Result,
    Settings,
    StereoDiffError,
)
from ..contract.job_files.caches import remove_cache
from ..contract.strict_json import from_dict, to_dict, write_json_atomically
from ..parallel import ONE_CORE, Cores
from ..storage import DiskScratch, Scratch, make_folder, translated_errors, write_bytes
from ..worker import run as worker
from .clip_scores import ClipScores, read_solved, score_clip
from .datasets import TruthClip

SCHEMA_VERSION = 1

# What says something about one shot or its files: noted, and the next clip is tried. Anything else ends the evaluation.
_OF_THE_SHOT = frozenset({"camera_unsolved", "cut_in_range", "pointmaps_unsure", "network_not_finite",
                          "dataset_missing", "dataset_invalid", "sequence_gap", "picture_too_large", "out_of_memory",
                          "internal_error"})


@dataclass(frozen=True)
class Request:
    """What an evaluation was asked. root: absolute. frames: of each clip at most; 0 = all. settings: of its first run,
    whose seed each further run counts up."""

    dataset: str
    root: str
    frames: int
    farthest: float
    settings: Settings
    models_folder: str
    engine_version: str = ENGINE_VERSION
    schema_version: int = SCHEMA_VERSION


class EvaluationFolder:
    """Names inside OUT."""

    def __init__(self, path: Path):
        self.path = path
        self.request_file = path / "evaluation.json"
        self.report_text, self.report_data, self.plots = path / "report.md", path / "report.json", path / "plots"
        self.scratch = path / "scratch"

    def job(self, clip: str, run: int) -> JobFolder:
        return JobFolder(self.path / "jobs" / f"run_{run}" / clip)

    def scores_file(self, clip: str, run: int) -> Path:
        return self.path / "scores" / f"run_{run}" / f"{clip}.json"

    def footage(self, clip: str) -> Path:
        return self.path / "footage" / clip

    def discard_footage(self) -> None:
        shutil.rmtree(self.path / "footage", ignore_errors=True)

    def begin(self, request: Request) -> None:
        """Take the folder for this request, or go on with it.

        Raises StereoDiffError "output_in_use" if it holds something else or was asked something else.
        """
        if self.request_file.is_file():
            self._refuse_another(request)
            return
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise StereoDiffError("output_in_use", f"{self.path} is not empty and holds no evaluation.")
        make_folder(self.path)
        with translated_errors(self.request_file):
            write_json_atomically(self.request_file, to_dict(request))

    def _refuse_another(self, request: Request) -> None:
        try:
            earlier = from_dict(Request, json.loads(self.request_file.read_text(encoding="utf-8")))
        except (OSError, ValueError, RecursionError) as error:
            raise StereoDiffError("output_in_use", f"{self.request_file} cannot be read: {error}.") from error
        changed = [f"{field.name} was {getattr(earlier, field.name)!r}" for field in fields(Request)
                   if getattr(earlier, field.name) != getattr(request, field.name)]
        if changed:
            raise StereoDiffError("output_in_use", f"{self.path} holds an evaluation of something else: "
                                                   f"{'; '.join(changed)}.")


def evaluate_clip(clip: TruthClip, run: int, request: Request, folder: EvaluationFolder, line: ProgressLine,
                  cores: Cores = ONE_CORE) -> ClipScores:
    """The stored figures, or those of a new solve, on so many cores, or of one that was finished before.

    A fault of this shot comes back as ClipScores.failure, and is tried again the next time. Raises StereoDiffError for
    what would stop every other clip as well.
    """
    stored = _stored_scores(folder.scores_file(clip.name, run))
    if stored is not None:
        return stored
    try:
        result = _finished(clip, run, request, folder) or _solved(clip, run, request, folder, line, cores)
        scores = _scored(clip, run, result, request, folder, line)
    except StereoDiffError as error:
        if error.code not in _OF_THE_SHOT and not error.code.startswith("clip_"):
            raise
        line.start(f"Note: {clip.name} failed: {error.message}")
        return ClipScores(clip.name, run, clip.frame_count, failure=error.code)
    file = folder.scores_file(clip.name, run)
    make_folder(file.parent)
    with translated_errors(file):
        write_json_atomically(file, to_dict(scores))
    return scores


def _stored_scores(file: Path) -> ClipScores | None:
    """None also for a file that an interruption or another version left unreadable."""
    try:
        return from_dict(ClipScores, json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError):
        return None


# --- Solving ---------------------------------------------------------------------------------------------------

def _job(clip: TruthClip, run: int, request: Request, folder: EvaluationFolder) -> Job:
    settings = replace(request.settings, seed=request.settings.seed + run - 1)
    source = ClipSource("sequence", str(_picture(folder.footage(clip.name), 0)), first_number=1)
    return Job(folder.job(clip.name, run).path.name, source, 1, clip.frame_count, settings,
               models_folder=request.models_folder)


def _finished(clip: TruthClip, run: int, request: Request, folder: EvaluationFolder) -> Result | None:
    job_folder = folder.job(clip.name, run)
    try:
        return job_folder.read_result() if job_folder.read_job() == _job(clip, run, request, folder) else None
    except StereoDiffError:
        return None


def _solved(clip: TruthClip, run: int, request: Request, folder: EvaluationFolder, line: ProgressLine,
            cores: Cores) -> Result:
    """From the beginning: what an interrupted solve left behind is cleared first."""
    job_folder, job = folder.job(clip.name, run), _job(clip, run, request, folder)
    _clear(job_folder)
    folder.discard_footage()
    try:
        _write_footage(clip, folder.footage(clip.name))
        worker.examine(job)
        make_folder(job_folder.path)
        with translated_errors(job_folder.path):
            job_folder.write_job(job)
        with job_folder.files.open_for_writing(job_folder.log_file.name, "append") as stream, \
                io.TextIOWrapper(stream, encoding="utf-8") as log:
            return worker.run(job_folder.path, cores=cores, watch=line.show, log=log)
    finally:
        folder.discard_footage()
        with suppress(StereoDiffError):
            remove_cache(job_folder)  # the next run has other footage files, so it is of no use


def _clear(job_folder: JobFolder) -> None:
    with translated_errors(job_folder.path):
        worker.discard_products(job_folder)
        for file in (job_folder.events_file, job_folder.log_file, job_folder.job_file):
            job_folder.files.unlink(file.name)
    remove_cache(job_folder)


def _picture(footage: Path, index: int) -> Path:
    return footage / f"{index + 1:05d}.png"


def _write_footage(clip: TruthClip, footage: Path) -> None:
    """The clip's frames as a sequence that a job can name: data sets number theirs by time, or cut them."""
    make_folder(footage)
    for index in range(clip.frame_count):
        done, data = cv2.imencode(".png", clip.frame(index)[..., ::-1], (cv2.IMWRITE_PNG_COMPRESSION, 1))
        if not done:
            raise ValueError(f"frame {index} of {clip.name} cannot be written as PNG")
        write_bytes(_picture(footage, index), data.tobytes())


# --- Scoring ---------------------------------------------------------------------------------------------------

def _scored(clip: TruthClip, run: int, result: Result, request: Request, folder: EvaluationFolder,
            line: ProgressLine) -> ClipScores:
    line.start(f"Scoring {clip.name}")
    with _scratch(folder.scratch) as scratch:
        solved = read_solved(folder.job(clip.name, run), result, scratch)
        return score_clip(clip, solved, run=run, farthest=request.farthest, scratch=scratch,
                          tick=lambda done, total: line.advance(f"Scoring {clip.name}", done, total),
                          seconds=round(sum(result.timings_s.values()), 3))


@contextmanager
def _scratch(path: Path) -> Iterator[Scratch]:
    shutil.rmtree(path, ignore_errors=True)
    scratch = DiskScratch(path)
    try:
        with scratch.relieved():
            yield scratch
    finally:
        shutil.rmtree(path, ignore_errors=True)
