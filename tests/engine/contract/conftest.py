"""A folder of traps, which spring if anything of it runs, and standing in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from traps import Traps


@pytest.fixture
def traps(tmp_path) -> Traps:
    return Traps(tmp_path / "marks")


@pytest.fixture
def standing(traps, tmp_path, monkeypatch) -> Path:
    """We stand in a folder of traps, and the host's variables lead there, too."""
    folder = tmp_path / "footage"
    folder.mkdir()
    monkeypatch.chdir(traps.fill(folder))
    for name, value in traps.poison(folder).items():
        monkeypatch.setenv(name, value)
    return folder
