"""The environments of a checkout, from requirement files: what build.py keeps for Blender and for the engine's tests.

An artist's environment comes from a lock instead: stereodiff_blender/runtime/install.py. It holds neither Blender nor
what tests need, and there are locks only for the Pythons that Blender has. Standard library only.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from stereodiff_blender.engine.contract import StereoDiffError, write_refusal
from stereodiff_blender.runtime.environment import MARKER, environment_python, fingerprint, is_complete
from stereodiff_blender.runtime.python_module import PLAINLY, run_module


def create(folder: str | os.PathLike, requirements: Path, *, base_python: str | os.PathLike,
           on_line: Callable[[str], None]) -> Path:
    """Make the environment, or complete or update it; nothing to do if it is complete. Returns its interpreter.

    requirements: pip requirements file; "-r other.txt" lines are followed. base_python: 3.11 or newer.
    on_line: gets every line that venv and pip print, as it comes; an exception from it ends the installation.
    A half-finished environment is made anew. A folder that holds anything else is refused.
    Raises StereoDiffError "output_in_use", "output_not_writable", "disk_full", "download_failed" or "runtime_broken".
    """
    folder, requirements = Path(folder).absolute(), Path(requirements).absolute()
    python = environment_python(folder)
    if is_complete(folder, requirements):
        return python
    expected = fingerprint(requirements)
    _make_room(folder)
    if not python.exists():
        run_module(base_python, "venv", [folder], on_line=on_line)
    run_module(python, "pip", ["install", *PLAINLY, "-r", requirements], on_line=on_line)
    (folder / MARKER).write_text(expected + "\n", encoding="ascii")
    return python


def _make_room(folder: Path) -> None:
    """Keep a finished environment, whose packages pip will update; clear a half-finished one."""
    marker = folder / MARKER
    try:
        if marker.exists():
            marker.unlink()
        elif (folder / "pyvenv.cfg").exists():
            shutil.rmtree(folder)
        elif folder.exists() and any(folder.iterdir()):
            raise StereoDiffError("output_in_use", f"{folder} holds other files.")
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_refusal(error, folder) from error
