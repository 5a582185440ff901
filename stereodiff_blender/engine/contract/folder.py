"""Names inside one job folder, and how its files are read and written."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from typing import BinaryIO

from .errors import StereoDiffError, UnsafeFileError, write_refusal
from .events import EVENT_KINDS, MOST_WARNINGS, Event
from .guarded_files import TEMPORARY, GuardedFile, GuardedFolder
from .job import SCHEMA_VERSION, Job
from .job_files import event_lines
from .job_files.large_json import read_json
from .job_files.turns import taking_turns
from .result import Result
from .strict_json import as_json, from_dict, to_dict

MOST_CANDIDATES = 100
"""Lines looked at for the start of a job; others may hold the word."""
MAX_JOB_BYTES, MAX_RESULT_BYTES = 1_000_000, 64_000_000
"""What a job.json or result.json may have; the largest is that of eighty thousand frames."""


class JobFolder:
    """Names inside one job folder, and how its files are read and written.

    files: the way to everything in it. The paths are for words, for comparing, and for what only reads.
    """

    OWN_NAMES = frozenset({
        "job.json", "matte.json", "cameras.json", "events.jsonl", "worker.log", "cancelled", "lock", "heartbeat",
        "cache", "cache.json", "result.json", "points.ply", "preview.png", "preview.mp4", "depth_so_far.png",
        "flicker.png", "camera.png", "depth", "confidence", "motion_mask", "plate_depth", "edge", "mesh_depth", "lens",
    })
    """What a job makes in its folder, besides temporary files."""
    ONLY_READ = frozenset({"job.json", "matte.json", "cameras.json", "cache", "cache.json", "result.json"})
    """Of these, what is never written in its place, so that it may have further names (hard links)."""

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        self.files = GuardedFolder(self.path)
        self.job_file = self.path / "job.json"
        self.matte_file = self.path / "matte.json"
        self.cameras_file = self.path / "cameras.json"
        self.events_file = self.path / "events.jsonl"
        self.log_file = self.path / "worker.log"
        self.cancelled_file = self.path / "cancelled"
        self.lock_file = self.path / "lock"
        self.heartbeat_file = self.path / "heartbeat"
        self.cache = self.path / "cache"
        self.result_file = self.path / "result.json"
        self.points_file = self.path / "points.ply"
        self.preview_image = self.path / "preview.png"
        self.preview_movie = self.path / "preview.mp4"
        self.picture_so_far = self.path / "depth_so_far.png"  # while a worker is at work, alone
        self.plot_file = self.path / "flicker.png"
        self.camera_plot_file = self.path / "camera.png"
        self.undistort_file = self.path / "lens" / "undistort.exr"
        self.redistort_file = self.path / "lens" / "redistort.exr"

    def product_file(self, product: str, number: int) -> Path:
        """product: "depth", "confidence", "motion_mask", "plate_depth", "edge" or "mesh_depth". number: one of
        Job.file_numbers; four digits or more."""
        return self.path / product / f"{number:04d}.exr"

    def frame_map_file(self, kind: str, number: int) -> Path:
        """kind: "undistort" or "redistort". number: as of product_file."""
        return self.path / "lens" / kind / f"{number:04d}.exr"

    def relative(self, path: Path) -> str:
        return path.relative_to(self.path).as_posix()

    def file(self, path: Path) -> GuardedFile:
        """One of the paths above as a file to write, which leads nowhere else."""
        return GuardedFile(self.files, self.relative(path))

    def refuse_unsafe(self) -> None:
        """Raises StereoDiffError "job_folder_unsafe" if a link or a special file stands where a job's own belongs."""
        try:
            for name in sorted(self.OWN_NAMES):
                for own in (name, name + TEMPORARY):
                    self.files.refuse_unsafe(own, may_be_shared=name in self.ONLY_READ)
        except OSError as error:
            raise write_refusal(error, self.path) from error

    def read_job(self) -> Job:
        """Raises StereoDiffError "job_missing" or "job_invalid"."""
        job = self._read(Job, self.job_file.name, MAX_JOB_BYTES, missing="job_missing", invalid="job_invalid")
        job.validate()
        return job

    def write_job(self, job: Job) -> None:
        data = to_dict(job)
        if not job.cameras:
            del data["cameras"]  # so that earlier versions read it, too
        self.files.replace(self.job_file.name, as_json(data))

    def read_result(self) -> Result:
        """The result, validated against this folder. Raises StereoDiffError "result_invalid" or "job_..."."""
        result = self._read(Result, self.result_file.name, MAX_RESULT_BYTES, missing="result_invalid",
                            invalid="result_invalid")
        result.validate(self.path)
        return result

    def write_result(self, result: Result) -> None:
        """Validate, then publish; a job whose result does not validate has no result."""
        result.validate(self.path)
        data = to_dict(result)
        if result.stereo_from is None:
            del data["stereo_from"]  # so that earlier versions read it, too
        if result.placement is None:
            del data["placement"]
        if result.plate_size is None:
            del data["plate_size"]
        if not result.quality.guessed:
            del data["quality"]["guessed"]
        for frame in data["frames"]:
            for product in ("plate_depth", "edge", "mesh_depth", "undistort", "redistort"):
                if frame[product] is None:
                    del frame[product]
        self.files.replace(self.result_file.name, as_json(data))

    def _read(self, cls, name: str, max_bytes: int, *, missing: str, invalid: str):
        try:
            data = read_json(self.files.read_text(name, max_bytes))
            if isinstance(data, dict) and data.get("schema_version") != SCHEMA_VERSION:
                raise StereoDiffError(invalid, f"{name} has schema {data.get('schema_version')}, this version reads "
                                               f"{SCHEMA_VERSION}.")
            return from_dict(cls, data)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise StereoDiffError(missing, f"{self.path / name} does not exist.") from error
        except (OSError, ValueError, RecursionError) as error:
            raise StereoDiffError(invalid, f"{name} cannot be used: {_reason(error)}") from error

    def append_event(self, event: Event) -> None:
        line = json.dumps({k: v for k, v in to_dict(event).items() if v is not None}, allow_nan=False)
        with self.files.open_for_writing(self.events_file.name, "append") as stream:
            # A run that was killed may have left half a line, which must not swallow this one.
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - 1))
            begin = b"" if stream.read() in (b"", b"\n") else b"\n"
            stream.write(begin + line.encode() + b"\n")

    def read_events(self, offset: int = 0) -> tuple[list[Event], int]:
        """Events from byte offset on, and the offset to go on from; a half-written last line waits.

        At most event_lines.MAX_BYTES are read. A line that is no event (a crash can leave one), or is too long for
        one, is passed over.
        """
        try:
            with self.files.open_for_reading(self.events_file.name) as stream:
                lines, end = event_lines.whole_lines(stream, offset)
        except FileNotFoundError:
            return [], offset
        return _events(lines), end

    def read_news(self, offset: int) -> tuple[list[Event], int]:
        """As read_events, but always up to the end of the file, which may be shorter now than it was.

        Where too much is new to be read, it is the last start, the last warnings, and what was said last.
        """
        try:
            with self.files.open_for_reading(self.events_file.name) as stream:
                size = event_lines.size_of(stream)
                offset = offset if offset <= size else 0
                if size - offset <= event_lines.MAX_BYTES:
                    lines, end = event_lines.whole_lines(stream, offset)
                    return _events(lines), end
                started, offset = _last_start(stream, offset)
                warnings = itertools.islice(event_lines.lines_with(b'"warning"', stream, offset), MOST_WARNINGS)
                lines, end = event_lines.last_lines(stream, offset)
                return started + _events([line for line, _ in warnings][::-1]) + _events(lines), end
        except FileNotFoundError:
            return [], 0


def _last_start(stream: BinaryIO, offset: int) -> tuple[list[Event], int]:
    """The last "started" after byte offset, if there is one, and the offset behind it."""
    candidates = event_lines.lines_with(b'"started"', stream, offset)
    for line, behind in itertools.islice(candidates, MOST_CANDIDATES):
        event = _parse_event(line)
        if event is not None and event.kind == "started":
            return [event], behind
    return [], offset


def _events(lines: list[bytes]) -> list[Event]:
    return [event for line in taking_turns(lines) if (event := _parse_event(line)) is not None]


def _parse_event(line: bytes) -> Event | None:
    try:
        event = from_dict(Event, json.loads(line))
    except (ValueError, RecursionError):
        return None
    return event if event.kind in EVENT_KINDS else None


def _reason(error: Exception) -> str:
    return f"it {error.strerror}" if isinstance(error, UnsafeFileError) else str(error)
