"""What the doctor found: findings for people, capabilities for the panels. Part of the contract.

Standard library only. The worker's doctor writes it as JSON, Blender reads it and adds findings of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from .errors import StereoDiffError
from .redaction import anonymous
from .strict_json import from_dict, to_dict

__all__ = ["FAULT", "NOTE", "OK", "Capabilities", "Finding", "Health", "redacted", "text_lines"]

HEALTH_VERSION = 1
OK, NOTE, FAULT = "ok", "note", "fault"
STATES = (OK, NOTE, FAULT)
MARKS = {OK: "ok   ", NOTE: "note ", FAULT: "FAULT"}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    name: what. state: "ok", "note" (good to know) or "fault" (something will not work). found: in words, on one line.
    remedy: what to do about it, never empty for a fault. is_vital: a fault of it keeps the default engine from running.
    """

    name: str
    state: str
    found: str
    remedy: str = ""
    is_vital: bool = False


def redacted(finding: Finding) -> Finding:
    """The finding without keys, the home folder and the user's name: reports are pasted where anybody reads them.

    Parameters
    ----------
    finding : Finding
        As it was found.

    Returns
    -------
    Finding
        The same with its texts found and remedy as redaction.anonymous leaves them; name and state stay.
    """
    return replace(finding, found=anonymous(finding.found), remedy=anonymous(finding.remedy))


@dataclass(frozen=True)
class Capabilities:
    """What the worker's environment can do.

    unusable: engine ("standard", "monst3r", "depthcrafter") -> packages it needs that are missing or cannot be loaded;
        empty where nothing is missing.
    auto_device: what "auto" means here, "cuda" or "cpu"; "" without PyTorch.
    devices: kind of device that PyTorch sees and computes on -> its name.
    broken_devices: kind of device that PyTorch sees, but cannot compute on -> why not.
    unusable_weights: learned engine -> what its weights lack; only engines whose weights are not all there and whole.
    """

    unusable: dict[str, tuple[str, ...]] = field(default_factory=dict)
    auto_device: str = ""
    devices: dict[str, str] = field(default_factory=dict)
    broken_devices: dict[str, str] = field(default_factory=dict)
    unusable_weights: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Health:
    """The doctor's whole report."""

    engine_version: str
    findings: tuple[Finding, ...]
    capabilities: Capabilities = field(default_factory=Capabilities)
    schema_version: int = HEALTH_VERSION

    @property
    def can_run(self) -> bool:
        """Whether the engine that is chosen from the start can run."""
        return not any(finding.is_vital and finding.state == FAULT for finding in self.findings)

    @property
    def faults(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.state == FAULT)

    def to_json(self) -> dict:
        """Plain data, with can_run said besides for programs that only ask that."""
        return {**to_dict(self), "can_run": self.can_run}

    @classmethod
    def from_json(cls, data: object) -> Health:
        """Raises StereoDiffError "runtime_broken" for anything that to_json of this version did not make."""
        if not isinstance(data, dict) or data.get("schema_version") != HEALTH_VERSION:
            raise StereoDiffError("runtime_broken", "The doctor's answer is of another version.")
        try:
            health = from_dict(cls, {name: value for name, value in data.items() if name != "can_run"})
        except ValueError as error:
            raise StereoDiffError("runtime_broken", f"The doctor's answer makes no sense: {error}.") from error
        if any(finding.state not in STATES for finding in health.findings):
            raise StereoDiffError("runtime_broken", "The doctor's answer has a state that is not known.")
        return health


def text_lines(health: Health) -> list[str]:
    """The report for people, in plain text: a verdict, then a line for each finding and one for each remedy.

    Parameters
    ----------
    health : Health
        The doctor's report.

    Returns
    -------
    list of str
        Lines without line ends; an empty one after the verdict.
    """
    lines = [f"StereoDiff {health.engine_version}: {_verdict(health)}", ""]
    width = max((len(finding.name) for finding in health.findings), default=0)
    for finding in health.findings:
        lines.append(f"{MARKS[finding.state]} {finding.name:<{width}}  {finding.found}")
        if finding.remedy:
            lines.append(f"{'':5} {'':<{width}}  -> {finding.remedy}")
    return lines


def _verdict(health: Health) -> str:
    if not health.can_run:
        return "the default engine cannot run here. See what is marked FAULT."
    if health.faults:
        return "the default engine can run here; something else cannot. See what is marked FAULT."
    return "the default engine can run here."
