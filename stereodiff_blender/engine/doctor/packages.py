"""The packages of the worker's environment: there, of the version this engine was made with, and loadable."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from ..contract.health import FAULT, NOTE, OK, Finding
from .probing import EXTENSION_ROOT, Answer

REQUIREMENTS_FOLDER = EXTENSION_ROOT / "vendor" / "runtime"
_PIN = re.compile(r"^\s*([A-Za-z0-9][\w.-]*)\s*==\s*([^\s;\\#]+)")
REINSTALL = "Install or repair the engine in the extension's preferences."
INSTALL_ALL = "Click Install Engine for Learned Engines in the extension's preferences, if you want them."


@dataclass(frozen=True)
class Package:
    """label: its name for people. module: its name in Python. distributions: names it may be installed by.

    purpose: of an optional one, what cannot be done without it; "" for one that the default engine needs.
    """

    label: str
    module: str
    distributions: tuple[str, ...]
    purpose: str = ""

    @property
    def is_vital(self) -> bool:
        return not self.purpose


PACKAGES = (
    Package("NumPy", "numpy", ("numpy",)),
    Package("OpenCV", "cv2", ("opencv-python-headless", "opencv-python", "opencv-contrib-python-headless",
                              "opencv-contrib-python")),
    Package("imageio", "imageio", ("imageio",)),
    Package("PyAV", "av", ("av",)),
    Package("OpenEXR", "OpenEXR", ("OpenEXR",)),
    Package("OpenImageIO", "OpenImageIO", ("openimageio",)),
    Package("OpenColorIO", "PyOpenColorIO", ("opencolorio",)),
    Package("Matplotlib", "matplotlib", ("matplotlib",)),
    Package("Pillow", "PIL", ("pillow",)),
    Package("PyTorch", "torch", ("torch",), "MonST3R and DepthCrafter"),
    Package("safetensors", "safetensors", ("safetensors",), "MonST3R and DepthCrafter"),
    Package("diffusers", "diffusers", ("diffusers",), "DepthCrafter"),
    Package("transformers", "transformers", ("transformers",), "DepthCrafter"),
    Package("Hugging Face Hub", "huggingface_hub", ("huggingface_hub",), "downloading weights"),
)
NEEDS = {
    "standard": tuple(package.module for package in PACKAGES if package.is_vital),
    "monst3r": ("torch", "safetensors", "PIL"),
    "depthcrafter": ("torch", "safetensors", "diffusers", "transformers"),
}
"""Engine -> modules that it needs, those of the learned ones beside the standard ones."""


def package_findings(answers: Mapping[str, Answer], pinned: Mapping[str, frozenset[str]]) -> list[Finding]:
    """answers: of importing each package, by module. pinned: as pinned_versions."""
    return [_finding(package, answers[package.module], pinned) for package in PACKAGES]


def unusable_packages(answers: Mapping[str, Answer]) -> dict[str, tuple[str, ...]]:
    """Engine -> modules that it needs and that cannot be loaded."""
    return {name: tuple(module for module in modules if answers[module].error) for name, modules in NEEDS.items()}


def pinned_versions(folder: Path = REQUIREMENTS_FOLDER) -> dict[str, frozenset[str]]:
    """Name of every distribution in the requirement files, normalized -> the versions that they name.

    Files of several platforms and devices may name several. Empty if the files are not there or cannot be read.
    """
    found: dict[str, set[str]] = {}
    try:
        texts = [path.read_text(encoding="utf-8", errors="replace") for path in sorted(folder.rglob("*.txt"))]
    except OSError:
        return {}
    for pin in filter(None, (_PIN.match(line) for text in texts for line in text.splitlines())):
        found.setdefault(_normalized(pin[1]), set()).add(_public(pin[2]))
    return {name: frozenset(versions) for name, versions in found.items()}


def installed_distribution(package: Package) -> tuple[str, str] | None:
    """Name and version of the distribution that is installed; None if there is none of its names."""
    for name in package.distributions:
        try:
            version = metadata.version(name)
        except (metadata.PackageNotFoundError, OSError, KeyError, ValueError):  # absent, or its record is damaged
            continue
        if version:
            return name, version
    return None


def _finding(package: Package, answer: Answer, pinned: Mapping[str, frozenset[str]]) -> Finding:
    distribution = installed_distribution(package)
    if answer.error:
        return _unloadable(package, answer.error, distribution)
    if distribution is None:
        version = str(answer.value) or "of an unknown version"
        return Finding(package.label, OK, f"{version}, without a record of its installation", is_vital=package.is_vital)
    name, version = distribution
    wanted = pinned.get(_normalized(name), frozenset())
    if wanted and _public(version) not in wanted:
        return Finding(package.label, NOTE, f"{version}; this engine was made with {' or '.join(sorted(wanted))}",
                       REINSTALL, package.is_vital)
    return Finding(package.label, OK, version, is_vital=package.is_vital)


def _unloadable(package: Package, error: str, distribution: tuple[str, str] | None) -> Finding:
    if distribution is not None:
        return Finding(package.label, FAULT, f"{distribution[1]} is installed, but cannot be loaded: {error}",
                       REINSTALL, package.is_vital)
    if package.is_vital:
        return Finding(package.label, FAULT, f"not installed ({error})", REINSTALL, is_vital=True)
    return Finding(package.label, NOTE, f"not installed; needed for {package.purpose}", INSTALL_ALL)


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _public(version: str) -> str:
    """Without the part that only tells builds of one version apart: 2.13.0+cpu is 2.13.0."""
    return version.partition("+")[0]
