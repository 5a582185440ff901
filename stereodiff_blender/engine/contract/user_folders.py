"""Where a person's data lies, the same for Blender and the engine. Part of the contract, standard library only."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["user_folder"]


def user_folder() -> Path:
    """This person's data folder, the same for every Blender version; not created here.

    Returns
    -------
    Path
        StereoDiff in LOCALAPPDATA on Windows and in Library/Application Support on macOS, stereodiff in XDG_DATA_HOME
        or .local/share elsewhere.
    """
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "StereoDiff"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "StereoDiff"
    named = os.environ.get("XDG_DATA_HOME", "")
    return Path(named if os.path.isabs(named) else Path.home() / ".local" / "share") / "stereodiff"
