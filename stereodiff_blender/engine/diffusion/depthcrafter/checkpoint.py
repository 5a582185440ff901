"""The published files of stage 2: where they lie, and loading them with every tensor accounted for.

DepthCrafter publishes its U-Net; VAE and image encoder are those of Stable Video Diffusion, published on their own.
The folder of models holds a folder for either, or one for DepthCrafter with all three in it.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from ...contract import StereoDiffError
from ...torch_support.checkpoint_files import WeightsFile, check_shapes, load_strictly, open_weights, refuse_if_any
from .architectures import ARCHITECTURES, CONFIG_NAME, IMAGE_ENCODER, UNET, VAE, Architecture
from .networks import DepthCrafterNetworks, default_precision

__all__ = ["folders_in", "load_folders"]

DEPTHCRAFTER_FOLDER, VIDEO_DIFFUSION_FOLDER = "depthcrafter", "stable-video-diffusion-img2vid-xt"
SAFETENSORS_NAMES = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors",
                     "model.safetensors", "model.fp16.safetensors")
"""Of a network's weights, whichever comes first."""
UNSAFE_SUFFIXES = (".bin", ".pth", ".pt", ".ckpt")
HOST = torch.device("cpu")


class Folders(NamedTuple):
    """Where each network lies: a config.json and its weights."""

    unet: Path
    vae: Path
    image_encoder: Path


# --- Folders -----------------------------------------------------------------------------------------------------

def find_folders(models_folder: Path) -> Folders:
    """Those of a models folder in which every model has its own name; else as folders_in."""
    return folders_in(models_folder / DEPTHCRAFTER_FOLDER, models_folder / VIDEO_DIFFUSION_FOLDER)


def folders_in(own: Path, other: Path) -> Folders:
    """Either layout, or a mixture.

    Parameters
    ----------
    own : Path
        DepthCrafter's folder.
    other : Path
        Stable Video Diffusion's.

    Returns
    -------
    Folders
        Where U-Net, VAE and image encoder lie, each with weights in it.

    Raises
    ------
    StereoDiffError
        "weights_missing" or "weights_refused".
    """
    folders = Folders(_first_with_files(own / "unet", own),
                      _first_with_files(own / "vae", other / "vae"),
                      _first_with_files(own / "image_encoder", other / "image_encoder"))
    for folder in folders:
        find_weights(folder)
    return folders


def _first_with_files(*folders: Path) -> Path:
    """The first folder that is there with anything in it that could belong to a network; else the last."""
    suffixes = {".safetensors", *UNSAFE_SUFFIXES}
    for folder in folders:
        if folder.is_dir() and any(path.name == CONFIG_NAME or path.suffix in suffixes for path in folder.iterdir()):
            return folder
    return folders[-1]


def find_weights(folder: Path) -> Path:
    """The safetensors file of a network. Raises StereoDiffError "weights_missing", or "weights_refused" if there are
    only files that could hold a program."""
    for name in SAFETENSORS_NAMES:
        if (folder / name).is_file():
            return folder / name
    unsafe = sorted(path.name for path in folder.glob("*") if path.suffix in UNSAFE_SUFFIXES)
    if unsafe:
        raise StereoDiffError("weights_refused", f"{folder} holds {unsafe[0]}, but no .safetensors file, and nothing "
                                                 "else is read.")
    raise StereoDiffError("weights_missing", f"{folder} holds neither {' nor '.join(SAFETENSORS_NAMES)}.")


# --- Loading -----------------------------------------------------------------------------------------------------

def load_depthcrafter(models_folder: Path, *, device: torch.device, precision: torch.dtype | None = None,
                      compiled: bool = False) -> DepthCrafterNetworks:
    """The networks of a models folder; see load_folders. precision: None for what suits the device."""
    return load_folders(*find_folders(models_folder), device=device,
                        precision=precision or default_precision(device), compiled=compiled)


def load_folders(unet: Path, vae: Path, image_encoder: Path, *, device: torch.device, precision: torch.dtype,
                 compiled: bool = False) -> DepthCrafterNetworks:
    """The networks in these folders, ready to run. They stay on the host until they are used.

    Parameters
    ----------
    unet, vae, image_encoder : Path
        Folders with a config.json and safetensors weights, as of folders_in.
    device : torch.device
        That they will run on.
    precision : torch.dtype
        As DepthCrafterNetworks has it: of U-Net, image encoder and decoding.
    compiled : bool
        Compile the U-Net when it first runs.

    Returns
    -------
    DepthCrafterNetworks
        All three.

    Raises
    ------
    StereoDiffError
        "weights_missing", "weights_damaged", "weights_refused" or "weights_wrong_model", each with the file that it is
        about.
    """
    plans = plan_network(unet, UNET), plan_network(vae, VAE), plan_network(image_encoder, IMAGE_ENCODER)
    _refuse_strangers(plans[0], plans[2])
    # The VAE is small, and encodes in another precision than it decodes in.
    loaded = [load_network(plan, precision if plan.architecture is not VAE else torch.float32) for plan in plans]
    return DepthCrafterNetworks(*loaded, device=device, precision=precision, compiled=compiled)


class PlannedNetwork(NamedTuple):
    """A network without numbers, and the file that has them, checked against each other."""

    architecture: Architecture
    module: nn.Module
    path: Path

    @property
    def folder(self) -> Path:
        return self.path.parent


def plan_network(folder: Path, architecture: Architecture) -> PlannedNetwork:
    """What can be known of a network before its numbers, which may be gigabytes, are read. Raises as load_folders."""
    path = find_weights(folder)
    module = architecture.planned(folder / CONFIG_NAME)
    with open_weights(path, HOST) as weights:
        _refuse_other_network(weights, architecture)
        names = _names(module)
        unknown = sorted(weights.shapes.keys() - names.keys() - architecture.unused)
        refuse_if_any(path, f"has, unlike the {architecture.label} that its {CONFIG_NAME} describes,", unknown)
        check_shapes(module, names, weights.shapes, path)
    return PlannedNetwork(architecture, module, path)


def load_network(plan: PlannedNetwork, precision: torch.dtype) -> nn.Module:
    """With its weights on the host, in this precision and in no other on the way. Raises as load_folders."""
    with open_weights(plan.path, HOST) as weights:
        load_strictly(plan.module, weights, _names(plan.module), precision)
    _refuse_not_finite(plan.module, plan.path)
    if plan.architecture is IMAGE_ENCODER:
        _place_positions(plan.module)
    return plan.module.eval()


def _names(module: nn.Module) -> dict[str, str]:
    """The files call every parameter what the stock classes do."""
    return {name: name for name, _ in module.named_parameters()}


def _refuse_other_network(weights: WeightsFile, architecture: Architecture) -> None:
    for other in ARCHITECTURES:
        if other.mark in weights.shapes and architecture.mark not in weights.shapes:
            raise StereoDiffError("weights_wrong_model", f"{weights.path} holds the weights of the {other.label}, "
                                                         f"where those of the {architecture.label} belong.")


def _refuse_not_finite(network: nn.Module, path: Path) -> None:
    for name, parameter in network.named_parameters():
        low, high = torch.aminmax(parameter)
        if not (low.isfinite() and high.isfinite()):
            raise StereoDiffError("weights_damaged", f"{path} has, in {name}, what is infinite or no number.")


def _place_positions(encoder: nn.Module) -> None:
    """The numbers of the patches: the one thing in the encoder that is counted, not loaded."""
    embeddings = encoder.vision_model.embeddings
    embeddings.position_ids = torch.arange(embeddings.position_ids.shape[-1])[None]


def _refuse_strangers(unet: PlannedNetwork, encoder: PlannedNetwork) -> None:
    """That the U-Net takes what the image encoder gives, and three time ids."""
    config, width = unet.module.config, encoder.module.config.projection_dim
    wanted = config["cross_attention_dim"]
    if any(one != width for one in (wanted if isinstance(wanted, (list, tuple)) else [wanted])):
        raise StereoDiffError("weights_wrong_model", f"{encoder.folder} gives embeddings of {width} numbers, which the "
                                                     f"U-Net in {unet.folder} does not take.")
    if config["projection_class_embeddings_input_dim"] != 3 * config["addition_time_embed_dim"]:
        raise StereoDiffError("weights_wrong_model", f"{unet.folder / CONFIG_NAME} does not take three time ids.")
