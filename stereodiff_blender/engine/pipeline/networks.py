"""The learned networks that a job's settings ask for: refused at the door if they cannot be had, then loaded."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..contract import Settings, StereoDiffError, WeightsUsed
from ..weights.cards import ENGINE_CARDS, read_card
from ..weights.licences import cards_of
from ..weights.records import model_folder, refuse_changed

if TYPE_CHECKING:
    import torch

    from ..diffusion.depthcrafter.networks import DepthCrafterNetworks
    from ..stereo.monst3r.network import TwoViewNetwork

MONST3R, DEPTHCRAFTER = "monst3r", "depthcrafter"
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

    Parameters
    ----------
    settings : Settings
        Their engines tell which networks.
    models_folder : str
        Holds one folder of weights for every model, or says where the user has them; empty if none was chosen.

    Raises
    ------
    StereoDiffError
        "torch_missing", "weights_missing", or "weights_damaged" for files that are no longer those that were checked;
        "model_card_invalid" or "model_record_invalid" for what is written about them.
    """
    for engine in (settings.stereo, settings.refine):
        if engine not in PACKAGES:
            continue
        missing = [name for name in PACKAGES[engine] if importlib.util.find_spec(name) is None]
        if missing:
            raise StereoDiffError("torch_missing", f"{LABELS[engine]} needs {', '.join(missing)}.")
        if not models_folder:
            raise StereoDiffError("weights_missing", "No models folder is chosen.")
        folder = model_folder(Path(models_folder), read_card(engine))
        if not any(path.is_file() for pattern in ("*.safetensors", "*.pth") for path in folder.rglob(pattern)):
            raise StereoDiffError("weights_missing", f"There are no weights in {folder}.")
        for card in ENGINE_CARDS[engine]:
            refuse_changed(Path(models_folder), read_card(card))


def load_networks(settings: Settings, models_folder: str) -> Networks:
    """Load what the settings ask for; nothing, and no PyTorch, if they ask for none.

    The refiner waits on the host until stage 2.

    Parameters
    ----------
    settings : Settings
        Their engines tell which networks, their device where these run.
    models_folder : str
        As of refuse_missing.

    Returns
    -------
    Networks
        None for each that was not asked for.

    Raises
    ------
    StereoDiffError
        "weights_...", "disk_full" or "device_unavailable"; "model_card_invalid" or "model_record_invalid".
    """
    if settings.stereo != MONST3R and settings.refine != DEPTHCRAFTER:
        return Networks()
    from ..torch_support.device import torch_device
    device, folder = torch_device(settings.device), Path(models_folder)
    matcher = refiner = None
    if settings.stereo == MONST3R:
        matcher = _load_matcher(folder, device)
    if settings.refine == DEPTHCRAFTER:
        refiner = _load_refiner(folder, device, settings.diffusion.compile)
    return Networks(matcher, refiner, tuple(card.used() for card in cards_of(settings)))


def _load_matcher(models_folder: Path, device: torch.device) -> TwoViewNetwork:
    from ..stereo.monst3r.checkpoint import load_network
    from ..stereo.monst3r.matching import default_precision
    folder = model_folder(models_folder, read_card(MONST3R))
    return load_network(folder, device=device, precision=default_precision(device))


def _load_refiner(models_folder: Path, device: torch.device, compiled: bool) -> DepthCrafterNetworks:
    from ..diffusion.depthcrafter.checkpoint import folders_in, load_folders
    from ..diffusion.depthcrafter.networks import default_precision
    own, other = (model_folder(models_folder, read_card(card)) for card in ENGINE_CARDS[DEPTHCRAFTER])
    return load_folders(*folders_in(own, other), device=device, precision=default_precision(device), compiled=compiled)
