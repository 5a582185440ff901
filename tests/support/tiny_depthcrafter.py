"""The folders of stage 2's networks as they are published, but tiny: random numbers from a seed instead of training.

They answer any clip with finite numbers that mean nothing.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
from diffusers import AutoencoderKLTemporalDecoder, UNetSpatioTemporalConditionModel
from safetensors.torch import save_file
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

UNET = {"in_channels": 8, "out_channels": 4, "block_out_channels": [32, 64], "layers_per_block": 1,
        "transformer_layers_per_block": 1, "cross_attention_dim": 16, "num_attention_heads": [1, 2],
        "addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 24,
        "down_block_types": ["CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"],
        "up_block_types": ["UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"]}
"""One level has more than 32 channels: with as many channels as groups of its norms it could not tell noise levels."""
VAE = {"in_channels": 3, "out_channels": 3, "latent_channels": 4, "block_out_channels": [32, 32, 32, 32],
       "layers_per_block": 1, "down_block_types": ["DownEncoderBlock2D"] * 4, "scaling_factor": 0.18215}
IMAGE_ENCODER = {"hidden_size": 16, "intermediate_size": 32, "projection_dim": 16, "num_hidden_layers": 2,
                 "num_attention_heads": 2, "num_channels": 3, "image_size": 28, "patch_size": 14, "hidden_act": "gelu",
                 "layer_norm_eps": 1e-5}

OWN_UNET_CLASS = "DiffusersUNetSpatioTemporalConditionModelDepthCrafter"
"""What the published config.json calls its class."""
LAYOUTS = ("published", "unet_folder", "one_folder")


def write_tiny_depthcrafter(models_folder: Path, *, layout: str = "published", seed: int = 0,
                            precision: torch.dtype = torch.float16) -> Path:
    """Write all three networks. Returns the models folder.

    layout: "published" (the U-Net at the root of depthcrafter/, the rest in stable-video-diffusion-img2vid-xt/),
    "unet_folder" (the same with the U-Net in depthcrafter/unet/) or "one_folder" (all below depthcrafter/, as
    diffusers saves a pipeline).
    """
    own, other = models_folder / "depthcrafter", models_folder / "stable-video-diffusion-img2vid-xt"
    rest = own if layout == "one_folder" else other
    suffix = ".safetensors" if layout == "one_folder" else ".fp16.safetensors"
    write_network(own if layout == "published" else own / "unet", "diffusion_pytorch_model.safetensors",
                  random_tensors(tiny_unet(), seed, precision), stated_unet())
    write_network(rest / "vae", f"diffusion_pytorch_model{suffix}", random_tensors(tiny_vae(), seed + 1, precision),
                  stated_vae())
    write_network(rest / "image_encoder", f"model{suffix}",
                  random_tensors(tiny_image_encoder(), seed + 2, precision), stated_image_encoder())
    return models_folder


def write_network(folder: Path, name: str, tensors: dict[str, torch.Tensor], stated: dict[str, object]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / name, {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(stated, indent=2), encoding="utf-8")


# --- What the files state ----------------------------------------------------------------------------------------

def stated_unet() -> dict[str, object]:
    """With what no stock class knows, and what it knows and does not need."""
    return UNET | {"_class_name": OWN_UNET_CLASS, "_diffusers_version": "0.29.1", "num_frames": 25, "sample_size": 96,
                   "_name_or_path": "elsewhere"}


def stated_vae() -> dict[str, object]:
    return VAE | {"_class_name": "AutoencoderKLTemporalDecoder", "_diffusers_version": "0.24.0.dev0",
                  "force_upcast": True, "sample_size": 768}


def stated_image_encoder() -> dict[str, object]:
    return IMAGE_ENCODER | {"architectures": ["CLIPVisionModelWithProjection"], "model_type": "clip_vision_model",
                            "attention_dropout": 0.0, "dropout": 0.0, "initializer_range": 0.02,
                            "torch_dtype": "float16", "transformers_version": "4.34.0.dev0"}


# --- The networks ------------------------------------------------------------------------------------------------

def tiny_unet() -> nn.Module:
    """Without numbers, as the other two."""
    with torch.device("meta"):
        return UNetSpatioTemporalConditionModel(**UNET)


def tiny_vae() -> nn.Module:
    with torch.device("meta"):
        return AutoencoderKLTemporalDecoder(**VAE)


def tiny_image_encoder() -> nn.Module:
    with torch.device("meta"):
        return CLIPVisionModelWithProjection(CLIPVisionConfig(**IMAGE_ENCODER))


def random_tensors(network: nn.Module, seed: int, precision: torch.dtype) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: _random(name, tuple(parameter.shape), generator).to(precision)
            for name, parameter in network.named_parameters()}


def _random(name: str, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Of a size that keeps what passes through the network at about 1."""
    numbers = torch.randn(shape, generator=generator)
    if len(shape) >= 2:
        return numbers / math.prod(shape[1:]) ** 0.5
    return 0.1 * numbers + (1.0 if "norm" in name and name.endswith("weight") else 0.0)
