"""What can compute: the graphics driver, and the devices that PyTorch sees and works on."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

from ..contract.errors import StereoDiffError
from ..contract.health import FAULT, NOTE, OK, Capabilities, Finding
from ..contract.programs import Ended, find_program, run
from ..contract.redaction import anonymous
from .machine import gigabytes
from .probing import Answer

DRIVER_TIMEOUT_S = 10.0
DRIVER_QUERY = ("--query-gpu=name,driver_version,memory.total,memory.free", "--format=csv,noheader,nounits")
MEBIBYTE = 2**20
LITTLE_VRAM_BYTES = 8e9
"""Below this, DepthCrafter plans for small pictures, and MonST3R's network fills most of it."""
UPDATE_DRIVER = "Install the newest driver from NVIDIA and restart the computer."
INSTALL_CUDA = "Install the engine for learned engines again, with PyTorch's build for CUDA."
USE_CPU = "Choose CPU as Device in the preferences, "


@dataclass(frozen=True)
class Driver:
    """What nvidia-smi said. cards: name, total and free memory in bytes. problem: why it said nothing, "" if none."""

    is_there: bool
    version: str = ""
    cards: tuple[tuple[str, int, int], ...] = ()
    problem: str = ""


# --- Driver ----------------------------------------------------------------------------------------------------

def ask_driver(timeout_s: float = DRIVER_TIMEOUT_S) -> Driver:
    """What the NVIDIA driver's own program knows; on a broken driver it can hang."""
    program = find_program("nvidia-smi")
    if program is None:
        return Driver(is_there=False)
    try:
        ended = run([program, *DRIVER_QUERY], timeout_s, own_group=False)
    except StereoDiffError as error:
        return Driver(True, problem=anonymous(error.message.rstrip(".")))
    return _driver_from(ended)


def _driver_from(ended: Ended) -> Driver:
    if ended.stopped:
        return Driver(True, problem=f"nvidia-smi gave {ended.stopped}")
    rows = [[part.strip() for part in line.split(",")] for line in ended.output.splitlines() if line.strip()]
    if ended.status != 0:
        said = ended.last_line or " ".join(" ".join(row) for row in rows[:1])
        return Driver(True, problem=f"nvidia-smi ended with status {ended.status}" + (f": {said}" if said else ""))
    cards = tuple((row[0], _mebibytes(row[2]), _mebibytes(row[3])) for row in rows if len(row) == 4)
    if not cards:
        return Driver(True, problem="nvidia-smi names no card")
    return Driver(True, next(row[1] for row in rows if len(row) == 4), cards)


def _mebibytes(text: str) -> int:
    """0 for what a card does not tell, "[N/A]"."""
    return int(text) * MEBIBYTE if text.isdigit() else 0


def driver_findings(driver: Driver) -> list[Finding]:
    if not driver.is_there:
        return [] if sys.platform == "darwin" else [Finding("NVIDIA driver", OK, "none on this computer")]
    if driver.problem:
        return [Finding("NVIDIA driver", FAULT, driver.problem, UPDATE_DRIVER)]
    cards = "; ".join(f"{name}, {gigabytes(total)}" for name, total, _ in driver.cards)
    return [Finding("NVIDIA driver", OK, f"{driver.version}: {cards}")]


# --- PyTorch's devices -----------------------------------------------------------------------------------------

def device_findings(torch: Answer, driver: Driver) -> list[Finding]:
    """torch: the probe's answer to "torch"; an error means that there is no usable PyTorch, which is told elsewhere."""
    if torch.error:
        return [Finding("Devices", OK, "only the processor, without PyTorch")]
    said = torch.value
    findings = [Finding("PyTorch build", OK, _build(said)), *_cards(said["cards"])]
    if not said["cards"]:
        findings += _why_no_cuda(said, driver)
    findings += _metal(said)
    findings.append(Finding("Device", OK, f"Auto means {said['auto'].upper()}; {said['threads']} of {said['cores']} "
                                          "processor threads"))
    return findings


def capabilities(torch: Answer, unusable: dict[str, tuple[str, ...]]) -> Capabilities:
    """unusable: as Capabilities has it."""
    if torch.error:
        return Capabilities(unusable)
    said = torch.value
    devices, broken = {"cpu": "CPU"}, {}
    if said["cards"]:
        first = said["cards"][0]  # the one that "cuda" means
        (broken if first["fault"] else devices)["cuda"] = anonymous(first["fault"]) or first["name"]
    if said["has_mps"]:
        (broken if said["mps_fault"] else devices)["mps"] = anonymous(said["mps_fault"]) or "Metal"
    return Capabilities(unusable, said["auto"], devices, broken)


def _build(said: dict) -> str:
    made_for = f"CUDA {said['cuda']}" if said["cuda"] else f"ROCm {said['hip']}" if said["hip"] else "no CUDA"
    return f"{said['version']}, made for {made_for}"


def _cards(cards: list[dict]) -> list[Finding]:
    return [_card(f"CUDA device {number}", card) for number, card in enumerate(cards)]


def _card(name: str, card: dict) -> Finding:
    major, minor = card["capability"]
    found = f"{card['name']}, compute capability {major}.{minor}, {gigabytes(card['total'])}"
    if card["fault"] and not has_kernels((major, minor), card["kernels"]):
        return Finding(name, FAULT, f"{found}; this build of PyTorch has no kernels for it (only "
                       f"{', '.join(card['kernels'])})", USE_CPU + "or install a build of PyTorch for this card.")
    if card["fault"]:
        return Finding(name, FAULT, f"{found}; it cannot compute: {card['fault']}",
                       f"Close other programs that use the card. {UPDATE_DRIVER} Until then: {USE_CPU}which is slower.")
    found += f", {gigabytes(card['free'])} of it free"
    if card["free"] < LITTLE_VRAM_BYTES:
        return Finding(name, NOTE, found, "Close other programs that use the card, or choose a smaller working size, "
                                          "if memory falls short.")
    return Finding(name, OK, found)


def has_kernels(capability: tuple[int, int], kernels: list[str]) -> bool:
    """Whether a build can run on a card: a kernel of its major version and no newer minor, or any older PTX.

    kernels: such as "sm_86", "sm_90a" and "compute_90". An empty list tells nothing, which counts as yes.
    """
    for kernel in kernels:
        kind, _, digits = kernel.partition("_")
        number = digits.rstrip("abcdefghijklmnopqrstuvwxyz")
        if not number.isdigit():
            return True  # another maker's, such as "gfx1100"
        major, minor = divmod(int(number), 10)
        if kind == "compute" and (major, minor) <= capability:
            return True
        if kind == "sm" and major == capability[0] and minor <= capability[1]:
            return True
    return not kernels


def _why_no_cuda(said: dict, driver: Driver) -> list[Finding]:
    """Only where there is a card by the driver's word, or a build that expects one."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    has_card, is_cuda_build = bool(driver.cards), bool(said["cuda"] or said["hip"])
    if is_cuda_build and hidden is not None and hidden.strip() in ("", "-1"):
        return [Finding("CUDA", NOTE, "the variable CUDA_VISIBLE_DEVICES hides every card",
                        "Remove the variable, and start Blender again.")]
    if has_card and not is_cuda_build:
        return [Finding("CUDA", NOTE, "there is a card, but this PyTorch is made without CUDA, so it computes on the "
                                      "processor", INSTALL_CUDA)]
    if has_card:
        return [Finding("CUDA", NOTE, f"there is a card, but PyTorch does not see it. {said['warning']}".strip(),
                        f"{UPDATE_DRIVER} This PyTorch is made for CUDA {said['cuda']}.")]
    if is_cuda_build:
        return [Finding("CUDA", NOTE, f"PyTorch sees no card. {said['warning']}".strip(),
                        "Nothing needs to be done without an NVIDIA card; otherwise install its driver.")]
    return []


def _metal(said: dict) -> list[Finding]:
    if not said["has_mps"]:
        return []
    if said["mps_fault"]:
        return [Finding("Metal", FAULT, f"it cannot compute: {said['mps_fault']}", USE_CPU + "or update macOS.")]
    return [Finding("Metal", OK, "usable; Auto does not choose it, choose Metal as Device in the preferences")]
