"""Looks at everything a solve needs and says what is wrong and what to do about it, for people and for the panels.

Standard library only, as it has to run where the packages are missing or broken: those are tried in a process of
their own. Nothing is downloaded, installed or changed.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..contract import ENGINE_VERSION
from ..contract.health import FAULT, NOTE, OK, Finding, Health, redacted
from .devices import ask_driver, capabilities, device_findings, driver_findings
from .machine import folder_findings, machine_findings
from .packages import PACKAGES, REINSTALL, package_findings, pinned_versions, unusable_packages
from .probe import IMPORT
from .probing import Answer, ask_probe
from .weights import unusable_weights, weights_findings

__all__ = ["examine"]

CODECS, EXR, TORCH = "codecs", "exr", "torch"


def examine(jobs_folder: Path | None = None, models_folder: Path | None = None) -> Health:
    """Everything, in half a second to some seconds (PyTorch has to be loaded).

    Never raises for what is wrong with the computer, and never waits without a limit.

    Parameters
    ----------
    jobs_folder, models_folder : Path or None
        Need not exist; None: not looked at.

    Returns
    -------
    Health
        Findings, none of which names the user, and capabilities.
    """
    answers = ask_probe([*(f"{IMPORT}{package.module}" for package in PACKAGES), CODECS, EXR, TORCH])
    imports = {package.module: answers[f"{IMPORT}{package.module}"] for package in PACKAGES}
    driver, weights = ask_driver(), weights_findings(models_folder)
    findings = [
        *machine_findings(), *package_findings(imports, pinned_versions()),
        *_codecs(answers[CODECS], imports["av"]), *_exr(answers[EXR], imports["OpenEXR"]),
        *driver_findings(driver), *device_findings(answers[TORCH], driver),
        *_torch_trouble(answers[TORCH], imports["torch"]),
        *folder_findings(jobs_folder, models_folder), *weights.values(),
    ]
    known = replace(capabilities(answers[TORCH], unusable_packages(imports)),
                    unusable_weights=unusable_weights({card: redacted(found) for card, found in weights.items()}))
    return Health(ENGINE_VERSION, tuple(map(redacted, findings)), known)


def _codecs(codecs: Answer, package: Answer) -> list[Finding]:
    if package.error:  # told already
        return []
    if codecs.error:
        return [Finding("Movies", FAULT, f"PyAV does not work: {codecs.error}", REINSTALL, is_vital=True)]
    if not codecs.value["has_preview_encoder"]:
        return [Finding("Movies", FAULT, "this PyAV cannot write H.264, which previews are made in", REINSTALL,
                        is_vital=True)]
    readable = ", ".join(codecs.value["read"])
    if codecs.value["missing"]:
        return [Finding("Movies", NOTE, f"reads {readable}; not {', '.join(codecs.value['missing'])}",
                        "Footage of that kind has to be made into an image sequence first.")]
    return [Finding("Movies", OK, f"reads {readable} and more; writes H.264")]


def _exr(exr: Answer, package: Answer) -> list[Finding]:
    if package.error:
        return []
    if exr.error or not exr.value:
        return [Finding("EXR files", FAULT, exr.error or "depth comes back changed", f"{REINSTALL} If that does not "
                        "help, look whether the temporary folder can be written to.", is_vital=True)]
    return [Finding("EXR files", OK, "written and read back without a difference")]


def _torch_trouble(torch: Answer, package: Answer) -> list[Finding]:
    """PyTorch that can be loaded, but fails when it is asked about its devices."""
    if not torch.error or package.error:
        return []
    return [Finding("PyTorch", FAULT, f"it does not answer about its devices: {torch.error}",
                    "Choose CPU as Device in the preferences; update the graphics driver.")]
