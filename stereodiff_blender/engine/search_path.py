"""Where this Python imports from, without the folder where one stands. Imports nothing that is not loaded already.

`python -m` puts the current folder before Python's own library, and so does an empty place in PYTHONPATH. A folder of
footage may hold somebody's json.py, which the next import would run.
"""

from __future__ import annotations

import os
import sys

__all__ = ["leave_out_current_folder", "whole_paths"]


def leave_out_current_folder(root: str) -> None:
    """Import no longer from where one stands, unless that is root or belongs to this Python; nor start programs there.

    What Python itself has loaded before comes too late for this: -P is the whole of it.

    Parameters
    ----------
    root : str
        The folder that contains stereodiff_blender/.
    """
    os.environ["PATH"] = whole_paths(os.environ.get("PATH", ""))
    os.environ["NODEFAULTCURRENTDIRECTORYINEXEPATH"] = "1"  # Windows looks there first, unless told not to.
    try:
        here = os.path.realpath(os.getcwd())
    except FileNotFoundError:  # Deleted meanwhile: there is nothing to import.
        return
    ours = [os.path.realpath(folder) for folder in (root, sys.prefix, sys.base_prefix)]
    if here != ours[0] and not any(here.startswith(os.path.join(folder, "")) for folder in ours[1:]):
        sys.path[:] = [folder for folder in sys.path if os.path.realpath(folder or os.curdir) != here]


def whole_paths(folders: str) -> str:
    """A list of folders, as PATH is one, without those that are others wherever one stands, such as "." and "".

    Parameters
    ----------
    folders : str
        With os.pathsep between them; one may stand in double quotes.

    Returns
    -------
    str
        The rest in their order, with os.pathsep between them; "" if there is none.
    """
    return os.pathsep.join(folder for folder in folders.split(os.pathsep) if os.path.isabs(folder.strip('"')))
