"""The learned networks that a job's settings ask for: refused at the door if they cannot be had, then loaded."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .contract import Settings, StereoDiffError, WeightsUsed

if TYPE_CHECKING:
    import torch

    from .diffusion.depthcrafter.networks import DepthCrafterNetworks
    from .stereo.monst3r.network import TwoViewNetwork

MONST3R, DEPTHCRAFTER = "monst3r", "depthcrafter"
DEPTHCRAFTER_CARDS = (DEPTHCRAFTER, "stable-video-diffusion")
PACKAGES = {MONST3R: ("torch", "safetensors", "PIL"),
            DEPTHCRAFTER: ("torch", "safetensors", "diffusers", "transformers")}
LABELS = {MONST3R: "MonST3R", DEPTHCRAFTER: "DepthCrafter"}


@dataclass(frozen=True)
class Networks:
    """What is loaded. matcher: of the MonST3R engine. refiner: of DepthCrafter. used: what the result has to say of
    the weights."""

    matcher: TwoViewNetwork | None = None
    refiner: DepthCrafterNetworks | None = None
    used: tuple[WeightsUsed, ...] = ()

    def rest_matcher(self) -> None:
        """Stage 1 is done: leave the device to stage 2."""
        if self.matcher is not None:
            self.matcher.to("cpu")


def refuse_missing(settings: Settings, models_folder: str) -> None:
    """Turn down at the door a job whose networks are not here.

    models_folder: holds one folder of weights for every model. Raises StereoDiffError "torch_missing" or
    "weights_missing".
    """
    for engine in (settings.stereo, settings.refine):
        if engine not in PACKAGES:
            continue
        missing = [name for name in PACKAGES[engine] if importlib.util.find_spec(name) is None]
        if missing:
            raise StereoDiffError("torch_missing", f"{LABELS[engine]} needs {', '.join(missing)}.")
        if not models_folder:
            raise StereoDiffError("weights_missing", "No models folder is chosen.")
        folder = Path(models_folder) / engine
        if not any(path.is_file() for pattern in ("*.safetensors", "*.pth") for path in folder.rglob(pattern)):
            raise StereoDiffError("weights_missing", f"There are no weights in {folder}.")


def load_networks(settings: Settings, models_folder: str) -> Networks:
    """Load what the settings ask for; nothing, and no PyTorch, if they ask for none.

    The refiner waits on the host until stage 2. Raises StereoDiffError "weights_...", "disk_full" or
    "device_unavailable".
    """
    if settings.stereo != MONST3R and settings.refine != DEPTHCRAFTER:
        return Networks()
    from .torch_device import torch_device
    from .weights import read_card
    device, folder = torch_device(settings.device), Path(models_folder)
    matcher = refiner = None
    cards = []
    if settings.stereo == MONST3R:
        matcher = _load_matcher(folder, device)
        cards.append(MONST3R)
    if settings.refine == DEPTHCRAFTER:
        refiner = _load_refiner(folder, device, settings.diffusion.compile)
        cards += DEPTHCRAFTER_CARDS
    return Networks(matcher, refiner, tuple(read_card(card).used() for card in cards))


def _load_matcher(models_folder: Path, device: torch.device) -> TwoViewNetwork:
    from .stereo.monst3r.checkpoint import load_network
    from .stereo.monst3r.matching import default_precision
    return load_network(models_folder / MONST3R, device=device, precision=default_precision(device))


def _load_refiner(models_folder: Path, device: torch.device, compiled: bool) -> DepthCrafterNetworks:
    from .diffusion.depthcrafter.checkpoint import load_depthcrafter
    return load_depthcrafter(models_folder, device=device, compiled=compiled)
