"""The published files of stage 2: where they lie, and loading them with every tensor accounted for.

DepthCrafter publishes its U-Net; VAE and image encoder are those of Stable Video Diffusion, published on their own.
The folder of models holds a folder for either, or one for DepthCrafter with all three in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from ...contract import StereoDiffError
from ...weights import WeightsFile, load_strictly, open_weights, refuse_if_any
from .architectures import ARCHITECTURES, CONFIG_NAME, IMAGE_ENCODER, UNET, VAE, Architecture
from .networks import DepthCrafterNetworks, default_precision

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
    """Either layout, or a mixture. Raises StereoDiffError "weights_missing" or "weights_refused"."""
    own, other = models_folder / DEPTHCRAFTER_FOLDER, models_folder / VIDEO_DIFFUSION_FOLDER
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

    precision, compiled: as DepthCrafterNetworks has them. Raises StereoDiffError "weights_missing",
    "weights_damaged", "weights_refused" or "weights_wrong_model", each with the file that it is about.
    """
    network = load_network(unet, UNET, precision)
    encoder = load_network(image_encoder, IMAGE_ENCODER, precision)
    _place_positions(encoder)
    _refuse_strangers(network.config, encoder.config.projection_dim, unet, image_encoder)
    return DepthCrafterNetworks(network, load_network(vae, VAE, torch.float32), encoder, device=device,
                                precision=precision, compiled=compiled)


def load_network(folder: Path, architecture: Architecture, precision: torch.dtype) -> nn.Module:
    """One network, on the host, with its weights in this precision and in no other on the way. Raises as
    load_folders."""
    path = find_weights(folder)
    network = architecture.planned(folder / CONFIG_NAME)
    with open_weights(path, HOST) as weights:
        _refuse_other_network(weights, architecture)
        names = {name: name for name, _ in network.named_parameters()}
        unknown = sorted(weights.shapes.keys() - names.keys() - architecture.unused)
        refuse_if_any(path, f"has, unlike the {architecture.label} that its {CONFIG_NAME} describes,", unknown)
        load_strictly(network, weights, names, precision)
    _refuse_not_finite(network, path)
    return network.eval()


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


def _refuse_strangers(config: Mapping[str, object], width: int, unet: Path, image_encoder: Path) -> None:
    """That the U-Net takes what the image encoder gives, and three time ids."""
    wanted = config["cross_attention_dim"]
    widths = set(wanted if isinstance(wanted, (list, tuple)) else [wanted])
    if widths != {width}:
        raise StereoDiffError("weights_wrong_model", f"{image_encoder} gives embeddings of {width} numbers, which the "
                                                     f"U-Net in {unet} does not take.")
    if config["projection_class_embeddings_input_dim"] != 3 * config["addition_time_embed_dim"]:
        raise StereoDiffError("weights_wrong_model", f"{unet / CONFIG_NAME} does not take three time ids.")
