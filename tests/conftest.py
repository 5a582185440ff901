"""What every test may ask for, and which tests an environment can run.

tests/engine, tests/jobs and tests/fuzz need the worker's packages, tests/blender and tests/package need bpy; an
environment that has only one of the two collects only its own.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent

HAS_BLENDER = importlib.util.find_spec("bpy") is not None
HAS_WORKER = importlib.util.find_spec("cv2") is not None

collect_ignore = [
    *([] if HAS_BLENDER else ["blender", "package"]),
    *([] if HAS_WORKER else ["engine", "jobs", "fuzz", "tools"]),
]


def pytest_report_header() -> str:
    return "rooms here: " + ", ".join(
        name for name in ("engine", "jobs", "fuzz", "blender", "package") if name not in collect_ignore
    )


@pytest.fixture(scope="session", autouse=True)
def own_user_folder(tmp_path_factory) -> Iterator[None]:
    """What a solve keeps for this user, and what it finds there, is the tests' own, in all processes they start."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("XDG_DATA_HOME", "LOCALAPPDATA"):
            patch.setenv(name, str(tmp_path_factory.mktemp("user")))
        yield


@pytest.fixture(scope="session")
def repository() -> Path:
    return TESTS.parent


@pytest.fixture(scope="session")
def sample_folder() -> Path:
    """clip.mp4, 48 frames of 640x360, and truth.npz with what it was rendered from."""
    return TESTS / "data" / "sample"


@pytest.fixture(scope="session")
def worker_python() -> Path:
    """The interpreter that runs the engine: named by build.py, else that of the checkout's own environment."""
    named = os.environ.get("STEREODIFF_WORKER_PYTHON")
    folder = TESTS.parent / ".venv-worker"
    python = Path(named) if named else folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    assert python.exists(), f"there is no worker environment at {python}; `build.py test` makes it"
    return python
