"""A MonST3R folder as it is published, but tiny: random numbers from a seed instead of training.

It answers any pair of pictures with finite pointmaps that mean nothing.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import torch
from safetensors.torch import save_file

from stereodiff_blender.engine.stereo.monst3r.checkpoint import (
    CHECKPOINT_NAME,
    CONFIG_NAME,
    SAFETENSORS_NAME,
    published_name,
)
from stereodiff_blender.engine.stereo.monst3r.config import NetworkConfig
from stereodiff_blender.engine.stereo.monst3r.network import TwoViewNetwork

TINY = NetworkConfig(encoder_width=32, encoder_depth=2, encoder_heads=2, decoder_width=24, decoder_depth=4,
                     decoder_heads=2, level_widths=(4, 6, 8, 12), fusion_width=8, output_width=4)


def published_tensors(config: NetworkConfig = TINY, seed: int = 0) -> dict[str, torch.Tensor]:
    """Every tensor of a published file by its name there, those included that matching has no use for."""
    with torch.device("meta"):
        parameters = TwoViewNetwork(config).named_parameters()
    shapes = {published_name(name): tuple(parameter.shape) for name, parameter in parameters}
    width = config.fusion_width
    shapes["mask_token"] = (1, 1, config.decoder_width)
    for head in ("downstream_head1", "downstream_head2"):
        for unit in ("conv1", "conv2"):
            unused = f"{head}.dpt.scratch.refinenet4.resConfUnit1.{unit}"
            shapes |= {f"{unused}.weight": (width, width, 3, 3), f"{unused}.bias": (width,)}
    generator = torch.Generator().manual_seed(seed)
    tensors = {name: _random(name, shape, generator) for name, shape in shapes.items()}
    for head in ("downstream_head1", "downstream_head2"):
        tensors[f"{head}.dpt.head.4.bias"][2] += 2.0  # most points lie in front of the camera
        tensors[f"{head}.dpt.head.4.bias"][3] += 2.0  # and it is sure of most
    return tensors


def _random(name: str, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Of a size that keeps what passes through the network at about 1."""
    numbers = torch.randn(shape, generator=generator)
    if len(shape) >= 2:
        return numbers / math.prod(shape[1:]) ** 0.5
    return 0.1 * numbers + (1.0 if name.endswith(".weight") else 0.0)


def with_aliases(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Some tensors under two names, as a .pth file has them."""
    doubled = {f"downstream_head{head}.dpt.scratch.layer_rn.{level}.weight":
               tensors[f"downstream_head{head}.dpt.scratch.layer{level + 1}_rn.weight"]
               for head in (1, 2) for level in range(4)}
    return tensors | doubled


def write_tiny_monst3r(folder: Path, *, kind: str = "safetensors", config: NetworkConfig = TINY, seed: int = 0) -> Path:
    """Write model.safetensors with config.json, or with kind "pth" the PyTorch checkpoint. Returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = published_tensors(config, seed)
    if kind == "pth":
        torch.save({"args": arguments(config), "model": with_aliases(tensors), "epoch": 50}, folder / CHECKPOINT_NAME)
    else:
        save_file(tensors, folder / SAFETENSORS_NAME, {"format": "pt"})
        (folder / CONFIG_NAME).write_text(json.dumps(statement(config)), encoding="utf-8")
    return folder


def statement(config: NetworkConfig) -> dict[str, object]:
    """What a config.json says."""
    return {"enc_depth": config.encoder_depth, "enc_embed_dim": config.encoder_width,
            "enc_num_heads": config.encoder_heads, "dec_depth": config.decoder_depth,
            "dec_embed_dim": config.decoder_width, "dec_num_heads": config.decoder_heads, "pos_embed": "RoPE100",
            "patch_embed_cls": "PatchEmbedDust3R", "img_size": [512, 512], "head_type": "dpt", "output_mode": "pts3d",
            "depth_mode": ["exp", -math.inf, math.inf], "conf_mode": ["exp", 1, math.inf], "freeze": "encoder",
            "landscape_only": False}


def arguments(config: NetworkConfig) -> argparse.Namespace:
    """What a .pth says of the run that made it."""
    stated = ", ".join(f"{name}={value!r}" for name, value in statement(config).items())
    return argparse.Namespace(model=f"Network({stated})".replace("inf", "float('inf')"), lr=5e-5, batch_size=4)
