"""The learned networks that a job's settings ask for: refused at the door if they cannot be had, then loaded."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .contract import Settings, StereoDiffError, WeightsUsed

if TYPE_CHECKING:
    from .stereo.monst3r.network import TwoViewNetwork

PACKAGES = ("torch", "safetensors", "PIL")
MONST3R = "monst3r"


@dataclass(frozen=True)
class Networks:
    """What is loaded. matcher: of the MonST3R engine. used: what the result has to say of the weights."""

    matcher: TwoViewNetwork | None = None
    used: tuple[WeightsUsed, ...] = ()


def refuse_missing(settings: Settings, models_folder: str) -> None:
    """Turn down at the door a job whose networks are not here.

    models_folder: holds one folder of weights for every model. Raises StereoDiffError "torch_missing" or
    "weights_missing".
    """
    if settings.stereo != MONST3R:
        return
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise StereoDiffError("torch_missing", f"MonST3R needs {', '.join(missing)}.")
    if not models_folder:
        raise StereoDiffError("weights_missing", "No models folder is chosen.")
    folder = Path(models_folder) / MONST3R
    if not any(path.is_file() for pattern in ("*.safetensors", "*.pth") for path in folder.glob(pattern)):
        raise StereoDiffError("weights_missing", f"There are no weights in {folder}.")


def load_networks(settings: Settings, models_folder: str) -> Networks:
    """Load what the settings ask for onto their device; nothing, and no PyTorch, if they ask for none.

    Raises StereoDiffError "weights_...", "disk_full" or "device_unavailable".
    """
    if settings.stereo != MONST3R:
        return Networks()
    from .stereo.monst3r.checkpoint import load_network
    from .stereo.monst3r.matching import default_precision
    from .torch_device import torch_device
    from .weights import read_card
    device = torch_device(settings.device)
    matcher = load_network(Path(models_folder) / MONST3R, device=device, precision=default_precision(device))
    return Networks(matcher, (read_card(MONST3R).used(),))
