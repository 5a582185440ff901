"""Where a job works, and what it finds there from earlier runs: a folder for its input and one for each stage.

The folders' names say what made them (provenance.py). So a run that was broken off is continued by the next, and a
stage that an earlier job beside this one has done already, with the very same input and settings, is taken over.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from . import provenance
from .contract import Job, JobFolder
from .frames import Raster
from .kept_stereo import files_of
from .scratch import DiskScratch

STEREO_DONE = "done"
"""A file in stage 1's folder: it holds the whole stage and is written no more."""


@dataclass(frozen=True)
class Workplace:
    """input_key: of the footage as it was when the run began. stereo, refine: of stages 1 and 2."""

    input_key: str
    input: DiskScratch
    stereo: DiskScratch
    refine: DiskScratch

    @classmethod
    def of(cls, job: Job, folder: JobFolder, raster: Raster) -> Workplace:
        """Clears away what other settings left, except a whole stage 1, and takes over one from beside if there is one.
        """
        of_input = provenance.input_key(job, folder, raster)
        of_stereo = provenance.stereo_key(job, of_input)
        names = {"input": f"input-{of_input}", "stereo": f"stereo-{of_stereo}",
                 "refine": f"refine-{provenance.refine_key(job, of_stereo)}"}
        _clear(folder.cache, set(names.values()))
        _take_over(folder, names["stereo"])
        first = DiskScratch(folder.cache / names["input"])
        rooms = {"input": first} | {part: first.beside(folder.cache / names[part]) for part in ("stereo", "refine")}
        for room in rooms.values():
            room.remove_temporary()
        return cls(of_input, **rooms)

    def finish(self) -> None:
        """The result is written. Only stage 1 is kept, for a job that differs in stage 2 alone."""
        self.stereo.keep_only(*files_of("settled"))
        (self.stereo.folder / STEREO_DONE).touch()
        for room in (self.input, self.refine):
            shutil.rmtree(room.folder, ignore_errors=True)


def _clear(cache: Path, wanted: set[str]) -> None:
    for path in cache.iterdir():
        if path.is_dir() and path.name not in wanted and not (path / STEREO_DONE).is_file():
            shutil.rmtree(path, ignore_errors=True)


def _take_over(folder: JobFolder, name: str) -> None:
    """Link, or else copy, the whole stage of this name from a job in the folder beside."""
    own = folder.cache / name
    if (own / STEREO_DONE).is_file():
        return
    for other in _jobs_beside(folder.path):
        if (other / "cache" / name / STEREO_DONE).is_file():
            shutil.rmtree(own, ignore_errors=True)
            if _linked(other / "cache" / name, own):
                return


def _jobs_beside(folder: Path) -> list[Path]:
    try:
        return [entry for entry in sorted(folder.parent.iterdir()) if entry != folder and entry.is_dir()]
    except OSError:
        return []


def _linked(source: Path, target: Path) -> bool:
    """Files there are never written again, so two folders may share them."""
    try:
        target.mkdir()
        for path in sorted(source.iterdir()):
            if path.name != STEREO_DONE:
                _link(path, target / path.name)
        (target / STEREO_DONE).touch()
    except OSError:
        shutil.rmtree(target, ignore_errors=True)
        return False
    return True


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
