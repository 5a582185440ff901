"""Tries the packages, in a process of its own: whatever a broken package does to it, the doctor goes on.

    python -m stereodiff_blender.engine.doctor.probe STEP...

Prints a line before and one after each step; see probing.py, which starts it and reads them. Nothing is imported here
before its step, and nothing of what is tried leaves anything behind.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

DECODERS = {"H.264": "h264", "HEVC": "hevc", "ProRes": "prores", "DNxHD": "dnxhd", "MPEG-4": "mpeg4", "VP9": "vp9"}
PREVIEW_ENCODER = "libx264"
LINE_MARK = "doctor:"
IMPORT = "import:"


def main(steps: list[str]) -> int:
    """Every step in turn. An unknown one is an error of that step."""
    for step in steps:
        _say(step=step)
        try:
            value = _import(step.removeprefix(IMPORT)) if step.startswith(IMPORT) else STEPS[step]()
        except Exception as error:  # noqa: BLE001 - foreign code can fail with anything at all; that is the answer
            _say(step=step, error=_in_one_line(error))
        else:
            _say(step=step, value=value)
    return 0


def _say(**line) -> None:
    """Begins with a line break, as a package may have written something before."""
    sys.stdout.write(f"\n{LINE_MARK}{json.dumps(line)}\n")
    sys.stdout.flush()


def _in_one_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _import(module: str) -> str:
    return str(getattr(importlib.import_module(module), "__version__", ""))


# --- Codecs and EXR --------------------------------------------------------------------------------------------

def _codecs() -> dict:
    """Which of the usual movies can be read, and whether the preview movie can be written."""
    from av.codec import Codec
    from av.codec.codec import UnknownCodecError

    def is_there(name: str, mode: str) -> bool:
        try:
            return Codec(name, mode).is_decoder == (mode == "r")
        except UnknownCodecError:
            return False

    found = {label: is_there(name, "r") for label, name in DECODERS.items()}
    return {"read": [label for label, there in found.items() if there],
            "missing": [label for label, there in found.items() if not there],
            "has_preview_encoder": is_there(PREVIEW_ENCODER, "w")}


def _exr() -> bool:
    """Whether depth comes back out of a file as it went in."""
    import numpy as np

    from ..media.exr import GRAY_CHANNEL, read_exr, write_gray
    depth = np.array([[0.0, 1.5], [1e-3, 1e6]], np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "depth.exr"
        write_gray(path, depth)
        return bool(np.array_equal(read_exr(path)[GRAY_CHANNEL], depth))


# --- PyTorch ---------------------------------------------------------------------------------------------------

def _torch() -> dict:
    """What PyTorch is and sees. Each device's "fault" is why it cannot compute, "" if it can."""
    import torch

    from ..torch_support.device import torch_device
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        auto = torch_device("auto").type
        cards = [_card(torch, number) for number in range(torch.cuda.device_count())] if auto == "cuda" else []
    return {"version": str(torch.__version__), "cuda": str(torch.version.cuda or ""),
            "hip": str(getattr(torch.version, "hip", None) or ""), "auto": auto, "cards": cards,
            "has_mps": bool(torch.backends.mps.is_available()), "mps_fault": _mps_fault(torch),
            "threads": torch.get_num_threads(), "cores": os.cpu_count() or 0,
            "warning": " ".join(str(told[0].message).split()) if told else ""}


def _card(torch, number: int) -> dict:
    """name, capability (major, minor), kernels (has the build any for it), total and free memory in bytes, fault."""
    properties = torch.cuda.get_device_properties(number)
    capability = (properties.major, properties.minor)
    fault = _fault_of(torch, f"cuda:{number}")
    free = 0 if fault else torch.cuda.mem_get_info(number)[0]
    return {"name": properties.name, "capability": capability, "total": properties.total_memory, "free": free,
            "kernels": torch.cuda.get_arch_list(), "fault": fault}


def _mps_fault(torch) -> str:
    return _fault_of(torch, "mps") if torch.backends.mps.is_available() else ""


def _fault_of(torch, device: str) -> str:
    """A small sum on the device: only this shows that driver, card and build fit each other."""
    try:
        total = torch.arange(8, dtype=torch.float32, device=device).sum().item()
    except RuntimeError as error:
        return _in_one_line(error)
    return "" if total == 28.0 else f"it computes wrongly: 0 + 1 + ... + 7 = {total}"


STEPS: dict[str, Callable[[], object]] = {"codecs": _codecs, "exr": _exr, "torch": _torch}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
