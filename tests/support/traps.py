"""A folder as a stranger may have left it: a module under every name that a program of ours imports, and a program
under every name that one starts. Whichever is run leaves a mark and does nothing else.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

PACKAGES = ("numpy", "cv2", "av", "imageio", "PIL", "OpenEXR", "matplotlib", "torch", "diffusers", "transformers",
            "safetensors", "huggingface_hub", "httpx", "filelock", "tqdm", "yaml", "requests", "certifi", "packaging",
            "pip", "setuptools", "pkg_resources", "wheel", "_distutils_hack", "distutils", "dateutil", "six", "cycler",
            "kiwisolver", "pyparsing", "contourpy", "sitecustomize", "usercustomize", "bpy", "build", "resolve")
TOO_EARLY = {"encodings"}
"""Python cannot even open a file where this is imported; a trap would only keep it from running."""
OURS = ("__init__.py", "engine/contract/messages.py", "runtime/environment.py", "engine/__init__.py",
        "engine/__main__.py",
        "engine/contract/programs.py",
        "engine/search_path.py", "engine/contract/__init__.py", "engine/doctor/__init__.py", "engine/doctor/probe.py")
PROGRAMS = ("uname", "fc-list", "ldconfig", "gcc", "cc", "nvidia-smi", "lsb_release", "file", "sh", "python", "python3")


class Traps:
    """Traps that all mark into one folder."""

    def __init__(self, marks: Path):
        self._marks = marks
        marks.mkdir()

    def fill(self, folder: Path) -> Path:
        """Lay one under every name into an existing folder. Returns it."""
        for name in {*sys.stdlib_module_names, *PACKAGES} - TOO_EARLY:
            (folder / f"{name}.py").write_text(self._python(name))
        for name in OURS:
            path = folder / "stereodiff_blender" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self._python(f"ours-{path.stem}"))
        for name in PROGRAMS if os.name != "nt" else ():
            (folder / name).write_text(f"#!/bin/sh\n: > '{self._marks / name}.program'\n")
            (folder / name).chmod(0o755)
        return folder

    def poison(self, folder: Path) -> dict[str, str]:
        """Variables of a host that lead to a folder of traps."""
        site = folder / "base" / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
        site.mkdir(parents=True)
        (site / "usercustomize.py").write_text(self._python("user-site"))
        (site / "user.pth").write_text(f"import sys; open({str(self._marks / 'user-pth')!r}, 'w').close()\n")
        return {"PYTHONPATH": f"{folder}{os.pathsep}", "PYTHONSTARTUP": str(folder / "json.py"),
                "PYTHONUSERBASE": str(folder / "base"), "PYTHONPYCACHEPREFIX": "cache", "PYTHONINSPECT": "1",
                "PYTHONWARNINGS": "ignore::cgitb.Trap", "PYTHONHOME": str(folder), "PYTHONPLATLIBDIR": ".",
                "PATH": os.pathsep.join((".", "", os.environ["PATH"])), "LD_LIBRARY_PATH": f"/nowhere{os.pathsep}"}

    def sprung(self) -> set[str]:
        """What was run."""
        return {path.name for path in self._marks.iterdir()}

    def reset(self) -> None:
        for path in self._marks.iterdir():
            path.unlink()

    def _python(self, name: str) -> str:
        return f"open({str(self._marks / name)!r}, 'w').close()\n"
