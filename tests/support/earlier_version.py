"""What version e68d7d5 left behind, as it lies in tests/data: copied to where a test may write."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

DATA = Path(__file__).resolve().parents[1] / "data" / "made_by_e68d7d5"
WRITTEN_AT = "/srv/shots"
"""Where the files were when they were written, and what they name themselves by."""


@dataclass(frozen=True)
class Shots:
    """A folder with a .blend, its footage, and two jobs of it: of six frames, and of the first five, broken off."""

    folder: Path

    @property
    def blend(self) -> Path:
        return self.folder / "shot.blend"

    @property
    def footage(self) -> Path:
        return self.folder / "footage"

    @property
    def jobs(self) -> Path:
        return self.folder / "jobs"

    @property
    def finished(self) -> Path:
        return next(self.jobs.glob("*/result.json")).parent

    @property
    def interrupted(self) -> Path:
        return next(path for path in self.jobs.iterdir() if not (path / "result.json").exists())

    def now_at(self, path: str) -> Path:
        """Where something is that the files name."""
        return self.folder / Path(path).relative_to(WRITTEN_AT)


def copy_shots(folder: Path) -> Shots:
    """As another computer gets them: nothing is where the jobs say."""
    return Shots(Path(shutil.copytree(DATA / "shots", folder)))


def copy_shots_in_place(folder: Path) -> Shots:
    """As on the computer that made them: the jobs name the footage where it is."""
    shots = copy_shots(folder)
    for file in shots.jobs.glob("*/*.json"):
        file.write_bytes(file.read_bytes().replace(WRITTEN_AT.encode(), folder.as_posix().encode()))
    return shots
